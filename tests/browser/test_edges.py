"""What people do to a page: two tabs, two clicks, Back, another app in front, a lost line. Each of these asks the server at once."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, Request, Route, async_playwright, expect

from paycore.testing.server import RunningServer
from paycore.v1 import order_pb2
from tests.browser.conftest import chromium
from tests.browser.till import PHONE, Till, chooses, sees

pytestmark = pytest.mark.asyncio(loop_scope="module")

ASKS = re.compile("GetCashierSession")
STREAM = re.compile("WatchCashierSession")
SUBMITS = re.compile("SubmitPayment")


async def never(_route: Route) -> None:
    """A line on which nothing comes: neither an answer nor an end."""


async def deaf(page: Page) -> None:
    """The page as it stands, with a line that died without a word: what it learns now it asked for."""
    await page.route(STREAM, never)
    async with page.expect_request(STREAM):
        await page.evaluate("window.dispatchEvent(new Event('online'))")
    await page.wait_for_timeout(200)


async def is_paid(till: Till, order: order_pb2.Order) -> None:
    """Wait until the server knows."""
    async with asyncio.timeout(10):
        while (await till.stands(order)).state != order_pb2.Order.STATE_PAID:
            await asyncio.sleep(0.02)


def submitted(page: Page) -> list[str]:
    """The request ids of the payments that the page asks for from now on."""
    seen: list[str] = []

    def look(request: Request) -> None:
        if SUBMITS.search(request.url):
            seen.append(json.loads(request.post_data or "{}")["requestId"])

    page.on("request", look)
    return seen


# ------------------------------------------------------------------------------------------------ looking again


@pytest.mark.parametrize(
    ("target", "event"),
    [("window", "pageshow"), ("window", "online"), ("document", "visibilitychange"), ("window", "paycore-foreground")],
    ids=lambda word: word,
)
async def test_the_page_asks_when_somebody_may_be_back(till: Till, target: str, event: str) -> None:
    order, page = await till.visit()
    await page.locator("#pay").click()
    payment = await till.payment(order)
    await deaf(page)
    till.server.pay(payment.payment_id)
    await is_paid(till, order)
    async with page.expect_request(ASKS, timeout=2_000):
        await page.evaluate(f"{target}.dispatchEvent(new Event('{event}'))")
    await sees(page, "Payment complete")


async def test_a_page_that_nobody_sees_does_not_ask(till: Till) -> None:
    _, page = await till.visit()
    await sees(page, "Choose how to pay")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await page.evaluate(
        """() => {
          Object.defineProperty(document, 'visibilityState', { value: 'hidden', configurable: true });
          document.dispatchEvent(new Event('visibilitychange'));
        }"""
    )
    await page.wait_for_timeout(500)
    assert asked == []


# ------------------------------------------------------------------------------------------------ two tabs


async def test_a_tab_hears_of_what_another_tab_began(till: Till) -> None:
    who = await till.person()
    _, page = await till.visit(who)
    other = await who.new_page()
    await other.goto(page.url)
    await sees(other, "Choose how to pay")
    await deaf(other)
    async with other.expect_request(ASKS, timeout=4_000):
        await page.locator("#pay").click()
    await expect(other.get_by_role("img", name="Scan to pay")).to_be_visible()


async def test_two_tabs_that_pay_at_once_make_one_payment_to_scan(till: Till) -> None:
    who = await till.person()
    order, page = await till.visit(who)
    other = await who.new_page()
    await other.goto(page.url)
    await sees(other, "Choose how to pay")
    await asyncio.gather(
        *(
            tab.evaluate("document.querySelector('paycore-cashier').shadowRoot.getElementById('pay').click()")
            for tab in (page, other)
        )
    )
    for tab in (page, other):
        await expect(tab.get_by_role("img", name="Scan to pay")).to_be_visible()
    stands = await till.stands(order)
    assert len(stands.payments) == 1
    till.server.pay(stands.payments[0].payment_id)
    for tab in (page, other):
        await sees(tab, "Payment complete")


# ------------------------------------------------------------------------------------------------ two clicks


async def test_a_double_click_asks_once(till: Till) -> None:
    order, page = await till.visit()
    seen = submitted(page)
    await page.locator("#pay").dblclick()
    await expect(page.get_by_role("img", name="Scan to pay")).to_be_visible()
    assert len(seen) == 1
    assert len((await till.stands(order)).payments) == 1


async def test_a_click_whose_answer_was_lost_is_asked_again_as_the_same_payment(till: Till) -> None:
    """Also after a reload: the page may have died before it heard."""
    order, page = await till.visit()
    seen = submitted(page)
    await page.route(SUBMITS, lambda route: route.abort())
    for _ in range(2):
        await page.locator("#pay").click()
        await sees(page, "The connection is unstable")
        await expect(page.locator("#pay:not([aria-disabled])")).to_be_visible()
        await page.reload()
        await sees(page, "Choose how to pay")
    await page.unroute(SUBMITS)
    await page.locator("#pay").click()
    await expect(page.get_by_role("img", name="Scan to pay")).to_be_visible()
    assert [len(seen), len(set(seen))] == [3, 1]
    assert len((await till.stands(order)).payments) == 1


# ------------------------------------------------------------------------------------------------ Back


async def to_the_channel(till: Till, page: Page) -> None:
    await chooses(page, "page")
    await page.locator("#pay").click()
    await page.wait_for_url(re.compile("sandbox"))


async def test_paying_again_after_back_is_the_same_payment(till: Till) -> None:
    order, page = await till.visit(await till.person(size=PHONE), return_url="")
    await to_the_channel(till, page)
    await page.go_back()
    await chooses(page, "page")
    await page.locator("#pay, #again").click()
    await page.wait_for_url(re.compile("sandbox"))
    assert len((await till.stands(order)).payments) == 1
    assert (await till.stands(order)).state == order_pb2.Order.STATE_PENDING


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def remembering() -> AsyncIterator[Browser]:
    """A browser that keeps pages whole for Back, as people's browsers do and the driver's does not."""
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(
            executable_path=chromium(),
            args=["--no-sandbox", "--disable-gpu"],
            ignore_default_args=["--disable-back-forward-cache"],
        )
        yield browser
        await browser.close()


async def as_a_shop_sends_it(route: Route) -> None:
    """The page without no-store: on a shop's own page, and in browsers that keep such pages too, Back brings it back whole."""
    answer = await route.fetch()
    kept = {name: value for name, value in answer.headers.items() if name != "cache-control"}
    await route.fulfill(response=answer, headers=kept)


async def test_back_to_a_page_that_the_browser_kept_whole(server: RunningServer, remembering: Browser) -> None:
    """Its stream died while it was away, its clock stood still, and its button says that it is paying."""
    async with Till.open(server, remembering) as till:
        order, page = await till.visit(await till.person(size=PHONE), return_url="")
        await page.route(re.compile(r"/pay/cs\w+$"), as_a_shop_sends_it)
        await page.goto(page.url)
        await sees(page, "Choose how to pay")
        await page.evaluate("() => { window.kept = []; onpageshow = (event) => kept.push(event.persisted); }")
        await to_the_channel(till, page)
        till.server.pay((await till.payment(order)).payment_id)
        await is_paid(till, order)
        await page.go_back(wait_until="commit")
        await sees(page, "Payment complete")
        assert await page.evaluate("window.kept") == [True]
