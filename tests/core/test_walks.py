"""Random stories: whatever is told, in whatever order, the standing promises hold after every fact."""

import random

import pytest

from paycore.core import findings as f
from paycore.core.decide import Decision, decide
from paycore.core.events import anomaly_figures, order_figures, payment_figures, refund_figures
from paycore.core.facts import (
    AnomalySettled,
    ClientReported,
    CloseAsked,
    Fact,
    ForeignRefundHeard,
    PaymentAsked,
    PaymentHeard,
    PurchaseClaimed,
    RefundAsked,
    RefundHeard,
    RefundRetryAsked,
    SwitchAsked,
    SyncAsked,
    Via,
)
from paycore.core.order import (
    AnomalyKind,
    CloseReason,
    Order,
    OrderState,
    PaymentState,
    RefundState,
    Remedy,
    SurplusPolicy,
    Verb,
)
from paycore.core.refusals import Refused
from paycore.core.terms import AfterUnknown, Price
from tests.core.stories import EXPIRY, LEASE, NO, PAYMENTS, REFUNDS, Story

PAYMENT_FINDINGS: tuple[f.PaymentFinding, ...] = (
    f.Paid(100, "CNY", "M"),
    f.Paid(99, "CNY", "M"),
    f.Paid(100, "CNY", "X"),
    f.Paid(100, "CNY", "M", refunds=(f.ChannelRefund(100, "n1"),)),
    f.Paid(100, "CNY", "M", refunds=(f.ChannelRefund(60, "n2", is_sum=True),)),
    f.Paid(100, "CNY", "M", refunds=(f.ChannelRefund(100, "", is_sum=True),)),
    f.Paid(100, "CNY", "M", authenticated=False),
    f.Ready("{}"),
    f.Waiting(),
    f.PayerPaying(),
    f.Declined(NO),
    f.Closed(),
    f.Reversed(),
    f.AlreadyPaid(),
    f.NotFound(),
    f.Unknown(),
    f.NotSent(),
)
REFUND_FINDINGS: tuple[f.RefundFinding, ...] = (
    f.Refunded(),
    f.RefundProcessing(),
    f.RefundRefused(NO),
    f.RefundRefused(NO, authenticated=False),
    f.RefundFailed(NO),
    f.RefundShort(NO),
    f.RefundStuck(NO),
    f.RefundBounced(),
    f.RefundNotFound(),
    f.Unknown(),
    f.NotSent(),
)


@pytest.mark.parametrize("seed", range(40))
def test_the_promises_hold_whatever_is_told(seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(40):
        _walk(draw)


@pytest.mark.parametrize("seed", range(20))
def test_the_promises_hold_at_a_store(seed: int) -> None:
    """Purchases under the right token, another's and none, free and paid, told by the store and claimed by people."""
    draw = random.Random(f"store {seed}")
    for _ in range(40):
        _walk(draw, price=Price.STORE)


def _walk(draw: random.Random, price: Price = Price.EXACT) -> None:
    story = Story(
        draw.choice(list(SurplusPolicy)),
        price=price,
        can_close=draw.random() < 0.8,
        close_reverses=draw.random() < 0.3,
        can_refund=draw.random() < 0.8,
        can_query_refund=draw.random() < 0.8,
        after_unknown=draw.choice(list(AfterUnknown)),
    )
    fold = Fold()
    fold.read(story.last)
    for _ in range(25):
        assert story.order is not None
        story.now += draw.choice((0, 1_000_000, 30_000_000, EXPIRY // 3, EXPIRY))
        _maybe_lease(draw, story)
        fact = _fact(draw, story)
        before = story.order
        story.tell(fact)
        if story.refused and story.order is before:
            continue
        fold.read(story.last)
        _check(before, story.order, fold)
        again = _tell_again(story, fact)
        assert again.events == () or isinstance(fact, SwitchAsked | RefundRetryAsked), (fact, again.events)


def _tell_again(story: Story, fact: Fact) -> Decision:
    assert story.order is not None
    try:
        return decide(story.order, fact, story.now)
    except Refused:
        return Decision(story.order)


def _maybe_lease(draw: random.Random, story: Story) -> None:
    assert story.order is not None
    if draw.random() < 0.5:
        for name in PAYMENTS:
            row = story.order.payment(PAYMENTS[name])
            if row is not None and row.task is not None and draw.random() < 0.5:
                story.takes(name)
        for name in REFUNDS:
            refund = story.order.refund(REFUNDS[name])
            if refund is not None and refund.task is not None and draw.random() < 0.5:
                story.takes_refund(name)


def _fact(draw: random.Random, story: Story) -> Fact:
    assert story.order is not None
    order, now = story.order, story.now
    fence = draw.choice((None, 0))
    asked_at = draw.choice((now, max(now - LEASE, 0)))
    if order.payments and story.terms.price is Price.STORE and draw.random() < 0.5:
        return _store_fact(draw, draw.choice(order.payments).payment_id)
    if order.payments and draw.random() < 0.5:
        payment = draw.choice(order.payments)
        via = draw.choice((Via.PREPARE, Via.QUERY, Via.CLOSE, Via.NOTICE))
        owned = payment.fence if fence == 0 and via is not Via.NOTICE else None
        at = None if via is Via.NOTICE else asked_at
        return PaymentHeard(payment.payment_id, via, draw.choice(PAYMENT_FINDINGS), at, owned)
    if order.refunds and draw.random() < 0.5:
        refund = draw.choice(order.refunds)
        via = draw.choice((Via.REFUND, Via.QUERY_REFUND, Via.NOTICE))
        owned = refund.fence if fence == 0 and via is not Via.NOTICE else None
        return RefundHeard(refund.refund_id, via, draw.choice(REFUND_FINDINGS), asked_at, owned)
    payment_id = draw.choice(list(PAYMENTS.values()))
    refund_id = draw.choice(list(REFUNDS.values()))
    amount = draw.choice((30, 60, 100))
    about = f.AboutRefund(f.Refunded(amount), channel_refund_no=draw.choice("ab"))
    choices: list[Fact] = [
        PaymentAsked(
            payment_id, "c", draw.choice("xy"), "ac", "sandbox", "M", story.terms, EXPIRY, leased_until=now + LEASE
        ),
        PaymentAsked(
            payment_id, "c", draw.choice("xy"), "ac", "sandbox", "M", story.terms, EXPIRY, prepared=f.Ready("{}")
        ),
        SwitchAsked(payment_id, now + LEASE),
        CloseAsked(draw.choice(list(CloseReason))),
        SyncAsked(),
        ClientReported(payment_id, "cancelled"),
        RefundAsked(
            refund_id,
            amount,
            "CNY",
            payment_id=draw.choice((None, payment_id)),
            leased_until=draw.choice((None, now + LEASE)),
        ),
        RefundRetryAsked(refund_id),
        ForeignRefundHeard(payment_id, about, Via.NOTICE),
    ]
    if order.anomalies:
        anomaly = draw.choice(order.anomalies)
        choices.append(
            AnomalySettled(anomaly.anomaly_id, draw.choice(list(Remedy)), "n", draw.choice(list(REFUNDS.values())))
        )
    return draw.choice(choices)


def _store_fact(draw: random.Random, payment_id: str) -> Fact:
    """A purchase of what was asked for, or of something else, as the store tells it or a person claims it."""
    number, amount = draw.choice((("T1", 100), ("T2", 100), ("T3", 0)))
    refunds = draw.choice(((), (), (f.ChannelRefund(100, number),), (f.ChannelRefund(100, number, reversed=True),)))
    paid = f.Paid(
        amount,
        "CNY",
        draw.choice(("M", "M", "M", "X")),
        channel_trade_no=number,
        purchase=f.StorePurchase(draw.choice(("", "", "cake")), 1, draw.choice(("", "another's"))),
        refunds=refunds if amount else (),
    )
    if draw.random() < 0.4:
        return PurchaseClaimed(payment_id, paid)
    via = draw.choice((Via.NOTICE, Via.CONFIRM, Via.QUERY))
    return PaymentHeard(payment_id, via, paid, None)


class Fold:
    """What a reader of the events knows: the last figures of every row, and that no number is missing."""

    def __init__(self) -> None:
        self.version = 0
        self.rows: dict[str, object] = {}

    def read(self, decision: Decision) -> None:
        for event in decision.events:
            assert event.version == self.version + 1
            self.version = event.version
            self.rows[event.subject_id] = event.figures


def _check(before: Order, after: Order, fold: Fold) -> None:
    assert after.version == fold.version
    assert fold.rows == {
        after.order_id: order_figures(after),
        **{row.payment_id: payment_figures(row) for row in after.payments},
        **{row.refund_id: refund_figures(row) for row in after.refunds},
        **{row.anomaly_id: anomaly_figures(row) for row in after.anomalies},
    }
    effective = [payment for payment in after.payments if payment.is_effective]
    assert len(effective) == (after.state is OrderState.PAID)
    assert not (before.state is OrderState.PAID and after.state is not OrderState.PAID)
    subjects = {a.payment_id for a in after.anomalies if a.is_open} | {
        a.refund_id for a in after.anomalies if a.is_open
    }
    for payment in after.payments:
        refunds = list(after.refunds_of(payment.payment_id))
        assert payment.refunded_minor == sum(r.amount_minor for r in refunds if r.state is RefundState.SUCCEEDED)
        assert payment.refunding_minor == sum(r.amount_minor for r in refunds if r.is_reserving)
        if payment.is_open:
            assert payment.task is not None
        if payment.state is PaymentState.SUCCEEDED:
            was = before.payment(payment.payment_id)
            assert (
                was is None or was.state is not PaymentState.SUCCEEDED or was.captured_minor == payment.captured_minor
            )
            assert payment.balance_minor >= 0 or any(
                a.kind is AnomalyKind.OVER_REFUND and a.payment_id == payment.payment_id and (a.is_open or a.remedy)
                for a in after.anomalies
            )
            assert payment.task is None or payment.task.verb is Verb.QUERY
            if not payment.is_effective and not payment.is_kept and payment.balance_minor > 0:
                assert payment.payment_id in subjects
    for payment in before.payments:
        now = after.payment(payment.payment_id)
        assert now is not None
        if payment.state is PaymentState.SUCCEEDED:
            assert now.state is PaymentState.SUCCEEDED
    for refund in after.refunds:
        if refund.state in (RefundState.PENDING, RefundState.PROCESSING, RefundState.UNKNOWN):
            assert refund.task is not None
        if refund.state is RefundState.ABNORMAL:
            assert refund.refund_id in subjects
    if after.state is OrderState.CLOSING:
        assert any(after.open_payments)
    if after.state is OrderState.PENDING:
        assert after.task is not None
        assert after.task.verb is Verb.EXPIRE
    if after.state is OrderState.CLOSED:
        assert not any(after.open_payments)
