"""The audit finds nothing wrong with what the core decides, and finds every row that somebody tampered with."""

from __future__ import annotations

import random
import re
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from paycore.core.decide import Decision
from paycore.core.ids import Prefix
from paycore.core.order import Order, SurplusPolicy
from paycore.core.terms import AfterUnknown
from paycore.store import App, Change, RequestKey, Session, Store, StoredRequest
from paycore.store.audit import audit
from paycore.store.rules import RULES, Violation
from tests.core import stories
from tests.core.test_walks import _fact, _maybe_lease
from tests.store import loose
from tests.store.made import APP, LEASE, NOW, OTHER_APP, Told, new_id
from tests.store.test_evidence import evidence, orphan
from tests.support import postgres


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
        unit.put_requests(
            [StoredRequest(RequestKey(APP, "CreateOrder", "q"), b"{}", told.now.order_id, told.now.order_id, NOW)]
        )
        unit.put_orphan(orphan(), APP, "ac")
        unit.number_feed(1000)
    return store


def test_honest_books_are_clean(books: Store) -> None:
    assert found(books) == []


def test_a_request_may_be_answered_with_a_cashier_session(books: Store) -> None:
    told = Told(number="to be paid at the cashier").save(books)
    session_id = new_id(Prefix.SESSION)
    key = RequestKey(APP, "CreateCashierSession", "s")
    with books.write() as unit:
        unit.put_session(Session(session_id, APP, told.now.order_id, NOW + LEASE, NOW))
        unit.put_requests([StoredRequest(key, b"{}", told.now.order_id, session_id, NOW)])
        unit.number_feed(1000)
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


# ---------------------------------------------------------------------------------------------- live


def test_an_audit_beside_work_raises_no_false_alarm(books: Store) -> None:
    """Orders are made, paid and refunded, and the feed is numbered, while the books are proven over and over."""
    stop = threading.Event()
    made: list[str] = []

    def work() -> None:
        while not stop.is_set():
            told = Told()
            for step in (told.waits, told.pays, told.refunds):
                told.save(books)
                step()
            made.append(told.save(books).now.order_id)
            with books.write() as unit:
                unit.number_feed(3)

    worker = threading.Thread(target=work)
    worker.start()
    rounds: list[list[Violation]] = []
    until = time.monotonic() + 30
    try:
        while (len(rounds) < 10 or len(made) < 10) and time.monotonic() < until:
            rounds.append(found(books, batch=3))
    finally:
        stop.set()
        worker.join(30)
    assert rounds == [[]] * len(rounds)
    assert min(len(rounds), len(made)) >= 10, "nothing was written meanwhile"


# ---------------------------------------------------------------------------------------------- tampered


@pytest.fixture(scope="session")
def loose_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Books on a SQLite without belts, to be copied."""
    path = tmp_path_factory.mktemp("loose") / "books.sqlite"
    loose.prepare(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def loose_postgres(pg_server: postgres.Server) -> Iterator[tuple[str, Store]]:
    """Books on a PostgreSQL without belts, for tests that put back what they tampered with."""
    with pg_server.database() as url:
        loose.prepare(url)
        store = Store.open(url, check_durability=False)
        yield url, store
        store.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def loose_books(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Books with an order of each sort, on a database of each kind in turn, without belts."""
    if request.param == "sqlite":
        path = tmp_path / "books.sqlite"
        shutil.copyfile(request.getfixturevalue("loose_file"), path)
        store = Store.open(f"sqlite:///{path}")
        yield store
        store.close()
        return
    url, store = request.getfixturevalue("loose_postgres")
    yield store
    loose.restore(url)


def test_loose_books_are_clean(loose_books: Store) -> None:
    assert found(loose_books) == []


def order(number: str) -> str:
    return f"(SELECT order_id FROM orders WHERE merchant_order_no = '{number}')"


def change(table: str, number: str, what: str) -> str:
    """Change the rows of one order."""
    return f"UPDATE {table} SET {what} WHERE order_id = {order(number)}"


NO_TASK = "task_verb = NULL, task_due_at = NULL, task_ready_at = NULL"
LAST = "version = (SELECT max(version) FROM events AS e WHERE e.order_id = events.order_id)"
COPY_EVENT = """
    INSERT INTO events (order_id, version, app_id, at, kind, subject, subject_id, cause, figures, feed_seq)
    SELECT order_id, version + {0}, app_id, at, kind, subject, subject_id, cause, figures, {1} FROM events
    WHERE {2}
"""
REPEAT = COPY_EVENT.format(1, "feed_seq + 1", f"{LAST} AND feed_seq = (SELECT max(feed_seq) FROM events)")

RETURNED = (
    change("payments", "paid", "is_reversed = {true}")
    + ";"
    + change("refunds", "paid", "state = 'SUCCEEDED', refunded_at = 1, origin = 'CHANNEL', task_verb = 'QUERY_REFUND'")
)

FOLDS = {"fold", "transition", "repeated", "amount", "unreadable"}
"""What is found by folding the events."""

TAMPERED: list[tuple[str, str]] = [
    # which rules see it, and what was done
    ("amounts fold", change("orders", "new", "amount_minor = 0")),
    ("amounts fold sums", change("payments", "waits", "refunding_minor = -1")),
    ("amounts fold sums", change("refunds", "paid", "amount_minor = 0")),
    ("sums fold", change("payments", "paid", "refunding_minor = refunding_minor + 1")),
    ("sums fold", change("payments", "paid", "refunded_minor = 5")),
    ("over_refund amount fold", change("payments", "paid", "captured_minor = 1")),
    ("captured_unpaid fold", change("payments", "waits", "captured_minor = 7")),
    ("captured_unpaid effective_unpaid refund_of_nothing fold", change("payments", "paid", "state = 'CLOSED', task_verb = NULL")),
    ("surplus effective fold", change("payments", "paid", "is_effective = {false}")),
    ("surplus hold fold", change("anomalies", "held", "amount_minor = 98")),
    ("hold fold", change("payments", "held", "is_kept = {true}")),
    ("abnormal fold", change("refunds", "stuck", "state = 'UNKNOWN', task_verb = 'REFUND', task_due_at = 1, task_ready_at = 1")),
    ("abnormal refund_without_task fold", f"DELETE FROM anomalies WHERE order_id = {order('stuck')}"),
    ("returned sums fold", RETURNED),
    ("discount", "UPDATE offer_uses SET amount_minor = 31 WHERE offer_id = 'of-1'; UPDATE offer_counts SET taken_minor = 31 WHERE offer_id = 'of-1'"),
    ("discount fold", change("payments", "offered", "amount_minor = 100")),
    ("discount offer_counts", "DELETE FROM offer_uses WHERE offer_id = 'of-1'"),
    ("offer_held offer_counts", "UPDATE offer_uses SET is_held = {false} WHERE offer_id = 'of-1'"),
    ("offer_held fold", change("payments", "offered", "state = 'CLOSED'")),
    ("offer_counts", "UPDATE offer_counts SET taken_count = 2 WHERE offer_id = 'of-2'"),
    ("offer_counts", "DELETE FROM offer_counts WHERE offer_id = 'of-2'"),
    ("first_time", "UPDATE offer_uses SET first_payer_no = 'u-1'"),
    ("tenant offer_counts", "UPDATE offer_uses SET app_id = '{other_app}' WHERE offer_id = 'of-1'"),
    ("parent discount", "UPDATE offer_uses SET payment_id = 'py-nobody' WHERE offer_id = 'of-1'"),
    ("parent", "UPDATE offers SET app_id = 'ap-nobody'"),
    ("effective fold", change("orders", "paid", "state = 'PENDING', paid_at = NULL, task_verb = 'EXPIRE', task_due_at = 1, task_ready_at = 1")),
    ("effective_unpaid effective amount fold", change("payments", "waits", "is_effective = {true}")),
    ("gapless feed transition", f"DELETE FROM events WHERE version = 2 AND order_id = {order('waits')}"),
    ("gapless", change("orders", "paid", "version = version + 1")),
    ("gapless feed repeated", COPY_EVENT.format(0, "feed_seq", f"{LAST} AND order_id = {order('new')}")),
    ("feed", "UPDATE feeds SET last_seq = last_seq + 1"),
    ("feed", "DELETE FROM feeds"),
    ("feed", f"UPDATE events SET feed_seq = feed_seq - 1 WHERE version = 1 AND order_id = {order('closed')}"),
    ("feed feed_order", f"UPDATE events SET feed_seq = NULL WHERE version = 1 AND order_id = {order('paid')}"),
    ("feed feed_order", f"UPDATE events SET feed_seq = 1000 WHERE version = 1 AND order_id = {order('paid')}"),
    ("places", change("payments", "waits", "number = 2")),
    ("places", change("refunds", "paid", "number = 3")),
    ("unique", "UPDATE orders SET merchant_order_no = 'new' WHERE merchant_order_no = 'waits'"),
    ("unique", "INSERT INTO requests SELECT * FROM requests"),
    ("unique", "INSERT INTO channel_references SELECT * FROM channel_references"),
    ("order_without_task", change("orders", "new", NO_TASK)),
    ("order_without_task effective fold", change("orders", "paid", "state = 'CLOSING', paid_at = NULL, close_reason = 'REQUESTED'")),
    ("payment_without_task", change("payments", "waits", NO_TASK)),
    ("refund_without_task", change("refunds", "paid", NO_TASK)),
    ("closed_with_open_payment fold", change("orders", "closing", "state = 'CLOSED', closed_at = 1")),
    ("task_verb", change("payments", "waits", "task_verb = 'REFUND'")),
    ("task_verb", change("refunds", "paid", "task_verb = 'EXPIRE'")),
    ("task_verb", change("orders", "paid", "task_verb = 'EXPIRE', task_due_at = 1, task_ready_at = 1")),
    ("unclosed", change("payments", "closing", "task_verb = 'QUERY'")),
    ("task_ready", change("payments", "waits", "task_ready_at = task_ready_at + 1")),
    ("task_whole", change("payments", "waits", "task_due_at = NULL")),
    ("order_times fold", change("orders", "paid", "paid_at = NULL")),
    ("order_times fold", change("orders", "new", "close_reason = 'EXPIRED'")),
    ("paid_when fold", change("orders", "paid", "paid_at = 1")),
    ("payment_expiry fold", change("payments", "waits", "expires_at = expires_at + 1")),
    ("payment_times fold", change("payments", "held", "paid_at = NULL")),
    ("refund_times sums fold", change("refunds", "paid", "state = 'SUCCEEDED', task_verb = 'QUERY_REFUND'")),
    ("evidence_times", "UPDATE evidence SET count = 0"),
    ("evidence_times", "UPDATE evidence SET last_at = first_at - 1"),
    ("anomaly_times", "UPDATE anomalies SET state = 'RESOLVED' WHERE order_id IS NULL"),
    ("tenant account_home", change("payments", "waits", "app_id = '{other_app}'")),
    ("tenant", "UPDATE evidence SET app_id = '{other_app}'"),
    ("tenant", "UPDATE requests SET app_id = '{other_app}'"),
    ("tenant", "UPDATE sessions SET app_id = '{other_app}'"),
    ("event_tenant feed", change("events", "new", "app_id = '{other_app}'")),
    ("refund_home", change("refunds", "paid", "account_id = 'ac-thief'")),
    ("refund_home fold", change("refunds", "paid", "currency = 'JPY'")),
    ("payment_currency fold", change("payments", "waits", "currency = 'JPY'")),
    ("anomaly_home fold surplus", change("anomalies", "held", "payment_id = 'py-nobody'")),
    ("anomaly_home", change("anomalies", "stuck", "account_id = 'ac-thief'")),
    ("anomaly_home", "UPDATE anomalies SET payment_id = (SELECT min(payment_id) FROM payments) WHERE order_id IS NULL"),
    ("reference_home", "UPDATE channel_references SET channel = 'another'"),
    ("account_home", change("payments", "waits", "merchant = 'thief'")),
    ("account_home", "UPDATE accounts SET app_id = '{other_app}'"),
    ("account_keys", "DELETE FROM account_versions"),
    ("account_keys", "INSERT INTO account_versions SELECT account_id, 2, app_id, state, settings_cipher, 1 FROM account_versions"),
    ("parent", "UPDATE evidence SET order_id = 'or-nobody'"),
    ("parent", "UPDATE sessions SET order_id = 'or-nobody'"),
    ("parent", "UPDATE channel_references SET payment_id = 'py-nobody'"),
    ("parent", "UPDATE anomalies SET app_id = 'ap-nobody' WHERE order_id IS NULL"),
    ("parent", "INSERT INTO account_blobs (account_id, app_id, due_at, failures) VALUES ('ac-nobody', 'ap', 1, 0)"),
    ("parent", "UPDATE api_keys SET app_id = 'ap-nobody'"),
    ("parent", f"DELETE FROM orders WHERE order_id = {order('closed')}"),
    ("parent request_subject", "UPDATE requests SET order_id = 'or-nobody'"),
    ("request_subject", f"UPDATE requests SET subject_id = (SELECT refund_id FROM refunds WHERE order_id = {order('stuck')})"),
    ("order_of_nobody event_tenant", f"UPDATE orders SET app_id = 'ap-nobody' WHERE order_id = {order('new')}"),
    ("discount fold", change("orders", "paid", "amount_minor = 1")),
    ("fold", change("payments", "paid", "channel_trade_no = 'another'")),
    ("fold feed gapless", f"DELETE FROM events WHERE subject_id IN (SELECT payment_id FROM payments WHERE order_id = {order('waits')})"),
    ("fold", f"UPDATE events SET subject_id = 'py-nobody' WHERE subject = 'payment' AND order_id = {order('closing')}"),
    ("transition", f"UPDATE events SET figures = replace(figures, '\"CREATED\"', '\"CLOSED\"') WHERE kind = 'payment.created' AND order_id = {order('waits')}"),
    ("transition fold", f"UPDATE events SET figures = replace(figures, '\"SUCCEEDED\"', '\"CREATED\"') WHERE order_id = {order('held')}"),
    ("transition", f"UPDATE events SET kind = 'order.updated' WHERE version = 1 AND order_id = {order('new')}"),
    ("repeated gapless feed", REPEAT),
    ("amount fold", change("payments", "paid", "captured_minor = 99")),
    ("unreadable", change("orders", "new", "details = '{{'")),
    ("unreadable", f"UPDATE events SET figures = 'x' WHERE version = 1 AND order_id = {order('new')}"),
]  # fmt: skip


@pytest.mark.parametrize(("rules", "statement"), TAMPERED, ids=[f"{n}-{row[0]}" for n, row in enumerate(TAMPERED)])
def test_tampering_is_found_and_nothing_else(loose_books: Store, rules: str, statement: str) -> None:
    tamper(loose_books, statement)
    violations = found(loose_books)
    assert {violation.rule for violation in violations} == set(rules.split()), "\n".join(map(str, violations))
    assert all(violation.sentence and violation.subject_id for violation in violations)


def tamper(store: Store, statement: str) -> None:
    """Change something behind everybody's back."""
    false, true = ("0", "1") if store.dialect == "sqlite" else ("false", "true")
    with store.write() as unit:
        texts = statement.format(false=false, true=true, other_app=OTHER_APP).split(";")
        changed = [unit._connection.exec_driver_sql(text).rowcount for text in texts]
    assert min(changed) > 0, "the tampering changed nothing"


def test_every_rule_can_be_broken() -> None:
    seen = {rule for rules, _ in TAMPERED for rule in rules.split()}
    assert seen == {rule.name for rule in RULES} | FOLDS


def test_one_unreadable_order_does_not_hide_the_others(loose_books: Store) -> None:
    tamper(loose_books, change("orders", "paid", "details = '{{'"))
    tamper(loose_books, change("payments", "waits", "channel_trade_no = 'x'"))
    assert {violation.rule for violation in found(loose_books)} == {"unreadable", "fold"}


def test_a_rule_that_is_broken_everywhere_is_told_so_often_and_no_more(loose_books: Store) -> None:
    tamper(loose_books, "UPDATE orders SET app_id = 'ap-nobody'")
    told = [one for one in audit(loose_books, most=2) if one.rule == "order_of_nobody"]
    assert [one.sentence for one in told] == [
        "its app ap-nobody is not there",
        "its app ap-nobody is not there",
        "and more: this rule is broken over 2 times",
    ]
    tamper(loose_books, "UPDATE orders SET currency = 'JPY'")
    assert len([one for one in audit(loose_books, most=3) if one.rule == "fold"]) == 4


def test_every_finding_is_explained_to_operators() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "operations.md").read_text()
    explained = set(re.findall(r"`(\w+)`", page.split("### What the audit finds")[1].split("## Leaving")[0]))
    assert {rule.name for rule in RULES} | FOLDS <= explained


def test_the_audit_says_how_far_it_is(books: Store) -> None:
    seen: list[tuple[int, int]] = []
    assert list(audit(books, batch=1, progress=lambda done, of: seen.append((done, of)))) == []
    assert seen[-1] == (len(RULES) + 3, len(RULES) + 3)
    assert seen == sorted(seen)


def test_the_audit_changes_nothing_and_tells_at_once(loose_books: Store) -> None:
    tamper(loose_books, "UPDATE payments SET refunding_minor = 1")
    first = next(iter(audit(loose_books)))
    assert first.rule == "sums"
    assert str(first).startswith(f"sums: {first.subject_id}: ")
