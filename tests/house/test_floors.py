"""Who may import whom. import-linter keeps the floors; what it cannot say is said here."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.sources import BIN, HOUSE, PLUGINS, ROOMS, imports, is_within, modules, project, tree

SRC = HOUSE / "src/paycore"
STANDARD = sys.stdlib_module_names

OFFICIAL_LIBRARIES = {"appleiap": ["appstoreserverlibrary"]}
"""Libraries of a provider that its plugin may import: Apple's verifies its own certificate chains."""

IMPURE = {
    "asyncio", "builtins", "calendar", "concurrent", "glob", "http", "importlib", "io", "locale", "logging",
    "multiprocessing", "os", "pathlib", "queue", "random", "sched", "secrets", "select", "selectors", "shutil", "signal",
    "socket", "sqlite3", "ssl", "subprocess", "sys", "tempfile", "threading", "time", "urllib", "uuid", "zoneinfo",
}  # fmt: skip
IMPURE_CALLS = {"open", "print", "input", "eval", "exec", "compile", "__import__", "breakpoint"}
CLOCKS = {"now", "utcnow", "today", "time", "monotonic"}


def foreign(path: Path, allowed: list[str]) -> set[str]:
    """What a file imports beyond the standard library and the allowed packages."""
    return {
        module
        for module in imports(path)
        if module.split(".")[0] not in STANDARD and module != "__future__" and not is_within(module, allowed)
    }


def test_every_room_is_there() -> None:
    assert [room for room in ROOMS if not (SRC / room / "__init__.py").exists()] == []


def test_the_floors_hold() -> None:
    done = subprocess.run([str(BIN / "lint-imports"), "--no-cache"], cwd=HOUSE, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


@pytest.mark.parametrize("path", modules(SRC / "core"), ids=lambda path: path.name)
def test_core_thinks_and_does_nothing_else(path: Path) -> None:
    assert {module for module in imports(path) if module.split(".")[0] in IMPURE} == set()
    assert foreign(path, ["paycore.core"]) == set()
    assert list(impure_calls(tree(path))) == []


def impure_calls(module: ast.Module) -> list[str]:
    found: list[str] = []
    for node in ast.walk(module):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in IMPURE_CALLS:
            found.append(f"line {node.lineno}: {node.func.id}()")
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CLOCKS:
            found.append(f"line {node.lineno}: .{node.func.attr}()")
    return found


def test_an_impure_call_would_be_seen() -> None:
    text = "import datetime\ndef f():\n    print(datetime.datetime.now())\n"
    assert impure_calls(ast.parse(text)) == ["line 3: print()", "line 3: .now()"]


@pytest.mark.parametrize("path", modules(SRC / "core"), ids=lambda path: path.name)
def test_money_is_counted_in_whole_numbers(path: Path) -> None:
    """No Decimal, no division that leaves the integers; a float may only be a number of seconds."""
    assert {module for module in imports(path) if module.split(".")[0] in {"decimal", "fractions", "math"}} == set()
    assert list(fractional(tree(path))) == []


def fractional(module: ast.Module) -> list[str]:
    seconds = {id(node) for named in ast.walk(module) if is_of_seconds(named) for node in ast.walk(named)}
    return [
        f"line {node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(module)
        if id(node) not in seconds and isinstance(node, ast.expr) and is_fractional(node)
    ]


def is_of_seconds(node: ast.AST) -> bool:
    """Whether the node gives a type or a value to a name that ends in seconds."""
    match node:
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return name.lower().endswith("seconds")
        case ast.arg(arg=name) | ast.keyword(arg=str(name)):
            return name.lower().endswith("seconds")
    return False


def is_fractional(node: ast.expr) -> bool:
    match node:
        case ast.BinOp(op=ast.Div()) | ast.Constant(value=float()) | ast.Name(id="float"):
            return True
        case ast.Call(func=ast.Name(id="round")):
            return True
    return False


def test_a_fraction_would_be_seen() -> None:
    found = fractional(ast.parse("fee = amount / 100\nrate = 0.6\nWAIT_SECONDS = 2.5\nother = float(amount)\n"))
    assert found == ["line 1: amount / 100", "line 2: 0.6", "line 4: float"]


@pytest.mark.parametrize("path", modules(SRC / "client"), ids=lambda path: path.name)
def test_client_stands_on_v1_and_grpc(path: Path) -> None:
    assert (
        foreign(path, ["paycore.client", "paycore.v1", "grpc", "grpc_status", "google.protobuf", "google.rpc"]) == set()
    )


@pytest.mark.parametrize("path", modules(SRC / "v1"), ids=lambda path: path.name)
def test_stubs_need_no_more_than_grpc(path: Path) -> None:
    assert foreign(path, ["paycore.v1", "grpc", "google.protobuf", "google.rpc"]) == set()


@pytest.mark.parametrize("path", modules(HOUSE / "bridge/paycore_bridge"), ids=lambda path: path.name)
def test_bridge_knows_nothing_of_paycore(path: Path) -> None:
    assert foreign(path, ["paycore_bridge", "cryptography", "qrcode"]) == set()


@pytest.mark.parametrize(
    ("plugin", "path"),
    [(plugin, path) for plugin in PLUGINS for path in modules(plugin / "src")],
    ids=lambda part: part.name,
)
def test_a_plugin_speaks_through_the_channel_api_alone(plugin: Path, path: Path) -> None:
    own = [folder.name for folder in (plugin / "src").iterdir()]
    allowed = [*own, "paycore.channel", "paycore_bridge", "cryptography", *OFFICIAL_LIBRARIES.get(plugin.name, [])]
    assert foreign(path, allowed) - {"paycore"} == set()


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda plugin: plugin.name)
def test_a_plugin_is_one_whole_folder(plugin: Path) -> None:
    described = project(plugin)
    assert list(described["entry-points"]["paycore.channels"]) == [plugin.name]
    assert (plugin / "README.md").exists()
    assert list((plugin / "tests").glob("test_*.py"))
    assert list((plugin / "src").glob("*/py.typed"))


def test_no_room_names_a_plugin() -> None:
    """A channel is added without touching any other folder; the demo and the simulation, which play with the sandbox, may name it."""
    packages = {folder.name for plugin in PLUGINS for folder in (plugin / "src").iterdir()}
    players = ["cli.demo", "testing.simulation"]
    rooms = [
        path for path in modules(SRC) if not is_within(path.relative_to(SRC).as_posix().replace("/", "."), players)
    ]
    assert {(path.name, module) for path in rooms for module in imports(path) if is_within(module, packages)} == set()
    names = {plugin.name for plugin in PLUGINS} - {"sandbox"}  # which is also the name of an environment
    said = {
        (path.name, node.value) for path in rooms for node in ast.walk(tree(path)) if isinstance(node, ast.Constant)
    }
    assert {(path, text) for path, text in said if text in names} == set()
