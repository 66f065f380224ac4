"""Importing the client costs a caller little: no server, no ORM, no validation engine."""

from __future__ import annotations

import json
import subprocess
import sys

SCRIPT = """
import json, sys
before = set(sys.modules)
import paycore.client
print(json.dumps(sorted(set(sys.modules) - before)))
"""
GRPC = {"grpc", "grpc_status", "grpc_health", "grpc_reflection", "google", "cython_runtime", "typing_extensions"}
"""grpc itself looks for health and reflection beside it and loads them where they are installed."""


def loaded() -> list[str]:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, timeout=50)
    return list(json.loads(done.stdout))


def test_the_client_brings_grpc_and_our_stubs_only() -> None:
    modules = loaded()
    tops = {module.split(".")[0] for module in modules} - sys.stdlib_module_names
    assert {top for top in tops if not top.startswith("_cython")} - GRPC == {"paycore"}
    rooms = {".".join(module.split(".")[:2]) for module in modules if module.startswith("paycore.")}
    assert rooms == {"paycore.client", "paycore.v1"}
