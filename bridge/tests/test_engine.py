"""The runtime in a real engine, under the strictest policy, with a shell in Python that checks the seal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from playwright.async_api import Browser, Page

from paycore_bridge.contract import ErrorCode
from paycore_bridge.keys import SigningKey

from .engine import ORIGIN, POLICY, TRUSTED, Shell, now, sealed, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

NATIVE = """
window.PayCoreNative = { postMessage: function (text) {
  window.paycoreNative(text).then(function (said) { if (said) PayCoreBridge.receive(said); });
} };
"""


@asynccontextmanager
async def opened_page(browser: Browser, shell: Shell) -> AsyncIterator[tuple[Page, list[str]]]:
    """A page of the shop inside the shell, and what its engine complains of."""
    complaints: list[str] = []
    page = await browser.new_page()
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    await page.route("**/*", serving("core", "plan", policy=f"{POLICY}; {TRUSTED}"))
    await page.expose_function("paycoreNative", shell.handle)
    await page.add_init_script(NATIVE)
    await page.goto(f"{ORIGIN}/")
    yield page, complaints
    await page.context.close()


RUN = """async (envelope) => {
  const shell = await PayCoreBridge.connect({ hello: 5000 });
  const drawn = [];
  const end = await PayCoreBridge.run(envelope, { shell, target: "android", draw: (content) => { drawn.push(content); } });
  return { transport: shell && shell.transport, end, drawn };
}"""


async def test_a_real_engine_pays_under_the_strictest_policy(browser: Browser) -> None:
    shell = Shell()
    async with opened_page(browser, shell) as (page, complaints):
        seen = await page.evaluate(RUN, sealed())
        assert seen["transport"] == "android_iface"
        assert (seen["end"]["moved"], seen["end"]["claim"]["outcome"]) == ("claim", "success_claimed")
        assert shell.started == 1
        await page.evaluate("import('/nothing.js').catch(() => 0)")
        assert [one for one in complaints if "nothing.js" not in one and "404" not in one] == []
        assert complaints, "a complaint would be seen"


@pytest.mark.parametrize(
    ("changed", "code", "end"),
    [
        ({"key": SigningKey.make()}, ErrorCode.SIGNATURE_INVALID, "refresh_plan"),
        ({"audience": ["ios:com.example.shop"]}, ErrorCode.SIGNATURE_INVALID, "refresh_plan"),
        ({"origins": ["https://evil.example"]}, ErrorCode.ORIGIN_REJECTED, "stop"),
        ({"now": now() - 400_000_000}, ErrorCode.EXPIRED, "refresh_plan"),
    ],
    ids=["forged", "another app", "another page", "expired"],
)
async def test_a_bad_envelope_reaches_no_sdk(
    browser: Browser, changed: dict[str, Any], code: ErrorCode, end: str
) -> None:
    shell = Shell()
    async with opened_page(browser, shell) as (page, _):
        seen = await page.evaluate(RUN, sealed(**changed))
        claim = seen["end"]["claim"]
        assert (claim["error"]["code"], claim["next"], claim["outcome"]) == (code, end, "unknown")
        assert seen["drawn"] == []
        assert shell.started == 0


async def test_an_envelope_that_was_used_reaches_no_sdk_again(browser: Browser) -> None:
    shell, envelope = Shell(), sealed()
    async with opened_page(browser, shell) as (page, _):
        assert (await page.evaluate(RUN, envelope))["end"]["claim"]["outcome"] == "success_claimed"
        await page.evaluate("PayCoreBridge.ack('pa_1')")
        await page.reload()
        seen = await page.evaluate(RUN, envelope)
        claim = seen["end"]["claim"]
        assert (claim["error"]["code"], claim["next"], claim["outcome"]) == (ErrorCode.REPLAYED, "resume", "unknown")
        assert seen["drawn"] == []
        assert shell.started == 1


async def test_a_page_that_was_loaded_anew_finds_the_result(browser: Browser) -> None:
    shell = Shell(code="6001", seconds=0.3)
    async with opened_page(browser, shell) as (page, _):
        await page.evaluate(
            "(envelope) => { PayCoreBridge.connect({ hello: 5000 }).then(() => PayCoreBridge.pay(envelope)); }",
            sealed(),
        )
        async with asyncio.timeout(10):
            while not shell.started:
                await asyncio.sleep(0.02)
        await page.reload()
        assert await page.evaluate("PayCoreBridge.started()") == ["pa_1"]
        async with asyncio.timeout(10):
            while not shell.kept:
                await asyncio.sleep(0.02)
        await page.evaluate("PayCoreBridge.connect({ hello: 5000 })")
        await page.wait_for_function("PayCoreBridge.claimed('pa_1')", timeout=10_000)
        assert await page.evaluate("PayCoreBridge.claimed('pa_1').outcome") == "cancelled"
        await page.evaluate("PayCoreBridge.ack('pa_1')")
        assert (shell.kept, shell.started) == ({}, 1)
