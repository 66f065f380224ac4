"""Counts calls and how long they took, cheaply; /metrics turns the counts into Prometheus families when it is read."""

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the buckets, in seconds."""


@dataclass(slots=True)
class Meter:
    """What one RPC did since the process began. A stream counts when it ends; its life is not a latency."""

    service: str
    method: str
    is_stream: bool
    handled: Counter[str] = field(default_factory=Counter)
    buckets: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    seconds: float = 0.0
    sent: int = 0

    def answered(self, code: str, seconds: float) -> None:
        """One call ended with this code."""
        self.handled[code] += 1
        if not self.is_stream:
            self.buckets[bisect_left(BOUNDS, seconds)] += 1
            self.seconds += seconds
