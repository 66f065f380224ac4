"""Notices may come in any order, any number of times, with questions of our own between them: the end is the same (I2)."""

from __future__ import annotations

import asyncio
import functools
from typing import Any

from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from paycore.channel import OutgoingNotice
from paycore.core.order import Order
from paycore.v1 import order_pb2
from paycore_sandbox.simulator import RefundEnd
from tests.fuzz.house import House, open_house
from tests.rpc.shop import a_notice, a_payment, a_refund, an_order

QUERY = -1
"""In a schedule: we ask the channel ourselves."""
SCHEDULES = st.lists(st.integers(QUERY, 5), max_size=12)
REFUNDS = (100, 200, 400)


async def _after(schedule: list[int], *, is_paid_twice: bool) -> dict[str, Any]:
    """How an order stands after its notices came in this way, each at least once, and everything due was done."""
    async with open_house() as house:
        order_id, notices = await _live(house, is_paid_twice=is_paid_twice)
        for place in [*schedule, *range(len(notices))]:
            ask: Message = order_pb2.SyncOrderRequest(order_id=order_id)
            if place != QUERY:
                ask = a_notice(notices[place % len(notices)])
            answer = await house.ask(ask)
            assert place == QUERY or answer.http_status == 200
        await _settle(house)
        assert house.violations() == []
        found = await house.engine.reader.load(order_id)
        assert found is not None
        return _standing(found)


async def _live(house: House, *, is_paid_twice: bool) -> tuple[str, list[OutgoingNotice]]:
    """An order that is paid, or paid twice, of which nobody has told us; or paid and half refunded, and the ends are not told."""
    now, channel = house.clock.now(), house.simulator
    order_id = (await house.ask(an_order(request_id="notices-order-0001"))).order.order_id
    first = (await house.ask(a_payment(order_id, request_id="notices-pay-00001"))).payment
    if is_paid_twice:
        more = a_payment(order_id, method="redirect", request_id="notices-pay-00002")
        second = (await house.ask(more)).payment
        channel.pay(second.payment_id, now)
        channel.pay(first.payment_id, now, even_if_over=True)
        return order_id, list(channel.due(now))
    channel.pay(first.payment_id, now)
    for notice in channel.due(now):
        await house.ask(a_notice(notice))
    channel.next_refunds(*[RefundEnd.PROCESSING] * len(REFUNDS))
    for number, amount in enumerate(REFUNDS):
        ask = a_refund(order_id, amount, request_id=f"notices-refund-{number:04}", merchant_refund_no="")
        refund = (await house.ask(ask)).refund
        channel.end_refund(refund.refund_id, RefundEnd.FAILED if number == 1 else RefundEnd.SUCCESS, now)
    channel.refund_in_console(first.payment_id, now, amount_minor=50)
    return order_id, list(channel.due(now))


async def _settle(house: House) -> None:
    """Do what is due for some minutes; what the channel announces meanwhile comes in."""
    for _ in range(8):
        now = house.clock.now()
        with house.store.write() as unit:
            due = unit.claim_due(now, now + 30_000_000, 50)
        for one in due:
            await house.engine.verbs.do(one)
        for notice in house.simulator.due(now):
            await house.ask(a_notice(notice))
        house.clock.advance(20)


def _standing(order: Order) -> dict[str, Any]:
    """Everything about the money. Which of two payments is the surplus one is for the order of notices to decide."""
    return {
        "state": order.state.value,
        "captured": [one.captured_minor for one in order.payments],
        "kept": sorted(one.captured_minor - one.refunded_minor for one in order.payments),
        "effective": sum(one.is_effective for one in order.payments),
        "refunds": sorted((one.origin.value, one.amount_minor, one.state.value) for one in order.refunds),
    }


@functools.cache
def _usual(*, is_paid_twice: bool) -> dict[str, Any]:
    return asyncio.run(_after([], is_paid_twice=is_paid_twice))


@settings(max_examples=40)
@given(SCHEDULES)
def test_the_ends_of_refunds_may_come_in_any_order_and_again(schedule: list[int]) -> None:
    usual = _usual(is_paid_twice=False)
    assert usual["kept"] == [10_000 - 100 - 400 - 50]
    assert asyncio.run(_after(schedule, is_paid_twice=False)) == usual


@settings(max_examples=30)
@given(SCHEDULES)
def test_two_payments_may_be_announced_in_any_order_and_again(schedule: list[int]) -> None:
    usual = _usual(is_paid_twice=True)
    assert (usual["effective"], usual["kept"]) == (1, [0, 10_000])
    assert asyncio.run(_after(schedule, is_paid_twice=True)) == usual
