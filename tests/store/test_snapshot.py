"""What is saved is what is loaded, field by field."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from paycore.core.decide import ReferenceClaim
from paycore.core.events import Event
from paycore.core.findings import Failure
from paycore.core.ids import Prefix
from paycore.core.order import (
    Anomaly,
    AnomalyKind,
    AnomalyState,
    CloseReason,
    Details,
    Given,
    LineItem,
    Order,
    OrderState,
    Origin,
    Payment,
    PaymentState,
    Refund,
    RefundOrigin,
    RefundState,
    Remedy,
    SurplusPolicy,
    Task,
    Verb,
)
from paycore.core.terms import AfterUnknown, Price, Terms
from paycore.store import Change, ReferenceKey, Store
from tests.store.made import Told, loaded, new_id, renumbered, stored

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
MINOR = st.integers(0, 10**12)
TIME = st.integers(0, 2**53)
MAYBE_TIME = st.none() | TIME
COUNT = st.integers(0, 9)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
TASK = st.none() | st.builds(Task, st.sampled_from(Verb), TIME, COUNT, MAYBE_TIME)
FAILURE = st.none() | st.builds(Failure, TEXT, TEXT, TEXT, TEXT)
TERMS = st.builds(
    Terms,
    price=st.sampled_from(Price),
    after_unknown=st.sampled_from(AfterUnknown),
    can_query=st.booleans(),
    can_close=st.booleans(),
    close_reverses=st.booleans(),
    can_refund=st.booleans(),
    can_query_refund=st.booleans(),
    refund_window=MAYBE_TIME,
    refund_count=st.none() | COUNT,
    margin=TIME,
)
CURRENCY = st.sampled_from(["CNY", "JPY", "KWD"])
AMOUNT = MINOR.map(lambda amount: amount + 1)
DETAILS = st.builds(
    Details,
    subject=TEXT,
    description=TEXT,
    items=st.lists(st.builds(LineItem, TEXT, TEXT, COUNT, MINOR), max_size=3).map(tuple),
    metadata=st.dictionaries(TEXT, TEXT, max_size=3),
    return_url=TEXT,
)


MOVING: dict[type, dict[str, st.SearchStrategy[Any]]] = {
    Order: {
        "state": st.sampled_from(OrderState),
        "close_reason": st.none() | st.sampled_from(CloseReason),
        "paid_at": MAYBE_TIME,
        "closed_at": MAYBE_TIME,
        "updated_at": TIME,
        "task": TASK,
        "fence": COUNT,
    },
    Payment: {
        "state": st.sampled_from(PaymentState),
        "is_superseded": st.booleans(),
        "is_kept": st.booleans(),
        "is_switching": st.booleans(),
        "is_reversed": st.booleans(),
        "captured_minor": MINOR,
        "captured_currency": TEXT,
        "refunding_minor": MINOR,
        "refunded_minor": MINOR,
        "channel_trade_no": TEXT,
        "plan_json": TEXT,
        "plan_expires_at": MAYBE_TIME,
        "failure": FAILURE,
        "paid_at": MAYBE_TIME,
        "sends": COUNT,
        "close_unanswered_until": MAYBE_TIME,
        "watch_until": MAYBE_TIME,
        "updated_at": TIME,
        "task": TASK,
        "fence": COUNT,
    },
    Refund: {
        "state": st.sampled_from(RefundState),
        "channel_refund_no": TEXT,
        "failure": FAILURE,
        "refunded_at": MAYBE_TIME,
        "sends": COUNT,
        "answered": COUNT,
        "refused_at": MAYBE_TIME,
        "looks": COUNT,
        "updated_at": TIME,
        "task": TASK,
        "fence": COUNT,
    },
    Anomaly: {
        "opened_at": TIME,
        "state": st.sampled_from(AnomalyState),
        "payment_id": TEXT,
        "refund_id": TEXT,
        "amount_minor": MINOR,
        "currency": TEXT,
        "detail": TEXT,
        "resolved_at": MAYBE_TIME,
        "remedy": st.none() | st.sampled_from(Remedy),
        "note": TEXT,
    },
}
"""The fields that change during a life."""

FIXED: dict[type, dict[str, st.SearchStrategy[Any]]] = {
    Order: {
        "order_id": st.builds(new_id, st.just(Prefix.ORDER)),
        "app_id": TEXT,
        "amount_minor": AMOUNT,
        "currency": CURRENCY,
        "details": DETAILS,
        "surplus_policy": st.sampled_from(SurplusPolicy),
        "created_at": TIME,
        "expires_at": TIME,
        "merchant_order_no": st.just("") | st.builds(new_id, st.just(Prefix.ORDER)),
        "merchant_payer_no": TEXT,
        "origin": st.sampled_from(Origin),
    },
    Payment: {
        "payment_id": st.builds(new_id, st.just(Prefix.PAYMENT)),
        "channel": TEXT,
        "method": TEXT,
        "account_id": TEXT,
        "environment": TEXT,
        "merchant": TEXT,
        "amount_minor": AMOUNT,
        "currency": CURRENCY,
        "terms": TERMS,
        "created_at": TIME,
        "expires_at": TIME,
        "target": TEXT,
        "inputs": st.dictionaries(TEXT, TEXT, max_size=3),
        "client": st.dictionaries(TEXT, PLAIN, max_size=3),
        "product_id": TEXT,
        "quantity": COUNT.map(lambda count: count + 1),
        "token": TEXT,
        "offers": st.lists(st.builds(Given, TEXT, AMOUNT, TEXT, TEXT, MINOR, COUNT, st.booleans()), max_size=3).map(
            tuple
        ),
    },
    Refund: {
        "refund_id": st.builds(new_id, st.just(Prefix.REFUND)),
        "amount_minor": AMOUNT,
        "currency": CURRENCY,
        "origin": st.sampled_from(RefundOrigin),
        "created_at": TIME,
        "merchant_refund_no": st.just("") | st.builds(new_id, st.just(Prefix.REFUND)),
        "reason": TEXT,
    },
    Anomaly: {
        "anomaly_id": st.builds(new_id, st.just(Prefix.ANOMALY)),
        "kind": st.sampled_from(AnomalyKind),
    },
}
"""The fields that are written once."""

OTHERWISE = {
    Order: {"version", "payments", "refunds", "anomalies"},
    Payment: {"is_effective"},
    Refund: {"payment_id"},
    Anomaly: set(),
}
"""The fields that the snapshots below set by a rule of their own."""

T = TypeVar("T", Order, Payment, Refund, Anomaly)


def new(kind: type[T], **given: Any) -> st.SearchStrategy[T]:
    return st.builds(kind, **FIXED[kind], **MOVING[kind], **{name: st.just(value) for name, value in given.items()})


def again(row: T) -> st.SearchStrategy[T]:
    """The row with every moving field drawn anew."""
    return st.fixed_dictionaries(MOVING[type(row)]).map(lambda fields: replace(row, **fields))


@st.composite
def parts(draw: st.DrawFn, most: int) -> dict[str, tuple[Any, ...]]:
    """New payments, their refunds, and anomalies."""
    payments = tuple(draw(new(Payment)) for _ in range(draw(st.integers(0, most))))
    refunds = tuple(draw(new(Refund, payment_id=payment.payment_id)) for payment in payments)
    anomalies = tuple(draw(new(Anomaly)) for _ in range(draw(st.integers(0, most))))
    return {"payments": payments, "refunds": refunds, "anomalies": anomalies}


@st.composite
def orders(draw: st.DrawFn) -> Order:
    return draw(new(Order, version=1, **draw(parts(2))))


@st.composite
def moved(draw: st.DrawFn, order: Order) -> Order:
    """The order with everything that moves drawn anew, and perhaps more rows of each kind."""
    more = draw(parts(1))
    return replace(
        draw(again(order)),
        version=order.version + 1,
        payments=tuple(draw(again(row)) for row in order.payments) + more["payments"],
        refunds=tuple(draw(again(row)) for row in order.refunds) + more["refunds"],
        anomalies=tuple(draw(again(row)) for row in order.anomalies) + more["anomalies"],
    )


@given(data=st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_snapshot_comes_back_as_it_was_saved(store: Store, data: st.DataObject) -> None:
    first = [data.draw(orders()), data.draw(orders())]
    with store.write() as unit:
        unit.save([Change(None, order) for order in first])
    assert [loaded(store, order.order_id) for order in first] == first

    then = [data.draw(moved(order)) for order in first]
    with store.write() as unit:
        unit.save([Change(before, after) for before, after in zip(first, then, strict=True)])
    assert [loaded(store, order.order_id) for order in then] == then


@pytest.mark.parametrize("kind", FIXED, ids=lambda kind: kind.__name__)
def test_every_field_of_the_core_is_drawn_above(kind: Any) -> None:
    """A field that somebody adds to the core must be added to the store, and here."""
    assert {field.name for field in fields(kind)} == set(FIXED[kind]) | set(MOVING[kind]) | OTHERWISE[kind]


def test_a_whole_life_is_loaded_as_it_was_decided(store: Store) -> None:
    told = Told()
    for step in (Told.waits, Told.pays, Told.refunds, Told.refunds):
        told = Told().waits() if step is Told.waits else step(told if step is Told.refunds else Told())
        told.save(store)
        assert loaded(store, told.now.order_id) == told.now


def test_events_come_back_as_they_were_announced(store: Store) -> None:
    told = Told().pays().refunds()
    events = told.events
    told.save(store)
    order_id = told.now.order_id
    with store.read() as unit:
        assert unit.events_after({order_id: 0}, 100) == {order_id: list(events)}
        assert unit.events_after({order_id: 2}, 2) == {order_id: list(events[2:4])}
        assert unit.events_after({order_id: len(events)}, 100) == {}
        assert unit.versions([order_id, "nobody"]) == {order_id: len(events)}


def test_figures_of_any_kind_come_back(store: Store) -> None:
    [told] = stored(store)
    figures = {"text": "茶 \u2028 \U0001f375", "none": None, "list": [1, "2", None], "big": 2**53, "no": False}
    event = Event(told.now.order_id, 2, 5, "order.updated", "order", told.now.order_id, "ByHand", figures)
    with store.write() as unit:
        unit.save([Change(told.now, replace(told.now, version=2), (event,))])
    with store.read() as unit:
        assert unit.events_after({told.now.order_id: 1}, 9) == {told.now.order_id: [event]}


def test_what_did_not_change_is_not_written(store: Store) -> None:
    [told] = stored(store)
    with store.write() as unit:
        unit.save([Change(told.now, told.now), Change(told.now, replace(told.now))])
    assert loaded(store, told.now.order_id) == told.now


def test_orders_that_are_not_there_are_left_out(store: Store) -> None:
    [told] = stored(store)
    with store.read() as unit:
        assert set(unit.load([told.now.order_id, "or-nobody"])) == {told.now.order_id}
        assert unit.load([]) == {}


def test_rows_may_not_change_places(store: Store) -> None:
    told = Told().asks().save(store)
    payment = replace(told.now.payments[0], payment_id=new_id(Prefix.PAYMENT))
    with pytest.raises(ValueError, match="changed places"), store.write() as unit:
        unit.save([Change(told.now, replace(told.now, payments=(payment,)))])


def test_a_payment_is_found_by_what_it_claimed(store: Store) -> None:
    told = Told().asks().save(store)
    payment = told.now.payments[0]
    claim = ReferenceClaim("sandbox", "sandbox", "transaction_id", "t-1", payment.payment_id)
    with store.write() as unit:
        unit.save([Change(told.now, told.now, (), (claim,))])
    with store.read() as unit:
        key = ReferenceKey("sandbox", "sandbox", "transaction_id", "t-1")
        assert unit.find_references([key, key._replace(value="t-2")]) == {key: payment.payment_id}
        assert unit.order_of_payment([payment.payment_id, "nobody"]) == {payment.payment_id: told.now.order_id}


def test_refunds_are_found_by_every_number(store: Store) -> None:
    told = Told().pays().refunds(number="r-1")
    order, refund = told.now, replace(told.now.refunds[0], channel_refund_no="c-1")
    told.save(store)
    with store.write() as unit:
        unit.save([renumbered(order, replace(order, refunds=(refund,)))])
    with store.read() as unit:
        assert unit.order_of_refund([refund.refund_id]) == {refund.refund_id: order.order_id}
        assert unit.refunds_by_number([(order.order_id, "r-1")]) == {(order.order_id, "r-1"): refund.refund_id}
        key = ("sandbox", "sandbox", "c-1")
        assert unit.order_of_channel_refund([key, ("alipay", "sandbox", "c-1")]) == {key: order.order_id}


def test_a_batch_of_any_size_is_the_same_number_of_statements(store: Store) -> None:
    """The promise that makes group commit fast."""

    def statements(count: int) -> list[str]:
        orders = [Told().pays().refunds() for _ in range(count)]
        with store.write() as unit:
            recording: Any = Recording(unit._cursor)
            unit._cursor = recording
            unit.save([told.change() for told in orders])
            unit.load([told.now.order_id for told in orders], lock=True)
            said: list[str] = recording.said
            return said

    assert statements(1) == statements(50)


class Recording:
    """A cursor that remembers what it was told."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor
        self.said: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)

    def execute(self, statement: str, parameters: Any) -> Any:
        self.said.append(statement)
        return self._cursor.execute(statement, parameters)

    def executemany(self, statement: str, rows: Any) -> Any:
        self.said.append(statement)
        return self._cursor.executemany(statement, rows)
