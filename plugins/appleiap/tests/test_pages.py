"""The simulated store's pages, over HTTP beside a whole server: a person buys, and does what only Apple does."""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import AsyncIterator, Callable

import httpx2
import pytest

from paycore.channel import Reply, Request
from paycore.core.order import Order, OrderState, RefundState
from paycore.testing.server import RunningServer, running_server
from paycore_appleiap import AppStoreSimulator

from .support import BASE, NOW
from .test_http import ordered
from .world import PRODUCT


@pytest.fixture
async def server() -> AsyncIterator[RunningServer]:
    async with running_server(channels=["appleiap"]) as server:
        yield server


async def until(server: RunningServer, order: Order, holds: Callable[[Order], bool]) -> Order:
    """The order once this holds: Apple's notices come by themselves, to the address of the account."""
    async with asyncio.timeout(20):
        while True:
            found = await server.engine.reader.load(order.order_id)
            assert found is not None
            if holds(found):
                return found
            await asyncio.sleep(0.02)


async def test_a_person_buys_and_apple_gives_back_and_takes_back(server: RunningServer) -> None:
    order, _ = await ordered(server)
    shop = server.street.base_url("appleiap")
    form = {
        "product_id": PRODUCT,
        "account_token": order.payments[0].token,
        "quantity": "1",
        "price": "0.99",
        "currency": "USD",
    }
    async with httpx2.AsyncClient(trust_env=False, timeout=20, follow_redirects=True) as browser:
        assert "No transactions yet" in (await browser.get(f"{shop}/")).text
        bought = await browser.post(f"{shop}/buy", data=form)
        paid = await until(server, order, lambda now: now.state is OrderState.PAID)
        assert (paid.payments[0].captured_minor, paid.payments[0].captured_currency) == (99, "USD")
        assert PRODUCT in (await browser.get(f"{shop}/")).text
        written = re.search(r"<textarea readonly>([^<]+)</textarea>", bought.text)
        assert written is not None
        evidence = html.unescape(written[1])
        _, may_finish = await server.engine.confirm(server.app.app_id, "appleiap", evidence)
        assert may_finish, "the document on the page is what a phone brings"
        await browser.post(str(bought.url), data={"action": "refund"})
        gone = await until(server, order, lambda now: now.payments[0].refunded_minor == 99)
        assert [one.state for one in gone.refunds] == [RefundState.SUCCEEDED]
        await browser.post(str(bought.url), data={"action": "reverse"})
        await until(server, order, lambda now: now.payments[0].refunded_minor == 0)
        renewed = await browser.post(str(bought.url), data={"action": "renew"})
        assert "Renewed" in renewed.text


def browse(apple: AppStoreSimulator, method: str, path: str, body: bytes = b"") -> Reply:
    reply = apple.handle(Request(method, f"{BASE}{path}", {}, body), NOW)
    assert reply is not None
    return reply


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/nowhere", b"", 404),
        ("GET", "/sale/1", b"", 404),
        ("GET", "/buy", b"", 404),
        ("DELETE", "/", b"", 404),
        ("POST", "/buy", b"", 400),
        ("POST", "/buy", b"product_id=p&quantity=1&price=6.00&currency=XXX", 400),
        ("POST", "/buy", b"product_id=p&quantity=11&price=6.00&currency=CNY", 400),
        ("POST", "/buy", b"product_id=p&quantity=1&price=-6&currency=CNY", 400),
        ("POST", "/buy", b"product_id=p&quantity=1&price=6&currency=CNY&account_token=mine", 400),
        ("POST", "/buy", b"product_id=p&quantity=1&price=6&currency=CNY", 303),
    ],
)
def test_a_form_that_no_store_takes_sells_nothing(method: str, path: str, body: bytes, status: int) -> None:
    apple = AppStoreSimulator("pages")
    apple.settings(BASE)
    assert browse(apple, method, path, body).status == status
    assert len(apple.sales) == (status == 303)


def test_what_a_person_types_is_escaped() -> None:
    apple = AppStoreSimulator("pages")
    apple.settings(BASE)
    script = "%3Cscript%3Ealert(1)%3C%2Fscript%3E"
    made = browse(apple, "POST", "/buy", f"product_id={script}&quantity=1&price=6&currency=CNY".encode())
    wrong = browse(apple, "POST", "/buy", f"product_id={script}&quantity={script}&price=6&currency=CNY".encode())
    given = browse(apple, "GET", f"/?product_id={script}")
    path = made.headers["location"].removeprefix("/gate")
    for page in (browse(apple, "GET", path), browse(apple, "GET", "/"), wrong, given):
        assert b"<script>" not in page.body
        assert b"default-src 'none'" in page.headers["content-security-policy"].encode()
    assert browse(apple, "POST", path, b"action=explode").status == 400


def test_the_pages_need_no_key_and_the_api_does() -> None:
    apple = AppStoreSimulator("pages")
    apple.settings(BASE)
    assert browse(apple, "GET", "/").status == 200
    assert browse(apple, "GET", "/inApps/v1/transactions/1").status == 401
