"""What an app may ask of its orders: make one, ask about it, close it, remedy an anomaly of it."""

from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from paycore.core.facts import AnomalySettled, CloseAsked, OrderAsked, SyncAsked
from paycore.core.ids import Prefix
from paycore.core.money import CURRENCY_EXPONENTS, MAX_AMOUNT_MINOR
from paycore.core.order import Anomaly, AnomalyState, Details, Order, Remedy, SurplusPolicy
from paycore.core.refusals import Reason, Refused
from paycore.core.terms import DAY, MINUTE, SECOND
from paycore.engine import claims
from paycore.engine.desk import CallerRequest, Desk
from paycore.engine.tell import Told
from paycore.store import App, ListedAnomaly

MIN_EXPIRY = MINUTE
MAX_EXPIRY = 15 * DAY


@dataclass(frozen=True, slots=True)
class OrderDraft:
    """What an app wants an order to be. What is left out follows from the app."""

    amount_minor: int
    currency: str
    details: Details
    merchant_order_no: str = ""
    merchant_payer_no: str = ""
    expires_at: int | None = None
    surplus_policy: SurplusPolicy | None = None


@dataclass(frozen=True, slots=True)
class Remedied:
    """An anomaly after a remedy, and its order or the one that it was claimed for; None when there is none."""

    anomaly: Anomaly
    order: Order | None


class Orders:
    """The use cases of OrderService that change something."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def create(self, app: App, draft: OrderDraft, request: CallerRequest | None) -> Told:
        """Store a debt. The same request, or the same number with the same content, is the same order."""
        now = self._desk.clock.now()
        try:
            fact = _order_asked(app, draft, self._desk.ids.mint(Prefix.ORDER), now)
        except Refused as refused:
            return await self._desk.refused_or_replayed(refused, request)
        return await self._desk.tell(app.app_id, fact.order_id, fact, request)

    async def sync(self, app_id: str, order_id: str, deadline_at: int | None) -> Told:
        """Ask the channels about everything that is open, now. A channel that does not answer changes nothing."""
        told = await self._desk.tell(app_id, order_id, SyncAsked())
        await self._desk.do_now(order_id, self._desk.patience(deadline_at))
        return await self._as_it_stands(app_id, told)

    async def close(
        self, app_id: str, order_id: str, request: CallerRequest | None, *, etag: str, deadline_at: int | None
    ) -> Told:
        """Close an order that nobody paid, at its channels too. The state afterwards is the outcome."""
        told = await self._desk.tell(app_id, order_id, CloseAsked(), request, etag=etag)
        if told.is_replay:
            return told
        await self._desk.do_now(order_id, self._desk.patience(deadline_at))
        return await self._as_it_stands(app_id, told)

    async def _as_it_stands(self, app_id: str, told: Told) -> Told:
        order = await self._desk.order_of(app_id, told.order.order_id)
        return Told(order, told.subject_id, told.is_replay)

    async def resolve_anomaly(
        self,
        app_id: str,
        anomaly_id: str,
        remedy: Remedy,
        note: str,
        request: CallerRequest | None,
        *,
        payment_id: str = "",
    ) -> "Remedied":
        """A person's decision about an anomaly. A refund that it begins is sent by the clock.

        A store's purchase that belongs to no order, accepted, pays this payment; without one an order of its own.
        """
        listed = await self._anomaly(app_id, anomaly_id)
        if listed.order_id is None:
            return await self._settle_orphan(listed, remedy, note, payment_id, request)
        if payment_id:
            raise _unsupported("The anomaly belongs to an order.", listed.anomaly)
        fact = AnomalySettled(anomaly_id, remedy, note, self._desk.ids.mint(Prefix.REFUND))
        told = await self._desk.tell(app_id, listed.order_id, fact, request)
        return Remedied(told.order.anomaly(anomaly_id) or listed.anomaly, told.order)

    async def _anomaly(self, app_id: str, anomaly_id: str) -> ListedAnomaly:
        listed = await self._desk.memory.read(lambda unit: unit.find_anomaly(anomaly_id))
        if listed is None or listed.app_id != app_id:
            raise Refused(Reason.ANOMALY_NOT_FOUND, "There is no such anomaly.", anomaly_id=anomaly_id)
        return listed

    async def _settle_orphan(
        self, listed: ListedAnomaly, remedy: Remedy, note: str, payment_id: str, request: CallerRequest | None
    ) -> Remedied:
        """A purchase of no order can be claimed, all else only put aside; deciding the same again is no conflict."""
        anomaly, anomaly_id = listed.anomaly, listed.anomaly.anomaly_id
        purchases = await self._desk.memory.read(lambda unit: unit.purchases_of(anomaly_id))
        wants_claim = remedy is Remedy.ACCEPT and bool(purchases)
        if remedy is Remedy.REFUND:
            raise _unsupported("There is nothing to refund here.", anomaly)
        if payment_id and not wants_claim:
            raise _unsupported("There is no purchase that could be claimed.", anomaly)
        claimed = claims.payment_of(listed, payment_id) if wants_claim else ""
        if not anomaly.is_open:
            if (anomaly.remedy, anomaly.note, anomaly.payment_id) == (remedy, note, claimed):
                return Remedied(anomaly, await self._order_of(claimed))
            raise Refused(Reason.ANOMALY_RESOLVED, "The anomaly is resolved already.", anomaly_id=anomaly_id)
        told = await claims.claim(self._desk, listed, purchases, payment_id, request) if wants_claim else None
        settled = replace(
            anomaly,
            state=AnomalyState.RESOLVED,
            resolved_at=self._desk.clock.now(),
            remedy=remedy,
            note=note,
            payment_id=claimed,
        )
        await self._desk.memory.write(lambda unit: unit.settle_orphan(settled))
        return Remedied(settled, told.order if told is not None else None)

    async def _order_of(self, payment_id: str) -> Order | None:
        order_id = await self._desk.memory.read(lambda unit: unit.order_of_payment([payment_id]).get(payment_id))
        return None if order_id is None else await self._desk.reader.load(order_id)


def _unsupported(text: str, anomaly: Anomaly) -> Refused:
    return Refused(Reason.REMEDY_UNSUPPORTED, text, kind=anomaly.kind)


# ---------------------------------------------------------------------------------------------- what an app may ask for


def _order_asked(app: App, draft: OrderDraft, order_id: str, now: int) -> OrderAsked:
    _check_amount(app, draft)
    _check_items(draft)
    check_return_url(app, draft.details.return_url)
    return OrderAsked(
        order_id=order_id,
        app_id=app.app_id,
        merchant_order_no=draft.merchant_order_no,
        merchant_payer_no=draft.merchant_payer_no,
        amount_minor=draft.amount_minor,
        currency=draft.currency,
        details=draft.details,
        expires_at=_expiry(app, draft, now),
        surplus_policy=draft.surplus_policy or SurplusPolicy(app.surplus_policy),
    )


def _check_amount(app: App, draft: OrderDraft) -> None:
    if draft.amount_minor <= 0:
        raise Refused(Reason.AMOUNT_NOT_POSITIVE, "An order's amount is positive.", fields=("amount",))
    if draft.currency not in CURRENCY_EXPONENTS:
        raise Refused(Reason.CURRENCY_UNSUPPORTED, "The currency is not one.", fields=("amount.currency_code",))
    if app.currencies and draft.currency not in app.currencies:
        raise Refused(
            Reason.CURRENCY_NOT_ENABLED, "The app may not use this currency.", fields=("amount.currency_code",)
        )
    most = min(app.max_amount_minor or MAX_AMOUNT_MINOR, MAX_AMOUNT_MINOR)
    if draft.amount_minor > most:
        raise Refused(Reason.AMOUNT_TOO_LARGE, "The amount is above the app's limit.", fields=("amount",), limit=most)


def _check_items(draft: OrderDraft) -> None:
    items = draft.details.items
    if items and sum(item.quantity * item.unit_amount_minor for item in items) != draft.amount_minor:
        raise Refused(Reason.AMOUNT_MISMATCH, "The items do not add up to the amount.", fields=("line_items",))


def _expiry(app: App, draft: OrderDraft, now: int) -> int:
    expires_at = draft.expires_at
    if expires_at is None:
        expires_at = now + app.default_expiry_seconds * SECOND
    if not now + MIN_EXPIRY <= expires_at <= now + MAX_EXPIRY:
        raise Refused(
            Reason.BAD_EXPIRY, "An order expires between one minute and 15 days from now.", fields=("expire_time",)
        )
    return expires_at


def check_return_url(app: App, url: str) -> None:
    """Raise Refused unless the URL is empty, or https to a host that the app listed. Nothing else is ever opened."""
    if not url:
        return
    try:
        parts = urlsplit(url)
        host, has_port = parts.hostname or "", parts.port is not None
    except ValueError:
        host, has_port, parts = "", False, urlsplit("")
    is_plain = parts.scheme == "https" and parts.username is None and parts.password is None and not has_port
    if not is_plain or host not in {one.lower() for one in app.return_hosts}:
        raise Refused(
            Reason.RETURN_URL_FORBIDDEN,
            "The return URL is https to a host that the app listed.",
            fields=("return_url",),
        )
