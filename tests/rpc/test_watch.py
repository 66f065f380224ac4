"""Streams: a snapshot and every event behind it, or every event behind a version; signs of life; reasoned ends."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any

import grpc
import psycopg
import pytest
import pytest_asyncio
from sqlalchemy.engine import make_url

from paycore.rpc.auth import Proof, Shown
from paycore.rpc.limits import Limits
from paycore.rpc.pipeline import Call
from paycore.rpc.watch import BACKLOG, OrderSource, Watches
from paycore.store import KeyState
from paycore.v1 import cashier_pb2, common_pb2, order_pb2, refund_pb2
from paycore_sandbox.simulator import RefundEnd
from tests.rpc.shop import (
    SECOND,
    SHOP,
    Caller,
    Shop,
    a_close,
    a_payment,
    a_refund,
    an_order,
    fresh,
    open_shop,
    served,
)
from tests.rpc.small import refusal
from tests.rpc.test_bad_input_services import is_silent
from tests.support.postgres import plain

pytestmark = pytest.mark.asyncio(loop_scope="module")

FINAL, MAX_AGE = common_pb2.END_REASON_FINAL, common_pb2.END_REASON_MAX_AGE
DRAINING, CREDENTIALS_ENDED = common_pb2.END_REASON_DRAINING, common_pb2.END_REASON_CREDENTIALS_ENDED
NEVER = common_pb2.END_POLICY_NEVER
PAID, CLOSED = order_pb2.Order.STATE_PAID, order_pb2.Order.STATE_CLOSED


class Reading:
    """One open stream, read message by message."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    async def next(self) -> Any:
        """The next message, or None at the end in order."""
        message = await asyncio.wait_for(self.stream.read(), 10)
        return None if message is grpc.aio.EOF else message

    async def news(self) -> Any:
        """The next message that is no heartbeat."""
        while (message := await self.next()) is not None and message.WhichOneof("message") == "heartbeat":
            pass
        return message

    async def rest(self) -> list[Any]:
        """Everything up to the end, heartbeats left out."""
        found = []
        while (message := await self.news()) is not None:
            found.append(message)
        return found

    def cancel(self) -> None:
        self.stream.cancel()


@asynccontextmanager
async def watching(call: Any) -> AsyncIterator[Reading]:
    reading = Reading(call)
    try:
        yield reading
    finally:
        reading.cancel()


def watch(caller: Caller, order_id: str, **more: Any) -> Any:
    request = order_pb2.WatchOrderRequest(order_id=order_id, **more)
    return watching(caller.WatchOrder(request, timeout=60))


def kinds(messages: list[Any]) -> list[str]:
    return [
        message.event.kind if message.WhichOneof("message") == "event" else message.WhichOneof("message")
        for message in messages
    ]


def versions(messages: list[Any]) -> list[int]:
    return [message.version for message in messages]


# ---------------------------------------------------------------------------------------------- an order


async def test_a_life_is_told_from_the_snapshot_on_without_a_gap(market: Shop) -> None:
    order = await market.order()
    async with watch(market.app, order.order_id) as stream:
        first = await stream.next()
        assert (first.version, first.snapshot) == (1, order)
        market.pay(await market.begun(order))
        await market.deliver()
        rest = await stream.rest()
    assert kinds(rest) == ["payment.created", "payment.prepared", "payment.succeeded", "order.paid", "end"]
    assert versions(rest) == [2, 3, 4, 5, 5]
    assert [message.event.version for message in rest[:-1]] == [2, 3, 4, 5]
    assert rest[-1].end.reason == FINAL
    assert rest[-2].event.order.state == PAID


async def test_65_a_stream_of_an_order_that_is_over_tells_it_and_ends(market: Shop) -> None:
    for order in (await market.paid(), await market.closed()):
        async with watch(market.app, order.order_id) as stream:
            told = await stream.rest()
        assert kinds(told) == ["snapshot", "end"]
        assert told[0].snapshot == order
        assert told[1].end.reason == FINAL


async def test_behind_a_version_come_exactly_the_events_after_it(market: Shop) -> None:
    order = await market.paid()
    for after in range(order.version + 1):
        async with watch(market.app, order.order_id, resume_after=after) as stream:
            told = await stream.rest()
        assert versions(told) == [*range(after + 1, order.version + 1), order.version]
        assert [message.WhichOneof("message") for message in told] == ["event"] * (order.version - after) + ["end"]


async def test_a_stream_does_not_end_while_money_is_on_its_way_back(market: Shop) -> None:
    order = await market.paid()
    market.simulator.next_refunds(RefundEnd.PROCESSING)
    refund = (await market.app.CreateRefund(a_refund(order.order_id))).refund
    assert refund.state == refund_pb2.Refund.STATE_PROCESSING
    async with watch(market.app, order.order_id) as stream:
        assert kinds([await stream.news()]) == ["snapshot"]
        market.simulator.end_refund(refund.refund_id, RefundEnd.SUCCESS, market.clock.now())
        await market.deliver()
        rest = await stream.rest()
    assert sorted(kinds(rest)[:-1]) == ["payment.updated", "refund.succeeded"]
    assert rest[-1].end.reason == FINAL


async def test_a_stream_that_never_ends_goes_on_after_the_end_of_its_order(market: Shop) -> None:
    order = await market.paid()
    async with watch(market.app, order.order_id, end_policy=NEVER) as stream:
        assert kinds([await stream.next()]) == ["snapshot"]
        await market.app.CreateRefund(a_refund(order.order_id))
        assert (await stream.news()).version == order.version + 1


async def test_many_watchers_of_one_order_are_told_the_same(market: Shop) -> None:
    order = await market.order()
    openings = [watch(market.app, order.order_id) for _ in range(40)]
    streams = [await opening.__aenter__() for opening in openings]
    try:
        assert {(await stream.news()).version for stream in streams} == {1}
        await market.app.CloseOrder(a_close(order.order_id))
        told = [await stream.rest() for stream in streams]
    finally:
        for opening in openings:
            await opening.__aexit__(None, None, None)
    assert len({b"".join(message.SerializeToString() for message in one) for one in told}) == 1
    assert kinds(told[0])[-2:] == ["order.closed", "end"]


# ---------------------------------------------------------------------------------------------- signs of life


@pytest.mark.parametrize(("asked", "seconds"), [(0, 15), (5, 5), (60, 60)])
async def test_a_quiet_stream_gives_a_sign_of_life(market: Shop, asked: int, seconds: int) -> None:
    order = await market.order()
    async with watch(market.app, order.order_id, heartbeat_seconds=asked) as stream:
        await stream.next()
        for _ in range(2):
            await pass_time(market, seconds)
            beat = await stream.next()
            assert beat.WhichOneof("message") == "heartbeat"
            assert beat.version == 1
            assert beat.heartbeat.server_time.ToMicroseconds() == market.clock.now()


async def test_a_clock_that_is_set_back_keeps_no_stream_silent(market: Shop) -> None:
    order = await market.order()
    async with watch(market.app, order.order_id, heartbeat_seconds=5) as stream:
        await stream.next()
        await asyncio.sleep(0.05)
        market.clock.set(market.clock.now() - 600 * SECOND)
        try:
            await pass_time(market, 5)
            assert (await stream.next()).WhichOneof("message") == "heartbeat"
        finally:
            market.clock.set(market.clock.now() + 600 * SECOND)


async def pass_time(shop: Shop, seconds: float) -> None:
    """Let the streams come to rest, then move the clock."""
    await asyncio.sleep(0.05)
    shop.clock.advance(seconds)


# ---------------------------------------------------------------------------------------------- ends


@pytest_asyncio.fixture(loop_scope="module")
async def small(sqlite_ready: str) -> AsyncIterator[Shop]:
    """A shop whose streams are few and live for a minute."""
    async with open_shop(sqlite_ready, limits={"streams_of_order": 2, "streams_of_app": 5}, stream_seconds=60) as shop:
        yield shop


async def test_a_stream_that_is_too_old_ends_and_can_be_resumed(small: Shop) -> None:
    order = await small.order()
    async with watch(small.app, order.order_id, heartbeat_seconds=60) as stream:
        await stream.next()
        await pass_time(small, 75)
        [end] = await stream.rest()
    assert (end.version, end.end.reason) == (1, MAX_AGE)
    async with watch(small.app, order.order_id, resume_after=end.version) as stream:
        await small.app.CloseOrder(a_close(order.order_id))
        assert (await stream.news()).version == 2


async def test_every_stream_ends_when_the_server_leaves(small: Shop) -> None:
    order = await small.order()
    refund_order = await small.paid()
    small.simulator.next_refunds(RefundEnd.PROCESSING)
    refund = (await small.app.CreateRefund(a_refund(refund_order.order_id))).refund
    session, visitor = await small.open_session(order)
    app = small.app
    streams = [
        Reading(app.WatchOrder(order_pb2.WatchOrderRequest(order_id=order.order_id))),
        Reading(app.WatchOrders(order_pb2.WatchOrdersRequest())),
        Reading(app.WatchRefund(refund_pb2.WatchRefundRequest(refund_id=refund.refund_id))),
        Reading(visitor.WatchCashierSession(cashier_pb2.WatchCashierSessionRequest(session_id=session.session_id))),
    ]
    for stream in (streams[0], streams[2], streams[3]):
        assert await stream.next() is not None
    await asyncio.sleep(0.1)
    leaving = asyncio.create_task(small.process.rpc.drain(10))
    for stream in streams:
        told = await stream.rest()
        assert [message.end.reason for message in told] == [DRAINING]
        assert await stream.stream.code() is grpc.StatusCode.OK
    await asyncio.wait_for(leaving, 10)


async def test_a_stream_ends_when_its_key_is_revoked(small: Shop) -> None:
    order = await small.order()
    async with watch(small.app, order.order_id, heartbeat_seconds=60) as stream:
        await stream.next()
        with small.store.write() as unit:
            key = unit.get_key("key0")
            assert key is not None
            unit.put_key(replace(key, state=KeyState.REVOKED, revoked_at=small.clock.now()))
        small.process.authenticator.forget()
        await pass_time(small, 31)
        [end] = await stream.rest()
    assert end.end.reason == CREDENTIALS_ENDED


async def test_a_session_s_stream_ends_with_the_session(market: Shop) -> None:
    order = await market.order()
    request = cashier_pb2.CreateCashierSessionRequest(
        order_id=order.order_id, client=common_pb2.ClientContext(face="pc"), lifetime_seconds=60, request_id=fresh()
    )
    answer = await market.app.CreateCashierSession(request)
    visitor = market.session(answer.session_token)
    call = visitor.WatchCashierSession(
        cashier_pb2.WatchCashierSessionRequest(session_id=answer.session.session_id, heartbeat_seconds=60), timeout=60
    )
    async with watching(call) as stream:
        assert (await stream.next()).session.session_id == answer.session.session_id
        await pass_time(market, 61)
        [end] = await stream.rest()
    assert end.end.reason == CREDENTIALS_ENDED


async def test_66_an_order_and_an_app_have_so_many_streams(small: Shop) -> None:
    order = await small.order()
    held = [Reading(small.app.WatchOrder(order_pb2.WatchOrderRequest(order_id=order.order_id))) for _ in range(2)]
    for stream in held:
        await stream.next()
    told = await refusal(small.app.WatchOrder(order_pb2.WatchOrderRequest(order_id=order.order_id)).read())
    assert (told.code, told.reason, told.metadata) == ("RESOURCE_EXHAUSTED", "TOO_MANY_STREAMS", {"limit": "order"})
    assert told.retry_seconds is not None
    for _ in range(3):
        held.append(Reading(small.app.WatchOrder(order_pb2.WatchOrderRequest(order_id=(await small.order()).order_id))))
        await held[-1].next()
    told = await refusal(small.app.WatchOrders(order_pb2.WatchOrdersRequest()).read())
    assert (told.code, told.reason, told.metadata) == ("RESOURCE_EXHAUSTED", "TOO_MANY_STREAMS", {"limit": "app"})
    for stream in held:
        stream.cancel()
    await asyncio.sleep(0.2)
    async with watch(small.app, order.order_id) as again:
        assert kinds([await again.next()]) == ["snapshot"]


# ---------------------------------------------------------------------------------------------- slow readers


@asynccontextmanager
async def taken(
    shop: Shop, watches: Watches, order_id: str, after: int | None = None
) -> AsyncIterator[AsyncIterator[Any]]:
    """A stream that a test pulls from itself, as slowly as it likes: what the transport does, without its buffers."""
    process = shop.process
    method = next(one for one in process.methods if one.name == "WatchOrder")
    principal = await process.authenticator._directory.find(_proof(shop))
    assert principal is not None
    now = shop.clock.now()
    call = Call(
        method,
        principal,
        process.engine,
        now + 3_600 * SECOND,
        now + 3_600 * SECOND,
        asyncio.Event(),
        Limits(),
        process.authenticator,
    )
    opening = watches.of_order(call, order_id, after, OrderSource)
    async with aclosing(watches.stream(call, opening, heartbeat_seconds=0, ends_when_final=False)) as messages:
        yield messages


def _proof(shop: Shop) -> Proof:
    return Proof(Shown.KEY, hashlib.sha256(shop.app.key.encode()).hexdigest())


async def pull(messages: AsyncIterator[Any]) -> Any:
    packed = (await asyncio.wait_for(anext(messages), 10)).SerializeToString()
    return order_pb2.WatchOrderResponse.FromString(packed)


async def many_events(shop: Shop, order_id: str, least: int) -> None:
    """Small refunds, until so many events have come."""
    begun = (await shop.now(order_id)).version
    while (await shop.now(order_id)).version - begun < least:
        asks = [shop.app.CreateRefund(a_refund(order_id, 1)) for _ in range(20)]
        await asyncio.gather(*asks)


async def test_a_reader_that_falls_too_far_behind_is_told_how_the_order_stands(shop: Shop) -> None:
    order = await shop.paid()
    watches = Watches(shop.process.engine)
    async with taken(shop, watches, order.order_id) as messages:
        assert (await pull(messages)).WhichOneof("message") == "snapshot"
        await shop.app.CreateRefund(a_refund(order.order_id, 1))
        assert (await pull(messages)).version == order.version + 1
        await many_events(shop, order.order_id, BACKLOG + 70)
        told = []
        while (message := await pull(messages)).WhichOneof("message") == "event":
            told.append(message.version)
        assert message.WhichOneof("message") == "resync"
        assert told == list(range(order.version + 2, order.version + 2 + len(told)))
        now = await shop.now(order.order_id)
        assert (message.version, message.resync) == (now.version, now)
        await shop.app.CreateRefund(a_refund(order.order_id, 1))
        assert (await pull(messages)).version == now.version + 1
    await watches.stop()


async def test_a_resumed_stream_is_told_every_event_however_many(shop: Shop) -> None:
    order = await shop.paid()
    await many_events(shop, order.order_id, BACKLOG + 70)
    now = await shop.now(order.order_id)
    async with watch(shop.app, order.order_id, resume_after=0) as stream:
        told = await stream.rest()
    assert versions(told) == [*range(1, now.version + 1), now.version]


async def test_nothing_is_left_of_a_stream_that_is_over(market: Shop) -> None:
    order = await market.paid()
    watches = Watches(market.process.engine)
    before = market.process.engine.hub.watched
    async with taken(market, watches, order.order_id) as messages:
        await pull(messages)
        assert market.process.engine.hub.watched == before + 1
    assert market.process.engine.hub.watched == before
    assert not watches._topics
    assert not watches._open
    await watches.stop()


async def test_nothing_is_left_of_clients_that_went_away(market: Shop) -> None:
    hub, limits = market.process.engine.hub, market.process.rpc._pipeline.limits
    before = hub.watched, limits.streams
    readings = []
    for _ in range(30):
        order = await market.order()
        readings.append(Reading(market.app.WatchOrder(order_pb2.WatchOrderRequest(order_id=order.order_id))))
        await readings[-1].next()
    assert (hub.watched, limits.streams) == (before[0] + 30, before[1] + 30)
    for reading in readings:
        reading.cancel()
    for _ in range(100):
        if (hub.watched, limits.streams) == before:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"{hub.watched} orders are still watched, {limits.streams} streams still open")


# ---------------------------------------------------------------------------------------------- other processes


@pytest_asyncio.fixture(loop_scope="module")
async def pair(pg_ready: str) -> AsyncIterator[tuple[Shop, Caller]]:
    """Two processes on one PostgreSQL: a shop, and a caller of the other one."""
    async with (
        open_shop(pg_ready) as shop,
        served(pg_ready, shop.clock, shop.wire, seed=2) as other,
        grpc.aio.insecure_channel(other.target) as channel,
    ):
        await asyncio.sleep(0.3)  # both listen to the other's hints by then
        yield shop, Caller(channel, shop.app.key)


async def test_a_watcher_in_another_process_is_woken_at_once(pair: tuple[Shop, Caller]) -> None:
    shop, elsewhere = pair
    order = await shop.order()
    async with watch(elsewhere, order.order_id) as stream:
        assert (await stream.next()).version == 1
        began = asyncio.get_running_loop().time()
        await shop.app.CloseOrder(a_close(order.order_id))
        rest = await stream.rest()
        assert asyncio.get_running_loop().time() - began < 2.0  # the clock stands still: no poll brought it
    assert rest[-1].end.reason == FINAL
    assert versions(rest)[:-1] == list(range(2, rest[-1].version + 1))


async def test_a_stream_goes_on_in_another_process(pair: tuple[Shop, Caller]) -> None:
    shop, elsewhere = pair
    order = await shop.order()
    async with watch(shop.app, order.order_id) as stream:
        seen = [(await stream.next()).version]
        await shop.begun(order)
        seen += [(await stream.next()).version]
    async with watch(elsewhere, order.order_id, resume_after=seen[-1]) as stream:
        await shop.app.CloseOrder(a_close(order.order_id))
        shop.simulator.books.hides_until_entered = False
        seen += [(await stream.next()).version]
    assert seen == [1, 2, 3]


async def test_the_feed_of_both_processes_is_one(pair: tuple[Shop, Caller]) -> None:
    shop, elsewhere = pair
    made = []
    async with watching(elsewhere.WatchOrders(order_pb2.WatchOrdersRequest(resume_after=0), timeout=60)) as stream:
        for number in range(10):
            caller = (shop.app, elsewhere)[number % 2]
            made.append((await caller.CreateOrder(an_order())).order.order_id)
        told = [await stream.news() for _ in range(10)]
    assert {message.event.order_id for message in told} == set(made)
    assert [message.cursor for message in told] == list(range(1, 11))


# ---------------------------------------------------------------------------------------------- the database goes away


@contextmanager
def shut(url: str) -> Iterator[None]:
    """Nobody gets into this database, and whoever was in it is thrown out."""
    name, house = make_url(url).database, plain(make_url(url).set(database="postgres"))
    with psycopg.connect(house, autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        try:
            yield
        finally:
            connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')


async def test_a_stream_outlives_an_outage_of_the_database(pg_ready: str) -> None:
    async with open_shop(pg_ready) as shop:
        order = await shop.order()
        refund_order = await shop.paid()
        feed_request = order_pb2.WatchOrdersRequest(heartbeat_seconds=5)
        async with (
            watch(shop.app, order.order_id, heartbeat_seconds=5) as stream,
            watch(shop.app, refund_order.order_id, heartbeat_seconds=5, end_policy=NEVER) as other,
            watching(shop.app.WatchOrders(feed_request, timeout=60)) as feed,
        ):
            await stream.next()
            await other.next()
            with shut(pg_ready):
                for _ in range(8):  # more than a round of asking whether the key still holds
                    await pass_time(shop, 5)
                    assert (await stream.next()).WhichOneof("message") == "heartbeat"
                    assert (await other.next()).WhichOneof("message") == "heartbeat"
                    assert (await feed.next()).WhichOneof("message") in ("heartbeat", "event")
                told = await refusal(shop.app.GetOrder(order_pb2.GetOrderRequest(order_id=order.order_id)))
                assert (told.code, told.reason) == ("UNAVAILABLE", "STORE_UNAVAILABLE")
                assert is_silent(told)
            for _ in range(100):
                try:
                    await shop.app.CloseOrder(a_close(order.order_id))
                    break
                except grpc.aio.AioRpcError:
                    await asyncio.sleep(0.05)
            assert (await stream.news()).version == 2


# ---------------------------------------------------------------------------------------------- the app's feed


async def test_the_feed_tells_every_event_of_the_app_in_one_order(shop: Shop) -> None:
    paid = await shop.paid()
    await shop.rival.CreateOrder(an_order())
    closed = await shop.closed()
    total = paid.version + closed.version
    async with watching(shop.app.WatchOrders(order_pb2.WatchOrdersRequest(resume_after=0), timeout=60)) as stream:
        told = [await stream.news() for _ in range(total)]
        assert all(message.event.order_id in (paid.order_id, closed.order_id) for message in told)
        cursors = [message.cursor for message in told]
        assert cursors == sorted(set(cursors))
        for order in (paid, closed):
            own = [message.event.version for message in told if message.event.order_id == order.order_id]
            assert own == list(range(1, order.version + 1))
    async with watching(
        shop.app.WatchOrders(order_pb2.WatchOrdersRequest(resume_after=cursors[2]), timeout=60)
    ) as stream:
        assert [await stream.news() for _ in range(total - 3)] == told[3:]


async def test_the_feed_without_a_cursor_begins_now(shop: Shop) -> None:
    before = await shop.paid()
    while await shop.process.engine.hub.feed_head(SHOP) < before.version:
        await asyncio.sleep(0.02)  # on PostgreSQL the feed is numbered after the commit
    async with watching(shop.app.WatchOrders(order_pb2.WatchOrdersRequest(heartbeat_seconds=5), timeout=60)) as stream:
        await asyncio.sleep(0.3)
        order = await shop.order()
        message = await stream.news()
        assert (message.event.order_id, message.event.kind) == (order.order_id, "order.created")
        await pass_time(shop, 5)
        beat = await stream.next()
        assert (beat.WhichOneof("message"), beat.cursor) == ("heartbeat", message.cursor)


# ---------------------------------------------------------------------------------------------- refunds and sessions


async def test_a_refund_is_told_each_time_it_changes(market: Shop) -> None:
    order = await market.paid()
    market.simulator.next_refunds(RefundEnd.PROCESSING)
    refund = (await market.app.CreateRefund(a_refund(order.order_id))).refund
    async with watching(
        market.app.WatchRefund(refund_pb2.WatchRefundRequest(refund_id=refund.refund_id), timeout=60)
    ) as stream:
        first = await stream.next()
        assert first.refund == refund
        await market.app.CreateRefund(a_refund(order.order_id, 5))  # another one is not news
        market.simulator.end_refund(refund.refund_id, RefundEnd.SUCCESS, market.clock.now())
        await market.deliver()
        rest = await stream.rest()
    assert [message.WhichOneof("message") for message in rest] == ["refund", "end"]
    assert rest[0].refund.state == refund_pb2.Refund.STATE_SUCCEEDED
    assert rest[0].version > first.version
    assert rest[1].end.reason == FINAL
    after = {"resume_after": first.version}
    async with watching(
        market.app.WatchRefund(refund_pb2.WatchRefundRequest(refund_id=refund.refund_id, **after), timeout=60)
    ) as stream:
        again = await stream.rest()
    assert [message.WhichOneof("message") for message in again] == ["refund", "end"]
    assert again[0].refund == rest[0].refund


async def test_a_refund_that_did_not_change_since_is_not_told_again(market: Shop) -> None:
    order = await market.paid()
    refund = (await market.app.CreateRefund(a_refund(order.order_id))).refund
    version = (await market.now(order.order_id)).version
    request = refund_pb2.WatchRefundRequest(refund_id=refund.refund_id, resume_after=version)
    async with watching(market.app.WatchRefund(request, timeout=60)) as stream:
        assert [message.WhichOneof("message") for message in await stream.rest()] == ["end"]


async def test_a_session_is_told_each_time_its_order_changes(market: Shop) -> None:
    order = await market.order()
    session, visitor = await market.open_session(order)
    request = cashier_pb2.WatchCashierSessionRequest(session_id=session.session_id)
    async with watching(visitor.WatchCashierSession(request, timeout=60)) as stream:
        first = await stream.next()
        assert (first.version, first.session) == (1, session)
        assert any(option.is_recommended for option in first.session.options)
        market.pay(await market.begun(order))
        await market.deliver()
        rest = await stream.rest()
    assert rest[-1].end.reason == FINAL
    assert rest[-2].session.order_state == PAID
    assert versions(rest) == sorted(versions(rest))
    assert all(not option.is_recommended for option in rest[-2].session.options)


async def test_a_session_s_stream_goes_on_behind_a_version(market: Shop) -> None:
    order = await market.order()
    session, visitor = await market.open_session(order)
    paying = await market.app.PayOrder(a_payment(order.order_id))
    request = cashier_pb2.WatchCashierSessionRequest(session_id=session.session_id, resume_after=1)
    async with watching(visitor.WatchCashierSession(request, timeout=60)) as stream:
        message = await stream.next()
    assert message.version == paying.order.version
    assert message.session.payment == paying.payment
