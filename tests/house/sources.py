"""Reading our own source as data."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

HOUSE = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
ROOMS = ("core", "channel", "store", "engine", "rpc", "web", "client", "cli", "testing", "v1")
PLUGINS = sorted(path.parent for path in HOUSE.glob("plugins/*/pyproject.toml"))
DISTRIBUTIONS = [HOUSE, HOUSE / "bridge", *PLUGINS]


def modules(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.py") if "__pycache__" not in path.parts)


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imports(path: Path) -> Iterator[str]:
    """Every module that the file imports, wherever in it; `from a import b` counts as a.b and as a."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join([*package_of(path, node.level), *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def package_of(path: Path, level: int) -> list[str]:
    """The package that a relative import of this level starts from; nothing for an absolute one."""
    if level == 0:
        return []
    package: list[str] = []
    folder = path.parent
    while (folder / "__init__.py").exists():
        package.insert(0, folder.name)
        folder = folder.parent
    return package[: len(package) - (level - 1)]


def is_within(module: str, packages: Iterable[str]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def project(distribution: Path) -> dict[str, Any]:
    text = (distribution / "pyproject.toml").read_text(encoding="utf-8")
    return dict(tomllib.loads(text)["project"])


@cache
def tracked() -> list[Path]:
    """Every file under version control, as it is in the working tree."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=HOUSE, capture_output=True, check=True).stdout
    return [HOUSE / name for name in listed.decode().split("\0") if name and (HOUSE / name).is_file()]


def texts() -> list[tuple[str, str]]:
    """Path and content of every tracked text."""
    found: list[tuple[str, str]] = []
    for path in tracked():
        raw = path.read_bytes()
        if b"\0" not in raw:
            found.append((path.relative_to(HOUSE).as_posix(), raw.decode("utf-8")))
    return found
