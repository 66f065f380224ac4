"""The demo's clock: the machine's, which can be put forward so that nobody waits a minute for an expiry."""

from __future__ import annotations

import asyncio
import time


class SkippingClock:
    """The time for the server and the simulator alike. A skip wakes everybody who sleeps."""

    def __init__(self) -> None:
        self._ahead = 0
        self._skip = asyncio.Event()

    def now(self) -> int:
        """The machine's time and what was skipped."""
        return time.time_ns() // 1000 + self._ahead

    def steady(self) -> int:
        """How far the machine has come, and what was skipped."""
        return time.monotonic_ns() // 1000 + self._ahead

    def skip(self, seconds: float) -> None:
        """Put the clock forward."""
        self._ahead += round(seconds * 1_000_000)
        self._skip.set()
        self._skip = asyncio.Event()

    async def sleep_until(self, at: int | None, wake: asyncio.Event) -> None:
        """Return at this instant of this clock, or when the event is set."""
        while not wake.is_set() and (at is None or at > self.now()):
            seconds = None if at is None else (at - self.now()) / 1_000_000
            waits = [asyncio.ensure_future(wake.wait()), asyncio.ensure_future(self._skip.wait())]
            try:
                await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()


class BehindClock:
    """The channel's clock, which may go behind ours, as clocks do."""

    def __init__(self, clock: SkippingClock) -> None:
        self._clock = clock
        self.behind = 0

    def now(self) -> int:
        """Our time, less what this clock is behind."""
        return self._clock.now() - self.behind

    def steady(self) -> int:
        """As much as passes for us."""
        return self._clock.steady()

    async def sleep_until(self, at: int | None, wake: asyncio.Event) -> None:
        """Return at this instant of this clock, or when the event is set."""
        await self._clock.sleep_until(None if at is None else at + self.behind, wake)
