"""Where people ask: at either server, again and again until there is an answer, with everything written down."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from paycore.client import AsyncClient, PaycoreError
from paycore.client.errors import is_transient
from paycore.v1 import order_pb2, payment_pb2, refund_pb2
from tests.chaos.checks import Order, Payment, Refund
from tests.chaos.journal import Journal, Line

CALL_SECONDS = 5.0
AGAIN_SECONDS = (0.05, 0.6)
IMPATIENT = 0.15
"""How often the same thing is asked for twice at once."""


class Refusal(Exception):
    """The server said no, for this reason."""

    def __init__(self, call: str, error: PaycoreError) -> None:
        super().__init__(f"{call}: {error}")
        self.reason = error.reason
        self.retry_after_seconds = error.retry_after_seconds or 0.0


class Desk:
    """Asks either server, whichever comes first to hand."""

    def __init__(self, clients: Sequence[AsyncClient], journal: Journal, rng: random.Random) -> None:
        self._clients = clients
        self._journal = journal
        self._rng = rng
        self.figures: Counter[str] = Counter()

    async def ask(self, call: str, request_id: str, **content: Any) -> Any:
        """Ask until there is an answer, and return it. Sometimes twice at once, as people with two fingers do.

        Raises Refusal.
        """
        if self._rng.random() >= IMPATIENT:
            return await self._ask(call, request_id, content)
        self.figures["double clicks"] += 1
        both = [asyncio.create_task(self._ask(call, request_id, content)) for _ in range(2)]
        try:
            await asyncio.wait(both)
            return next((one for one in both if one.exception() is None), both[0]).result()
        finally:
            for one in both:
                one.cancel()

    async def again(self, line: Line) -> None:
        """Ask again what somebody asked who did not live to hear the answer."""
        self.figures["asked again for the dead"] += 1
        with contextlib.suppress(Refusal):  # it is written down
            await self._insist(line.number, line.call, line.request_id, dict(line.told))

    async def _ask(self, call: str, request_id: str, content: dict[str, Any]) -> Any:
        number = await self._journal.asked(call, request_id, content)
        self.figures["requests"] += 1
        return await self._insist(number, call, request_id, content)

    async def _insist(self, number: int, call: str, request_id: str, content: dict[str, Any]) -> Any:
        while True:
            client = self._rng.choice(self._clients)
            try:
                answer = await getattr(client, call)(**_arguments(content), request_id=request_id)
            except PaycoreError as error:
                if not is_transient(error):
                    self.figures["refusals"] += 1
                    await self._journal.refused(number, call, request_id, error.reason)
                    raise Refusal(call, error) from None
                self.figures["retries"] += 1
                self.figures[f"retries: {error.reason or error.code.name}"] += 1
                await asyncio.sleep(self._rng.uniform(*AGAIN_SECONDS))
                continue
            self.figures["acknowledged"] += 1
            await self._journal.answered(number, call, request_id, told(answer))
            return answer


def _arguments(content: dict[str, Any]) -> dict[str, Any]:
    """The content as the client takes it; the journal knows no instants."""
    if "expire_time" not in content:
        return content
    return content | {"expire_time": datetime.fromtimestamp(content["expire_time"], UTC)}


def told(answer: Any) -> dict[str, Any]:
    """What an answer promises, for the journal."""
    if isinstance(answer, order_pb2.Order):
        return {
            "order_id": answer.order_id,
            "merchant_order_no": answer.merchant_order_no,
            "amount_minor": answer.amount.amount_minor,
            "order_state": word(order_pb2.Order.State, answer.state),
            "version": answer.version,
        }
    if isinstance(answer, order_pb2.PayOrderResponse):
        return told(answer.order) | {
            "payment_id": answer.payment.payment_id,
            "payment_state": word(payment_pb2.Payment.State, answer.payment.state),
        }
    assert isinstance(answer, refund_pb2.Refund)
    return {
        "order_id": answer.order_id,
        "refund_id": answer.refund_id,
        "refund_minor": answer.amount.amount_minor,
        "refund_state": word(refund_pb2.Refund.State, answer.state),
    }


def word(enum: Any, value: int) -> str:
    """The name of a state without its prefix."""
    return str(enum.Name(value)).removeprefix("STATE_").removeprefix("ORIGIN_")


def text_of(event: order_pb2.OrderEvent) -> str:
    """An event's content in one word, to compare two tellings of it."""
    return event.SerializeToString(deterministic=True).hex()


async def order_of(client: AsyncClient, order_id: str) -> Order:
    """An order with all its events, as the API tells it."""
    order = await client.get_order(order_id)
    events: list[tuple[int, str]] = []
    token = ""
    while not events or token:
        page = await client.list_order_events(order_id, page_size=200, page_token=token)
        events += [(event.version, text_of(event)) for event in page.events]
        token = page.next_page_token
        if not page.events:
            break
    return row_of(order, tuple(events))


def row_of(order: order_pb2.Order, events: tuple[tuple[int, str], ...] = ()) -> Order:
    """An order in the checks' words."""
    return Order(
        order_id=order.order_id,
        merchant_order_no=order.merchant_order_no,
        state=word(order_pb2.Order.State, order.state),
        amount_minor=order.amount.amount_minor,
        version=order.version,
        payments=tuple(
            Payment(one.payment_id, word(payment_pb2.Payment.State, one.state), one.captured_minor, one.refunded_minor)
            for one in order.payments
        ),
        refunds=tuple(
            Refund(
                one.refund_id,
                one.payment_id,
                one.amount.amount_minor,
                word(refund_pb2.Refund.State, one.state),
                word(refund_pb2.Refund.Origin, one.origin),
            )
            for one in order.refunds
        ),
        open_anomalies=tuple(type(one).Kind.Name(one.kind) for one in order.open_anomalies),
        events=events,
    )
