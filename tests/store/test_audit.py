"""The audit finds nothing wrong with what the core decides, and finds every row that somebody tampered with."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from paycore.core.decide import Decision
from paycore.core.ids import Prefix
from paycore.core.order import Order, SurplusPolicy
from paycore.core.terms import AfterUnknown
from paycore.store import App, Change, RequestKey, Store, StoredRequest
from paycore.store.audit import RULES, Violation, audit
from tests.core import stories
from tests.core.test_walks import _fact, _maybe_lease
from tests.store.made import APP, NOW, OTHER_APP, Told, new_id
from tests.store.test_evidence import evidence, orphan


def found(store: Store, batch: int = 500) -> list[Violation]:
    return list(audit(store, batch=batch))


@pytest.fixture
def books(store: Store) -> Store:
    """A shop with one order of each sort: waiting, paid, refunded in part."""
    with store.write() as unit:
        unit.put_app(App(APP, "Tea shop", NOW))
        unit.put_app(App(OTHER_APP, "Coffee shop", NOW))
    Told().save(store)
    Told().waits().save(store)
    told = Told().pays().refunds().save(store)
    with store.write() as unit:
        unit.put_evidence([evidence(told.now.order_id, "d", NOW)])
        unit.put_requests([StoredRequest(RequestKey(APP, "CreateOrder", "q"), b"{}", told.now.order_id, "or", NOW)])
        unit.put_orphan(orphan(), APP, "ac")
        unit.number_feed(1000)
    return store


def test_honest_books_are_clean(books: Store) -> None:
    assert found(books) == []


# ---------------------------------------------------------------------------------------------- whatever is decided


def test_whatever_the_core_decides_is_clean(store: Store) -> None:
    """Random stories of the core's own walk, saved as a teller would, lease by lease."""
    with store.write() as unit:
        unit.put_app(App("ap", "Tea shop", 0))
    draw = random.Random(7)
    for number in range(25):
        walk(store, draw, f"m-{number}")
    with store.write() as unit:
        unit.number_feed(100_000)
    assert found(store, batch=7) == []


def walk(store: Store, draw: random.Random, number: str) -> None:
    story = stories.Story(
        draw.choice(list(SurplusPolicy)),
        can_close=draw.random() < 0.8,
        close_reverses=draw.random() < 0.3,
        can_refund=draw.random() < 0.8,
        can_query_refund=draw.random() < 0.8,
        after_unknown=draw.choice(list(AfterUnknown)),
    )
    assert story.order is not None
    names: dict[str, str] = {}
    story.order = replace(story.order, merchant_order_no=number)
    save(store, names, None, story.last, story.order)
    for _ in range(25):
        story.now += draw.choice((0, 1_000_000, 30_000_000, stories.EXPIRY))
        _maybe_lease(draw, story)
        before = story.order
        story.tell(_fact(draw, story))
        if story.order is not before:
            save(store, names, before, story.last, story.order)


def save(store: Store, names: dict[str, str], before: Order | None, decision: Decision, after: Order) -> None:
    """Save a step of a story under ids of its own (every story uses the same ones)."""
    with store.write() as unit:
        order_id = names.get(after.order_id)
        stored = unit.load([order_id], lock=True).get(order_id) if order_id else None
        change = renamed(Change(before, after, decision.events), names)
        # leases that the story took in memory are no facts; they are saved as if the store had given them
        unit.save([replace(change, before=stored)])


def renamed(change: Change, names: dict[str, str]) -> Change:
    after = change.after
    for prefix, ids in (
        (Prefix.ORDER, [after.order_id]),
        (Prefix.PAYMENT, [p.payment_id for p in after.payments]),
        (Prefix.REFUND, [r.refund_id for r in after.refunds]),
        (Prefix.ANOMALY, [a.anomaly_id for a in after.anomalies]),
    ):
        for one in ids:
            names.setdefault(one, new_id(prefix))

    def name(one: str) -> str:
        return names.get(one, one)

    renamed_order = replace(
        after,
        order_id=name(after.order_id),
        payments=tuple(replace(p, payment_id=name(p.payment_id)) for p in after.payments),
        refunds=tuple(replace(r, refund_id=name(r.refund_id), payment_id=name(r.payment_id)) for r in after.refunds),
        anomalies=tuple(
            replace(a, anomaly_id=name(a.anomaly_id), payment_id=name(a.payment_id), refund_id=name(a.refund_id))
            for a in after.anomalies
        ),
    )
    events = tuple(
        replace(
            event,
            order_id=name(event.order_id),
            subject_id=name(event.subject_id),
            figures={
                key: name(value) if isinstance(value, str) and key.endswith("_id") else value
                for key, value in event.figures.items()
            },
        )
        for event in change.events
    )
    return Change(change.before, renamed_order, events)


# ---------------------------------------------------------------------------------------------- tampered


PAID = "(SELECT payment_id FROM payments WHERE is_effective)"
TAMPERED = [
    ("sums", "UPDATE payments SET refunding_minor = refunding_minor + 1 WHERE is_effective"),
    ("sums", "UPDATE payments SET refunded_minor = 5 WHERE is_effective"),
    ("over_refund", "UPDATE payments SET captured_minor = 1 WHERE is_effective"),
    ("refund_of_nothing", "UPDATE payments SET is_effective = {false}, state = 'FAILED' WHERE is_effective"),
    ("captured_unpaid", "UPDATE payments SET captured_minor = 7 WHERE state = 'PENDING'"),
    ("surplus", "UPDATE payments SET is_effective = {false} WHERE is_effective"),
    ("effective", "UPDATE payments SET is_effective = {false} WHERE is_effective"),
    ("effective", "UPDATE orders SET state = 'PENDING', task_verb = 'EXPIRE', task_due_at = 1, task_ready_at = 1"),
    ("gapless", "DELETE FROM events WHERE version = 2"),
    ("gapless", "UPDATE orders SET version = version + 1 WHERE state = 'PAID'"),
    ("gapless", "DELETE FROM events"),
    ("feed", "UPDATE feeds SET last_seq = last_seq + 1"),
    ("feed", "UPDATE events SET feed_seq = NULL WHERE version = 1"),
    ("feed_order", "UPDATE events SET feed_seq = 1000 WHERE version = 1 AND order_id IN (SELECT order_id FROM refunds)"),
    ("order_without_task", "UPDATE orders SET task_verb = NULL, task_due_at = NULL, task_ready_at = NULL"),
    ("order_without_task", "UPDATE orders SET state = 'CLOSING', close_reason = 'REQUESTED' WHERE state = 'PAID'"),
    ("payment_without_task", "UPDATE payments SET task_verb = NULL, task_due_at = NULL, task_ready_at = NULL"),
    ("refund_without_task", "UPDATE refunds SET task_verb = NULL, task_due_at = NULL, task_ready_at = NULL"),
    ("refund_without_task", "UPDATE refunds SET state = 'ABNORMAL', task_verb = NULL, task_due_at = NULL, task_ready_at = NULL"),
    ("closed_with_open_payment", "UPDATE orders SET state = 'CLOSED', closed_at = 1, close_reason = 'EXPIRED'"),
    ("task_verb", "UPDATE payments SET task_verb = 'REFUND' WHERE state = 'PENDING'"),
    ("task_verb", "UPDATE refunds SET task_verb = 'EXPIRE'"),
    ("task_ready", "UPDATE payments SET task_ready_at = task_ready_at + 1 WHERE task_verb IS NOT NULL"),
    ("order_times", "UPDATE orders SET paid_at = NULL WHERE state = 'PAID'"),
    ("payment_times", "UPDATE payments SET paid_at = NULL WHERE is_effective"),
    ("anomaly_times", "UPDATE anomalies SET state = 'RESOLVED'"),
    ("tenant", "UPDATE payments SET app_id = 'ap-thief' WHERE is_effective"),
    ("tenant", "UPDATE evidence SET app_id = 'ap-thief'"),
    ("event_tenant", "UPDATE events SET app_id = 'ap-thief' WHERE version = 1"),
    ("refund_home", "UPDATE refunds SET account_id = 'ac-thief'"),
    ("refund_home", "UPDATE refunds SET payment_id = (SELECT payment_id FROM payments WHERE NOT is_effective)"),
    ("payment_currency", "UPDATE payments SET currency = 'JPY' WHERE is_effective"),
    ("request_of_nothing", "UPDATE requests SET order_id = 'or-nobody'"),
    ("order_of_nobody", "UPDATE orders SET app_id = 'ap-nobody'"),
    ("fold", "UPDATE orders SET amount_minor = 1 WHERE state = 'PAID'"),
    ("fold", "UPDATE refunds SET amount_minor = amount_minor + 1"),
    ("fold", f"DELETE FROM events WHERE subject_id IN {PAID}"),
    ("fold", "UPDATE events SET subject_id = 'py-nobody' WHERE subject = 'payment'"),
    ("fold", "UPDATE payments SET channel_trade_no = 'another' WHERE is_effective"),
    ("transition", "UPDATE events SET figures = replace(figures, '\"CREATED\"', '\"CLOSED\"') WHERE kind = 'payment.created'"),
    ("transition", "UPDATE events SET figures = replace(figures, '\"SUCCEEDED\"', '\"CREATED\"')"),
    ("amount", "UPDATE payments SET captured_minor = 99 WHERE is_effective"),
    ("unreadable", "UPDATE orders SET details = '{{' WHERE state = 'PAID'"),
    ("unreadable", "UPDATE events SET figures = 'x' WHERE kind = 'order.created'"),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "statement"), TAMPERED, ids=lambda value: value if value.islower() else None)
def test_tampering_is_found(books: Store, rule: str, statement: str) -> None:
    with books.write() as unit:
        false = "0" if books.dialect == "sqlite" else "false"
        changed = unit._connection.exec_driver_sql(statement.format(false=false)).rowcount
    assert changed > 0, "the tampering changed nothing"
    violations = found(books)
    assert rule in {violation.rule for violation in violations}
    assert all(violation.sentence and violation.subject_id for violation in violations)


def test_every_rule_can_be_broken() -> None:
    assert {rule for rule, _ in TAMPERED} >= {rule.name for rule in RULES}


def test_one_unreadable_order_does_not_hide_the_others(books: Store) -> None:
    with books.write() as unit:
        unit._connection.exec_driver_sql("UPDATE orders SET details = '{' WHERE state = 'PAID'")
        unit._connection.exec_driver_sql("UPDATE payments SET channel_trade_no = 'x' WHERE state = 'PENDING'")
    assert {violation.rule for violation in found(books)} == {"unreadable", "fold"}


def test_the_audit_says_how_far_it_is(books: Store) -> None:
    seen: list[tuple[int, int]] = []
    assert list(audit(books, batch=1, progress=lambda done, of: seen.append((done, of)))) == []
    assert seen[-1] == (len(RULES) + 3, len(RULES) + 3)
    assert seen == sorted(seen)


def test_the_audit_changes_nothing_and_tells_at_once(books: Store) -> None:
    with books.write() as unit:
        unit._connection.exec_driver_sql("UPDATE payments SET refunding_minor = 1")
    first = next(iter(audit(books)))
    assert first.rule == "sums"
    assert str(first).startswith(f"sums: {first.subject_id}: ")
