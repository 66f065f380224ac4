"""The cashier inside an app: a shell in Python that trusts the server's published keys, runs the SDK, and says what it said."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest
from playwright.async_api import expect

from paycore.store import App
from paycore.v1 import order_pb2
from paycore_bridge import Plan, Target
from paycore_bridge.contract import Method
from paycore_bridge.envelope import UsedOnce, open_envelope
from paycore_bridge.keys import KeySet, SigningKey
from paycore_bridge.messages import answer, claim_of, read_call
from paycore_sandbox.simulator import Phone
from tests.browser.till import PHONE, Till, chooses, sees

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
            return answer(call.method, await self.pay(call.params["envelope"]), message_id=call.id)
        return answer(call.method, {"v": "1.0"}, message_id=call.id)

    async def pay(self, envelope: str) -> dict[str, Any]:
        server = self.till.server
        async with httpx2.AsyncClient(trust_env=False) as http:
            keys = KeySet.from_text((await http.get(f"{server.base_url}/v1/bridge/keys")).text)
        opened = open_envelope(envelope, keys=keys, audience=ME, now=server.clock.now(), take=self.used.take)
        self.opened.append(opened)
        code = self.code
        if self.pays:
            plan = Plan.of(*opened.plan.steps).to_json()
            simulator: Any = server.simulator
            code = Phone(simulator, Target.ANDROID).run(plan, server.clock.now()).raw_code
            server.street.look()
        source = "sdk:sandbox"
        return claim_of(opened.payment.payment_id, step=0, source=source, code=code, table=opened.results[source])


async def in_the_app(till: Till, shell: Shell) -> Any:
    """Somebody's phone, with the page inside the app."""
    app = till.server.app
    listed = App(app.app_id, app.name, app.created_at, scopes=app.scopes, bridge_audiences=(ME,))
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


async def test_the_published_keys_are_public() -> None:
    key = SigningKey.derived(b"k" * 32)
    assert set(json.loads(KeySet.of(key).to_json())["keys"][0]) == {"alg", "crv", "kid", "kty", "use", "x", "y"}
