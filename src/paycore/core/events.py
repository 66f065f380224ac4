"""Events: what we announce. Every row whose figures changed has one, carrying those figures as they are now.

Events are not written by hand next to each change: they are the difference between the snapshot before and after, so
a change without its event, or an event without a change, cannot be expressed. The rows are the fold of the events.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from paycore.core.order import Anomaly, Order, Payment, PaymentState, Refund

Figures = Mapping[str, Any]
"""What a row shows to the outside: names and JSON values."""


@dataclass(frozen=True, slots=True)
class Event:
    """One numbered change of one row. `subject_id` is the id of the order, payment, refund or anomaly that changed."""

    order_id: str
    version: int
    at: int
    kind: str
    """`noun.past`: order.paid, payment.succeeded, refund.created, anomaly.opened, ..."""
    subject: str
    subject_id: str
    cause: str
    """The name of the fact that brought it about."""
    figures: Figures


def announce(before: Order | None, after: Order, cause: str, at: int) -> tuple[Event, ...]:
    """The events that lead from one snapshot to the next, numbered from the first one's version."""
    version = before.version if before else 0
    return tuple(
        Event(after.order_id, version + number, at, f"{subject}.{word}", subject, subject_id, cause, figures)
        for number, (subject, subject_id, word, figures) in enumerate(_changes(before, after), start=1)
    )


def _changes(before: Order | None, after: Order) -> Iterator[tuple[str, str, str, Figures]]:
    """The changed rows in the order in which a reader wants them: what moved, then what it did to the order."""
    if before is None:
        yield "order", after.order_id, "created", order_figures(after)
    for payment in after.payments:
        old = before.payment(payment.payment_id) if before else None
        if old is payment:
            continue
        figures = payment_figures(payment)
        if old is None or payment_figures(old) != figures:
            yield "payment", payment.payment_id, _payment_word(old, payment), figures
    for refund in after.refunds:
        was = before.refund(refund.refund_id) if before else None
        if was is refund:
            continue
        figures = refund_figures(refund)
        if was is None or refund_figures(was) != figures:
            yield "refund", refund.refund_id, _refund_word(was, refund), figures
    for anomaly in after.anomalies:
        known = before.anomaly(anomaly.anomaly_id) if before else None
        if known is anomaly:
            continue
        figures = anomaly_figures(anomaly)
        if known is None or anomaly_figures(known) != figures:
            yield "anomaly", anomaly.anomaly_id, "opened" if anomaly.is_open else "resolved", figures
    if before is not None and order_figures(before) != (figures := order_figures(after)):
        word = after.state.lower() if after.state != before.state else "updated"
        yield "order", after.order_id, word, figures


def _payment_word(old: Payment | None, new: Payment) -> str:
    if old is None:
        return "created"
    if old.state is not new.state:
        return (
            "prepared" if old.state is PaymentState.CREATED and new.state is PaymentState.PENDING else new.state.lower()
        )
    return "updated"


def _refund_word(old: Refund | None, new: Refund) -> str:
    if old is None:
        return "created"
    return new.state.lower() if old.state is not new.state else "updated"


def order_figures(order: Order) -> Figures:
    """What an order shows of itself; its rows show their own."""
    return {
        "state": order.state.value,
        "amount_minor": order.amount_minor,
        "currency": order.currency,
        "expires_at": order.expires_at,
        "paid_at": order.paid_at,
        "closed_at": order.closed_at,
        "close_reason": order.close_reason.value if order.close_reason else None,
        "effective_payment_id": order.effective.payment_id if order.effective else None,
    }


def payment_figures(payment: Payment) -> Figures:
    """What a payment shows of itself."""
    failure = payment.failure
    return {
        "state": payment.state.value,
        "channel": payment.channel,
        "method": payment.method,
        "account_id": payment.account_id,
        "amount_minor": payment.amount_minor,
        "currency": payment.currency,
        "captured_minor": payment.captured_minor,
        "captured_currency": payment.captured_currency,
        "refunding_minor": payment.refunding_minor,
        "refunded_minor": payment.refunded_minor,
        "is_effective": payment.is_effective,
        "is_superseded": payment.is_superseded,
        "is_kept": payment.is_kept,
        "is_reversed": payment.is_reversed,
        "is_ready": bool(payment.plan_json),
        "plan_expires_at": payment.plan_expires_at,
        "expires_at": payment.expires_at,
        "channel_trade_no": payment.channel_trade_no,
        "paid_at": payment.paid_at,
        "failure": None
        if failure is None
        else [failure.reason, failure.channel_code, failure.message_zh, failure.message_en],
    }


def refund_figures(refund: Refund) -> Figures:
    """What a refund shows of itself."""
    failure = refund.failure
    return {
        "state": refund.state.value,
        "payment_id": refund.payment_id,
        "amount_minor": refund.amount_minor,
        "currency": refund.currency,
        "origin": refund.origin.value,
        "merchant_refund_no": refund.merchant_refund_no,
        "reason": refund.reason,
        "channel_refund_no": refund.channel_refund_no,
        "refunded_at": refund.refunded_at,
        "failure": None
        if failure is None
        else [failure.reason, failure.channel_code, failure.message_zh, failure.message_en],
    }


def anomaly_figures(anomaly: Anomaly) -> Figures:
    """What an anomaly shows of itself."""
    return {
        "kind": anomaly.kind.value,
        "state": anomaly.state.value,
        "payment_id": anomaly.payment_id,
        "refund_id": anomaly.refund_id,
        "amount_minor": anomaly.amount_minor,
        "currency": anomaly.currency,
        "detail": anomaly.detail,
        "opened_at": anomaly.opened_at,
        "resolved_at": anomaly.resolved_at,
        "remedy": anomaly.remedy.value if anomaly.remedy else None,
        "note": anomaly.note,
    }
