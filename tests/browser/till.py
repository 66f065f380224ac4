"""Hands for the tests: an order with its page, a person's browser, and what they see."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from playwright.async_api import Browser, BrowserContext, Page, expect

from paycore.testing.server import RunningServer
from paycore.v1 import cashier_pb2, common_pb2, order_pb2, payment_pb2
from tests.rpc.shop import Caller, an_order, fresh

PHONE, DESK, CAR = {"width": 360, "height": 740}, {"width": 1100, "height": 760}, {"width": 1280, "height": 720}


@dataclass
class Till:
    """A shop that hands out links to its cashier."""

    server: RunningServer
    browser: Browser
    app: Caller
    troubles: list[str] = field(default_factory=list)
    """What a page complained of: scripts that failed, what its policy forbade."""

    @classmethod
    @asynccontextmanager
    async def open(cls, server: RunningServer, browser: Browser) -> AsyncIterator[Till]:
        async with grpc.aio.insecure_channel(server.target) as channel:
            till = cls(server, browser, Caller(channel, server.api_key))
            yield till
            for context in list(browser.contexts):
                await context.close()
            assert till.troubles == []

    async def session(self, **order: Any) -> tuple[order_pb2.Order, cashier_pb2.CreateCashierSessionResponse]:
        """An order and its session."""
        made = (await self.app.CreateOrder(an_order(subject="龙井茶 · 两罐", **order))).order
        asked = cashier_pb2.CreateCashierSessionRequest(
            order_id=made.order_id, client=common_pb2.ClientContext(face="pc"), request_id=fresh()
        )
        return made, await self.app.CreateCashierSession(asked)

    async def person(self, *, size: dict[str, int] = DESK, locale: str = "en", theme: str = "light") -> BrowserContext:
        """Somebody's browser."""
        context = await self.browser.new_context(viewport=size, locale=locale, color_scheme=theme)  # type: ignore[arg-type]
        context.set_default_timeout(15_000)
        context.on("weberror", lambda error: self.troubles.append(str(error.error)))
        context.on("console", lambda said: self.troubles.append(said.text) if "Policy" in said.text else None)
        return context

    async def visit(self, who: BrowserContext | None = None, **order: Any) -> tuple[order_pb2.Order, Page]:
        """An order, and somebody who looks at its page."""
        made, opened = await self.session(**order)
        page = await (who or await self.person()).new_page()
        await page.goto(opened.page_url)
        return made, page

    async def stands(self, order: order_pb2.Order) -> order_pb2.Order:
        return (await self.app.GetOrder(order_pb2.GetOrderRequest(order_id=order.order_id))).order  # type: ignore[no-any-return]

    async def payment(self, order: order_pb2.Order) -> payment_pb2.Payment:
        """The payment that waits for its payer, once there is one."""
        for _ in range(200):
            waiting = [
                one for one in (await self.stands(order)).payments if one.state == payment_pb2.Payment.STATE_PENDING
            ]
            if waiting:
                return waiting[-1]
            await asyncio.sleep(0.05)
        raise AssertionError("nobody began to pay")


async def sees(page: Page, text: str) -> None:
    """Wait until the page says this."""
    await expect(page.locator("paycore-cashier")).to_contain_text(text, timeout=15_000)


async def chooses(page: Page, method: str) -> None:
    await page.locator("label.row", has_text=method).click()
