"""A payer chose: find the account, prepare, and say what the device has to do.

A prepare that asks nobody anything (it only signs) runs before the payment is stored: one commit. Any other is stored
first, leased to this caller, and carried on from its first request. Whatever the channel does, the answer is the order as
it stands. A payer who changes their mind has the older attempt closed first.
"""

from dataclasses import dataclass, replace

from paycore.channel import ChannelKind, Method, Price
from paycore.core.decide import decide
from paycore.core.facts import PaymentAsked, SwitchAsked
from paycore.core.findings import PaymentFinding, Ready
from paycore.core.ids import Prefix
from paycore.core.order import Given, Order, Payment, Verb
from paycore.core.paying import refuse_unpayable
from paycore.core.refusals import Reason, Refused
from paycore.core.terms import SECOND
from paycore.engine.accounts import OpenAccount
from paycore.engine.asking import token_of
from paycore.engine.cashier import (
    Choice,
    Unusable,
    best_account,
    inputs_for,
    store_item,
    target_for,
    unusable,
    why_not,
    why_not_account,
)
from paycore.engine.converse import Talk
from paycore.engine.desk import CONVERSE, LEASE, LEAST, CallerRequest, Desk
from paycore.engine.offers import QuoteChanged
from paycore.engine.tell import Told, expect_etag
from paycore.engine.verbs import SLACK, Lease

MAX_SWITCHES = 3
"""How many older attempts one ask closes before it gives up; there is one, unless payers race."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A choice that this order and client may make."""

    kind: ChannelKind
    method: Method
    account: OpenAccount
    target: str
    inputs: dict[str, str]
    offers: tuple[Given, ...] = ()


class Paying:
    """The use case behind PayOrder and SubmitPayment."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def pay(
        self,
        app_id: str,
        order_id: str,
        choice: Choice,
        request: CallerRequest | None,
        *,
        etag: str,
        deadline_at: int | None,
    ) -> Told:
        """Begin a payment, or find the one under way for the same choice. The payment is the answer's subject."""
        for _ in range(MAX_SWITCHES):
            try:
                return await self._attempt(app_id, order_id, choice, request, etag, deadline_at)
            except Refused as refused:
                if refused.reason is Reason.QUOTE_CHANGED and not isinstance(refused, QuoteChanged):
                    self._desk.offers.forget(app_id)  # somebody else got the last of it: reckon again
                    continue
                if refused.reason is not Reason.PAYMENT_IN_PROGRESS:
                    return await self._desk.refused_or_replayed(refused, request)
                replay = await self._desk.replayed(request) if request else None
                if replay is not None:
                    return replay
                if not await self._switch(app_id, order_id, refused.details["payment_id"], deadline_at):
                    raise
                etag = ""  # it held until now; what has changed since is the switch that the caller asked for
        raise Refused(
            Reason.PAYMENT_IN_PROGRESS, "Another attempt is still open at its channel.", retry_after_seconds=2.0
        )

    # ------------------------------------------------------------------------------------ one attempt

    async def _attempt(
        self,
        app_id: str,
        order_id: str,
        choice: Choice,
        request: CallerRequest | None,
        etag: str,
        deadline_at: int | None,
    ) -> Told:
        order = await self._desk.order_of(app_id, order_id)
        expect_etag(order, etag)  # again with the order held; here it spares the channel a question
        chosen = await self._choose(order, choice)
        now = self._desk.clock.now()
        patience = self._desk.patience(deadline_at)
        leased_until = now + LEASE if patience >= LEAST else None
        fact = self._fact(order, chosen, choice, now, leased_until)
        preview = decide(order, fact, now)
        payment = preview.order.payment(fact.payment_id)
        if payment is None or leased_until is None:
            told = await self._desk.tell(app_id, order_id, fact, request, etag=etag)
            return await self._when_ready(told, fact, patience)
        talk = self._desk.verbs.prepare_talk(preview.order, payment, chosen.account)
        await talk.open()
        return await self._store_and_ask(app_id, order_id, fact, talk, request, etag, patience)

    async def _store_and_ask(
        self,
        app_id: str,
        order_id: str,
        fact: PaymentAsked,
        talk: Talk[PaymentFinding],
        request: CallerRequest | None,
        etag: str,
        patience: int,
    ) -> Told:
        ready = talk.conclusion if talk.is_silent else None
        if isinstance(ready, Ready):
            told = await self._desk.tell(app_id, order_id, _prepared(fact, ready), request, etag=etag)
            return await self._when_ready(told, fact, patience)
        told = await self._desk.tell(app_id, order_id, fact, request, etag=etag)
        payment = told.order.payment(fact.payment_id)
        if payment is None or told.is_replay:
            return await self._when_ready(told, fact, patience)
        assert fact.leased_until is not None
        lease = Lease(Verb.PREPARE, payment.fence, fact.leased_until - SLACK)
        work = self._desk.verbs.hear_prepare(told.order, payment, talk, lease)
        heard = await self._desk.wait_for(work, patience)
        return told if heard is None else Told(heard.order, fact.payment_id, is_replay=False)

    async def _when_ready(self, told: Told, fact: PaymentAsked, patience: int) -> Told:
        """The answer about a payment that somebody else began: a while later, if they are still preparing it."""
        payment = told.order.payment(told.subject_id)
        if told.subject_id == fact.payment_id or payment is None or not _is_being_prepared(payment):
            return told
        await self._desk.do_now(told.order.order_id, patience, (payment.payment_id,))
        return replace(told, order=await self._desk.order_of(told.order.app_id, told.order.order_id))

    def _fact(self, order: Order, chosen: Chosen, choice: Choice, now: int, leased_until: int | None) -> PaymentAsked:
        method, payment_id = chosen.method, self._desk.ids.mint(Prefix.PAYMENT)
        item = store_item(order) if method.price is Price.STORE else None
        return PaymentAsked(
            payment_id=payment_id,
            channel=chosen.kind.name,
            method=method.name,
            account_id=chosen.account.account_id,
            environment=chosen.account.environment,
            merchant=chosen.account.merchant,
            terms=chosen.kind.terms(method),
            expires_at=min(order.expires_at, now + method.expiry_max_seconds * SECOND),
            min_left=method.expiry_min_seconds * SECOND,
            target=chosen.target,
            inputs=chosen.inputs,
            client=choice.client or {},
            product_id=item.product_id if item else "",
            quantity=item.quantity if item else 1,
            token=token_of(payment_id) if method.price is Price.STORE else "",
            offers=chosen.offers,
            leased_until=leased_until,
        )

    # ------------------------------------------------------------------------------------ choosing

    async def _choose(self, order: Order, choice: Choice) -> Chosen:
        kind = self._desk.host.kind(choice.channel)
        method = kind.method(choice.method) if kind is not None else None
        if kind is None or method is None:
            raise Refused(
                Reason.METHOD_UNKNOWN,
                "There is no such method.",
                fields=("channel",) if kind is None else ("method",),
            )
        now = self._desk.clock.now()
        refuse_unpayable(order, now)
        account = await self._account(order.app_id, kind, choice.account_id)
        offers = self._desk.offers
        given = offers.given(order, kind, method, await offers.deals(order))
        amount_minor = order.amount_minor - sum(one.amount_minor for one in given)
        reason = why_not(order, choice.client or {}, method, amount_minor)
        if isinstance(account, Unusable):
            raise _unavailable(kind, method, reason or account)
        reason = reason or why_not_account(account, self._desk.host, now)
        if reason is not None:
            raise _unavailable(kind, method, reason)
        target, inputs = target_for(method, choice), inputs_for(method, choice.inputs or {})
        offers.expect(choice.quote_token, order, kind.name, method.name, given)
        return Chosen(kind, method, account, target, inputs, given)

    async def _account(self, app_id: str, kind: ChannelKind, account_id: str) -> OpenAccount | Unusable:
        """The account to pay to, the named one or the best; or why there is none. Raises ACCOUNT_NOT_FOUND."""
        accounts = self._desk.accounts
        mine = [one for one in await accounts.for_app(app_id) if one.kind.name == kind.name]
        there = [one for one in await accounts.rows_of(app_id) if one.channel == kind.name]
        if account_id:
            mine = [one for one in mine if one.account_id == account_id]
            if account_id not in {one.account_id for one in there}:
                raise Refused(Reason.ACCOUNT_NOT_FOUND, "There is no such account.", fields=("account_id",))
        if mine:
            return best_account(mine)
        return unusable("ACCOUNT_UNUSABLE" if there else "NO_ACCOUNT")

    # ------------------------------------------------------------------------------------ changing one's mind

    async def _switch(self, app_id: str, order_id: str, payment_id: str, deadline_at: int | None) -> bool:
        """Ask about an older attempt and close it. Whether the way is free, as far as this attempt goes."""
        patience = self._desk.patience(deadline_at)
        now = self._desk.clock.now()
        leased_until = now + LEASE if patience >= LEAST else None
        told = await self._desk.tell(app_id, order_id, SwitchAsked(payment_id, leased_until))
        payment = told.order.payment(payment_id)
        if payment is None or _is_out_of_the_way(payment):
            return True
        task = payment.task
        if leased_until is None or task is None or task.verb is not Verb.CLOSE or task.leased_until != leased_until:
            return False
        lease = Lease(Verb.CLOSE, payment.fence, now + CONVERSE)
        closed = await self._desk.wait_for(self._desk.verbs.work(told.order, payment_id, lease), patience)
        after = closed.order.payment(payment_id) if closed is not None else None
        return after is not None and _is_out_of_the_way(after)


def _is_being_prepared(payment: Payment) -> bool:
    task = payment.task
    return not payment.plan_json and task is not None and task.verb is Verb.PREPARE and task.leased_until is not None


def _is_out_of_the_way(payment: Payment) -> bool:
    return not payment.is_open or payment.is_superseded


def _prepared(fact: PaymentAsked, ready: Ready) -> PaymentAsked:
    return replace(fact, prepared=ready, leased_until=None)


def _unavailable(kind: ChannelKind, method: Method, reason: Unusable) -> Refused:
    return Refused(
        Reason.METHOD_UNAVAILABLE,
        "The method cannot be used for this order now.",
        channel=kind.name,
        method=method.name,
        why=reason.code,
    )
