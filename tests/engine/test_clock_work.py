"""The clock: what is due is done once, when it is due, whatever happens to one worker."""

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest

from paycore.core.facts import OrderAsked, PaymentAsked, SyncAsked
from paycore.core.ids import Prefix, make_id
from paycore.core.order import Details, SurplusPolicy, Verb
from paycore.core.terms import Terms
from paycore.engine.clock_work import ClockWork
from paycore.engine.tell import Teller, Telling
from paycore.store import App, Due, Store, StoreUnavailable, Unit
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
    clock, at_work, go = FakeClock(), 0, asyncio.Event()
    await orders(store, clock, 20)
    clock.advance(601)

    async def do(due: Due) -> None:
        nonlocal at_work
        at_work += 1
        await go.wait()
        at_work -= 1

    work = ClockWork(store, clock, do, per_account=3)
    work.start()
    await until(lambda: at_work == 3, "not all of its hands are at work")
    for _ in range(10):
        clock.advance(1)
        await asyncio.sleep(0.01)
        assert at_work == 3
    go.set()
    await until(lambda: work.done == 20, "not done")
    await work.stop()


async def test_an_order_with_something_due_soon_wakes_the_clock(store: Store) -> None:
    clock, done = FakeClock(), list[Due]()

    async def do(due: Due) -> None:
        done.append(due)

    work = ClockWork(store, clock, do)
    teller = Teller(store, clock, released=work.released)
    work.start()
    await asyncio.sleep(0.05)
    order_id = SeededIds(clock).mint(Prefix.ORDER)
    fact = OrderAsked(order_id, APP, "", 1, "CNY", Details("tea"), clock.now(), SurplusPolicy.HOLD)
    await teller.tell(Telling(order_id, fact))
    await until(lambda: done, "the clock slept on")
    await work.stop()
    teller.close()


# ---------------------------------------------------------------------------------------------- fairness, faults


async def payments(store: Store, clock: FakeClock, account: int, count: int, first: int) -> list[str]:
    """Payments of one account that are to be prepared now."""
    teller, ids = Teller(store, clock), SeededIds(clock, first)
    account_id = make_id(Prefix.ACCOUNT, 0, account)
    made = []
    for order_id in [ids.mint(Prefix.ORDER) for _ in range(count)]:
        expires_at = clock.now() + 3_600_000_000
        order = OrderAsked(order_id, APP, "", 1, "CNY", Details("tea"), expires_at, SurplusPolicy.HOLD)
        asked = PaymentAsked(ids.mint(Prefix.PAYMENT), "c", "qr", account_id, "sandbox", "M", Terms(), expires_at)
        _, told = await asyncio.gather(teller.tell(Telling(order_id, order)), teller.tell(Telling(order_id, asked)))
        made.append(told.subject_id)
    teller.close()
    return made


async def test_a_slow_account_holds_up_nobody_else(store: Store) -> None:
    clock, done, go = FakeClock(), list[str](), asyncio.Event()
    slow, fast = make_id(Prefix.ACCOUNT, 0, 1), make_id(Prefix.ACCOUNT, 0, 2)
    await payments(store, clock, 1, 60, 1)
    clock.advance(1)
    quick = await payments(store, clock, 2, 20, 2)
    at_work, most = Counter[str](), Counter[str]()

    async def do(due: Due) -> None:
        account = due.account_id or ""
        at_work[account] += 1
        most[account] = max(most[account], at_work[account])
        if account == slow:
            await go.wait()
        at_work[account] -= 1
        done.append(due.subject_id)

    work = ClockWork(store, clock, do, at_once=24, per_account=8)
    work.start()

    def all_quick() -> bool:
        clock.advance(0.05)
        return set(quick) <= set(done)

    await until(all_quick, "the fast account waited for the slow one")
    assert 4 <= at_work[slow] <= 8
    go.set()

    def all_done() -> bool:
        clock.advance(0.05)
        return work.done == 80

    await until(all_done, "the slow account's tasks were not done in the end")
    assert len(set(done)) == 80
    assert most[slow] <= 8
    assert most[fast] <= 8
    await work.stop()


async def test_nothing_is_taken_that_is_not_begun(store: Store) -> None:
    clock, begun = FakeClock(), list[str]()
    await orders(store, clock, 40)
    clock.advance(601)

    async def do(due: Due) -> None:
        begun.append(due.order_id)

    work = ClockWork(store, clock, do, at_once=4)
    work.start()
    await until(lambda: begun, "nothing was begun")
    await work.stop()
    with store.read() as unit:
        taken = [order for order in unit.list_orders(APP, limit=100) if order.task and order.task.leased_until]
    assert sorted(order.order_id for order in taken) == sorted(begun)
    assert work.doing == 0


async def test_stopping_waits_for_what_is_being_done(store: Store) -> None:
    clock, done = FakeClock(), list[str]()
    await orders(store, clock, 3)
    clock.advance(601)
    started = asyncio.Event()

    async def do(due: Due) -> None:
        started.set()
        await asyncio.sleep(0.1)
        done.append(due.order_id)

    work = ClockWork(store, clock, do)
    work.start()
    await started.wait()
    await work.stop(grace_seconds=5)
    assert (len(done), work.done) == (3, 3)


class Fragile:
    """A store that cannot be reached while `fails`, and counts how often it is tried."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.dialect = store.dialect
        self.fails, self.tried = True, 0

    @contextmanager
    def read(self) -> Iterator[Unit]:
        self.tried += 1
        if self.fails:
            raise StoreUnavailable("gone")
        with self._store.read() as unit:
            yield unit

    @contextmanager
    def write(self) -> Iterator[Unit]:
        with self._store.write() as unit:
            yield unit


async def test_the_clock_outlives_a_store_that_is_gone_and_asks_it_less_and_less(store: Store) -> None:
    clock, done, gone = FakeClock(), list[str](), Fragile(store)
    await orders(store, clock, 2)
    clock.advance(601)

    async def do(due: Due) -> None:
        done.append(due.order_id)

    work = ClockWork(gone, clock, do)  # type: ignore[arg-type]
    work.start()
    for _ in range(60):
        clock.advance(1)
        await asyncio.sleep(0.01)
    assert 4 <= gone.tried <= 9
    gone.fails = False

    def all_done() -> bool:
        clock.advance(1)
        return len(done) == 2

    await until(all_done, "the clock did not come back")
    await work.stop()


async def test_an_idle_clock_looks_seldom_and_writes_nothing(store: Store) -> None:
    clock, idle = FakeClock(), Fragile(store)
    idle.fails = False
    await orders(store, clock, 1)

    async def do(due: Due) -> None:
        raise AssertionError("nothing is due")

    with store.read() as unit:
        [before] = unit.list_orders(APP)
    work = ClockWork(idle, clock, do)  # type: ignore[arg-type]
    work.start()
    for _ in range(100):
        clock.advance(0.1)
        await asyncio.sleep(0.002)
    assert idle.tried <= 7, "ten seconds are five looks"
    with store.read() as unit:
        assert unit.list_orders(APP) == [before]
    await work.stop()


async def test_a_task_whose_row_was_held_is_done_when_it_is_let_go(store: Store) -> None:
    """Whoever tells something that changes nothing holds the row all the same, and the clock passes it by."""
    clock, done, let_go = FakeClock(), list[Due](), threading.Event()

    async def do(due: Due) -> None:
        done.append(due)

    class Holding:
        dialect = store.dialect

        @contextmanager
        def write(self) -> Iterator[Unit]:
            with store.write() as unit:
                yield unit
                let_go.wait(10)

    [order_id] = await orders(store, clock, 1, seconds=0)
    work = ClockWork(store, clock, do)
    teller = Teller(Holding(), clock, released=work.released)  # type: ignore[arg-type]
    telling = asyncio.create_task(teller.tell(Telling(order_id, SyncAsked())))
    await asyncio.sleep(0.3)
    work.start()
    await asyncio.sleep(0.3)
    assert done == []
    let_go.set()
    await telling
    await until(lambda: done, "it was passed by for good")
    await work.stop()
    await teller.drain()
    teller.close()
