"""Time and randomness that a test holds in its hand."""

import asyncio
import random

from paycore.core.ids import Prefix, make_id


class FakeClock:
    """A clock that stands still until it is moved. Sleepers wake when it passes their instant."""

    def __init__(self, now: int = 1_790_000_000_000_000) -> None:
        self._now = now
        self._sleepers: list[tuple[int, asyncio.Event]] = []

    def now(self) -> int:
        return self._now

    async def sleep_until(self, at: int | None, wake: asyncio.Event) -> None:
        if at is not None and at <= self._now:
            await asyncio.sleep(0)
            return
        alarm = asyncio.Event()
        if at is not None:
            self._sleepers.append((at, alarm))
        waits = [asyncio.ensure_future(wake.wait()), asyncio.ensure_future(alarm.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            self._sleepers = [sleeper for sleeper in self._sleepers if sleeper[1] is not alarm]

    def advance(self, seconds: float) -> None:
        """Move on, and wake whoever slept until then."""
        self.set(self._now + round(seconds * 1_000_000))

    def set(self, now: int) -> None:
        """Move to an instant."""
        self._now = now
        for at, alarm in self._sleepers:
            if at <= now:
                alarm.set()


class SeededIds:
    """Ids and nonces that are the same in every run with the same seed."""

    def __init__(self, clock: FakeClock, seed: int = 0) -> None:
        self._clock = clock
        self._random = random.Random(seed)  # noqa: S311 - a test wants the same ones again

    def mint(self, prefix: Prefix) -> str:
        return make_id(prefix, self._clock.now(), self._random.getrandbits(80))

    def nonce(self) -> str:
        return f"{self._random.getrandbits(128):032x}"
