"""All orders of two calls that create the same thing: one thing is there, and both callers are told of it (I1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from paycore.core.ids import Prefix
from paycore.engine.tell import Telling, Told
from paycore.store import RequestKey, Store
from tests.interleavings.scenes import APP, evidence_lost, fresh, order_asked, tell, weave_scene, wrongs
from tests.interleavings.weave import Loom, Played, Scene, Work

Created = dict[str, Telling]


def create(*, number: str = "", request: str = "", amount_minor: int = 100) -> Telling:
    """One call of CreateOrder, under an id that nobody else has."""
    fact = replace(order_asked(number=number), amount_minor=amount_minor)
    if not request:
        return Telling(fact.order_id, fact, app_id=APP)
    content = f'{{"amount_minor":{amount_minor},"merchant_order_no":"{number}"}}'.encode()
    return Telling(fact.order_id, fact, app_id=APP, request=RequestKey(APP, "CreateOrder", request), canonical=content)


ALONE = frozenset({"INSERT INTO orders", "INSERT INTO events"})
"""Of two calls that share a request_id only, each inserts an order of its own: what they meet at is the request."""


def scene_of(pair: Callable[[], Sequence[Telling]]) -> Scene:
    def begin(loom: Loom) -> tuple[dict[str, Work], Created]:
        calls = dict(zip("ABC", pair(), strict=False))
        works = {name: _work(loom.stores[i], call) for i, (name, call) in enumerate(calls.items())}
        return works, calls

    return Scene(begin, ALONE if pair is same_request else frozenset())


def _work(store: Store, call: Telling) -> Work:
    return lambda: tell(store, call)


def create_wrong(loom: Loom, played: Played) -> list[str]:
    """What is wrong: two orders, an order that nobody was told of, or one that was told and is not there."""
    calls: Created = played.about
    ids = {call.order_id for call in calls.values()}
    with loom.stores[0].read() as unit:
        stored = set(unit.load(ids))
    told = {outcome.subject_id for outcome in played.outcomes.values() if isinstance(outcome, Told)}
    outcomes = list(played.outcomes.values())
    return [
        *([] if stored == told and len(stored) == 1 else [f"I1: {told} were told and {stored} are there"]),
        *(word for order_id in stored for word in wrongs(loom.stores[0], order_id, outcomes)),
        *evidence_lost(loom.stores[0], list(calls.values()), outcomes),
        *(["deadlock"] if played.deadlocks else []),
    ]


def same_request() -> Sequence[Telling]:
    request = fresh(Prefix.ORDER)
    return [create(request=request) for _ in range(2)]


def same_request_and_number() -> Sequence[Telling]:
    request, number = fresh(Prefix.ORDER), fresh(Prefix.ORDER)
    return [create(request=request, number=number) for _ in range(2)]


def same_number() -> Sequence[Telling]:
    number = fresh(Prefix.ORDER)
    return [create(request=fresh(Prefix.ORDER), number=number) for _ in range(2)]


def same_request_other_content() -> Sequence[Telling]:
    request, number = fresh(Prefix.ORDER), fresh(Prefix.ORDER)
    return [create(request=request, number=number, amount_minor=amount) for amount in (100, 200)]


def same_number_other_content() -> Sequence[Telling]:
    number = fresh(Prefix.ORDER)
    return [create(number=number, amount_minor=amount) for amount in (100, 200)]


BOTH = ("Told", "Told")


def one_of(reason: str) -> set[tuple[str, ...]]:
    return {("Told", reason), (reason, "Told")}


CREATES: list[tuple[str, Callable[[], Sequence[Telling]], set[tuple[str, ...]]]] = [
    ("same request", same_request, {BOTH}),
    ("same request and number", same_request_and_number, {BOTH}),
    ("same number", same_number, {BOTH}),
    ("same request, other content", same_request_other_content, one_of("IDEMPOTENCY_CONFLICT")),
    ("same number, other content", same_number_other_content, one_of("ORDER_NO_CONFLICT")),
]


@pytest.mark.parametrize(("pair", "ends"), [row[1:] for row in CREATES], ids=[row[0] for row in CREATES])
def test_no_order_of_two_creates_makes_two_orders(loom: Loom, pair: Any, ends: Any) -> None:
    count = weave_scene(loom, scene_of(pair), ends, lambda played: create_wrong(loom, played))
    assert count.run >= 10
