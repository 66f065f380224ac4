"""Two processes' engines on one PostgreSQL, started as they are in production, each with its own connections."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from statistics import median

import pytest

from paycore.core.facts import CloseAsked, OrderAsked
from paycore.core.ids import Prefix, make_id
from paycore.core.order import Details, Order, OrderState, SurplusPolicy
from paycore.core.terms import SECOND
from paycore.engine import Engine
from paycore.engine.clock import SystemClock
from paycore.engine.host import Host
from paycore.engine.ids import SystemIds
from paycore.engine.keyring import Keyring
from paycore.engine.tell import Telling
from paycore.store import App, Store
from paycore.testing.wires import ScriptedCarrier

APP = make_id(Prefix.APP, 0, 1)
CLOCK = SystemClock()
IDS = SystemIds(CLOCK)
AT_ONCE = 0.3
"""How soon each other's watchers wake, in seconds. The poll alone would take half a second in the middle."""


@asynccontextmanager
async def engine(url: str) -> AsyncIterator[Engine]:
    store = Store.open(url, check_durability=False)
    running = Engine(
        store,
        host=Host([]),
        keyring=Keyring(bytes(32)),
        carrier=ScriptedCarrier(),
        clock=CLOCK,
        ids=IDS,
        public_base_url="https://pay.example",
        hints_url=url,
    )
    await running.start()
    try:
        yield running
    finally:
        await running.stop()
        store.close()


@pytest.fixture
async def engines(pg_ready: str) -> AsyncIterator[list[Engine]]:
    async with engine(pg_ready) as one, engine(pg_ready) as other:
        with one.store.write() as unit:
            unit.put_app(App(APP, "app", 1))
        for running in (one, other):
            async with asyncio.timeout(10):
                while running._hints is None or not running._hints.is_listening:
                    await asyncio.sleep(0.01)
        yield [one, other]


async def made(engine: Engine, *, seconds: float = 3_600) -> Order:
    order_id = IDS.mint(Prefix.ORDER)
    expires_at = CLOCK.now() + round(seconds * SECOND)
    fact = OrderAsked(order_id, APP, "", 1, "CNY", Details("tea"), expires_at, SurplusPolicy.HOLD)
    return (await engine.teller.tell(Telling(order_id, fact))).order


async def test_watchers_wake_at_once_wherever_the_order_moves(engines: list[Engine]) -> None:
    delays = []
    for here, there in (engines, engines[::-1]) * 3:
        order = await made(here)
        await asyncio.sleep(0.1)  # its first hint is over
        moved = asyncio.Event()
        stop = there.hub.watch(order.order_id, lambda version, moved=moved: moved.set() if version > 1 else None)  # type: ignore[misc]
        await here.teller.tell(Telling(order.order_id, CloseAsked()))
        delays.append(await seconds_until(moved))
        events = await there.hub.events_after(order.order_id, 1, 10)
        assert [(event.version, event.kind) for event in events] == [(2, "order.closed")]
        stop()
    assert median(delays) < AT_ONCE, delays


async def test_feeds_wake_at_once_whoever_numbers(engines: list[Engine]) -> None:
    """One of the two has the sequencer's lease; each commits in turn, and both watch."""
    delays = []
    for turn, writer in enumerate(engines * 3):
        told = [asyncio.Event() for _ in engines]
        readers = [asyncio.create_task(read_on(*each, turn)) for each in zip(engines, told, strict=True)]
        await asyncio.sleep(0.1)
        await made(writer)
        delays += await asyncio.gather(*map(seconds_until, told))
        await asyncio.gather(*readers)
    assert median(delays) < AT_ONCE, delays


async def read_on(engine: Engine, told: asyncio.Event, after: int) -> None:
    """Read the feed whenever it rings, and say when something is behind this place."""
    rang = asyncio.Event()
    stop = engine.hub.watch_feed(APP, rang.set)
    while not await engine.hub.feed(APP, after, 10):
        await rang.wait()
        rang.clear()
    told.set()
    stop()


async def seconds_until(event: asyncio.Event) -> float:
    began = time.perf_counter()
    async with asyncio.timeout(10):
        await event.wait()
    return time.perf_counter() - began


async def test_one_does_what_is_due_and_the_other_hears_of_it(engines: list[Engine]) -> None:
    order = await made(engines[0], seconds=0.2)
    closed = [asyncio.Event() for _ in engines]
    for watcher, event in zip(engines, closed, strict=True):
        watcher.hub.watch(order.order_id, lambda version, event=event: event.set() if version > 1 else None)  # type: ignore[misc]
    async with asyncio.timeout(5):
        await asyncio.gather(*(event.wait() for event in closed))
    stands = await engines[1].reader.load(order.order_id)
    assert stands is not None
    assert (stands.state, stands.version, stands.task) == (OrderState.CLOSED, 2, None)
    assert sum(running.clock_work.done for running in engines) == 1


async def test_orders_that_both_hear_of_at_once_are_written_once(engines: list[Engine]) -> None:
    orders = [await made(engines[0]) for _ in range(20)]
    told = await asyncio.gather(
        *(running.teller.tell(Telling(order.order_id, CloseAsked())) for order in orders for running in engines)
    )
    assert {one.order.version for one in told} == {2}
    stood = await asyncio.gather(*(engines[0].reader.load(order.order_id) for order in orders))
    assert {order.state for order in stood if order is not None} == {OrderState.CLOSED}
