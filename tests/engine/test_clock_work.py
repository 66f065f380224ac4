"""The clock: what is due is done once, when it is due, whatever happens to one worker."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from paycore.core.facts import OrderAsked
from paycore.core.ids import Prefix, make_id
from paycore.core.order import Details, SurplusPolicy, Verb
from paycore.engine.clock_work import ClockWork
from paycore.engine.tell import Teller, Telling
from paycore.store import App, Due, Store
from paycore.testing.clock import FakeClock, SeededIds

APP = make_id(Prefix.APP, 0, 1)


@pytest.fixture
async def store(ready_url: str) -> AsyncIterator[Store]:
    opened = Store.open(ready_url, check_durability=False)
    with opened.write() as unit:
        unit.put_app(App(APP, "app", 1))
    yield opened
    opened.close()


async def orders(store: Store, clock: FakeClock, count: int, *, seconds: int = 600) -> list[str]:
    """Orders that expire in so many seconds."""
    teller, ids = Teller(store, clock), SeededIds(clock)
    made = []
    for _ in range(count):
        order_id = ids.mint(Prefix.ORDER)
        expires_at = clock.now() + seconds * 1_000_000
        fact = OrderAsked(order_id, APP, "", 1, "CNY", Details("tea"), expires_at, SurplusPolicy.HOLD)
        made.append((await teller.tell(Telling(order_id, fact))).order.order_id)
    teller.close()
    return made


async def until(condition: object, what: str) -> None:
    for _ in range(400):
        if condition():  # type: ignore[operator]
            return
        await asyncio.sleep(0.01)
    raise AssertionError(what)


async def test_nothing_is_done_before_it_is_due(store: Store) -> None:
    clock, done = FakeClock(), list[Due]()

    async def do(due: Due) -> None:
        done.append(due)

    made = await orders(store, clock, 3)
    work = ClockWork(store, clock, do)
    work.start()
    await asyncio.sleep(0.1)
    assert done == []
    for _ in range(301):
        clock.advance(2)
        await asyncio.sleep(0)
    await until(lambda: len(done) == 3, "not done when due")
    assert sorted(due.order_id for due in done) == sorted(made)
    assert {due.verb for due in done} == {Verb.EXPIRE}
    await work.stop()


async def test_two_workers_share_what_is_due(store: Store) -> None:
    clock, done = FakeClock(), list[tuple[int, Due]]()
    await orders(store, clock, 50)
    clock.advance(601)

    def worker(number: int) -> ClockWork:
        async def do(due: Due) -> None:
            done.append((number, due))
            await asyncio.sleep(0.005)

        return ClockWork(store, clock, do, at_once=4)

    workers = [worker(1), worker(2)]
    for one in workers:
        one.start()
    await until(lambda: len(done) >= 50, "not everything was done")
    await asyncio.sleep(0.05)
    assert len(done) == len({due.subject_id for _, due in done}) == 50
    assert {number for number, _ in done} == {1, 2}
    for one in workers:
        await one.stop()


async def test_a_lease_that_runs_out_makes_the_task_due_again(store: Store) -> None:
    clock, taken = FakeClock(), list[Due]()
    await orders(store, clock, 1)
    clock.advance(601)

    async def hang(due: Due) -> None:
        taken.append(due)
        await asyncio.sleep(3600)

    dead = ClockWork(store, clock, hang)
    dead.start()
    await until(lambda: taken, "not taken")
    await dead.stop(grace_seconds=0)

    async def do(due: Due) -> None:
        taken.append(due)

    heir = ClockWork(store, clock, do)
    heir.start()
    await asyncio.sleep(0.1)
    assert len(taken) == 1
    for _ in range(20):
        clock.advance(2)
        await asyncio.sleep(0.01)
    await until(lambda: len(taken) == 2, "not taken again")
    assert taken[1].fence > taken[0].fence
    assert (taken[0].tries, taken[1].tries) == (1, 2)
    await heir.stop()


async def test_a_task_that_raises_stops_nothing(store: Store) -> None:
    clock, done = FakeClock(), list[str]()
    first, *_ = await orders(store, clock, 5)
    clock.advance(601)

    async def do(due: Due) -> None:
        done.append(due.order_id)
        if due.order_id == first:
            raise ValueError("poison")

    work = ClockWork(store, clock, do)
    work.start()
    await until(lambda: len(done) == 5, "the others were not done")
    await until(lambda: work.failed == 1, "the failure was not counted")
    assert work.done == 4
    await work.stop()


async def test_one_account_does_not_take_all_hands(store: Store) -> None:
    clock, at_once, most = FakeClock(), 0, 0
    await orders(store, clock, 20)
    clock.advance(601)

    async def do(due: Due) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.005)
        at_once -= 1

    work = ClockWork(store, clock, do, per_account=3)
    work.start()
    await until(lambda: work.done == 20, "not done")
    assert most == 3
    await work.stop()


async def test_an_order_with_something_due_soon_wakes_the_clock(store: Store) -> None:
    clock, done = FakeClock(), list[Due]()

    async def do(due: Due) -> None:
        done.append(due)

    work = ClockWork(store, clock, do)
    teller = Teller(store, clock, written=work.written)
    work.start()
    await asyncio.sleep(0.05)
    order_id = SeededIds(clock).mint(Prefix.ORDER)
    fact = OrderAsked(order_id, APP, "", 1, "CNY", Details("tea"), clock.now(), SurplusPolicy.HOLD)
    await teller.tell(Telling(order_id, fact))
    await until(lambda: done, "the clock slept on")
    await work.stop()
    teller.close()
