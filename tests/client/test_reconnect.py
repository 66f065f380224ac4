"""Retries and watching against a real server on loopback: it refuses, restarts, falls silent; the reader sees no gap."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest

from paycore.client import AsyncClient, Client, Denied, InvalidRequest, NotFound, Unavailable
from paycore.client.watching import PATIENCE_SECONDS, OrderFollow
from paycore.v1 import cashier_pb2, common_pb2, order_pb2, refund_pb2
from tests.client.scripted import (
    KEY,
    Cut,
    Hang,
    Refusal,
    Script,
    beat,
    end,
    ended,
    event,
    fed,
    refund,
    resync,
    serving,
    session,
    snapshot,
)

GONE = Refusal(grpc.StatusCode.UNAVAILABLE)
MAX_AGE, DRAINING = common_pb2.END_REASON_MAX_AGE, common_pb2.END_REASON_DRAINING

Versions = list[int]
Reader = Callable[..., Any]


async def read_async(
    port: int, watch: str, *arguments: Any, patience: float = PATIENCE_SECONDS, **named: Any
) -> list[Any]:
    async with AsyncClient(f"127.0.0.1:{port}", KEY, patience_seconds=patience) as client:
        return [message async for message in getattr(client, watch)(*arguments, **named)]


async def read_sync(
    port: int, watch: str, *arguments: Any, patience: float = PATIENCE_SECONDS, **named: Any
) -> list[Any]:
    def read() -> list[Any]:
        with Client(f"127.0.0.1:{port}", KEY, patience_seconds=patience) as client:
            return list(getattr(client, watch)(*arguments, **named))

    return await asyncio.to_thread(read)


both = pytest.mark.parametrize("read", [read_async, read_sync])


def versions(messages: list[Any]) -> Versions:
    return [message.version for message in messages]


@both
async def test_an_order_is_watched_to_its_end(read: Reader) -> None:
    script = Script([snapshot(2), beat(2), event(3), event(4), end(4)])
    async with serving(script) as port:
        seen = await read(port, "watch_order", "or1")
    assert versions(seen) == [2, 3, 4]
    assert [message.WhichOneof("message") for message in seen] == ["snapshot", "event", "event"]
    assert script.resumes == [None]
    assert script.metadata[0]["authorization"] == f"Bearer {KEY}"


@both
@pytest.mark.parametrize(
    "breaks",
    [
        [GONE],
        [Cut()],
        [end(3, MAX_AGE)],
        [end(3, DRAINING)],
        [Refusal(grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN")],
        [Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "SLOW_CONSUMER")],
        [Refusal(grpc.StatusCode.CANCELLED)],
        [event(5)],
        [beat(4)],
        [end(4)],
    ],
    ids=["gone", "cut", "max age", "draining", "shutting down", "slow", "cancelled", "gap", "early beat", "early end"],
)
async def test_a_broken_stream_goes_on_where_it_was(read: Reader, breaks: list[Any]) -> None:
    script = Script([snapshot(2), event(3), *breaks], [event(3), event(4), event(5), end(5)])
    async with serving(script) as port:
        assert versions(await read(port, "watch_order", "or1")) == [2, 3, 4, 5]
    assert script.resumes == [None, 3]


@both
async def test_a_slow_reader_gets_the_whole_order_again(read: Reader) -> None:
    script = Script([snapshot(2), resync(9), event(10), end(10)])
    async with serving(script) as port:
        seen = await read(port, "watch_order", "or1")
    assert [(message.version, message.WhichOneof("message")) for message in seen] == [
        (2, "snapshot"),
        (9, "resync"),
        (10, "event"),
    ]


@both
async def test_watching_goes_on_from_a_remembered_version(read: Reader) -> None:
    script = Script([event(8), end(8)])
    async with serving(script) as port:
        assert versions(await read(port, "watch_order", "or1", resume_after=7)) == [8]
    assert script.resumes == [7]


@both
@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        (Refusal(grpc.StatusCode.NOT_FOUND, "ORDER_NOT_FOUND"), NotFound),
        (Refusal(grpc.StatusCode.UNAUTHENTICATED, "CREDENTIALS_INVALID"), Denied),
        (Refusal(grpc.StatusCode.OUT_OF_RANGE, "RESUME_AHEAD"), InvalidRequest),
    ],
)
async def test_what_waiting_cannot_mend_is_raised(read: Reader, refusal: Refusal, kind: type[Exception]) -> None:
    script = Script([snapshot(1), GONE], [refusal], [event(2), end(2)])
    async with serving(script) as port:
        with pytest.raises(kind):
            await read(port, "watch_order", "or1")
    assert len(script.asked) == 2


@both
async def test_a_reader_gives_up_on_a_server_that_is_never_there(read: Reader) -> None:
    script = Script(*[[GONE] for _ in range(50)])
    async with serving(script) as port:
        with pytest.raises(Unavailable):
            await read(port, "watch_order", "or1", patience=0.5)
    assert 2 <= len(script.asked) < 20


@both
async def test_a_reader_gives_up_on_a_server_that_only_says_goodbye(read: Reader) -> None:
    script = Script(*[[end(0, DRAINING)] for _ in range(50)])
    async with serving(script) as port:
        with pytest.raises(Unavailable):
            await read(port, "watch_order", "or1", patience=0.5)
    assert 2 <= len(script.asked) < 20


class Hasty(OrderFollow):
    """Takes a third of a second of quiet for death."""

    silence_seconds = 0.3


def hasty() -> Hasty:
    return Hasty(order_pb2.WatchOrderRequest(order_id="or1"), None)


SILENT = ([snapshot(2), Hang()], [event(3), Hang()], [event(4), end(4)])


async def test_a_silent_stream_is_left_for_another_connection() -> None:
    script = Script(*SILENT)
    async with serving(script) as port, AsyncClient(f"127.0.0.1:{port}", KEY) as client:
        assert versions([message async for message in client.follow(hasty())]) == [2, 3, 4]
    assert script.resumes == [None, 2, 3]
    assert len(set(script.peers)) == 3


async def test_a_silent_stream_is_left_for_another_connection_by_threads_too() -> None:
    script = Script(*SILENT)
    async with serving(script) as port:

        def read() -> list[Any]:
            with Client(f"127.0.0.1:{port}", KEY) as client:
                return list(client.follow(hasty()))

        assert versions(await asyncio.to_thread(read)) == [2, 3, 4]
    assert script.resumes == [None, 2, 3]
    assert len(set(script.peers)) == 3


async def test_a_slow_consumer_is_not_taken_for_a_silent_server() -> None:
    script = Script([snapshot(2), event(3), end(3)])
    async with serving(script) as port:

        def read() -> list[Any]:
            seen = []
            with Client(f"127.0.0.1:{port}", KEY) as client:
                for message in client.follow(hasty()):
                    seen.append(message)
                    time.sleep(0.7)
            return seen

        assert versions(await asyncio.to_thread(read)) == [2, 3]
    assert len(script.asked) == 1


@both
async def test_a_restarted_server_is_found_again(read: Reader) -> None:
    script = Script([snapshot(2), event(3), Hang()], [event(4), end(4)])
    async with serving(script) as port:
        reading = asyncio.create_task(read(port, "watch_order", "or1"))
        async with asyncio.timeout(10):
            await script.was_asked.wait()
            await asyncio.sleep(0.1)
    async with serving(script, port), asyncio.timeout(20):
        assert versions(await reading) == [2, 3, 4]
    assert script.resumes == [None, 3]


@both
async def test_the_feed_goes_on_behind_its_cursor(read: Reader) -> None:
    alive = order_pb2.WatchOrdersResponse(cursor=20, heartbeat=common_pb2.Heartbeat())
    script = Script(
        [fed(4), fed(9), GONE],
        [fed(9), alive, fed(20), Cut()],
        [fed(31), Refusal(grpc.StatusCode.UNAUTHENTICATED, "CREDENTIALS_INVALID")],
    )
    async with serving(script) as port:
        assert await take(read, port) == [4, 9, 31]
    assert script.resumes == [3, 9, 20]


async def take(read: Reader, port: int) -> list[int]:
    """The cursors of the feed until the server no longer lets us in."""
    cursors: list[int] = []

    def read_in_thread() -> None:
        with Client(f"127.0.0.1:{port}", KEY) as client:
            for message in client.watch_orders(resume_after=3):
                cursors.append(message.cursor)

    async def read_in_loop() -> None:
        async with AsyncClient(f"127.0.0.1:{port}", KEY) as client:
            async for message in client.watch_orders(resume_after=3):
                cursors.append(message.cursor)

    with pytest.raises(Denied):
        await (asyncio.to_thread(read_in_thread) if read is read_sync else read_in_loop())
    return cursors


@both
async def test_refunds_and_sessions_are_watched_to_their_ends(read: Reader) -> None:
    script = Script(
        [refund(4), GONE],
        [refund(4), refund(6), ended(refund_pb2.WatchRefundResponse, 6)],
        [session(2), session(3), Cut()],
        [ended(cashier_pb2.WatchCashierSessionResponse, 3)],
    )
    async with serving(script) as port:
        assert versions(await read(port, "watch_refund", "rf1")) == [4, 6]
        assert versions(await read(port, "watch_cashier_session", "cs1")) == [2, 3]
    assert script.resumes == [None, 4, None, 3]


async def test_leaving_the_loop_closes_the_stream() -> None:
    left = asyncio.Event()

    class Open(Script):
        async def say(self, request: Any, context: Any) -> AsyncIterator[Any]:
            context.add_done_callback(lambda _: left.set())
            yield snapshot(1)
            await asyncio.sleep(30)

    async with serving(Open()) as port, AsyncClient(f"127.0.0.1:{port}", KEY) as client:
        watching = client.watch_order("or1")
        assert (await anext(watching)).version == 1
        await watching.aclose()
        async with asyncio.timeout(5):
            await left.wait()
        left.clear()

        def glance() -> int:
            with Client(f"127.0.0.1:{port}", KEY) as sync:
                for message in sync.watch_order("or1"):
                    return message.version
            return 0

        assert await asyncio.to_thread(glance) == 1
        async with asyncio.timeout(5):
            await left.wait()


async def test_closing_the_client_ends_its_watches() -> None:
    script = Script([snapshot(1), Hang()])
    async with serving(script) as port:
        client = AsyncClient(f"127.0.0.1:{port}", KEY)
        watching = client.watch_order("or1")
        await anext(watching)
        waiting = asyncio.ensure_future(anext(watching))
        await asyncio.sleep(0.05)
        await client.close()
        with pytest.raises(Unavailable):
            await asyncio.wait_for(waiting, 5)


async def test_a_cancelled_reader_stays_cancelled() -> None:
    script = Script([snapshot(1), Hang()])
    async with serving(script) as port:
        reading = asyncio.create_task(read_async(port, "watch_order", "or1"))
        async with asyncio.timeout(5):
            await script.was_asked.wait()
        await asyncio.sleep(0.05)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
    assert len(script.asked) == 1


# ---------------------------------------------------------------------------------------------- unary calls


def create(client: Any) -> Any:
    return client.create_order(merchant_order_no="T-1001", amount_minor=1200, currency="CNY", subject="Tea")


async def create_async(port: int) -> Any:
    async with AsyncClient(f"127.0.0.1:{port}", KEY) as client:
        return await create(client)


async def create_sync(port: int) -> Any:
    def ask() -> Any:
        with Client(f"127.0.0.1:{port}", KEY) as client:
            return create(client)

    return await asyncio.to_thread(ask)


either = pytest.mark.parametrize("ask", [create_async, create_sync])


@either
async def test_a_call_is_sent_again_with_the_same_request_id(ask: Reader) -> None:
    answer = order_pb2.CreateOrderResponse(order=order_pb2.Order(order_id="or1"))
    script = Script(unary=[GONE, Refusal(grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE"), answer])
    async with serving(script) as port:
        assert (await ask(port)).order_id == "or1"
    assert len(script.asked) == 3
    assert len({request.request_id for request in script.asked}) == 1


@either
async def test_a_call_is_sent_at_most_five_times(ask: Reader) -> None:
    script = Script(unary=[GONE] * 9)
    async with serving(script) as port:
        with pytest.raises(Unavailable) as caught:
            await ask(port)
    assert len(script.asked) == 5
    assert caught.value.request_id == script.asked[0].request_id


@either
async def test_a_refused_call_is_sent_once(ask: Reader) -> None:
    script = Script(unary=[Refusal(grpc.StatusCode.INVALID_ARGUMENT, "AMOUNT_NOT_POSITIVE")] * 2)
    async with serving(script) as port:
        with pytest.raises(InvalidRequest) as caught:
            await ask(port)
    assert len(script.asked) == 1
    assert caught.value.reason == "AMOUNT_NOT_POSITIVE"
    assert [violation.field for violation in caught.value.violations] == ["amount.amount_minor"]


async def test_a_deadline_ends_a_call_that_is_not_answered() -> None:
    class Slow(Script):
        async def answer(self, request: Any, context: Any) -> Any:
            self.hear(request, context)
            await asyncio.sleep(30)

    script = Slow()
    async with serving(script) as port, AsyncClient(f"127.0.0.1:{port}", KEY) as client:
        with pytest.raises(Unavailable) as caught:
            await create(client.within(0.2))
        assert caught.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
        assert caught.value.request_id == script.asked[0].request_id
