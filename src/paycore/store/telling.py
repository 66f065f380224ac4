"""The side of a unit that a teller uses: load whole orders, save what became of them. A fixed number of statements each."""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from operator import itemgetter

from paycore.core.decide import ReferenceClaim
from paycore.core.findings import Paid
from paycore.core.offers import OfferClaim
from paycore.core.order import Anomaly, AnomalyState, Order, Payment, Refund
from paycore.store import sql
from paycore.store.errors import STALE_GUARD, Conflict, LostClaim
from paycore.store.offering import Offering
from paycore.store.records import Change, ChannelRefundKey, Evidence, ReferenceKey, RequestKey, StoredRequest
from paycore.store.rows import (
    Values,
    anomaly_fixed,
    anomaly_moving,
    anomaly_of,
    by_order,
    event_values,
    order_fixed,
    order_moving,
    order_of,
    pack_purchase,
    payment_fixed,
    payment_moving,
    payment_of,
    refund_fixed,
    refund_moving,
    refund_of,
)
from paycore.store.sql import insert, locking, same, select_among, select_keyed, update
from paycore.store.tables import (
    AnomalyTable,
    EventTable,
    EvidenceTable,
    FeedTable,
    OrderTable,
    PaymentTable,
    ReferenceTable,
    RefundTable,
    RequestTable,
    UnclaimedPurchaseTable,
    table,
)

# ---------------------------------------------------------------------------------------------- statements

_ORDERS, _PAYMENTS, _REFUNDS = table(OrderTable), table(PaymentTable), table(RefundTable)
_ANOMALIES, _EVENTS, _REQUESTS = table(AnomalyTable), table(EventTable), table(RequestTable)
_REFERENCES, _EVIDENCE = table(ReferenceTable), table(EvidenceTable)


def _moving(columns: Sequence[str], first: str, last: str = "") -> tuple[str, ...]:
    start = columns.index(first)
    return tuple(columns[start : columns.index(last) + 1 if last else None])


ORDER_COLUMNS, PAYMENT_COLUMNS = sql.columns_of(_ORDERS), sql.columns_of(_PAYMENTS)
REFUND_COLUMNS, ANOMALY_COLUMNS = sql.columns_of(_REFUNDS), sql.columns_of(_ANOMALIES)
EVENT_COLUMNS = sql.columns_of(_EVENTS)

_LOAD_ORDERS = select_among(_ORDERS, "order_id", tail="ORDER BY order_id")
_LOAD_PAYMENTS = select_among(_PAYMENTS, "order_id", tail="ORDER BY order_id, number")
_LOAD_REFUNDS = select_among(_REFUNDS, "order_id", tail="ORDER BY order_id, number")
_LOAD_ANOMALIES = select_among(_ANOMALIES, "order_id", tail="ORDER BY order_id, number")
_LOCK_ORDERS, _LOCK_PAYMENTS, _LOCK_REFUNDS = map(locking, (_LOAD_ORDERS, _LOAD_PAYMENTS, _LOAD_REFUNDS))

_BY_NUMBER = itemgetter(*map(ORDER_COLUMNS.index, ("app_id", "merchant_order_no")))
_NEW_ORDERS, _NEW_PAYMENTS, _NEW_REFUNDS = insert(_ORDERS), insert(_PAYMENTS), insert(_REFUNDS)
_NEW_ANOMALIES, _NEW_EVENTS = insert(_ANOMALIES), insert(_EVENTS)
_MOVED_ORDERS = update(_ORDERS, _moving(ORDER_COLUMNS, "state"), ("order_id", "version", "fence"))
_MOVED_PAYMENTS = update(_PAYMENTS, _moving(PAYMENT_COLUMNS, "state"), ("payment_id", "fence", "updated_at"))
_MOVED_REFUNDS = update(_REFUNDS, _moving(REFUND_COLUMNS, "state"), ("refund_id", "fence", "updated_at"))
_MOVED_ANOMALIES = update(_ANOMALIES, _moving(ANOMALY_COLUMNS, "opened_at", "note"), ("anomaly_id", "state"))
_SETTLE_ORPHAN = update(_ANOMALIES, _moving(ANOMALY_COLUMNS, "opened_at", "note"), ("anomaly_id", "state", "number"))

_FIND_REQUESTS = select_keyed(
    "requests AS r",
    (("r.app_id", "text"), ("r.rpc", "text"), ("r.request_id", "text")),
    ("r.app_id", "r.rpc", "r.request_id", "r.canonical", "r.order_id", "r.subject_id", "r.created_at"),
)
_NEW_REQUESTS = insert(_REQUESTS, tail="ON CONFLICT DO NOTHING")
_ORDERS_BY_NUMBER = select_keyed(
    "orders AS o",
    (("o.app_id", "text"), ("o.merchant_order_no", "text")),
    ("o.app_id", "o.merchant_order_no", "o.order_id"),
    condition="o.merchant_order_no <> ''",
)
_REFUNDS_BY_NUMBER = select_keyed(
    "refunds AS r",
    (("r.order_id", "text"), ("r.merchant_refund_no", "text")),
    ("r.order_id", "r.merchant_refund_no", "r.refund_id"),
    condition="r.merchant_refund_no <> ''",
)
_FIND_REFERENCES = select_keyed(
    "channel_references AS r",
    (("r.channel", "text"), ("r.environment", "text"), ("r.kind", "text"), ("r.value", "text")),
    ("r.channel", "r.environment", "r.kind", "r.value", "r.payment_id"),
)
_NEW_REFERENCES = insert(_REFERENCES, tail="ON CONFLICT DO NOTHING")
_ORDER_OF_PAYMENT = select_among(_PAYMENTS, "payment_id", columns=("payment_id", "order_id"))
_ORDER_OF_REFUND = select_among(_REFUNDS, "refund_id", columns=("refund_id", "order_id"))
_ORDER_OF_CHANNEL_REFUND = select_keyed(
    "refunds AS r JOIN payments AS p ON p.payment_id = r.payment_id",
    (("p.channel", "text"), ("p.environment", "text"), ("r.channel_refund_no", "text")),
    ("p.channel", "p.environment", "r.channel_refund_no", "r.order_id"),
    condition="r.channel_refund_no <> ''",
)
_COUNT_AGAIN = (
    "count = {t}.count + excluded.count, "
    "last_at = CASE WHEN excluded.last_at > {t}.last_at THEN excluded.last_at ELSE {t}.last_at END, "
    "is_verified = {t}.is_verified OR excluded.is_verified"
).format(t="evidence")
_KEEP_EVIDENCE = insert(_EVIDENCE, tail=f"ON CONFLICT (order_id, digest) DO UPDATE SET {_COUNT_AGAIN}")
_SEE_ORPHAN = insert(
    _ANOMALIES,
    tail="ON CONFLICT (anomaly_id) DO UPDATE SET seen = anomalies.seen + 1, last_seen_at = excluded.last_seen_at",
)
_KEEP_PURCHASE = insert(table(UnclaimedPurchaseTable), tail="ON CONFLICT DO NOTHING")
_APPS_OF_ORDERS = select_among(_ORDERS, "order_id", columns=("order_id", "app_id"))
_LAST_SEQS = select_among(table(FeedTable), "app_id")
_NUMBERED = same(
    "INSERT INTO feeds (app_id, last_seq) VALUES (?, ?) ON CONFLICT (app_id) DO UPDATE SET last_seq = excluded.last_seq"
)


class Telling(Offering):
    """Load, decide elsewhere, save."""

    # ------------------------------------------------------------------------------------------ whole orders

    def load(self, order_ids: Collection[str], *, lock: bool = False) -> dict[str, Order]:
        """The orders that exist, each whole. Locked, nobody else changes them or takes their tasks before the commit."""
        ids = sorted(set(order_ids))
        rows = self.keyed(_LOCK_ORDERS if lock else _LOAD_ORDERS, ids)
        if not rows:
            return {}
        known = [row[0] for row in rows]
        payments = by_order(self.keyed(_LOCK_PAYMENTS if lock else _LOAD_PAYMENTS, known), 1)
        refunds = by_order(self.keyed(_LOCK_REFUNDS if lock else _LOAD_REFUNDS, known), 1) if payments else {}
        anomalies = by_order(self.keyed(_LOAD_ANOMALIES, known), 1)
        return {
            row[0]: order_of(
                row,
                tuple(payment_of(part) for part in payments.get(row[0], ())),
                tuple(refund_of(part) for part in refunds.get(row[0], ())),
                tuple(anomaly_of(part) for part in anomalies.get(row[0], ())),
            )
            for row in rows
        }

    def save(self, changes: Sequence[Change]) -> None:
        """Store what became of some orders, one change each, with their events and claims.

        Raises Conflict when an order is no longer as it was loaded or a constraint forbids it, LostClaim when a
        reference belongs to another payment. The transaction is then to be given up.
        """
        moved = [change for change in changes if change.before is not change.after]
        self._change_many(_NEW_ORDERS, _new_orders(moved))
        self._guarded(_MOVED_ORDERS, list(_moved_orders(moved)))
        self._change_many(_NEW_PAYMENTS, list(_new_payments(moved)))
        self._guarded(_MOVED_PAYMENTS, list(_moved_payments(moved)))
        self._change_many(_NEW_REFUNDS, list(_new_refunds(moved)))
        self._guarded(_MOVED_REFUNDS, list(_moved_refunds(moved)))
        self._change_many(_NEW_ANOMALIES, list(_new_anomalies(moved)))
        self._guarded(_MOVED_ANOMALIES, list(_moved_anomalies(moved)))
        self._announce(changes)
        self._claim(changes)

    def _guarded(self, statement: sql.Statement, rows: list[Values]) -> None:
        """Change every row that is still as it was, or raise Conflict."""
        if rows and self._change_many(statement, rows) != len(rows):
            raise Conflict(STALE_GUARD)

    def _announce(self, changes: Sequence[Change]) -> None:
        """Append the events. On SQLite, where transactions follow one another, they get their place in the feed here."""
        if self.dialect == "postgresql":
            self._change_many(
                _NEW_EVENTS, [event_values(e, change.after.app_id, None) for change in changes for e in change.events]
            )
            return
        if not any(change.events for change in changes):
            return
        apps = sorted({change.after.app_id for change in changes if change.events})
        last = dict.fromkeys(apps, 0) | dict(self.keyed(_LAST_SEQS, apps))
        rows = []
        for change in changes:
            app_id = change.after.app_id
            for event in change.events:
                last[app_id] += 1
                rows.append(event_values(event, app_id, last[app_id]))
        self._change_many(_NEW_EVENTS, rows)
        self._change_many(_NUMBERED, list(last.items()))

    def _claim(self, changes: Sequence[Change]) -> None:
        claims = [(claim, change.after.updated_at) for change in changes for claim in change.claims]
        if not claims:
            return
        self._tie([(claim, at) for claim, at in claims if isinstance(claim, ReferenceClaim)])
        self.claim_offers([claim for claim, _ in claims if isinstance(claim, OfferClaim)])

    def _tie(self, claims: Sequence[tuple[ReferenceClaim, int]]) -> None:
        """Tie references to their payments, each to one, ever."""
        wanted = {_reference(claim): (claim, at) for claim, at in claims}
        self._change_many(
            _NEW_REFERENCES, [(*key, claim.payment_id, at) for key, (claim, at) in sorted(wanted.items())]
        )
        owners = self.find_references(list(wanted))
        for claim, _ in claims:
            if owners.get(_reference(claim)) != claim.payment_id:
                raise LostClaim(claim)

    # ------------------------------------------------------------------------------------------ the same again

    def find_requests(self, keys: Collection[RequestKey]) -> dict[RequestKey, StoredRequest]:
        """The requests that were answered before."""
        return {
            RequestKey(app_id, rpc, request_id): StoredRequest(
                RequestKey(app_id, rpc, request_id), canonical.encode(), order_id, subject_id, at
            )
            for app_id, rpc, request_id, canonical, order_id, subject_id, at in self.keyed(
                _FIND_REQUESTS, sorted(set(keys))
            )
        }

    def put_requests(self, requests: Sequence[StoredRequest]) -> None:
        """Remember what was answered. Raises Conflict when one of them was answered by somebody else meanwhile."""
        rows = [(*r.key, r.canonical.decode(), r.order_id, r.subject_id, r.at) for r in requests]
        rows.sort()
        if self._change_many(_NEW_REQUESTS, rows) != len(rows):
            raise Conflict("pk_requests")

    def orders_by_number(self, pairs: Collection[tuple[str, str]]) -> dict[tuple[str, str], str]:
        """The orders that have these (app_id, merchant_order_no)."""
        rows = self.keyed(_ORDERS_BY_NUMBER, sorted(set(pairs)))
        return {(app_id, number): order_id for app_id, number, order_id in rows}

    def refunds_by_number(self, pairs: Collection[tuple[str, str]]) -> dict[tuple[str, str], str]:
        """The refunds that have these (order_id, merchant_refund_no)."""
        rows = self.keyed(_REFUNDS_BY_NUMBER, sorted(set(pairs)))
        return {(order_id, number): refund_id for order_id, number, refund_id in rows}

    # ------------------------------------------------------------------------------------------ whose it is

    def find_references(self, keys: Collection[tuple[str, str, str, str]]) -> dict[ReferenceKey, str]:
        """The payments that these references belong to."""
        rows = self.keyed(_FIND_REFERENCES, sorted(set(keys)))
        return {ReferenceKey(*key): payment_id for *key, payment_id in rows}

    def order_of_payment(self, payment_ids: Collection[str]) -> dict[str, str]:
        """The orders of these payments."""
        return dict(self.keyed(_ORDER_OF_PAYMENT, sorted(set(payment_ids))))

    def order_of_refund(self, refund_ids: Collection[str]) -> dict[str, str]:
        """The orders of these refunds."""
        return dict(self.keyed(_ORDER_OF_REFUND, sorted(set(refund_ids))))

    def order_of_channel_refund(self, keys: Collection[tuple[str, str, str]]) -> dict[ChannelRefundKey, str]:
        """The orders of these (channel, environment, channel_refund_no)."""
        rows = self.keyed(_ORDER_OF_CHANNEL_REFUND, sorted(set(keys)))
        return {ChannelRefundKey(*key): order_id for *key, order_id in rows}

    # ------------------------------------------------------------------------------------------ evidence

    def put_evidence(self, pieces: Sequence[Evidence]) -> None:
        """Keep what we were told; the same thing (order, digest) again is counted. The orders must be stored already."""
        if not pieces:
            return
        apps: dict[str, str] = dict(self.keyed(_APPS_OF_ORDERS, sorted({piece.order_id for piece in pieces})))
        first: dict[tuple[str, str], Evidence] = {}
        count: Counter[tuple[str, str]] = Counter()
        for piece in sorted(pieces, key=lambda piece: (piece.order_id, piece.digest, piece.at)):
            first.setdefault((piece.order_id, piece.digest), piece)
            count[piece.order_id, piece.digest] += 1
        last = {(piece.order_id, piece.digest): piece.at for piece in sorted(pieces, key=lambda piece: piece.at)}
        self._change_many(
            _KEEP_EVIDENCE,
            [
                (p.order_id, p.digest, apps.get(p.order_id), p.subject_id, p.via, p.content, p.verified)
                + (count[key], p.at, last[key])
                for key, p in first.items()
            ],
        )

    def put_orphan(self, anomaly: Anomaly, app_id: str, account_id: str, purchase: Paid | None = None) -> None:
        """Keep an anomaly that belongs to no order. The same one again is counted, and what is new of its purchase kept."""
        fixed = anomaly_fixed(anomaly, order_id=None, app_id=app_id, account_id=account_id, number=0)
        self._change_many(_SEE_ORPHAN, [(*fixed, *anomaly_moving(anomaly), 1, anomaly.opened_at)])
        if purchase is not None:
            content = pack_purchase(purchase)
            digest = hashlib.sha256(content.encode()).hexdigest()
            self._change_many(_KEEP_PURCHASE, [(anomaly.anomaly_id, digest, app_id, content, anomaly.opened_at)])

    def settle_orphan(self, anomaly: Anomaly) -> None:
        """Store what a person decided about an anomaly of no order. Raises Conflict unless it is such a one, and open."""
        rows = [(*anomaly_moving(anomaly), anomaly.anomaly_id, AnomalyState.OPEN.value, 0)]
        self._guarded(_SETTLE_ORPHAN, rows)


# ---------------------------------------------------------------------------------------------- what changed


def _new_orders(changes: Iterable[Change]) -> list[Values]:
    """New orders by their merchant numbers: two processes with the same ones wait for each other, never in a circle."""
    rows = [order_fixed(change.after) + order_moving(change.after) for change in changes if change.before is None]
    return sorted(rows, key=_BY_NUMBER)


def _moved_orders(changes: Iterable[Change]) -> Iterator[Values]:
    for before, after in _pairs(changes):
        moving = order_moving(after)
        if moving != order_moving(before):
            yield (*moving, before.order_id, before.version, before.fence)


def _new_payments(changes: Iterable[Change]) -> Iterator[Values]:
    for change in changes:
        known = len(change.before.payments) if change.before else 0
        for number, payment in enumerate(change.after.payments[known:], start=known + 1):
            yield payment_fixed(change.after, payment, number) + payment_moving(payment)


def _moved_payments(changes: Iterable[Change]) -> Iterator[Values]:
    for before, after in _pairs(changes):
        for old, new in zip(before.payments, after.payments, strict=False):
            if _moved(old, new, old.payment_id == new.payment_id):
                yield (*payment_moving(new), old.payment_id, old.fence, old.updated_at)


def _new_refunds(changes: Iterable[Change]) -> Iterator[Values]:
    for change in changes:
        known = len(change.before.refunds) if change.before else 0
        for number, refund in enumerate(change.after.refunds[known:], start=known + 1):
            yield refund_fixed(change.after, refund, number) + refund_moving(refund)


def _moved_refunds(changes: Iterable[Change]) -> Iterator[Values]:
    for before, after in _pairs(changes):
        for old, new in zip(before.refunds, after.refunds, strict=False):
            if _moved(old, new, old.refund_id == new.refund_id):
                yield (*refund_moving(new), old.refund_id, old.fence, old.updated_at)


def _new_anomalies(changes: Iterable[Change]) -> Iterator[Values]:
    for change in changes:
        order, known = change.after, len(change.before.anomalies) if change.before else 0
        for number, anomaly in enumerate(order.anomalies[known:], start=known + 1):
            payment = order.payment(anomaly.payment_id)
            fixed = anomaly_fixed(
                anomaly,
                order_id=order.order_id,
                app_id=order.app_id,
                account_id=payment.account_id if payment else "",
                number=number,
            )
            yield (*fixed, *anomaly_moving(anomaly), 1, anomaly.opened_at)


def _moved_anomalies(changes: Iterable[Change]) -> Iterator[Values]:
    for before, after in _pairs(changes):
        for old, new in zip(before.anomalies, after.anomalies, strict=False):
            if _moved(old, new, old.anomaly_id == new.anomaly_id):
                yield (*anomaly_moving(new), old.anomaly_id, old.state.value)


def _pairs(changes: Iterable[Change]) -> Iterator[tuple[Order, Order]]:
    return ((change.before, change.after) for change in changes if change.before is not None)


def _moved(old: Payment | Refund | Anomaly, new: Payment | Refund | Anomaly, is_same: bool) -> bool:
    """Whether a row changed. Rows keep their place within their order; they are never taken out or reordered."""
    if not is_same:
        raise ValueError("the rows of a snapshot changed places")
    return old is not new and old != new


def _reference(claim: ReferenceClaim) -> ReferenceKey:
    return ReferenceKey(claim.channel, claim.environment, claim.kind, claim.value)
