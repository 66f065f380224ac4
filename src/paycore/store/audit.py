"""Proves the books of a live database: everything that must always hold, asked of the rows and events themselves.

Two passes. Sums, counts and references are asked by SQL, a statement a rule, over the whole database at one moment. Then
the orders are read whole, batch after batch, and their events are folded: the last figures of every row must be those
that the row shows now, and no state may have been left that is never left. Nothing is changed; every violation is told
as it is found.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from paycore.core.events import Event, anomaly_figures, order_figures, payment_figures, refund_figures
from paycore.core.order import OPEN_PAYMENTS, RESERVING_REFUNDS, Order
from paycore.core.terms import Price
from paycore.store.rows import by_order, event_of
from paycore.store.sql import Statement, same, select_among
from paycore.store.store import Store
from paycore.store.tables import EventTable, table
from paycore.store.unit import Unit
from paycore.store.work import Work

BATCH = 500


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that must never be: which rule, about which row, and what is wrong in one sentence."""

    rule: str
    subject_id: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.subject_id}: {self.sentence}"


Progress = Callable[[int, int], None]
"""Told how many of how many steps are done: each rule is a step, and so is each order."""


def audit(store: Store, *, batch: int = BATCH, progress: Progress = lambda _done, _of: None) -> Iterator[Violation]:
    """Everything that is wrong with the books, as it is found. Nothing: they are right."""
    steps = len(RULES) + _count_orders(store)
    done = 0
    with store.read() as unit:
        _take_your_time(unit)
        for rule in RULES:
            yield from rule.broken(unit)
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


# ---------------------------------------------------------------------------------------------- by SQL


@dataclass(frozen=True, slots=True)
class Rule:
    """A statement that finds what breaks a rule. Its first column is the subject; the others fill the sentence."""

    name: str
    sentence: str
    query: str

    def broken(self, unit: Work) -> Iterator[Violation]:
        for subject_id, *values in unit.stream(same(self.query)):
            yield Violation(self.name, str(subject_id), self.sentence.format(*values))


def _words(values: frozenset[Any]) -> str:
    return ", ".join(sorted(f"'{value.value}'" for value in values))


_OPEN = _words(OPEN_PAYMENTS)
_RESERVING = _words(RESERVING_REFUNDS)
_HOLDS = "'LATE_PAYMENT', 'SECOND_PAYMENT', 'AMOUNT_MISMATCH'"

RULES = (
    # what was captured and what went back
    Rule(
        "sums",
        "it counts {0} as being refunded and {1} as refunded, but its refunds sum to {2} and {3}",
        f"""
        SELECT p.payment_id, p.refunding_minor, p.refunded_minor, coalesce(r.refunding, 0), coalesce(r.refunded, 0)
        FROM payments AS p LEFT JOIN (
            SELECT payment_id,
                CAST(sum(CASE WHEN state IN ({_RESERVING}) THEN amount_minor ELSE 0 END) AS BIGINT) AS refunding,
                CAST(sum(CASE WHEN state = 'SUCCEEDED' THEN amount_minor ELSE 0 END) AS BIGINT) AS refunded
            FROM refunds GROUP BY payment_id
        ) AS r ON r.payment_id = p.payment_id
        WHERE p.refunding_minor <> coalesce(r.refunding, 0) OR p.refunded_minor <> coalesce(r.refunded, 0)
        """,
    ),
    Rule(
        "over_refund",
        "{0} were captured, {1} went back or are on their way, and no anomaly says so",
        """
        SELECT p.payment_id, p.captured_minor, p.refunding_minor + p.refunded_minor FROM payments AS p
        WHERE p.state = 'SUCCEEDED' AND p.refunding_minor + p.refunded_minor > p.captured_minor AND NOT EXISTS (
            SELECT 1 FROM anomalies AS a WHERE a.order_id = p.order_id AND a.payment_id = p.payment_id
                AND a.kind = 'OVER_REFUND' AND (a.state = 'OPEN' OR a.remedy IS NOT NULL)
        )
        """,
    ),
    Rule(
        "refund_of_nothing",
        "{0} are reserved for a payment that is {1}",
        f"""
        SELECT r.refund_id, r.amount_minor, p.state FROM refunds AS r JOIN payments AS p ON p.payment_id = r.payment_id
        WHERE p.state <> 'SUCCEEDED' AND r.state IN ({_RESERVING})
        """,
    ),
    Rule(
        "captured_unpaid",
        "{0} are captured although it is {1}",
        "SELECT payment_id, captured_minor, state FROM payments WHERE state <> 'SUCCEEDED' AND captured_minor <> 0",
    ),
    Rule(
        "surplus",
        "{0} of it are neither wanted nor given back, and no open anomaly of that amount covers them",
        f"""
        SELECT p.payment_id, p.captured_minor - p.refunding_minor - p.refunded_minor FROM payments AS p
        WHERE p.state = 'SUCCEEDED' AND NOT p.is_effective AND NOT p.is_kept
            AND p.captured_minor - p.refunding_minor - p.refunded_minor > 0 AND NOT EXISTS (
                SELECT 1 FROM anomalies AS a WHERE a.order_id = p.order_id AND a.payment_id = p.payment_id
                    AND a.kind IN ({_HOLDS}) AND a.state = 'OPEN'
                    AND a.amount_minor = p.captured_minor - p.refunding_minor - p.refunded_minor
            )
        """,
    ),
    # what paid an order
    Rule(
        "effective",
        "it is {0} and has {1} payments that paid it",
        """
        SELECT o.order_id, o.state, coalesce(p.effective, 0) FROM orders AS o LEFT JOIN (
            SELECT order_id, count(*) AS effective FROM payments WHERE is_effective GROUP BY order_id
        ) AS p ON p.order_id = o.order_id
        WHERE coalesce(p.effective, 0) <> (CASE WHEN o.state = 'PAID' THEN 1 ELSE 0 END)
        """,
    ),
    # events
    Rule(
        "gapless",
        "it stands at version {0} and has {1} events, the first {2} and the last {3}",
        """
        SELECT o.order_id, o.version, coalesce(e.events, 0), e.first, e.last FROM orders AS o LEFT JOIN (
            SELECT order_id, count(*) AS events, min(version) AS first, max(version) AS last
            FROM events GROUP BY order_id
        ) AS e ON e.order_id = o.order_id
        WHERE e.order_id IS NULL OR e.first <> 1 OR e.last <> o.version OR e.events <> o.version
        """,
    ),
    Rule(
        "feed",
        "its feed is numbered up to {0}, but holds {1} events, the last {2}",
        """
        SELECT coalesce(f.app_id, e.app_id), coalesce(f.last_seq, 0), coalesce(e.events, 0), coalesce(e.last, 0)
        FROM feeds AS f LEFT JOIN (
            SELECT app_id, count(*) AS events, max(feed_seq) AS last FROM events WHERE feed_seq IS NOT NULL
            GROUP BY app_id
        ) AS e ON e.app_id = f.app_id
        WHERE f.last_seq <> coalesce(e.events, 0) OR f.last_seq <> coalesce(e.last, 0)
        """,
    ),
    Rule(
        "feed_order",
        "its event {0} comes in the feed before the one that it follows",
        """
        SELECT order_id, version FROM (
            SELECT order_id, version, feed_seq,
                lag(feed_seq) OVER (PARTITION BY order_id ORDER BY version) AS before
            FROM events WHERE feed_seq IS NOT NULL
        ) AS placed WHERE before > feed_seq
        """,
    ),
    # nothing is forgotten
    Rule(
        "order_without_task",
        "it is {0} and nothing will ever happen to it",
        f"""
        SELECT o.order_id, o.state FROM orders AS o
        WHERE (o.state = 'PENDING' AND o.task_verb IS NULL) OR (o.state = 'CLOSING' AND NOT EXISTS (
            SELECT 1 FROM payments AS p WHERE p.order_id = o.order_id AND p.state IN ({_OPEN})
        ))
        """,
    ),
    Rule(
        "payment_without_task",
        "it is {0} and nobody will ask about it",
        f"""
        SELECT p.payment_id, p.state FROM payments AS p
        WHERE p.state IN ({_OPEN}) AND p.task_verb IS NULL AND NOT EXISTS (
            SELECT 1 FROM anomalies AS a
            WHERE a.order_id = p.order_id AND a.payment_id = p.payment_id AND a.state = 'OPEN'
        )
        """,
    ),
    Rule(
        "refund_without_task",
        "it is {0} and nobody will ask about it",
        f"""
        SELECT r.refund_id, r.state FROM refunds AS r
        WHERE r.state IN ({_RESERVING}) AND r.task_verb IS NULL AND NOT EXISTS (
            SELECT 1 FROM anomalies AS a
            WHERE a.order_id = r.order_id AND a.refund_id = r.refund_id AND a.state = 'OPEN'
        )
        """,
    ),
    Rule(
        "closed_with_open_payment",
        "its order {0} is closed and it is still {1}",
        f"""
        SELECT p.payment_id, p.order_id, p.state FROM payments AS p JOIN orders AS o ON o.order_id = p.order_id
        WHERE o.state = 'CLOSED' AND p.state IN ({_OPEN})
        """,
    ),
    Rule(
        "task_verb",
        "its task {0} is none that such a row may have",
        """
        SELECT order_id, task_verb FROM orders WHERE task_verb <> 'EXPIRE'
        UNION ALL
        SELECT payment_id, task_verb FROM payments WHERE task_verb NOT IN ('PREPARE', 'QUERY', 'CLOSE')
            OR (state = 'SUCCEEDED' AND task_verb <> 'QUERY')
        UNION ALL
        SELECT refund_id, task_verb FROM refunds WHERE task_verb NOT IN ('REFUND', 'QUERY_REFUND')
        """,
    ),
    Rule(
        "task_ready",
        "its task says it may be taken at {0}, which is neither when it is due nor when its lease ends",
        " UNION ALL ".join(
            f"""
            SELECT {column}, task_ready_at FROM {name} WHERE task_verb IS NOT NULL AND task_ready_at <>
            (CASE WHEN task_leased_until > task_due_at THEN task_leased_until ELSE task_due_at END)
            """
            for name, column in (("orders", "order_id"), ("payments", "payment_id"), ("refunds", "refund_id"))
        ),
    ),
    # times and words that go together
    Rule(
        "order_times",
        "it is {0} without saying when, or why",
        """
        SELECT order_id, state FROM orders WHERE (state = 'PAID' AND paid_at IS NULL)
            OR (state = 'CLOSED' AND closed_at IS NULL) OR (state IN ('CLOSING', 'CLOSED') AND close_reason IS NULL)
        """,
    ),
    Rule(
        "payment_times",
        "it succeeded without saying when, or in which currency",
        "SELECT payment_id FROM payments WHERE state = 'SUCCEEDED' AND (paid_at IS NULL OR captured_currency = '')",
    ),
    Rule(
        "anomaly_times",
        "it is {0}, which does not go with when it was resolved",
        "SELECT anomaly_id, state FROM anomalies WHERE (state = 'RESOLVED') <> (resolved_at IS NOT NULL)",
    ),
    # whose it is
    Rule(
        "tenant",
        "it belongs to app {0}, and its order to app {1}",
        " UNION ALL ".join(
            f"SELECT x.{column}, x.app_id, o.app_id FROM {name} AS x JOIN orders AS o ON o.order_id = x.order_id "
            "WHERE x.app_id <> o.app_id"
            for name, column in (
                ("payments", "payment_id"),
                ("refunds", "refund_id"),
                ("anomalies", "anomaly_id"),
                ("evidence", "digest"),
                ("requests", "request_id"),
                ("sessions", "session_id"),
            )
        ),
    ),
    Rule(
        "event_tenant",
        "its event {0} is in the feed of app {1}",
        """
        SELECT e.order_id, e.version, e.app_id FROM events AS e JOIN orders AS o ON o.order_id = e.order_id
        WHERE e.app_id <> o.app_id
        """,
    ),
    Rule(
        "refund_home",
        "its order, account or currency is not that of its payment {0}",
        """
        SELECT r.refund_id, r.payment_id FROM refunds AS r JOIN payments AS p ON p.payment_id = r.payment_id
        WHERE r.order_id <> p.order_id OR r.account_id <> p.account_id OR r.currency <>
            (CASE WHEN p.captured_currency = '' THEN r.currency ELSE p.captured_currency END)
        """,
    ),
    Rule(
        "payment_currency",
        "it asks for {0}, and its order is in {1}",
        """
        SELECT p.payment_id, p.currency, o.currency FROM payments AS p JOIN orders AS o ON o.order_id = p.order_id
        WHERE p.currency <> o.currency
        """,
    ),
    Rule(
        "request_of_nothing",
        "the request {0} was answered with an order that is not there",
        """
        SELECT r.order_id, r.request_id FROM requests AS r LEFT JOIN orders AS o ON o.order_id = r.order_id
        WHERE o.order_id IS NULL
        """,
    ),
    Rule(
        "order_of_nobody",
        "its app {0} is not there",
        """
        SELECT o.order_id, o.app_id FROM orders AS o LEFT JOIN apps AS a ON a.app_id = o.app_id WHERE a.app_id IS NULL
        """,
    ),
)

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
    states: dict[str, str] = {}
    for event in told:
        after = event.figures.get("state", "")
        before = states.get(event.subject_id)
        states[event.subject_id] = after
        allowed = None if before is None else _LEAVES.get((event.subject, before))
        if allowed is not None and after != before and after not in allowed:
            yield Violation("transition", event.subject_id, f"event {event.version} leads from {before} to {after}")
        if event.subject == "payment" and after == "CREATED" and before not in (None, "CREATED"):
            yield Violation("transition", event.subject_id, f"event {event.version} leads from {before} to {after}")


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
