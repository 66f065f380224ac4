"""What an order is offered, and quotes: what a payer was shown, sealed, so that nobody pays another price unseen.

A quote is never read back. What a method costs is reckoned anew when it is chosen, and the seal says whether that is
what was shown.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from paycore.channel import ChannelKind, Method, OfferAsk, Price
from paycore.core.offers import Deals, Offer, Payer, Taken, price
from paycore.core.order import Given, Order
from paycore.core.refusals import Reason, Refused
from paycore.core.terms import SECOND
from paycore.engine.clock import Clock
from paycore.engine.host import Host
from paycore.engine.keyring import Keyring
from paycore.engine.memory import Memory
from paycore.engine.seals import Seals
from paycore.store import OfferState, Unit

FRESH = 2 * SECOND
"""How old what we know of an app's offers may be. A count that is older than it says costs a payer a second look, never money."""
_PURPOSE = "cashier quotes"


@dataclass(frozen=True, slots=True)
class Quote:
    """What a payer would pay by one method."""

    channel: str
    method: str
    amount_minor: int
    currency: str
    offers: tuple[Given, ...]
    token: str


class QuoteChanged(Refused):
    """The payer saw another price than the one that they would pay now, which is in `quote`."""

    def __init__(self, quote: Quote) -> None:
        super().__init__(
            Reason.QUOTE_CHANGED,
            "The price is no longer the one that was shown.",
            channel=quote.channel,
            method=quote.method,
            amount_minor=quote.amount_minor,
            currency=quote.currency,
        )
        self.quote = quote


@dataclass(frozen=True, slots=True)
class _Known:
    """An app's offers, what is taken of them, and since when by the steady clock we know."""

    offers: tuple[Offer, ...]
    taken: Mapping[str, Taken]
    seen_at: int


class Offers:
    """Reckons prices, and knows again what it said."""

    def __init__(self, memory: Memory, keyring: Keyring, host: Host, clock: Clock) -> None:
        self._memory = memory
        self._host = host
        self._clock = clock
        self._seals = Seals(keyring, _PURPOSE)
        self._known: dict[str, _Known] = {}

    async def deals(self, order: Order, *, to_show: bool = False) -> Deals:
        """The offers that this order meets now. `to_show`: with how its payer paid last, which no price depends on."""
        known = await self._of_app(order.app_id)
        made = await self._host.offers(_ask(order, self._clock.now()))
        offers = (*known.offers, *made)
        payer = Payer()
        if order.merchant_payer_no and (to_show or any(offer.is_first_time for offer in offers)):
            payer = await self._memory.read(lambda unit: _payer(unit, order))
        return Deals(offers, known.taken, payer)

    def given(self, order: Order, kind: ChannelKind, method: Method, deals: Deals) -> tuple[Given, ...]:
        """What a payment by this method is given. Where a store sets the price, we take nothing off it."""
        limit = method.limits.get(order.currency)
        if limit is None or method.price is Price.STORE:
            return ()
        now = self._clock.now()
        return price(order, deals, kind.name, method.name, least_minor=limit.least_minor, now=now)

    def quote(self, order: Order, channel: str, method: str, given: tuple[Given, ...]) -> Quote:
        """The price of a method, sealed."""
        text, amount_minor = _said(order, channel, method, given)
        return Quote(channel, method, amount_minor, order.currency, given, self._seals.of(text))

    def expect(self, token: str, order: Order, channel: str, method: str, given: tuple[Given, ...]) -> None:
        """Raise QuoteChanged unless this price is what the payer was shown; an empty token asks nothing."""
        text, _ = _said(order, channel, method, given)
        if token and not self._seals.hold(text, token):
            raise QuoteChanged(self.quote(order, channel, method, given))

    def forget(self, app_id: str) -> None:
        """Look an app's offers up anew: one of them turned out to be used up."""
        self._known.pop(app_id, None)

    async def _of_app(self, app_id: str) -> _Known:
        looks_at = self._clock.steady()
        known = self._known.get(app_id)
        if known is None or looks_at - known.seen_at >= FRESH:
            known = await self._memory.read(lambda unit: _look(unit, app_id, looks_at))
            self._known[app_id] = known
        return known


def _look(unit: Unit, app_id: str, seen_at: int) -> _Known:
    offers = tuple(stored.offer for stored in unit.list_offers(app_id, state=OfferState.ACTIVE))
    return _Known(offers, unit.offers_taken(app_id), seen_at)


def _payer(unit: Unit, order: Order) -> Payer:
    last_used = unit.last_paid(order.app_id, order.merchant_payer_no)
    others = unit.first_offer_orders(order.app_id, order.merchant_payer_no) - {order.order_id}
    return Payer(is_new=last_used is None and not others, last_used=last_used)


def _ask(order: Order, now: int) -> OfferAsk:
    return OfferAsk(
        app_id=order.app_id,
        order_id=order.order_id,
        amount_minor=order.amount_minor,
        currency=order.currency,
        now=now,
        items=order.details.items,
        metadata=order.details.metadata,
        merchant_payer_no=order.merchant_payer_no,
    )


def _said(order: Order, channel: str, method: str, given: tuple[Given, ...]) -> tuple[str, int]:
    """What a quote says, as one exact text, and the amount in it."""
    amount_minor = order.amount_minor - sum(one.amount_minor for one in given)
    taken_off = [[one.offer_id, one.amount_minor] for one in given]
    said = [order.order_id, channel, method, amount_minor, order.currency, taken_off]
    return json.dumps(said, separators=(",", ":")), amount_minor
