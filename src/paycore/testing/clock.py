"""Time and randomness that a test holds in its hand."""

import asyncio
import random

from paycore.core.ids import Prefix, make_id


class FakeClock:
    """A clock that stands still until it is moved. Sleepers wake when what they had left has passed."""

    def __init__(self, now: int = 1_790_000_000_000_000) -> None:
        self._set_to = now
        self._passed = 0
        self._sleepers: list[tuple[int, asyncio.Event]] = []

    def now(self) -> int:
        return self._set_to + self._passed

    def steady(self) -> int:
        return self._passed

    async def sleep_until(self, at: int | None, wake: asyncio.Event) -> None:
        if at is not None and at <= self.now():
            await asyncio.sleep(0)
            return
        alarm = asyncio.Event()
        if at is not None:
            self._sleepers.append((at - self._set_to, alarm))
        waits = [asyncio.ensure_future(wake.wait()), asyncio.ensure_future(alarm.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            self._sleepers = [sleeper for sleeper in self._sleepers if sleeper[1] is not alarm]

    def advance(self, seconds: float) -> None:
        """Let so much time pass, and wake whoever slept until then."""
        self.set(self.now() + round(seconds * 1_000_000))

    def set(self, now: int) -> None:
        """Let time pass until this instant; one that lies behind us is what the clock is set back to."""
        if now < self.now():
            self._set_to = now - self._passed
            return
        self._passed = now - self._set_to
        for at, alarm in self._sleepers:
            if at <= self._passed:
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
