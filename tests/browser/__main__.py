"""Take the pictures of the cashier that stand in docs/screens: python -m tests.browser docs/screens"""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
from pathlib import Path

from playwright.async_api import async_playwright, expect

from paycore.core.offers import Offer, OfferKind
from paycore.store import StoredOffer
from paycore.testing.server import running_server
from tests.browser.conftest import PROGRAMS
from tests.browser.till import CAR, DESK, PHONE, Till, sees
from tests.rpc.shop import money

LOOKS = [("phone", PHONE, "zh-CN", "light"), ("phone", PHONE, "en", "dark"), ("desk", DESK, "en", "light")]
LOOKS += [("desk", DESK, "zh-CN", "dark"), ("car", CAR, "zh-CN", "dark")]
OFFERS = (
    Offer("of-alipay", "支付宝立减", "Alipay saves you 10", OfferKind.FIXED, "CNY", 1000, methods=("alipay",)),
    Offer("of-members", "会员九五折", "Members' 5 %", OfferKind.PERCENT, "CNY", basis_points=500, stacks=True),
)
SCAN = re.compile(r"扫码|QR")
PAID = {"zh-CN": "支付成功", "en": "Payment complete"}


async def take(folder: Path) -> None:
    """Each look before paying, with a code where there is one, and afterwards."""
    program = next(found for name in PROGRAMS if (found := shutil.which(name)))
    async with running_server(channels=("sandbox", "alipay", "wechatpay")) as server, async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        async with Till.open(server, browser) as till:
            with server.engine.store.write() as unit:
                for number, offer in enumerate(OFFERS):
                    unit.put_offer(StoredOffer(offer, server.app.app_id, number))
            for name, size, locale, theme in LOOKS:
                path = folder / f"{name}-{locale[:2]}-{theme}"
                order, page = await till.visit(
                    await till.person(size=size, locale=locale, theme=theme), amount=money(12_800)
                )
                await page.locator("label.row[data-usable=yes]", has_text=SCAN).first.click()
                await expect(page.locator("#pay")).to_be_visible()
                await page.screenshot(path=f"{path}-choose.png")
                if name == "phone":
                    continue
                await page.locator("#pay").click()
                await expect(page.locator(".code svg")).to_be_visible()
                await page.screenshot(path=f"{path}-code.png")
                payment = await till.payment(order)
                server.pay(payment.payment_id, channel=payment.channel)
                await sees(page, PAID[locale])
                await page.wait_for_timeout(700)
                await page.screenshot(path=f"{path}-paid.png")
        await browser.close()


if __name__ == "__main__":
    into = Path(sys.argv[1])
    into.mkdir(parents=True, exist_ok=True)
    asyncio.run(take(into))
