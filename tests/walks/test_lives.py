"""Whole lives of orders through the real server, with whatever a channel can do to them. Each on both databases."""

from __future__ import annotations

import asyncio

import pytest

from paycore.client import InvalidRequest, PaycoreError
from paycore.v1 import anomaly_pb2, cashier_pb2, order_pb2, payment_pb2, refund_pb2
from paycore_sandbox.simulator import Fault, NoticeFault, RefundEnd
from tests.walks.street import first_step
from tests.walks.walk import Walk

Order, Payment, Refund, Anomaly = order_pb2.Order, payment_pb2.Payment, refund_pb2.Refund, anomaly_pb2.Anomaly
MINUTE = 60
HOUR = 3600


def is_paid(order: order_pb2.Order) -> bool:
    return order.state == Order.STATE_PAID


def is_closed(order: order_pb2.Order) -> bool:
    return order.state == Order.STATE_CLOSED


# ---------------------------------------------------------------------------------------------- paying


async def test_an_app_order_is_paid_by_the_channels_word_alone(walk: Walk) -> None:
    order = await walk.order()
    payment = await walk.pay(order, "app")
    assert (first_step(payment).kind, first_step(payment).target) == ("sdk", "android")
    assert walk.street.calls("trades", payment.payment_id) == 0, "preparing an app payment asks nobody"
    claimed = await walk.client.report_client_result(
        payment.payment_id, outcome=cashier_pb2.CLIENT_OUTCOME_SUCCESS_CLAIMED, raw_code="9000"
    )
    assert claimed.order_state == Order.STATE_PENDING, "a claim is not money"
    walk.street.pay(payment)
    paid = await walk.until(order, is_paid)
    assert (paid.captured_minor, paid.effective_payment_id) == (order.amount.amount_minor, payment.payment_id)


async def test_a_code_is_scanned_and_the_stream_tells_every_step(walk: Walk) -> None:
    order = await walk.order()
    watcher = await walk.watch(order)
    payment = await walk.pay(order, "qr")
    assert first_step(payment).kind == "qr"
    walk.street.pay(payment)
    await walk.until(order, is_paid)
    messages = await watcher.until(lambda message: message.event.order.state == Order.STATE_PAID)
    assert [message.WhichOneof("message") for message in messages] == ["snapshot", *["event"] * (len(messages) - 1)]
    assert [message.version for message in messages] == list(range(1, len(messages) + 1))
    kinds = [message.event.kind for message in messages[1:]]
    assert kinds[0] == "payment.created"
    assert kinds[-2:] == ["payment.succeeded", "order.paid"]


async def test_a_page_is_opened_and_its_button_pressed(walk: Walk) -> None:
    order = await walk.order()
    payment = await walk.pay(order, "redirect")
    walk.street.press_pay(walk.page_of(payment))
    assert (await walk.until(order, is_paid)).captured_minor == order.amount.amount_minor


async def test_a_store_purchase_is_confirmed_by_its_receipt(walk: Walk) -> None:
    item = order_pb2.LineItem(product_id="tea.two.tins", name="Tea", quantity=1, unit_amount_minor=1_200)
    order = await walk.order(amount_minor=1_200, line_items=[item])
    payment = await walk.pay(order, "store")
    evidence = walk.street.buy(payment, amount_minor=1_199)
    told = await walk.client.confirm_payment(channel="sandbox", evidence=evidence, payment_id=payment.payment_id)
    assert (told.order_state, told.may_finish) == (Order.STATE_PAID, True)
    paid = await walk.client.get_order(order.order_id)
    assert paid.captured_minor == 1_199, "what the store took is what counts"
    again = await walk.client.confirm_payment(channel="sandbox", evidence=evidence, payment_id=payment.payment_id)
    assert (again.order_state, again.version) == (told.order_state, told.version)
    with pytest.raises(PaycoreError) as refused:
        await walk.client.confirm_payment(channel="sandbox", evidence=evidence[:-4] + "AAAA")
    assert refused.value.reason in ("EVIDENCE_UNTRUSTED", "EVIDENCE_MALFORMED")


async def test_declined_money_leaves_the_order_payable(walk: Walk) -> None:
    order = await walk.order()
    payment = await walk.pay(order, "qr")
    walk.street.simulator.decline(payment.payment_id, walk.clock.now())
    await walk.pass_time(5)
    failed = await walk.until(order, lambda one: one.payments[0].state == Payment.STATE_FAILED)
    assert failed.state == Order.STATE_PENDING
    assert failed.payments[0].failure.message_zh
    assert failed.payments[0].failure.message_en
    walk.street.pay(await walk.pay(order, "redirect"))
    await walk.until(order, is_paid)


# ---------------------------------------------------------------------------------------------- going back


async def test_a_part_and_then_the_rest_goes_back(walk: Walk) -> None:
    order = await walk.paid_order(1_000)
    part = await walk.refund(order, 300)
    rest = await walk.refund(order, 700)
    with pytest.raises(PaycoreError) as refused:
        await walk.client.create_refund(order.order_id, amount_minor=1, currency="CNY")
    assert refused.value.reason == "REFUND_EXCEEDS_BALANCE"
    done = await walk.until(order, lambda one: one.refunded_minor == 1_000)
    assert {one.refund_id: one.state for one in done.refunds} == {
        part.refund_id: Refund.STATE_SUCCEEDED,
        rest.refund_id: Refund.STATE_SUCCEEDED,
    }
    assert walk.street.returned_minor(done.effective_payment_id) == 1_000


async def test_a_refund_that_failed_gives_its_reservation_back(walk: Walk) -> None:
    order = await walk.paid_order(1_000)
    walk.street.simulator.next_refunds(RefundEnd.FAILED)
    refund = await walk.refund(order, 1_000)
    ended = await walk.until(order, lambda one: one.refunds[0].state == Refund.STATE_FAILED)
    assert (ended.refunds[0].refund_id, ended.refunding_minor, ended.refunded_minor) == (refund.refund_id, 0, 0)
    await walk.refund(order, 1_000)
    await walk.until(order, lambda one: one.refunded_minor == 1_000)


async def test_a_refund_that_needs_a_person_is_retried_by_one(walk: Walk) -> None:
    order = await walk.paid_order(1_000)
    walk.street.simulator.next_refunds(RefundEnd.STUCK)
    refund = await walk.refund(order, 400)
    stuck = await walk.until(order, lambda one: one.refunds[0].state == Refund.STATE_ABNORMAL)
    assert [one.kind for one in stuck.open_anomalies] == [Anomaly.KIND_REFUND_ABNORMAL]
    walk.street.simulator.end_refund(refund.refund_id, RefundEnd.SUCCESS, walk.clock.now())
    await walk.client.retry_refund(refund.refund_id)
    done = await walk.until(order, lambda one: one.refunded_minor == 400)
    assert not done.open_anomalies


# ---------------------------------------------------------------------------------------------- closing


async def test_expiry_closes_at_the_channel(walk: Walk) -> None:
    order = await walk.order(expires_in=2 * MINUTE)
    payment = await walk.pay(order, "qr")
    await walk.pass_time(2 * MINUTE + 1)
    closed = await walk.until(order, is_closed)
    assert closed.close_reason == Order.CLOSE_REASON_EXPIRED
    assert walk.street.trade(payment).state == "CLOSED"
    assert walk.street.calls("trades/query", payment.payment_id) >= 1, "it was asked, not assumed"


async def test_a_trade_that_still_waits_at_expiry_is_closed_by_our_call(walk: Walk) -> None:
    order = await walk.order(expires_in=2 * MINUTE)
    payment = await walk.pay(order, "qr")
    walk.street.enter(payment)
    # The channel's clock is ten seconds behind ours: asked at the expiry it still says "waiting".
    walk.street.trade(payment).expires_at += 10_000_000
    await walk.pass_time(2 * MINUTE + 1)
    closed = await walk.until(order, is_closed)
    assert closed.close_reason == Order.CLOSE_REASON_EXPIRED
    assert walk.street.trade(payment).state == "CLOSED"
    assert walk.street.calls("trades/close", payment.payment_id) == 1


async def test_closing_on_request_closes_at_the_channel(walk: Walk) -> None:
    order = await walk.order()
    payment = await walk.pay(order, "qr")
    closed = await walk.client.close_order(order.order_id)
    assert closed.state == Order.STATE_CLOSED
    assert walk.street.trade(payment).state == "CLOSED"
    with pytest.raises(PaycoreError) as refused:
        await walk.pay(order, "qr")
    assert refused.value.reason == "ORDER_CLOSED"


async def test_late_money_is_given_back(walk: Walk) -> None:
    order = await walk.order()
    payment = await walk.pay(order, "qr")
    await walk.client.close_order(order.order_id)
    walk.street.pay(payment, even_if_over=True)
    settled = await walk.until(order, lambda one: bool(one.refunds) and one.payments[0].refunded_minor == 1_200)
    assert settled.state == Order.STATE_CLOSED
    assert [refund.origin for refund in settled.refunds] == [Refund.ORIGIN_POLICY]
    assert walk.street.returned_minor(payment.payment_id) == 1_200
    kinds = [one.kind for one in (await walk.client.list_anomalies(order_id=order.order_id)).anomalies]
    assert not settled.open_anomalies, kinds


async def test_late_money_is_kept_where_the_policy_says_so(walk: Walk) -> None:
    order = await walk.order(surplus_policy=order_pb2.SURPLUS_POLICY_ACCEPT)
    payment = await walk.pay(order, "qr")
    await walk.client.close_order(order.order_id)
    walk.street.pay(payment, even_if_over=True)
    paid = await walk.until(order, is_paid)
    assert (paid.effective_payment_id, paid.refunds[:]) == (payment.payment_id, [])


async def test_late_money_is_held_where_the_policy_says_so(walk: Walk) -> None:
    order = await walk.order(surplus_policy=order_pb2.SURPLUS_POLICY_HOLD)
    payment = await walk.pay(order, "qr")
    await walk.client.close_order(order.order_id)
    walk.street.pay(payment, even_if_over=True)
    held = await walk.until(order, lambda one: bool(one.open_anomalies))
    (anomaly,) = held.open_anomalies
    assert (anomaly.kind, anomaly.amount.amount_minor) == (Anomaly.KIND_LATE_PAYMENT, 1_200)
    told = await walk.client.resolve_anomaly(
        anomaly.anomaly_id, remedy=anomaly_pb2.REMEDY_ACCEPT, note="the shop ships it"
    )
    assert told.anomaly.state == Anomaly.STATE_RESOLVED
    assert told.order.state == Order.STATE_PAID


async def test_a_second_payment_is_given_back(walk: Walk) -> None:
    order = await walk.order()
    first = await walk.pay(order, "app")
    second = await walk.pay(order, "qr")
    assert first.payment_id != second.payment_id
    walk.street.pay(second)
    await walk.until(order, is_paid)
    walk.street.pay(first)
    settled = await walk.until(order, lambda one: any(refund.state == Refund.STATE_SUCCEEDED for refund in one.refunds))
    assert settled.effective_payment_id == second.payment_id
    assert settled.refunded_minor == 0, "what paid the order stays"
    assert walk.street.returned_minor(first.payment_id) == 1_200
    assert walk.street.returned_minor(second.payment_id) == 0
    assert not settled.open_anomalies


# ---------------------------------------------------------------------------------------------- money that does not fit


async def test_a_wrong_amount_is_held_and_given_back_by_a_person(walk: Walk) -> None:
    order = await walk.order()
    payment = await walk.pay(order, "qr")
    walk.street.pay(payment, amount_minor=1_100)
    held = await walk.until(order, lambda one: bool(one.open_anomalies))
    (anomaly,) = held.open_anomalies
    assert (anomaly.kind, held.state) == (Anomaly.KIND_AMOUNT_MISMATCH, Order.STATE_PENDING)
    assert held.captured_minor == 0
    told = await walk.client.resolve_anomaly(anomaly.anomaly_id, remedy=anomaly_pb2.REMEDY_REFUND, note="wrong amount")
    assert told.anomaly.remedy == anomaly_pb2.REMEDY_REFUND
    done = await walk.until(order, lambda one: one.payments[0].refunded_minor == 1_100)
    assert not done.open_anomalies
    assert walk.street.returned_minor(payment.payment_id) == 1_100
    with pytest.raises(PaycoreError) as refused:
        await walk.client.resolve_anomaly(anomaly.anomaly_id, remedy=anomaly_pb2.REMEDY_REFUND, note="again")
    assert refused.value.reason == "ANOMALY_RESOLVED"


async def test_a_notice_about_nothing_we_know_is_kept(walk: Walk) -> None:
    walk.street.pay_for_a_stranger(walk.notice_url)
    await walk.until_quiet()
    (orphan,) = (await walk.client.list_anomalies(kinds=[Anomaly.KIND_ORPHAN_NOTICE])).anomalies
    assert (orphan.state, orphan.order_id) == (Anomaly.STATE_OPEN, "")
    assert walk.street.simulator.undelivered == 0, "it is acknowledged: nobody has to send it for ever"
    told = await walk.client.resolve_anomaly(
        orphan.anomaly_id, remedy=anomaly_pb2.REMEDY_RELEASE, note="another shop's test"
    )
    assert told.anomaly.state == Anomaly.STATE_RESOLVED


async def test_money_for_another_merchant_is_never_attached(walk: Walk) -> None:
    order = await walk.order()
    payment = await walk.pay(order, "qr")
    walk.street.simulator.faults.plan_notice(NoticeFault.WRONG_MERCHANT, "trade")
    walk.street.pay(payment)
    await walk.until_quiet()
    kinds = [one.kind for one in (await walk.client.list_anomalies()).anomalies]
    assert kinds == [Anomaly.KIND_WRONG_ACCOUNT]
    assert walk.street.simulator.undelivered == 1, "it is refused, not acknowledged"
    await walk.pass_time(MINUTE)
    await walk.until(order, is_paid)  # our own question has the right answer


# ---------------------------------------------------------------------------------------------- notices that misbehave


@pytest.mark.parametrize("fault", [NoticeFault.LOST, NoticeFault.FORGED])
async def test_without_a_notice_our_own_question_finds_the_money(walk: Walk, fault: NoticeFault) -> None:
    order = await walk.order()
    payment = await walk.pay(order, "qr")
    walk.street.simulator.faults.plan_notice(fault, "trade")
    walk.street.pay(payment)
    await walk.until_quiet()
    assert (await walk.client.get_order(order.order_id)).state == Order.STATE_PENDING
    await walk.pass_time(10)
    await walk.until(order, is_paid)


async def test_a_notice_that_comes_twice_counts_once(walk: Walk) -> None:
    order = await walk.order()
    payment = await walk.pay(order, "qr")
    walk.street.simulator.faults.plan_notice(NoticeFault.DUPLICATE, "trade")
    walk.street.pay(payment)
    paid = await walk.until(order, is_paid)
    await walk.until_quiet()
    again = await walk.client.get_order(order.order_id)
    assert (again.version, again.captured_minor) == (paid.version, 1_200)
    assert walk.street.simulator.undelivered == 0


async def test_a_notice_that_comes_late_changes_nothing(walk: Walk) -> None:
    order = await walk.order()
    payment = await walk.pay(order, "qr")
    walk.street.simulator.faults.plan_notice(NoticeFault.LATE, "trade", delay=HOUR * 1_000_000)
    walk.street.pay(payment)
    await walk.pass_time(10)
    paid = await walk.until(order, is_paid)
    await walk.pass_time(HOUR)
    await walk.until_quiet()
    assert walk.street.simulator.undelivered == 0
    assert (await walk.client.get_order(order.order_id)).version == paid.version


# ---------------------------------------------------------------------------------------------- a channel that fails


@pytest.mark.parametrize(
    "fault", [Fault.EFFECT_THEN_SILENCE, Fault.EFFECT_THEN_ERROR, Fault.REFUSED_BY_PROXY, Fault.LOST]
)
async def test_a_prepare_that_failed_is_sent_again_under_the_same_number(walk: Walk, fault: Fault) -> None:
    walk.street.simulator.faults.plan(fault, "trades")
    order = await walk.order()
    begun = (await walk.client.pay_order(order.order_id, channel="sandbox", method="qr")).payment
    assert begun.state == Payment.STATE_UNKNOWN
    assert not begun.is_action_ready
    await walk.pass_time(5)
    ready = await walk.until(order, lambda one: one.payments[0].is_action_ready)
    assert [payment.payment_id for payment in ready.payments] == [begun.payment_id]
    walk.street.pay(ready.payments[0])
    paid = await walk.until(order, is_paid)
    assert set(walk.street.simulator.books.trades) == {paid.effective_payment_id}


@pytest.mark.parametrize(
    "fault", [Fault.EFFECT_THEN_SILENCE, Fault.EFFECT_THEN_ERROR, Fault.REFUSED_BY_PROXY, Fault.LOST]
)
async def test_a_refund_that_failed_on_the_way_goes_back_once(walk: Walk, fault: Fault) -> None:
    order = await walk.paid_order(1_000)
    walk.street.simulator.faults.plan(fault, "refunds")
    walk.street.simulator.faults.plan_notice(NoticeFault.LOST, "refund")
    refund = await walk.refund(order, 600)
    assert refund.state in (Refund.STATE_UNKNOWN, Refund.STATE_PENDING)
    assert (await walk.client.get_order(order.order_id)).refunding_minor == 600, "its amount stays reserved"
    await walk.pass_time(5)
    await walk.until(order, lambda one: one.refunded_minor == 600)
    assert set(walk.street.simulator.books.refunds) == {refund.refund_id}
    assert walk.street.returned_minor(order.effective_payment_id) == 600


@pytest.mark.parametrize(
    "fault", [Fault.UNSIGNED, Fault.BADLY_SIGNED, Fault.TRUNCATED, Fault.OTHER_SUBJECT, Fault.STALE]
)
async def test_an_answer_that_cannot_be_believed_is_not(walk: Walk, fault: Fault) -> None:
    order = await walk.order()
    payment = await walk.pay(order, "qr")
    walk.street.simulator.faults.plan_notice(NoticeFault.LOST, "trade")
    walk.street.simulator.faults.plan(fault, "trades/query")
    walk.street.pay(payment)
    asked = await walk.client.sync_order(order.order_id)
    assert asked.state == Order.STATE_PENDING
    await walk.pass_time(10)
    await walk.until(order, is_paid)


async def test_a_close_that_nobody_answered_is_asked_again(walk: Walk) -> None:
    order = await walk.order()
    payment = await walk.pay(order, "qr")
    walk.street.simulator.faults.plan(Fault.EFFECT_THEN_SILENCE, "trades/close")
    asked = await walk.client.close_order(order.order_id)
    assert asked.state == Order.STATE_CLOSING
    await walk.pass_time(10)
    await walk.until(order, is_closed)
    assert walk.street.trade(payment).state == "CLOSED"


async def test_a_payer_who_is_paying_is_waited_for(walk: Walk) -> None:
    order = await walk.order()
    payment = await walk.pay(order, "qr")
    walk.street.simulator.begin_paying(payment.payment_id, walk.clock.now())
    assert (await walk.client.close_order(order.order_id)).state == Order.STATE_CLOSING
    walk.street.simulator.pay(payment.payment_id, walk.clock.now())
    walk.street.host.look()
    await walk.until(order, is_paid)


async def test_the_same_wish_is_the_same_payment(walk: Walk) -> None:
    order = await walk.order()
    payments = await asyncio.gather(*(walk.pay(order, "qr") for _ in range(5)), return_exceptions=True)
    begun = {payment.payment_id for payment in payments if isinstance(payment, payment_pb2.Payment)}
    assert len(begun) == 1
    refused = {one.reason for one in payments if isinstance(one, PaycoreError)}
    assert refused <= {"PAYMENT_IN_PROGRESS"}
    with pytest.raises(InvalidRequest):
        await walk.pay(order, "cheque")
