"""The time, as the engine sees it: given, never taken.

When something was, or is due, is told by `now`, which every process shares and which may be set, back too. How long ago or
for how much longer is told by `steady`, which nobody sets.
"""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Tells the time and waits for it. Instants are microseconds UTC."""

    def now(self) -> int:
        """The present instant."""

    def steady(self) -> int:
        """Microseconds since whenever. They never go back, and setting the clock does not move them."""

    async def sleep_until(self, at: int | None, wake: asyncio.Event) -> None:
        """Return at this instant, or when the event is set, whichever comes first. None waits for the event alone."""


class SystemClock:
    """The machine's own clock."""

    def now(self) -> int:
        return time.time_ns() // 1000

    def steady(self) -> int:
        return time.monotonic_ns() // 1000

    async def sleep_until(self, at: int | None, wake: asyncio.Event) -> None:
        seconds = None if at is None else max(at - self.now(), 0) / 1_000_000
        try:
            async with asyncio.timeout(seconds):
                await wake.wait()
        except TimeoutError:
            return
