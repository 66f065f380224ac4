"""RefundService as its callers meet it: a real server on both databases."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from paycore.v1 import anomaly_pb2, order_pb2, refund_pb2
from paycore_sandbox.simulator import Fault, RefundEnd
from tests.rpc.shop import SECOND, Shop, a_refund, fresh, money

pytestmark = pytest.mark.asyncio(loop_scope="module")

Refund = refund_pb2.Refund
SUCCEEDED, PROCESSING, UNKNOWN = Refund.STATE_SUCCEEDED, Refund.STATE_PROCESSING, Refund.STATE_UNKNOWN


async def refund_of(shop: Shop, order_id: str, amount_minor: int = 1_000, **more: object) -> Refund:
    answer = await shop.app.CreateRefund(a_refund(order_id, amount_minor, **more))
    return answer.refund  # type: ignore[no-any-return]


async def get(shop: Shop, **named: str) -> Refund:
    return (await shop.app.GetRefund(refund_pb2.GetRefundRequest(**named))).refund  # type: ignore[no-any-return]


async def until(shop: Shop, refund_id: str, state: refund_pb2.Refund.State.ValueType) -> Refund:
    for _ in range(200):
        refund = await get(shop, refund_id=refund_id)
        if refund.state == state:
            return refund
        await asyncio.sleep(0.02)
    raise AssertionError(f"the refund does not become {Refund.State.Name(state)}")


# ---------------------------------------------------------------------------------------------- giving back


async def test_a_part_and_then_the_rest_go_back(market: Shop) -> None:
    order = await market.paid()
    part = await refund_of(market, order.order_id, 4_000, reason="cold")
    assert (part.state, part.amount, part.reason) == (SUCCEEDED, money(4_000), "cold")
    assert (part.origin, part.payment_id) == (Refund.ORIGIN_MERCHANT, order.effective_payment_id)
    assert part.HasField("success_time")
    rest = await refund_of(market, order.order_id, 6_000)
    assert rest.state == SUCCEEDED
    now = await market.now(order.order_id)
    assert (now.state, now.refunded_minor, now.refunding_minor) == (order_pb2.Order.STATE_PAID, 10_000, 0)
    assert [one.refund_id for one in now.refunds] == [part.refund_id, rest.refund_id]


async def test_an_order_is_refunded_by_the_caller_s_number_as_well(market: Shop) -> None:
    order, number = await market.paid(), fresh("refund")
    request = a_refund(order.order_id, merchant_refund_no=number)
    request.merchant_order_no = order.merchant_order_no
    refund = (await market.app.CreateRefund(request)).refund
    assert await get(market, merchant_refund_no=number) == refund
    assert await get(market, refund_id=refund.refund_id) == refund


async def test_accepted_is_not_done(market: Shop) -> None:
    order = await market.paid()
    market.simulator.next_refunds(RefundEnd.PROCESSING)
    refund = await refund_of(market, order.order_id)
    assert refund.state == PROCESSING
    assert (await market.now(order.order_id)).refunding_minor == 1_000
    market.simulator.end_refund(refund.refund_id, RefundEnd.SUCCESS, market.clock.now())
    synced = (await market.app.SyncRefund(refund_pb2.SyncRefundRequest(refund_id=refund.refund_id))).refund
    assert synced.state == SUCCEEDED


async def test_a_notice_alone_ends_a_refund_as_well(market: Shop) -> None:
    order = await market.paid()
    market.simulator.next_refunds(RefundEnd.PROCESSING)
    refund = await refund_of(market, order.order_id)
    market.simulator.end_refund(refund.refund_id, RefundEnd.FAILED, market.clock.now())
    await market.deliver()
    now = await until(market, refund.refund_id, Refund.STATE_FAILED)  # a query has to agree, and it is due at once
    assert now.failure.message_en
    assert (await market.now(order.order_id)).refunding_minor == 0


async def test_silence_is_an_answer_with_an_unknown_refund(market: Shop) -> None:
    order = await market.paid()
    market.simulator.faults.plan(Fault.EFFECT_THEN_SILENCE, "refunds", times=1)
    refund = await refund_of(market, order.order_id)
    assert refund.state == UNKNOWN
    synced = (await market.app.SyncRefund(refund_pb2.SyncRefundRequest(refund_id=refund.refund_id))).refund
    assert (synced.refund_id, synced.state) == (refund.refund_id, SUCCEEDED)


async def test_a_refund_that_needs_a_person_is_sent_again_when_asked(market: Shop) -> None:
    order = await market.paid()
    market.simulator.next_refunds(RefundEnd.STUCK)
    refund = await refund_of(market, order.order_id)
    await market.deliver()
    refund = await until(market, refund.refund_id, Refund.STATE_ABNORMAL)
    [anomaly] = (await market.now(order.order_id)).open_anomalies
    assert (anomaly.kind, anomaly.refund_id) == (anomaly_pb2.Anomaly.KIND_REFUND_ABNORMAL, refund.refund_id)
    request = refund_pb2.RetryRefundRequest(refund_id=refund.refund_id, request_id=fresh())
    market.simulator.end_refund(refund.refund_id, RefundEnd.SUCCESS, market.clock.now())
    retried = (await market.app.RetryRefund(request)).refund
    assert (retried.refund_id, retried.state) == (refund.refund_id, SUCCEEDED)
    assert (await market.app.RetryRefund(request)).refund == retried


async def test_surplus_money_is_given_back_by_naming_its_payment(market: Shop) -> None:
    order = await market.order(surplus_policy=order_pb2.SURPLUS_POLICY_HOLD)
    payment = await market.begun(order)
    market.pay(payment, amount_minor=9_999)
    await market.deliver()
    refund = await refund_of(market, order.order_id, 9_999, payment_id=payment.payment_id)
    assert (refund.state, refund.payment_id) == (SUCCEEDED, payment.payment_id)
    assert not (await market.now(order.order_id)).open_anomalies


# ---------------------------------------------------------------------------------------------- sent twice


async def test_the_same_request_is_the_same_refund_as_it_stands_now(market: Shop) -> None:
    order = await market.paid()
    market.simulator.next_refunds(RefundEnd.PROCESSING)
    request = a_refund(order.order_id)
    first = (await market.app.CreateRefund(request)).refund
    market.simulator.end_refund(first.refund_id, RefundEnd.SUCCESS, market.clock.now())
    await market.deliver()
    again = (await market.app.CreateRefund(request)).refund
    assert (again.refund_id, again.state) == (first.refund_id, SUCCEEDED)


async def test_the_same_number_under_another_key_is_the_same_refund(market: Shop) -> None:
    order, number = await market.paid(), fresh("refund")
    first = await refund_of(market, order.order_id, 100, merchant_refund_no=number)
    again = await refund_of(market, order.order_id, 100, merchant_refund_no=number)
    assert again == first


async def test_sixty_four_refunds_at_once_never_exceed_what_was_paid(market: Shop) -> None:
    order = await market.paid(1_000)
    asks = [market.app.CreateRefund(a_refund(order.order_id, 30)) for _ in range(64)]
    answers = await asyncio.gather(*asks, return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, grpc.aio.AioRpcError)]
    assert len(refused) == 64 - 33
    assert {error.code() for error in refused} == {grpc.StatusCode.FAILED_PRECONDITION}
    now = await market.now(order.order_id)
    assert now.refunded_minor == 33 * 30
    assert sum(one.amount_minor for one in market.simulator.books.refunds.values() if _is_of(one, order)) == 990


def _is_of(refund: object, order: order_pb2.Order) -> bool:
    return getattr(refund, "out_trade_no", "") == order.effective_payment_id


# ---------------------------------------------------------------------------------------------- lists


async def test_refunds_are_listed_newest_first_page_by_page(shop: Shop) -> None:
    orders = [await shop.paid() for _ in range(2)]
    made = []
    for number in range(5):
        made.append((await refund_of(shop, orders[number % 2].order_id, 10)).refund_id)
        shop.clock.advance(1)
    seen: list[str] = []
    token = ""
    while True:
        page = await shop.app.ListRefunds(refund_pb2.ListRefundsRequest(page_size=2, page_token=token))
        seen += [refund.refund_id for refund in page.refunds]
        token = page.next_page_token
        if not token:
            break
    assert seen == made[::-1]
    of_one = await shop.app.ListRefunds(refund_pb2.ListRefundsRequest(order_id=orders[0].order_id))
    assert [refund.refund_id for refund in of_one.refunds] == made[::-2]
    failed = await shop.app.ListRefunds(refund_pb2.ListRefundsRequest(states=[Refund.STATE_FAILED]))
    assert not failed.refunds
    assert not (await shop.rival.ListRefunds(refund_pb2.ListRefundsRequest())).refunds
    theirs = await shop.rival.ListRefunds(refund_pb2.ListRefundsRequest(order_id=orders[0].order_id))
    assert not theirs.refunds


async def test_an_order_s_refunds_are_listed_however_old(shop: Shop) -> None:
    order = await shop.paid()
    refund = await refund_of(shop, order.order_id)
    shop.clock.advance(40 * 24 * 3600)
    of_one = await shop.app.ListRefunds(refund_pb2.ListRefundsRequest(order_id=order.order_id))
    assert [one.refund_id for one in of_one.refunds] == [refund.refund_id]
    assert not (await shop.app.ListRefunds(refund_pb2.ListRefundsRequest())).refunds
    start = Timestamp()
    start.FromMicroseconds(shop.clock.now() - 41 * 24 * 3600 * SECOND)
    older = await shop.app.ListRefunds(refund_pb2.ListRefundsRequest(start_time=start))
    assert [one.refund_id for one in older.refunds] == [refund.refund_id]
