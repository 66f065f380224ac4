"""The files of the contract are made from its source, and are what they say they are."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from paycore_bridge import contract

BRIDGE = Path(__file__).resolve().parent.parent


def generator() -> ModuleType:
    """The script beside the package, with its neighbours."""
    if str(BRIDGE) not in sys.path:
        sys.path.append(str(BRIDGE))
    spec = importlib.util.spec_from_file_location("paycore_bridge_generate", BRIDGE / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_files_are_fresh() -> None:
    files = generator().contract_files()
    folder = BRIDGE / "paycore_bridge/contract_files"
    assert {path.name for path in files} == {path.name for path in folder.iterdir()}
    stale = [path.name for path, text in files.items() if path.read_text(encoding="utf-8") != text]
    assert stale == [], "run python bridge/generate.py"


def test_every_schema_is_a_schema() -> None:
    for schema in contract.SCHEMAS.values():
        Draft202012Validator.check_schema(schema)


def test_openrpc_names_every_method_once_with_its_errors() -> None:
    document = json.loads((BRIDGE / "paycore_bridge/contract_files/openrpc.json").read_text(encoding="utf-8"))
    assert document["openrpc"].startswith("1.")
    names = [one["name"] for one in document["methods"]]
    assert names == [*(method.value for method in contract.Method), contract.EVENT]
    for one in document["methods"][:-1]:
        codes = [error["code"] for error in one["errors"]]
        assert len(codes) == len(set(codes))
        assert {param["name"] for param in one["params"]} >= {"v"}
        Draft202012Validator.check_schema(one["result"]["schema"])
