"""Offers: the rules that a business made, what payments hold of each, and what is known of a payer."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict

from sqlalchemy import select

from paycore.core.offers import Offer, OfferClaim, OfferKind, Taken
from paycore.store.errors import LostClaim
from paycore.store.records import StoredOffer
from paycore.store.rows import Values, pack, unpack
from paycore.store.sql import insert, locking, same, select_keyed, update
from paycore.store.tables import OfferCountTable, OfferState, OfferTable, OfferUseTable, table
from paycore.store.work import Work

_OFFERS, _COUNTS, _USES = table(OfferTable), table(OfferCountTable), table(OfferUseTable)

OfferKey = tuple[str, str]
"""An app and one of its offers."""

_NEW_COUNTS = insert(_COUNTS, tail="ON CONFLICT DO NOTHING")
_LOCK_COUNTS = locking(
    select_keyed(
        "offer_counts AS c",
        (("c.app_id", "text"), ("c.offer_id", "text")),
        ("c.app_id", "c.offer_id", "c.taken_minor", "c.taken_count"),
        tail="ORDER BY c.app_id, c.offer_id",
    )
)
_COUNTED = update(_COUNTS, ("taken_minor", "taken_count"), ("app_id", "offer_id"))
_FIRST_USES = select_keyed(
    "offer_uses AS u",
    (("u.app_id", "text"), ("u.first_payer_no", "text")),
    ("u.app_id", "u.first_payer_no", "u.payment_id"),
    condition="u.first_payer_no <> ''",
)
_USED = insert(
    _USES,
    tail="ON CONFLICT (payment_id, offer_id) DO UPDATE SET is_held = excluded.is_held, "
    "first_payer_no = excluded.first_payer_no",
)
_TAKEN = same("SELECT offer_id, taken_minor, taken_count FROM offer_counts WHERE app_id = ?")
_LAST_PAID = same(
    """
    SELECT p.channel, p.method FROM orders AS o JOIN payments AS p ON p.order_id = o.order_id AND p.is_effective
    WHERE o.app_id = ? AND o.merchant_payer_no = ? AND o.state = 'PAID' ORDER BY o.paid_at DESC, o.order_id DESC LIMIT 1
    """
)
_FIRST_ORDERS = same("SELECT order_id FROM offer_uses WHERE app_id = ? AND first_payer_no = ?")


class Offering(Work):
    """What there is to give, and what is given."""

    # ------------------------------------------------------------------------------------------ taking hold

    def claim_offers(self, claims: Sequence[OfferClaim]) -> None:
        """Count what payments take hold of and let go, in the transaction of the payments themselves.

        The counts are locked first, in the order of their keys, so that two writers wait and never cross. Raises
        LostClaim for a guarded claim of which too little is left, or whose payer holds a first-time offer already.
        """
        if not claims:
            return
        keys = sorted({(claim.app_id, claim.given.offer_id) for claim in claims})
        self._change_many(_NEW_COUNTS, [(*key, 0, 0) for key in keys])
        taken = {(app_id, offer_id): Taken(*rest) for app_id, offer_id, *rest in self.keyed(_LOCK_COUNTS, keys)}
        after = _counted(taken, claims)
        self._refuse_second_first(claims)
        self._change_many(_COUNTED, [(after[key].amount_minor, after[key].count, *key) for key in keys])
        last = {(claim.payment_id, claim.given.offer_id): claim for claim in claims}
        uses = sorted(last.values(), key=lambda claim: (claim.is_held, claim.payment_id, claim.given.offer_id))
        self._change_many(_USED, [_use_values(claim) for claim in uses])

    def _refuse_second_first(self, claims: Iterable[OfferClaim]) -> None:
        """A payer is new once. Two who are at once are told apart by a unique index, and one of them is told again."""
        firsts = {(claim.app_id, claim.payer_no): claim for claim in claims if claim.is_guarded and _is_first(claim)}
        let_go = {claim.payment_id for claim in claims if not claim.is_held}
        for app_id, payer_no, payment_id in self.keyed(_FIRST_USES, sorted(firsts)):
            if payment_id not in let_go and payment_id != firsts[app_id, payer_no].payment_id:
                raise LostClaim(firsts[app_id, payer_no])

    # ------------------------------------------------------------------------------------------ what is known

    def offers_taken(self, app_id: str) -> Mapping[str, Taken]:
        """What payments hold of each of an app's offers."""
        return {offer_id: Taken(amount, count) for offer_id, amount, count in self.rows(_TAKEN, app_id)}

    def last_paid(self, app_id: str, payer_no: str) -> tuple[str, str] | None:
        """Channel and method of the last payment that paid an order of this payer's."""
        rows = self.rows(_LAST_PAID, app_id, payer_no)
        return (rows[0][0], rows[0][1]) if rows else None

    def first_offer_orders(self, app_id: str, payer_no: str) -> set[str]:
        """The orders for which this payer holds an offer that is given once."""
        return {row[0] for row in self.rows(_FIRST_ORDERS, app_id, payer_no)}

    # ------------------------------------------------------------------------------------------ the rules

    def put_offer(self, stored: StoredOffer) -> None:
        """Store an offer, new or changed."""
        offer = stored.offer
        self._put(
            _OFFERS,
            {
                "offer_id": offer.offer_id,
                "app_id": stored.app_id,
                "state": stored.state.value,
                "terms": pack({name: value for name, value in asdict(offer).items() if name != "offer_id"}),
                "created_at": stored.created_at,
            },
        )

    def list_offers(self, app_id: str | None = None, *, state: OfferState | None = None) -> list[StoredOffer]:
        """The offers of an app (None: of all), the oldest first."""
        o = _OFFERS.c
        statement = select(_OFFERS).order_by(o.created_at, o.offer_id)
        if app_id is not None:
            statement = statement.where(o.app_id == app_id)
        if state is not None:
            statement = statement.where(o.state == state.value)
        return [_stored(row) for row in self._ask(statement)]


def _counted(taken: Mapping[OfferKey, Taken], claims: Sequence[OfferClaim]) -> Mapping[OfferKey, Taken]:
    """What is held after these claims. What is let go makes room before anything is taken."""
    amounts = Counter({key: one.amount_minor for key, one in taken.items()})
    counts = Counter({key: one.count for key, one in taken.items()})
    for claim in sorted(claims, key=lambda claim: claim.is_guarded):
        key, sign = (claim.app_id, claim.given.offer_id), 1 if claim.is_held else -1
        amounts[key] += sign * claim.given.amount_minor
        counts[key] += sign
        if claim.is_guarded and _is_too_much(claim, amounts[key], counts[key]):
            raise LostClaim(claim)
    return {key: Taken(amounts[key], counts[key]) for key in taken}


def _is_too_much(claim: OfferClaim, amount_minor: int, count: int) -> bool:
    budget_minor, quota = claim.given.budget_minor, claim.given.quota
    return (0 < budget_minor < amount_minor) or (0 < quota < count)


def _is_first(claim: OfferClaim) -> bool:
    return claim.given.is_first_time and bool(claim.payer_no)


def _use_values(claim: OfferClaim) -> Values:
    """The row of a use. Only who takes hold in the ordinary way stands for the payer's first time; a late success does not."""
    first_payer_no = claim.payer_no if claim.is_held and claim.is_guarded and _is_first(claim) else ""
    return (
        claim.payment_id,
        claim.given.offer_id,
        claim.app_id,
        claim.order_id,
        first_payer_no,
        claim.given.amount_minor,
        claim.is_held,
    )


def _stored(row: tuple[str, ...]) -> StoredOffer:
    offer_id, app_id, state, terms, created_at = row
    read = unpack(terms)
    offer = Offer(offer_id=offer_id, **{**read, "kind": OfferKind(read["kind"]), "methods": tuple(read["methods"])})
    return StoredOffer(offer, app_id, int(created_at), OfferState(state))
