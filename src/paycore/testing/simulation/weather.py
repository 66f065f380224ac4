"""When faults strike, and how many of each kind have. In calm weather none does."""

import random
from collections import Counter

from paycore.testing.simulation.options import Options


class Weather:
    """The faults of one run."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.dice = random.Random(f"weather {options.seed}")  # noqa: S311 - the same again is what is wanted
        self.is_calm = False
        self.struck: Counter[str] = Counter()

    def strikes(self, kind: str, rate: float) -> bool:
        """Whether this fault happens here and now; if it does it is counted."""
        if self.is_calm or rate <= 0 or self.dice.random() >= rate:
            return False
        self.struck[kind] += 1
        return True

    def count(self, kind: str) -> None:
        """Something went wrong that somebody else decided."""
        self.struck[kind] += 1

    def about(self, seconds: float) -> float:
        """A time around this one: mostly less, sometimes some times as much."""
        return seconds * self.dice.expovariate(1.0) if seconds else 0.0
