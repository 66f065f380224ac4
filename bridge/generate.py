"""Writes what is made from the one source: the contract's files, and the vectors for other languages.

python bridge/generate.py            writes them
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from paycore_bridge import contract

HERE = Path(__file__).resolve().parent


def contract_files() -> dict[Path, str]:
    """The JSON Schemas of all messages and the OpenRPC document."""
    folder = HERE / "paycore_bridge/contract_files"
    files = {folder / f"{name}.json": schema for name, schema in contract.SCHEMAS.items()}
    return {path: pretty(plain) for path, plain in {**files, folder / "openrpc.json": contract.openrpc()}.items()}


def pretty(plain: Mapping[str, Any]) -> str:
    """JSON as people read it and as diffs show it."""
    return json.dumps(plain, ensure_ascii=False, indent=2) + "\n"


def write(files: Mapping[Path, str]) -> None:
    """Write the files, and take away what is no longer made."""
    for folder in {path.parent for path in files}:
        folder.mkdir(parents=True, exist_ok=True)
        for stale in set(folder.glob("*.json")) - set(files):
            stale.unlink()
    for path, text in files.items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(contract_files())
