"""Whole lives of orders through the real engine, with Alipay's own side played by its simulator."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from paycore.channel import NoticeReply, RawNotice
from paycore.core.order import AnomalyKind, Order, OrderState, PaymentState, RefundOrigin, RefundState
from paycore.store import Store
from paycore.testing.wires import WireFault
from paycore_alipay.simulator import CodeAnswer, Fault, NoticeFault, Payer, Phone, RefundEnd
from paycore_bridge import Plan, Qr

from .shop import APP, Shop
from .support import BASE, DAY, MINUTE, SECOND


@contextmanager
def opened(url: str) -> Iterator[Store]:
    store = Store.open(url, check_durability=False)
    yield store
    store.close()


@pytest.fixture
async def shop(sqlite_ready: str) -> AsyncIterator[Shop]:
    """On SQLite, where the database does not matter."""
    with opened(sqlite_ready) as store:
        yield await Shop(store).open()


@pytest.fixture
async def each_shop(ready_url: str) -> AsyncIterator[Shop]:
    """On SQLite and on PostgreSQL."""
    with opened(ready_url) as store:
        yield await Shop(store).open()


async def paid(shop: Shop, method: str = "qr") -> Order:
    """An order that was paid, and knows it."""
    order = await shop.pay(await shop.order(), method)
    shop.simulator.accept(shop.plan(order), shop.clock.now())
    shop.simulator.pay(shop.payment_id(order), shop.clock.now())
    await shop.notices()
    order = await shop.stands(order)
    assert order.state is OrderState.PAID
    return order


# ---------------------------------------------------------------------------------------------- the ways to pay


@pytest.mark.parametrize("method", ["app", "wap", "page", "qr", "jsapi"])
async def test_a_notice_alone_suffices(each_shop: Shop, method: str) -> None:
    order = await paid(each_shop, method)
    assert order.effective is not None
    assert (order.effective.captured_minor, order.effective.method) == (8888, method)
    assert each_shop.simulator.undelivered == 0


@pytest.mark.parametrize("method", ["app", "wap", "page", "qr", "jsapi"])
async def test_a_query_alone_suffices(shop: Shop, method: str) -> None:
    order = await shop.pay(await shop.order(), method)
    shop.simulator.faults.plan_notice(NoticeFault.LOST, times=9)
    shop.simulator.accept(shop.plan(order), shop.clock.now())
    shop.simulator.pay(shop.payment_id(order), shop.clock.now())
    await shop.work(until=shop.clock.now() + 2 * MINUTE)
    assert (await shop.stands(order)).state is OrderState.PAID


async def test_an_app_payment_on_a_phone(shop: Shop) -> None:
    """What the SDK answers moves nothing; the notice does."""
    order = await shop.pay(await shop.order(), "app", "android")
    claim = Phone(shop.simulator).run(shop.plan(order), shop.clock.now(), Payer.PAYS_BUT_CANCEL_IS_CLAIMED)
    assert claim.raw_code == "6001"
    assert (await shop.stands(order)).state is OrderState.PENDING
    await shop.notices()
    assert (await shop.stands(order)).state is OrderState.PAID


async def test_a_success_that_a_phone_only_claims_is_none(shop: Shop) -> None:
    order = await shop.pay(await shop.order(), "app", "android")
    claim = Phone(shop.simulator).run(shop.plan(order), shop.clock.now(), Payer.CANCELS_BUT_SUCCESS_IS_CLAIMED)
    assert claim.raw_code == "9000"
    await shop.work(until=shop.clock.now() + MINUTE)
    assert (await shop.stands(order)).state is OrderState.PENDING


async def test_a_scanned_payer_pays_in_the_same_call(shop: Shop) -> None:
    order = await shop.pay(await shop.order(), "barcode")
    assert order.state is OrderState.PAID


async def test_a_scanned_payer_whose_answer_is_lost_is_charged_once(shop: Shop) -> None:
    shop.simulator.faults.plan(Fault.EFFECT_THEN_SILENCE, "alipay.trade.pay")
    shop.simulator.faults.plan_notice(NoticeFault.LOST, times=9)
    order = await shop.pay(await shop.order(), "barcode")
    assert order.payments[-1].state is PaymentState.UNKNOWN
    await shop.work(until=shop.clock.now() + MINUTE)
    assert (await shop.stands(order)).state is OrderState.PAID
    assert [call.name for call in shop.simulator.calls].count("alipay.trade.pay") == 1


async def test_a_scanned_code_that_is_refused_leaves_the_order_payable(shop: Shop) -> None:
    shop.simulator.next_codes.append(CodeAnswer.IS_INVALID)
    order = await shop.pay(await shop.order(), "barcode")
    assert (order.state, order.payments[-1].state) == (OrderState.PENDING, PaymentState.FAILED)
    order = await shop.pay(order, "barcode")
    assert order.state is OrderState.PAID


# ---------------------------------------------------------------------------------------------- the end of waiting


async def test_a_code_that_nobody_scanned_is_closed_only_when_it_proves_something(shop: Shop) -> None:
    order = await shop.pay(await shop.order())
    expires_at = order.payments[-1].expires_at
    await shop.work(until=expires_at + 30 * SECOND)
    assert (await shop.stands(order)).state is OrderState.CLOSING
    await shop.work(until=expires_at + 3 * MINUTE)
    closed = await shop.stands(order)
    assert (closed.state, closed.payments[-1].state) == (OrderState.CLOSED, PaymentState.CLOSED)


async def test_a_scanned_code_that_is_not_paid_is_closed_at_its_expiry(shop: Shop) -> None:
    order = await shop.pay(await shop.order())
    [step] = Plan.from_json(shop.plan(order)).steps
    assert isinstance(step.content, Qr)
    shop.simulator.scan(step.content.content, shop.clock.now())
    await shop.work(until=order.payments[-1].expires_at + 10 * SECOND)
    assert (await shop.stands(order)).state is OrderState.CLOSED
    assert shop.simulator.books.trades[shop.payment_id(order)].status == "TRADE_CLOSED"


async def test_late_money_is_given_back(each_shop: Shop) -> None:
    order = await each_shop.pay(await each_shop.order())
    await each_shop.work(until=order.payments[-1].expires_at + 3 * MINUTE)
    each_shop.simulator.pay(each_shop.payment_id(order), each_shop.clock.now(), even_if_over=True)
    await each_shop.work(until=each_shop.clock.now() + MINUTE)
    late = await each_shop.stands(order)
    assert late.state is OrderState.CLOSED
    assert [(one.origin, one.state, one.amount_minor) for one in late.refunds] == [
        (RefundOrigin.POLICY, RefundState.SUCCEEDED, 8888)
    ]


async def test_a_payment_wins_over_a_close(shop: Shop) -> None:
    order = await shop.pay(await shop.order(), "jsapi")
    shop.simulator.faults.plan_notice(NoticeFault.LOST, times=9)
    shop.simulator.pay(shop.payment_id(order), shop.clock.now())
    await shop.engine.close_order(APP, order.order_id, None)
    await shop.work(until=shop.clock.now() + MINUTE)
    assert (await shop.stands(order)).state is OrderState.PAID


# ---------------------------------------------------------------------------------------------- refunds


async def test_refunds_in_parts(each_shop: Shop) -> None:
    order = await paid(each_shop)
    for amount in (888, 3000, 5000):
        await each_shop.refund(order, amount)
        await each_shop.work(until=each_shop.clock.now() + 10 * SECOND)
    done = await each_shop.stands(order)
    assert [(one.state, one.origin) for one in done.refunds] == [(RefundState.SUCCEEDED, RefundOrigin.MERCHANT)] * 3
    assert done.payments[-1].refunded_minor == 8888
    assert done.anomalies == ()
    assert each_shop.simulator.books.trades[each_shop.payment_id(order)].status == "TRADE_CLOSED"
    await each_shop.engine.sync_order(APP, order.order_id)
    await each_shop.work(until=each_shop.clock.now() + MINUTE)
    assert len((await each_shop.stands(order)).refunds) == 3


@pytest.mark.parametrize(
    "fault", [Fault.EFFECT_THEN_SILENCE, Fault.EFFECT_THEN_ERROR, Fault.SYSTEM_ERROR, Fault.UNSIGNED, Fault.LOST]
)
async def test_a_refund_with_a_doubtful_answer_is_done_once(shop: Shop, fault: Fault) -> None:
    order = await paid(shop)
    shop.simulator.faults.plan(fault, "alipay.trade.refund")
    shop.simulator.faults.plan_notice(NoticeFault.LOST, times=9)
    refund_id = await shop.refund(order, 3000)
    await shop.work(until=shop.clock.now() + 5 * MINUTE)
    refund = (await shop.stands(order)).refund(refund_id)
    assert refund is not None
    assert refund.state is RefundState.SUCCEEDED
    assert shop.simulator.refunds(shop.payment_id(order)) == {refund_id: 3000}


async def test_a_refund_that_was_taken_and_never_carried_out_is_sent_again(shop: Shop) -> None:
    order = await paid(shop)
    shop.simulator.next_refunds(RefundEnd.FAILED)
    refund_id = await shop.refund(order, 3000)
    await shop.work(until=shop.clock.now() + 5 * MINUTE)
    refund = (await shop.stands(order)).refund(refund_id)
    assert refund is not None
    assert refund.state is RefundState.SUCCEEDED


async def test_a_refund_waits_for_money(shop: Shop) -> None:
    order = await paid(shop)
    shop.simulator.books.is_short_of_money = True
    refund_id = await shop.refund(order, 3000)
    await shop.work(until=shop.clock.now() + MINUTE)
    shop.simulator.books.is_short_of_money = False
    await shop.work(until=shop.clock.now() + 10 * MINUTE)
    refund = (await shop.stands(order)).refund(refund_id)
    assert refund is not None
    assert refund.state is RefundState.SUCCEEDED


async def test_a_refund_after_the_end_of_refunds_fails(shop: Shop) -> None:
    order = await paid(shop)
    shop.simulator.finish(shop.payment_id(order), shop.clock.now())
    refund_id = await shop.refund(order, 3000)
    await shop.work(until=shop.clock.now() + 5 * MINUTE)
    done = await shop.stands(order)
    refund = done.refund(refund_id)
    assert refund is not None
    assert refund.state is RefundState.FAILED
    assert refund.failure is not None
    assert refund.failure.reason == "refund_window_closed"
    assert done.payments[-1].balance_minor == 8888


async def test_refunds_of_the_console_are_told_apart_and_add_up(each_shop: Shop) -> None:
    """Alipay tells only sums. Two of the console and one of ours between them are three refunds of their own amounts."""
    order = await paid(each_shop)
    payment_id = each_shop.payment_id(order)
    first = each_shop.simulator.refund_in_console(payment_id, each_shop.clock.now(), amount_minor=1000)
    await each_shop.notices()
    await each_shop.refund(order, 500)
    await each_shop.work(until=each_shop.clock.now() + 10 * SECOND)
    second = each_shop.simulator.refund_in_console(payment_id, each_shop.clock.now(), amount_minor=2000)
    await each_shop.notices()
    done = await each_shop.stands(order)
    assert sorted((one.origin.value, one.amount_minor, one.channel_refund_no) for one in done.refunds) == [
        ("CHANNEL", 1000, first),
        ("CHANNEL", 2000, second),
        ("MERCHANT", 500, done.refunds[1].channel_refund_no),
    ]
    assert done.payments[-1].refunded_minor == 3500 == each_shop.simulator.books.trades[payment_id].returned_minor
    assert done.anomalies == ()


async def test_the_notices_of_the_console_may_come_in_any_order_and_twice(shop: Shop) -> None:
    order = await paid(shop)
    payment_id, now = shop.payment_id(order), shop.clock.now()
    for amount in (1000, 2000, 400):
        shop.simulator.refund_in_console(payment_id, now, amount_minor=amount)
    due = [notice.request for notice in shop.simulator.due(now)]
    for request in (due[2], due[0], due[2], due[1], due[0]):
        raw = RawNotice("POST", f"/v1/notices/{shop.account_id}", dict(request.headers), request.body)
        assert (await shop.engine.deliver_notice(shop.account_id, raw)).body == b"success"
    done = await shop.stands(order)
    assert done.payments[-1].refunded_minor == 3400
    assert done.anomalies == ()


async def test_all_of_it_may_go_back_before_we_hear_that_it_was_paid(shop: Shop) -> None:
    order = await shop.pay(await shop.order(), "jsapi")
    payment_id = shop.payment_id(order)
    shop.simulator.faults.plan_notice(NoticeFault.LOST, times=9)
    shop.simulator.pay(payment_id, shop.clock.now())
    shop.simulator.refund_in_console(payment_id, shop.clock.now(), amount_minor=8888)
    await shop.work(until=shop.clock.now() + MINUTE)
    done = await shop.stands(order)
    assert done.state is not OrderState.PAID
    assert done.payments[-1].state is PaymentState.SUCCEEDED
    assert [(one.origin, one.amount_minor) for one in done.refunds] == [(RefundOrigin.CHANNEL, 8888)]


async def test_a_late_success_does_not_undo_a_refund(shop: Shop) -> None:
    order = await shop.pay(await shop.order(), "jsapi")
    payment_id = shop.payment_id(order)
    shop.simulator.faults.plan_notice(NoticeFault.LATE, "paid", delay=10 * MINUTE)
    shop.simulator.pay(payment_id, shop.clock.now())
    shop.simulator.refund_in_console(payment_id, shop.clock.now(), amount_minor=8888)
    await shop.notices()
    shop.clock.advance(601)
    assert [one.body for one in await shop.notices()] == [b"success"]
    done = await shop.stands(order)
    assert done.payments[-1].refunded_minor == 8888
    assert len(done.refunds) == 1


# ---------------------------------------------------------------------------------------------- what does not fit


async def test_a_wrong_amount_is_held(shop: Shop) -> None:
    order = await shop.pay(await shop.order(), "jsapi")
    shop.simulator.pay(shop.payment_id(order), shop.clock.now(), amount_minor=1)
    assert [one.body for one in await shop.notices()] == [b"success"]
    held = await shop.stands(order)
    assert held.state is OrderState.PENDING
    assert [one.kind for one in held.anomalies] == [AnomalyKind.AMOUNT_MISMATCH]


async def test_another_sellers_money_is_not_taken(shop: Shop) -> None:
    order = await shop.pay(await shop.order(), "jsapi")
    shop.simulator.faults.plan_notice(NoticeFault.WRONG_MERCHANT)
    shop.simulator.pay(shop.payment_id(order), shop.clock.now())
    assert [(one.status, one.body) for one in await shop.notices()] == [(403, b"fail")]
    told = await shop.stands(order)
    assert told.state is OrderState.PENDING
    assert [one.kind for one in told.anomalies] == [AnomalyKind.WRONG_ACCOUNT]


async def test_a_forgery_stores_nothing_and_calls_nobody(shop: Shop) -> None:
    order = await shop.pay(await shop.order(), "jsapi")
    version = (await shop.stands(order)).version
    shop.simulator.pay(shop.payment_id(order), shop.clock.now())
    [notice] = shop.simulator.due(shop.clock.now())
    calls = len(shop.inline.carried)
    for name, forged in shop.simulator.forgeries(notice.request, shop.clock.now()).items():
        raw = RawNotice("POST", "/", dict(forged.headers), forged.body)
        reply = await shop.engine.deliver_notice(shop.account_id, raw)
        assert (reply.status, reply.body) == (401, b"fail"), name
    after = await shop.stands(order)
    assert (after.version, after.state, len(shop.inline.carried)) == (version, OrderState.PENDING, calls)


async def test_what_we_could_not_store_comes_again_by_the_ladder(shop: Shop) -> None:
    order = await shop.pay(await shop.order(), "jsapi")
    shop.simulator.pay(shop.payment_id(order), shop.clock.now())
    [notice] = shop.simulator.due(shop.clock.now())
    shop.simulator.answered(notice.key, NoticeReply(503, {}, b"fail"), shop.clock.now())
    assert shop.simulator.next_due() == shop.clock.now() + 4 * MINUTE
    shop.clock.advance(240)
    await shop.notices()
    assert (await shop.stands(order)).state is OrderState.PAID


async def test_the_network_may_do_its_worst(shop: Shop) -> None:
    for fault in (WireFault.REFUSED, WireFault.LOST, WireFault.UNANSWERED, WireFault.GARBLED):
        shop.wire.plan(fault, "precreate")
        order = await shop.pay(await shop.order())
        await shop.work(until=shop.clock.now() + 10 * SECOND)
        order = await shop.stands(order)
        shop.simulator.accept(shop.plan(order), shop.clock.now())
        shop.simulator.pay(shop.payment_id(order), shop.clock.now())
        await shop.notices()
        assert (await shop.stands(order)).state is OrderState.PAID, fault


# ---------------------------------------------------------------------------------------------- keys that change


async def test_keys_change_while_payments_are_open(shop: Shop) -> None:
    order = await shop.pay(await shop.order(), "app", "android")
    await shop.engine.accounts.rotate(shop.account_id, shop.simulator.next_settings(BASE))
    shop.simulator.accept(shop.plan(order), shop.clock.now())
    shop.simulator.pay(shop.payment_id(order), shop.clock.now())
    shop.simulator.retire_key()
    await shop.notices()
    assert (await shop.stands(order)).state is OrderState.PAID
    refund_id = await shop.refund(order, 100)
    await shop.work(until=shop.clock.now() + MINUTE)
    refund = (await shop.stands(order)).refund(refund_id)
    assert refund is not None
    assert refund.state is RefundState.SUCCEEDED


async def test_a_day_is_accounted_for(shop: Shop) -> None:
    order = await paid(shop)
    await shop.refund(order, 888)
    await shop.work(until=shop.clock.now() + MINUTE)
    day = _beijing_day(shop.clock.now())
    shop.clock.set(shop.clock.now() + 2 * DAY)
    found: Any = await shop.engine.statement(shop.account_id, "trade", day)
    assert [line.amount.minor("CNY") for line in found.lines] == [8888, -888]


def _beijing_day(at: int) -> str:
    from paycore_alipay import wire

    return wire.time(at)[:10]
