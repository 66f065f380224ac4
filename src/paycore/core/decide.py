"""The one pure function that says what a fact means: `decide(order, fact, now) -> Decision`.

It dispatches, applies the order's own rules, draws the standing consequences (`settle`) and announces the difference.
The rules themselves lie in `paying` and `refunding`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import assert_never

from paycore.core.edit import open_anomaly, put_payment, put_refund, resolve_anomaly
from paycore.core.events import Event, announce
from paycore.core.facts import (
    AccountUnusable,
    AnomalySettled,
    ClientReported,
    CloseAsked,
    Fact,
    ForeignRefundHeard,
    OrderAsked,
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
from paycore.core.findings import Paid, Ready, Reference
from paycore.core.offers import OfferClaim, offer_claims
from paycore.core.order import (
    Anomaly,
    AnomalyKind,
    CloseReason,
    Order,
    OrderState,
    PaymentState,
    RefundOrigin,
    RefundState,
    Remedy,
    Task,
    Verb,
)
from paycore.core.paying import (
    HOLDS,
    accept,
    client_reported,
    known,
    payment_asked,
    payment_heard,
    purchase_claimed,
    settle,
    switch_asked,
)
from paycore.core.refunding import (
    begin_refund,
    foreign_refund_heard,
    refund_asked,
    refund_heard,
    retry_asked,
    send_again,
)
from paycore.core.refusals import Reason, Refused
from paycore.core.schedule import forward, with_task, without_task
from paycore.core.terms import MINUTE


@dataclass(frozen=True, slots=True)
class ReferenceClaim:
    """A reference at a channel that may belong to one payment only. A claim that is lost refuses the fact."""

    channel: str
    environment: str
    kind: str
    value: str
    payment_id: str


Claim = ReferenceClaim | OfferClaim


@dataclass(frozen=True, slots=True)
class Decision:
    """What a fact means: the order afterwards, what is announced, and what must hold outside the order.

    `subject_id` is the row that the fact turned out to be about: an order asked for twice or a payment that already
    waits keeps its first id. `refusal` is set when something had to be stored and the teller is to be refused all the
    same (a notice that names another merchant).
    """

    order: Order
    events: tuple[Event, ...] = ()
    claims: tuple[Claim, ...] = ()
    subject_id: str = ""
    refusal: Refused | None = None


def decide(order: Order | None, fact: Fact, now: int) -> Decision:
    """Say what a fact means for an order. Raises Refused when the order's state forbids what is asked.

    Telling the same fact again changes nothing. The order given is never changed; the one returned is complete.
    """
    if isinstance(fact, OrderAsked):
        return _born(fact, now) if order is None else Decision(order, subject_id=order.order_id)
    if order is None:
        raise Refused(Reason.ORDER_NOT_FOUND, "There is no such order.")
    after, subject_id = _told(order, fact, now)
    after = settle(after, now)
    if after is order or after == order:
        return Decision(order, claims=tuple(_claims(order, fact)), subject_id=subject_id, refusal=_refusal(order, fact))
    events = announce(order, after, type(fact).__name__, now)
    after = replace(after, version=order.version + len(events), updated_at=now if events else order.updated_at)
    claims = (*_claims(after, fact), *offer_claims(order, after))
    return Decision(after, events, claims, subject_id, _refusal(order, fact))


def _born(fact: OrderAsked, now: int) -> Decision:
    order = Order(
        order_id=fact.order_id,
        app_id=fact.app_id,
        amount_minor=fact.amount_minor,
        currency=fact.currency,
        details=fact.details,
        surplus_policy=fact.surplus_policy,
        created_at=now,
        updated_at=now,
        expires_at=fact.expires_at,
        merchant_order_no=fact.merchant_order_no,
        merchant_payer_no=fact.merchant_payer_no,
        origin=fact.origin,
        version=1,  # the one event that a new order has
        task=Task(Verb.EXPIRE, fact.expires_at),
        fence=1,
    )
    return Decision(order, announce(None, order, type(fact).__name__, now), subject_id=order.order_id)


def _told(order: Order, fact: Fact, now: int) -> tuple[Order, str]:  # noqa: C901 - a dispatcher
    """The order after a fact, and whose row the fact was about."""
    match fact:
        case OrderAsked():
            return order, order.order_id
        case PaymentAsked():
            return payment_asked(order, fact, now)
        case SwitchAsked():
            return switch_asked(order, fact, now), fact.payment_id
        case CloseAsked():
            return _close_asked(order, fact, now), order.order_id
        case SyncAsked():
            return _sync_asked(order, now), order.order_id
        case ClientReported():
            return client_reported(order, fact, now), fact.payment_id
        case RefundAsked():
            if order.refund(fact.refund_id) is not None:
                return order, fact.refund_id
            return refund_asked(order, fact, now), fact.refund_id
        case RefundRetryAsked():
            return retry_asked(order, fact, now), fact.refund_id
        case AnomalySettled():
            return _anomaly_settled(order, fact, now), fact.anomaly_id
        case PurchaseClaimed():
            return purchase_claimed(order, fact, now), fact.payment_id
        case PaymentHeard():
            return payment_heard(order, fact, now), fact.payment_id
        case RefundHeard():
            return refund_heard(order, fact, now), fact.refund_id
        case ForeignRefundHeard():
            return _foreign_refund(order, fact, now), fact.payment_id
        case AccountUnusable():
            return _account_unusable(order, fact, now), fact.subject_id
        case _:
            assert_never(fact)


# ---------------------------------------------------------------------------------------------- the order's own rules


def _close_asked(order: Order, fact: CloseAsked, now: int) -> Order:
    """Closing is asked of every open attempt's channel first; without one the order is closed at once (by `settle`)."""
    if fact.reason is CloseReason.EXPIRED and now < order.expires_at:
        return order
    if order.state is OrderState.PAID and fact.reason is CloseReason.REQUESTED:
        raise Refused(Reason.ORDER_ALREADY_PAID, "The order is paid; refund it instead.", order_id=order.order_id)
    if order.state is not OrderState.PENDING:
        return without_task(order)
    return without_task(replace(order, state=OrderState.CLOSING, close_reason=fact.reason))


def _sync_asked(order: Order, now: int) -> Order:
    for payment in order.payments:
        if payment.state is not PaymentState.SUCCEEDED:
            order = put_payment(order, forward(payment, now), now)
    for refund in order.refunds:
        if refund.is_reserving:
            order = put_refund(order, forward(refund, now), now)
    return order


def _foreign_refund(order: Order, fact: ForeignRefundHeard, now: int) -> Order:
    payment = known(order, fact.payment_id)
    if fact.about.merchant and fact.about.merchant != payment.merchant:
        return open_anomaly(order, AnomalyKind.WRONG_ACCOUNT, now, payment=payment)
    order = foreign_refund_heard(order, payment, fact, now)
    payment = known(order, fact.payment_id)
    if payment.state is PaymentState.SUCCEEDED or not payment.terms.can_query:
        return order
    # Money came back of which we do not yet know that it was paid: ask at once.
    if payment.task is None or payment.task.verb is Verb.PREPARE:
        return put_payment(order, with_task(payment, Verb.QUERY, now), now)
    return put_payment(order, forward(payment, now), now)


def _account_unusable(order: Order, fact: AccountUnusable, now: int) -> Order:
    """Nobody can sign for this row now. It waits, visibly; it is never closed for that."""
    payment, refund = order.payment(fact.subject_id), order.refund(fact.subject_id)
    order = open_anomaly(order, AnomalyKind.ACCOUNT_UNUSABLE, now, payment=payment, refund=refund, detail=fact.detail)
    later = now + 10 * MINUTE
    if payment is not None and payment.task is not None and payment.fence == fact.fence:
        payment = with_task(payment, payment.task.verb, later, tries=payment.task.tries)
        return put_payment(order, payment, now)
    if refund is not None and refund.task is not None and refund.fence == fact.fence:
        return put_refund(order, with_task(refund, refund.task.verb, later, tries=refund.task.tries), now)
    return order


# ---------------------------------------------------------------------------------------------- a person decides


def _anomaly_settled(order: Order, fact: AnomalySettled, now: int) -> Order:
    anomaly = order.anomaly(fact.anomaly_id)
    if anomaly is None:
        raise Refused(Reason.ANOMALY_NOT_FOUND, "There is no such anomaly.", anomaly_id=fact.anomaly_id)
    if not anomaly.is_open:
        raise Refused(Reason.ANOMALY_RESOLVED, "The anomaly is resolved already.", anomaly_id=fact.anomaly_id)
    if anomaly.kind in HOLDS:
        return _hold_settled(order, anomaly, fact, now)
    if anomaly.kind is AnomalyKind.REFUND_ABNORMAL:
        return _abnormal_settled(order, anomaly, fact, now)
    if fact.remedy is Remedy.REFUND:
        raise Refused(Reason.REMEDY_UNSUPPORTED, "There is nothing to refund here.", kind=anomaly.kind)
    return resolve_anomaly(order, anomaly, now, fact.remedy, fact.note)


def _hold_settled(order: Order, anomaly: Anomaly, fact: AnomalySettled, now: int) -> Order:
    payment = known(order, anomaly.payment_id)
    match fact.remedy:
        case Remedy.ACCEPT:
            return accept(order, payment, now, fact.note)
        case Remedy.RELEASE:
            order = put_payment(order, replace(payment, is_kept=True), now)
            return resolve_anomaly(order, anomaly, now, Remedy.RELEASE, fact.note)
        case Remedy.REFUND:
            if not payment.terms.can_refund:
                raise Refused(Reason.REMEDY_UNSUPPORTED, "This channel takes no refunds from us.")
            order = begin_refund(
                order,
                payment,
                refund_id=fact.refund_id,
                amount_minor=payment.balance_minor,
                origin=RefundOrigin.MERCHANT,
                now=now,
                reason=fact.note,
            )
            return resolve_anomaly(order, anomaly, now, Remedy.REFUND, fact.note)
        case _:
            assert_never(fact.remedy)


def _abnormal_settled(order: Order, anomaly: Anomaly, fact: AnomalySettled, now: int) -> Order:
    """REFUND sends it again; ACCEPT: it reached the payer by other means; RELEASE: it will not be made."""
    refund = order.refund(anomaly.refund_id)
    if refund is None or refund.state is not RefundState.ABNORMAL:
        return resolve_anomaly(order, anomaly, now, fact.remedy, fact.note)
    order = resolve_anomaly(order, anomaly, now, fact.remedy, fact.note)
    match fact.remedy:
        case Remedy.REFUND:
            return send_again(order, refund, now, fact.note)
        case Remedy.ACCEPT:
            return put_refund(order, replace(refund, state=RefundState.SUCCEEDED, refunded_at=now), now)
        case Remedy.RELEASE:
            return put_refund(order, replace(refund, state=RefundState.FAILED), now)
        case _:
            assert_never(fact.remedy)


# ---------------------------------------------------------------------------------------------- outside the order


def _claims(order: Order, fact: Fact) -> Iterator[Claim]:
    """The references that this fact ties to its payment."""
    match fact:
        case PaymentAsked(prepared=Ready() as ready):
            references: tuple[Reference, ...] = ready.references
            payment_id = fact.payment_id
        case PaymentHeard(finding=(Paid() | Ready()) as finding) if finding.authenticated:
            references, payment_id = finding.references, fact.payment_id
        case PurchaseClaimed():
            references, payment_id = fact.paid.references, fact.payment_id
        case _:
            return
    payment = order.payment(payment_id)
    if payment is None or _refusal(order, fact) is not None:
        return
    for reference in references:
        yield ReferenceClaim(payment.channel, payment.environment, reference.kind, reference.value, payment_id)


def _refusal(order: Order, fact: Fact) -> Refused | None:
    """Why the teller is refused although something was stored."""
    if not isinstance(fact, PaymentHeard) or fact.via not in (Via.NOTICE, Via.CONFIRM):
        return None
    if not isinstance(fact.finding, Paid) or not fact.finding.authenticated:
        return None
    if fact.finding.merchant == known(order, fact.payment_id).merchant:
        return None
    if fact.via is Via.CONFIRM and fact.finding.purchase is not None:
        return Refused(Reason.RECEIPT_WRONG_APP, "The evidence names another merchant.", fields=("evidence",))
    return Refused(Reason.WRONG_ACCOUNT, "The notice names another merchant.", payment_id=fact.payment_id)
