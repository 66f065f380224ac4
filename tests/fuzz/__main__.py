"""`make fuzz`: fresh seeds, one round after the other, until the time is over or something breaks.

SECONDS says how long (60), SEED where to begin; without one it is drawn, and said. What broke something once runs first.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys
import time
from collections import Counter

from tests.fuzz.playing import TARGETS, Broken, Round, play, regressions
from tests.properties.machine import Lie, live

COUNT = 500
STEPS, EXAMPLES = 50, 20


def main(words: list[str] | None = None) -> int:
    """Run; the exit code says whether something broke."""
    given = _arguments().parse_args(words)
    try:
        if given.replay:
            return _replay(given.replay)
        return _go_on(given.seconds, given.seed or secrets.randbelow(10**9))
    except (Broken, Lie) as broken:
        print(f"\nBROKEN\n{broken}", file=sys.stderr)
        return 1


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long")
    parser.add_argument("--seed", type=int, default=0, help="where to begin; 0 draws one")
    parser.add_argument("--replay", default="", metavar="'TARGET SEED COUNT'", help="play one round again")
    return parser


def _replay(line: str) -> int:
    if line.startswith("lives "):
        _live(int(line.split()[1]))
    else:
        asyncio.run(play(Round.read(line)))
    print(f"'{line}' breaks nothing.")
    return 0


def _go_on(seconds: float, seed: int) -> int:
    print(f"seed {seed}, {seconds:g} seconds")
    began, done = time.monotonic(), Counter[str]()
    for kept in regressions():
        asyncio.run(play(kept))
        done["kept"] += kept.count
    while time.monotonic() - began < seconds:
        for target in TARGETS:
            asyncio.run(play(Round(target, seed, COUNT)))
            done[target] += COUNT
        _live(seed)
        done["lives"] += EXAMPLES
        seed += 1
    print(", ".join(f"{count} {what}" for what, count in done.items()), "- nothing broke")
    return 0


def _live(seed: int) -> None:
    """Some lives. A lie is told with the shortest life that led to it, which is all that is needed to make a test of it."""
    try:
        live(seed, examples=EXAMPLES, steps=STEPS)
    except Lie as lie:
        deeds = "\n".join(getattr(lie, "__notes__", []))
        raise Lie(f"{lie}\n{deeds}\n  replay  python -m tests.fuzz --replay 'lives {seed}'") from None


if __name__ == "__main__":
    sys.exit(main())
