"""What the demo's stories are made of: orders, payments and refunds that are followed, and checked against what should be."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from paycore.cli.exits import Sorry
from paycore.cli.lines import amount
from paycore.client import AsyncClient
from paycore.v1 import common_pb2, order_pb2, payment_pb2, refund_pb2

if TYPE_CHECKING:
    from paycore.cli.demo.clock import SkippingClock
    from paycore.cli.demo.narrator import Narrator
    from paycore.cli.demo.street import Neighbour, Street

Order = order_pb2.Order
Payment = payment_pb2.Payment
Refund = refund_pb2.Refund

PATIENCE_SECONDS = 20.0
"""How long a step may take before the demo says that it differs."""
CHANNEL = "sandbox"
CURRENCY = "CNY"
PAYER_IP = "203.0.113.7"
"""An address of nobody, from the range that is kept for examples."""


class Differs(Sorry):
    """Something is not as it should be."""


@dataclass(frozen=True)
class Stage:
    """Who takes part: our client on the server's gRPC face, the people on the street, and the narrator."""

    client: AsyncClient
    street: Street
    narrator: Narrator
    clock: SkippingClock
    neighbours: tuple[Neighbour, ...] = ()


async def create(
    stage: Stage,
    number: str,
    amount_minor: int,
    subject: str,
    *,
    expires_in_seconds: float | None = None,
    return_url: str = "",
    product_id: str = "",
) -> order_pb2.Order:
    """A new order. The product is for stores, which sell nothing else."""
    expire_time = None
    if expires_in_seconds is not None:
        expire_time = datetime.fromtimestamp(stage.clock.now() / 1_000_000 + expires_in_seconds, UTC)
    item = order_pb2.LineItem(product_id=product_id, name=subject, quantity=1, unit_amount_minor=amount_minor)
    order = await stage.client.create_order(
        merchant_order_no=number,
        amount_minor=amount_minor,
        currency=CURRENCY,
        subject=subject,
        line_items=[item] if product_id else [],
        return_url=return_url,
        expire_time=expire_time,
    )
    expect(order.state == Order.STATE_PENDING, "a new order is not PENDING")
    text = f"CreateOrder {number}: {amount(order.amount)} for “{subject}”, {order.order_id}"
    stage.narrator.say(text, order_id=order.order_id, amount_minor=amount_minor, currency=CURRENCY)
    return order


async def begin(
    stage: Stage, order: order_pb2.Order, method: str, *, face: str, channel: str = CHANNEL
) -> payment_pb2.Payment:
    """Begin a payment and return it with its action, which may come with the answer or a little later."""
    client = common_pb2.ClientContext(face=face, locale="zh-CN", client_ip=PAYER_IP)
    answer = await stage.client.pay_order(order.order_id, channel=channel, method=method, client=client)
    payment: payment_pb2.Payment = answer.payment
    stage.narrator.say(f"PayOrder {channel}/{method}: {payment.payment_id}", payment_id=payment.payment_id)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not payment.is_action_ready:
            await asyncio.sleep(0.05)
            seen = await stage.client.get_order(order.order_id)
            payment = next(one for one in seen.payments if one.payment_id == payment.payment_id)
            expect(
                payment.state != Payment.STATE_FAILED, f"the channel declined the payment: {payment.failure.message_en}"
            )
    return payment


def code_of(payment: payment_pb2.Payment) -> str:
    """What the code of a QR payment says."""
    step = next((step for step in payment.action.steps if step.kind == "qr"), None)
    if step is None:
        raise Differs("The action of a QR payment has no code in it.")
    return str(json.loads(step.params_json)["content"])


async def pay_back(stage: Stage, order: order_pb2.Order, amount_minor: int, reason: str) -> None:
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
    expect(refund.state == Refund.STATE_SUCCEEDED, f"a refund ended {Refund.State.Name(refund.state)}")


def expect(holds: bool, otherwise: str) -> None:
    """Raises Differs unless this holds."""
    if not holds:
        raise Differs(f"This differs from what was expected: {otherwise}.")


class Stream:
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
async def stream_of(
    stage: Stage, order: order_pb2.Order, tag: str, *, resume_after: int | None = None
) -> AsyncIterator[Stream]:
    """The order's stream, shown for as long as the block runs."""
    stream = Stream(stage, order, tag, resume_after)
    try:
        yield stream
    finally:
        stream.reading.cancel()
        await asyncio.wait([stream.reading])
