"""The runtime in a real engine, under the strictest policy, with a shell in Python that checks the seal."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, Route, async_playwright

from paycore_bridge import Plan, Qr, SdkCall, Step, Target, runtime
from paycore_bridge.contract import ErrorCode, Method
from paycore_bridge.envelope import BadEnvelope, Payment, UsedOnce, open_envelope, seal
from paycore_bridge.keys import KeySet, SigningKey
from paycore_bridge.messages import answer, claim_of, read_call, refuse
from paycore_bridge.surfaces import ALIPAY

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
ORIGIN = "https://pay.example"
POLICY = (
    "default-src 'none'; script-src 'self'; require-trusted-types-for 'script'; trusted-types 'none'; base-uri 'none'"
)
PAGE = '<!doctype html><meta charset="utf-8"><title>pay</title><script src="/core.js"></script><script src="/plan.js"></script>'
NATIVE = """
window.PayCoreNative = { postMessage: function (text) {
  window.paycoreNative(text).then(function (said) { if (said) PayCoreBridge.receive(said); });
} };
"""
KEY = SigningKey.make()
PLAN = Plan.of(
    Step.of(
        SdkCall("alipay", {"orderStr": "a=1", "showLoading": True}), target=Target.ANDROID, requires=["alipay.sdk"]
    ),
    Step.of(Qr("https://qr.example/1")),
)


@dataclass
class Shell:
    """The app's side: one string in, one string out."""

    code: str = "9000"
    seconds: float = 0
    started: int = 0
    used: UsedOnce = field(default_factory=UsedOnce)
    kept: dict[str, dict[str, Any]] = field(default_factory=dict)

    async def handle(self, text: str) -> str:
        call = read_call(text)
        if call.method is Method.HELLO:
            shell = {"name": "Shop", "version": "1", "os": "android"}
            about = {
                "v": ["1.0"],
                "shell": shell,
                "methods": [],
                "pending": list(self.kept),
                "capabilities": ["alipay.sdk"],
            }
            return answer(call.method, about, message_id=call.id)
        if call.method is Method.PAY:
            return await self.pay(call.params["envelope"], call.id)
        if call.method is Method.RESUME:
            return answer(call.method, self.kept[call.params["payment_id"]], message_id=call.id)
        self.kept.pop(call.params["payment_id"], None)
        return answer(call.method, {"v": "1.0"}, message_id=call.id)

    async def pay(self, envelope: str, message_id: str) -> str:
        try:
            opened = open_envelope(
                envelope,
                keys=KeySet.of(KEY),
                audience="android:com.example.shop",
                now=now(),
                origin=ORIGIN,
                take=self.used.take,
            )
        except BadEnvelope as error:
            return refuse(error.code, message_id=message_id)
        self.started += 1
        await asyncio.sleep(self.seconds)
        table = opened.results["sdk:alipay"]
        claim = claim_of(opened.payment.payment_id, step=0, source="sdk:alipay", code=self.code, table=table)
        self.kept[opened.payment.payment_id] = claim
        return answer(Method.PAY, claim, message_id=message_id)


def now() -> int:
    return time.time_ns() // 1000


def sealed(**changed: Any) -> str:
    given: dict[str, Any] = {"key": KEY, "audience": ["android:com.example.shop"], "origins": [ORIGIN], "now": now()}
    payment = Payment("or_1", "pa_1", "alipay", "app", 100, "CNY")
    return seal(PLAN, payment, issuer="paycore", jti=f"jti_{now()}", bridge=ALIPAY, **(given | changed))


async def serve(route: Route) -> None:
    """The page and its scripts, from nowhere but this process."""
    path = route.request.url.removeprefix(ORIGIN)
    if path == "/":
        await route.fulfill(body=PAGE, content_type="text/html", headers={"Content-Security-Policy": POLICY})
    elif path in ("/core.js", "/plan.js"):
        await route.fulfill(body=runtime.script(path[1:-3]), content_type="text/javascript")
    else:
        await route.fulfill(status=404)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    program = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip(
            "the bridge's runtime in a real engine: there is no chromium on PATH (Debian: apt-get install chromium)"
        )
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        await browser.close()


@asynccontextmanager
async def opened_page(browser: Browser, shell: Shell) -> AsyncIterator[tuple[Page, list[str]]]:
    """A page of the shop inside the shell, and what its engine complains of."""
    complaints: list[str] = []
    page = await browser.new_page()
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    await page.route("**/*", serve)
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
