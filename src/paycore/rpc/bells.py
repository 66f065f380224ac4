"""Bells wake streams: when there is news, when it is time, when the house closes. One wheel turns for all of them.

A stream at rest costs one bell: no task and no timer of its own.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from heapq import heappop, heappush
from typing import Protocol

SECOND = 1_000_000
AT_ONCE = 32
"""How many bells ring before others may have a turn: a thousand streams that beat together hold nobody up."""


class Clock(Protocol):
    """The engine's clock, as far as a wheel needs it."""

    def now(self) -> int: ...
    def steady(self) -> int: ...
    def sleep_until(self, at: int | None, wake: asyncio.Event) -> Awaitable[object]: ...


class Bell:
    """What one stream waits for. Rung before it waits, it does not wait."""

    __slots__ = ("_is_rung", "_waiter", "due_at")

    def __init__(self) -> None:
        self._is_rung = False
        self._waiter: asyncio.Future[None] | None = None
        self.due_at: int | None = None

    def ring(self) -> None:
        """Wake whoever waits, now or as soon as it waits."""
        self._is_rung = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self) -> None:
        """Return once it was rung since the last wait."""
        if not self._is_rung:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        self._is_rung = False


Bells = dict[Bell, None]
"""Bells in the order in which they were hung: who has waited longest is rung first, in every run alike."""


def ring_in_turn(bells: Sequence[Bell], begin: int = 0) -> None:
    """Ring them all, a few in each turn of the loop, so that whatever else waits has its turn between them."""
    end = begin + AT_ONCE
    for bell in bells[begin:end]:
        bell.ring()
    if end < len(bells):
        asyncio.get_running_loop().call_soon(ring_in_turn, bells, end)


class Wheel:
    """Rings bells at their time, up to a second late. Its one task lives only while some bell is set.

    Times are the clock's steady ones: a clock that is set back keeps no stream silent.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seconds: list[int] = []
        self._bells: dict[int, Bells] = {}
        self._wake = asyncio.Event()
        self._turning: asyncio.Task[None] | None = None

    def set(self, bell: Bell, at: int) -> None:
        """Have it rung at this steady time (microseconds), and not at the one it was set to before."""
        if bell.due_at is not None and _second(bell.due_at) == _second(at):
            bell.due_at = at
            return
        self.unset(bell)
        bell.due_at = at
        self._put(bell, _second(at))
        if self._turning is None or self._turning.done():
            self._turning = asyncio.get_running_loop().create_task(self._turn())

    def unset(self, bell: Bell) -> None:
        """Not to be rung any more."""
        if bell.due_at is not None:
            self._bells.get(_second(bell.due_at), {}).pop(bell, None)
            bell.due_at = None

    def _put(self, bell: Bell, second: int) -> None:
        bells = self._bells.get(second)
        if bells is None:
            bells = self._bells[second] = {}
            heappush(self._seconds, second)
            if self._seconds[0] == second:
                self._wake.set()
        bells[bell] = None

    async def _turn(self) -> None:
        while self._seconds:
            self._wake.clear()
            left = self._seconds[0] * SECOND - self._clock.steady()
            await self._clock.sleep_until(self._clock.now() + left, self._wake)
            while self._seconds and self._seconds[0] * SECOND <= self._clock.steady():
                await self._ring(heappop(self._seconds))

    async def _ring(self, second: int) -> None:
        for number, bell in enumerate(self._bells.pop(second), start=1):
            if bell.due_at is not None and _second(bell.due_at) == second:  # it may be set anew meanwhile
                bell.due_at = None
                bell.ring()
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)

    async def stop(self) -> None:
        """Turn no more."""
        if self._turning is not None:
            self._turning.cancel()
            await asyncio.gather(self._turning, return_exceptions=True)


def _second(at: int) -> int:
    """The first whole second that is not before this time."""
    return -(-at // SECOND)
