"""Watches every commit: what a transaction left behind must keep the rules the moment it is there, not only in the end.

It keeps a copy of what was announced (a fold of the events) and looks at the rows themselves, by SQL of its own.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from paycore.engine.desk import LEASE
from paycore.store import Store
from paycore.testing.simulation.rows import EventRow, OrderRow, PaymentRow, RefundRow, Rows, events_behind, rows_of
from paycore.testing.simulation.timing import true_now
from paycore.testing.simulation.truth import Truth

HOLDS = ("LATE_PAYMENT", "SECOND_PAYMENT", "AMOUNT_MISMATCH")
NEXT: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("order", "PENDING"): ("PAID", "CLOSING", "CLOSED"),
    ("order", "CLOSING"): ("CLOSED", "PAID"),
    ("order", "CLOSED"): ("PAID",),
    ("order", "PAID"): (),
    ("payment", "CREATED"): ("PENDING", "UNKNOWN", "SUCCEEDED", "FAILED", "CLOSED"),
    ("payment", "PENDING"): ("UNKNOWN", "SUCCEEDED", "FAILED", "CLOSED"),
    ("payment", "UNKNOWN"): ("PENDING", "SUCCEEDED", "FAILED", "CLOSED"),
    ("payment", "FAILED"): ("SUCCEEDED",),
    ("payment", "CLOSED"): ("SUCCEEDED",),
    ("payment", "SUCCEEDED"): (),
    ("refund", "PENDING"): ("PROCESSING", "UNKNOWN", "SUCCEEDED", "FAILED", "ABNORMAL", "REVERSED"),
    ("refund", "PROCESSING"): ("UNKNOWN", "SUCCEEDED", "FAILED", "ABNORMAL", "REVERSED"),
    ("refund", "UNKNOWN"): ("PROCESSING", "SUCCEEDED", "FAILED", "ABNORMAL", "REVERSED"),
    ("refund", "ABNORMAL"): ("UNKNOWN", "SUCCEEDED", "FAILED", "REVERSED"),
    ("refund", "SUCCEEDED"): ("REVERSED",),
    ("refund", "FAILED"): ("SUCCEEDED", "REVERSED"),
    ("refund", "REVERSED"): (),
    ("anomaly", "OPEN"): ("RESOLVED",),
    ("anomaly", "RESOLVED"): ("OPEN",),
}
"""What may follow a state. Written down once more, so that a wrong change of the core's own table is seen."""
FOR_EVER = ("amount_minor", "currency", "payment_id", "origin", "channel", "method", "account_id", "kind")
"""Figures that a row never changes."""

Broken = Iterator[tuple[str, str]]
"""Rules that are broken: the rule, and one sentence."""


class Ledger:
    """What the database has told so far."""

    def __init__(
        self,
        store: Store,
        truth: Truth,
        left: Counter[str],
        wanted: Mapping[tuple[str, str], int],
        violated: Callable[[str, str], None],
        *,
        clocks_are_good: bool,
    ) -> None:
        self._store = store
        self._truth = truth
        self._left = left
        self._wanted = wanted
        self._violated = violated
        self._clocks_are_good = clocks_are_good
        self._seq = 0
        self.versions: dict[str, int] = {}
        self.figures: dict[str, dict[str, Any]] = {}
        """The last figures of every row that was announced."""
        self.events: dict[tuple[str, int], EventRow] = {}
        self.rows = Rows({}, {}, {}, [])
        self._reopened: list[str] = []
        self.leases: dict[str, int] = {}
        """The end of the longest lease that a row's task ever had."""
        self.commits = 0

    @property
    def announced(self) -> int:
        """How many events there were."""
        return self._seq

    def committed(self, who: str) -> None:
        """Somebody has committed something: look at it."""
        self.commits += 1
        with self._store.read() as unit:
            fresh = events_behind(unit, self._seq)
            rows = rows_of(unit)
        before, self.rows = self.rows, rows
        self._remember_leases(rows, fresh)
        for event in fresh:
            self._each(self._announced(event))
        self._each(self._told(rows))
        self._each(self._sound(rows))
        self._each(self._true(before, rows))

    def _remember_leases(self, rows: Rows, fresh: list[EventRow]) -> None:
        for row in rows.tasked:
            if row.task_leased_until is not None:
                self.leases[row[0]] = max(row.task_leased_until, self.leases.get(row[0], 0))
        for event in fresh:
            if event.kind in ("payment.created", "refund.created"):
                self._remember_birth(rows, event)

    def _remember_birth(self, rows: Rows, event: EventRow) -> None:
        """A row may be born leased and lose its task to another fact of the same commit; who was given the lease still has it."""
        born = rows.payments.get(event.subject_id) or rows.refunds.get(event.subject_id)
        if born is not None and born.sends and born.task_leased_until is None:
            self.leases.setdefault(event.subject_id, event.at + LEASE)

    def _each(self, broken: Broken) -> None:
        for rule, sentence in broken:
            self._violated(rule, sentence)

    # ------------------------------------------------------------------------------------ what was announced

    def _announced(self, event: EventRow) -> Broken:
        """Numbers without gaps, states that may follow each other, figures that never change."""
        if event.feed_seq != self._seq + 1:
            yield "feed", f"event {event.feed_seq} follows {self._seq} in the feed"
        self._seq = event.feed_seq
        if event.version != self.versions.get(event.order_id, 0) + 1:
            yield "gapless", f"{event.order_id}: event {event.version} follows {self.versions.get(event.order_id, 0)}"
        self.versions[event.order_id] = event.version
        self.events[event.order_id, event.version] = event
        after: dict[str, Any] = json.loads(event.figures)
        before = self.figures.get(event.subject_id)
        self.figures[event.subject_id] = after
        if before is None:
            return
        old, new = before["state"], after["state"]
        if (event.subject, old, new) == ("order", "CLOSED", "PAID"):
            self._reopened.append(event.order_id)
        if old != new and new not in NEXT[event.subject, old]:
            yield "transition", f"{event.subject_id} goes from {old} to {new} by {event.cause}"
        for name in FOR_EVER:
            if name in before and before[name] != after[name] and event.subject != "anomaly":
                yield "for ever", f"{event.subject_id} changes its {name} from {before[name]} to {after[name]}"

    def _told(self, rows: Rows) -> Broken:
        """Every row shows what its last event said; no row is there that no event told of."""
        for order in rows.orders.values():
            if order.version != self.versions.get(order.order_id):
                yield (
                    "fold",
                    f"{order.order_id} is at {order.version}, its events at {self.versions.get(order.order_id)}",
                )
        shown: list[tuple[str, str]] = [(row[0], row.state) for row in rows.orders.values()]
        shown += [(row[0], row.state) for row in rows.payments.values()]
        shown += [(row[0], row.state) for row in rows.refunds.values()]
        for subject_id, state in shown:
            told = self.figures.get(subject_id)
            if told is None or told["state"] != state:
                yield "fold", f"{subject_id} is {state}, and its events say {told and told['state']}"
        for payment in rows.payments.values():
            told = self.figures.get(payment.payment_id, {})
            if (
                told.get("captured_minor") != payment.captured_minor
                or told.get("refunded_minor") != payment.refunded_minor
            ):
                yield "fold", f"{payment.payment_id} has other sums than its events"

    # ------------------------------------------------------------------------------------ what must always hold

    def _sound(self, rows: Rows) -> Broken:
        yield from self._invited(rows)
        for order in rows.orders.values():
            payments = rows.payments_of(order.order_id)
            yield from _order(order, payments)
            for payment in payments:
                yield from _payment(order, payment, rows, self._truth)
        for row in rows.tasked:
            if row.sends < self._left[row[0]] and row.state != "SUCCEEDED":
                yield "hidden send", f"{row[0]} left for the channel {self._left[row[0]]} times and counts {row.sends}"
        for refund in rows.refunds.values():
            if refund.is_reserving and refund.task_verb is None and not _is_watched(rows, refund.refund_id):
                yield "forgotten", f"{refund.refund_id} is {refund.state} and nobody will ask about it"
            if refund.state == "ABNORMAL" and not _is_watched(rows, refund.refund_id):
                yield "unseen", f"{refund.refund_id} is ABNORMAL and no anomaly says so"

    def _invited(self, rows: Rows) -> Broken:
        """Nothing is there that nobody asked for: the same request, however often it came, made one thing."""
        there: Counter[tuple[str, str]] = Counter({("order", ""): len(rows.orders)})
        there.update(("payment", payment.order_id) for payment in rows.payments.values())
        there.update(("refund", one.order_id) for one in rows.refunds.values() if one.origin == "MERCHANT")
        for what, count in there.items():
            if count > self._wanted.get(what, 0):
                yield "uninvited", f"{count} of {' '.join(what)} were made, {self._wanted.get(what, 0)} asked for"

    # ------------------------------------------------------------------------------------ what must be true

    def _true(self, before: Rows, after: Rows) -> Broken:
        """What we have come to believe with this commit must be what the channel's books say."""
        now = true_now()
        while self._reopened:
            yield from _was_accepted(self._reopened.pop(), after)
        for payment in after.payments.values():
            old = before.payments.get(payment.payment_id)
            if old is not None and old.state == payment.state:
                continue
            yield from self._payment_is_true(payment, now)
        for refund in after.refunds.values():
            was = before.refunds.get(refund.refund_id)
            if was is None or was.state != refund.state:
                yield from self._refund_is_true(refund, after)

    def _payment_is_true(self, payment: PaymentRow, now: int) -> Broken:
        taken, whose = self._truth.taken(payment)
        if payment.state == "SUCCEEDED" and (payment.captured_minor, payment.merchant) != (taken, whose):
            yield (
                "phantom",
                f"{payment.payment_id} captured {payment.captured_minor}; the channel took {taken} for {whose or 'nobody'}",
            )
        if payment.state in ("CLOSED", "FAILED") and self._clocks_are_good:
            why = self._truth.why_not_over(payment, now)
            if why:
                yield "over too early", f"{payment.payment_id} is {payment.state} although {why}"

    def _refund_is_true(self, refund: RefundRow, rows: Rows) -> Broken:
        theirs = self._truth.refund_state(refund)
        if any(one.remedy for one in rows.anomalies_of(refund.refund_id)):
            return  # a person knew better
        if refund.state == "SUCCEEDED" and theirs not in ("SUCCESS", "BOUNCED"):
            yield "phantom refund", f"{refund.refund_id} succeeded; the channel has it {theirs or 'not at all'}"
        if refund.state == "FAILED" and theirs not in ("", "FAILED"):
            yield "lost refund", f"{refund.refund_id} failed; the channel has it {theirs}"


def _was_accepted(order_id: str, rows: Rows) -> Broken:
    """A closed order is paid only because its policy or a person has accepted the money."""
    for payment in rows.payments_of(order_id):
        holds = [one for one in rows.anomalies_of(payment.payment_id) if one.kind in HOLDS]
        if payment.is_effective and not any(one.remedy == "ACCEPT" for one in holds):
            yield "reopened", f"{order_id} was closed, and {payment.payment_id} paid it although nobody accepted that"


def _order(order: OrderRow, payments: list[PaymentRow]) -> Broken:
    effective = sum(payment.is_effective for payment in payments)
    if effective != (order.state == "PAID"):
        yield "effective", f"{order.order_id} is {order.state} with {effective} payments that paid it"
    is_waiting = any(payment.is_open for payment in payments)
    if order.state == "PENDING" and order.task_verb is None:
        yield "forgotten", f"{order.order_id} is PENDING and will never expire"
    if order.state == "CLOSING" and not is_waiting:
        yield "forgotten", f"{order.order_id} is CLOSING and waits for nothing"
    if order.state == "CLOSED" and is_waiting:
        yield "closed too early", f"{order.order_id} is CLOSED while a payment of it is open"
    if sum(payment.is_open and not payment.is_superseded for payment in payments) > 1:
        yield "two at once", f"{order.order_id} has two open payments of which neither is superseded"


def _payment(order: OrderRow, payment: PaymentRow, rows: Rows, truth: Truth) -> Broken:
    name, refunds, anomalies = (
        payment.payment_id,
        rows.refunds_of(payment.payment_id),
        rows.anomalies_of(payment.payment_id),
    )
    reserved = sum(refund.amount_minor for refund in refunds if refund.is_reserving)
    refunded = sum(refund.amount_minor for refund in refunds if refund.state == "SUCCEEDED")
    if (reserved, refunded) != (payment.refunding_minor, payment.refunded_minor):
        yield (
            "sums",
            f"{name} counts {payment.refunding_minor}+{payment.refunded_minor}, its refunds {reserved}+{refunded}",
        )
    is_over = payment.state == "SUCCEEDED" and reserved + refunded > payment.captured_minor
    if is_over and not any(one.kind == "OVER_REFUND" and (one.is_open or one.remedy) for one in anomalies):
        yield "over-refund", f"{name} captured {payment.captured_minor} and {reserved + refunded} go back"
    asked = sum(r.amount_minor for r in refunds if r.origin != "CHANNEL" and (r.is_reserving or r.state == "SUCCEEDED"))
    if payment.state == "SUCCEEDED" and asked > payment.captured_minor:
        yield "over-refund", f"{name} captured {payment.captured_minor} and we ourselves give {asked} back"
    if payment.is_open and payment.task_verb is None and not any(one.is_open for one in anomalies):
        yield "forgotten", f"{name} is {payment.state} and nobody will ask about it"
    if payment.state == "SUCCEEDED":
        yield from _money(order, payment, rows, truth)


def _money(order: OrderRow, payment: PaymentRow, rows: Rows, truth: Truth) -> Broken:
    """Money that was taken pays the order, goes back, or is looked at by somebody. It is never kept in silence."""
    name = payment.payment_id
    holds = [one for one in rows.anomalies_of(name) if one.kind in HOLDS]
    was_decided = any(one.remedy in ("ACCEPT", "RELEASE") for one in holds)
    if payment.is_effective:
        is_right = truth.sets_price(payment) or payment.captured_minor == payment.amount_minor
        if not is_right and not was_decided:
            yield (
                "wrong amount",
                f"{name} paid {order.order_id} with {payment.captured_minor} instead of {payment.amount_minor}",
            )
        return
    if payment.is_kept:
        if not was_decided:
            yield "kept in silence", f"{name} was kept and nobody decided so"
        return
    if payment.balance_minor > 0 and not any(
        one.is_open and one.amount_minor == payment.balance_minor for one in holds
    ):
        yield "kept in silence", f"{payment.balance_minor} of {name} are neither wanted nor covered by an anomaly"
    is_surplus = truth.can_refund and any(one.kind in HOLDS[:2] for one in holds)
    if is_surplus and order.surplus_policy == "AUTO_REFUND" and payment.balance_minor == payment.captured_minor:
        if not any(refund.origin == "POLICY" for refund in rows.refunds_of(name)):
            yield "not given back", f"{name} is surplus and was not given back by itself"


def _is_watched(rows: Rows, subject_id: str) -> bool:
    return any(one.is_open for one in rows.anomalies_of(subject_id))
