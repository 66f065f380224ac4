"""What the demo acts out: five stories about money, each checked by the state that it ends in."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from paycore.cli.exits import Sorry
from paycore.cli.lines import amount, major
from paycore.client import AsyncClient, Forbidden
from paycore.v1 import anomaly_pb2, cashier_pb2, common_pb2, order_pb2, payment_pb2, refund_pb2

if TYPE_CHECKING:
    from paycore.cli.demo.clock import SkippingClock
    from paycore.cli.demo.narrator import Narrator
    from paycore.cli.demo.street import Street

Order = order_pb2.Order
Payment = payment_pb2.Payment
Refund = refund_pb2.Refund

PATIENCE_SECONDS = 20.0
"""How long a step may take before the demo says that it differs."""
CHANNEL = "sandbox"
CURRENCY = "CNY"
EXPIRY_SECONDS = 65.0
"""The shortest life that an order may be given is a minute."""
LEFT_SECONDS = 2.0
BEHIND_SECONDS = 5.0


class Differs(Sorry):
    """Something is not as it should be."""


@dataclass(frozen=True)
class Stage:
    """Who takes part: our client on the server's gRPC face, the people on the street, and the narrator."""

    client: AsyncClient
    street: Street
    narrator: Narrator
    clock: SkippingClock


async def act(stage: Stage) -> None:
    """All stories, one after the other. Raises Differs at the first step that ends otherwise than it should."""
    await pay_in_an_app(stage)
    by_code = await pay_by_code(stage)
    await give_back(stage, by_code)
    expired = await let_expire(stage)
    await pay_too_late(stage, expired)


# ---------------------------------------------------------------------------------------------- the stories


async def pay_in_an_app(stage: Stage) -> None:
    """Order, signed payload, bridge, native SDK; then the truth from the channel's notice."""
    narrator = stage.narrator
    narrator.open("app", "An order paid in an app")
    order = await _create(stage, "DEMO-APP", 12_80, "Oolong tea, two cups")
    async with _stream(stage, order, "app") as stream:
        payment = await _pay(stage, order, "app", face="android")
        narrator.say("The bridge action that the app's shell hands to the SDK:")
        narrator.action(payment.action)
        raw_code = stage.street.run_on_phone(payment.action)
        narrator.say(f"The SDK on the phone answers {raw_code}. That is a hint, never a result.", raw_code=raw_code)
        paid = await stream.until("PAID", lambda now: now.state == Order.STATE_PAID)
        _expect(paid.captured_minor == 12_80, f"12.80 was captured, not {paid.captured_minor}")
        await stage.client.report_client_result(
            payment.payment_id, outcome=cashier_pb2.CLIENT_OUTCOME_SUCCESS_CLAIMED, raw_code=raw_code
        )
        after = await stage.client.get_order(order.order_id)
        _expect(after.version == paid.version, "a claim of the phone changed an order that was paid")
    story = await stage.client.explain_order(order.order_id)
    told = next((entry for entry in story.entries if entry.evidence.startswith("notice")), None)
    if told is None:
        raise Differs("This differs from what was expected: no notice is kept as evidence.")
    narrator.say(f"ExplainOrder: {told.who}: {told.what} ({told.evidence})", evidence=told.evidence)
    narrator.good("PAID, because the channel said so.", order_id=order.order_id)


async def pay_by_code(stage: Stage) -> order_pb2.Order:
    """A code on a screen, scanned with a phone."""
    narrator = stage.narrator
    narrator.open("qr", "An order paid by a QR code")
    order = await _create(stage, "DEMO-QR", 30_00, "A night in the blue room")
    async with _stream(stage, order, "qr ") as stream:
        payment = await _pay(stage, order, "qr", face="pc")
        content = _code(payment)
        narrator.code(content)
        narrator.say("A payer scans it and pays.")
        stage.street.scan_and_pay(content)
        paid = await stream.until("PAID", lambda now: now.state == Order.STATE_PAID)
    narrator.good(f"PAID, {major(paid.captured_minor, CURRENCY)} captured.", order_id=order.order_id)
    return paid


async def give_back(stage: Stage, order: order_pb2.Order) -> None:
    """A part of it, then the rest, each followed to its end; and not one fen more."""
    narrator = stage.narrator
    narrator.open("refunds", "A partial and a full refund of that order")
    rest_minor = order.captured_minor - 5_00
    async with _stream(stage, order, "qr ", resume_after=order.version) as stream:
        await _refund(stage, order, 5_00, "one breakfast less")
        await _refund(stage, order, rest_minor, "the guest could not come")
        done = await stream.until(
            "all of it refunded", lambda now: now.refunded_minor == now.captured_minor and now.refunding_minor == 0
        )
    try:
        await stage.client.create_refund(order.order_id, amount_minor=1, currency=CURRENCY, reason="one fen more")
    except Forbidden as refused:
        _expect(refused.reason == "REFUND_EXCEEDS_BALANCE", f"one fen more was refused with {refused.reason}")
    else:
        raise Differs("One fen more than was paid could be refunded.")
    payment_id = done.effective_payment_id
    _expect(stage.street.returned_minor(payment_id) == order.captured_minor, "the channel's books show another sum")
    narrator.good(
        f"{major(done.refunded_minor, CURRENCY)} went back; one fen more is refused.", order_id=order.order_id
    )


async def let_expire(stage: Stage) -> order_pb2.Order:
    """Nobody pays: at its expiry the order is closed, at the channel too."""
    narrator = stage.narrator
    narrator.open("expiry", "An order that nobody pays")
    order = await _create(stage, "DEMO-LATE", 8_80, "Umbrella", expires_in_seconds=EXPIRY_SECONDS)
    async with _stream(stage, order, "late") as stream:
        payment = await _pay(stage, order, "qr", face="pc")
        _code(payment)
        skipped = EXPIRY_SECONDS - LEFT_SECONDS
        narrator.say("Its code is shown and nobody scans it.")
        narrator.say(f"The demo's clock skips {skipped:g} s, {LEFT_SECONDS:g} s are left.", skipped_seconds=skipped)
        narrator.say(
            f"The channel's clock goes {BEHIND_SECONDS:g} s behind: at the expiry it will still say “waiting”."
        )
        stage.street.fall_behind(BEHIND_SECONDS)
        stage.clock.skip(skipped)
        closed = await stream.until("CLOSED", lambda now: now.state == Order.STATE_CLOSED)
    _expect(closed.close_reason == Order.CLOSE_REASON_EXPIRED, "it was closed for another reason than its expiry")
    state, calls = stage.street.trade_state(payment.payment_id), stage.street.calls_about(payment.payment_id)
    _expect(state == "CLOSED", f"the channel's own books still say {state}")
    _expect(calls[-2:] == ["trades/query", "trades/close"], f"the channel was asked {calls}")
    narrator.good(
        f"CLOSED here and at the channel, which was asked: {', '.join(calls)}.", order_id=order.order_id, calls=calls
    )
    return closed


async def pay_too_late(stage: Stage, order: order_pb2.Order) -> None:
    """Money that arrives after the close is real, and goes back by itself."""
    narrator = stage.narrator
    narrator.open("late", "Money that comes too late")
    payment_id = order.payments[0].payment_id
    async with _stream(stage, order, "late", resume_after=order.version) as stream:
        narrator.say("The wallet had the money under way when the trade was closed; now it arrives.")
        stage.street.pay_too_late(payment_id)
        after = await stream.until("the late money refunded", _has_given_back)
    _expect(after.state == Order.STATE_CLOSED, "the order did not stay closed")
    _expect(not after.open_anomalies, "an anomaly is still open")
    refund = after.refunds[0]
    _expect(refund.origin == Refund.ORIGIN_POLICY, "the refund was not begun by the policy")
    _expect(
        stage.street.returned_minor(payment_id) == refund.amount.amount_minor, "the channel's books show another sum"
    )
    found = await stage.client.list_anomalies(order_id=order.order_id)
    kinds = [anomaly_pb2.Anomaly.Kind.Name(one.kind).removeprefix("KIND_") for one in found.anomalies]
    _expect(kinds == ["LATE_PAYMENT"], f"the anomalies are {kinds or 'none'}")
    narrator.good(f"{amount(refund.amount)} went back by itself; the order stays closed.", order_id=order.order_id)


def _has_given_back(order: order_pb2.Order) -> bool:
    return len(order.refunds) == 1 and order.refunds[0].state == Refund.STATE_SUCCEEDED


# ---------------------------------------------------------------------------------------------- what stories are made of


async def _create(
    stage: Stage, number: str, amount_minor: int, subject: str, *, expires_in_seconds: float | None = None
) -> order_pb2.Order:
    expire_time = None
    if expires_in_seconds is not None:
        expire_time = datetime.fromtimestamp(stage.clock.now() / 1_000_000 + expires_in_seconds, UTC)
    order = await stage.client.create_order(
        merchant_order_no=number, amount_minor=amount_minor, currency=CURRENCY, subject=subject, expire_time=expire_time
    )
    _expect(order.state == Order.STATE_PENDING, "a new order is not PENDING")
    text = f"CreateOrder {number}: {amount(order.amount)} for “{subject}”, {order.order_id}"
    stage.narrator.say(text, order_id=order.order_id, amount_minor=amount_minor, currency=CURRENCY)
    return order


async def _pay(stage: Stage, order: order_pb2.Order, method: str, *, face: str) -> payment_pb2.Payment:
    """Begin a payment and return it with its action, which may come with the answer or a little later."""
    client = common_pb2.ClientContext(face=face, locale="zh-CN")
    answer = await stage.client.pay_order(order.order_id, channel=CHANNEL, method=method, client=client)
    payment: payment_pb2.Payment = answer.payment
    stage.narrator.say(f"PayOrder {CHANNEL}/{method}: {payment.payment_id}", payment_id=payment.payment_id)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not payment.is_action_ready:
            await asyncio.sleep(0.05)
            seen = await stage.client.get_order(order.order_id)
            payment = next(one for one in seen.payments if one.payment_id == payment.payment_id)
    return payment


def _code(payment: payment_pb2.Payment) -> str:
    import json

    step = next((step for step in payment.action.steps if step.kind == "qr"), None)
    if step is None:
        raise Differs("The action of a QR payment has no code in it.")
    return str(json.loads(step.params_json)["content"])


async def _refund(stage: Stage, order: order_pb2.Order, amount_minor: int, reason: str) -> None:
    """Ask for a refund and follow it on its own stream to its end."""
    refund = await stage.client.create_refund(
        order.order_id, amount_minor=amount_minor, currency=CURRENCY, reason=reason
    )
    text = f"CreateRefund {amount(refund.amount)}, “{reason}”: {refund.refund_id}"
    stage.narrator.say(text, refund_id=refund.refund_id, amount_minor=amount_minor)
    async with asyncio.timeout(PATIENCE_SECONDS), aclosing(stage.client.watch_refund(refund.refund_id)) as stream:
        async for message in stream:
            refund = message.refund
            if refund.state in (Refund.STATE_SUCCEEDED, Refund.STATE_FAILED, Refund.STATE_ABNORMAL):
                break
    _expect(refund.state == Refund.STATE_SUCCEEDED, f"a refund ended {Refund.State.Name(refund.state)}")


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Differs(f"This differs from what was expected: {otherwise}.")


class _Stream:
    """An order's stream, read beside the story so that every line is shown when it arrives."""

    def __init__(self, stage: Stage, order: order_pb2.Order, tag: str, resume_after: int | None) -> None:
        self._stage = stage
        self._order_id = order.order_id
        self._tag = tag
        self._version = resume_after or 0
        self._news = asyncio.Event()
        self._resume_after = resume_after
        self.reading = asyncio.create_task(self._read())
        self.reading.add_done_callback(lambda _: self._news.set())

    async def _read(self) -> None:
        """Show the lines as they come."""
        watch = self._stage.client.watch_order(
            self._order_id, resume_after=self._resume_after, end_policy=common_pb2.END_POLICY_NEVER
        )
        async with aclosing(watch) as messages:
            async for message in messages:
                self._show(message)
                self._version = message.version
                self._news.set()

    def _show(self, message: order_pb2.WatchOrderResponse) -> None:
        if message.WhichOneof("message") == "event":
            self._stage.narrator.event(self._tag, message.event)
        else:
            self._stage.narrator.snapshot(self._tag, message.snapshot)

    async def until(self, what: str, holds: Callable[[order_pb2.Order], bool]) -> order_pb2.Order:
        """The order, once this holds for it and the stream has told all of it. Raises Differs when it takes too long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not self.reading.done():
                    self._news.clear()
                    order = await self._stage.client.get_order(self._order_id)
                    if holds(order) and self._version >= order.version:
                        return order
                    await self._news.wait()
                await self.reading
        state = Order.State.Name((await self._stage.client.get_order(self._order_id)).state).removeprefix("STATE_")
        raise Differs(
            f"This differs from what was expected: {what} was not seen in {PATIENCE_SECONDS:g} s; the order is {state}."
        )


@asynccontextmanager
async def _stream(
    stage: Stage, order: order_pb2.Order, tag: str, *, resume_after: int | None = None
) -> AsyncIterator[_Stream]:
    stream = _Stream(stage, order, tag, resume_after)
    try:
        yield stream
    finally:
        stream.reading.cancel()
        await asyncio.wait([stream.reading])
