"""The cashier inside an app: a shell in Python that trusts the server's published keys, runs the SDK, and says what it said."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest
from playwright.async_api import expect

from paycore.store import App
from paycore.v1 import order_pb2
from paycore_bridge import Plan, Target
from paycore_bridge.contract import ErrorCode, Method
from paycore_bridge.envelope import BadEnvelope, UsedOnce, open_envelope
from paycore_bridge.keys import KeySet, SigningKey, from_base64url, to_base64url
from paycore_bridge.messages import answer, claim_of, read_call, refuse
from paycore_sandbox.simulator import Phone
from tests.browser.till import PHONE, Till, chooses, sees
from tests.rpc.shop import SECOND

pytestmark = pytest.mark.asyncio(loop_scope="module")

ME = "android:com.example.shop"
NATIVE = """
window.PayCoreNative = { postMessage: function (text) {
  window.paycoreNative(text).then(function (said) { if (said) PayCoreBridge.receive(said); });
} };
"""


@dataclass
class Shell:
    """An Android app around the page, with the sandbox's SDK in it."""

    till: Till
    code: str = "9000"
    pays: bool = True
    me: str = ME
    origin: str | None = None
    """The page that speaks, where the engine says so."""
    keys: KeySet | None = None
    """The keys that it trusts; None for those that the server publishes."""
    ahead_seconds: int = 0
    spoil: Callable[[str], str] = str
    """What a script in the page makes of the envelope before the app has it."""
    refused: list[ErrorCode] = field(default_factory=list)
    opened: list[Any] = field(default_factory=list)
    used: UsedOnce = field(default_factory=UsedOnce)

    async def handle(self, text: str) -> str:
        call = read_call(text)
        if call.method is Method.HELLO:
            about = {
                "v": ["1.0"],
                "shell": {"name": "Shop", "version": "1", "os": "android"},
                "methods": [],
                "pending": [],
                "capabilities": ["sandbox.sdk", "sandbox_sdk", "sandbox"],
            }
            return answer(call.method, about, message_id=call.id)
        if call.method is Method.PAY:
            try:
                return answer(call.method, await self.pay(self.spoil(call.params["envelope"])), message_id=call.id)
            except BadEnvelope as error:
                self.refused.append(error.code)
                return refuse(error.code, message_id=call.id)
        return answer(call.method, {"v": "1.0"}, message_id=call.id)

    async def pay(self, envelope: str) -> dict[str, Any]:
        server = self.till.server
        opened = open_envelope(
            envelope,
            keys=self.keys or await self.published(),
            audience=self.me,
            origin=self.origin,
            now=server.clock.now() + self.ahead_seconds * SECOND,
            take=self.used.take,
        )
        self.opened.append(opened)
        code = self.code
        if self.pays:
            plan = Plan.of(*opened.plan.steps).to_json()
            simulator: Any = server.simulator
            code = Phone(simulator, Target.ANDROID).run(plan, server.clock.now()).raw_code
            server.street.look()
        source = "sdk:sandbox"
        return claim_of(opened.payment.payment_id, step=0, source=source, code=code, table=opened.results[source])

    async def published(self) -> KeySet:
        async with httpx2.AsyncClient(trust_env=False) as http:
            return KeySet.from_text((await http.get(f"{self.till.server.base_url}/v1/bridge/keys")).text)


async def in_the_app(till: Till, shell: Shell) -> Any:
    """Somebody's phone, with the page inside the app."""
    app = till.server.app
    audiences = (ME, f"web:{till.server.base_url}")
    listed = App(app.app_id, app.name, app.created_at, scopes=app.scopes, bridge_audiences=audiences)
    await till.server.engine.memory.write(lambda unit: unit.put_app(listed))
    till.server.engine.apps.forget()
    who = await till.person(size=PHONE, locale="en")
    await who.expose_function("paycoreNative", shell.handle)
    await who.add_init_script(NATIVE)
    return who


async def test_the_app_runs_the_sealed_plan_and_the_page_turns_to_paid(till: Till) -> None:
    shell = Shell(till)
    order, page = await till.visit(await in_the_app(till, shell))
    await chooses(page, "wallet")
    await page.locator("#pay").click()
    await sees(page, "Payment complete")
    [opened] = shell.opened
    assert (opened.payment.order_id, opened.payment.amount_minor) == (order.order_id, order.amount.amount_minor)
    assert (await till.stands(order)).state == order_pb2.Order.STATE_PAID


async def test_an_app_that_claims_without_paying_pays_nothing(till: Till) -> None:
    shell = Shell(till, pays=False)
    order, page = await till.visit(await in_the_app(till, shell))
    await chooses(page, "wallet")
    await page.locator("#pay").click()
    await sees(page, "Confirming your payment")
    await asyncio.sleep(1)
    assert (await till.stands(order)).state == order_pb2.Order.STATE_PENDING
    story = await till.app.ExplainOrder(order_pb2.ExplainOrderRequest(order_id=order.order_id))
    assert "success_claimed" in str(story).lower()


async def test_what_was_cancelled_in_the_app_is_tried_again_with_another_seal(till: Till) -> None:
    shell = Shell(till, code="6001", pays=False)
    _, page = await till.visit(await in_the_app(till, shell))
    await chooses(page, "wallet")
    for times in (1, 2):
        await page.locator("#pay").click()
        await sees(page, "Payment cancelled")
        await expect(page.locator("#pay")).to_be_visible()
        assert len(shell.opened) == times
    assert len({opened.jti for opened in shell.opened}) == 2


def with_another_amount(envelope: str) -> str:
    """The sealed text with one thing changed, under the old seal."""
    head, payload, seal_of_old = envelope.split(".")
    claims = json.loads(from_base64url(payload))
    claims["amount"]["amount_minor"] = 1
    return f"{head}.{to_base64url(json.dumps(claims).encode())}.{seal_of_old}"


BAD = {
    "forged": ({"spoil": with_another_amount}, ErrorCode.SIGNATURE_INVALID),
    "sealed by nobody it trusts": ({"keys": KeySet.of(SigningKey.make())}, ErrorCode.SIGNATURE_INVALID),
    "for another app": ({"me": "android:com.example.other"}, ErrorCode.SIGNATURE_INVALID),
    "from another page": ({"origin": "https://evil.example"}, ErrorCode.ORIGIN_REJECTED),
    "expired": ({"ahead_seconds": 301}, ErrorCode.EXPIRED),
}


@pytest.mark.parametrize(("given", "code"), BAD.values(), ids=BAD)
async def test_a_bad_envelope_reaches_no_sdk(till: Till, given: dict[str, Any], code: ErrorCode) -> None:
    shell = Shell(till, **given)
    order, page = await till.visit(await in_the_app(till, shell))
    await chooses(page, "wallet")
    await page.locator("#pay").click()
    await sees(page, "Confirming your payment")
    assert (shell.refused, shell.opened) == ([code], [])
    assert (await till.stands(order)).state == order_pb2.Order.STATE_PENDING


async def test_an_envelope_from_the_servers_own_page_is_taken(till: Till) -> None:
    """The same shell as for the bad ones, with nothing wrong: what refuses them is the seal and not the test."""
    shell = Shell(till, origin=till.server.base_url, ahead_seconds=200)
    _, page = await till.visit(await in_the_app(till, shell))
    await chooses(page, "wallet")
    await page.locator("#pay").click()
    await sees(page, "Payment complete")


async def test_a_used_envelope_reaches_no_sdk_again(till: Till) -> None:
    """Somebody keeps the first envelope and hands it over in place of the next."""
    seen: list[str] = []

    def always_the_first(envelope: str) -> str:
        seen.append(envelope)
        return seen[0]

    shell = Shell(till, code="6001", pays=False, spoil=always_the_first)
    order, page = await till.visit(await in_the_app(till, shell))
    await chooses(page, "wallet")
    await page.locator("#pay").click()
    await sees(page, "Payment cancelled")
    await page.locator("#pay").click()
    await sees(page, "Confirming your payment")
    assert seen[0] != seen[1]
    assert (shell.refused, len(shell.opened)) == ([ErrorCode.REPLAYED], 1)
    assert (await till.stands(order)).state == order_pb2.Order.STATE_PENDING


async def test_the_published_keys_are_public() -> None:
    key = SigningKey.derived(b"k" * 32)
    assert set(json.loads(KeySet.of(key).to_json())["keys"][0]) == {"alg", "crv", "kid", "kty", "use", "x", "y"}
