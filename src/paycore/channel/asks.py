"""What a verb is given, and what a notice is answered with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from paycore.channel.talk import Secret
from paycore.core.findings import About, Failure, Unknown
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


# ---------------------------------------------------------------------------------------------- what an account keeps


@dataclass(frozen=True, slots=True)
class RefreshAsk:
    """Time to fetch what an account needs and what grows old: certificates, tokens.

    `blob` is what the last refresh returned; None before the first one.
    """

    blob: Secret | None
    now: int
    nonce: str


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What was fetched. The engine seals it, keeps it with the account and opens the account anew with it.

    The text is the plugin's own (JSON, PEM); at most 64 KiB. `again_at` is when to refresh next where the channel says
    it (a token's end); None means after the kind's own interval.
    """

    blob: Secret
    again_at: int | None = None


RefreshFinding = Refreshed | Unknown
"""What a refresh concludes. Unknown keeps what there is, and is tried again soon."""

# ---------------------------------------------------------------------------------------------- named operations


@dataclass(frozen=True, slots=True)
class OperationAsk:
    """Something that only this channel has (Apple's consumption information), asked for by the name of its Operation."""

    name: str
    payment: PaymentAsk
    inputs: Mapping[str, str]
    now: int
    nonce: str


@dataclass(frozen=True, slots=True)
class OperationDone:
    """The channel took it. `output` is what it answered, for people; never a reason to believe that money moved."""

    output: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OperationRefused:
    """The channel refused it, and nothing was changed."""

    failure: Failure


OperationFinding = OperationDone | OperationRefused | Unknown
"""What an operation concludes."""
