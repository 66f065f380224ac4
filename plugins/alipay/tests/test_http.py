"""Notices over HTTP, at the door of a whole server."""

from __future__ import annotations

import asyncio
import random

import httpx2

from paycore.core.order import Details
from paycore.engine.cashier import Choice
from paycore.engine.orders import OrderDraft
from paycore.testing.clock import FakeClock
from paycore.testing.server import RunningServer, running_server
from paycore_alipay.simulator import AlipaySimulator

from .support import BUYER, NOW

FORGED = 2000
AT_ONCE = 20


async def genuine(server: RunningServer) -> tuple[str, str, bytes]:
    """The payment, the address and the body of a notice that is still to be delivered."""
    alipay, app_id = server.simulators["alipay"], server.app.app_id
    assert isinstance(alipay, AlipaySimulator)
    order = (await server.engine.create_order(app_id, OrderDraft(8888, "CNY", Details("Tea")), None)).order
    choice = Choice("alipay", "jsapi", inputs={"buyer_open_id": BUYER})
    told = await server.engine.pay(app_id, order.order_id, choice, None)
    alipay.pay(told.subject_id, server.clock.now())
    [notice] = alipay.due(server.clock.now())  # in the same breath, before the street's postman sees it
    return order.order_id, notice.request.url, notice.request.body


def spoilt(body: bytes, chance: random.Random) -> bytes:
    """The notice with something changed, left out, put in or said twice."""
    made = bytearray(body)
    place = chance.randrange(len(made))
    match chance.randrange(5):
        case 0:
            made[place] ^= 1 << chance.randrange(8)
        case 1:
            del made[place]
        case 2:
            made.insert(place, chance.choice(b"&=%+ 0aA\x00\xff"))
        case 3:
            return body + b"&" + chance.choice(body.split(b"&"))
        case 4:
            return body[:place]
    return bytes(made)


async def test_thousands_of_forgeries_change_nothing_and_ask_nobody() -> None:
    chance = random.Random(11)
    async with (
        running_server(channels=["alipay"], clock=FakeClock(NOW)) as server,
        httpx2.AsyncClient(trust_env=False, timeout=30) as outside,
    ):
        order_id, url, body = await genuine(server)
        alipay = server.simulators["alipay"]
        assert isinstance(alipay, AlipaySimulator)
        calls, before = len(alipay.calls), await server.engine.reader.load(order_id)
        statuses: set[tuple[int, bytes]] = set()

        async def forge(number: int) -> None:
            for _ in range(number):
                reply = await outside.post(url, content=spoilt(body, chance))
                statuses.add((reply.status_code, reply.content))

        await asyncio.gather(*(forge(FORGED // AT_ONCE) for _ in range(AT_ONCE)))
        assert statuses == {(401, b"fail")}
        assert await server.engine.reader.load(order_id) == before
        assert len(alipay.calls) == calls
        taken = await outside.post(url, content=body)
        assert (taken.status_code, taken.content) == (200, b"success")
        assert taken.headers["content-type"].startswith("text/plain")
        after = await server.engine.reader.load(order_id)
        assert after is not None
        assert after.state.value == "PAID"
