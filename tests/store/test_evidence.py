"""Everything that we were told is kept; the same thing again is counted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from paycore.core.edit import anomaly_id
from paycore.core.findings import ChannelRefund, Paid, Reference, StorePurchase
from paycore.core.order import Anomaly, AnomalyKind, AnomalyState, Remedy
from paycore.store import Conflict, Evidence, KeptEvidence, ListedAnomaly, Store
from tests.store.made import ACCOUNT, APP, NOW, OTHER_APP, stored


def evidence(order_id: str, digest: str, at: int, *, verified: bool = True) -> Evidence:
    return Evidence(order_id, "py-1", "NOTICE", digest, at, '{"kind":"Paid","amount_minor":100}', verified)


def put(store: Store, *pieces: Evidence) -> None:
    with store.write() as unit:
        unit.put_evidence(pieces)


def kept(store: Store, order_id: str) -> list[KeptEvidence]:
    with store.read() as unit:
        return unit.evidence_of(order_id)


def test_identical_evidence_collapses_to_a_count(store: Store) -> None:
    one, two = (told.now.order_id for told in stored(store, 2))
    put(store, evidence(one, "d1", 10), evidence(one, "d1", 30), evidence(one, "d2", 20), evidence(two, "d1", 20))
    put(store, evidence(one, "d1", 25), evidence(one, "d1", 50))
    put(store)
    assert kept(store, one) == [
        KeptEvidence(evidence(one, "d1", 10), count=4, last_at=50),
        KeptEvidence(evidence(one, "d2", 20), count=1, last_at=20),
    ]
    assert kept(store, two) == [KeptEvidence(evidence(two, "d1", 20), count=1, last_at=20)]


def test_the_last_time_does_not_go_back(store: Store) -> None:
    [told] = stored(store)
    order_id = told.now.order_id
    put(store, evidence(order_id, "d", 50))
    put(store, evidence(order_id, "d", 40))
    assert [(k.count, k.last_at) for k in kept(store, order_id)] == [(2, 50)]


def test_evidence_once_verified_stays_so(store: Store) -> None:
    [told] = stored(store)
    order_id = told.now.order_id
    for verified in (False, True, False):
        put(store, evidence(order_id, "d", 1, verified=verified))
    assert [k.evidence.verified for k in kept(store, order_id)] == [True]


def test_evidence_of_no_order_is_refused(store: Store) -> None:
    with pytest.raises(Conflict):
        put(store, evidence("or-nobody", "d", 1))


# ---------------------------------------------------------------------------------------------- orphans


def orphan(purpose: str = "n-1", at: int = NOW) -> Anomaly:
    found = anomaly_id(ACCOUNT, AnomalyKind.ORPHAN_NOTICE, purpose)
    return Anomaly(found, AnomalyKind.ORPHAN_NOTICE, at, detail="a notice for no payment of ours")


def test_an_orphan_is_kept_once_and_counted(store: Store) -> None:
    with store.write() as unit:
        unit.put_orphan(orphan(), app_id=APP, account_id=ACCOUNT)
        unit.put_orphan(orphan(at=NOW + 5), app_id=APP, account_id=ACCOUNT)
        unit.put_orphan(orphan("n-2"), app_id=OTHER_APP, account_id=ACCOUNT)
    expected = ListedAnomaly(APP, None, ACCOUNT, orphan(), seen=2)
    with store.read() as unit:
        assert unit.find_anomaly(orphan().anomaly_id) == expected
        assert unit.list_anomalies(APP) == [expected]
        assert len(unit.list_anomalies(None)) == 2
        assert unit.find_anomaly("nobody") is None


def test_each_different_word_about_a_purchase_is_kept_once(store: Store) -> None:
    bought = Paid(
        600,
        "CNY",
        "M1",
        channel_trade_no="T1",
        paid_at=NOW,
        purchase=StorePurchase("gold", 2, "t"),
        references=(Reference("tx", "T1"),),
    )
    returned = replace(bought, refunds=(ChannelRefund(600, "T1"),))
    with store.write() as unit:
        for at, paid in enumerate((returned, bought, returned, None)):
            unit.put_orphan(orphan(at=NOW + at), APP, ACCOUNT, purchase=paid)
        unit.put_orphan(orphan("n-2"), APP, ACCOUNT, purchase=bought)
    with store.read() as unit:
        assert unit.purchases_of(orphan().anomaly_id) == [returned, bought]
        assert unit.purchases_of(orphan("n-2").anomaly_id) == [bought]
        assert unit.purchases_of("nobody") == []


def test_a_person_settles_an_orphan_once(store: Store) -> None:
    with store.write() as unit:
        unit.put_orphan(orphan(), app_id=APP, account_id=ACCOUNT)
    done = replace(
        orphan(), state=AnomalyState.RESOLVED, resolved_at=NOW, remedy=Remedy.RELEASE, note="a test of theirs"
    )
    with store.write() as unit:
        unit.settle_orphan(done)
    with store.read() as unit:
        found = unit.find_anomaly(done.anomaly_id)
        assert found is not None
        assert found.anomaly == done
    with pytest.raises(Conflict), store.write() as unit:
        unit.settle_orphan(done)
