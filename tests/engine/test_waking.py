"""Crowds of watchers, connections that die, processes that take over."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from sqlalchemy.engine import make_url

from paycore.core.facts import CloseAsked, OrderAsked
from paycore.core.ids import Prefix, make_id
from paycore.core.order import Details, Order, SurplusPolicy
from paycore.engine.clock import SystemClock
from paycore.engine.hints import Hints
from paycore.engine.hub import Hub
from paycore.engine.ids import SystemIds
from paycore.engine.sequencer import LEASE, Sequencer
from paycore.engine.tell import Teller, Telling
from paycore.store import App, Store, StoreUnavailable, Unit
from paycore.testing.clock import FakeClock

APP = make_id(Prefix.APP, 0, 1)
CLOCK = SystemClock()
IDS = SystemIds(CLOCK)


class Fragile:
    """A store whose reads fail on demand."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.dialect = store.dialect
        self.fails = False

    @contextmanager
    def read(self) -> Iterator[Unit]:
        if self.fails:
            raise StoreUnavailable("gone")
        with self._store.read() as unit:
            yield unit


class Runs:
    """Runs work in a thread and counts it."""

    def __init__(self) -> None:
        self.count = 0

    async def __call__(self, work: Callable[[], Any], /) -> Any:
        self.count += 1
        return await asyncio.to_thread(work)


@pytest.fixture
async def shop(each_store: Store) -> AsyncIterator[Teller]:
    """A teller whose orders nobody hears of."""
    with each_store.write() as unit:
        unit.put_app(App(APP, "app", 1))
    teller = Teller(each_store, CLOCK)
    yield teller
    await teller.drain()
    teller.close()


async def made(teller: Teller) -> Order:
    order_id = IDS.mint(Prefix.ORDER)
    fact = OrderAsked(order_id, APP, "", 1, "CNY", Details("tea"), CLOCK.now() + 10**9, SurplusPolicy.HOLD)
    return (await teller.tell(Telling(order_id, fact))).order


async def close(teller: Teller, order: Order) -> Order:
    return (await teller.tell(Telling(order.order_id, CloseAsked()))).order


# ---------------------------------------------------------------------------------------------- crowds


async def test_five_thousand_who_read_one_order_at_once_cost_one_read(shop: Teller, each_store: Store) -> None:
    order = await close(shop, await made(shop))
    runs = Runs()
    hub = Hub(each_store, CLOCK, run=runs)
    read = await asyncio.gather(*(hub.events_after(order.order_id, 0, 64) for _ in range(5_000)))
    assert runs.count == 1
    assert {tuple(event.version for event in events) for events in read} == {tuple(range(1, order.version + 1))}
    await hub.stop()


async def test_those_who_read_many_orders_at_once_are_served_in_pieces(shop: Teller, each_store: Store) -> None:
    orders = await asyncio.gather(*(made(shop) for _ in range(600)))
    runs = Runs()
    hub = Hub(each_store, CLOCK, run=runs)
    read = await asyncio.gather(*(hub.events_after(order.order_id, 0, 64) for order in orders))
    assert [events[0].order_id for events in read] == [order.order_id for order in orders]
    assert runs.count == 3
    await hub.stop()


async def test_two_thousand_watched_orders_are_polled_by_one_read(shop: Teller, each_store: Store) -> None:
    orders = await asyncio.gather(*(made(shop) for _ in range(2_000)))
    clock, runs, moved = FakeClock(), Runs(), set[str]()
    hub = Hub(each_store, clock, run=runs)
    for order in orders:
        hub.watch(order.order_id, lambda version, order_id=order.order_id: moved.add(order_id))  # type: ignore[misc]
    await asyncio.sleep(0.05)
    assert runs.count == 0, "nobody asks before the poll's time"
    clock.advance(1.1)
    await until(lambda: len(moved) == 2_000)
    assert runs.count == 1
    await hub.stop()


async def test_nobody_is_polled_for_when_nobody_watches(shop: Teller, each_store: Store) -> None:
    order = await made(shop)
    clock, runs = FakeClock(), Runs()
    hub = Hub(each_store, clock, run=runs)
    stop = hub.watch(order.order_id, lambda version: None)
    stop()
    for _ in range(5):
        clock.advance(1.1)
        await asyncio.sleep(0.01)
    assert runs.count == 0
    await hub.stop()


# ---------------------------------------------------------------------------------------------- what breaks


async def test_a_poll_that_fails_is_not_the_last(shop: Teller, each_store: Store) -> None:
    order = await made(shop)
    store, clock, moved = Fragile(each_store), FakeClock(), list[int]()
    hub = Hub(store, clock)  # type: ignore[arg-type]
    hub.watch(order.order_id, moved.append)
    store.fails = True
    for _ in range(3):
        clock.advance(1.1)
        await asyncio.sleep(0.02)
    assert moved == []
    store.fails = False
    order = await close(shop, order)

    def polled() -> bool:
        clock.advance(1.1)
        return order.version in moved

    await until(polled)
    await hub.stop()


async def test_a_watcher_that_raises_keeps_nobody_else_asleep(shop: Teller, each_store: Store) -> None:
    order, other = await made(shop), await made(shop)
    clock, moved = FakeClock(), list[int]()
    hub = Hub(each_store, clock)

    def broken(version: int) -> None:
        raise RuntimeError("broken")

    for one in (order, other):
        hub.watch(one.order_id, broken)
        hub.watch(one.order_id, moved.append)
    await asyncio.sleep(0)
    clock.advance(1.1)
    await until(lambda: moved == [1, 1])
    await hub.stop()


async def test_hints_connect_again_by_themselves(pg_ready: str) -> None:
    heard, grew = list[tuple[str, int]](), asyncio.Event()
    store = Store.open(pg_ready, check_durability=False)
    with store.write() as unit:
        unit.put_app(App(APP, "app", 1))
    here, there = Hints(pg_ready, lambda moved: None), Hints(pg_ready, heard.extend, grew.set)
    teller = Teller(store, CLOCK, changed=here.changed)
    here.start()
    there.start()
    await until(lambda: there.is_listening)
    cut_hints(pg_ready)
    await until(lambda: not there.is_listening)
    orders = [await made(teller) for _ in range(3)]
    here.grown()
    await until(lambda: there.is_listening)
    await close(teller, orders[0])
    await until(lambda: (orders[0].order_id, 2) in heard)
    here.grown()
    await asyncio.wait_for(grew.wait(), 5)
    await here.stop()
    await there.stop()
    teller.close()
    store.close()


def cut_hints(url: str) -> None:
    """Cut every connection that hints go over."""
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'paycore hints' AND datname = current_database()"
        )


# ---------------------------------------------------------------------------------------------- two processes


async def test_another_sequencer_takes_over_when_the_first_one_is_gone(pg_ready: str) -> None:
    store = Store.open(pg_ready, check_durability=False)
    with store.write() as unit:
        unit.put_app(App(APP, "app", 1))
    clock, hub, teller = FakeClock(), Hub(store, CLOCK), Teller(store, CLOCK)
    grown: list[str] = []
    first = Sequencer(store, clock, lambda: grown.append("first"))
    first.start()
    await made(teller)
    first.call()
    await until(lambda: grown == ["first"])
    second = Sequencer(store, clock, lambda: grown.append("second"))
    second.start()
    await made(teller)
    second.call()
    await asyncio.sleep(0.2)
    assert grown == ["first"], "only who holds the lease numbers"
    await first.stop()
    second.call()
    await until(lambda: grown == ["first", "second"])

    third = Sequencer(store, clock, lambda: grown.append("third"))
    assert second._task is not None
    second._task.cancel()  # it dies without a word: its lease runs out
    clock.advance(LEASE / 1_000_000 + 1)
    await made(teller)
    third.start()
    await until(lambda: grown == ["first", "second", "third"])
    assert [seq for seq, _ in await hub.feed(APP, 0, 10)] == [1, 2, 3]
    await third.stop()
    await hub.stop()
    teller.close()
    store.close()


async def until(true: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.01)
