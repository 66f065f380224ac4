"""The second hook: offers that a plugin makes, as rules that the core reckons with. What they give is counted like any other's."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from paycore.core.order import LineItem


@dataclass(frozen=True, slots=True)
class OfferAsk:
    """One order, as whoever makes offers may know it. Times are microseconds UTC."""

    app_id: str
    order_id: str
    amount_minor: int
    currency: str
    now: int
    items: tuple[LineItem, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    merchant_payer_no: str = ""
    """The business's own number of the payer; empty if it does not say."""
