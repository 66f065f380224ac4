"""The snapshot as rows and back, exactly: an order that is saved and loaded equals the one that was decided.

Each table's columns are of two kinds. The *fixed* ones are written once, when the row is new; the *moving* ones follow,
and are what an update writes. A row is a plain tuple in the order of its table's columns.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from functools import lru_cache
from typing import Any

from pydantic_core import from_json, to_json

from paycore.core.events import Event
from paycore.core.findings import ChannelRefund, Failure, Paid, Reference, StorePurchase
from paycore.core.order import (
    Anomaly,
    AnomalyKind,
    AnomalyState,
    CloseReason,
    Details,
    Given,
    LineItem,
    Order,
    OrderState,
    Origin,
    Payment,
    PaymentState,
    Refund,
    RefundOrigin,
    RefundState,
    Remedy,
    SurplusPolicy,
    Task,
    Verb,
)
from paycore.core.terms import AfterUnknown, Price, Terms
from paycore.store.errors import StoreBroken

Values = tuple[Any, ...]
"""A row, or a part of one, in the order of its columns."""


def pack(value: object) -> str:
    """JSON text of plain data. Raises StoreBroken for what has none (half a character, an object)."""
    try:
        return to_json(value).decode()
    except ValueError:
        raise StoreBroken("encoding") from None


def unpack(text: str) -> Any:
    """The plain data of a JSON text."""
    return from_json(text)


# ---------------------------------------------------------------------------------------------- tasks


def _task_values(task: Task | None, fence: int) -> Values:
    """Verb, due, tries, lease, when it may be taken, fence."""
    if task is None:
        return None, None, 0, None, None, fence
    leased = task.leased_until
    ready = task.due_at if leased is None or leased < task.due_at else leased
    return task.verb.value, task.due_at, task.tries, leased, ready, fence


def _task(verb: str | None, due_at: int, tries: int, leased_until: int | None) -> Task | None:
    return None if verb is None else Task(Verb(verb), due_at, tries, leased_until)


# ---------------------------------------------------------------------------------------------- orders


def order_fixed(order: Order) -> Values:
    """What is written once of an order."""
    return (
        order.order_id,
        order.app_id,
        order.merchant_order_no,
        order.merchant_payer_no,
        order.origin.value,
        order.amount_minor,
        order.currency,
        pack_details(order.details),
        order.surplus_policy.value,
        order.expires_at,
        order.created_at,
    )


def order_moving(order: Order) -> Values:
    """What changes of an order."""
    reason = order.close_reason
    return (
        order.state.value,
        None if reason is None else reason.value,
        order.paid_at,
        order.closed_at,
        order.version,
        order.updated_at,
        *_task_values(order.task, order.fence),
    )


def order_of(
    row: Values,
    payments: tuple[Payment, ...] = (),
    refunds: tuple[Refund, ...] = (),
    anomalies: tuple[Anomaly, ...] = (),
) -> Order:
    """The snapshot of an order's row and its parts."""
    (
        order_id,
        app_id,
        merchant_order_no,
        merchant_payer_no,
        origin,
        amount_minor,
        currency,
        details,
        surplus_policy,
        expires_at,
        created_at,
        state,
        close_reason,
        paid_at,
        closed_at,
        version,
        updated_at,
        verb,
        due_at,
        tries,
        leased_until,
        _ready_at,
        fence,
    ) = row
    return Order(
        order_id=order_id,
        app_id=app_id,
        amount_minor=amount_minor,
        currency=currency,
        details=unpack_details(details),
        surplus_policy=SurplusPolicy(surplus_policy),
        created_at=created_at,
        updated_at=updated_at,
        expires_at=expires_at,
        merchant_order_no=merchant_order_no,
        merchant_payer_no=merchant_payer_no,
        origin=Origin(origin),
        state=OrderState(state),
        close_reason=None if close_reason is None else CloseReason(close_reason),
        paid_at=paid_at,
        closed_at=closed_at,
        version=version,
        payments=payments,
        refunds=refunds,
        anomalies=anomalies,
        task=_task(verb, due_at, tries, leased_until),
        fence=fence,
    )


def pack_details(details: Details) -> str:
    """An order's details as JSON text."""
    items = [[item.product_id, item.name, item.quantity, item.unit_amount_minor] for item in details.items]
    return pack(
        {
            "subject": details.subject,
            "description": details.description,
            "items": items,
            "metadata": dict(details.metadata),
            "return_url": details.return_url,
        }
    )


def unpack_details(text: str) -> Details:
    """An order's details from JSON text."""
    read = unpack(text)
    return Details(
        subject=read["subject"],
        description=read["description"],
        items=tuple(LineItem(*item) for item in read["items"]),
        metadata=read["metadata"],
        return_url=read["return_url"],
    )


# ---------------------------------------------------------------------------------------------- payments


def payment_fixed(order: Order, payment: Payment, number: int) -> Values:
    """What is written once of a payment; `number` is its place within its order."""
    return (
        payment.payment_id,
        order.order_id,
        order.app_id,
        number,
        payment.channel,
        payment.method,
        payment.account_id,
        payment.environment,
        payment.merchant,
        payment.amount_minor,
        payment.currency,
        pack_terms(payment.terms),
        payment.created_at,
        payment.expires_at,
        payment.target,
        pack(dict(payment.inputs)),
        pack(dict(payment.client)),
        payment.product_id,
        payment.quantity,
        payment.token,
        _pack_given(payment.offers),
    )


def payment_moving(payment: Payment) -> Values:
    """What changes of a payment."""
    return (
        payment.state.value,
        payment.is_effective,
        payment.is_superseded,
        payment.is_kept,
        payment.is_switching,
        payment.is_reversed,
        payment.captured_minor,
        payment.captured_currency,
        payment.refunding_minor,
        payment.refunded_minor,
        payment.channel_trade_no,
        payment.plan_json,
        payment.plan_expires_at,
        _pack_failure(payment.failure),
        payment.paid_at,
        payment.sends,
        payment.close_unanswered_until,
        payment.watch_until,
        payment.updated_at,
        *_task_values(payment.task, payment.fence),
    )


def payment_of(row: Values) -> Payment:
    """The payment of a row."""
    (
        payment_id,
        _order_id,
        _app_id,
        _number,
        channel,
        method,
        account_id,
        environment,
        merchant,
        amount_minor,
        currency,
        terms,
        created_at,
        expires_at,
        target,
        inputs,
        client,
        product_id,
        quantity,
        token,
        offers,
        state,
        is_effective,
        is_superseded,
        is_kept,
        is_switching,
        is_reversed,
        captured_minor,
        captured_currency,
        refunding_minor,
        refunded_minor,
        channel_trade_no,
        plan_json,
        plan_expires_at,
        failure,
        paid_at,
        sends,
        close_unanswered_until,
        watch_until,
        updated_at,
        verb,
        due_at,
        tries,
        leased_until,
        _ready_at,
        fence,
    ) = row
    return Payment(
        payment_id=payment_id,
        channel=channel,
        method=method,
        account_id=account_id,
        environment=environment,
        merchant=merchant,
        amount_minor=amount_minor,
        currency=currency,
        terms=unpack_terms(terms),
        created_at=created_at,
        updated_at=updated_at,
        expires_at=expires_at,
        target=target,
        inputs=unpack(inputs),
        client=unpack(client),
        product_id=product_id,
        quantity=quantity,
        token=token,
        offers=_unpack_given(offers),
        state=PaymentState(state),
        is_effective=bool(is_effective),
        is_superseded=bool(is_superseded),
        is_kept=bool(is_kept),
        is_switching=bool(is_switching),
        is_reversed=bool(is_reversed),
        captured_minor=captured_minor,
        captured_currency=captured_currency,
        refunding_minor=refunding_minor,
        refunded_minor=refunded_minor,
        channel_trade_no=channel_trade_no,
        plan_json=plan_json,
        plan_expires_at=plan_expires_at,
        failure=_unpack_failure(failure),
        paid_at=paid_at,
        sends=sends,
        close_unanswered_until=close_unanswered_until,
        watch_until=watch_until,
        task=_task(verb, due_at, tries, leased_until),
        fence=fence,
    )


def _pack_given(offers: tuple[Given, ...]) -> str:
    return pack([asdict(given) for given in offers]) if offers else "[]"


def _unpack_given(text: str) -> tuple[Given, ...]:
    return () if text == "[]" else tuple(Given(**given) for given in unpack(text))


@lru_cache(maxsize=256)
def pack_terms(terms: Terms) -> str:
    """A method's terms as JSON text."""
    return pack(
        {
            "price": terms.price.value,
            "after_unknown": terms.after_unknown.value,
            "can_query": terms.can_query,
            "can_close": terms.can_close,
            "close_reverses": terms.close_reverses,
            "can_refund": terms.can_refund,
            "can_query_refund": terms.can_query_refund,
            "refund_window": terms.refund_window,
            "refund_count": terms.refund_count,
            "refund_interval": terms.refund_interval,
            "partial_refunds": terms.partial_refunds,
            "margin": terms.margin,
        }
    )


@lru_cache(maxsize=256)
def unpack_terms(text: str) -> Terms:
    """A method's terms from JSON text. Terms that were added since have their defaults."""
    read = unpack(text)
    return Terms(**{**read, "price": Price(read["price"]), "after_unknown": AfterUnknown(read["after_unknown"])})


def _pack_failure(failure: Failure | None) -> str | None:
    if failure is None:
        return None
    return pack([failure.reason, failure.channel_code, failure.message_zh, failure.message_en])


def _unpack_failure(text: str | None) -> Failure | None:
    return None if text is None else Failure(*unpack(text))


# ---------------------------------------------------------------------------------------------- refunds


def refund_fixed(order: Order, refund: Refund, number: int) -> Values:
    """What is written once of a refund; `number` is its place within its order."""
    payment = order.payment(refund.payment_id)
    return (
        refund.refund_id,
        order.order_id,
        order.app_id,
        refund.payment_id,
        payment.account_id if payment else "",
        number,
        refund.amount_minor,
        refund.currency,
        refund.origin.value,
        refund.merchant_refund_no,
        refund.reason,
        refund.created_at,
    )


def refund_moving(refund: Refund) -> Values:
    """What changes of a refund."""
    return (
        refund.state.value,
        refund.channel_refund_no,
        _pack_failure(refund.failure),
        refund.refunded_at,
        refund.sends,
        refund.answered,
        refund.refused_at,
        refund.looks,
        refund.updated_at,
        *_task_values(refund.task, refund.fence),
    )


def refund_of(row: Values) -> Refund:
    """The refund of a row."""
    (
        refund_id,
        _order_id,
        _app_id,
        payment_id,
        _account_id,
        _number,
        amount_minor,
        currency,
        origin,
        merchant_refund_no,
        reason,
        created_at,
        state,
        channel_refund_no,
        failure,
        refunded_at,
        sends,
        answered,
        refused_at,
        looks,
        updated_at,
        verb,
        due_at,
        tries,
        leased_until,
        _ready_at,
        fence,
    ) = row
    return Refund(
        refund_id=refund_id,
        payment_id=payment_id,
        amount_minor=amount_minor,
        currency=currency,
        origin=RefundOrigin(origin),
        created_at=created_at,
        updated_at=updated_at,
        merchant_refund_no=merchant_refund_no,
        reason=reason,
        state=RefundState(state),
        channel_refund_no=channel_refund_no,
        failure=_unpack_failure(failure),
        refunded_at=refunded_at,
        sends=sends,
        answered=answered,
        refused_at=refused_at,
        looks=looks,
        task=_task(verb, due_at, tries, leased_until),
        fence=fence,
    )


# ---------------------------------------------------------------------------------------------- anomalies


def anomaly_fixed(anomaly: Anomaly, *, order_id: str | None, app_id: str, account_id: str, number: int) -> Values:
    """What is written once of an anomaly."""
    return anomaly.anomaly_id, order_id, app_id, account_id, number, anomaly.kind.value


def anomaly_moving(anomaly: Anomaly) -> Values:
    """What changes of an anomaly."""
    return (
        anomaly.opened_at,
        anomaly.state.value,
        anomaly.payment_id,
        anomaly.refund_id,
        anomaly.amount_minor,
        anomaly.currency,
        anomaly.detail,
        anomaly.resolved_at,
        None if anomaly.remedy is None else anomaly.remedy.value,
        anomaly.note,
    )


def anomaly_of(row: Values) -> Anomaly:
    """The anomaly of a row."""
    (
        anomaly_id,
        _order_id,
        _app_id,
        _account_id,
        _number,
        kind,
        opened_at,
        state,
        payment_id,
        refund_id,
        amount_minor,
        currency,
        detail,
        resolved_at,
        remedy,
        note,
        *_,
    ) = row
    return Anomaly(
        anomaly_id=anomaly_id,
        kind=AnomalyKind(kind),
        opened_at=opened_at,
        state=AnomalyState(state),
        payment_id=payment_id,
        refund_id=refund_id,
        amount_minor=amount_minor,
        currency=currency,
        detail=detail,
        resolved_at=resolved_at,
        remedy=None if remedy is None else Remedy(remedy),
        note=note,
    )


# ---------------------------------------------------------------------------------------------- events


def event_values(event: Event, app_id: str, feed_seq: int | None) -> Values:
    """The row of an event."""
    return (
        event.order_id,
        event.version,
        app_id,
        event.at,
        event.kind,
        event.subject,
        event.subject_id,
        event.cause,
        pack(event.figures),
        feed_seq,
    )


def event_of(row: Values) -> Event:
    """The event of a row."""
    order_id, version, _app_id, at, kind, subject, subject_id, cause, figures, _feed_seq = row
    return Event(order_id, version, at, kind, subject, subject_id, cause, unpack(figures))


def by_order(rows: Iterable[Values], column: int) -> Mapping[str, list[Values]]:
    """Rows gathered by the order that one of their columns names; their own order is kept."""
    gathered: dict[str, list[Values]] = {}
    for row in rows:
        gathered.setdefault(row[column], []).append(row)
    return gathered


# ---------------------------------------------------------------------------------------------- purchases


def pack_purchase(paid: Paid) -> str:
    """What a store told of a purchase, as JSON text. The same words are the same text."""
    return pack(asdict(paid))


def unpack_purchase(text: str) -> Paid:
    """What a store told of a purchase, from JSON text."""
    read = unpack(text)
    return Paid(
        **read
        | {
            "purchase": StorePurchase(**read["purchase"]),
            "references": tuple(Reference(**one) for one in read["references"]),
            "refunds": tuple(ChannelRefund(**one) for one in read["refunds"]),
        }
    )
