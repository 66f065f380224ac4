"""Lists: newest first, page after page, without a gap and without anything twice; and only one's own."""

from __future__ import annotations

from dataclasses import replace

from paycore.core.order import AnomalyKind, AnomalyState, OrderState, RefundState
from paycore.core.terms import SECOND
from paycore.store import Store
from tests.store.made import APP, NOW, OTHER_APP, Told, renumbered
from tests.store.test_evidence import orphan


def test_orders_come_newest_first_page_after_page(store: Store) -> None:
    orders = [Told(at=NOW + (place // 2) * SECOND).save(store) for place in range(7)]
    Told(OTHER_APP).save(store)
    found, key = [], None
    with store.read() as unit:
        while page := unit.list_orders(APP, after_key=key, limit=3):
            found += page
            key = (page[-1].created_at, page[-1].order_id)
        everybody = unit.list_orders(None, limit=100)
    assert found == sorted((t.now for t in orders), key=lambda o: (o.created_at, o.order_id), reverse=True)
    assert len(everybody) == 8


def test_orders_are_listed_whole(store: Store) -> None:
    told = Told().pays().refunds().save(store)
    with store.read() as unit:
        assert unit.list_orders(APP) == [told.now]


def test_orders_are_picked_by_state_and_time(store: Store) -> None:
    old, new = Told(at=NOW).pays().save(store), Told(at=NOW + 10 * SECOND).save(store)
    with store.read() as unit:
        assert unit.list_orders(APP, states=[OrderState.PAID]) == [old.now]
        assert unit.list_orders(APP, states=[OrderState.PENDING, OrderState.CLOSING]) == [new.now]
        assert unit.list_orders(APP, created_from=NOW + 1) == [new.now]
        assert unit.list_orders(APP, created_to=NOW + 10 * SECOND) == [old.now]
        assert unit.list_orders(APP, created_from=NOW, created_to=NOW) == []


def test_refunds_are_listed_with_their_orders(store: Store) -> None:
    one, two = Told().pays().refunds(30).refunds(20).save(store), Told().pays().refunds(10).save(store)
    Told(OTHER_APP).pays().refunds().save(store)
    with store.read() as unit:
        mine = unit.list_refunds(APP)
        assert {(listed.order_id, listed.refund.amount_minor) for listed in mine} == {
            (one.now.order_id, 30),
            (one.now.order_id, 20),
            (two.now.order_id, 10),
        }
        assert [listed.refund for listed in unit.list_refunds(APP, order_id=one.now.order_id)] == [
            *reversed(one.now.refunds)
        ]
        first = unit.list_refunds(APP, limit=2)
        last = first[-1].refund
        rest = unit.list_refunds(APP, after_key=(last.created_at, last.refund_id), limit=2)
        assert first + rest == mine
        assert unit.list_refunds(APP, states=[RefundState.SUCCEEDED]) == []
        assert unit.list_refunds(APP, created_from=last.created_at + 10**9) == []


def test_anomalies_are_listed_orphans_among_them(store: Store) -> None:
    told = Told().pays().save(store)
    late = replace(orphan("late"), kind=AnomalyKind.LATE_PAYMENT, opened_at=NOW + 5)
    done = replace(orphan("done"), kind=AnomalyKind.OVER_REFUND, state=AnomalyState.RESOLVED)
    with store.write() as unit:
        unit.save([renumbered(told.now, replace(told.now, anomalies=(late, done)))])
        unit.put_orphan(orphan(), APP, "ac-1")
        unit.put_orphan(orphan("theirs"), OTHER_APP, "ac-2")
    with store.read() as unit:
        listed = unit.list_anomalies(APP)
        assert (listed[0].order_id, listed[0].anomaly) == (told.now.order_id, late)
        assert {one.anomaly.anomaly_id for one in listed} == {late.anomaly_id, done.anomaly_id, orphan().anomaly_id}
        assert [one.anomaly for one in unit.list_anomalies(APP, states=[AnomalyState.RESOLVED])] == [done]
        assert [one.anomaly for one in unit.list_anomalies(APP, kinds=[AnomalyKind.ORPHAN_NOTICE])] == [orphan()]
        assert len(unit.list_anomalies(APP, order_id=told.now.order_id)) == 2
        first = unit.list_anomalies(APP, limit=1)[0].anomaly
        rest = unit.list_anomalies(APP, after_key=(first.opened_at, first.anomaly_id))
        assert [first, *(one.anomaly for one in rest)] == [one.anomaly for one in listed]
