"""Rounds: a house, something that has happened in it, and so many spoilt inputs, all of them following from one number."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from tests.fuzz.calls import Calls
from tests.fuzz.corpus import Corpus, grow
from tests.fuzz.house import listening, open_house
from tests.fuzz.notices import Notices
from tests.fuzz.oracle import Watchman
from tests.fuzz.tokens import Tokens

REGRESSIONS: Final = Path(__file__).with_name("regressions.txt")


class Target(Protocol):
    """Something that is given spoilt input."""

    name: str

    def draw(self) -> Any: ...
    async def judge(self, given: Any) -> None:
        """Raise unless everything is as it must be."""


TARGETS: Final[dict[str, Callable[[Corpus, Watchman, int], Target]]] = {
    made.name: made for made in (Calls, Notices, Tokens)
}


@dataclass(frozen=True, slots=True)
class Round:
    """A target, a number from which everything follows, and how many inputs."""

    target: str
    seed: int
    count: int

    def __str__(self) -> str:
        return f"{self.target} {self.seed} {self.count}"

    @classmethod
    def read(cls, line: str) -> Round:
        """The round of a line `target seed count`. Raises ValueError."""
        target, seed, count = line.split()
        if target not in TARGETS:
            raise ValueError(f"there is no target {target}")
        return cls(target, int(seed), int(count))


class Broken(AssertionError):
    """An input did what no input may do. The message says how to see it again."""

    def __init__(self, found: Round, given: object, problem: str) -> None:
        super().__init__(
            f"{problem}\n  input   {given}\n  replay  python -m tests.fuzz --replay '{found}'\n"
            f"  keep    add the line '{found}' to tests/fuzz/regressions.txt"
        )
        self.found = found


async def play(this: Round) -> None:
    """Play a round to its end. Raises Broken at the first input that breaks something."""
    async with open_house() as house:
        with listening() as ears:
            watchman = Watchman(house, ears)
            corpus = await grow(house, random.Random(this.seed))
            target = TARGETS[this.target](corpus, watchman, this.seed)
            for number in range(1, this.count + 1):
                given = target.draw()
                try:
                    with watchman:
                        await target.judge(given)
                except Exception as problem:
                    shown = f"{type(problem).__name__}: {problem}"
                    raise Broken(Round(this.target, this.seed, number), given, shown) from problem
            found = house.violations()
            if found:
                raise Broken(this, "all of them", f"the audit finds {found}")


async def drawn(this: Round) -> list[str]:
    """What a round would give, as texts, without giving it."""
    async with open_house() as house:
        with listening() as ears:
            corpus = await grow(house, random.Random(this.seed))
            target = TARGETS[this.target](corpus, Watchman(house, ears), this.seed)
            return [str(target.draw()) for _ in range(this.count)]


def regressions() -> list[Round]:
    """The rounds that broke something once, as they are kept."""
    lines = (line.partition("#")[0].strip() for line in REGRESSIONS.read_text().splitlines())
    return [Round.read(line) for line in lines if line]
