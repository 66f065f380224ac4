"""A habit that is broken is said, and fails the check."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from types import ModuleType

import pytest

from tests.house.sources import HOUSE, PLUGINS


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("paycore_check", HOUSE / "tools/check.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


check = load()


def habit(code: int) -> list[list[str]]:
    return [[sys.executable, "-c", f"print('this is what it said'); raise SystemExit({code})"]]


@pytest.mark.parametrize(("code", "word"), [(0, "kept"), (1, "BROKEN"), (2, "BROKEN")])
def test_a_habit_is_told_as_it_went(
    code: int, word: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(check, "habits", lambda: {"trial": habit(code), "other": habit(0)})
    assert check.main([]) == min(code, 1)
    printed = capsys.readouterr().out
    assert printed.startswith(word)
    assert ("this is what it said" in printed) == (code != 0)


def test_a_later_command_does_not_hide_an_earlier_failure() -> None:
    assert not check.keep("trial", [*habit(1), *habit(0)]).is_kept


def test_an_unknown_habit_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main(["nonsense"]) == 2
    assert "no such habit: nonsense" in capsys.readouterr().err


def test_every_folder_with_python_is_typed() -> None:
    folders = {*check.typed(), *(folder for tests in check.tests_apart() for folder in tests)}
    assert {"src", "tests", "tools", "bench", "bridge/paycore_bridge", "bridge/tests"} <= folders
    assert {f"plugins/{plugin.name}/{part}" for plugin in PLUGINS for part in ("src", "tests")} <= folders


def test_the_script_of_ci_is_sound_bash() -> None:
    assert subprocess.run(["bash", "-n", str(HOUSE / ".ci/run")], check=False).returncode == 0
