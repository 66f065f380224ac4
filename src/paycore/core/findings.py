"""Findings: what a channel can conclude about a payment or a refund. The default is Unknown, never success.

A finding is what the channel *said*, read by the plugin; what it *means* is the core's to decide. Plugins compare nothing.
"""

from dataclasses import dataclass, replace

# ---------------------------------------------------------------------------------------------- what goes along


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a payment or refund was refused: a reason of ours, the channel's own code, and words that a payer can read."""

    reason: str
    channel_code: str = ""
    message_zh: str = ""
    message_en: str = ""


@dataclass(frozen=True, slots=True)
class Reference:
    """Something else that identifies a payment at the channel (`kind` such as "transaction_id"). Pays one payment only, ever."""

    kind: str
    value: str


@dataclass(frozen=True, slots=True)
class ChannelRefund:
    """A refund that the channel reports together with a payment.

    `refund_id` when it is one of ours; otherwise it was begun at the channel and `channel_refund_no` tells it apart.
    `is_sum` for a channel that names no refund's own amount: `amount_minor` is then what went back of the payment in
    all, and this refund (which may be nameless) is the latest part of it.
    """

    amount_minor: int
    channel_refund_no: str
    refund_id: str | None = None
    reversed: bool = False
    is_sum: bool = False


@dataclass(frozen=True, slots=True)
class StorePurchase:
    """What a store says was bought, for kinds whose price the store sets."""

    product_id: str
    quantity: int
    token: str


# ---------------------------------------------------------------------------------------------- payments


@dataclass(frozen=True, slots=True)
class Paid:
    """The channel took the money. "Paid, then refunded" is this with its refunds, never Closed.

    `merchant` is the merchant identity that the channel names as the receiver (the core compares it). `paid_at` is the
    channel's own time, microseconds. `references` may each pay one payment only. An amount of 0 is for a store's `purchase`
    alone: what it sold for nothing (a free trial) is sold all the same.
    """

    amount_minor: int
    currency: str
    merchant: str
    channel_trade_no: str = ""
    paid_at: int | None = None
    purchase: StorePurchase | None = None
    references: tuple[Reference, ...] = ()
    refunds: tuple[ChannelRefund, ...] = ()
    authenticated: bool = True


@dataclass(frozen=True, slots=True)
class Ready:
    """Prepared: the payer's device has something to do. `plan_json` is a paycore_bridge Plan as JSON text."""

    plan_json: str
    expires_at: int | None = None
    channel_trade_no: str = ""
    references: tuple[Reference, ...] = ()
    authenticated: bool = True


@dataclass(frozen=True, slots=True)
class Waiting:
    """The channel knows the trade and nobody has paid it yet."""

    channel_trade_no: str = ""
    authenticated: bool = True


@dataclass(frozen=True, slots=True)
class PayerPaying:
    """The payer is in the middle of paying (entering a password); it cannot be closed now."""

    authenticated: bool = True


@dataclass(frozen=True, slots=True)
class Declined:
    """The channel refused this attempt for certain: no money moved and none will under this id."""

    failure: Failure
    authenticated: bool = True


@dataclass(frozen=True, slots=True)
class Closed:
    """The channel closed the trade unpaid; it cannot be paid any more."""

    authenticated: bool = True


@dataclass(frozen=True, slots=True)
class Reversed:
    """The whole amount of this payment was returned by the channel, or cancelled before it was taken."""

    authenticated: bool = True


@dataclass(frozen=True, slots=True)
class AlreadyPaid:
    """A close was refused because the trade is paid. It carries no amount, so a query must follow."""

    authenticated: bool = True


@dataclass(frozen=True, slots=True)
class NotFound:
    """The channel does not know the trade. Alone it proves nothing before expiry plus margin."""

    authenticated: bool = True


@dataclass(frozen=True, slots=True)
class Unknown:
    """We do not know what happened. `note` is for people; it is never a reason to believe anything."""

    note: str = ""
    authenticated: bool = False


@dataclass(frozen=True, slots=True)
class NotSent:
    """Not one byte left this machine (connect or pool error). Only the engine can know this."""

    note: str = ""
    authenticated: bool = True


PaymentFinding = (
    Paid | Ready | Waiting | PayerPaying | Declined | Closed | Reversed | AlreadyPaid | NotFound | Unknown | NotSent
)

# ---------------------------------------------------------------------------------------------- refunds


@dataclass(frozen=True, slots=True)
class Refunded:
    """The channel proves that the refund is done."""

    amount_minor: int | None = None
    """What was really returned, where the channel says it; None means what was asked."""
    channel_refund_no: str = ""
    refunded_at: int | None = None
    authenticated: bool = True


@dataclass(frozen=True, slots=True)
class RefundProcessing:
    """Accepted and under way. Accepted is not done."""

    channel_refund_no: str = ""
    authenticated: bool = True


@dataclass(frozen=True, slots=True)
class RefundRefused:
    """A send of this refund was refused. Proves nothing alone: a query has to agree."""

    failure: Failure
    authenticated: bool = True


@dataclass(frozen=True, slots=True)
class RefundFailed:
    """The channel says that this refund failed for good and the money stays with the merchant."""

    failure: Failure
    authenticated: bool = True


@dataclass(frozen=True, slots=True)
class RefundShort:
    """Refused because the merchant's balance is too small; the same id may be sent again when there is money."""

    failure: Failure
    authenticated: bool = True


@dataclass(frozen=True, slots=True)
class RefundStuck:
    """The channel needs a person (WeChat's ABNORMAL: the payer's card is gone)."""

    failure: Failure
    channel_refund_no: str = ""
    authenticated: bool = True


@dataclass(frozen=True, slots=True)
class RefundBounced:
    """A refund that was done has come back to the merchant, or was taken back by the store."""

    channel_refund_no: str = ""
    authenticated: bool = True


@dataclass(frozen=True, slots=True)
class RefundNotFound:
    """The channel does not know this refund id."""

    authenticated: bool = True


RefundFinding = (
    Refunded
    | RefundProcessing
    | RefundRefused
    | RefundFailed
    | RefundShort
    | RefundStuck
    | RefundBounced
    | RefundNotFound
    | Unknown
    | NotSent
)


# ---------------------------------------------------------------------------------------------- whose they are


@dataclass(frozen=True, slots=True)
class AboutPayment:
    """A finding about a payment, named by our id or by a reference (never by both).

    `renews` is for money that the channel took by itself, under an agreement that one of our payments began (the next
    period of a subscription): a reference of that payment. The money becomes an order of its own, of origin CHANNEL.
    """

    finding: PaymentFinding
    payment_id: str | None = None
    reference: Reference | None = None
    renews: Reference | None = None


@dataclass(frozen=True, slots=True)
class AboutRefund:
    """A finding about a refund. A refund that we did not begin names its payment and the channel's refund number."""

    finding: RefundFinding
    refund_id: str | None = None
    payment_id: str | None = None
    payment_reference: Reference | None = None
    channel_refund_no: str = ""
    amount_minor: int | None = None
    currency: str = ""
    merchant: str = ""

    @property
    def told(self) -> RefundFinding:
        """The finding with the amount that stands beside it, so that it is compared wherever the plugin put it."""
        if isinstance(self.finding, Refunded) and self.finding.amount_minor is None:
            return replace(self.finding, amount_minor=self.amount_minor)
        return self.finding


About = AboutPayment | AboutRefund
"""What a notice or a confirmation tells, each with its subject."""
