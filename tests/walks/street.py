"""The sandbox channel's own side in the test's process, served over HTTP, and the people who pay there."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from paycore.channel import (
    AccountKeys,
    Conversation,
    Environment,
    KeyState,
    KeyVersion,
    PaymentAsk,
    PaymentFinding,
    Ready,
    Request,
    Secret,
)
from paycore.engine.clock import Clock, SystemClock
from paycore.testing.simulators import SimulatorServer
from paycore.v1 import common_pb2, payment_pb2
from paycore_sandbox import SandboxSimulator
from paycore_sandbox.kind import SANDBOX
from paycore_sandbox.simulator import Trade

CHANNEL = "sandbox"
SECOND = 1_000_000


class Street:
    """People with phones. What they do is announced by notices, to wherever the merchant said."""

    def __init__(self, simulator: SandboxSimulator, host: SimulatorServer, clock: Clock) -> None:
        self.simulator = simulator
        self.host = host
        self.clock = clock

    @property
    def settings(self) -> dict[str, str]:
        """What the merchant's account needs."""
        return dict(self.simulator.settings(self.host.base_url(CHANNEL)))

    def enter(self, payment: payment_pb2.Payment) -> str:
        """Do the first step of the payment's action as the payer's device would; the trade then exists at the channel."""
        now = self.clock.now()
        step = first_step(payment)
        params = json.loads(step.params_json)
        if step.kind == "sdk":
            return self.simulator.open_app(params["arguments"]["orderString"], now)
        return self.simulator.scan(params["content"] if step.kind == "qr" else params["url"], now)

    def pay(self, payment: payment_pb2.Payment, *, amount_minor: int | None = None, even_if_over: bool = False) -> None:
        """Enter the payment and pay it."""
        if not (even_if_over and payment.payment_id in self.simulator.books.trades):
            self.enter(payment)
        self.simulator.pay(payment.payment_id, self.clock.now(), amount_minor=amount_minor, even_if_over=even_if_over)
        self.host.look()

    def pay_for_a_stranger(self, notify_url: str) -> None:
        """Pay something at the channel that was begun under our merchant's name, but not by this paycore."""
        settings = self.settings
        version = KeyVersion(1, KeyState.ACTIVE, settings | {"private_key": Secret(settings["private_key"])})
        channel = SANDBOX.open(AccountKeys("ac" + "0" * 26, Environment.SANDBOX, (version,), version))
        now = self.clock.now()
        ask = PaymentAsk(
            payment_id="py" + "0" * 26,
            order_id="or" + "0" * 26,
            method="app",
            target="android",
            amount_minor=100,
            currency="CNY",
            subject="Coffee",
            created_at=now,
            expires_at=now + 600 * SECOND,
            now=now,
            nonce="0" * 32,
            notify_url=notify_url,
        )
        ready = next_conclusion(channel.prepare(ask))
        order = json.loads(json.loads(ready.plan_json)["steps"][0]["params_json"])["arguments"]["orderString"]
        self.simulator.pay(self.simulator.open_app(order, now), now)
        self.host.look()

    def press_pay(self, page_url: str) -> None:
        """Press the button on a payment page, as a browser would."""
        body = b"action=pay"
        headers = {"content-type": "application/x-www-form-urlencoded"}
        reply = self.simulator.handle(Request("POST", page_url, headers=headers, body=body), self.clock.now())
        assert reply is not None
        assert reply.status == 200
        self.host.look()

    def buy(self, payment: payment_pb2.Payment, *, amount_minor: int) -> str:
        """Buy in the store what the payment asks for, and return the signed transaction."""
        wanted = json.loads(first_step(payment).params_json)
        evidence = self.simulator.buy(
            wanted["product_id"],
            wanted["account_token"],
            self.clock.now(),
            amount_minor=amount_minor,
            quantity=wanted["quantity"],
        )
        self.host.look()
        return evidence

    def trade(self, payment: payment_pb2.Payment) -> Trade:
        """The trade in the channel's own books."""
        return self.simulator.books.trades[payment.payment_id]

    def returned_minor(self, payment_id: str) -> int:
        """What went back of a payment, by the channel's own books."""
        return self.simulator.books.trades[payment_id].returned_minor

    def calls(self, name: str, subject: str) -> int:
        """How often the channel was asked this about that id."""
        return sum(call.name == name and call.subject == subject for call in self.simulator.calls)


def next_conclusion(conversation: Conversation[PaymentFinding]) -> Ready:
    """What a verb concludes that asks nobody anything."""
    try:
        next(conversation)
    except StopIteration as end:
        ready: Ready = end.value
        return ready
    raise AssertionError("the verb asked something")


def first_step(payment: payment_pb2.Payment) -> common_pb2.Step:
    """What the payer's device has to do first."""
    assert payment.is_action_ready, f"{payment.payment_id} has no action"
    return payment.action.steps[0]


@asynccontextmanager
async def open_street(clock: Clock | None = None) -> AsyncIterator[Street]:
    """A street of its own: fresh keys, a free port."""
    clock = clock or SystemClock()
    simulator = SandboxSimulator()
    host = SimulatorServer({CHANNEL: simulator}, clock)
    await host.start()
    try:
        yield Street(simulator, host, clock)
    finally:
        await host.stop()
