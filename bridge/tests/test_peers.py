"""The runtime beside the real clients of the bridges that apps have: DSBridge, Capacitor, Cordova, WeChat's script library."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from playwright.async_api import Browser, Page

from paycore_bridge import JsapiCall, Plan, Qr, Step
from paycore_bridge.contract import Method
from paycore_bridge.messages import read_call
from paycore_bridge.surfaces import WECHAT

from .engine import ORIGIN, Shell, sealed, serving
from .peers import CAPACITOR_ANDROID, ECHO, PEERS, App, Peer, in_the_app, packages

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONNECT = "PayCoreBridge.connect({ wait: 800, hello: 5000 }).then((shell) => shell && shell.transport)"
RUN = """async (envelope) => {
  const shell = await PayCoreBridge.connect({ wait: 800, hello: 5000 });
  const drawn = [];
  const end = await PayCoreBridge.run(envelope, { shell, target: "android", draw: (content) => { drawn.push(content); } });
  return { transport: shell && shell.transport, end, drawn };
}"""
BOTH = """async (envelope) => {
  const other = %s;
  const paid = PayCoreBridge.pay(envelope);
  const said = await Promise.all([other("一"), other("two"), other("三")]);
  return [said, (await paid).outcome];
}"""
PAY = "([envelope, timeout]) => PayCoreBridge.pay(envelope, { timeout })"
PATIENCE = 300


class Wayward(Shell):
    """An app that runs the SDK and then does not answer as it should."""

    how = ""

    async def handle(self, text: str) -> str:
        said = await super().handle(text)
        if read_call(text).method is not Method.PAY:
            return said
        match self.how:
            case "never":
                await asyncio.Event().wait()
            case "late":
                await asyncio.sleep(3 * PATIENCE / 1000)
            case "wrong id":
                return json.dumps({**json.loads(said), "id": "an-id-that-nobody-used", "result": {"v": "1.0"}})
            case "rubbish":
                return said[: len(said) // 2]
        return said


@pytest.fixture(params=PEERS, ids=str)
def peer(request: pytest.FixtureRequest) -> Peer:
    found: Peer = request.param
    return found


async def test_a_payment_goes_out_and_a_result_comes_back(browser: Browser, peer: Peer) -> None:
    shell = Shell()
    async with in_the_app(browser, peer, shell) as app:
        seen = await app.page.evaluate(RUN, sealed())
        assert seen["transport"] == peer.transport
        assert (seen["end"]["moved"], seen["end"]["claim"]["outcome"]) == ("claim", "success_claimed")
        assert (shell.started, seen["drawn"]) == (1, [])
        assert {call.plugin.lower() for call in app.heard} == {"paycore"}
        shell.seconds = 0.1
        said, outcome = await app.page.evaluate(BOTH % peer.other, sealed())
        assert (said, outcome) == ([f"{ECHO}: 一", f"{ECHO}: two", f"{ECHO}: 三"], "success_claimed")


async def test_an_app_without_our_handler_is_no_shell(browser: Browser, peer: Peer) -> None:
    async with in_the_app(browser, peer, None) as app:
        seen = await app.page.evaluate(RUN.replace("5000", "400"), sealed())
        assert (seen["transport"], seen["end"]["moved"], seen["drawn"]) == (None, "shown", ["https://qr.example/1"])


async def connected(app: App) -> None:
    assert await app.page.evaluate(CONNECT) == app.peer.transport


def is_open(claim: dict[str, Any]) -> bool:
    """Whether it is left to the server: nobody knows, and no other step may start."""
    told = [claim["outcome"], claim["reason"], claim["next"]]
    return told == ["unknown", "returned_without_result", "confirm"]


async def test_whatever_the_app_answers_a_call_ends_by_the_pages_own_time(browser: Browser, peer: Peer) -> None:
    """An answer that comes after that is kept for its payment."""
    shell = Wayward(code="6001")
    async with in_the_app(browser, peer, shell) as app:
        await connected(app)
        for number, how in enumerate(("never", "wrong id", "rubbish", "wrong callback", "late"), start=1):
            shell.how, app.is_mixed_up = how, how == "wrong callback"
            paid = app.page.evaluate(PAY, [sealed(payment_id=f"pa_{number}"), PATIENCE])
            assert is_open(await asyncio.wait_for(paid, 10)), how
            assert shell.started == number, how
            assert await app.page.evaluate("PayCoreBridge.started().length") == number, how
            assert await app.page.evaluate(f"PayCoreBridge.claimed('pa_{number}')") is None, how
        await app.page.wait_for_function("() => PayCoreBridge.claimed('pa_5')", timeout=5_000)
        assert await app.page.evaluate("PayCoreBridge.claimed('pa_5').outcome") == "cancelled"
        assert (await app.page.evaluate("PayCoreBridge.resume('pa_4')"))["outcome"] == "cancelled"
        assert await app.page.evaluate("PayCoreBridge.started()") == ["pa_1", "pa_2", "pa_3"]


async def test_capacitor_gives_a_result_back_after_the_apps_process_died(browser: Browser) -> None:
    """The answer of a call whose process is gone is an event of the plugin App, as that plugin's listeners hear it."""
    async with in_the_app(browser, CAPACITOR_ANDROID, Shell()) as app:
        await connected(app)
        [listener] = app.listeners
        answered = json.dumps({"jsonrpc": "2.0", "id": "gone", "result": {"payment_id": "pa_7", "outcome": "failed"}})
        restored = {"pluginId": "PayCore", "methodName": "invoke", "success": True, "data": {"payload": answered}}
        told = json.dumps({"save": True, "callbackId": listener, "success": True, "data": restored})
        await app.evaluate(f"androidBridge.onmessage({{data: {json.dumps(told)}}})")
        assert await app.page.evaluate("PayCoreBridge.claimed('pa_7').outcome") == "failed"


# ------------------------------------------------------------------------------------------------ a wallet's library

AGENT = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 MicroMessenger/8.0.50"
ORDER = {
    "timestamp": "1795375803",
    "nonceStr": "n1",
    "package": "prepay_id=wx201410272009395522657a690389285100",
    "signType": "RSA",
    "paySign": "c2lnbmVk",
}
CHOICE = Plan.of(Step.of(JsapiCall("wx", "chooseWXPay", ORDER)), Step.of(Qr("https://qr.example/1")))
WHAT = {"payment_id": "pa_1", "plan": json.loads(CHOICE.to_json()), "results": WECHAT.tables_of(CHOICE)}
CHOOSE = """async ([what, timeout]) => {
  wx.config({ appId: "wxd678efh567hg6787", timestamp: 1, nonceStr: "c", signature: "s", jsApiList: ["chooseWXPay"] });
  return PayCoreBridge.run(what, { target: "webview", timeout, draw: () => {} });
}"""


async def in_wechat(browser: Browser) -> tuple[Page, list[dict[str, Any]]]:
    """The page in WeChat's browser, with the real script library; the orders that it hands to the app, which says `SAYS`."""
    page = await browser.new_page(user_agent=AGENT)
    heard: list[dict[str, Any]] = []
    library = packages() / "weixin-js-sdk/index.js"
    await page.route("**/*", serving("core", "plan", "wallets", files=(library,)))
    await page.expose_function("paycoreHeard", lambda given: heard.append(given))
    await page.add_init_script(
        """window.WeixinJSBridge = {
          invoke: function (name, given, done) {
            if (name !== "getBrandWCPayRequest") return setTimeout(done, 0, { err_msg: name + ":ok" });
            window.paycoreHeard(given);
            window.SAYS.forEach(function (said) { done(said); });
          },
          on: function () {}
        };
        window.module = { set exports(made) { window.wx = made; } }; // as a bundler takes it in"""
    )
    await page.goto(f"{ORIGIN}/")
    return page, heard


SAYS: list[tuple[list[dict[str, str]], str, str | None]] = [
    ([{"err_msg": "get_brand_wcpay_request:ok"}], "success_claimed", None),
    ([{"err_msg": "get_brand_wcpay_request:cancel"}], "cancelled", "user"),
    ([{"err_msg": "get_brand_wcpay_request:fail"}], "failed", None),
    ([{"err_msg": "get_brand_wcpay_request:ok"}] * 2, "success_claimed", None),
    ([{"errMsg": "system:access_denied"}], "unknown", "unlisted_code"),
    ([{}], "success_claimed", None),  # the library makes "ok" of nothing: one more reason why a claim is only a claim
    ([], "unknown", "returned_without_result"),
]


async def test_wechats_own_library_carries_the_order_and_the_result(browser: Browser) -> None:
    page, heard = await in_wechat(browser)
    for number, (says, outcome, reason) in enumerate(SAYS):
        await page.evaluate("(says) => { window.SAYS = says; }", says)
        what = {**WHAT, "payment_id": f"pa_{number}"}
        end = await asyncio.wait_for(page.evaluate(CHOOSE, [what, PATIENCE]), 10)
        assert end["moved"] == "claim", "what may be open is no reason for another step"
        assert (end["claim"]["outcome"], end["claim"].get("reason")) == (outcome, reason), says
        given = heard.pop()
        assert {name: given[name] for name in ("nonceStr", "package", "signType", "paySign")} == {
            name: ORDER[name] for name in ("nonceStr", "package", "signType", "paySign")
        }
        assert (given["timeStamp"], given["appId"]) == (ORDER["timestamp"], "wxd678efh567hg6787")
    assert heard == []
    await page.context.close()
