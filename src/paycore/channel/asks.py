"""What a verb is given, and what a notice is answered with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from paycore.core.findings import About
from paycore.core.order import LineItem


@dataclass(frozen=True, slots=True)
class PaymentAsk:
    """A payment to prepare, query or close. Everything a verb may know, the clock and a nonce included.

    `payment_id` is the merchant number at the channel. `now` and the other times are microseconds UTC. `nonce` is fresh
    random text (32 lower-case hex digits) for each conversation.
    """

    payment_id: str
    order_id: str
    method: str
    target: str
    amount_minor: int
    currency: str
    subject: str
    created_at: int
    expires_at: int
    now: int
    nonce: str
    notify_url: str
    description: str = ""
    return_url: str = ""
    items: tuple[LineItem, ...] = ()
    inputs: Mapping[str, str] = field(default_factory=dict)
    client: Mapping[str, Any] = field(default_factory=dict)
    product_id: str = ""
    quantity: int = 1
    token: str = ""
    channel_trade_no: str = ""


@dataclass(frozen=True, slots=True)
class RefundAsk:
    """A refund to send or to ask about. `refund_id` is the refund number at the channel, the same on every send."""

    refund_id: str
    payment: PaymentAsk
    amount_minor: int
    currency: str
    captured_minor: int
    reason: str
    created_at: int
    now: int
    nonce: str
    notify_url: str
    channel_refund_no: str = ""


@dataclass(frozen=True, slots=True)
class EvidenceAsk:
    """Proof that a client hands in (a store's signed transaction). `payment` is None when no order is named."""

    evidence: str
    payment: PaymentAsk | None
    now: int
    nonce: str


@dataclass(frozen=True, slots=True)
class Confirmed:
    """What a piece of evidence proves, and what the client may do with it (finish the store transaction)."""

    findings: tuple[About, ...]
    may_finish: bool = False


@dataclass(frozen=True, slots=True)
class RawNotice:
    """A channel's callback exactly as it arrived. Header names are lower case; the body is untouched bytes."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    query: str = ""


@dataclass(frozen=True, slots=True)
class NoticeReply:
    """The exact bytes that a channel wants to read."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Notice:
    """A verified notice: what it says, and the bytes that acknowledge it once that is stored."""

    findings: tuple[About, ...]
    acknowledge: NoticeReply
    notice_id: str = ""
