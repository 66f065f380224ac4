"""Three transactions at once: orders drawn at random, because all of them are too many. The same ones in every run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from paycore.core.facts import CloseAsked, PaymentHeard, SyncAsked, Via
from paycore.core.findings import Closed, Refunded, Waiting
from paycore.core.ids import Prefix
from paycore.engine.tell import Telling
from paycore.store import Store
from tests.interleavings import test_creates as creates
from tests.interleavings.scenes import (
    APP,
    NOW,
    audited,
    closing_order,
    facts_wrong,
    fresh,
    heard,
    notice,
    order_with_two_payments,
    paid,
    paid_order,
    payment_asked,
    refund,
    refund_heard,
    refunding_order,
    scene_of,
    tell,
    waiting_order,
)
from tests.interleavings.weave import Loom, some_orders

Set = tuple[str, Sequence[Telling]]

EACH = 30
"""How many orders of each triple are drawn."""


def three_refunds(store: Store) -> Set:
    order = paid_order(store)
    return order.order_id, [refund(order.order_id, amount) for amount in (70, 40, 30)]


def refunds_and_a_result(store: Store) -> Set:
    order = refunding_order(store, 40)
    [first] = order.refunds
    result = refund_heard(order.order_id, first.refund_id, Refunded(40), fence=first.fence)
    return order.order_id, [refund(order.order_id, 40), result, refund(order.order_id, 30)]


def two_notices_and_a_close(store: Store) -> Set:
    order = order_with_two_payments(store)
    notices = [notice(order.order_id, payment.payment_id) for payment in order.payments]
    return order.order_id, [*notices, Telling(order.order_id, CloseAsked(), app_id=APP)]


def notice_query_and_closed(store: Store) -> Set:
    order = closing_order(store)
    payment = order.payments[0]
    answers = [
        heard(order.order_id, payment.payment_id, Via.QUERY, Waiting()),
        heard(order.order_id, payment.payment_id, Via.CLOSE, Closed(), fence=payment.fence),
    ]
    return order.order_id, [notice(order.order_id, payment.payment_id), *answers]


def pay_close_and_sync(store: Store) -> Set:
    order = waiting_order(store)
    facts = (payment_asked(method="app"), CloseAsked(), SyncAsked())
    return order.order_id, [Telling(order.order_id, fact, app_id=APP) for fact in facts]


def surplus_and_two_refunds(store: Store) -> Set:
    order = order_with_two_payments(store)
    first, second = order.payments
    tell(store, Telling(order.order_id, PaymentHeard(first.payment_id, Via.NOTICE, paid(), NOW)))
    back = refund(order.order_id, 100, payment_id=second.payment_id)
    return order.order_id, [notice(order.order_id, second.payment_id), back, refund(order.order_id, 60)]


TRIPLES: list[Callable[[Store], Set]] = [
    three_refunds,
    refunds_and_a_result,
    two_notices_and_a_close,
    notice_query_and_closed,
    pay_close_and_sync,
    surplus_and_two_refunds,
]


@pytest.mark.parametrize("triple", TRIPLES, ids=lambda triple: triple.__name__)
def test_no_drawn_order_of_three_facts_breaks_anything(loom: Loom, triple: Any) -> None:
    seen = set()
    for played in some_orders(loom, scene_of(triple), count=EACH, seed=7):
        assert facts_wrong(loom, played) == [], str(played)
        seen.add(played.choices)
    assert len(seen) > EACH // 3, "the orders were drawn apart"
    assert audited(loom.stores[0]) == []


def test_no_drawn_order_of_three_creates_makes_two_orders(loom: Loom) -> None:
    def three() -> Sequence[Telling]:
        request, number = fresh(Prefix.ORDER), fresh(Prefix.ORDER)
        return [creates.create(request=request, number=number) for _ in range(3)]

    for played in some_orders(loom, creates.scene_of(three), count=EACH, seed=8):
        assert creates.create_wrong(loom, played) == [], str(played)
    assert audited(loom.stores[0]) == []
