"""All orders of what servers do beside their callers: take due tasks, number the feed, write batches that cross (W1, S3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from paycore.core.facts import RefundAsked, Via
from paycore.core.findings import Waiting
from paycore.core.ids import Prefix
from paycore.core.order import Order
from paycore.core.terms import HOUR
from paycore.engine.clock_work import ClockWork
from paycore.engine.tell import Telling
from paycore.store import Due, Store
from tests.interleavings import scenes
from tests.interleavings.scenes import (
    APP,
    LEASE,
    NOW,
    Still,
    facts_wrong,
    fresh,
    heard,
    loaded,
    notice,
    paid_order,
    payment_asked,
    scene_of,
    telling,
    waiting_order,
    weave_scene,
    wrongs,
)
from tests.interleavings.weave import Loom, Played, Scene, Work

LATER = NOW + 2 * HOUR

# ---------------------------------------------------------------------------------------------- claim x claim


def taking(store: Store, limit: int = 10) -> Work:
    """The work of a clock that takes what is due."""

    def take() -> list[Due]:
        with store.write() as unit:
            return unit.claim_due(LATER, LATER + LEASE, limit)

    return take


def due_everywhere(loom: Loom) -> tuple[dict[str, Work], list[Order]]:
    """An order, a payment and a refund have something due, and two clocks look."""
    store = loom.stores[0]
    refund = RefundAsked(fresh(Prefix.REFUND), 40, "CNY")
    orders = [waiting_order(store), paid_order(store, refund)]
    return {"A": taking(loom.stores[0]), "B": taking(loom.stores[1])}, orders


def two_due(loom: Loom) -> tuple[dict[str, Work], list[Order]]:
    """Two clocks look for one task each, and there are two."""
    return {"A": taking(loom.stores[0], 1), "B": taking(loom.stores[1], 1)}, [waiting_order(loom.stores[0])]


def claims_wrong(loom: Loom, played: Played) -> list[str]:
    """What is wrong: a task that two workers hold, or one whose row says otherwise than its worker was told."""
    taken: list[Due] = [due for outcome in played.outcomes.values() for due in outcome]
    subjects = [due.subject_id for due in taken]
    wrong = [f"W1: two workers hold {one}" for one in set(subjects) if subjects.count(one) > 1]
    for order in played.about:
        now = loaded(loom.stores[0], order.order_id)
        rows: dict[str, Any] = {order.order_id: now}
        rows |= {payment.payment_id: payment for payment in now.payments}
        rows |= {refund.refund_id: refund for refund in now.refunds}
        for due in taken:
            row = rows.get(due.subject_id)
            if row is not None and (row.fence, row.task.tries, row.task.leased_until) != (due.fence, 1, LATER + LEASE):
                wrong.append(f"W1: {due} and its row is {row.fence}, {row.task}")
        free = {name for name, row in rows.items() if row.task and row.task.leased_until is None}
        wrong += [f"W2: nobody was given {name}" for name in rows.keys() - free - set(subjects) if rows[name].task]
        wrong += wrongs(loom.stores[0], order.order_id)
    return wrong + (["deadlock"] if played.deadlocks else [])


LISTS: set[tuple[str, ...]] = {("list", "list")}


def test_no_order_of_two_claims_gives_a_task_to_both(loom: Loom) -> None:
    count = weave_scene(loom, Scene(due_everywhere), LISTS, lambda played: claims_wrong(loom, played))
    assert count.run >= 20


def test_what_two_claims_pass_by_is_there_for_the_next_look(loom: Loom) -> None:
    """A clock that takes one task may have locked another for a moment: nobody takes that one now, and nobody loses it."""

    def wrong(played: Played) -> list[str]:
        problems = claims_wrong(loom, played)
        taken = [due.subject_id for outcome in played.outcomes.values() for due in outcome]
        later = [due.subject_id for due in taking(loom.stores[2])()]
        meant = {row_id for order in played.about for row_id in (order.order_id, order.payments[0].payment_id)}
        return problems + ([] if sorted(taken + later) == sorted(meant) else [f"W2: {taken}, then {later}"])

    assert weave_scene(loom, Scene(two_due), LISTS, wrong).run >= 10


async def _do(due: Due) -> None:
    raise AssertionError("nothing is done here")


def clock_takes(store: Store) -> Work:
    """The whole look of a server's clock: when is the next task due, and take what is."""
    clock = ClockWork(store, Still(), _do, run=_nowhere)
    return lambda: clock._claim(LATER, 1, [])[0]


async def _nowhere(work: Any) -> Any:
    raise AssertionError("nothing runs beside this thread")


def test_no_order_of_two_looks_of_the_clock_gives_a_task_to_both(loom: Loom) -> None:
    def begin(loom: Loom) -> tuple[dict[str, Work], list[Order]]:
        order = waiting_order(loom.stores[0])
        return {"A": clock_takes(loom.stores[0]), "B": clock_takes(loom.stores[1])}, [order]

    assert weave_scene(loom, Scene(begin), LISTS, lambda played: claims_wrong(loom, played)).run >= 20


# ---------------------------------------------------------------------------------------------- claim x notify


def test_no_order_of_a_claim_and_a_notice_loses_the_payment(loom: Loom) -> None:
    """Whoever is first: the money pays the order, and a worker that was late is told so by its fence."""

    def begin(loom: Loom) -> tuple[dict[str, Work], Any]:
        order = waiting_order(loom.stores[0])
        payment = order.payments[0]
        told = notice(order.order_id, payment.payment_id)
        take = _take_one(loom.stores[1], payment.payment_id)
        return {"A": telling(loom.stores[0], told), "B": take}, order

    def wrong(played: Played) -> list[str]:
        order: Order = played.about
        now = loaded(loom.stores[0], order.order_id)
        [payment] = now.payments
        taken: list[Due] = played.outcomes["B"]
        still_holds = any(due.fence == payment.fence for due in taken)
        return [
            *wrongs(loom.stores[0], order.order_id, [played.outcomes["A"]]),
            *([] if payment.is_effective and payment.task is None else [f"L1: {now}"]),
            *(["W1: a worker holds a task that is no more"] if still_holds else []),
            *(["deadlock"] if played.deadlocks else []),
        ]

    assert weave_scene(loom, Scene(begin), {("Told", "list")}, wrong).run >= 10


def _take_one(store: Store, payment_id: str) -> Work:
    def take() -> list[Due]:
        with store.write() as unit:
            return unit.claim_due(LATER, LATER + LEASE, 1, subject_id=payment_id)

    return take


def test_no_order_of_a_late_answer_and_a_new_claim_moves_the_new_ones_task(loom: Loom) -> None:
    """A worker past its lease tells what it heard while another takes the task: what it learnt counts, its fence does not."""

    def pair(store: Store) -> tuple[str, Sequence[Telling]]:
        order = waiting_order(store)
        payment = order.payments[0]
        with store.write() as unit:
            [late] = unit.claim_due(LATER - HOUR, LATER - HOUR + LEASE, 1, subject_id=payment.payment_id)
        answer = heard(
            order.order_id, payment.payment_id, Via.QUERY, Waiting("T-late"), fence=late.fence, at=LATER - HOUR
        )
        return order.order_id, [answer]

    def begin(loom: Loom) -> tuple[dict[str, Work], Any]:
        works, facts = scene_of(pair).begin(loom)
        payment_id = loaded(loom.stores[0], facts.order_id).payments[0].payment_id
        return {**works, "B": _take_one(loom.stores[1], payment_id)}, facts

    def wrong(played: Played) -> list[str]:
        [payment] = loaded(loom.stores[0], played.about.order_id).payments
        taken: list[Due] = played.outcomes["B"]
        learnt = [] if payment.channel_trade_no == "T-late" else ["lost: what the late worker heard"]
        held = all(due.fence == payment.fence and payment.task is not None for due in taken)
        return [*facts_wrong(loom, played), *learnt, *([] if held else [f"W1: {taken} and {payment.task}"])]

    assert weave_scene(loom, Scene(begin), {("Told", "list")}, wrong).run >= 10


# ---------------------------------------------------------------------------------------------- the feed


def numbering(store: Store) -> Work:
    def number() -> int:
        with store.write() as unit:
            return unit.number_feed(100)

    return number


def feed_wrong(loom: Loom, played: Played) -> list[str]:
    """What is wrong with the feed: a gap, a double, or an event that comes before the one that it follows."""
    with loom.stores[0].read() as unit:
        placed = unit.feed(APP, 0, 100_000)
        head = unit.feed_head(APP)
    wrong = [] if [seq for seq, _ in placed] == list(range(1, head + 1)) else [f"S3: a feed of {head}: {placed}"]
    last: dict[str, int] = {}
    for _, event in placed:
        if event.version != last.get(event.order_id, 0) + 1:
            wrong.append(f"S3: {event.order_id} {event.version} follows {last.get(event.order_id, 0)}")
        last[event.order_id] = event.version
    return wrong + (["deadlock"] if played.deadlocks else [])


def test_no_order_of_two_sequencers_and_a_commit_leaves_a_gap(loom: Loom) -> None:
    def begin(loom: Loom) -> tuple[dict[str, Work], Any]:
        order = scenes.new_order(loom.stores[0])
        pay = Telling(order.order_id, payment_asked())
        return {"A": numbering(loom.stores[0]), "B": numbering(loom.stores[1])}, (order, pay)

    def begin_with_commit(loom: Loom) -> tuple[dict[str, Work], Any]:
        works, (order, pay) = begin(loom)
        return {"A": works["A"], "B": telling(loom.stores[1], pay)}, order

    assert weave_scene(loom, Scene(begin), {("int", "int")}, lambda played: feed_wrong(loom, played)).run >= 6
    count = weave_scene(loom, Scene(begin_with_commit), {("int", "Told")}, lambda played: feed_wrong(loom, played))
    assert count.run >= 20


# ---------------------------------------------------------------------------------------------- batches


def test_no_order_of_two_batches_that_cross_ends_in_a_deadlock(loom: Loom) -> None:
    """Two servers write the same two orders in batches that name them the other way round, with new orders among them."""

    def begin(loom: Loom) -> tuple[dict[str, Work], Any]:
        store = loom.stores[0]
        orders = [waiting_order(store) for _ in range(2)]
        first, second = ([notice(order.order_id, order.payments[0].payment_id) for order in orders] for _ in range(2))
        return {"A": telling(loom.stores[0], *first), "B": telling(loom.stores[1], *reversed(second))}, orders

    def wrong(played: Played) -> list[str]:
        orders: list[Order] = played.about
        unpaid = [one.order_id for one in orders if loaded(loom.stores[0], one.order_id).state != "PAID"]
        return [
            *(word for order in orders for word in wrongs(loom.stores[0], order.order_id)),
            *(f"lost: the payment of {one}" for one in unpaid),
            *(["deadlock"] if played.deadlocks else []),
        ]

    assert weave_scene(loom, Scene(begin), {("Told", "Told")}, wrong).run >= 10


def test_no_order_of_two_batches_that_create_the_same_orders_ends_in_a_deadlock(loom: Loom) -> None:
    def begin(loom: Loom) -> tuple[dict[str, Work], Any]:
        numbers = [fresh(Prefix.ORDER) for _ in range(2)]
        calls = [[_create(number) for number in names] for names in (numbers, reversed(numbers))]
        return {
            name: telling(loom.stores[i], *batch) for i, (name, batch) in enumerate(zip("AB", calls, strict=True))
        }, (numbers)

    def wrong(played: Played) -> list[str]:
        with loom.stores[0].read() as unit:
            found = unit.orders_by_number([(APP, number) for number in played.about])
        return ([] if len(found) == 2 else [f"lost: {found}"]) + (["deadlock"] if played.deadlocks else [])

    assert weave_scene(loom, Scene(begin), {("Told", "Told")}, wrong).run >= 10


def _create(number: str) -> Telling:
    fact = scenes.order_asked(number=number)
    return Telling(fact.order_id, fact, app_id=APP)
