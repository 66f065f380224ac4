"""Many seeds on all cores, and what they came to."""

import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial

from paycore.testing.simulation.running import Outcome, run_seed

AT_ONCE = 16
"""How many seeds a worker is given at a time."""


@dataclass(slots=True)
class Tally:
    """What some seeds came to."""

    seeds: int = 0
    seconds: float = 0.0
    steps: int = 0
    commits: int = 0
    promises: int = 0
    virtual_seconds: float = 0.0
    struck: Counter[str] = field(default_factory=Counter)
    failed: list[Outcome] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """One more."""
        self.seeds += 1
        self.steps += outcome.steps
        self.commits += outcome.commits
        self.promises += outcome.promises
        self.virtual_seconds += outcome.virtual_seconds
        self.struck += outcome.struck
        if outcome.violation:
            self.failed.append(outcome)

    def __str__(self) -> str:
        rate = self.seeds / self.seconds if self.seconds else 0.0
        lines = [
            f"{self.seeds} schedules in {self.seconds:.0f} s, {rate:.1f} a second on {os.cpu_count()} cores",
            f"{self.commits:,} commits and {self.promises:,} promises looked at, {self.steps:,} steps",
            f"{self.virtual_seconds / 86_400:,.0f} virtual days",
            f"{sum(self.struck.values()):,} faults:",
            *(f"  {kind:<34}{count:>9,}" for kind, count in sorted(self.struck.items())),
            f"{len(self.failed)} violations",
        ]
        return "\n".join(lines)


def run_many(seeds: Iterable[int], *, channel: str = "sandbox", workers: int | None = None) -> Iterator[Tally]:
    """Run these seeds on all cores; gives the tally as it grows, and a last time when all are done."""
    began, tally = time.monotonic(), Tally()
    context = multiprocessing.get_context("spawn")
    with context.Pool(workers or os.cpu_count() or 1) as pool:
        for number, outcome in enumerate(pool.imap_unordered(partial(_run, channel), seeds, AT_ONCE), start=1):
            tally.add(outcome)
            tally.seconds = time.monotonic() - began
            if number % 500 == 0:
                yield tally
    yield tally


def _run(channel: str, seed: int) -> Outcome:
    """One seed in a worker. Only a failure brings its story along."""
    outcome = run_seed(seed, channel=channel)
    return outcome if outcome.violation else replace(outcome, trace=[])
