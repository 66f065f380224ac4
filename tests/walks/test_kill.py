"""kill -9 at any moment, and start again: nothing acknowledged is lost, every due task goes on, watchers see no gap."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest

from paycore.client import AsyncClient, Unavailable
from paycore.v1 import common_pb2, order_pb2, payment_pb2, refund_pb2
from tests.walks.processes import Server
from tests.walks.street import Street, open_street
from tests.walks.town import open_town

T = TypeVar("T")

KILLS = 6
CUSTOMERS = 6
AMOUNT = 3_000
REFUNDS = (1_000, 500)
METHODS = ("app", "qr", "redirect")
PATIENCE_SECONDS = 100.0
"""A worker that was killed leaves a lease of half a minute; two in a row, and some asking again, stay below this."""


@dataclass
class Journal:
    """What one customer did and what the server acknowledged: the promises that it must keep."""

    asked: dict[str, Any]
    order: order_pb2.Order
    payment: payment_pb2.Payment | None = None
    refunds: dict[str, refund_pb2.Refund] = field(default_factory=dict)
    """By our request_id."""
    versions: list[int] = field(default_factory=list)
    """As the watcher saw them, over however many processes."""
    is_done: bool = False


class Customer:
    """Somebody who buys, pays and takes a part back, again and again, and never takes silence for an answer."""

    def __init__(self, client: AsyncClient, street: Street, rng: random.Random) -> None:
        self.journals: list[Journal] = []
        self._client = client
        self._street = street
        self._rng = rng

    async def go_on(self, is_over: asyncio.Event) -> None:
        while not is_over.is_set():
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await self._live()
            except TimeoutError:
                journal = self.journals[-1]
                stuck = await self._client.explain_order(journal.order.order_id)
                raise AssertionError(f"a life did not go on: {journal.versions}\n{stuck}") from None

    async def _live(self) -> None:
        asked: dict[str, Any] = {
            "merchant_order_no": f"K-{uuid.uuid4().hex[:24]}",
            "amount_minor": AMOUNT,
            "currency": "CNY",
            "subject": "Tea",
            "request_id": uuid.uuid4().hex,
        }
        journal = Journal(asked, await insist(lambda: self._client.create_order(**asked)))
        self.journals.append(journal)
        async with asyncio.TaskGroup() as group:
            is_paid, is_returned = asyncio.Event(), asyncio.Event()
            watching = group.create_task(self._watch(journal, is_paid, is_returned))
            journal.payment = await self._begin(journal.order.order_id)
            self._street.pay(journal.payment)
            await is_paid.wait()
            for amount in REFUNDS:
                await self._take_back(journal, amount)
            await is_returned.wait()
            watching.cancel()
        journal.is_done = True

    async def _watch(self, journal: Journal, is_paid: asyncio.Event, is_returned: asyncio.Event) -> None:
        """Follow the order over every restart, and say when it is paid and when every refund has gone through."""
        returned = set[str]()
        stream = self._client.watch_order(
            journal.order.order_id, heartbeat_seconds=5, end_policy=common_pb2.END_POLICY_NEVER
        )
        async with aclosing(stream):
            async for seen in stream:
                journal.versions.append(seen.version)
                if order_pb2.Order.STATE_PAID in (seen.snapshot.state, seen.event.order.state):
                    is_paid.set()
                if seen.event.refund.state == refund_pb2.Refund.STATE_SUCCEEDED:
                    returned.add(seen.event.refund.refund_id)
                if len(returned) == len(REFUNDS):
                    is_returned.set()

    async def _begin(self, order_id: str) -> payment_pb2.Payment:
        """Begin a payment and return it with its action, however often the server dies meanwhile."""
        ask: dict[str, Any] = {
            "channel": "sandbox",
            "method": self._rng.choice(METHODS),
            "request_id": uuid.uuid4().hex,
        }
        payment = (await insist(lambda: self._client.pay_order(order_id, **ask))).payment
        while not payment.is_action_ready:
            await asyncio.sleep(0.2)
            payment = (await insist(lambda: self._client.get_order(order_id))).payments[0]
        return payment

    async def _take_back(self, journal: Journal, amount_minor: int) -> None:
        request_id = uuid.uuid4().hex
        journal.refunds[request_id] = await insist(
            lambda: self._client.create_refund(
                journal.order.order_id, amount_minor=amount_minor, currency="CNY", request_id=request_id
            )
        )


async def insist(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask the same thing until there is an answer. Only silence is asked again; a refusal is a refusal."""
    while True:
        try:
            return await ask()
        except Unavailable:
            await asyncio.sleep(0.1)


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_nothing_acknowledged_is_lost(store_url: str, tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    async with open_street() as street, open_town(store_url, street, tmp_path) as town:
        server = town.server()
        await server.start()
        async with AsyncClient(server.address, town.key, timeout_seconds=5) as client:
            customers = [Customer(client, street, random.Random(rng.random())) for _ in range(CUSTOMERS)]
            is_over = asyncio.Event()
            async with asyncio.TaskGroup() as group:
                for customer in customers:
                    group.create_task(customer.go_on(is_over))
                await kill_again_and_again(server, rng)
                is_over.set()
            journals = [journal for customer in customers for journal in customer.journals]
            await check_promises(client, journals)
            check_channel(street, journals)
        await server.leave()
        await town.audit()


async def kill_again_and_again(server: Server, rng: random.Random) -> None:
    """Kill it at moments that nobody chose, one of them while it starts."""
    starts_short = rng.randrange(KILLS)
    for turn in range(KILLS):
        await asyncio.sleep(rng.uniform(0.05, 1.5))
        server.kill()
        if turn == starts_short:
            server.spawn()
            await asyncio.sleep(rng.uniform(0.1, 1.0))
            server.kill()
        await server.start()


async def check_promises(client: AsyncClient, journals: list[Journal]) -> None:
    """Everything that was acknowledged is there, under the ids that were told, and watchers saw every version once."""
    assert len(journals) > CUSTOMERS
    assert all(journal.is_done for journal in journals)
    for journal in journals:
        order = await client.get_order(merchant_order_no=journal.asked["merchant_order_no"])
        assert order.order_id == journal.order.order_id
        assert (await client.create_order(**journal.asked)).order_id == order.order_id
        assert order.state == order_pb2.Order.STATE_PAID
        assert [payment.payment_id for payment in order.payments] == [journal.payment and journal.payment.payment_id]
        assert {refund.refund_id for refund in order.refunds} == {one.refund_id for one in journal.refunds.values()}
        assert (order.captured_minor, order.refunding_minor, order.refunded_minor) == (AMOUNT, 0, sum(REFUNDS))
        assert not order.open_anomalies
        first, last = journal.versions[0], journal.versions[-1]
        assert journal.versions == list(range(first, last + 1)), "a watcher saw a gap or a version twice"


def check_channel(street: Street, journals: list[Journal]) -> None:
    """The channel's own books agree: every customer paid once, and got back what was asked, once."""
    books = street.simulator.books
    assert set(books.trades) == {journal.payment.payment_id for journal in journals if journal.payment}
    assert {trade.returned_minor for trade in books.trades.values()} == {sum(REFUNDS)}
    assert set(books.refunds) == {one.refund_id for journal in journals for one in journal.refunds.values()}
