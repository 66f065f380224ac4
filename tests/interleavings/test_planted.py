"""The harness sees something: with a bug planted, the same scenes find money that is refunded twice, and worse.

Where a belt (a guard, a constraint) would catch a bug all the same, it is loosened here; and that the belts alone hold
is seen too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import psycopg
import pytest

from paycore.core import refunding
from paycore.core.order import Order
from paycore.core.refusals import Reason, Refused
from paycore.engine.tell import Telling
from paycore.store import Store, StoredRequest, Unit, tasks, telling
from paycore.store.admin import Admin
from paycore.store.sql import Statement, update
from paycore.store.tables import OrderTable, PaymentTable, RefundTable, table
from tests.interleavings import test_creates as creates
from tests.interleavings import test_keys as keys
from tests.interleavings import test_pairs as pairs
from tests.interleavings import test_workers as workers
from tests.interleavings.scenes import Facts, facts_wrong, loaded, notice, scene_of, tell, waiting_order
from tests.interleavings.scenes import telling as tells
from tests.interleavings.weave import Loom, Played, Scene, Work, one_order, some_orders

LOOKS = 36
"""How many orders a planted bug gets to show itself in."""


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Orders are loaded without locking them."""
    for rows in ("ORDERS", "PAYMENTS", "REFUNDS"):
        monkeypatch.setattr(telling, f"_LOCK_{rows}", getattr(telling, f"_LOAD_{rows}"))


@pytest.fixture
def no_belts(monkeypatch: pytest.MonkeyPatch, own_loom: Loom) -> None:
    """Updates are not guarded, and nothing is unique that only a race can make double."""
    for rows, of, row_id in (
        ("orders", OrderTable, "order_id"),
        ("payments", PaymentTable, "payment_id"),
        ("refunds", RefundTable, "refund_id"),
    ):
        monkeypatch.setattr(telling, f"_moved_{rows}", _without_guards(getattr(telling, f"_moved_{rows}")))
        columns = getattr(telling, f"{rows[:-1].upper()}_COLUMNS")
        moving = telling._moving(columns, "state")
        monkeypatch.setattr(telling, f"_MOVED_{rows.upper()}", update(table(of), moving, (row_id,)))
    with psycopg.connect(own_loom.url) as connection:
        connection.execute("ALTER TABLE events DROP CONSTRAINT pk_events")
        connection.execute("ALTER TABLE refunds DROP CONSTRAINT uq_refunds_order_id_number")
        connection.execute("DROP INDEX uq_payments_effective")


def _without_guards(moved: Callable[[Any], Iterator[tuple[Any, ...]]]) -> Callable[[Any], Iterator[tuple[Any, ...]]]:
    return lambda changes: (row[:-2] for row in moved(changes))


def finds(loom: Loom, scene: Scene, wrong_with: Callable[[Played], list[str]], *, most: int = LOOKS) -> dict[str, int]:
    """What goes wrong in some orders of a scene: the word of each rule, and in how many orders it was broken."""
    found: dict[str, int] = {}
    for played in some_orders(loom, scene, count=most, seed=3):
        for rule in {word.split(":")[0] for word in wrong_with(played)}:
            found[rule] = found.get(rule, 0) + 1
    return found


def facts_found(loom: Loom, pair: Any) -> dict[str, int]:
    return finds(loom, scene_of(pair), lambda played: facts_wrong(loom, played))


# ---------------------------------------------------------------------------------------------- money


def test_without_locks_and_belts_money_is_refunded_twice(own_loom: Loom, no_locks: None, no_belts: None) -> None:
    found = facts_found(own_loom, pairs.two_refunds)
    assert found.get("M1", 0) >= LOOKS // 3, found
    assert found.get("S3", 0) >= LOOKS // 3, found


def test_without_locks_and_belts_a_payment_is_lost(own_loom: Loom, no_locks: None, no_belts: None) -> None:
    """Each of two notices writes the order as it read it: the other's success, though acknowledged, is gone."""
    assert facts_found(own_loom, pairs.two_payments_are_paid).get("lost", 0) >= LOOKS // 3


def test_without_locks_and_belts_the_sums_are_wrong(own_loom: Loom, no_locks: None, no_belts: None) -> None:
    found = facts_found(own_loom, pairs.refund_and_result(pairs.RETURNED, 30))
    assert found.get("M1", 0) >= LOOKS // 3, found


@pytest.mark.parametrize(
    "pair", [pairs.two_refunds, pairs.two_payments_are_paid, pairs.notice_and_closed], ids=lambda pair: pair.__name__
)
def test_without_locks_the_belts_alone_keep_the_money_right(loom: Loom, no_locks: None, pair: Any) -> None:
    """What a lock prevents, the guards and constraints still refuse: the fact is told again, on the order as it stands."""
    assert facts_found(loom, pair) == {}


def test_a_refund_that_is_checked_outside_the_lock_is_made_twice(loom: Loom, monkeypatch: pytest.MonkeyPatch) -> None:
    """The classic: look whether enough is left, then refund. Nothing else is loosened: no lock helps a check outside it."""
    monkeypatch.setattr(refunding, "_refuse_unrefundable", lambda *_: None)

    def begin(loom: Loom) -> tuple[dict[str, Work], Facts]:
        order_id, tellings = pairs.two_refunds_sent_at_once(loom.stores[0])
        named = dict(zip("AB", tellings, strict=True))
        works = {name: _checked_before(loom.stores[i], order_id, one) for i, (name, one) in enumerate(named.items())}
        return works, Facts(order_id, named)

    found = finds(loom, Scene(begin), lambda played: facts_wrong(loom, played))
    assert found.get("M1", 0) >= LOOKS // 3, found


def _checked_before(store: Store, order_id: str, one: Telling) -> Work:
    def work() -> Any:
        effective = loaded(store, order_id).effective
        if effective is None or effective.balance_minor < 70:
            raise Refused(Reason.REFUND_EXCEEDS_BALANCE, "Too much.")
        return tell(store, one)

    return work


# ---------------------------------------------------------------------------------------------- requests, tasks, keys


def test_a_request_that_is_not_kept_as_the_only_one_creates_two_orders(
    loom: Loom, monkeypatch: pytest.MonkeyPatch
) -> None:
    def put_requests(unit: Unit, requests: Sequence[StoredRequest]) -> None:
        rows = [(*r.key, r.canonical.decode(), r.order_id, r.subject_id, r.at) for r in requests]
        unit._change_many(telling._NEW_REQUESTS, rows)

    monkeypatch.setattr(Unit, "put_requests", put_requests)
    found = finds(loom, creates.scene_of(creates.same_request), lambda played: creates.create_wrong(loom, played))
    assert found.get("I1", 0) >= LOOKS // 3, found


def test_tasks_that_are_taken_without_a_lock_are_taken_twice(loom: Loom, monkeypatch: pytest.MonkeyPatch) -> None:
    due = tasks._DUE
    monkeypatch.setattr(tasks, "_DUE", Statement(due.sqlite, due.postgresql.replace("FOR UPDATE SKIP LOCKED", "")))
    found = finds(loom, Scene(workers.due_everywhere), lambda played: workers.claims_wrong(loom, played))
    assert found.get("W1", 0) >= LOOKS // 3, found


def test_versions_that_are_read_without_a_lock_are_lost(loom: Loom, monkeypatch: pytest.MonkeyPatch) -> None:
    get_account = Admin.get_account
    monkeypatch.setattr(Admin, "get_account", lambda unit, account_id, **_: get_account(unit, account_id))
    scene = keys.scene_of(keys.rotates("key-2"), keys.rotates("key-3"))
    found = finds(loom, scene, lambda played: keys.keys_wrong(loom, played))
    assert found.get("lost", 0) >= LOOKS // 12, found


def test_batches_that_lock_in_no_order_end_in_a_deadlock(loom: Loom, monkeypatch: pytest.MonkeyPatch) -> None:
    load = Unit.load

    def one_by_one(unit: Unit, order_ids: Sequence[str], *, lock: bool = False) -> dict[str, Order]:
        backwards = threading.current_thread().name == "player B"
        found: dict[str, Order] = {}
        for order_id in sorted(order_ids, reverse=backwards):
            found |= load(unit, [order_id], lock=lock)
        return found

    monkeypatch.setattr(Unit, "load", one_by_one)

    def begin(loom: Loom) -> tuple[dict[str, Work], None]:
        orders = [waiting_order(loom.stores[0]) for _ in range(2)]
        batches = [[notice(order.order_id, order.payments[0].payment_id) for order in orders] for _ in range(2)]
        return {name: tells(loom.stores[i], *batches[i]) for i, name in enumerate("AB")}, None

    played = one_order(loom, Scene(begin), "ABABABABAB")
    assert played.deadlocks == 1, str(played)
