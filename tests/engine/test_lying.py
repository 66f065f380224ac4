"""A plugin that lies: whatever it says, by whatever door, the core compares order, account, currency and amount itself."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from paycore.channel import (
    AboutPayment,
    AboutRefund,
    ChannelRefund,
    Confirmed,
    Notice,
    NoticeCase,
    Paid,
    Price,
    RawNotice,
    Reference,
    Refunded,
    StorePurchase,
)
from paycore.core.order import AnomalyKind, LineItem, Order, OrderState, Payment, PaymentState, RefundState
from paycore.core.refusals import Reason, Refused
from paycore.engine.asking import token_of
from paycore.store import Store
from tests.engine.channels import ACK, METHODS, REFUSALS, ScriptedChannel, says, waiting
from tests.engine.world import World, reason_of, scripted

RAW = RawNotice("POST", "/v1/notices/x", {}, b"{}")
TRUE = Paid(10_000, "CNY", "M1")


@dataclass
class Shop:
    """A world with one order and, where the door needs it, one payment that waits."""

    world: World
    channel: ScriptedChannel
    order: Order
    payment: Payment | None = None


async def shop(store: Store, *, method: str = "qr", begun: bool = True) -> Shop:
    channel = ScriptedChannel()
    world = scripted(store, channel)
    await world.account()
    order = await world.order()
    payment = await world.paid(order, method=method) if begun else None
    return Shop(world, channel, order, payment)


async def by_prepare(at: Shop, lie: Paid) -> None:
    """A barcode, whose prepare may say that it is paid."""
    at.channel.prepare_ = says(lie)
    await at.world.pay(at.order, method="code", inputs={"auth_code": "1" * 18})


async def by_query(at: Shop, lie: Paid) -> None:
    at.channel.query_ = says(lie)
    at.world.clock.advance(2)
    await at.world.do_due()
    at.channel.query_ = waiting


async def by_notice(at: Shop, lie: Paid) -> None:
    payment = at.payment
    assert payment is not None
    at.channel.read_ = lambda raw, now: Notice((AboutPayment(lie, payment_id=payment.payment_id),), ACK)
    await at.world.engine.deliver_notice(payment.account_id, RAW)


async def by_evidence(at: Shop, lie: Paid) -> None:
    payment = at.payment
    assert payment is not None
    at.channel.confirm_ = says(Confirmed((AboutPayment(lie, payment_id=payment.payment_id),)), asks=0)
    confirm = at.world.engine.confirm(at.world.app_id, "scripted", "evidence", payment_id=payment.payment_id)
    with contextlib.suppress(Refused):  # an answer to the client; what counts is the order
        await confirm


DOORS: list[Callable[[Shop, Paid], Awaitable[None]]] = [by_prepare, by_query, by_notice, by_evidence]


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
@pytest.mark.parametrize(
    ("lie", "kind", "state"),
    [
        (replace(TRUE, amount_minor=9_999), AnomalyKind.AMOUNT_MISMATCH, PaymentState.SUCCEEDED),
        (replace(TRUE, amount_minor=10_001), AnomalyKind.AMOUNT_MISMATCH, PaymentState.SUCCEEDED),
        (replace(TRUE, amount_minor=1), AnomalyKind.AMOUNT_MISMATCH, PaymentState.SUCCEEDED),
        (replace(TRUE, currency="USD"), AnomalyKind.AMOUNT_MISMATCH, PaymentState.SUCCEEDED),
        (replace(TRUE, merchant="M2"), AnomalyKind.WRONG_ACCOUNT, None),
        (replace(TRUE, merchant=""), AnomalyKind.WRONG_ACCOUNT, None),
    ],
    ids=["less", "more", "a cent", "currency", "merchant", "nobody"],
)
async def test_no_lie_about_money_pays_an_order(
    store: Store,
    door: Callable[[Shop, Paid], Awaitable[None]],
    lie: Paid,
    kind: AnomalyKind,
    state: PaymentState | None,
) -> None:
    at = await shop(store, begun=door is not by_prepare)
    await door(at, lie)
    after = await at.world.stands(at.order)
    assert after.state is OrderState.PENDING
    assert not any(payment.is_effective for payment in after.payments)
    assert [one.kind for one in after.anomalies if one.is_open] == [kind]
    [payment] = after.payments
    if state is None:
        assert (payment.is_open, payment.captured_minor) == (True, 0), "it is never attached to this payment"
    else:
        assert payment.state is state, "what was taken is recorded, and held"


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
async def test_the_truth_pays_by_every_door(store: Store, door: Callable[[Shop, Paid], Awaitable[None]]) -> None:
    """Else the lies above would prove nothing."""
    at = await shop(store, begun=door is not by_prepare)
    await door(at, TRUE)
    after = await at.world.stands(at.order)
    assert (after.state, after.anomalies) == (OrderState.PAID, ())


# ---------------------------------------------------------------------------------------------- another order


async def test_a_query_cannot_pay_with_what_paid_another_order(each_store: Store) -> None:
    """The finding of a query is about the payment that was asked for; what it references may be another's."""
    stolen = replace(TRUE, references=(Reference("transaction", "T1"),))
    at = await shop(each_store)
    await by_query(at, stolen)
    other = await at.world.order()
    await at.world.paid(other)
    at.channel.query_ = says(stolen)
    at.world.clock.advance(2)
    await at.world.do_due()
    assert (await at.world.stands(at.order)).state is OrderState.PAID
    assert (await at.world.stands(other)).state is OrderState.PENDING


async def test_a_notice_cannot_speak_about_another_accounts_order(each_store: Store) -> None:
    """Even within one app: what one merchant's keys verify says nothing about another merchant's money."""
    at = await shop(each_store)
    assert at.payment is not None
    second = await at.world.account(settings={"merchant": "M2", "key": "k"})
    about = AboutPayment(TRUE, payment_id=at.payment.payment_id)
    at.channel.read_ = lambda raw, now: Notice((about,), ACK)
    assert await at.world.engine.deliver_notice(second, RAW) == REFUSALS[NoticeCase.WRONG_ACCOUNT]
    assert (await at.world.stands(at.order)).state is OrderState.PENDING


async def test_evidence_for_one_order_is_none_for_another(each_store: Store) -> None:
    at = await shop(each_store)
    assert at.payment is not None
    other = await at.world.order()
    theirs = await at.world.paid(other)
    at.channel.confirm_ = says(Confirmed((AboutPayment(TRUE, payment_id=theirs.payment_id),)), asks=0)
    confirm = at.world.engine.confirm(
        at.world.app_id, "scripted", "evidence", payment_id=at.payment.payment_id, order_id=at.order.order_id
    )
    assert await reason_of(confirm) is Reason.EVIDENCE_USED
    assert (await at.world.stands(at.order)).state is OrderState.PENDING


# ---------------------------------------------------------------------------------------------- what a store sells

BOUGHT = StorePurchase("gold.100", 2, "")
STORE_METHODS = tuple(replace(method, price=Price.STORE) if method.name == "qr" else method for method in METHODS)


@pytest.mark.parametrize(
    ("purchase", "is_paid"),
    [
        (BOUGHT, True),
        (replace(BOUGHT, product_id="gold.1"), False),
        (replace(BOUGHT, quantity=1), False),
        (replace(BOUGHT, token="somebody-elses"), False),
        (None, False),
    ],
    ids=["true", "product", "quantity", "token", "nothing"],
)
@pytest.mark.parametrize("door", [by_query, by_notice, by_evidence], ids=lambda door: door.__name__)
async def test_what_was_bought_must_be_what_was_ordered(
    store: Store, door: Callable[[Shop, Paid], Awaitable[None]], purchase: StorePurchase | None, is_paid: bool
) -> None:
    channel = ScriptedChannel()
    world = scripted(store, channel, methods=STORE_METHODS)
    await world.account()
    order = await world.order(items=(LineItem("gold.100", "Gold", 2, 5_000),))
    payment = await world.paid(order)
    if purchase is not None and not purchase.token:
        purchase = replace(purchase, token=token_of(payment.payment_id))
    lie = replace(TRUE, amount_minor=1_299, currency="USD", purchase=purchase)
    await door(Shop(world, channel, order, payment), lie)
    after = await world.stands(order)
    assert (after.state is OrderState.PAID) == is_paid
    if is_paid:
        assert (after.payments[0].captured_minor, after.payments[0].captured_currency) == (1_299, "USD")


# ---------------------------------------------------------------------------------------------- refunds


async def paid_shop(store: Store) -> Shop:
    at = await shop(store)
    await by_query(at, TRUE)
    assert (await at.world.stands(at.order)).state is OrderState.PAID
    return at


def refund_notice(at: Shop, about: AboutRefund) -> Awaitable[Any]:
    payment = at.payment
    assert payment is not None
    at.channel.read_ = lambda raw, now: Notice((about,), ACK)
    return at.world.engine.deliver_notice(payment.account_id, RAW)


async def test_a_refund_of_another_amount_is_looked_at_by_a_person(each_store: Store) -> None:
    """Whether the amount stands in the finding or beside it."""
    at = await paid_shop(each_store)
    refund = await at.world.refund(at.order, 3_000)
    for told, beside in ((5_000, None), (None, 4_000), (2_000, 3_000)):
        about = AboutRefund(Refunded(told), refund_id=refund.refund_id, amount_minor=beside)
        await refund_notice(at, about)
    after = await at.world.stands(at.order)
    found = [(one.kind, one.amount_minor) for one in after.anomalies if one.is_open]
    assert found == [(AnomalyKind.CONFLICTING_AMOUNT, amount_minor) for amount_minor in (5_000, 4_000, 2_000)]
    assert after.refunds[0].state is RefundState.PROCESSING


async def test_a_refund_in_another_currency_is_none_of_this_payment(each_store: Store) -> None:
    at = await paid_shop(each_store)
    assert at.payment is not None
    refund = await at.world.refund(at.order, 3_000)
    ours = AboutRefund(Refunded(3_000), refund_id=refund.refund_id, currency="JPY")
    consoles = AboutRefund(
        Refunded(),
        payment_id=at.payment.payment_id,
        channel_refund_no="R9",
        amount_minor=500,
        currency="USD",
    )
    for about in (ours, consoles):
        assert await refund_notice(at, about) == ACK, "it is kept, so it need not be sent again"
    after = await at.world.stands(at.order)
    assert [(one.amount_minor, one.state) for one in after.refunds] == [(3_000, RefundState.PROCESSING)]
    assert after.payments[0].refunded_minor == 0
    orphans = await at.world.engine.list_anomalies(at.world.app_id)
    assert sorted(one.anomaly.kind for one in orphans) == [AnomalyKind.ORPHAN_NOTICE] * 2
    assert all("currency" in one.anomaly.detail for one in orphans)


async def test_a_refund_of_another_merchants_is_refused(each_store: Store) -> None:
    at = await paid_shop(each_store)
    refund = await at.world.refund(at.order, 3_000)
    about = AboutRefund(Refunded(3_000), refund_id=refund.refund_id, merchant="M2")
    assert await refund_notice(at, about) == REFUSALS[NoticeCase.WRONG_ACCOUNT]
    assert (await at.world.stands(at.order)).refunds[0].state is RefundState.PROCESSING


async def test_refunds_beyond_what_was_paid_are_recorded_and_looked_at(store: Store) -> None:
    at = await paid_shop(store)
    assert at.payment is not None
    for number in ("R1", "R2"):
        about = AboutRefund(
            Refunded(), payment_id=at.payment.payment_id, channel_refund_no=number, amount_minor=6_000, currency="CNY"
        )
        await refund_notice(at, about)
    after = await at.world.stands(at.order)
    assert after.payments[0].refunded_minor == 12_000
    assert AnomalyKind.OVER_REFUND in {one.kind for one in after.anomalies if one.is_open}


async def test_a_success_that_comes_with_its_whole_refund_pays_nothing(store: Store) -> None:
    at = await shop(store)
    await by_query(at, replace(TRUE, refunds=(ChannelRefund(10_000, "R1"),)))
    after = await at.world.stands(at.order)
    assert after.state is OrderState.PENDING
    assert (after.payments[0].captured_minor, after.payments[0].refunded_minor) == (10_000, 10_000)
