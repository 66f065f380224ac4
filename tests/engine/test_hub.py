"""Watchers wake: by the commit here, by hints from elsewhere, and by the poll when neither comes."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from paycore.core.facts import CloseAsked, OrderAsked
from paycore.core.ids import Prefix, make_id
from paycore.core.order import Details, Order, SurplusPolicy
from paycore.engine.clock import SystemClock
from paycore.engine.hints import Hints, packed, unpacked
from paycore.engine.hub import Hub
from paycore.engine.ids import SystemIds
from paycore.engine.sequencer import Sequencer
from paycore.engine.tell import Teller, Telling
from paycore.store import App, Store

APP = make_id(Prefix.APP, 0, 1)
CLOCK = SystemClock()
IDS = SystemIds(CLOCK)


@pytest.fixture
async def store(ready_url: str) -> AsyncIterator[Store]:
    opened = Store.open(ready_url, check_durability=False)
    with opened.write() as unit:
        unit.put_app(App(APP, "app", 1))
    yield opened
    opened.close()


async def made(teller: Teller) -> Order:
    order_id = IDS.mint(Prefix.ORDER)
    fact = OrderAsked(order_id, APP, "", 1, "CNY", Details("tea"), CLOCK.now() + 10**9, SurplusPolicy.HOLD)
    return (await teller.tell(Telling(order_id, fact))).order


async def test_a_commit_wakes_whoever_watches_here(store: Store) -> None:
    hub = Hub(store, CLOCK)
    teller = Teller(store, CLOCK, changed=hub.changed)
    order, other = await made(teller), await made(teller)
    heard: list[int] = []
    stop = hub.watch(order.order_id, heard.append)
    await teller.tell(Telling(other.order_id, CloseAsked()))
    assert heard == []
    told = await teller.tell(Telling(order.order_id, CloseAsked()))
    assert heard == [told.order.version]
    stop()
    assert hub.watched == 0
    await hub.stop()
    teller.close()


async def test_the_poll_finds_what_nobody_told_us(store: Store) -> None:
    hub, teller = Hub(store, CLOCK), Teller(store, CLOCK)
    order = await made(teller)
    moved = asyncio.Event()
    hub.watch(order.order_id, lambda version: moved.set() if version > order.version else None)
    await teller.tell(Telling(order.order_id, CloseAsked()))
    await asyncio.wait_for(moved.wait(), 5)
    await hub.stop()
    teller.close()


async def test_events_are_read_together_each_from_its_own_place(store: Store) -> None:
    hub, teller = Hub(store, CLOCK), Teller(store, CLOCK)
    order, other = await made(teller), await made(teller)
    await teller.tell(Telling(order.order_id, CloseAsked()))
    reads = await asyncio.gather(
        *(hub.events_after(order.order_id, after, 10) for after in (0, 1, 2, 0)),
        hub.events_after(other.order_id, 0, 10),
    )
    assert [[event.version for event in events] for events in reads] == [[1, 2], [2], [], [1, 2], [1]]
    await hub.stop()
    teller.close()


async def test_hints_reach_another_process_at_once(pg_ready: str) -> None:
    heard: asyncio.Queue[list[tuple[str, int]]] = asyncio.Queue()
    here, there = Hints(pg_ready, lambda moved: None), Hints(pg_ready, heard.put_nowait)
    store = Store.open(pg_ready, check_durability=False)
    teller = Teller(store, CLOCK, changed=here.changed)
    here.start()
    there.start()
    await asyncio.sleep(0.5)
    order = await made(teller)
    began = CLOCK.now()
    assert await asyncio.wait_for(heard.get(), 5) == [(order.order_id, 1)]
    assert CLOCK.now() - began < 300_000
    await here.stop()
    await there.stop()
    teller.close()
    store.close()


def test_hints_are_cut_into_texts_that_postgresql_takes() -> None:
    positions = [(make_id(Prefix.ORDER, 0, n), n) for n in range(1000)]
    texts = packed("me", positions)
    assert all(len(text) < 8000 for text in texts)
    assert [position for text in texts for position in unpacked(text)[1]] == positions
    assert unpacked("me nonsense or1:x") == ("me", [], False)
    assert [unpacked(text) for text in packed("me", [], have_feeds_grown=True)] == [("me", [], True)]


async def test_the_feed_of_an_app_has_every_event_once(store: Store) -> None:
    hub, grown = Hub(store, CLOCK), asyncio.Event()
    sequencers = [Sequencer(store, CLOCK, grown.set) for _ in range(2)] if store.dialect == "postgresql" else []

    def changed(orders: object) -> None:
        for sequencer in sequencers:
            sequencer.call()

    for sequencer in sequencers:
        sequencer.start()
    teller = Teller(store, CLOCK, changed=changed)
    orders = await asyncio.gather(*(made(teller) for _ in range(30)))
    await asyncio.gather(*(teller.tell(Telling(order.order_id, CloseAsked())) for order in orders))
    for _ in range(300):
        if await hub.feed_head(APP) == 60:
            break
        await asyncio.sleep(0.02)
    feed = await hub.feed(APP, 0, 1000)
    assert [seq for seq, _ in feed] == list(range(1, 61))
    for order in orders:
        assert [event.version for _, event in feed if event.order_id == order.order_id] == [1, 2]
    for sequencer in sequencers:
        await sequencer.stop()
    await hub.stop()
    teller.close()
