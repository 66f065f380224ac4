"""What a channel's method promised about itself when a payment began; kept with the payment, whatever happens to the plugin."""

from dataclasses import dataclass
from enum import StrEnum

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR


class Price(StrEnum):
    """How a success is compared with what we asked for."""

    EXACT = "EXACT"
    """The amount and the currency must be those of the payment."""
    STORE = "STORE"
    """The store sets the price: product, quantity and token must match, and what it took is recorded."""


class AfterUnknown(StrEnum):
    """What is safe when a prepare got no answer."""

    REPEAT = "REPEAT"
    """Send the same id again: the channel treats it as the same trade."""
    QUERY_THEN_CLOSE = "QUERY_THEN_CLOSE"
    """Ask how it stands and close it in the end (barcode payments: repeating could charge)."""


@dataclass(frozen=True, slots=True)
class Terms:
    """The promises that the rules about money depend on. Times are microseconds."""

    price: Price = Price.EXACT
    after_unknown: AfterUnknown = AfterUnknown.REPEAT
    can_query: bool = True
    can_close: bool = True
    close_reverses: bool = False
    """A close may give back money that was already taken (Alipay's cancel, WeChat's codepay reverse)."""
    can_refund: bool = True
    can_query_refund: bool = True
    refund_window: int | None = None
    """How long after payment the channel takes refunds; None when it declares no limit."""
    refund_count: int | None = None
    """How many refunds of one payment the channel takes; None when it declares no limit."""
    refund_interval: int | None = None
    """The pause that the channel wants between two refunds of one payment; None when it declares none."""
    margin: int = MINUTE
    """How long after the expiry that we sent a "not found" begins to prove that nobody paid."""
    partial_refunds: bool = True
    """Whether the channel takes a refund of a part of a payment."""
