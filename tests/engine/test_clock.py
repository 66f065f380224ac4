"""Waiting for an instant or for news, whichever comes first, by the real clock and by one that a test holds."""

import asyncio

import pytest

from paycore.engine.clock import Clock, SystemClock
from paycore.testing.clock import FakeClock

SECOND = 1_000_000


@pytest.fixture(params=[SystemClock, FakeClock])
def clock(request: pytest.FixtureRequest) -> Clock:
    made: Clock = request.param()
    return made


async def test_an_instant_that_is_past_is_not_waited_for(clock: Clock) -> None:
    async with asyncio.timeout(1):
        await clock.sleep_until(clock.now() - SECOND, asyncio.Event())


async def test_news_end_the_wait(clock: Clock) -> None:
    wake = asyncio.Event()
    for at in (clock.now() + 3_600 * SECOND, None):
        wake.clear()
        asyncio.get_running_loop().call_soon(wake.set)
        async with asyncio.timeout(1):
            await clock.sleep_until(at, wake)


async def test_news_that_came_before_the_wait_end_it_at_once(clock: Clock) -> None:
    wake = asyncio.Event()
    wake.set()
    async with asyncio.timeout(1):
        await clock.sleep_until(None, wake)


async def test_a_wait_leaves_nothing_behind(clock: Clock) -> None:
    before = asyncio.all_tasks()
    sleeping = asyncio.create_task(clock.sleep_until(clock.now() + 3_600 * SECOND, asyncio.Event()))
    await asyncio.sleep(0)
    sleeping.cancel()
    await asyncio.gather(sleeping, return_exceptions=True)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


async def test_what_passes_is_measured_alike(clock: Clock) -> None:
    began_at, steady = clock.now(), clock.steady()
    wait = asyncio.ensure_future(clock.sleep_until(began_at + SECOND // 20, asyncio.Event()))
    if isinstance(clock, FakeClock):
        clock.advance(0.05)
    async with asyncio.timeout(1):
        await wait
    assert abs((clock.now() - began_at) - (clock.steady() - steady)) < SECOND // 100


async def test_a_fake_clock_that_is_set_back_keeps_nobody_waiting_longer() -> None:
    clock = FakeClock()
    sleeping = asyncio.create_task(clock.sleep_until(clock.now() + 10 * SECOND, asyncio.Event()))
    await asyncio.sleep(0)
    before, steady = clock.now(), clock.steady()
    clock.set(before - 600 * SECOND)
    assert (clock.now(), clock.steady()) == (before - 600 * SECOND, steady)
    clock.advance(10)
    async with asyncio.timeout(1):
        await sleeping


async def test_the_real_clock_waits_until_the_instant() -> None:
    clock = SystemClock()
    at = clock.now() + SECOND // 20
    async with asyncio.timeout(2):
        await clock.sleep_until(at, asyncio.Event())
    assert clock.now() >= at - 2_000  # the loop's own clock may be a hair ahead


async def test_a_fake_clock_wakes_whoever_slept_until_then_and_nobody_else() -> None:
    clock, woken = FakeClock(), list[int]()

    async def sleep(seconds: int) -> None:
        await clock.sleep_until(clock.now() + seconds * SECOND, asyncio.Event())
        woken.append(seconds)

    sleepers = [asyncio.create_task(sleep(seconds)) for seconds in (1, 5, 3)]
    await asyncio.sleep(0.01)
    assert woken == []
    clock.advance(3)
    await asyncio.sleep(0.01)
    assert sorted(woken) == [1, 3]
    clock.advance(2)
    await asyncio.gather(*sleepers)
    assert sorted(woken) == [1, 3, 5]
