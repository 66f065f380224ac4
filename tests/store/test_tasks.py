"""Tasks are taken by one worker at a time, and nothing that was sent is forgotten."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from dataclasses import replace

import pytest

from paycore.core.facts import CloseAsked
from paycore.core.order import CloseReason, Verb
from paycore.core.terms import SECOND
from paycore.store import Conflict, Due, Store
from tests.store.made import ACCOUNT, APP, LEASE, NOW, Told, loaded, renumbered
from tests.store.test_belt import in_threads


def take(store: Store, now: int, limit: int = 100, subject_id: str | None = None) -> list[Due]:
    with store.write() as unit:
        return unit.claim_due(now, now + LEASE, limit, subject_id=subject_id)


def next_due(store: Store, now: int = NOW) -> int | None:
    with store.read() as unit:
        return unit.next_due_at(now)


def test_a_due_task_is_taken_with_everything_that_a_worker_needs(store: Store) -> None:
    told = Told().asks().save(store)
    payment = told.now.payments[0]
    [due] = take(store, told.at)
    assert due == Due(
        table="payments",
        subject_id=payment.payment_id,
        order_id=told.now.order_id,
        app_id=APP,
        account_id=ACCOUNT,
        verb=Verb.PREPARE,
        tries=1,
        fence=payment.fence + 1,
        leased_until=told.at + LEASE,
    )


def test_the_lease_is_on_the_row(store: Store) -> None:
    told = Told().asks().save(store)
    [due] = take(store, told.at)
    row = loaded(store, told.now.order_id).payments[0]
    before = told.now.payments[0]
    assert before.task is not None
    assert row == replace(
        before,
        task=replace(before.task, tries=1, leased_until=told.at + LEASE),
        fence=due.fence,
        sends=before.sends + 1,
    )


def test_nothing_is_taken_before_it_is_due(store: Store) -> None:
    told = Told().save(store)
    expiry = told.now.expires_at
    assert take(store, expiry - 1) == []
    assert next_due(store) == expiry
    [due] = take(store, expiry)
    assert (due.table, due.verb, due.account_id) == ("orders", Verb.EXPIRE, None)


def test_a_task_is_due_again_when_its_lease_ends_and_the_fence_rises(store: Store) -> None:
    told = Told().asks().save(store)
    [first] = take(store, told.at)
    assert take(store, told.at + LEASE - 1) == []
    assert next_due(store, told.at) == told.at + LEASE
    [second] = take(store, told.at + LEASE)
    assert (second.tries, second.fence) == (first.tries + 1, first.fence + 1)
    assert loaded(store, told.now.order_id).payments[0].sends == 2


def test_sends_are_counted_where_something_is_sent(store: Store) -> None:
    paid = Told().pays().refunds().save(store)
    refund = paid.now.refunds[0]
    take(store, paid.at, subject_id=refund.refund_id)
    assert loaded(store, paid.now.order_id).refunds[0].sends == refund.sends + 1

    waiting = Told().waits().save(store)
    payment = waiting.now.payments[0]
    assert payment.task is not None
    assert payment.task.verb is Verb.QUERY
    take(store, payment.task.due_at, subject_id=payment.payment_id)
    assert loaded(store, waiting.now.order_id).payments[0].sends == payment.sends


def test_one_row_may_be_asked_for(store: Store) -> None:
    one, two = Told().asks().save(store), Told().asks().save(store)
    wanted = two.now.payments[0].payment_id
    assert [due.subject_id for due in take(store, two.at, subject_id=wanted)] == [wanted]
    assert take(store, two.at, subject_id=wanted) == []
    assert take(store, two.at, subject_id="py-nobody") == []
    assert take(store, two.at, subject_id="nobody") == []
    assert [due.subject_id for due in take(store, two.at)] == [one.now.payments[0].payment_id]


def test_the_tasks_of_some_accounts_may_be_left(store: Store) -> None:
    mine, theirs = Told().asks().save(store), Told().asks(account_id="ac-slow").save(store)
    late = mine.now.expires_at

    def taken(*sparing: str) -> set[str]:
        with store.write() as unit:
            found = unit.claim_due(late, late, 100, sparing=sparing)  # a lease that ends at once
        return {due.subject_id for due in found}

    orders = {mine.now.order_id, theirs.now.order_id}
    ours, slow = mine.now.payments[0].payment_id, theirs.now.payments[0].payment_id
    assert taken() == orders | {ours, slow}
    assert taken("ac-slow") == orders | {ours}
    assert taken("", "ac-slow") == {ours}
    assert taken("", "ac-slow", ACCOUNT) == set()


def test_the_longest_due_come_first_whatever_they_are(store: Store) -> None:
    orders = [Told(at=NOW + place * SECOND) for place in range(3)]
    for told in orders:
        told.save(store)
    waiting = Told(at=NOW).waits().save(store)
    task = waiting.now.payments[0].task
    assert task is not None
    late = orders[-1].now.expires_at
    found = take(store, late, limit=3)
    assert [due.subject_id for due in found] == [
        waiting.now.payments[0].payment_id,
        *sorted([orders[0].now.order_id, waiting.now.order_id]),
    ]
    assert len(take(store, late, limit=100)) == 2


def test_two_workers_never_take_the_same_task(store: Store) -> None:
    orders = [Told().asks() for _ in range(60)]
    with store.write() as unit:
        unit.save([told.change() for told in orders])
    taken: Counter[str] = Counter()
    lock = threading.Lock()

    def work() -> None:
        for _ in range(30):
            found = take(store, orders[0].at, limit=3)
            with lock:
                taken.update(due.subject_id for due in found)

    in_threads(work, 3)
    taken.update(due.subject_id for due in take(store, orders[0].at, limit=100))
    assert taken == Counter(told.now.payments[0].payment_id for told in orders)


def test_a_teller_who_holds_an_order_keeps_its_tasks(store: Store) -> None:
    """Taking passes by what is locked; what is saved then is not overwritten by the lease."""
    told = Told().asks().save(store)
    order_id = told.now.order_id
    took: list[Due] = []
    with store.write() as unit:
        before = unit.load([order_id], lock=True)[order_id]
        worker = threading.Thread(target=lambda: took.extend(take(store, told.at)))
        worker.start()
        if store.dialect == "postgresql":
            worker.join(10)
            assert took == []
        payment = replace(before.payments[0], is_switching=True, fence=before.payments[0].fence + 1, updated_at=told.at)
        unit.save([renumbered(before, replace(before, payments=(payment,)))])
    worker.join(10)
    after = loaded(store, order_id).payments[0]
    assert after.is_switching
    assert after.fence == payment.fence + len(took)


def test_a_taken_task_is_not_saved_over_by_who_did_not_see_the_lease(store: Store) -> None:
    told = Told().asks().save(store)
    before = told.now
    take(store, told.at)
    payment = replace(before.payments[0], task=None, fence=before.payments[0].fence + 1, updated_at=told.at)
    with pytest.raises(Conflict), store.write() as unit:
        unit.save([renumbered(before, replace(before, payments=(payment,)))])


def test_a_row_without_a_task_is_never_due(store: Store) -> None:
    told = Told()
    told.tell(CloseAsked(CloseReason.REQUESTED)).save(store)
    assert told.now.task is None
    assert next_due(store) is None
    assert take(store, NOW + 10**15) == []


def test_what_is_overdue_is_due_now(store: Store) -> None:
    told = Told().asks().save(store)
    assert next_due(store, told.at + 10**9) == told.at + 10**9


def test_a_named_lease_has_one_holder(store: Store) -> None:
    def hold(owner: str, now: int) -> bool:
        with store.write() as unit:
            return unit.take_lease("feed", owner, now, now + 10)

    assert hold("a", 0)
    assert not hold("b", 5)
    assert hold("a", 9)
    assert not hold("b", 18)
    assert hold("b", 19)
    with store.write() as unit:
        unit.drop_lease("feed", "a")
    assert not hold("a", 20)
    with store.write() as unit:
        unit.drop_lease("feed", "b")
    assert hold("a", 20)


def test_many_ask_for_a_lease_and_one_gets_it(store: Store) -> None:
    got: list[int] = []
    names = itertools.count()

    def ask() -> None:
        name = next(names)
        with store.write() as unit:
            if unit.take_lease("feed", f"process {name}", 0, 10):
                got.append(name)

    in_threads(ask, 6)
    assert len(got) == 1
