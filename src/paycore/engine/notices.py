"""What comes in from channels and from clients' hands: notices and evidence. Verified first, stored next, acknowledged last.

A notice is read with the keys of the account whose address it was sent to, and can only speak about that account's
payments, whatever it says. What names nothing that we know is kept as an anomaly, so that nobody has to send it for ever.
"""

import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from paycore.channel import (
    About,
    AboutPayment,
    AboutRefund,
    ChannelVerb,
    Confirmed,
    Conversation,
    Forged,
    Malformed,
    Notice,
    NoticeCase,
    NoticeReply,
    RawNotice,
    Reference,
    WrongApp,
    WrongEnvironment,
)
from paycore.core.facts import Fact, ForeignRefundHeard, PaymentHeard, RefundHeard, Via
from paycore.core.findings import NotSent, Paid, Unknown
from paycore.core.ids import Prefix, derive_id, is_id
from paycore.core.order import Anomaly, AnomalyKind, Order, Payment, PaymentState
from paycore.core.refusals import Reason, Refused
from paycore.core.terms import Price
from paycore.engine import renewals, witness
from paycore.engine.accounts import AccountUnusableNow, OpenAccount
from paycore.engine.converse import STEP_SECONDS, Talk
from paycore.engine.desk import CallerRequest, Desk
from paycore.engine.soundness import Unsound, check_confirmed, check_notice
from paycore.engine.tell import Told
from paycore.engine.workshop import Stuck
from paycore.store import ChannelRefundKey, ReferenceKey, Unit

log = logging.getLogger("paycore.engine.notices")

MAX_BODY_BYTES = 256 * 1024
NO_SUCH_ACCOUNT = NoticeReply(404, {"content-type": "text/plain"}, b"")
"""The answer at an address that is no account's; transports compare it by identity."""
TOO_LARGE = NoticeReply(413, {"content-type": "text/plain"}, b"")
NOT_TAKEN = NoticeReply(405, {"content-type": "text/plain"}, b"")
NOT_NOW = NoticeReply(503, {"content-type": "text/plain", "retry-after": "60"}, b"")
"""When we do not even know which channel's words to use."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Where a finding belongs: the order, and the payment or refund of it."""

    order: Order
    payment: Payment
    refund_id: str | None = None


class Notices:
    """The use cases behind the notice address, DeliverNotice and ConfirmPayment."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    # ------------------------------------------------------------------------------------ notices

    async def deliver(self, account_id: str, notice: RawNotice) -> NoticeReply:
        """Take a notice in and return the exact bytes for the channel. Never raises; acknowledges only what is stored."""
        if not is_id(account_id, Prefix.ACCOUNT):
            return NO_SUCH_ACCOUNT
        if not is_id(account_id, Prefix.ACCOUNT):
            return NO_SUCH_ACCOUNT
        account: OpenAccount | None = None
        try:
            account = await self._desk.accounts.open(account_id)
            return await self._deliver(account, notice)
        except Refused as refused:
            if refused.reason is Reason.ACCOUNT_NOT_FOUND:
                return NO_SUCH_ACCOUNT
            log.warning("a notice for %s is not taken now: %s", account_id, refused.reason)
        except AccountUnusableNow as error:
            log.warning("a notice for %s is not taken now: %s", account_id, error)
        except Exception:  # the channel sends it again; meanwhile somebody reads the log
            log.exception("a notice for %s could not be taken in", account_id)
        return _refusal(account, NoticeCase.NOT_NOW)

    async def _deliver(self, account: OpenAccount, raw: RawNotice) -> NoticeReply:
        if ChannelVerb.READ_NOTICE not in account.kind.verbs:
            return NOT_TAKEN
        if len(raw.body) > MAX_BODY_BYTES:
            return TOO_LARGE
        try:
            notice = await self._read(account, raw)
        except Forged as forged:
            log.info("a notice for %s does not verify: %s", account.account_id, forged)
            return _refusal(account, NoticeCase.FORGED)
        if notice is None:
            return _refusal(account, NoticeCase.NOT_NOW)
        return await self._take_in(account, notice, hashlib.sha256(raw.body).hexdigest())

    async def _read(self, account: OpenAccount, raw: RawNotice) -> Notice | None:
        """The notice, verified; None when the plugin's own code fails on it. Raises Forged."""
        channel, name, now = account.channel, account.kind.name, self._desk.clock.now()
        workshop = self._desk.host.workshop(name)
        try:
            return await workshop.run(lambda: check_notice(channel.read_notice(raw, now)), seconds=STEP_SECONDS)
        except Forged:
            raise
        except (Unsound, Stuck) as error:
            problem = str(error)
        except Exception as error:  # noqa: BLE001 - a stranger's code may raise anything
            problem = f"it raised {type(error).__name__}"
        self._desk.host.crashed(name, ChannelVerb.READ_NOTICE.value, problem, now, counts=False)
        return None

    async def _take_in(self, account: OpenAccount, notice: Notice, digest: str) -> NoticeReply:
        """Tell everything that the notice says, then acknowledge it. What cannot be stored is not acknowledged."""
        is_ours = True
        subjects = await self._subjects(account, notice.findings)
        for about, subject in zip(notice.findings, subjects, strict=True):
            if subject is None:
                await self._orphan(account, AnomalyKind.ORPHAN_NOTICE, about, digest, "It names nothing that we know.")
            elif not _is_of(account, subject, about):
                await self._orphan(
                    account, AnomalyKind.WRONG_ACCOUNT, about, digest, "It names another merchant's money."
                )
                is_ours = False
            elif _is_in_other_money(subject, about):
                detail = "It names another currency than the payment's."
                await self._orphan(account, AnomalyKind.ORPHAN_NOTICE, about, digest, detail)
            else:
                is_ours = await self._tell_notice(account, subject, about, notice.notice_id, digest) and is_ours
        return notice.acknowledge if is_ours else _refusal(account, NoticeCase.WRONG_ACCOUNT)

    async def _tell_notice(
        self, account: OpenAccount, subject: Subject, about: About, notice_id: str, digest: str
    ) -> bool:
        """Tell one finding. False when it turned out to be about another merchant (which is stored as well)."""
        try:
            await self._tell(subject, about, Via.NOTICE, None, notice_id=notice_id, body_sha256=digest)
        except Refused as refused:
            if refused.reason is Reason.WRONG_ACCOUNT:
                return False
            if refused.reason is not Reason.EVIDENCE_USED:
                raise
            detail = "It names a reference that pays another payment, or a payment that another purchase paid."
            await self._orphan(account, AnomalyKind.ORPHAN_NOTICE, about, digest, detail)
        return True

    async def _orphan(self, account: OpenAccount, kind: AnomalyKind, about: About, digest: str, detail: str) -> None:
        """Keep a finding that cannot be attached to a payment of this account, once for each thing that it says."""
        named, purchase = _named(about), _purchase_of(about)
        finding = about.finding
        amount = finding.amount_minor if isinstance(finding, Paid) else 0
        currency = finding.currency if isinstance(finding, Paid) else ""
        anomaly = Anomaly(
            anomaly_id=derive_id(Prefix.ANOMALY, account.account_id, f"{kind}|{named}|{type(finding).__name__}"),
            kind=kind,
            opened_at=self._desk.clock.now(),
            amount_minor=amount,
            currency=currency,
            detail=f"{detail} {type(finding).__name__} about {named}, notice {digest[:16]}.",
        )
        log.warning("%s at account %s", kind, account.account_id)
        app_id, account_id = account.app_id, account.account_id
        kept = purchase if kind is AnomalyKind.ORPHAN_NOTICE else None
        await self._desk.memory.write(
            lambda unit: unit.put_orphan(anomaly, app_id=app_id, account_id=account_id, purchase=kept)
        )

    # ------------------------------------------------------------------------------------ evidence

    async def confirm(
        self,
        app_id: str,
        channel: str,
        evidence: str,
        *,
        payment_id: str,
        account_id: str,
        order_id: str,
        request: CallerRequest | None,
        deadline_at: int | None,
    ) -> tuple[Told, bool]:
        """Take in evidence that a client holds: the order with the payment as subject, and whether the client may finish.

        A session names its `order_id`; what the evidence proves must then belong to that order.
        """
        kind = self._desk.host.kind(channel)
        if kind is None:
            raise Refused(Reason.METHOD_UNKNOWN, "There is no such channel.", fields=("channel",))
        if ChannelVerb.CONFIRM not in kind.verbs:
            raise Refused(Reason.METHOD_UNAVAILABLE, "The channel takes no evidence.", channel=channel)
        named = await self.named_payment(app_id, payment_id, order_id) if payment_id else None
        accounts = await self._candidates(app_id, channel, named, account_id)
        confirmed, account = await self._verify(accounts, evidence, named, deadline_at)
        wanted_order = order_id or (named.order.order_id if named is not None else "")
        digest = hashlib.sha256(evidence.encode()).hexdigest()
        told = await self._take_evidence(account, confirmed, wanted_order, request, digest)
        return told, confirmed.may_finish

    async def named_payment(self, app_id: str, payment_id: str, order_id: str = "") -> Subject:
        """The app's payment with its order (which must be this one, if one is given). Raises Refused."""
        owner = await self._desk.memory.read(lambda unit: unit.order_of_payment([payment_id]).get(payment_id))
        order = None if owner is None else await self._desk.reader.load(owner)
        payment = None if order is None else order.payment(payment_id)
        if order is None or payment is None or order.app_id != app_id or order_id not in ("", order.order_id):
            raise Refused(Reason.PAYMENT_NOT_FOUND, "There is no such payment.", payment_id=payment_id)
        return Subject(order, payment)

    async def _candidates(self, app_id: str, channel: str, named: Subject | None, account_id: str) -> list[OpenAccount]:
        """The accounts whose keys may verify it: the payment's own, the one that is named, or all of the app's there."""
        wanted = {account_id} if account_id else set()
        wanted |= {named.payment.account_id} if named is not None else set()
        accounts = [one for one in await self._desk.accounts.for_app(app_id) if one.kind.name == channel]
        if len(wanted) > 1:
            raise Refused(Reason.EVIDENCE_MISMATCH, "The payment was made to another account.", fields=("account_id",))
        found = [one for one in accounts if not wanted or one.account_id in wanted]
        if not found:
            raise Refused(Reason.ACCOUNT_NOT_FOUND, "There is no such account.", fields=("account_id",))
        return found

    async def _verify(
        self, accounts: list[OpenAccount], evidence: str, named: Subject | None, deadline_at: int | None
    ) -> tuple[Confirmed, OpenAccount]:
        """What the evidence proves, and under whose keys. Raises Refused when it verifies under none."""
        until = self._desk.clock.now() + self._desk.patience(deadline_at)
        doubts: list[Forged] = []
        for account in accounts:
            try:
                answer = await self._confirmation(account, evidence, named).answer(until)
            except Forged as forged:
                doubts.append(forged)
                continue
            if isinstance(answer, Unknown | NotSent):
                raise Refused(
                    Reason.CONFLICT_RETRY, "The channel could not be asked about the evidence.", retry_after_seconds=2.0
                )
            return answer, account
        raise _distrusted(doubts)

    def _confirmation(self, account: OpenAccount, evidence: str, named: Subject | None) -> Talk[Confirmed]:
        order, payment = (named.order, named.payment) if named is not None else (None, None)
        ask, channel = self._desk.asker.evidence(evidence, order, payment), account.channel
        begin: Callable[[], Conversation[Confirmed]] = lambda: channel.confirm(ask)  # noqa: E731
        return Talk(self._desk.room, account.kind.name, ChannelVerb.CONFIRM, begin, check_confirmed)

    async def _take_evidence(
        self,
        account: OpenAccount,
        confirmed: Confirmed,
        wanted_order: str,
        request: CallerRequest | None,
        digest: str,
    ) -> Told:
        """Tell everything that was proved, to whom it belongs; refused all the same if that was not the caller's order."""
        told: Told | None = None
        elsewhere: Refused | None = None
        subjects = await self._subjects(account, confirmed.findings)
        for about, subject in zip(confirmed.findings, subjects, strict=True):
            if subject is None:
                detail = "A client brought it, and it names nothing that we know."
                await self._orphan(account, AnomalyKind.ORPHAN_NOTICE, about, digest, detail)
            if subject is None or not _is_of(account, subject, about) or _is_in_other_money(subject, about):
                raise _nobodys(about, wanted_order)
            is_here, is_returned = wanted_order in ("", subject.order.order_id), _is_returned(about)
            answers = request if is_here and not is_returned else None
            heard = await self._tell_evidence(account, subject, about, answers, digest)
            if not is_here:
                elsewhere = elsewhere or _elsewhere(about, subject)
                continue
            told = heard
            if is_returned:
                raise Refused(Reason.RECEIPT_REVOKED, "The money of this purchase went back.", fields=("evidence",))
        if elsewhere is not None:
            raise elsewhere
        if told is None:
            raise _mismatch("The evidence proves nothing about a payment.")
        return told

    async def _tell_evidence(
        self, account: OpenAccount, subject: Subject, about: About, request: CallerRequest | None, digest: str
    ) -> Told:
        """Tell one finding. A purchase that is not the first under its payment's token is kept, and refused."""
        try:
            return await self._tell(subject, about, Via.CONFIRM, self._desk.clock.now(), request)
        except Refused as refused:
            paid = _purchase_of(about)
            if refused.reason is Reason.EVIDENCE_USED and paid is not None and await self._is_nobodys(account, paid):
                detail = "A client brought it, and another purchase paid the payment that it names."
                await self._orphan(account, AnomalyKind.ORPHAN_NOTICE, about, digest, detail)
            raise

    async def _is_nobodys(self, account: OpenAccount, paid: Paid) -> bool:
        keys = [_key(account, reference) for reference in paid.references]
        return not await self._desk.memory.read(lambda unit: unit.find_references(keys))

    # ------------------------------------------------------------------------------------ subjects

    async def _tell(
        self,
        subject: Subject,
        about: About,
        via: Via,
        asked_at: int | None,
        request: CallerRequest | None = None,
        *,
        notice_id: str = "",
        body_sha256: str = "",
    ) -> Told:
        """Tell one finding with its evidence. The answer's subject is the payment."""
        order, payment = subject.order, subject.payment
        kept = witness.heard(
            order.order_id,
            subject.refund_id or payment.payment_id,
            via,
            about.finding,
            self._desk.clock.now(),
            notice_id=notice_id,
            body_sha256=body_sha256,
        )
        told = await self._desk.tell(
            order.app_id, order.order_id, _fact(subject, about, via, asked_at), request, evidence=(kept,)
        )
        return Told(told.order, payment.payment_id, is_replay=told.is_replay)

    async def _subjects(self, account: OpenAccount, findings: tuple[About, ...]) -> list[Subject | None]:
        """Whose each finding is; None for what names nothing that we know."""
        places = await self._desk.memory.read(lambda unit: [_find(unit, account, about) for about in findings])
        orders = {
            order_id: await self._desk.reader.load(order_id)
            for order_id in {place.order_id for place in places if place}
        }
        subjects = [None if place is None else _subject(orders.get(place.order_id), place) for place in places]
        return [
            await self._renewal(account, about) if subject is None else subject
            for about, subject in zip(findings, subjects, strict=True)
        ]

    async def _renewal(self, account: OpenAccount, about: About) -> Subject | None:
        """The order that the channel began by itself, where the finding says that it renews a payment of this account."""
        if not isinstance(about, AboutPayment) or about.renews is None:
            return None
        [first] = await self._subjects(account, (AboutPayment(about.finding, reference=about.renews),))
        if first is None or not _is_of(account, first, about) or first.payment.state is not PaymentState.SUCCEEDED:
            return None
        if not isinstance(about.finding, Paid) or about.finding.merchant != first.payment.merchant:
            return None
        begun = await renewals.begin(self._desk, first.order, first.payment, about)
        return None if begun is None else Subject(*begun)


# ---------------------------------------------------------------------------------------------- whose it is


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the store says that a finding belongs, by one of these."""

    order_id: str
    payment_id: str = ""
    refund_id: str = ""
    channel_refund_no: str = ""


def _find(unit: Unit, account: OpenAccount, about: About) -> _Place | None:
    if isinstance(about, AboutPayment):
        return _purchase_place(unit, account, about) or _payment_place(unit, account, about.payment_id, about.reference)
    if about.refund_id:
        order_id = unit.order_of_refund([about.refund_id]).get(about.refund_id)
        if order_id is not None:
            return _Place(order_id, refund_id=about.refund_id)
    place = _payment_place(unit, account, about.payment_id, about.payment_reference)
    if place is not None or not about.channel_refund_no:
        return place
    number = ChannelRefundKey(account.kind.name, account.environment, about.channel_refund_no)
    order_id = unit.order_of_channel_refund([number]).get(number)
    return None if order_id is None else _Place(order_id, channel_refund_no=about.channel_refund_no)


def _purchase_place(unit: Unit, account: OpenAccount, about: AboutPayment) -> _Place | None:
    """Whose a store's purchase is by what pays only once, whatever token it carries: it may have been claimed."""
    paid = _purchase_of(about)
    if paid is None or about.payment_id:
        return None
    return next(
        (place for one in paid.references if (place := _payment_place(unit, account, None, one)) is not None), None
    )


def _payment_place(
    unit: Unit, account: OpenAccount, payment_id: str | None, reference: Reference | None
) -> _Place | None:
    if reference is not None and not payment_id:
        key = _key(account, reference)
        payment_id = unit.find_references([key]).get(key)
    if not payment_id:
        return None
    order_id = unit.order_of_payment([payment_id]).get(payment_id)
    return None if order_id is None else _Place(order_id, payment_id=payment_id)


def _key(account: OpenAccount, reference: Reference) -> ReferenceKey:
    return ReferenceKey(account.kind.name, account.environment, reference.kind, reference.value)


def _subject(order: Order | None, place: _Place) -> Subject | None:
    if order is None:
        return None
    refund = order.refund(place.refund_id) if place.refund_id else None
    if refund is None and place.channel_refund_no:
        refund = next((one for one in order.refunds if one.channel_refund_no == place.channel_refund_no), None)
    payment = order.payment(refund.payment_id if refund is not None else place.payment_id)
    return None if payment is None else Subject(order, payment, refund.refund_id if refund is not None else None)


def _is_of(account: OpenAccount, subject: Subject, about: About) -> bool:
    """Whether these keys may speak about this payment: another account's never may, whatever the words say."""
    payment = subject.payment
    if (payment.account_id, subject.order.app_id) != (account.account_id, account.app_id):
        return False
    return not (isinstance(about, AboutRefund) and about.merchant and about.merchant != payment.merchant)


def _is_returned(about: About) -> bool:
    """Whether the channel says at once that the money was taken and that all of it went back."""
    paid = about.finding
    if not isinstance(paid, Paid):
        return False
    return sum(one.amount_minor for one in paid.refunds if not one.reversed) >= paid.amount_minor > 0


def _is_in_other_money(subject: Subject, about: About) -> bool:
    """Whether a refund is told in a currency that its payment was not paid in; a store's payment has none before it is paid."""
    payment = subject.payment
    exact = payment.currency if payment.terms.price is Price.EXACT else ""
    known = payment.captured_currency or exact
    return isinstance(about, AboutRefund) and bool(about.currency and known) and about.currency != known


def _fact(subject: Subject, about: About, via: Via, asked_at: int | None) -> Fact:
    payment_id = subject.payment.payment_id
    if isinstance(about, AboutPayment):
        return PaymentHeard(payment_id, via, about.finding, asked_at)
    if subject.refund_id is not None:
        return RefundHeard(subject.refund_id, via, about.told, asked_at)
    return ForeignRefundHeard(payment_id, about, via, asked_at)


def _distrusted(doubts: list[Forged]) -> Refused:
    """Why no account believes the evidence: what the one said that got furthest with it."""
    if any(isinstance(doubt, WrongEnvironment) for doubt in doubts):
        return Refused(Reason.RECEIPT_WRONG_ENV, "The evidence comes from another world.", fields=("evidence",))
    if any(isinstance(doubt, WrongApp) for doubt in doubts):
        return Refused(Reason.RECEIPT_WRONG_APP, "The evidence is another app's.", fields=("evidence",))
    if all(isinstance(doubt, Malformed) for doubt in doubts):
        return Refused(Reason.EVIDENCE_MALFORMED, "The evidence is no signed document.", fields=("evidence",))
    return Refused(Reason.EVIDENCE_UNTRUSTED, "The evidence does not verify.", fields=("evidence",))


def _nobodys(about: About, wanted_order: str) -> Refused:
    """What belongs to no payment of the account. A purchase that carries a token was made for somebody."""
    paid = _purchase_of(about)
    if wanted_order and paid is not None and paid.purchase is not None and paid.purchase.token:
        return _other_token()
    return _mismatch("The evidence belongs to no payment of this account.")


def _elsewhere(about: About, subject: Subject) -> Refused:
    """What belongs to another order than the caller's: it paid that one before, or it was handed in here for the first time."""
    if _purchase_of(about) is not None and subject.payment.state is not PaymentState.SUCCEEDED:
        return _other_token()
    return Refused(Reason.EVIDENCE_USED, "The evidence belongs to another order.", fields=("evidence",))


def _other_token() -> Refused:
    return Refused(Reason.RECEIPT_WRONG_ACCOUNT, "The purchase carries another token.", fields=("evidence",))


def _mismatch(text: str) -> Refused:
    return Refused(Reason.EVIDENCE_MISMATCH, text, fields=("evidence",))


def _purchase_of(about: About) -> Paid | None:
    """The store's purchase that a finding proves, if it proves one."""
    finding = about.finding
    return finding if isinstance(finding, Paid) and finding.purchase is not None and finding.authenticated else None


def _named(about: About) -> str:
    """What the finding calls its subject, for people. A purchase is called by what pays only once: tokens may be shared."""
    reference = about.reference if isinstance(about, AboutPayment) else about.payment_reference
    purchase = _purchase_of(about)
    if purchase is not None and purchase.references:
        reference = purchase.references[0]
    names = [about.payment_id, f"{reference.kind} {reference.value}" if reference is not None else None]
    if isinstance(about, AboutRefund):
        names = [about.refund_id, about.channel_refund_no, *names]
    return next((name[:128] for name in names if name), "nothing")


def _refusal(account: OpenAccount | None, case: NoticeCase) -> NoticeReply:
    """The exact bytes of the kind for this case; the house's own while we do not know the kind."""
    refusals: Mapping[NoticeCase, NoticeReply] = account.kind.refusals if account is not None else {}
    return refusals.get(case, NOT_NOW)
