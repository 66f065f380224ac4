"""All orders of two payments that meet at an offer: no budget is overrun, nobody is new twice, nobody waits in a circle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from paycore.core.facts import PaymentHeard, Via
from paycore.core.findings import Closed
from paycore.core.ids import Prefix
from paycore.core.order import Given, Order
from paycore.engine.tell import Telling, Told
from paycore.store import Store
from tests.interleavings.scenes import APP, fresh, loaded, order_asked, payment_asked, tell, weave_scene, wrongs
from tests.interleavings.weave import Loom, Played, Scene, Work

_OWN = ("orders", "payments", "refunds")
ALONE = frozenset(
    {
        *(f"{word} {name}" for name in _OWN for word in ("INSERT INTO", "UPDATE")),
        *(f"SELECT {name} FOR UPDATE" for name in _OWN),
        "SELECT anomalies",
        "INSERT INTO events",
    }
)
"""The two orders are two: what their payments meet at are the offer's count and its uses."""
COUNTS = frozenset({"INSERT INTO offer_counts", "SELECT offer_counts FOR UPDATE", "UPDATE offer_counts"})
Prefixed = Callable[[Store], Sequence[Telling]]


def order_of(store: Store, payer_no: str = "") -> Order:
    fact = replace(order_asked(), merchant_payer_no=payer_no)
    tell(store, Telling(fact.order_id, fact))
    return loaded(store, fact.order_id)


def takes(order: Order, *given: Given) -> Telling:
    return Telling(order.order_id, replace(payment_asked(), offers=given), app_id=APP)


def offer() -> str:
    """An offer that nobody used before."""
    return fresh(Prefix.OFFER)


def the_last(store: Store) -> Sequence[Telling]:
    given = Given(offer(), 10, quota=1)
    return [takes(order_of(store), given) for _ in range(2)]


def the_last_money(store: Store) -> Sequence[Telling]:
    given = Given(offer(), 10, budget_minor=19)
    return [takes(order_of(store), given) for _ in range(2)]


def first_time(store: Store) -> Sequence[Telling]:
    """Two offers, of which one payer may have one: what they meet at are the uses alone."""
    payer_no = fresh(Prefix.ORDER)
    return [takes(order_of(store, payer_no), Given(offer(), 10, is_first_time=True)) for _ in range(2)]


def crosswise(store: Store) -> Sequence[Telling]:
    one, other = Given(offer(), 10, quota=2), Given(offer(), 5, quota=2)
    return [takes(order_of(store), one, other), takes(order_of(store), other, one)]


def let_go(store: Store) -> Sequence[Telling]:
    """One lets the last of it go while another wants it."""
    given, holder = Given(offer(), 10, quota=1), order_of(store)
    payment_id = tell(store, takes(holder, given)).subject_id
    closed = PaymentHeard(payment_id, Via.CLOSE, Closed(), 1)
    return [Telling(holder.order_id, closed), takes(order_of(store), given)]


BOTH: tuple[str, ...] = ("Told", "Told")
ONE: set[tuple[str, ...]] = {("Told", "QUOTE_CHANGED"), ("QUOTE_CHANGED", "Told")}

PAIRS: list[tuple[str, Prefixed, set[tuple[str, ...]], set[tuple[int, int]]]] = [
    # what meets, how both may end, and what may be counted of each offer afterwards
    ("the last of it", the_last, ONE, {(10, 1)}),
    ("the last money", the_last_money, ONE, {(10, 1)}),
    ("a first time", first_time, ONE, {(10, 1), (0, 0)}),
    ("two offers crosswise", crosswise, {BOTH}, {(20, 2), (10, 2)}),
    ("one lets go, one takes", let_go, {BOTH, ("Told", "QUOTE_CHANGED")}, {(10, 1), (0, 0)}),
]


@pytest.mark.parametrize(("pair", "ends", "counts"), [row[1:] for row in PAIRS], ids=[row[0] for row in PAIRS])
def test_no_order_of_two_payments_overruns_an_offer(loom: Loom, pair: Any, ends: Any, counts: Any) -> None:
    def begin(loom: Loom) -> tuple[dict[str, Work], Sequence[Telling]]:
        tellings = pair(loom.stores[0])
        works = {name: _work(store, one) for name, store, one in zip("AB", loom.stores, tellings, strict=False)}
        return works, tellings

    alone = ALONE | COUNTS if pair is first_time else ALONE
    count = weave_scene(loom, Scene(begin, alone), ends, lambda played: wrong(loom, played, counts))
    assert count.run >= 6


def _work(store: Store, one: Telling) -> Work:
    return lambda: tell(store, one)


def wrong(loom: Loom, played: Played, counts: set[tuple[int, int]]) -> list[str]:
    """What is wrong: a count that is not what payments hold, or is over the limit; a payment that was told and is not there."""
    store, tellings = loom.stores[0], played.about
    held: dict[str, list[int]] = {}
    problems = []
    for one in tellings:
        order = loaded(store, one.order_id)
        for payment in order.payments:
            for given in payment.offers if payment.is_open else ():
                held.setdefault(given.offer_id, []).append(given.amount_minor)
        problems += wrongs(store, one.order_id)
    with store.read() as unit:
        taken = unit.offers_taken(APP)
    for offer_id, amounts in held.items():
        if (taken[offer_id].amount_minor, taken[offer_id].count) != (sum(amounts), len(amounts)):
            problems.append(f"{offer_id}: {taken[offer_id]} are counted, and payments hold {amounts}")
    mine = {given.offer_id for one in tellings for given in getattr(one.fact, "offers", ())}
    problems += [
        f"{i}: {taken[i]}" for i in mine & taken.keys() if (taken[i].amount_minor, taken[i].count) not in counts
    ]
    told = [one for one in played.outcomes.values() if isinstance(one, Told)]
    problems += [
        f"lost: {one.subject_id}" for one in told if loaded(store, one.order.order_id).payment(one.subject_id) is None
    ]
    return [*problems, *(["deadlock"] if played.deadlocks else [])]
