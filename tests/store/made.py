"""Orders, payments and refunds as a teller would make them, told by `decide`; each call gives new ids."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

from paycore.core.decide import decide
from paycore.core.events import Event, announce
from paycore.core.facts import Fact, OrderAsked, PaymentAsked, PaymentHeard, RefundAsked, Via
from paycore.core.findings import Paid, Ready
from paycore.core.ids import Prefix, make_id
from paycore.core.order import Details, Order, SurplusPolicy
from paycore.core.refusals import Refused
from paycore.core.terms import HOUR, SECOND, Terms
from paycore.store import Change, Store

NOW = 1_790_000_000 * SECOND
LEASE = 30 * SECOND
APP = make_id(Prefix.APP, NOW, 1)
OTHER_APP = make_id(Prefix.APP, NOW, 2)
ACCOUNT = make_id(Prefix.ACCOUNT, NOW, 1)

_numbers = itertools.count(1)


def new_id(prefix: Prefix, at: int = NOW) -> str:
    return make_id(prefix, at, next(_numbers) * 7_919)


def order_asked(app_id: str = APP, *, at: int = NOW, number: str | None = None, payer_no: str = "") -> OrderAsked:
    order_id = new_id(Prefix.ORDER, at)
    return OrderAsked(
        order_id=order_id,
        app_id=app_id,
        merchant_order_no=f"m-{order_id}" if number is None else number,
        amount_minor=100,
        currency="CNY",
        details=Details("tea", metadata={"table": "7"}),
        expires_at=at + HOUR,
        surplus_policy=SurplusPolicy.AUTO_REFUND,
        merchant_payer_no=payer_no,
    )


def payment_asked(*, leased_until: int | None = None, **more: Any) -> PaymentAsked:
    chosen: dict[str, Any] = {
        "payment_id": new_id(Prefix.PAYMENT),
        "channel": "sandbox",
        "method": "qr",
        "account_id": ACCOUNT,
        "environment": "sandbox",
        "merchant": "M",
        "terms": Terms(),
        "expires_at": NOW + HOUR,
        "leased_until": leased_until,
    }
    return PaymentAsked(**(chosen | more))


class Told:
    """An order that is told facts one after the other, and the changes that a store has to save for them."""

    def __init__(self, app_id: str = APP, *, at: int = NOW, number: str | None = None, payer_no: str = "") -> None:
        self.at = at
        self.order: Order | None = None
        self.saved: Order | None = None
        self.events: tuple[Event, ...] = ()
        self.claims: tuple[Any, ...] = ()
        self.tell(order_asked(app_id, at=at, number=number, payer_no=payer_no))

    def tell(self, fact: Fact) -> Told:
        try:
            decision = decide(self.order, fact, self.at)
        except Refused as refused:
            raise AssertionError(refused.text) from refused
        self.order = decision.order
        self.events += decision.events
        self.claims += decision.claims
        self.at += SECOND
        return self

    @property
    def now(self) -> Order:
        assert self.order is not None
        return self.order

    def change(self) -> Change:
        """What is to be saved since the last time."""
        change = Change(self.saved, self.now, self.events, self.claims)
        self.saved, self.events, self.claims = self.now, (), ()
        return change

    def save(self, store: Store) -> Told:
        with store.write() as unit:
            unit.save([self.change()])
        return self

    def asks(self, **more: Any) -> Told:
        return self.tell(payment_asked(**more))

    def waits(self, **more: Any) -> Told:
        """A payment whose payer has something to do."""
        self.asks(leased_until=self.at + LEASE, **more)
        payment = self.now.payments[-1]
        return self.tell(PaymentHeard(payment.payment_id, Via.PREPARE, Ready("{}"), self.at, payment.fence))

    def pays(self, **more: Any) -> Told:
        """A payment that pays."""
        self.waits()
        return self.tell(PaymentHeard(self.now.payments[-1].payment_id, Via.NOTICE, Paid(100, "CNY", "M", **more)))

    def refunds(self, amount_minor: int = 40, *, number: str = "", leased_until: int | None = None) -> Told:
        return self.tell(
            RefundAsked(
                new_id(Prefix.REFUND), amount_minor, "CNY", merchant_refund_no=number, leased_until=leased_until
            )
        )


def stored(store: Store, count: int = 1, **more: Any) -> list[Told]:
    """So many new orders, saved in one batch."""
    orders = [Told(**more) for _ in range(count)]
    with store.write() as unit:
        unit.save([told.change() for told in orders])
    return orders


def loaded(store: Store, order_id: str) -> Order:
    with store.read() as unit:
        return unit.load([order_id])[order_id]


def renumbered(before: Order | None, after: Order) -> Change:
    """A change made by hand, with the events that it implies."""
    events = announce(before, after, "ByHand", after.updated_at)
    return Change(before, replace(after, version=(before.version if before else 0) + len(events)), events)
