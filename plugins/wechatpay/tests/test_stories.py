"""Whole lives against the simulator, through the real engine, on both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import pairwise

import pytest

from paycore.channel import Refreshed, Statement
from paycore.core.order import AnomalyKind, Order, OrderState, PaymentState, RefundState
from paycore.store import Store
from paycore.testing.wires import WireFault
from paycore_bridge import Target
from paycore_wechatpay import WechatPaySimulator
from paycore_wechatpay.simulator import Charge, Fault, NoticeFault, Payer, Phone, RefundEnd

from .support import BASE, DAY, HOUR, NOW
from .world import SECONDS, Shop


@pytest.fixture
async def shop(ready_url: str) -> AsyncIterator[Shop]:
    store = Store.open(ready_url, check_durability=False)
    try:
        shop = await Shop.opened(store)
        yield shop
        await shop.engine.stop(0)
    finally:
        store.close()


async def paid(shop: Shop, amount_minor: int = 12800) -> Order:
    """An order that was paid by code, and we know it."""
    order = await shop.order(amount_minor)
    payment = await shop.pay(order)
    shop.simulator.pay(payment.payment_id, shop.clock.now())
    await shop.deliver()
    order = await shop.stands(order)
    assert order.state is OrderState.PAID
    return order


def open_anomalies(order: Order) -> list[AnomalyKind]:
    return [one.kind for one in order.anomalies if one.is_open]


# ---------------------------------------------------------------------------------------------- paying


@pytest.mark.parametrize(
    ("method", "device"),
    [
        ("app", Target.ANDROID),
        ("jsapi", Target.WEBVIEW),
        ("mini_program", Target.MINI_PROGRAM),
        ("h5", Target.MOBILE_WEB),
        ("native", Target.DESKTOP),
    ],
)
async def test_a_payer_pays_and_the_notice_tells(shop: Shop, method: str, device: Target) -> None:
    order = await shop.order()
    payment = await shop.pay(order, method)
    claim = Phone(shop.simulator, device).run(payment.plan_json, shop.clock.now(), Payer.PAYS)
    assert claim.payment_id == payment.payment_id
    assert (await shop.stands(order)).state is OrderState.PENDING, "what the device claims moves nothing"
    assert [reply.status for reply in await shop.deliver()] == [204]
    order = await shop.stands(order)
    assert order.state is OrderState.PAID
    assert order.payments[0].captured_minor == 12800
    assert shop.simulator.undelivered == 0


async def test_without_a_notice_the_query_tells(shop: Shop) -> None:
    shop.simulator.faults.plan_notice(NoticeFault.LOST)
    order = await shop.order()
    payment = await shop.pay(order)
    shop.simulator.pay(payment.payment_id, shop.clock.now())
    await shop.wait(10)
    assert (await shop.stands(order)).state is OrderState.PAID


async def test_a_barcode_is_paid_in_the_answer(shop: Shop) -> None:
    order = await shop.order()
    await shop.pay(order, "codepay", auth_code="130000000000000001")
    assert (await shop.stands(order)).state is OrderState.PAID
    assert len(shop.calls("codepay")) == 1


async def test_a_barcode_whose_payer_enters_a_password(shop: Shop) -> None:
    shop.simulator.books.next_charges.append(Charge.PAYER_IS_PAYING)
    order = await shop.order()
    payment = await shop.pay(order, "codepay", auth_code="130000000000000001")
    assert payment.state is PaymentState.PENDING
    shop.simulator.pay(payment.payment_id, shop.clock.now())
    await shop.wait(10)
    assert (await shop.stands(order)).state is OrderState.PAID
    assert len(shop.calls("codepay")) == 1


async def test_a_barcode_without_an_answer_is_asked_about_and_never_charged_again(shop: Shop) -> None:
    shop.simulator.faults.plan(Fault.EFFECT_THEN_SILENCE, "codepay")
    order = await shop.order()
    payment = await shop.pay(order, "codepay", auth_code="130000000000000001")
    assert payment.state is PaymentState.UNKNOWN
    await shop.wait(10)
    assert (await shop.stands(order)).state is OrderState.PAID
    assert len(shop.calls("codepay")) == 1


async def test_a_barcode_that_nobody_confirms_is_reversed_at_its_end(shop: Shop) -> None:
    shop.simulator.books.next_charges.append(Charge.PAYER_IS_PAYING)
    order = await shop.order()
    payment = await shop.pay(order, "codepay", auth_code="130000000000000001")
    assert payment.expires_at == NOW + 120 * SECONDS
    shop.simulator.books.trades[payment.payment_id].state = "NOTPAY"  # the payer put the phone away
    await shop.wait(200)
    order = await shop.stands(order)
    assert order.payments[0].state is PaymentState.CLOSED
    assert shop.simulator.books.trades[payment.payment_id].state == "REVOKED"


async def test_an_order_whose_gateway_is_down_goes_to_the_backup(shop: Shop) -> None:
    shop.wire.plan(WireFault.REFUSED, f"{BASE}/v3/", times=100)
    order = await shop.order()
    payment = await shop.pay(order)
    assert payment.state is PaymentState.PENDING
    assert [call.is_at_backup for call in shop.calls("order")] == [True]


async def test_a_lost_answer_is_asked_for_again_under_the_same_number(shop: Shop) -> None:
    shop.simulator.faults.plan(Fault.EFFECT_THEN_SILENCE, "order", times=2)
    order = await shop.order()
    payment = await shop.pay(order)
    assert payment.state is PaymentState.UNKNOWN
    await shop.wait(5)
    order = await shop.stands(order)
    assert order.payments[0].state is PaymentState.PENDING
    assert order.payments[0].plan_json
    assert {call.subject for call in shop.calls("order")} == {payment.payment_id}
    assert len({str(call.document) for call in shop.calls("order")}) == 1, "word for word the same"


# ---------------------------------------------------------------------------------------------- money that is wrong or late


@pytest.mark.parametrize(
    ("fault", "status"), [(NoticeFault.FORGED, 401), (NoticeFault.PROBE, 401), (NoticeFault.WRONG_KEY, 400)]
)
async def test_a_notice_that_is_not_believed_pays_nothing(shop: Shop, fault: NoticeFault, status: int) -> None:
    shop.simulator.faults.plan_notice(fault)
    order = await shop.order()
    payment = await shop.pay(order)
    shop.simulator.pay(payment.payment_id, shop.clock.now())
    assert [reply.status for reply in await shop.deliver()] == [status]
    assert (await shop.stands(order)).state is OrderState.PENDING
    assert shop.simulator.undelivered == 1, "it comes again"


async def test_another_merchants_money_is_refused_and_kept_for_a_person(shop: Shop) -> None:
    shop.simulator.faults.plan_notice(NoticeFault.WRONG_MERCHANT)
    order = await shop.order()
    payment = await shop.pay(order)
    shop.simulator.pay(payment.payment_id, shop.clock.now())
    assert [reply.status for reply in await shop.deliver()] == [403]
    order = await shop.stands(order)
    assert (order.state, open_anomalies(order)) == (OrderState.PENDING, [AnomalyKind.WRONG_ACCOUNT])


async def test_a_wrong_amount_is_held(shop: Shop) -> None:
    order = await shop.order()
    payment = await shop.pay(order)
    shop.simulator.pay(payment.payment_id, shop.clock.now(), amount_minor=12799)
    assert [reply.status for reply in await shop.deliver()] == [204]
    order = await shop.stands(order)
    assert (order.state, open_anomalies(order)) == (OrderState.PENDING, [AnomalyKind.AMOUNT_MISMATCH])


async def test_an_unpaid_order_is_closed_at_wechat_pay(shop: Shop) -> None:
    order = await shop.order()
    payment = await shop.pay(order)
    order = await shop.close(order)
    await shop.wait(10)
    assert (await shop.stands(order)).state is OrderState.CLOSED
    assert shop.simulator.books.trades[payment.payment_id].state == "CLOSED"


async def test_late_money_is_given_back_under_one_number(shop: Shop) -> None:
    order = await shop.order()
    payment = await shop.pay(order)
    await shop.close(order)
    await shop.wait(10)
    shop.simulator.pay(payment.payment_id, shop.clock.now(), even_if_over=True)
    await shop.deliver()
    await shop.wait(60)
    order = await shop.stands(order)
    assert order.state is OrderState.CLOSED
    assert [refund.state for refund in order.refunds] == [RefundState.SUCCEEDED]
    trade = shop.simulator.trade(payment.payment_id)
    assert trade is not None
    assert trade.returned_minor == 12800


# ---------------------------------------------------------------------------------------------- refunds


async def test_a_refund_is_accepted_and_done_when_the_query_says_so(shop: Shop) -> None:
    shop.simulator.faults.plan_notice(NoticeFault.LOST, "REFUND.SUCCESS")
    order = await paid(shop)
    refund = await shop.refund(order, 3000)
    assert refund.state is RefundState.PROCESSING
    await shop.wait(10)
    assert (await shop.stands_refund(order, refund)).state is RefundState.SUCCEEDED


async def test_a_refund_keeps_its_number_through_every_trouble(shop: Shop) -> None:
    order = await paid(shop)
    for fault in (Fault.LOST, Fault.EFFECT_THEN_SILENCE, Fault.REFUSED_BY_PROXY, Fault.OLD_SPELLING, Fault.UNSIGNED):
        shop.simulator.faults.plan(fault, "refund", times=2)
    refund = await shop.refund(order, 3000)
    await shop.wait(HOUR / SECONDS, step=60)
    assert (await shop.stands_refund(order, refund)).state is RefundState.SUCCEEDED
    assert {call.subject for call in shop.calls("refund")} == {refund.refund_id}
    assert dict(shop.simulator.refunds(order.payments[0].payment_id)) == {refund.refund_id: 3000}


async def test_a_refused_refund_fails_only_when_a_signed_query_agrees(shop: Shop) -> None:
    order = await paid(shop)
    trade = shop.simulator.books.trades[order.payments[0].payment_id]
    trade.paid_at = (trade.paid_at or 0) - 400 * DAY  # older than WeChat Pay takes refunds of
    shop.simulator.signs_refusals = False
    refund = await shop.refund(order, 3000)
    await shop.wait(600, step=20)
    assert (await shop.stands_refund(order, refund)).state is RefundState.UNKNOWN, "hints prove nothing"
    sends = len(shop.calls("refund"))
    await shop.wait(3600, step=60)
    assert len(shop.calls("refund")) <= sends + 6, "and it goes round ever more slowly"
    shop.simulator.signs_refusals = True
    await shop.wait(2 * 3600, step=60)
    assert (await shop.stands_refund(order, refund)).state is RefundState.FAILED


async def test_a_closed_refund_fails_when_the_query_agrees_with_the_notice(shop: Shop) -> None:
    order = await paid(shop)
    shop.simulator.next_refunds(RefundEnd.PROCESSING)
    refund = await shop.refund(order, 3000)
    shop.simulator.end_refund(refund.refund_id, RefundEnd.CLOSED, shop.clock.now())
    await shop.deliver()
    assert (await shop.stands_refund(order, refund)).state is RefundState.PROCESSING, "a notice alone fails nothing"
    await shop.wait(5)
    assert (await shop.stands_refund(order, refund)).state is RefundState.FAILED
    assert (await shop.stands(order)).payments[0].balance_minor == 12800


async def test_a_refund_without_money_waits_and_is_sent_again(shop: Shop) -> None:
    order = await paid(shop)
    shop.simulator.books.is_short_of_money = True
    refund = await shop.refund(order, 3000)
    assert refund.failure is not None
    assert (refund.failure.reason, refund.failure.channel_code) == ("balance_short", "NOT_ENOUGH")
    assert refund.is_reserving
    shop.simulator.books.is_short_of_money = False
    await shop.wait(600, step=30)
    assert (await shop.stands_refund(order, refund)).state is RefundState.SUCCEEDED
    assert {call.subject for call in shop.calls("refund")} == {refund.refund_id}


async def test_an_abnormal_refund_waits_for_a_person(shop: Shop) -> None:
    order = await paid(shop)
    shop.simulator.next_refunds(RefundEnd.ABNORMAL)
    refund = await shop.refund(order, 3000)
    order = await shop.stands(order)
    assert (order.refunds[0].state, open_anomalies(order)) == (RefundState.ABNORMAL, [AnomalyKind.REFUND_ABNORMAL])
    shop.simulator.end_refund(refund.refund_id, RefundEnd.SUCCESS, shop.clock.now())  # done in the console
    await shop.deliver()
    order = await shop.stands(order)
    assert (order.refunds[0].state, open_anomalies(order)) == (RefundState.SUCCEEDED, [])


async def test_two_refunds_of_an_order_are_a_minute_apart(shop: Shop) -> None:
    order = await paid(shop)
    first, second, third = [await shop.refund(order, 1000) for _ in range(3)]
    assert first.state is RefundState.PROCESSING
    assert (second.state, third.state) == (RefundState.PENDING, RefundState.PENDING)
    await shop.wait(200, step=1)
    states = [(await shop.stands_refund(order, one)).state for one in (first, second, third)]
    assert states == [RefundState.SUCCEEDED] * 3
    sent = [call.at for call in shop.calls("refund")]
    assert len(sent) == 3, "none was sent in vain"
    assert all(later - earlier >= 60 * SECONDS for earlier, later in pairwise(sent))


async def test_a_refund_of_the_console_is_recorded_as_the_channels_own(shop: Shop) -> None:
    order = await paid(shop)
    shop.simulator.refund_in_console(order.payments[0].payment_id, shop.clock.now(), amount_minor=700)
    await shop.deliver()
    order = await shop.stands(order)
    assert [(one.origin.value, one.amount_minor, one.state) for one in order.refunds] == [
        ("CHANNEL", 700, RefundState.SUCCEEDED)
    ]
    assert order.payments[0].balance_minor == 12100


# ---------------------------------------------------------------------------------------------- keys


@pytest.fixture
async def shop_with_certificates(ready_url: str) -> AsyncIterator[Shop]:
    store = Store.open(ready_url, check_durability=False)
    try:
        shop = await Shop.opened(store, WechatPaySimulator("stories", mode="certificates"))
        yield shop
        await shop.engine.stop(0)
    finally:
        store.close()


async def test_certificates_are_fetched_by_the_clock_and_by_nobody_else(shop_with_certificates: Shop) -> None:
    shop = shop_with_certificates
    order = await shop.order()
    payment = await shop.pay(order)
    assert payment.state is PaymentState.UNKNOWN, "nothing verifies before the first fetch"
    assert await shop.engine.refresher.refresh_due() == 1
    await shop.wait(10)
    assert (await shop.stands(order)).payments[0].state is PaymentState.PENDING
    shop.simulator.pay(payment.payment_id, shop.clock.now())
    for _ in range(5):
        shop.simulator.faults.plan_notice(NoticeFault.FORGED)
        shop.simulator.refund_in_console(payment.payment_id, shop.clock.now(), amount_minor=1)
    await shop.deliver()
    await shop.engine.refresher.refresh_due()
    assert len(shop.calls("certificates")) == 1, "strangers make us fetch nothing"
    assert (await shop.stands(order)).state is OrderState.PAID
    shop.clock.advance(3601)
    assert await shop.engine.refresher.refresh_due() == 1
    assert len(shop.calls("certificates")) == 2


async def test_keys_change_while_money_is_under_way(shop: Shop) -> None:
    order = await shop.order()
    payment = await shop.pay(order)
    shop.simulator.pay(payment.payment_id, shop.clock.now())  # sealed and signed for the keys before
    await shop.engine.accounts.rotate(shop.account_id, shop.simulator.next_settings(BASE))
    shop.simulator.merchants.retire("1900000109", 1)
    assert [reply.status for reply in await shop.deliver()] == [204]
    order = await shop.stands(order)
    assert order.state is OrderState.PAID
    refund = await shop.refund(order, 3000)
    await shop.wait(10)
    assert (await shop.stands_refund(order, refund)).state is RefundState.SUCCEEDED


async def test_a_day_can_be_accounted_for(shop: Shop) -> None:
    order = await paid(shop)
    await shop.refund(order, 3000)
    shop.clock.set(NOW + 2 * DAY)
    found = await shop.engine.statement(shop.account_id, "trade", "2026-11-18")
    assert isinstance(found, Statement)
    assert [line.amount.minor("CNY") for line in found.lines] == [12800, -3000]
    assert isinstance(await shop.engine.refresh_account(shop.account_id), Refreshed)
