"""Putting a changed row back into its snapshot, and reading the few sums that the rules need."""

from dataclasses import replace

from paycore.core.ids import Prefix, derive_id
from paycore.core.order import Anomaly, AnomalyKind, AnomalyState, Order, Payment, Refund, RefundState, Remedy


def put_payment(order: Order, payment: Payment, now: int) -> Order:
    """The order with this payment in place of the one with its id, or added."""
    old = order.payment(payment.payment_id)
    if old is None:
        return replace(order, payments=(*order.payments, payment))
    if old == payment:
        return order
    payment = replace(payment, updated_at=now)
    return replace(order, payments=tuple(payment if p.payment_id == payment.payment_id else p for p in order.payments))


def put_refund(order: Order, refund: Refund, now: int) -> Order:
    """The order with this refund in place of the one with its id, or added; its payment's sums follow."""
    old = order.refund(refund.refund_id)
    if old == refund:
        return order
    if old is None:
        order = replace(order, refunds=(*order.refunds, refund))
    else:
        refund = replace(refund, updated_at=now)
        order = replace(order, refunds=tuple(refund if r.refund_id == refund.refund_id else r for r in order.refunds))
    return _with_sums(order, refund.payment_id, now)


def _with_sums(order: Order, payment_id: str, now: int) -> Order:
    payment = order.payment(payment_id)
    if payment is None:
        return order
    refunds = tuple(order.refunds_of(payment_id))
    summed = replace(
        payment,
        refunding_minor=sum(refund.amount_minor for refund in refunds if refund.is_reserving),
        refunded_minor=sum(r.amount_minor for r in refunds if r.state is RefundState.SUCCEEDED),
    )
    return put_payment(order, summed, now)


def put_anomaly(order: Order, anomaly: Anomaly) -> Order:
    """The order with this anomaly in place of the one with its id, or added."""
    if order.anomaly(anomaly.anomaly_id) is None:
        return replace(order, anomalies=(*order.anomalies, anomaly))
    return replace(
        order,
        anomalies=tuple(anomaly if a.anomaly_id == anomaly.anomaly_id else a for a in order.anomalies),
    )


def anomaly_id(subject_id: str, kind: AnomalyKind, purpose: str = "") -> str:
    """The one id of this anomaly about this row. `purpose` tells several of a kind apart."""
    return derive_id(Prefix.ANOMALY, subject_id, f"{kind}{purpose}")


def open_anomaly(
    order: Order,
    kind: AnomalyKind,
    now: int,
    *,
    payment: Payment | None = None,
    refund: Refund | None = None,
    amount_minor: int = 0,
    currency: str = "",
    detail: str = "",
    purpose: str = "",
) -> Order:
    """The order with this anomaly open. The same one is opened once; one that was resolved opens again."""
    subject_id = refund.refund_id if refund else payment.payment_id if payment else order.order_id
    identity = anomaly_id(subject_id, kind, purpose)
    known = order.anomaly(identity)
    if known is not None and known.is_open:
        return order
    return put_anomaly(
        order,
        Anomaly(
            anomaly_id=identity,
            kind=kind,
            opened_at=known.opened_at if known else now,
            payment_id=refund.payment_id if refund else payment.payment_id if payment else "",
            refund_id=refund.refund_id if refund else "",
            amount_minor=amount_minor,
            currency=currency or order.currency,
            detail=detail,
        ),
    )


def resolve_anomaly(order: Order, anomaly: Anomaly, now: int, remedy: Remedy | None, note: str) -> Order:
    """The order with this anomaly resolved."""
    if not anomaly.is_open:
        return order
    done = replace(anomaly, state=AnomalyState.RESOLVED, resolved_at=now, remedy=remedy, note=note)
    return put_anomaly(order, done)


def resolve_kind(order: Order, kind: AnomalyKind, subject_id: str, now: int, note: str) -> Order:
    """The order with the open anomaly of this kind about a payment or refund resolved, if there is one."""
    for anomaly in order.anomalies:
        if anomaly.is_open and anomaly.kind is kind and subject_id in (anomaly.payment_id, anomaly.refund_id):
            order = resolve_anomaly(order, anomaly, now, None, note)
    return order
