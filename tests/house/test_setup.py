"""Setting up is done once, again when something changed, and never by half."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.house.sources import HOUSE


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("paycore_setup", HOUSE / "tools/setup.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


setup = load()


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """A room of our own with an empty lock, so that nothing is fetched."""
    monkeypatch.setattr(setup, "HOUSE", tmp_path)
    (tmp_path / "lock.txt").write_text("# nothing\n")
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours/pyproject.toml").write_text("[project]\nname = 'ours'\n")
    monkeypatch.setattr(setup, "link_ours", lambda room: None)
    return setup.Room(tmp_path / "venv", tmp_path / "lock.txt", [tmp_path / "ours"])


def test_a_room_is_made_once(room: object, monkeypatch: pytest.MonkeyPatch) -> None:
    setup.make(room)
    assert room.is_ready()  # type: ignore[attr-defined]
    monkeypatch.setattr(setup, "run", lambda command: pytest.fail(f"nothing had changed, yet it ran {command}"))
    setup.make(room)


@pytest.mark.parametrize("changed", ["lock.txt", "ours/pyproject.toml"])
def test_a_change_makes_it_anew(room: object, tmp_path: Path, changed: str) -> None:
    (tmp_path / "venv/bin").mkdir(parents=True)
    (tmp_path / "venv/bin/python").touch()
    (tmp_path / "venv/.paycore-ready").write_text(room.digest())  # type: ignore[attr-defined]
    assert room.is_ready()  # type: ignore[attr-defined]
    (tmp_path / changed).write_text("# something\n")
    assert not room.is_ready()  # type: ignore[attr-defined]


def test_a_failed_installation_leaves_no_stamp(room: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "installers", lambda room: [["false"]])
    with pytest.raises(setup.CannotSetUp, match="neither uv nor pip"):
        setup.make(room)
    assert not (tmp_path / "venv/.paycore-ready").exists()


def test_the_next_installer_is_tried(room: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "installers", lambda room: [["false"], ["touch", str(tmp_path / "second")]])
    monkeypatch.setattr(setup, "create", lambda room: (tmp_path / "venv").mkdir(exist_ok=True))
    setup.install(room, [])
    assert (tmp_path / "second").exists()


def test_an_old_python_is_told_so(room: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup.sys, "version_info", (3, 9, 2))
    with pytest.raises(setup.CannotSetUp, match=r"Python 3\.11"):
        setup.make(room)


def test_the_makefile_leaves_byte_code_on() -> None:
    """PYTHONDONTWRITEBYTECODE in the environment must not reach what make runs."""
    rule = 'show:\n\t@echo "<$$PYTHONDONTWRITEBYTECODE>"\n'
    done = subprocess.run(
        ["make", "-f", "Makefile", "-f", "-", "show"],
        input=rule, cwd=HOUSE, text=True, capture_output=True, env={"PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"},
        check=False,
    )  # fmt: skip
    assert done.stdout.strip() == "<>", done.stderr
