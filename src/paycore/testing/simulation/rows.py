"""A look at the database of our own: the rows as they are, by plain SQL, past everything that is being tested."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from paycore.store import Store, Unit
from paycore.store.sql import same


class OrderRow(NamedTuple):
    order_id: str
    state: str
    version: int
    amount_minor: int
    expires_at: int
    surplus_policy: str
    task_verb: str | None


class PaymentRow(NamedTuple):
    payment_id: str
    order_id: str
    method: str
    state: str
    amount_minor: int
    merchant: str
    token: str
    captured_minor: int
    refunding_minor: int
    refunded_minor: int
    is_effective: int
    is_superseded: int
    is_kept: int
    is_reversed: int
    sends: int
    expires_at: int
    task_verb: str | None
    task_leased_until: int | None

    @property
    def is_open(self) -> bool:
        return self.state in ("CREATED", "PENDING", "UNKNOWN")

    @property
    def balance_minor(self) -> int:
        return self.captured_minor - self.refunding_minor - self.refunded_minor


class RefundRow(NamedTuple):
    refund_id: str
    payment_id: str
    order_id: str
    state: str
    amount_minor: int
    origin: str
    channel_refund_no: str
    sends: int
    task_verb: str | None
    task_leased_until: int | None

    @property
    def is_reserving(self) -> bool:
        return self.state in ("PENDING", "PROCESSING", "UNKNOWN", "ABNORMAL")


class AnomalyRow(NamedTuple):
    anomaly_id: str
    order_id: str | None
    kind: str
    state: str
    payment_id: str
    refund_id: str
    amount_minor: int
    remedy: str | None

    @property
    def is_open(self) -> bool:
        return self.state == "OPEN"


class EventRow(NamedTuple):
    feed_seq: int
    order_id: str
    version: int
    kind: str
    subject: str
    subject_id: str
    cause: str
    at: int
    figures: str


def _select(row: Any, table: str, tail: str = "") -> Any:
    return same(f"SELECT {', '.join(row._fields)} FROM {table} {tail}")  # noqa: S608 - our own names


_ORDERS = _select(OrderRow, "orders", "ORDER BY order_id")
_PAYMENTS = _select(PaymentRow, "payments", "ORDER BY order_id, number")
_REFUNDS = _select(RefundRow, "refunds", "ORDER BY order_id, number")
_ANOMALIES = _select(AnomalyRow, "anomalies", "ORDER BY anomaly_id")
_EVENTS = _select(EventRow, "events", "WHERE feed_seq > ? ORDER BY feed_seq")


@dataclass(frozen=True, slots=True)
class Rows:
    """Everything about money that the database holds at one moment."""

    orders: dict[str, OrderRow]
    payments: dict[str, PaymentRow]
    refunds: dict[str, RefundRow]
    anomalies: list[AnomalyRow]

    @property
    def tasked(self) -> list[PaymentRow | RefundRow]:
        """Every payment and every refund: the rows whose tasks speak to the channel."""
        return [*self.payments.values(), *self.refunds.values()]

    def refunds_of(self, payment_id: str) -> list[RefundRow]:
        return [refund for refund in self.refunds.values() if refund.payment_id == payment_id]

    def payments_of(self, order_id: str) -> list[PaymentRow]:
        return [payment for payment in self.payments.values() if payment.order_id == order_id]

    def anomalies_of(self, subject_id: str) -> list[AnomalyRow]:
        """The anomalies of a payment, or of a refund."""
        return [one for one in self.anomalies if subject_id in (one.payment_id, one.refund_id)]


def look(store: Store) -> Rows:
    """The rows as they are committed now."""
    with store.read() as unit:
        return rows_of(unit)


def rows_of(unit: Unit) -> Rows:
    return Rows(
        {row[0]: OrderRow(*row) for row in unit.rows(_ORDERS)},
        {row[0]: PaymentRow(*row) for row in unit.rows(_PAYMENTS)},
        {row[0]: RefundRow(*row) for row in unit.rows(_REFUNDS)},
        [AnomalyRow(*row) for row in unit.rows(_ANOMALIES)],
    )


def events_behind(unit: Unit, feed_seq: int) -> list[EventRow]:
    """The events that were announced since."""
    return [EventRow(*row) for row in unit.rows(_EVENTS, feed_seq)]
