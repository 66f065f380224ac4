"""What is skipped is named, and under CI it fails the run, with and without xdist."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HOUSE = Path(__file__).resolve().parents[2]
SKIPPING = "import pytest\ndef test_a(): pytest.skip('no such engine here')\ndef test_b(): assert True\n"
SKIPPING_MODULE = "import pytest\npytest.skip('no such world here', allow_module_level=True)\n"
RUNNING = "def test_b(): assert True\n"


def run(folder: Path, text: str, *options: str, ci: str) -> subprocess.CompletedProcess[str]:
    (folder / "pytest.ini").write_text("[pytest]\naddopts = --import-mode=importlib\n")
    (folder / "test_it.py").write_text(text)
    environment = {**os.environ, "PYTHONPATH": str(HOUSE), "CI": ci}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.support.loud", *options, str(folder)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=50)


@pytest.mark.parametrize("options", [[], ["-n", "1"]], ids=["one process", "xdist"])
def test_a_skip_is_named_and_fails_in_ci(tmp_path: Path, options: list[str]) -> None:
    done = run(tmp_path, SKIPPING, *options, ci="true")
    assert done.returncode == 1
    assert "NOT RUN HERE" in done.stdout
    assert "1 x no such engine here" in done.stdout


def test_a_skip_is_named_elsewhere_too_and_passes(tmp_path: Path) -> None:
    done = run(tmp_path, SKIPPING, ci="")
    assert done.returncode == 0
    assert "1 x no such engine here" in done.stdout


def test_a_whole_module_skipped_is_named(tmp_path: Path) -> None:
    assert "1 x no such world here" in run(tmp_path, SKIPPING_MODULE + RUNNING, ci="true").stdout


def test_nothing_skipped_says_nothing(tmp_path: Path) -> None:
    done = run(tmp_path, RUNNING, ci="true")
    assert done.returncode == 0
    assert "NOT RUN HERE" not in done.stdout
