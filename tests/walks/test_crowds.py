"""Many at once: refunds, identical calls, streams."""

from __future__ import annotations

import asyncio
import resource
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
import pytest

from bench.load import Watcher, crowd
from bench.wire import Line
from paycore.client import AsyncClient, PaycoreError
from paycore.v1 import common_pb2, order_pb2, order_pb2_grpc, refund_pb2
from tests.walks.street import Street, open_street
from tests.walks.town import Town, open_town

AT_ONCE = 64
STREAMS_AT_ONCE = 2_000
STREAMS_IN_ALL = 10_000
STREAMS_OF_ORDER = 100
"""As many as one order may have."""
KILOBYTES_EACH = 40
PHONE = common_pb2.ClientContext(face="android", os="android")


@asynccontextmanager
async def one_server(store_url: str, folder: Path) -> AsyncIterator[tuple[Town, Street, AsyncClient]]:
    """A running server and a client of it."""
    async with open_street() as street, open_town(store_url, street, folder) as town:
        server = town.server()
        await server.start()
        async with AsyncClient(server.address, town.key) as client:
            yield town, street, client


async def paid_order(client: AsyncClient, street: Street, amount_minor: int) -> order_pb2.Order:
    """An order that its payer has paid."""
    order = await client.create_order(
        merchant_order_no=f"C-{uuid.uuid4().hex[:24]}", amount_minor=amount_minor, currency="CNY", subject="Tea"
    )
    street.pay((await client.pay_order(order.order_id, channel="sandbox", method="qr")).payment)
    async with asyncio.timeout(20):
        async for seen in client.watch_order(order.order_id):
            if order_pb2.Order.STATE_PAID in (seen.snapshot.state, seen.event.order.state):
                break
    return await client.get_order(order.order_id)


# ---------------------------------------------------------------------------------------------- refunds


async def test_concurrent_refunds_never_exceed_what_was_paid(store_url: str, tmp_path: Path) -> None:
    paid, each, fit = 6_400, 150, 42
    async with one_server(store_url, tmp_path) as (town, street, client):
        order = await paid_order(client, street, paid)
        street.simulator.books.refund_delay = 200_000

        async def take_back() -> refund_pb2.Refund | PaycoreError:
            try:
                return await client.create_refund(order.order_id, amount_minor=each, currency="CNY")
            except PaycoreError as refused:
                return refused

        answers = await asyncio.gather(*(take_back() for _ in range(AT_ONCE)))
        refunds = [answer for answer in answers if isinstance(answer, refund_pb2.Refund)]
        refused = [answer.reason for answer in answers if isinstance(answer, PaycoreError)]
        assert (len(refunds), len({refund.refund_id for refund in refunds})) == (fit, fit)
        assert refused == ["REFUND_EXCEEDS_BALANCE"] * (AT_ONCE - fit)

        async with asyncio.timeout(30):
            while (order := await client.get_order(order.order_id)).refunded_minor < fit * each:
                assert order.refunded_minor + order.refunding_minor == fit * each
                await asyncio.sleep(0.2)
        assert street.returned_minor(order.effective_payment_id) == fit * each
        await town.audit()


async def test_concurrent_refunds_of_everything_let_one_through(store_url: str, tmp_path: Path) -> None:
    async with one_server(store_url, tmp_path) as (town, street, client):
        order = await paid_order(client, street, 900)
        asks = (client.create_refund(order.order_id, amount_minor=900, currency="CNY") for _ in range(AT_ONCE))
        answers = await asyncio.gather(*asks, return_exceptions=True)
        assert sum(isinstance(answer, refund_pb2.Refund) for answer in answers) == 1
        assert sum(isinstance(answer, PaycoreError) for answer in answers) == AT_ONCE - 1
        await town.audit()


# ---------------------------------------------------------------------------------------------- identical calls


async def test_identical_calls_give_one_order_and_equal_answers(store_url: str, tmp_path: Path) -> None:
    asked = {
        "merchant_order_no": "SAME-0001",
        "amount_minor": 1_200,
        "currency": "CNY",
        "subject": "Tea",
        "request_id": uuid.uuid4().hex,
    }
    async with one_server(store_url, tmp_path) as (_, _, client):
        answers = await asyncio.gather(*(client.create_order(**asked) for _ in range(50)))  # type: ignore[arg-type]
        assert len({answer.SerializeToString(deterministic=True) for answer in answers}) == 1
        assert [order.order_id for order in (await client.list_orders()).orders] == [answers[0].order_id]


async def test_identical_calls_under_other_request_ids_give_one_order(store_url: str, tmp_path: Path) -> None:
    async with one_server(store_url, tmp_path) as (_, _, client):
        asks = (
            client.create_order(merchant_order_no="SAME-0002", amount_minor=1_200, currency="CNY", subject="Tea")
            for _ in range(50)
        )
        assert len({answer.order_id for answer in await asyncio.gather(*asks)}) == 1
        assert len((await client.list_orders()).orders) == 1


# ---------------------------------------------------------------------------------------------- streams


async def test_streams_opened_at_the_same_instant_all_get_their_snapshot(store_url: str, tmp_path: Path) -> None:
    async with one_server(store_url, tmp_path) as (town, _, client):
        orders = await orders_for(client, STREAMS_AT_ONCE)
        metadata = (("authorization", f"Bearer {town.key}"),)
        async with grpc.aio.insecure_channel(town.servers[0].address) as channel:
            stub = order_pb2_grpc.OrderServiceStub(channel)
            calls = [
                stub.WatchOrder(order_pb2.WatchOrderRequest(order_id=order_id), metadata=metadata)
                for order_id in orders
                for _ in range(STREAMS_OF_ORDER)
            ]
            async with asyncio.timeout(40):
                read = await asyncio.gather(*(call.read() for call in calls))
            firsts = [first for first in read if isinstance(first, order_pb2.WatchOrderResponse)]
            assert (len(calls), len(firsts)) == (STREAMS_AT_ONCE, STREAMS_AT_ONCE)
            assert {first.WhichOneof("message") for first in firsts} == {"snapshot"}
            assert {first.snapshot.order_id for first in firsts} == set(orders)
            for call in calls:
                call.cancel()


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_ten_thousand_streams_stay_open_in_one_process(sqlite_url: str, tmp_path: Path) -> None:
    allow_many_files()
    async with one_server(sqlite_url, tmp_path) as (town, _, client):
        server = town.servers[0]
        orders = await orders_for(client, STREAMS_IN_ALL)
        headers = (("authorization", f"Bearer {town.key}"),)
        lines = [await Line.open(server.address, headers) for _ in range(4)]
        before = server.rss_bytes
        watchers, seconds = await crowd(lines, orders, STREAMS_IN_ALL)
        each = (server.rss_bytes - before) / STREAMS_IN_ALL / 1000
        print(f"{STREAMS_IN_ALL} streams, {each:.1f} KB each, all with their snapshot after {seconds:.1f} s")
        assert each < KILOBYTES_EACH
        await everybody_hears(client, watchers, orders)
        assert sum(line.open_calls for line in lines) == STREAMS_IN_ALL
        for line in lines:
            line.close()


async def everybody_hears(client: AsyncClient, watchers: list[Watcher], orders: list[str]) -> None:
    """What happens to an order reaches every one of its watchers, and the streams stay open."""
    began = time.perf_counter()
    told = orders[: len(orders) // 2]
    await asyncio.gather(*(client.pay_order(order, channel="sandbox", method="app", client=PHONE) for order in told))
    listening = [watcher for watcher in watchers if watcher.order_id in set(told)]
    async with asyncio.timeout(30):
        last = max(await asyncio.gather(*(watcher.news for watcher in listening)))
    print(f"{len(listening)} watchers heard within {last - began:.2f} s")


async def orders_for(client: AsyncClient, streams: int) -> list[str]:
    """As many orders as so many streams need."""
    asks = (
        client.create_order(
            merchant_order_no=f"S-{uuid.uuid4().hex[:24]}", amount_minor=100, currency="CNY", subject="Tea"
        )
        for _ in range(streams // STREAMS_OF_ORDER)
    )
    return [order.order_id for order in await asyncio.gather(*asks)]


def allow_many_files() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
