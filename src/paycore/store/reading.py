"""Lists for people and pages. Newest first; a page goes on after the key of the last row before it."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, or_, select

from paycore.core.findings import Paid
from paycore.core.order import AnomalyKind, AnomalyState, Order, OrderState, RefundState
from paycore.store.records import Evidence, KeptEvidence, ListedAnomaly, ListedRefund, PageKey
from paycore.store.rows import anomaly_of, refund_of, unpack_purchase
from paycore.store.tables import (
    AnomalyTable,
    EvidenceTable,
    OrderTable,
    RefundTable,
    UnclaimedPurchaseTable,
    table,
)
from paycore.store.telling import Telling

_ORDERS, _REFUNDS = table(OrderTable), table(RefundTable)
_ANOMALIES, _EVIDENCE, _PURCHASES = table(AnomalyTable), table(EvidenceTable), table(UnclaimedPurchaseTable)


class Reading(Telling):
    """What people ask for."""

    def list_orders(
        self,
        app_id: str | None,
        *,
        states: Collection[OrderState] = (),
        created_from: int | None = None,
        created_to: int | None = None,
        after_key: PageKey | None = None,
        limit: int = 50,
    ) -> list[Order]:
        """Orders, newest first: of one app (None: of all), in some states, created in [from, to)."""
        o = _ORDERS.c
        statement = select(o.order_id).where(
            *_of_app(o.app_id, app_id),
            *_any_of(o.state, states),
            *_within(o.created_at, created_from, created_to),
            *_after(o.created_at, o.order_id, after_key),
        )
        ids = [row[0] for row in self._ask(_newest(statement, o.created_at, o.order_id, limit))]
        orders = self.load(ids)
        return [orders[order_id] for order_id in ids if order_id in orders]

    def list_refunds(
        self,
        app_id: str | None,
        *,
        order_id: str | None = None,
        merchant_refund_no: str | None = None,
        states: Collection[RefundState] = (),
        created_from: int | None = None,
        created_to: int | None = None,
        after_key: PageKey | None = None,
        limit: int = 50,
    ) -> list[ListedRefund]:
        """Refunds, newest first: of one app (None: of all), one order or one number, in some states, created in [from, to)."""
        r = _REFUNDS.c
        statement = select(_REFUNDS).where(
            *_of_app(r.app_id, app_id),
            *([] if order_id is None else [r.order_id == order_id]),
            *([] if merchant_refund_no is None else [r.merchant_refund_no == merchant_refund_no]),
            *_any_of(r.state, states),
            *_within(r.created_at, created_from, created_to),
            *_after(r.created_at, r.refund_id, after_key),
        )
        rows = self._ask(_newest(statement, r.created_at, r.refund_id, limit))
        return [ListedRefund(row.order_id, refund_of(tuple(row))) for row in rows]

    def list_anomalies(
        self,
        app_id: str | None,
        *,
        order_id: str | None = None,
        states: Collection[AnomalyState] = (),
        kinds: Collection[AnomalyKind] = (),
        after_key: PageKey | None = None,
        limit: int = 50,
    ) -> list[ListedAnomaly]:
        """Anomalies, newest first, orphans among them: of one app (None: of all) or one order."""
        a = _ANOMALIES.c
        statement = select(_ANOMALIES).where(
            *_of_app(a.app_id, app_id),
            *([] if order_id is None else [a.order_id == order_id]),
            *_any_of(a.state, states),
            *_any_of(a.kind, kinds),
            *_after(a.opened_at, a.anomaly_id, after_key),
        )
        return [_listed(row) for row in self._ask(_newest(statement, a.opened_at, a.anomaly_id, limit))]

    def find_anomaly(self, anomaly_id: str) -> ListedAnomaly | None:
        """The anomaly with this id, of an order or an orphan."""
        rows = self._ask(select(_ANOMALIES).where(_ANOMALIES.c.anomaly_id == anomaly_id))
        return _listed(rows[0]) if rows else None

    def purchases_of(self, anomaly_id: str) -> list[Paid]:
        """What a store told of the purchase that an orphan is about, in the order in which it came; empty for any other."""
        p = _PURCHASES.c
        rows = self._ask(select(_PURCHASES).where(p.anomaly_id == anomaly_id).order_by(p.at, p.digest))
        return [unpack_purchase(row.content) for row in rows]

    def evidence_of(self, order_id: str) -> list[KeptEvidence]:
        """Everything that we were told about an order, in the order in which it first came."""
        e = _EVIDENCE.c
        rows = self._ask(select(_EVIDENCE).where(e.order_id == order_id).order_by(e.first_at, e.digest))
        return [
            KeptEvidence(
                Evidence(
                    row.order_id, row.subject_id, row.via, row.digest, row.first_at, row.content, bool(row.is_verified)
                ),
                count=row[_COUNT],
                last_at=row.last_at,
            )
            for row in rows
        ]


_COUNT = list(_EVIDENCE.c.keys()).index("count")  # a Row has a method of that name


def _listed(row: Any) -> ListedAnomaly:
    return ListedAnomaly(row.app_id, row.order_id, row.account_id, anomaly_of(tuple(row)), row.seen)


def _of_app(column: ColumnElement[str], app_id: str | None) -> Sequence[ColumnElement[bool]]:
    return [] if app_id is None else [column == app_id]


def _any_of(column: ColumnElement[str], values: Collection[str]) -> Sequence[ColumnElement[bool]]:
    return [column.in_(sorted(str(value) for value in values))] if values else []


def _within(column: ColumnElement[int], start: int | None, end: int | None) -> Sequence[ColumnElement[bool]]:
    return [*([] if start is None else [column >= start]), *([] if end is None else [column < end])]


def _after(at: ColumnElement[int], row_id: ColumnElement[str], key: PageKey | None) -> Sequence[ColumnElement[bool]]:
    """Older than a key; of the same instant, with a smaller id."""
    return [] if key is None else [or_(at < key[0], and_(at == key[0], row_id < key[1]))]


def _newest(statement: Select[Any], at: ColumnElement[int], row_id: ColumnElement[str], limit: int) -> Select[Any]:
    return statement.order_by(at.desc(), row_id.desc()).limit(limit)
