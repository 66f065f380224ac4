"""Offers: what a business takes off a debt for those who pay it in a certain way, and what that comes to for one method.

An offer is a rule; what it gives to one payment is `Given`, which that payment keeps. A payment holds what it was given
while it may be paid and once it paid its order; what it does not need any more goes back to the offer's budget. That is
read off the payment (`holds`), so no path through the rules can forget it.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from paycore.core.money import CURRENCY_EXPONENTS, MAX_AMOUNT_MINOR
from paycore.core.order import Given, Order, Payment, PaymentState

WHOLE = 10_000
"""A percentage is counted in hundredths of a percent; this many are all of it."""
MOST_GIVEN = 5
"""How many offers a payment is given at most, so that a payer can read them."""
MOST_TITLE = 64
_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
_METHOD = re.compile(r"[a-z][a-z0-9_]{0,31}(\.[a-z][a-z0-9_]{0,31})?", re.ASCII)


class OfferKind(StrEnum):
    """How an offer's discount is found."""

    FIXED = "FIXED"
    PERCENT = "PERCENT"


@dataclass(frozen=True, slots=True)
class Offer:
    """A promotion. Every condition that is not set is met by every order."""

    offer_id: str
    """Unlike every other offer's of the app."""
    title_zh: str
    title_en: str
    kind: OfferKind
    currency: str
    """ISO 4217; orders in another currency are given nothing."""
    amount_minor: int = 0
    """FIXED: what is taken off, in minor units."""
    basis_points: int = 0
    """PERCENT: hundredths of a percent of what is still to pay, rounded down to a minor unit."""
    most_minor: int = 0
    """PERCENT: the most that is taken off; 0 for no limit."""
    threshold_minor: int = 0
    """The least debt that is given anything."""
    methods: tuple[str, ...] = ()
    """The channels ("alipay") or methods ("alipay.qr") by which one has to pay; empty for all."""
    is_first_time: bool = False
    """Only for a payer who has paid the app nothing yet, and once. Orders that name no payer are given nothing."""
    starts_at: int | None = None
    ends_at: int | None = None
    """From the first instant on, until before the second one; microseconds UTC."""
    budget_minor: int = 0
    """What all payments together may be given; 0 for no limit."""
    quota: int = 0
    """How many payments may be given something; 0 for no limit."""
    stacks: bool = False
    """Whether it is given beside others. Of those that are not, a payment gets the one that takes most off."""

    def is_for(self, channel: str, method: str) -> bool:
        """Whether one has to pay by this method, or may, to be given it."""
        return not self.methods or channel in self.methods or f"{channel}.{method}" in self.methods

    def discount(self, due_minor: int) -> int:
        """What it takes off so much."""
        if self.kind is OfferKind.FIXED:
            return self.amount_minor
        part = due_minor * self.basis_points // WHOLE
        return min(part, self.most_minor) if self.most_minor else part


def problem_with(offer: Offer) -> str:
    """Why nobody can be given such an offer, in one sentence; empty when it holds together."""
    counted = (offer.amount_minor, offer.basis_points, offer.most_minor, offer.threshold_minor)
    if _ID.fullmatch(offer.offer_id) is None:
        return "Its id is not 1 to 64 letters, digits, dots, underscores or hyphens."
    if not (0 < len(offer.title_zh) <= MOST_TITLE and 0 < len(offer.title_en) <= MOST_TITLE):
        return f"It needs a title of at most {MOST_TITLE} characters in each language."
    if offer.currency not in CURRENCY_EXPONENTS:
        return "Its currency is not one."
    if any(not 0 <= number <= MAX_AMOUNT_MINOR for number in (*counted, offer.budget_minor, offer.quota)):
        return "An amount of it is negative or too large."
    if offer.kind is OfferKind.FIXED and not offer.amount_minor:
        return "It takes nothing off."
    if offer.kind is OfferKind.PERCENT and not 0 < offer.basis_points < WHOLE:
        return "It takes off nothing, or everything: a percentage lies between 0.01 and 99.99."
    if any(_METHOD.fullmatch(method) is None for method in offer.methods):
        return "It names something that is not a channel (alipay) or a method (alipay.qr)."
    if offer.starts_at is not None and offer.ends_at is not None and offer.starts_at >= offer.ends_at:
        return "It ends before it begins."
    return ""


@dataclass(frozen=True, slots=True)
class Taken:
    """What payments hold of an offer."""

    amount_minor: int = 0
    count: int = 0


@dataclass(frozen=True, slots=True)
class Payer:
    """What we know of whoever owes an order."""

    is_new: bool = False
    """Whether a first-time offer may be given: a payer is named, has paid nothing yet, and holds none for another order."""
    last_used: tuple[str, str] | None = None
    """Channel and method of the last payment that paid one of theirs."""


@dataclass(frozen=True, slots=True)
class Deals:
    """The offers of an app at one moment, as one order meets them."""

    offers: tuple[Offer, ...] = ()
    taken: Mapping[str, Taken] = field(default_factory=dict)
    payer: Payer = field(default_factory=Payer)


def price(order: Order, deals: Deals, channel: str, method: str, *, least_minor: int, now: int) -> tuple[Given, ...]:
    """What a payment of this order by this method is given; its amount is the debt less all of it.

    The offer that takes most off comes first, of equal ones that of the smaller id; those that stack follow, each on what
    is left. Nothing is given that would leave less to pay than the method takes (`least_minor`).
    """
    mine = _held_by(order)
    usable = [
        offer
        for offer in sorted(deals.offers, key=lambda offer: offer.offer_id)
        if _meets(offer, order, deals.payer, now) and offer.is_for(channel, method)
    ]
    due = order.amount_minor
    given: list[Given] = []
    single = [offer for offer in usable if not offer.stacks]
    best = sorted(single, key=lambda offer: -_worth(offer, due, deals, mine, least_minor))[:1]
    for offer in (*best, *(offer for offer in usable if offer.stacks)):
        if len(given) == MOST_GIVEN:
            break
        worth = _worth(offer, due, deals, mine, least_minor)
        if worth > 0:
            given.append(_given(offer, worth))
            due -= worth
    return tuple(given)


def _meets(offer: Offer, order: Order, payer: Payer, now: int) -> bool:
    return (
        offer.currency == order.currency
        and order.amount_minor >= offer.threshold_minor
        and (offer.starts_at is None or offer.starts_at <= now)
        and (offer.ends_at is None or now < offer.ends_at)
        and (payer.is_new or not offer.is_first_time)
    )


def _worth(offer: Offer, due_minor: int, deals: Deals, mine: Mapping[str, Taken], least_minor: int) -> int:
    """What the offer takes off so much now; 0 when that is nothing, too much, or more than is left of the offer."""
    worth = offer.discount(due_minor)
    if worth <= 0 or due_minor - worth < max(least_minor, 1):
        return 0
    all_taken, own = deals.taken.get(offer.offer_id, Taken()), mine.get(offer.offer_id, Taken())
    if offer.budget_minor and all_taken.amount_minor - own.amount_minor + worth > offer.budget_minor:
        return 0
    if offer.quota and all_taken.count - own.count + 1 > offer.quota:
        return 0
    return worth


def _given(offer: Offer, amount_minor: int) -> Given:
    return Given(
        offer_id=offer.offer_id,
        amount_minor=amount_minor,
        title_zh=offer.title_zh,
        title_en=offer.title_en,
        budget_minor=offer.budget_minor,
        quota=offer.quota,
        is_first_time=offer.is_first_time,
    )


def _held_by(order: Order) -> Mapping[str, Taken]:
    """What the order's own attempt holds that another attempt would take the place of: that much is free again for it."""
    amounts, counts = Counter[str](), Counter[str]()
    for payment in order.payments:
        if payment.is_open and not payment.is_superseded:
            for given in payment.offers:
                amounts[given.offer_id] += given.amount_minor
                counts[given.offer_id] += 1
    return {offer_id: Taken(amounts[offer_id], counts[offer_id]) for offer_id in counts}


# ---------------------------------------------------------------------------------------------- what is held


def holds(payment: Payment) -> bool:
    """Whether the payment holds what it was given.

    It does while it may be paid, for good once it paid its order, and as long as any of the money that was taken at the
    lower amount is with us. A late success takes hold again, whatever the offer's budget says: the money is real.
    """
    if payment.is_open or payment.is_effective:
        return True
    return payment.state is PaymentState.SUCCEEDED and payment.refunded_minor < payment.captured_minor


@dataclass(frozen=True, slots=True)
class OfferClaim:
    """A payment takes hold of what one offer gives it, or lets it go. One that is guarded is lost when too little is left."""

    app_id: str
    order_id: str
    payment_id: str
    payer_no: str
    given: Given
    is_held: bool
    is_guarded: bool

    @property
    def kind(self) -> str:
        """What a lost claim is called."""
        return "offer"


def offer_claims(before: Order, after: Order) -> Iterable[OfferClaim]:
    """What changed of what an order's payments hold. Only a new payment is asked whether there is enough."""
    for payment in after.payments:
        if not payment.offers:
            continue
        old = before.payment(payment.payment_id)
        if holds(payment) == (old is not None and holds(old)):
            continue
        for given in payment.offers:
            yield OfferClaim(
                app_id=after.app_id,
                order_id=after.order_id,
                payment_id=payment.payment_id,
                payer_no=after.merchant_payer_no,
                given=given,
                is_held=holds(payment),
                is_guarded=old is None,
            )
