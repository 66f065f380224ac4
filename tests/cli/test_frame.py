"""The frame of the command line: help at once, errors in one sentence, completion."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from paycore import __version__
from paycore.cli.exits import Sorry
from paycore.cli.main import app, run
from paycore.cli.screen import clean, instant
from tests.cli.running import environment, paycore

HEAVY = (
    "sqlalchemy",
    "sqlmodel",
    "grpc",
    "google",
    "pydantic",
    "rich",
    "httpx2",
    "cryptography",
    "alembic",
    "structlog",
)


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    program = f"import sys; from paycore.cli.main import run; run(['--help']); print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env=environment(tmp_path),
        timeout=30,
    )
    assert done.stdout.splitlines()[-1] == "[]"
    assert "Exit codes" in done.stdout


def test_version_is_json_when_wanted() -> None:
    runner = CliRunner()
    assert json.loads(runner.invoke(app, ["version", "--json"]).stdout) == {"version": __version__}
    assert runner.invoke(app, ["version"]).stdout == f"{__version__}\n"


@pytest.mark.parametrize("arguments", [["no-such-command"], ["version", "--no-such-option"], ["completion", "tcsh"]])
def test_wrong_usage_is_exit_code_2(arguments: list[str]) -> None:
    assert run(arguments) == 2


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(shell: str, tmp_path: Path) -> None:
    done = paycore("completion", shell, home=tmp_path)
    assert done.code == 0
    assert "_PAYCORE_COMPLETE" in done.out


def test_completion_completes_commands_and_methods(tmp_path: Path) -> None:
    def completed(words: str) -> list[str]:
        variables = environment(tmp_path, _PAYCORE_COMPLETE="complete_bash", COMP_WORDS=words)
        variables["COMP_CWORD"] = str(len(words.split(" ")) - 1)
        done = subprocess.run(
            [sys.executable, "-m", "paycore"], capture_output=True, text=True, check=True, env=variables, timeout=30
        )
        return done.stdout.split()

    assert "call" in completed("paycore ca")
    assert completed("paycore call CreateO") == ["CreateOrder"]


def test_a_bug_is_one_sentence_without_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise KeyError("canary-secret")

    monkeypatch.delenv("PAYCORE_DEBUG", raising=False)
    monkeypatch.setattr("paycore.cli.calling._show_methods", broken)
    result = CliRunner().invoke(app, ["call", "--list"])
    assert result.exit_code == 70
    assert result.stderr.startswith("paycore: Something went wrong that should not: KeyError in broken")
    assert "canary-secret" not in result.output
    assert "Traceback" not in result.output


def test_errors_are_json_when_json_is_wanted(tmp_path: Path) -> None:
    done = paycore("call", "GetOrder", "{}", "--json", home=tmp_path)
    assert done.code == 2
    assert done.out == ""
    assert done.error == {
        "exit": 2,
        "reason": "USAGE",
        "text": "There is no API key; set PAYCORE_API_KEY or give --key-file.",
    }


def test_nothing_printed_can_drive_a_terminal() -> None:
    assert clean("a\x1b[2Jb\u202ec\nd") == "a�[2Jb�c�d"
    assert clean(None) == ""


def test_instants_keep_their_microseconds() -> None:
    assert instant(1_700_000_000_123_456) == "2023-11-14T22:13:20.123456Z"
    assert instant(None) is None


def test_sorry_knows_its_reason() -> None:
    assert Sorry("No.").reason == "REFUSED"
