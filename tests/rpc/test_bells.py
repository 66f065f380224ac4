"""Bells ring when they are rung, when their time has come, and never after they were taken off the wheel."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import pytest

from paycore.rpc.bells import AT_ONCE, SECOND, Bell, Wheel, ring_in_turn
from paycore.rpc.watch import Watches


class HandClock:
    """A clock that a test moves by hand."""

    def __init__(self) -> None:
        self._now = 1_000 * SECOND
        self._moved = asyncio.Event()
        self.sleeps = 0

    def now(self) -> int:
        return self._now

    def steady(self) -> int:
        return self._now - 900 * SECOND

    async def sleep_until(self, at: int | None, wake: asyncio.Event) -> None:
        self.sleeps += 1
        while (at is None or self._now < at) and not wake.is_set():
            waits = [asyncio.ensure_future(self._moved.wait()), asyncio.ensure_future(wake.wait())]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()

    async def pass_seconds(self, seconds: float) -> None:
        self._now += int(seconds * SECOND)
        self._moved.set()
        for _ in range(10):
            await asyncio.sleep(0)
        self._moved.clear()


@pytest.fixture
async def clock() -> HandClock:
    return HandClock()


@pytest.fixture
async def wheel(clock: HandClock) -> AsyncIterator[Wheel]:
    wheel = Wheel(clock)
    yield wheel
    await wheel.stop()


async def is_rung(bell: Bell) -> bool:
    try:
        await asyncio.wait_for(bell.wait(), 0.01)
    except TimeoutError:
        return False
    return True


async def test_a_bell_that_was_rung_before_the_wait_does_not_wait() -> None:
    bell = Bell()
    bell.ring()
    bell.ring()
    assert await is_rung(bell)
    assert not await is_rung(bell)


async def test_a_ring_ends_the_wait() -> None:
    bell = Bell()
    waiting = asyncio.ensure_future(bell.wait())
    await asyncio.sleep(0)
    bell.ring()
    await asyncio.wait_for(waiting, 1)


async def test_a_wait_that_was_cancelled_leaves_the_bell_as_it_was() -> None:
    bell = Bell()
    assert not await is_rung(bell)
    bell.ring()
    assert await is_rung(bell)


async def test_the_wheel_rings_at_the_time(clock: HandClock, wheel: Wheel) -> None:
    early, late = Bell(), Bell()
    wheel.set(late, clock.steady() + 20 * SECOND)
    wheel.set(early, clock.steady() + 5 * SECOND)
    await clock.pass_seconds(4)
    assert not await is_rung(early)
    await clock.pass_seconds(1)
    assert await is_rung(early)
    assert not await is_rung(late)
    await clock.pass_seconds(15)
    assert await is_rung(late)


async def test_a_bell_that_is_set_again_rings_once_at_the_new_time(clock: HandClock, wheel: Wheel) -> None:
    bell = Bell()
    wheel.set(bell, clock.steady() + 5 * SECOND)
    wheel.set(bell, clock.steady() + 9 * SECOND)
    await clock.pass_seconds(6)
    assert not await is_rung(bell)
    await clock.pass_seconds(3)
    assert await is_rung(bell)
    await clock.pass_seconds(60)
    assert not await is_rung(bell)


async def test_a_bell_that_is_set_earlier_does_not_wait_for_the_others(clock: HandClock, wheel: Wheel) -> None:
    first, second = Bell(), Bell()
    wheel.set(first, clock.steady() + 60 * SECOND)
    await clock.pass_seconds(0)
    wheel.set(second, clock.steady() + SECOND)
    await clock.pass_seconds(1)
    assert await is_rung(second)
    assert not await is_rung(first)


async def test_a_bell_off_the_wheel_does_not_ring(clock: HandClock, wheel: Wheel) -> None:
    bell = Bell()
    wheel.set(bell, clock.steady() + SECOND)
    wheel.unset(bell)
    await clock.pass_seconds(5)
    assert not await is_rung(bell)


async def test_bells_ring_in_the_order_in_which_they_were_hung(clock: HandClock, wheel: Wheel) -> None:
    """Not in that of their addresses, which is another in every run."""
    rung: list[int] = []

    async def wait(number: int, bell: Bell) -> None:
        await bell.wait()
        rung.append(number)

    bells = [Bell() for _ in range(60)]
    hung = [*range(0, 60, 2), *range(1, 60, 2)]
    waiting = [asyncio.ensure_future(wait(number, bells[number])) for number in range(60)]
    for number in hung:
        wheel.set(bells[number], clock.steady() + 5 * SECOND)
    await clock.pass_seconds(6)
    await asyncio.wait_for(asyncio.gather(*waiting), 1)
    assert rung == hung


async def test_many_bells_cost_one_sleep(clock: HandClock, wheel: Wheel) -> None:
    bells = [Bell() for _ in range(1_000)]
    for number, bell in enumerate(bells):
        wheel.set(bell, clock.steady() + 5 * SECOND + number)
    await clock.pass_seconds(0)
    assert clock.sleeps == 1
    await clock.pass_seconds(6)
    for _ in range(200):
        await asyncio.sleep(0)
    assert all([await is_rung(bell) for bell in bells])


async def test_many_bells_rung_at_once_let_others_have_a_turn() -> None:
    bells = [Bell() for _ in range(AT_ONCE * 10)]
    order: list[str] = []

    async def wait(bell: Bell) -> None:
        await bell.wait()
        order.append("bell")

    waiting = [asyncio.ensure_future(wait(bell)) for bell in bells]
    await asyncio.sleep(0)
    ring_in_turn(bells)
    asyncio.get_running_loop().call_soon(order.append, "other")
    await asyncio.gather(*waiting)
    assert order.count("bell") == len(bells)
    assert order.index("other") <= 2 * AT_ONCE


async def test_who_has_watched_longest_is_woken_first() -> None:
    """By news and by the end of the house alike."""
    engine: Any = SimpleNamespace(clock=HandClock())
    source: Any = SimpleNamespace(bells={})
    watches, drain, bells = Watches(engine), asyncio.Event(), [Bell() for _ in range(60)]
    with ExitStack() as stack:
        for bell in bells:
            stack.enter_context(watches._waking(bell, source, drain))
        assert (list(source.bells), list(watches._open)) == (bells, bells)
    assert not source.bells
    await watches.stop()
