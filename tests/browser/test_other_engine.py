"""The cashier in WebKit, the engine of every browser on iOS: the same page, another's reading of the standards."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from paycore.testing.server import RunningServer
from paycore.v1 import cashier_pb2, common_pb2, order_pb2
from tests.rpc.shop import Caller, an_order, fresh
from tests.support.webkit import WebKitApp, webkit_app

pytestmark = pytest.mark.asyncio(loop_scope="module")

SHADOW = "document.querySelector('paycore-cashier').shadowRoot"


async def until(app: WebKitApp, script: str, wanted: Callable[[Any], bool]) -> Any:
    """The script's value, once it is what is wanted."""
    seen: Any = None
    try:
        async with asyncio.timeout(20):
            while not wanted(seen := await app.run(f"return {script}")):
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"the page says: {seen}") from None
    return seen


async def says(app: WebKitApp, text: str) -> None:
    """The page may not have drawn its cashier yet when it is asked for the first time."""
    drawn = "document.querySelector('paycore-cashier')?.shadowRoot?.querySelector('.box')?.textContent ?? ''"
    await until(app, drawn, lambda seen: text in seen)


async def nobody(_handler: str, _text: str) -> None:
    """A browser has no app around the page."""


async def test_a_person_pays_by_code_in_webkit(server: RunningServer, dark_screen: str) -> None:
    async with grpc.aio.insecure_channel(server.target) as channel, webkit_app(dark_screen, nobody) as app:
        shop = Caller(channel, server.api_key)
        order = (await shop.CreateOrder(an_order(subject="龙井茶 · 两罐"))).order
        asked = cashier_pb2.CreateCashierSessionRequest(
            order_id=order.order_id, client=common_pb2.ClientContext(face="pc"), request_id=fresh()
        )
        opened = await shop.CreateCashierSession(asked)
        await app.visit(opened.page_url)
        await says(app, "龙井茶 · 两罐")
        choices = f"[...{SHADOW}.querySelectorAll('label.row[data-usable=yes]')]"
        await app.run(f"{choices}.find((row) => /QR|扫码/.test(row.textContent)).querySelector('input').click()")
        await app.run(f"{SHADOW}.querySelector('#pay').click()")
        await until(app, f"{SHADOW}.querySelectorAll('.code svg path').length", lambda seen: seen == 2)
        [payment] = (await shop.GetOrder(order_pb2.GetOrderRequest(order_id=order.order_id))).order.payments
        server.pay(payment.payment_id)
        await until(app, f"{SHADOW}.querySelector('.box').dataset.view", lambda seen: seen == "paid")
