"""Facts: everything that we can be told about an order. One type, one door: `decide(order, fact, now)`.

A caller asks, a channel answers, a notice arrives, the clock strikes. New ids arrive inside the fact. A fact that
answers a task carries the `fence` that the worker's lease was given; a worker past its lease still tells what it
learnt, but no longer moves the task.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from paycore.core.findings import AboutRefund, Paid, PaymentFinding, Ready, RefundFinding
from paycore.core.order import CloseReason, Details, Given, Origin, Remedy, SurplusPolicy
from paycore.core.terms import Terms


class Via(StrEnum):
    """How we came to know what a channel says.

    A CLOSE task asks first and closes then, under one lease. What the question found is told with the lease's fence
    only when it ends the matter (paid, closed, reversed) or when there is no close to go on to; otherwise it is told
    without a fence, so that the task stays with the worker, and the close's answer carries the fence.
    """

    PREPARE = "PREPARE"
    QUERY = "QUERY"
    CLOSE = "CLOSE"
    REFUND = "REFUND"
    QUERY_REFUND = "QUERY_REFUND"
    NOTICE = "NOTICE"
    CONFIRM = "CONFIRM"


# ---------------------------------------------------------------------------------------------- a caller asks


@dataclass(frozen=True, slots=True)
class OrderAsked:
    """An app wants an order. The first fact of every order."""

    order_id: str
    app_id: str
    merchant_order_no: str
    amount_minor: int
    currency: str
    details: Details
    expires_at: int
    surplus_policy: SurplusPolicy
    merchant_payer_no: str = ""
    origin: Origin = Origin.APP


@dataclass(frozen=True, slots=True)
class PaymentAsked:
    """A payer chose a method. Same channel, method and target while the action is valid: the same payment."""

    payment_id: str
    channel: str
    method: str
    account_id: str
    environment: str
    merchant: str
    terms: Terms
    expires_at: int
    """The order's expiry clamped to the method's maximum."""
    min_left: int = 0
    """The least time (microseconds) that the method needs before expiry; with less the order counts as expired."""
    target: str = ""
    inputs: Mapping[str, str] = field(default_factory=dict)
    client: Mapping[str, Any] = field(default_factory=dict)
    product_id: str = ""
    quantity: int = 1
    token: str = ""
    offers: tuple[Given, ...] = ()
    """What is taken off: the channel is asked for the order's amount less all of it."""
    leased_until: int | None = None
    """Set when the caller itself will prepare at once: the task is born leased, with fence 1."""
    prepared: Ready | None = None
    """Set when prepare had no outside effect (it only signs) and was done before this was told: one commit, no task."""


@dataclass(frozen=True, slots=True)
class SwitchAsked:
    """Another method was chosen: this open payment is to be queried and closed first."""

    payment_id: str
    leased_until: int | None = None


@dataclass(frozen=True, slots=True)
class CloseAsked:
    """An app no longer wants the order (EXPIRED: the clock says so)."""

    reason: CloseReason = CloseReason.REQUESTED
    fence: int | None = None


@dataclass(frozen=True, slots=True)
class SyncAsked:
    """Somebody wants to know now: every open payment and refund is asked about at once."""


@dataclass(frozen=True, slots=True)
class ClientReported:
    """What the phone's SDK claims. A hint: it only brings the next query forward."""

    payment_id: str
    outcome: str
    raw_code: str = ""


@dataclass(frozen=True, slots=True)
class RefundAsked:
    """An app wants money back to the payer. Without a payment it is the one that paid the order."""

    refund_id: str
    amount_minor: int
    currency: str
    merchant_refund_no: str = ""
    reason: str = ""
    payment_id: str | None = None
    leased_until: int | None = None


@dataclass(frozen=True, slots=True)
class RefundRetryAsked:
    """A person has mended what stood in the way of a refund (ABNORMAL, or too little money)."""

    refund_id: str


@dataclass(frozen=True, slots=True)
class AnomalySettled:
    """A person decides about an anomaly. `refund_id` is the id for the refund that remedy REFUND begins."""

    anomaly_id: str
    remedy: Remedy
    note: str
    refund_id: str


@dataclass(frozen=True, slots=True)
class PurchaseClaimed:
    """A person says that this payment is what a store's purchase was made for, though it named no payment of ours.

    `paid` is what the store told and was verified when it came; nothing of it is the claimant's word.
    """

    payment_id: str
    paid: Paid


# ---------------------------------------------------------------------------------------------- a channel answers


@dataclass(frozen=True, slots=True)
class PaymentHeard:
    """What a channel says about a payment.

    `asked_at` is the instant at which the question left us; what time proves is judged by it. None for a notice, which
    answers no question.
    """

    payment_id: str
    via: Via
    finding: PaymentFinding
    asked_at: int | None = None
    fence: int | None = None


@dataclass(frozen=True, slots=True)
class RefundHeard:
    """What a channel says about a refund of ours."""

    refund_id: str
    via: Via
    finding: RefundFinding
    asked_at: int | None = None
    fence: int | None = None


@dataclass(frozen=True, slots=True)
class ForeignRefundHeard:
    """A refund that was begun at the channel (its console, the store). `about.payment_id` names the payment."""

    payment_id: str
    about: AboutRefund
    via: Via
    asked_at: int | None = None


@dataclass(frozen=True, slots=True)
class AccountUnusable:
    """No key version of this payment's account can sign any more; a person has to give it one."""

    subject_id: str
    detail: str
    fence: int | None = None


Fact = (
    OrderAsked
    | PaymentAsked
    | SwitchAsked
    | CloseAsked
    | SyncAsked
    | ClientReported
    | RefundAsked
    | RefundRetryAsked
    | AnomalySettled
    | PurchaseClaimed
    | PaymentHeard
    | RefundHeard
    | ForeignRefundHeard
    | AccountUnusable
)
