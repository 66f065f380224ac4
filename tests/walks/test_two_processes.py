"""Two processes on one PostgreSQL: each other's watchers wake at once, work is shared, streams go on elsewhere."""

from __future__ import annotations

import asyncio
import statistics
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import grpc.aio
import httpx2

from paycore.client import AsyncClient
from paycore.v1 import common_pb2, order_pb2, order_pb2_grpc
from paycore_sandbox.simulator import NoticeFault
from tests.walks.processes import Server
from tests.walks.street import Street, open_street
from tests.walks.town import Town, open_town

AWAKE_SECONDS = 0.3
PHONE = common_pb2.ClientContext(face="android", os="android")


@dataclass
class Pair:
    """Two servers on one database, and a client of each."""

    town: Town
    street: Street
    first: Server
    second: Server
    here: AsyncClient
    there: AsyncClient


@asynccontextmanager
async def two_servers(url: str, folder: Path) -> AsyncIterator[Pair]:
    async with AsyncExitStack() as stack:
        street = await stack.enter_async_context(open_street())
        town = await stack.enter_async_context(open_town(url, street, folder))
        first, second = town.server(), town.server()
        await asyncio.gather(first.start(), second.start())
        here = await stack.enter_async_context(AsyncClient(first.address, town.key))
        there = await stack.enter_async_context(AsyncClient(second.address, town.key))
        yield Pair(town, street, first, second, here, there)


async def new_order(client: AsyncClient) -> order_pb2.Order:
    return await client.create_order(
        merchant_order_no=f"T-{uuid.uuid4().hex[:24]}", amount_minor=700, currency="CNY", subject="Tea"
    )


async def test_a_watcher_of_the_other_process_wakes_at_once(pg_url: str, tmp_path: Path) -> None:
    async with two_servers(pg_url, tmp_path) as pair:
        waits = [await seconds_to_hear(pair) for _ in range(15)]
    print(f"median {statistics.median(waits) * 1000:.0f} ms, slowest {max(waits) * 1000:.0f} ms")
    assert statistics.median(waits) < AWAKE_SECONDS
    assert sorted(waits)[-3] < AWAKE_SECONDS, "more than two of fifteen were late"


async def seconds_to_hear(pair: Pair) -> float:
    """From the answer of one process to the event on the other one's stream."""
    order = await new_order(pair.here)
    async with aclosing(pair.there.watch_order(order.order_id)) as stream, asyncio.timeout(10):
        assert (await anext(stream)).snapshot.version == order.version
        answered = asyncio.create_task(pay_here(pair, order))
        heard = await anext(stream)
        heard_at = time.perf_counter()
        assert heard.event.version == order.version + 1
        return max(0.0, heard_at - await answered)


async def pay_here(pair: Pair, order: order_pb2.Order) -> float:
    await pair.here.pay_order(order.order_id, channel="sandbox", method="app", client=PHONE)
    return time.perf_counter()


async def test_a_stream_goes_on_in_the_other_process(pg_url: str, tmp_path: Path) -> None:
    async with two_servers(pg_url, tmp_path) as pair:
        order = await new_order(pair.here)
        await pair.here.pay_order(order.order_id, channel="sandbox", method="app", client=PHONE)
        whole = [event.version for event in (await pair.here.list_order_events(order.order_id)).events]
        async with aclosing(pair.there.watch_order(order.order_id, resume_after=1)) as stream, asyncio.timeout(10):
            resumed = [(await anext(stream)).event.version for _ in whole[1:]]
        assert [1, *resumed] == whole == list(range(1, len(whole) + 1))


async def test_work_that_one_process_leaves_is_done_by_the_other(pg_url: str, tmp_path: Path) -> None:
    async with two_servers(pg_url, tmp_path) as pair:
        orders = [await new_order(pair.here) for _ in range(12)]
        asked = [(await pair.here.pay_order(one.order_id, channel="sandbox", method="qr")).payment for one in orders]
        pair.street.simulator.faults.plan_notice(NoticeFault.LOST, "trade", times=len(asked))
        pair.first.kill()
        for payment in asked:
            pair.street.pay(payment)
        async with asyncio.timeout(45):
            for order in orders:
                await until_paid(pair.there, order.order_id)
        await pair.town.audit()


async def test_both_processes_do_work(pg_url: str, tmp_path: Path) -> None:
    """Each asks the channel about some of the payments that wait; none is asked about by both at the same time."""
    async with two_servers(pg_url, tmp_path) as pair:
        orders = [await new_order(pair.here) for _ in range(40)]
        await asyncio.gather(*(pair.here.pay_order(one.order_id, channel="sandbox", method="qr") for one in orders))
        async with asyncio.timeout(30):
            while not all([await tasks_done(server) for server in (pair.first, pair.second)]):
                await asyncio.sleep(0.5)


async def test_a_process_that_leaves_sends_its_watchers_on(pg_url: str, tmp_path: Path) -> None:
    async with two_servers(pg_url, tmp_path) as pair:
        order = await new_order(pair.here)
        metadata = (("authorization", f"Bearer {pair.town.key}"),)
        async with grpc.aio.insecure_channel(pair.first.address) as channel:
            stream = order_pb2_grpc.OrderServiceStub(channel).WatchOrder(
                order_pb2.WatchOrderRequest(order_id=order.order_id), metadata=metadata
            )
            first = await anext(aiter(stream))
            pair.first.ask_to_leave()
            async with asyncio.timeout(20):
                messages = [message async for message in stream]
        assert messages[-1].end.reason == common_pb2.END_REASON_DRAINING
        assert messages[-1].version == first.version
        assert await pair.first.gone() == 0

        await pair.there.pay_order(order.order_id, channel="sandbox", method="app", client=PHONE)
        resumed = pair.there.watch_order(order.order_id, resume_after=first.version)
        async with aclosing(resumed) as rest, asyncio.timeout(10):
            assert (await anext(rest)).event.version == first.version + 1


async def until_paid(client: AsyncClient, order_id: str) -> None:
    async with aclosing(client.watch_order(order_id)) as stream:
        async for seen in stream:
            if order_pb2.Order.STATE_PAID in (seen.snapshot.state, seen.event.order.state):
                return


async def tasks_done(server: Server) -> float:
    """How many tasks this process has done, by its own count."""
    async with httpx2.AsyncClient(trust_env=False) as browser:
        page = (await browser.get(f"{server.http}/metrics")).text
    return next(float(line.split()[1]) for line in page.splitlines() if line.startswith("paycore_tasks_done_total "))
