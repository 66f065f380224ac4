"""Notices over HTTP, at the door of a whole server."""

from __future__ import annotations

import asyncio

import httpx2

from paycore.core.order import Details, Order
from paycore.engine.cashier import Choice
from paycore.engine.orders import OrderDraft
from paycore.testing.clock import FakeClock
from paycore.testing.server import RunningServer, running_server
from paycore_wechatpay import WechatPaySimulator, wire

from .spoiling import Spoiler
from .support import NOW, raw

FORGED = 2000
AT_ONCE = 20


async def ordered(server: RunningServer) -> Order:
    """An order with a code that somebody is about to scan."""
    app_id = server.app.app_id
    order = (await server.engine.create_order(app_id, OrderDraft(8888, "CNY", Details("Tea")), None)).order
    choice = Choice("wechatpay", "native", client={"client_ip": "203.0.113.7"})
    return (await server.engine.pay(app_id, order.order_id, choice, None)).order


async def test_thousands_of_forgeries_change_nothing_and_ask_nobody() -> None:
    async with (
        running_server(channels=["wechatpay"], clock=FakeClock(NOW)) as server,
        httpx2.AsyncClient(trust_env=False, timeout=30) as outside,
    ):
        wechat = server.simulators["wechatpay"]
        assert isinstance(wechat, WechatPaySimulator)
        before = await ordered(server)
        wechat.pay(before.payments[0].payment_id, NOW)
        [notice] = wechat.due(NOW)  # in the same breath, before the street's postman sees it
        url, genuine, calls = notice.request.url, raw(notice.request), len(wechat.calls)
        spoiler, left = Spoiler(genuine, 11), iter(range(FORGED))
        statuses: set[tuple[int, str]] = set()

        async def forge() -> None:
            for _ in left:
                spoilt = spoiler.next()
                reply = await outside.post(url, content=spoilt.body, headers=dict(spoilt.headers))
                statuses.add((reply.status_code, wire.read(reply.content)["code"]))

        await asyncio.gather(*(forge() for _ in range(AT_ONCE)))
        assert next(left, None) is None
        assert statuses == {(401, "FAIL")}
        assert await server.engine.reader.load(before.order_id) == before
        assert await server.engine.list_anomalies(server.app.app_id) == []
        assert len(wechat.calls) == calls
        taken = await outside.post(url, content=genuine.body, headers=dict(genuine.headers))
        assert (taken.status_code, taken.content) == (204, b"")
        after = await server.engine.reader.load(before.order_id)
        assert after is not None
        assert after.state.value == "PAID"
