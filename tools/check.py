"""Everything that a change must pass and that is not a test. Prints one line a habit; what a broken one said follows.

tools/check.py                all of them
tools/check.py types floors   those
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HOUSE = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
CODEGEN = HOUSE / ".venvs/codegen/bin/python"


@dataclass(frozen=True)
class Outcome:
    """How one habit went."""

    name: str
    is_kept: bool
    said: str
    seconds: float


def habits() -> dict[str, list[list[str]]]:
    """Each habit and the commands that prove it. The slow one first, so that the others run beside it."""
    return {
        "types": [[str(BIN / "mypy"), *typed()], *([str(BIN / "mypy"), *tests] for tests in tests_apart())],
        "format": [[str(BIN / "ruff"), "format", "--check", "--quiet", "."]],
        "lint": [[str(BIN / "ruff"), "check", "--quiet", "."]],
        "floors": [[str(BIN / "lint-imports"), "--no-cache"]],
        "protos": [[sys.executable, "tools/protos.py"]],
        "stubs": [[str(CODEGEN), "tools/gen.py", "--check"]],
    }


def typed() -> list[str]:
    """Every folder of ours that holds Python, but the tests beside the other distributions: each is a world of its own."""
    folders = ["src", "bridge/paycore_bridge", *sources_of_plugins(), "tests", "tools", "bench", "conftest.py"]
    return [folder for folder in folders if (HOUSE / folder).exists()]


def tests_apart() -> list[list[str]]:
    folders = [HOUSE / "bridge/tests", *sorted(HOUSE.glob("plugins/*/tests"))]
    return [[str(folder.relative_to(HOUSE))] for folder in folders]


def sources_of_plugins() -> list[str]:
    return [str(path.relative_to(HOUSE)) for path in sorted(HOUSE.glob("plugins/*/src"))]


def main(wanted: list[str]) -> int:
    known = habits()
    if strange := set(wanted) - set(known):
        print(f"no such habit: {', '.join(sorted(strange))}. There are: {', '.join(known)}", file=sys.stderr)
        return 2
    chosen = {name: commands for name, commands in known.items() if not wanted or name in wanted}
    with ThreadPoolExecutor(max_workers=2) as pool:
        outcomes = list(pool.map(keep, chosen, chosen.values()))
    return report(outcomes)


def keep(name: str, commands: Iterable[list[str]]) -> Outcome:
    began = time.monotonic()
    environment = {**os.environ, "MYPYPATH": os.pathsep.join(sources_of_plugins())}
    said, is_kept = "", True
    for command in commands:
        done = subprocess.run(command, cwd=HOUSE, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            is_kept = False
            said += done.stdout + done.stderr
    return Outcome(name, is_kept, said.strip(), time.monotonic() - began)


def report(outcomes: list[Outcome]) -> int:
    for outcome in outcomes:
        print(f"{'kept  ' if outcome.is_kept else 'BROKEN'}  {outcome.name:8} {outcome.seconds:5.1f} s", flush=True)
    broken = [outcome for outcome in outcomes if not outcome.is_kept]
    for outcome in broken:
        print(f"\n── {outcome.name} ──\n{outcome.said}", flush=True)
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
