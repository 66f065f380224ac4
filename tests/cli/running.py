"""Runs the command line as a user does: in a process of its own, with a clean environment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Stdout as one JSON document; anything beside it fails."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        """Stdout as one JSON document a line."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def error(self) -> dict[str, Any]:
        """The error that a command with --json told on stderr."""
        found: dict[str, Any] = json.loads(self.err.strip().splitlines()[-1])["error"]
        return found


def environment(home: Path, **variables: str) -> dict[str, str]:
    """The environment of a command: nothing of paycore's but what is given."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PAYCORE_", "_PAYCORE_"))}
    return kept | {"HOME": str(home), "COLUMNS": "200", "NO_COLOR": "1"} | variables


def heed_interrupts() -> None:
    """Let Ctrl-C reach a child, before it begins, as a person's shell does.

    A shell that starts the tests in the background has them ignore it, and children inherit that.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])


def paycore(
    *arguments: str, home: Path, stdin: str = "", variables: Mapping[str, str] | None = None, seconds: float = 50
) -> Outcome:
    """Run one command to its end."""
    done = subprocess.run(
        [sys.executable, "-m", "paycore", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=seconds,
        cwd=home,
        env=environment(home, **(variables or {})),
        check=False,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def command(*arguments: str, stdin: str = "", variables: Mapping[str, str] | None = None) -> Outcome:
    """Run one command inside this process: as the user's, but without waiting for an interpreter to start."""
    from typer.testing import CliRunner

    from paycore.cli.main import app

    kept: dict[str, str | None] = {name: None for name in os.environ if name.startswith("PAYCORE_")}
    done = CliRunner().invoke(app, list(arguments), input=stdin, env=kept | dict(variables or {}))
    return Outcome(done.exit_code, done.stdout, done.stderr)
