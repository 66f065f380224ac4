"""The belt: what the database refuses, whatever the code above it believes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from paycore.core.decide import ReferenceClaim
from paycore.core.ids import Prefix
from paycore.core.order import Order, PaymentState
from paycore.store import Change, Conflict, LostClaim, Store, StoreBroken, StoreError
from tests.store.made import Told, loaded, new_id, renumbered, stored


def put(store: Store, *changes: Change) -> None:
    with store.write() as unit:
        unit.save(changes)


# ---------------------------------------------------------------------------------------------- who was first


def test_a_stale_order_is_not_saved(store: Store) -> None:
    [told] = stored(store)
    before = told.now
    put(store, renumbered(before, replace(before, paid_at=1)))
    with pytest.raises(Conflict) as lost:
        put(store, renumbered(before, replace(before, paid_at=2)))
    assert lost.value.constraint == "stale_guard"
    assert loaded(store, before.order_id).paid_at == 1


def test_a_stale_payment_is_not_saved_although_its_order_did_not_move(store: Store) -> None:
    told = Told().asks().save(store)
    before, payment = told.now, told.now.payments[0]
    with store.write() as unit:
        assert unit.claim_due(told.at, told.at + 1, 9, subject_id=payment.payment_id)
    late = replace(before, payments=(replace(payment, is_switching=True),))
    with pytest.raises(Conflict, match="constraint"):
        put(store, Change(before, late))
    assert not loaded(store, before.order_id).payments[0].is_switching


def test_a_lost_batch_leaves_nothing_behind(store: Store) -> None:
    [told] = stored(store)
    fresh, stale = Told(), renumbered(told.now, replace(told.now, paid_at=1))
    put(store, stale)
    with pytest.raises(Conflict), store.write() as unit:
        unit.save([fresh.change(), stale])
    with store.read() as unit:
        assert unit.load([fresh.now.order_id]) == {}


def test_two_tellers_of_one_order_wait_for_each_other(store: Store) -> None:
    """Loading with a lock and saving is one piece: eight threads add 100 each and none is lost."""
    [told] = stored(store)
    order_id = told.now.order_id

    def tell() -> None:
        for _ in range(5):
            with store.write() as unit:
                before = unit.load([order_id], lock=True)[order_id]
                unit.save([renumbered(before, replace(before, paid_at=(before.paid_at or 0) + 100))])

    in_threads(tell, 8)
    after = loaded(store, order_id)
    assert (after.paid_at, after.version) == (4000, 41)


def in_threads(work: Any, count: int) -> None:
    failures: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    if failures:
        raise failures[0]


# ---------------------------------------------------------------------------------------------- what is unique


def test_a_merchant_order_no_is_one_order_of_its_app(store: Store) -> None:
    stored(store, number="m-1")
    with pytest.raises(Conflict) as lost:
        stored(store, number="m-1")
    assert lost.value.constraint == "uq_orders_merchant_order_no"
    stored(store, number="m-1", app_id="another")


@pytest.fixture
def slow_store(pg_store: Store) -> Iterator[Store]:
    """PostgreSQL that takes its time over every order, so that two batches are surely at it together."""
    body = "BEGIN PERFORM pg_sleep(0.05); RETURN NEW; END"
    by_hand(pg_store, f"CREATE FUNCTION doze() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$")
    by_hand(pg_store, "CREATE TRIGGER dozing BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION doze()")
    yield pg_store
    by_hand(pg_store, "DROP FUNCTION doze CASCADE")


def by_hand(store: Store, statement: str) -> None:
    with store.write() as unit:
        unit._connection.exec_driver_sql(statement)


def test_the_same_numbers_in_another_order_are_no_deadlock(slow_store: Store) -> None:
    """Two processes are sent the same batch, one the other way round: one is first, the other learns it."""
    numbers = [f"m-{n}" for n in range(6)]
    batches = iter([numbers, numbers[::-1]])
    lost: list[str] = []

    def save() -> None:
        orders = [Told(number=number) for number in next(batches)]
        try:
            with slow_store.write() as unit:
                unit.save([told.change() for told in orders])
        except Conflict as conflict:
            lost.append(conflict.constraint)

    in_threads(save, 2)
    assert lost == ["uq_orders_merchant_order_no"]


def test_orders_without_a_number_are_many(store: Store) -> None:
    assert len(stored(store, 3, number="")) == 3


def test_a_merchant_refund_no_is_one_refund_of_its_order(store: Store) -> None:
    told = Told().pays().refunds(30, number="r-1").save(store)
    told.refunds(30, number="r-1")
    with pytest.raises(Conflict) as lost:
        told.save(store)
    assert lost.value.constraint == "uq_refunds_merchant_refund_no"


def test_an_order_is_paid_by_one_payment(store: Store) -> None:
    told = Told().pays().save(store)
    paid = told.now.payments[0]
    second = replace(paid, payment_id=new_id(Prefix.PAYMENT))
    with pytest.raises(Conflict) as lost:
        put(store, renumbered(told.now, replace(told.now, payments=(paid, second))))
    assert lost.value.constraint == "uq_payments_effective"


def test_an_event_number_is_used_once(store: Store) -> None:
    told = Told()
    events = told.events
    told.save(store)
    with pytest.raises(Conflict) as lost:
        put(store, Change(told.now, told.now, events))
    assert lost.value.constraint == "pk_events"


# ---------------------------------------------------------------------------------------------- what is possible


PAYMENT: dict[str, dict[str, Any]] = {
    "amount_minor_positive": {"amount_minor": 0},
    "quantity_positive": {"quantity": 0},
    "currency": {"currency": "RENMINBI"},
    "captured_minor_not_negative": {"captured_minor": -1},
    "refunding_minor_not_negative": {"refunding_minor": -1},
    "refunded_minor_not_negative": {"refunded_minor": -1},
    "sends_not_negative": {"sends": -1},
    "effective_succeeded": {"is_effective": True, "state": PaymentState.PENDING},
}
ORDER: dict[str, dict[str, Any]] = {
    "amount_minor_positive": {"amount_minor": -5},
    "currency": {"currency": "¥"},
    "version_positive": {"version": 0},
}
REFUND: dict[str, dict[str, Any]] = {
    "amount_minor_positive": {"amount_minor": 0},
    "answered_not_negative": {"answered": -1},
}


def refused(store: Store, order: Order) -> str:
    with pytest.raises(Conflict) as lost:
        put(store, Change(None, order))
    return lost.value.constraint


@pytest.mark.parametrize("rule", PAYMENT)
def test_no_impossible_payment_is_stored(store: Store, rule: str) -> None:
    order = Told().asks().now
    wrong = replace(order, payments=(replace(order.payments[0], **PAYMENT[rule]),))
    assert refused(store, wrong) == f"ck_payments_{rule}"


@pytest.mark.parametrize("rule", ORDER)
def test_no_impossible_order_is_stored(store: Store, rule: str) -> None:
    assert refused(store, replace(Told().now, **ORDER[rule])) == f"ck_orders_{rule}"


@pytest.mark.parametrize("rule", REFUND)
def test_no_impossible_refund_is_stored(store: Store, rule: str) -> None:
    order = Told().pays().refunds().now
    wrong = replace(order, refunds=(replace(order.refunds[0], **REFUND[rule]),))
    assert refused(store, wrong) == f"ck_refunds_{rule}"


def test_a_refund_belongs_to_a_payment(store: Store) -> None:
    order = Told().pays().refunds().now
    wrong = replace(order, refunds=(replace(order.refunds[0], payment_id="py-nobody"),))
    assert refused(store, wrong) in ("fk_refunds_payment_id", "foreign_key")


@pytest.mark.parametrize("statement", ["UPDATE orders SET state = 'HAPPY'", "UPDATE orders SET task_verb = NULL"])
def test_no_impossible_state_is_written_by_hand(store: Store, statement: str) -> None:
    stored(store)
    with pytest.raises(Conflict) as lost, store.write() as unit:
        unit._connection.exec_driver_sql(statement)
    assert lost.value.constraint in ("ck_orders_state", "ck_orders_task_whole")


def test_a_text_does_not_slip_into_a_number(store: Store) -> None:
    """What SQLModel lets pass silently, both databases refuse."""
    order = replace(Told().now, amount_minor="much")  # type: ignore[arg-type]
    with pytest.raises(StoreBroken):
        put(store, Change(None, order))


@pytest.mark.parametrize("number", [2**63, "half \ud83c", object()], ids=["huge", "half a character", "an object"])
def test_what_no_database_holds_is_refused(store: Store, number: Any) -> None:
    order = Told().now
    wrong = replace(order, amount_minor=number) if isinstance(number, int) else replace(order, merchant_order_no=number)
    with pytest.raises(StoreError):
        put(store, Change(None, wrong))


# ---------------------------------------------------------------------------------------------- claims


def claimed(value: str, payment_id: str) -> ReferenceClaim:
    return ReferenceClaim("sandbox", "sandbox", "transaction_id", value, payment_id)


def test_a_reference_belongs_to_one_payment_ever(store: Store) -> None:
    mine, theirs = Told().asks().save(store), Told().asks().save(store)
    claim = claimed("t-1", mine.now.payments[0].payment_id)
    put(store, Change(mine.now, mine.now, (), (claim,)))
    put(store, Change(mine.now, mine.now, (), (claim, claim)))  # telling it again changes nothing
    late = claimed("t-1", theirs.now.payments[0].payment_id)
    with pytest.raises(LostClaim) as lost:
        put(store, Change(theirs.now, theirs.now, (), (late,)))
    assert lost.value.claim == late


def test_a_reference_that_many_claim_at_once_goes_to_one(store: Store) -> None:
    orders = [Told().asks().save(store) for _ in range(5)]
    waiting = iter(orders)
    lost: list[str] = []

    def claim() -> None:
        order = next(waiting).now
        try:
            put(store, Change(order, order, (), (claimed("t-3", order.payments[0].payment_id),)))
        except LostClaim as loss:
            lost.append(loss.claim.payment_id)

    in_threads(claim, 5)
    with store.read() as unit:
        [owner] = unit.find_references([("sandbox", "sandbox", "transaction_id", "t-3")]).values()
    assert sorted([owner, *lost]) == sorted(told.now.payments[0].payment_id for told in orders)


def test_two_payments_in_one_batch_do_not_share_a_reference(store: Store) -> None:
    one, two = Told().asks().save(store), Told().asks().save(store)
    claims = [claimed("t-2", told.now.payments[0].payment_id) for told in (one, two)]
    with pytest.raises(LostClaim):
        put(store, *(Change(told.now, told.now, (), (claim,)) for told, claim in zip((one, two), claims, strict=True)))
    with store.read() as unit:
        assert unit.find_references([("sandbox", "sandbox", "transaction_id", "t-2")]) == {}


# ---------------------------------------------------------------------------------------------- what travels up


def test_no_error_carries_what_the_database_said(store: Store) -> None:
    secret = "canary-7f3a"
    stored(store, number=secret)
    failures: list[BaseException] = []
    for wrong in (
        lambda: stored(store, number=secret),
        lambda: put(store, Change(None, replace(Told().now, currency=secret))),
        lambda: put(store, Change(None, replace(Told().now, amount_minor=secret))),  # type: ignore[arg-type]
        lambda: put(store, Change(None, replace(Told().now, merchant_order_no=f"{secret}\ud83c"))),
    ):
        with pytest.raises(StoreError) as caught:
            wrong()
        failures.append(caught.value)
    for failure in failures:
        shown = f"{failure!r} {failure} {failure.__cause__!r} {vars(failure)}"
        assert secret not in shown
        assert "INSERT" not in shown
        assert failure.__suppress_context__
