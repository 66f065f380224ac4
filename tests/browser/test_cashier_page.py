"""The cashier as people meet it: real Chromium, real server, and the sandbox as the channel."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from playwright.async_api import Page, expect

from paycore.core.offers import Offer, OfferKind
from paycore.store import OfferState, StoredOffer
from paycore.v1 import order_pb2, payment_pb2
from tests.browser.till import CAR, DESK, PHONE, Till, chooses, sees
from tests.rpc.shop import money
from tests.support.loud import loudly_skip

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_person_scans_the_code_and_the_page_turns_to_paid(till: Till) -> None:
    order, page = await till.visit(amount=money(12_800))
    await sees(page, "CN¥128.00")
    await chooses(page, "QR")
    await page.get_by_role("button", name=re.compile("Pay CN")).click()
    await expect(page.get_by_role("img", name="Scan to pay")).to_be_visible()
    till.server.pay((await till.payment(order)).payment_id)
    await sees(page, "Payment complete")
    assert (await till.stands(order)).state == order_pb2.Order.STATE_PAID


async def test_it_says_paid_only_when_the_server_does(till: Till) -> None:
    """A phone that claims success makes the server ask; nothing else."""
    order, page = await till.visit()
    await page.evaluate(
        """() => { document.querySelector('paycore-cashier').runtime =
             {can: () => true, run: async () => ({outcome: 'success_claimed', rawCode: '9000'})}; }"""
    )
    await page.locator("#pay").click()
    await sees(page, "Confirming your payment")
    payment = await till.payment(order)
    await asyncio.sleep(1)
    await sees(page, "Confirming your payment")
    assert (await till.stands(order)).state == order_pb2.Order.STATE_PENDING
    till.server.pay(payment.payment_id)
    await sees(page, "Payment complete")


@pytest.mark.parametrize(("outcome", "says"), [("cancelled", "Payment cancelled"), ("failed", "Choose how to pay")])
async def test_what_a_shell_did_not_finish_can_be_tried_again(till: Till, outcome: str, says: str) -> None:
    _, page = await till.visit()
    await page.evaluate(
        """(outcome) => { document.querySelector('paycore-cashier').runtime =
             {can: () => true, run: async () => ({outcome, rawCode: '6001'})}; }""",
        outcome,
    )
    await page.locator("#pay").click()
    await sees(page, says)
    await expect(page.locator("#pay")).to_be_enabled()


async def test_a_shell_without_the_app_falls_back_to_the_next_step(till: Till) -> None:
    _, page = await till.visit(await till.person(size=DESK))
    await page.evaluate(
        """() => { document.querySelector('paycore-cashier').runtime =
             {can: () => true, run: async () => ({outcome: 'not_installed'})}; }"""
    )
    await page.locator("#pay").click()
    await sees(page, "cannot open this way of paying")


async def test_the_payer_comes_back_from_the_channels_page(till: Till) -> None:
    order, page = await till.visit(await till.person(size=PHONE), return_url="")
    await chooses(page, "page")
    await page.locator("#pay").click()
    await page.wait_for_url(re.compile("sandbox"))
    payment = await till.payment(order)
    await page.go_back()
    await expect(page.locator("#pay, #again")).to_have_count(1)
    till.server.pay(payment.payment_id)
    await sees(page, "Payment complete")


async def test_a_page_that_lost_its_line_finds_out(till: Till) -> None:
    who = await till.person()
    order, page = await till.visit(who)
    await page.locator("#pay").click()
    payment = await till.payment(order)
    await who.set_offline(True)
    till.server.pay(payment.payment_id)
    await asyncio.sleep(1)
    await who.set_offline(False)
    await sees(page, "Payment complete")


async def test_an_order_that_was_closed_says_so(till: Till) -> None:
    order, page = await till.visit()
    await sees(page, "Choose how to pay")
    await till.app.CloseOrder(order_pb2.CloseOrderRequest(order_id=order.order_id, request_id="close-it-now-please"))
    await sees(page, "This order is closed")


async def test_a_link_opens_once(till: Till) -> None:
    _, opened = await till.session()
    mine, theirs = await till.person(), await till.person()
    page, other = await mine.new_page(), await theirs.new_page()
    await page.goto(opened.page_url)
    await sees(page, "Choose how to pay")
    assert "code=" not in page.url
    await other.goto(opened.page_url)
    await expect(other.locator("body")).to_contain_text("This link has been used")
    await page.goto(opened.page_url)  # Back, in the browser that opened it
    await sees(page, "Choose how to pay")


async def test_a_code_that_runs_out_is_renewed_by_another_payment(till: Till) -> None:
    """The page's clock is the server's; the channel's code is good for as long as the order."""
    soon = Timestamp()
    soon.FromMicroseconds(till.server.clock.now() + 62_000_000)
    _, page = await till.visit(expire_time=soon)
    await expect(page.locator(".countdown").first).to_have_text(re.compile(r"(1:0\d|0:5\d) left to pay"))


# ---------------------------------------------------------------------------------------------- how it looks


@pytest.mark.parametrize("locale", ["en", "zh-CN"])
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESK, CAR], ids=["phone", "desk", "car"])
async def test_nothing_is_wider_than_the_screen(till: Till, size: dict[str, int], theme: str, locale: str) -> None:
    long = "A rather long name of something that somebody sells " * 2
    _, page = await till.visit(await till.person(size=size, theme=theme, locale=locale), description=long)
    await expect(page.locator("#pay")).to_be_visible()
    await chooses(page, "QR" if locale == "en" else "扫码")
    assert await fits(page)
    await page.locator("#pay").click()
    await expect(page.locator(".code svg")).to_be_visible()
    assert await fits(page)


async def fits(page: Page) -> bool:
    width, inner = await page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    return bool(width <= inner)


async def test_the_keyboard_is_enough(till: Till) -> None:
    order, page = await till.visit()
    await sees(page, "Choose how to pay")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Space")
    for _ in range(6):
        await page.keyboard.press("Tab")
        if await page.evaluate("document.querySelector('paycore-cashier').shadowRoot.activeElement?.id") == "pay":
            break
    await page.keyboard.press("Enter")
    assert (await till.payment(order)).state == payment_pb2.Payment.STATE_PENDING


async def test_every_word_is_said_in_both_languages(till: Till) -> None:
    _, page = await till.visit()
    words = await words_of(page)
    assert words["zh"].keys() == words["en"].keys()
    assert all(text.strip() for text in (*words["zh"].values(), *words["en"].values()))
    holes = {name: re.findall(r"\{(\w+)\}", text) for name, text in words["en"].items()}
    assert holes == {name: re.findall(r"\{(\w+)\}", words["zh"][name]) for name in holes}


async def words_of(page: Page) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = await page.evaluate(
        "async () => (await import(document.querySelector('script[type=module]').src)).WORDS"
    )
    return found


# ---------------------------------------------------------------------------------------------- for everybody


AXE = Path(__file__).parents[1] / "node/node_modules/axe-core/axe.min.js"


async def complaints(page: Page) -> list[str]:
    """What axe finds wrong, at the level that WCAG 2.2 AA asks for."""
    if not AXE.exists():
        loudly_skip("the page's accessibility needs axe-core: npm ci in tests/node")
    await page.evaluate(AXE.read_text("utf-8"))
    found = await page.evaluate(
        "axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']})"
    )
    assert len(found["passes"]) > 10, "it looked at nothing"
    return [
        f"{one['id']}: {one['help']} {[node['html'][:120] for node in one['nodes']]}" for one in found["violations"]
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_nobody_is_shut_out(till: Till, theme: str) -> None:
    order, page = await till.visit(await till.person(theme=theme))
    await expect(page.locator("#pay")).to_be_visible()
    assert await complaints(page) == []
    await page.locator("#pay").click()
    await expect(page.locator(".code svg")).to_be_visible()
    assert await complaints(page) == []
    till.server.pay((await till.payment(order)).payment_id)
    await sees(page, "Payment complete")
    assert await complaints(page) == []


# ---------------------------------------------------------------------------------------------- offers


def put(till: Till, state: OfferState = OfferState.ACTIVE, **terms: Any) -> None:
    """Ten off for everybody who pays by the sandbox's QR; the server knows of it at once."""
    offer = Offer("of-ten", "立减十元", "Ten off", OfferKind.FIXED, "CNY", 1000, methods=("sandbox.qr",), **terms)
    engine = till.server.engine
    with engine.store.write() as unit:
        unit.put_offer(StoredOffer(offer, till.server.app.app_id, engine.clock.now(), state))
    engine.offers.forget(till.server.app.app_id)


@pytest.fixture
def ten_off(till: Till) -> Iterator[None]:
    put(till)
    yield
    put(till, OfferState.PAUSED)


async def test_offers_are_listed_and_the_button_says_what_is_left_to_pay(till: Till, ten_off: None) -> None:
    order, page = await till.visit(amount=money(12_800))
    await chooses(page, "QR")
    offers = page.locator("header .offers")
    await expect(offers).to_have_text(re.compile(r"Ten off\s*-CN¥10\.00"))
    await expect(page.locator("label.row", has_text="Sandbox QR")).to_contain_text("Ten off")
    await sees(page, "You save CN¥10.00")
    await page.get_by_role("button", name="Pay CN¥118.00").click()
    await expect(page.get_by_role("img", name="Scan to pay")).to_be_visible()
    await expect(offers).to_be_visible()
    payment = await till.payment(order)
    assert payment.amount == money(11_800)
    till.server.pay(payment.payment_id)
    await sees(page, "Payment complete")
    await expect(page.locator("strong.amount")).to_have_text("CN¥118.00")


async def test_nobody_pays_a_price_that_they_did_not_see(till: Till, ten_off: None) -> None:
    order, page = await till.visit(amount=money(12_800))
    await chooses(page, "QR")
    await expect(page.locator("#pay")).to_have_text("Pay CN¥118.00")
    put(till, OfferState.PAUSED)
    await page.locator("#pay").click()
    await sees(page, "The price has changed. Please check it and pay again.")
    await expect(page.locator("#pay")).to_have_text("Pay CN¥128.00")
    assert not (await till.stands(order)).payments
    await page.locator("#pay").click()
    assert (await till.payment(order)).amount == money(12_800)


async def test_the_way_that_was_paid_last_is_known_to_the_server_and_to_the_device(till: Till) -> None:
    who = await till.person()
    order, page = await till.visit(who, merchant_payer_no="u-9")
    await chooses(page, "page")
    await page.locator("#pay").click()
    await page.wait_for_url(re.compile("sandbox"))
    till.server.pay((await till.payment(order)).payment_id)
    await page.go_back()
    await sees(page, "Payment complete")
    for visitor, known in ((who, {}), (await till.person(), {"merchant_payer_no": "u-9"})):
        _, again = await till.visit(visitor, **known)
        await expect(again.locator("label.row", has_text="page").locator("em")).to_have_text("Last used")
    _, again = await till.visit(who)
    await expect(again.locator("label.row", has_text="page").locator("input")).to_be_checked()
