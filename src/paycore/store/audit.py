"""Proves the books of a live database: everything that must always hold, asked of the rows and events themselves.

Two passes. Sums, counts and references are asked by SQL, a statement a rule, over the whole database at one moment. Then
the orders are read whole, batch after batch, and their events are folded: the last figures of every row must be those
that the row shows now, and no state may have been left that is never left. Nothing is changed; every violation is told
as it is found.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from paycore.core.events import Event, anomaly_figures, order_figures, payment_figures, refund_figures
from paycore.core.order import Order
from paycore.core.terms import Price
from paycore.store.rows import by_order, event_of
from paycore.store.rules import RULES, Violation
from paycore.store.sql import Statement, same, select_among
from paycore.store.store import Store
from paycore.store.tables import EventTable, table
from paycore.store.unit import Unit

BATCH = 500
"""How many orders are read and folded at once."""
MOST = 1_000
"""How many findings of one rule are told; a database that was tampered with as a whole must not fill the memory."""

Progress = Callable[[int, int], None]
"""Told how many of how many steps are done: each rule is a step, and so is each order."""


def audit(
    store: Store, *, batch: int = BATCH, most: int = MOST, progress: Progress = lambda _done, _of: None
) -> Iterator[Violation]:
    """Everything that is wrong with the books, as it is found. Nothing: they are right.

    Of a rule that is broken more often than `most` times the rest is left out, and the last finding says so.
    """
    told: Counter[str] = Counter()
    for violation in _all(store, batch, most, progress):
        told[violation.rule] += 1
        if told[violation.rule] <= most:
            yield violation
        elif told[violation.rule] == most + 1:
            yield Violation(violation.rule, violation.subject_id, f"and more: this rule is broken over {most} times")


def _all(store: Store, batch: int, most: int, progress: Progress) -> Iterator[Violation]:
    steps = len(RULES) + _count_orders(store)
    done = 0
    with store.read() as unit:
        _take_your_time(unit)
        for rule in RULES:
            yield from rule.broken(unit, most + 1)
            done += 1
            progress(done, steps)
    last: str | None = ""
    while last is not None:
        with store.read() as unit:
            _take_your_time(unit)
            ids = [row[0] for row in unit.rows(_NEXT_ORDERS, last, batch)]
            found = list(_folded(unit, ids))
        yield from found
        last = ids[-1] if ids else None
        done += len(ids)
        progress(min(done, steps), steps)


def _count_orders(store: Store) -> int:
    with store.read() as unit:
        _take_your_time(unit)
        [(count,)] = unit.rows(same("SELECT count(*) FROM orders"))
    return int(count)


def _take_your_time(unit: Unit) -> None:
    """A rule over a large database takes longer than a server's statement may, and reads whole tables."""
    if unit.dialect == "postgresql":
        for setting, value in _WITHOUT_HURRY.items():
            unit.rows(Statement("", "SELECT set_config(%s, %s, true)"), setting, value)


_WITHOUT_HURRY = {
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "enable_seqscan": "on",
    "enable_hashjoin": "on",
    "enable_mergejoin": "on",
}


# ---------------------------------------------------------------------------------------------- by folding

_NEXT_ORDERS = same("SELECT order_id FROM orders WHERE order_id > ? ORDER BY order_id LIMIT ?")
_EVENTS_OF = select_among(table(EventTable), "order_id", tail="ORDER BY order_id, version")

_LEAVES: Mapping[tuple[str, str], frozenset[str]] = {
    ("order", "CLOSING"): frozenset({"CLOSED", "PAID"}),
    ("order", "CLOSED"): frozenset({"PAID"}),
    ("order", "PAID"): frozenset(),
    ("payment", "PENDING"): frozenset({"UNKNOWN", "SUCCEEDED", "FAILED", "CLOSED"}),
    ("payment", "UNKNOWN"): frozenset({"PENDING", "SUCCEEDED", "FAILED", "CLOSED"}),
    ("payment", "FAILED"): frozenset({"SUCCEEDED"}),
    ("payment", "CLOSED"): frozenset({"SUCCEEDED"}),
    ("payment", "SUCCEEDED"): frozenset(),
    ("refund", "FAILED"): frozenset({"SUCCEEDED", "REVERSED"}),
    ("refund", "SUCCEEDED"): frozenset({"REVERSED"}),
    ("refund", "REVERSED"): frozenset(),
}
"""What may follow a state. States that are not here may be followed by any."""


def _folded(unit: Unit, order_ids: list[str]) -> Iterator[Violation]:
    """What is wrong between the rows of some orders and their events."""
    told = by_order(unit.keyed(_EVENTS_OF, order_ids), 0)
    orders = _read(unit, order_ids)
    for order_id in order_ids:
        order = orders.get(order_id)
        try:
            events = [event_of(row) for row in told.get(order_id, ())]
        except ValueError:
            events, order = [], None
        if order is None:
            yield Violation("unreadable", order_id, "a row or an event of it holds what this version cannot read")
            continue
        yield from _figures(order, events)
        yield from _transitions(events)
        yield from _amounts(order)


def _read(unit: Unit, order_ids: list[str]) -> Mapping[str, Order]:
    """The orders that can be read; one that cannot must not hide the others."""
    try:
        return unit.load(order_ids)
    except (ValueError, KeyError, TypeError):
        if len(order_ids) == 1:
            return {}
    return {order_id: order for one in order_ids for order_id, order in _read(unit, [one]).items()}


def _shown(order: Order) -> dict[str, Mapping[str, Any]]:
    """What every row of an order shows now."""
    return {
        order.order_id: order_figures(order),
        **{payment.payment_id: payment_figures(payment) for payment in order.payments},
        **{refund.refund_id: refund_figures(refund) for refund in order.refunds},
        **{anomaly.anomaly_id: anomaly_figures(anomaly) for anomaly in order.anomalies},
    }


def _figures(order: Order, told: list[Event]) -> Iterator[Violation]:
    announced = {event.subject_id: event.figures for event in told}
    shown = _shown(order)
    for subject_id, figures in shown.items():
        if subject_id not in announced:
            yield Violation("fold", subject_id, "no event tells of it")
            continue
        last = announced[subject_id]
        differing = [name for name in figures if name in last and last[name] != figures[name]]
        if differing:
            yield Violation("fold", subject_id, f"its events say otherwise about {', '.join(differing)}")
    for subject_id in announced.keys() - shown.keys():
        yield Violation("fold", subject_id, "events tell of a row that is not there")


def _transitions(told: list[Event]) -> Iterator[Violation]:
    """States that were left and never may be, rows that appear in the middle of their lives, changes that change nothing."""
    last: dict[str, Event] = {}
    for event in told:
        before = last.get(event.subject_id)
        last[event.subject_id] = event
        if before is None:
            if event.subject != "anomaly" and not event.kind.endswith(".created"):
                yield Violation("transition", event.subject_id, f"event {event.version} is its first, and {event.kind}")
            continue
        was, now = before.figures.get("state", ""), event.figures.get("state", "")
        allowed = _LEAVES.get((event.subject, was))
        is_late_birth = event.subject == "payment" and now == "CREATED" != was
        if (allowed is not None and now != was and now not in allowed) or is_late_birth:
            yield Violation("transition", event.subject_id, f"event {event.version} leads from {was} to {now}")
        if before.figures == event.figures:
            yield Violation(
                "repeated", event.subject_id, f"event {event.version} says what event {before.version} said"
            )


def _amounts(order: Order) -> Iterator[Violation]:
    """What paid an order is what its channel was asked for, unless the store sets the price or a person accepted it."""
    payment = order.effective
    if payment is None or payment.terms.price is not Price.EXACT:
        return
    asked, took = (payment.amount_minor, payment.currency), (payment.captured_minor, payment.captured_currency)
    if asked != took and not any(a.payment_id == payment.payment_id and a.remedy for a in order.anomalies):
        yield Violation(
            "amount", payment.payment_id, f"it paid the order with {took[0]} {took[1]} instead of {asked[0]}"
        )
