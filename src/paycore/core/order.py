"""The snapshot that is loaded, decided and saved as one: an order with its payments, refunds and anomalies.

Everything here is frozen. States are assigned in `decide` and its rules (paying, closing, refunding) and nowhere else.
Times are integer microseconds UTC; amounts are integer minor units.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from paycore.core.findings import Failure
from paycore.core.terms import Terms

# ---------------------------------------------------------------------------------------------- states


class OrderState(StrEnum):
    """How a debt stands."""

    PENDING = "PENDING"
    CLOSING = "CLOSING"
    PAID = "PAID"
    CLOSED = "CLOSED"


class PaymentState(StrEnum):
    """How one attempt stands. CREATED counts as open: a crash hides whether it was sent."""

    CREATED = "CREATED"
    PENDING = "PENDING"
    UNKNOWN = "UNKNOWN"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CLOSED = "CLOSED"


class RefundState(StrEnum):
    """How a refund stands. PENDING, PROCESSING, UNKNOWN and ABNORMAL keep the amount reserved."""

    PENDING = "PENDING"
    PROCESSING = "PROCESSING"
    UNKNOWN = "UNKNOWN"
    ABNORMAL = "ABNORMAL"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    REVERSED = "REVERSED"


class Origin(StrEnum):
    """Who began it."""

    APP = "APP"
    CHANNEL = "CHANNEL"


class RefundOrigin(StrEnum):
    """Who began a refund: the app, our own surplus policy, or somebody at the channel."""

    MERCHANT = "MERCHANT"
    POLICY = "POLICY"
    CHANNEL = "CHANNEL"


class CloseReason(StrEnum):
    """Why an order is being closed."""

    REQUESTED = "REQUESTED"
    EXPIRED = "EXPIRED"


class SurplusPolicy(StrEnum):
    """What happens to money that the order no longer wants."""

    ACCEPT = "ACCEPT"
    AUTO_REFUND = "AUTO_REFUND"
    HOLD = "HOLD"


class AnomalyKind(StrEnum):
    """Money, or evidence about money, that needs a remedy."""

    LATE_PAYMENT = "LATE_PAYMENT"
    SECOND_PAYMENT = "SECOND_PAYMENT"
    AMOUNT_MISMATCH = "AMOUNT_MISMATCH"
    CONFLICTING_AMOUNT = "CONFLICTING_AMOUNT"
    WRONG_ACCOUNT = "WRONG_ACCOUNT"
    ORPHAN_NOTICE = "ORPHAN_NOTICE"
    PAID_BUT_RETURNED = "PAID_BUT_RETURNED"
    OVER_REFUND = "OVER_REFUND"
    REFUND_ABNORMAL = "REFUND_ABNORMAL"
    ACCOUNT_UNUSABLE = "ACCOUNT_UNUSABLE"


class AnomalyState(StrEnum):
    """Whether somebody still has to look."""

    OPEN = "OPEN"
    RESOLVED = "RESOLVED"


class Remedy(StrEnum):
    """What a person (or our policy) did about an anomaly."""

    ACCEPT = "ACCEPT"
    REFUND = "REFUND"
    RELEASE = "RELEASE"


class Verb(StrEnum):
    """What a task does when it is due."""

    EXPIRE = "EXPIRE"
    PREPARE = "PREPARE"
    QUERY = "QUERY"
    CLOSE = "CLOSE"
    REFUND = "REFUND"
    QUERY_REFUND = "QUERY_REFUND"


OPEN_PAYMENTS = frozenset({PaymentState.CREATED, PaymentState.PENDING, PaymentState.UNKNOWN})
RESERVING_REFUNDS = frozenset({RefundState.PENDING, RefundState.PROCESSING, RefundState.UNKNOWN, RefundState.ABNORMAL})

# ---------------------------------------------------------------------------------------------- rows


@dataclass(frozen=True, slots=True)
class Task:
    """What must happen next to a row, and when.

    A worker takes a due task by a lease (`leased_until`), which counts a try and raises the row's `fence`. A lease that
    ran out leaves the task due again.
    """

    verb: Verb
    due_at: int
    tries: int = 0
    leased_until: int | None = None


@dataclass(frozen=True, slots=True)
class LineItem:
    """One thing that is bought. The product id is what stores know it by."""

    product_id: str
    name: str
    quantity: int
    unit_amount_minor: int


@dataclass(frozen=True, slots=True)
class Details:
    """What an order is for. No rule about money reads it."""

    subject: str
    description: str = ""
    items: tuple[LineItem, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    return_url: str = ""


@dataclass(frozen=True, slots=True)
class Given:
    """What one offer takes off one payment, with the limits that the offer had then."""

    offer_id: str
    amount_minor: int
    title_zh: str = ""
    title_en: str = ""
    budget_minor: int = 0
    quota: int = 0
    is_first_time: bool = False


@dataclass(frozen=True, slots=True)
class Payment:
    """One attempt at an order through one channel. Its id is the merchant number that the channel sees."""

    payment_id: str
    channel: str
    method: str
    account_id: str
    environment: str
    merchant: str
    """The merchant identity at the channel that must receive the money."""
    amount_minor: int
    currency: str
    terms: Terms
    created_at: int
    updated_at: int
    expires_at: int
    """The absolute instant sent to the channel, already clamped to what its method takes."""
    target: str = ""
    inputs: Mapping[str, str] = field(default_factory=dict)
    """What the method asked of the payer (openid, auth code); the engine hands it to prepare."""
    client: Mapping[str, Any] = field(default_factory=dict)
    """The ClientContext that asked, as plain data; prepare reads face, ip and locale from it."""
    product_id: str = ""
    quantity: int = 1
    token: str = ""
    """What a store purchase has to carry; a UUID derived from the payment's id. Empty for other kinds."""
    offers: tuple[Given, ...] = ()
    """What was taken off the debt; with it the amount is the whole debt."""
    state: PaymentState = PaymentState.CREATED
    is_effective: bool = False
    is_superseded: bool = False
    is_kept: bool = False
    """The surplus of this payment was accepted or released: nobody has to look at it any more."""
    is_switching: bool = False
    """It is being closed because the payer chose another method, not because the order ends."""
    is_reversed: bool = False
    captured_minor: int = 0
    captured_currency: str = ""
    refunding_minor: int = 0
    refunded_minor: int = 0
    channel_trade_no: str = ""
    plan_json: str = ""
    """What the payer's device must do, as a paycore_bridge Plan; empty until the channel prepared it."""
    plan_expires_at: int | None = None
    failure: Failure | None = None
    paid_at: int | None = None
    sends: int = 0
    """How often its prepare may have been sent. Counted by the lease, so a crash cannot hide one."""
    close_unanswered_until: int | None = None
    """End of the lease of a close whose answer we do not have; until then it may still take effect."""
    watch_until: int | None = None
    """A late watch ends with the first answer asked after this instant."""
    task: Task | None = None
    fence: int = 0

    @property
    def is_open(self) -> bool:
        """Whether it may still be paid in the ordinary course."""
        return self.state in OPEN_PAYMENTS

    @property
    def balance_minor(self) -> int:
        """What was taken and is neither returned nor promised back."""
        return self.captured_minor - self.refunded_minor - self.refunding_minor


@dataclass(frozen=True, slots=True)
class Refund:
    """Money on its way back. Its id is the refund number that the channel sees, on every send the same."""

    refund_id: str
    payment_id: str
    amount_minor: int
    currency: str
    origin: RefundOrigin
    created_at: int
    updated_at: int
    merchant_refund_no: str = ""
    reason: str = ""
    state: RefundState = RefundState.PENDING
    channel_refund_no: str = ""
    failure: Failure | None = None
    refunded_at: int | None = None
    sends: int = 0
    """How often it may have been sent. Counted by the lease, so a crash cannot hide one."""
    answered: int = 0
    """How many of those sends were answered by the worker that still held the lease."""
    refused_at: int | None = None
    """When the last refused send was asked; only a "not found" asked later counts."""
    looks: int = 0
    """How many looks for a bounce have been taken after it succeeded."""
    task: Task | None = None
    fence: int = 0

    @property
    def is_reserving(self) -> bool:
        """Whether its amount is still promised to the payer."""
        return self.state in RESERVING_REFUNDS


@dataclass(frozen=True, slots=True)
class Anomaly:
    """Something about money that needs a remedy: kept until it is resolved, by itself or by a person."""

    anomaly_id: str
    kind: AnomalyKind
    opened_at: int
    state: AnomalyState = AnomalyState.OPEN
    payment_id: str = ""
    refund_id: str = ""
    amount_minor: int = 0
    currency: str = ""
    detail: str = ""
    resolved_at: int | None = None
    remedy: Remedy | None = None
    note: str = ""

    @property
    def is_open(self) -> bool:
        return self.state is AnomalyState.OPEN


@dataclass(frozen=True, slots=True)
class Order:
    """A debt, with every attempt to pay it and everything that went back."""

    order_id: str
    app_id: str
    amount_minor: int
    currency: str
    details: Details
    surplus_policy: SurplusPolicy
    created_at: int
    updated_at: int
    expires_at: int
    merchant_order_no: str = ""
    """The caller's number; empty for an order that began at the channel (a renewal)."""
    merchant_payer_no: str = ""
    """The caller's number of whoever owes it; empty if the caller does not say."""
    origin: Origin = Origin.APP
    state: OrderState = OrderState.PENDING
    close_reason: CloseReason | None = None
    paid_at: int | None = None
    closed_at: int | None = None
    version: int = 0
    """The number of the last event. Events are 1..n without a gap."""
    payments: tuple[Payment, ...] = ()
    refunds: tuple[Refund, ...] = ()
    anomalies: tuple[Anomaly, ...] = ()
    task: Task | None = None
    fence: int = 0

    def payment(self, payment_id: str) -> Payment | None:
        """The payment with this id, if it belongs to this order."""
        return next((payment for payment in self.payments if payment.payment_id == payment_id), None)

    def refund(self, refund_id: str) -> Refund | None:
        """The refund with this id, if it belongs to this order."""
        return next((refund for refund in self.refunds if refund.refund_id == refund_id), None)

    def anomaly(self, anomaly_id: str) -> Anomaly | None:
        """The anomaly with this id, if it belongs to this order."""
        return next((anomaly for anomaly in self.anomalies if anomaly.anomaly_id == anomaly_id), None)

    @property
    def effective(self) -> Payment | None:
        """The payment that paid this order."""
        return next((payment for payment in self.payments if payment.is_effective), None)

    @property
    def open_payments(self) -> Iterator[Payment]:
        """The attempts that may still be paid in the ordinary course."""
        return (payment for payment in self.payments if payment.is_open)

    def refunds_of(self, payment_id: str) -> Iterator[Refund]:
        """Every refund of one payment."""
        return (refund for refund in self.refunds if refund.payment_id == payment_id)

    @property
    def is_final(self) -> bool:
        """Whether nothing more is expected to happen to this order by itself.

        Late watches and looks for bounced refunds go on quietly; they expect nothing.
        """
        return (
            self.state in (OrderState.PAID, OrderState.CLOSED)
            and not any(payment.is_open for payment in self.payments)
            and not any(refund.is_reserving for refund in self.refunds)
        )
