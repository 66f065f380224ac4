"""Notices over HTTP, at the door of a whole server."""

from __future__ import annotations

import asyncio
import json

import httpx2

from paycore.core.order import Details, LineItem, Order
from paycore.engine.cashier import Choice
from paycore.engine.orders import OrderDraft
from paycore.testing.clock import FakeClock
from paycore.testing.mutate import Mutator
from paycore.testing.server import RunningServer, running_server
from paycore_appleiap import AppStoreSimulator

from .support import NOW
from .world import PRODUCT

FORGED = 2000
AT_ONCE = 20


async def ordered(server: RunningServer) -> tuple[Order, str]:
    """An order that a phone is about to pay, and the plan that the phone was given."""
    details = Details("100 gold", items=(LineItem(PRODUCT, "100 gold", 1, 600),))
    app_id = server.app.app_id
    order = (await server.engine.create_order(app_id, OrderDraft(600, "CNY", details), None)).order
    choice = Choice("appleiap", "purchase", client={"face": "ios"})
    told = await server.engine.pay(app_id, order.order_id, choice, None)
    return told.order, told.order.payments[0].plan_json


def says_the_same(body: bytes, genuine: bytes) -> bool:
    """Whether only the JSON around Apple's document changed: no more than white space."""
    try:
        return bool(json.loads(body) == json.loads(genuine))
    except ValueError:
        return False


async def test_thousands_of_forgeries_change_nothing_and_ask_nobody() -> None:
    mutator = Mutator(11)
    async with (
        running_server(channels=["appleiap"], clock=FakeClock(NOW)) as server,
        httpx2.AsyncClient(trust_env=False, timeout=30) as outside,
    ):
        apple = server.simulators["appleiap"]
        assert isinstance(apple, AppStoreSimulator)
        before, plan = await ordered(server)
        sale = apple.buy(plan, NOW, amount_minor=600)
        apple.announce("ONE_TIME_CHARGE", sale, NOW)
        [notice] = apple.due(NOW)  # in the same breath, before the street's postman sees it
        url, body = notice.request.url, notice.request.body
        statuses: set[tuple[int, bytes]] = set()
        sent = 0

        async def forge() -> None:
            nonlocal sent
            while sent < FORGED:
                spoilt = mutator.spoil(body)
                if says_the_same(spoilt, body):
                    continue
                sent += 1
                reply = await outside.post(url, content=spoilt)
                statuses.add((reply.status_code, reply.content))

        await asyncio.gather(*(forge() for _ in range(AT_ONCE)))
        assert sent >= FORGED
        assert statuses == {(401, b"")}
        assert await server.engine.reader.load(before.order_id) == before
        assert await server.engine.list_anomalies(server.app.app_id) == []
        assert apple.calls == []
        taken = await outside.post(url, content=body)
        assert (taken.status_code, taken.content) == (200, b"")
        after = await server.engine.reader.load(before.order_id)
        assert after is not None
        assert after.state.value == "PAID"
