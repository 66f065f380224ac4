"""Does what is due: asks the channel, and tells what it said.

Each verb answers its task with the fence that its lease was given. A conversation ends before its lease does. Whatever
was heard is told, with its evidence; silence is told too.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, assert_never

from paycore.channel import ChannelVerb, Conversation, Forged
from paycore.core.facts import AccountUnusable, CloseAsked, Fact, PaymentHeard, RefundHeard, Via
from paycore.core.findings import (
    AlreadyPaid,
    Closed,
    Declined,
    NotFound,
    NotSent,
    Paid,
    PayerPaying,
    PaymentFinding,
    Ready,
    RefundFinding,
    Reversed,
    Unknown,
)
from paycore.core.order import CloseReason, Order, Payment, Refund, Verb
from paycore.core.refusals import Reason, Refused
from paycore.core.terms import SECOND
from paycore.engine import witness
from paycore.engine.accounts import Accounts, AccountUnusableNow, OpenAccount
from paycore.engine.asking import Asker
from paycore.engine.converse import Room, Talk
from paycore.engine.reader import Reader
from paycore.engine.soundness import Unsound, check_payment_finding, check_refund_finding
from paycore.engine.tell import Teller, Telling, Told
from paycore.store import Due, Evidence

log = logging.getLogger("paycore.engine.verbs")

Finding = TypeVar("Finding")

SLACK = SECOND
"""How long before its lease ends a conversation is over, so that what it heard is told under the lease."""
TELL_AGAIN = (SECOND // 5, SECOND, 3 * SECOND)
"""When to tell again what was heard while the store could not be reached."""

_CHANNEL_VERBS = {
    Verb.PREPARE: ChannelVerb.PREPARE,
    Verb.QUERY: ChannelVerb.QUERY,
    Verb.CLOSE: ChannelVerb.CLOSE,
    Verb.REFUND: ChannelVerb.REFUND,
    Verb.QUERY_REFUND: ChannelVerb.QUERY_REFUND,
}


@dataclass(frozen=True, slots=True)
class Lease:
    """What a worker may do, and until when. `until` is when its conversations must be over."""

    verb: Verb
    fence: int
    until: int


class Verbs:
    """Does tasks: those that the clock claims, and those that a caller wants done at once."""

    def __init__(self, room: Room, teller: Teller, reader: Reader, accounts: Accounts, asker: Asker) -> None:
        self._room = room
        self._teller = teller
        self._reader = reader
        self._accounts = accounts
        self._asker = asker

    async def do(self, due: Due) -> None:
        """Do one claimed task to its end. Somebody else's, or one that is no more, is left alone."""
        if due.verb is Verb.EXPIRE:
            await self._tell(due.order_id, CloseAsked(CloseReason.EXPIRED, due.fence))
            return
        order = await self._reader.load(due.order_id)
        if order is None:
            return
        until = (due.leased_until or self._room.clock.now()) - SLACK
        await self.work(order, due.subject_id, Lease(due.verb, due.fence, until))

    async def work(self, order: Order, subject_id: str, lease: Lease) -> Told | None:
        """Do a leased task of a payment or a refund, and return the order after it; None if the lease is not good."""
        payment, refund = order.payment(subject_id), order.refund(subject_id)
        if payment is not None:
            return await self._payment(order, payment, lease) if payment.fence == lease.fence else None
        if refund is not None:
            return await self._refund(order, refund, lease) if refund.fence == lease.fence else None
        return None

    async def hear_prepare(self, order: Order, payment: Payment, talk: Talk[PaymentFinding], lease: Lease) -> Told:
        """Carry a prepare that was begun before its payment was stored, and tell what came of it."""
        finding = await _answer(talk, lease.until)
        return await self._hear_payment(order, payment, Via.PREPARE, finding, talk.asked_at, lease.fence)

    # ------------------------------------------------------------------------------------ payments

    async def _payment(self, order: Order, payment: Payment, lease: Lease) -> Told:
        try:
            account = await self._signing(payment, lease.verb)
        except AccountUnusableNow as error:
            return await self._unusable(order, payment.payment_id, str(error), lease)
        match lease.verb:
            case Verb.PREPARE:
                return await self._prepare(order, payment, account, lease)
            case Verb.QUERY:
                return await self._query(order, payment, account, lease)
            case Verb.CLOSE:
                return await self._close(order, payment, account, lease)
            case Verb.EXPIRE | Verb.REFUND | Verb.QUERY_REFUND:
                raise AssertionError(f"{lease.verb} is no task of a payment")
            case _:
                assert_never(lease.verb)

    async def _prepare(self, order: Order, payment: Payment, account: OpenAccount, lease: Lease) -> Told:
        now = self._room.clock.now()
        if now >= payment.expires_at:
            over: PaymentFinding = Unknown("its time was over before it could be sent")
            return await self._hear_payment(order, payment, Via.PREPARE, over, now, lease.fence)
        return await self.hear_prepare(order, payment, self.prepare_talk(order, payment, account), lease)

    def prepare_talk(self, order: Order, payment: Payment, account: OpenAccount) -> Talk[PaymentFinding]:
        """The conversation that prepares this payment, not begun yet."""
        method = account.kind.method(payment.method)
        may_pay = method is not None and method.may_pay_at_prepare
        channel, ask = account.channel, self._asker.payment(order, payment)
        return self._talk(account, ChannelVerb.PREPARE, lambda: channel.prepare(ask), _prepared(may_pay=may_pay))

    async def _query(self, order: Order, payment: Payment, account: OpenAccount, lease: Lease) -> Told:
        finding, asked_at = await self._ask(order, payment, account, ChannelVerb.QUERY, lease.until)
        return await self._hear_payment(order, payment, Via.QUERY, finding, asked_at, lease.fence)

    async def _close(self, order: Order, payment: Payment, account: OpenAccount, lease: Lease) -> Told:
        """Ask first, and close then if that does not end the matter, all under one lease."""
        can_query = payment.terms.can_query and ChannelVerb.QUERY in account.kind.verbs
        can_close = payment.terms.can_close and ChannelVerb.CLOSE in account.kind.verbs
        if can_query:
            finding, asked_at = await self._ask(order, payment, account, ChannelVerb.QUERY, lease.until)
            is_last = not can_close or _ends(payment, finding, asked_at)
            fence = lease.fence if is_last else None
            told = await self._hear_payment(order, payment, Via.QUERY, finding, asked_at, fence)
            if is_last:
                return told
        if not can_close:
            deaf: PaymentFinding = Unknown("this channel can be neither asked nor closed")
            return await self._hear_payment(order, payment, Via.QUERY, deaf, self._room.clock.now(), lease.fence)
        finding, asked_at = await self._ask(order, payment, account, ChannelVerb.CLOSE, lease.until)
        return await self._hear_payment(order, payment, Via.CLOSE, finding, asked_at, lease.fence)

    async def _ask(
        self, order: Order, payment: Payment, account: OpenAccount, verb: ChannelVerb, until: int
    ) -> tuple[PaymentFinding, int]:
        """What the channel says to a query or a close, and when it was asked."""
        channel, ask = account.channel, self._asker.payment(order, payment)
        begin = (lambda: channel.query(ask)) if verb is ChannelVerb.QUERY else (lambda: channel.close(ask))
        talk = self._talk(account, verb, begin, _asked)
        finding = await _answer(talk, until)
        return finding, talk.asked_at

    def _talk(
        self,
        account: OpenAccount,
        verb: ChannelVerb,
        begin: Callable[[], Conversation[Any]],
        check: Callable[[object], PaymentFinding],
    ) -> Talk[PaymentFinding]:
        return Talk(self._room, account.kind.name, verb, begin, check)

    async def _hear_payment(
        self,
        order: Order,
        payment: Payment,
        via: Via,
        finding: PaymentFinding,
        asked_at: int,
        fence: int | None,
    ) -> Told:
        evidence = witness.heard(order.order_id, payment.payment_id, via, finding, self._room.clock.now())
        fact = PaymentHeard(payment.payment_id, via, finding, asked_at, fence)
        try:
            return await self._tell(order.order_id, fact, evidence)
        except Refused as refused:
            if refused.reason is not Reason.EVIDENCE_USED:
                raise
            # What the channel names pays another payment already: nothing of it is believed, and we go on asking.
            doubt = Unknown("the channel names a reference that belongs to another payment")
            return await self._tell(
                order.order_id, PaymentHeard(payment.payment_id, via, doubt, asked_at, fence), evidence
            )

    # ------------------------------------------------------------------------------------ refunds

    async def _refund(self, order: Order, refund: Refund, lease: Lease) -> Told:
        payment = order.payment(refund.payment_id)
        assert payment is not None
        try:
            account = await self._signing(payment, lease.verb)
        except AccountUnusableNow as error:
            return await self._unusable(order, refund.refund_id, str(error), lease)
        channel, ask = account.channel, self._asker.refund(order, payment, refund)
        is_send = lease.verb is Verb.REFUND
        talk: Talk[RefundFinding] = Talk(
            self._room,
            account.kind.name,
            _CHANNEL_VERBS[lease.verb],
            (lambda: channel.refund(ask)) if is_send else (lambda: channel.query_refund(ask)),
            check_refund_finding,
        )
        finding = await _answer(talk, lease.until)
        via = Via.REFUND if is_send else Via.QUERY_REFUND
        evidence = witness.heard(order.order_id, refund.refund_id, via, finding, self._room.clock.now())
        fact = RefundHeard(refund.refund_id, via, finding, talk.asked_at, lease.fence)
        return await self._tell(order.order_id, fact, evidence)

    # ------------------------------------------------------------------------------------ accounts, telling

    async def _signing(self, payment: Payment, verb: Verb) -> OpenAccount:
        """The payment's account, able to sign and to speak this verb. Raises AccountUnusableNow."""
        account = await self._accounts.open(payment.account_id)
        if account.signing is None:
            raise AccountUnusableNow("No key version of the account can sign.")
        is_close = verb is Verb.CLOSE  # which may be no more than a query
        if not is_close and _CHANNEL_VERBS[verb] not in account.kind.verbs:
            raise AccountUnusableNow(f"The channel's plugin has no verb {_CHANNEL_VERBS[verb]} any more.")
        return account

    async def _unusable(self, order: Order, subject_id: str, detail: str, lease: Lease) -> Told:
        return await self._tell(order.order_id, AccountUnusable(subject_id, detail, lease.fence))

    async def _tell(self, order_id: str, fact: Fact, *evidence: Evidence) -> Told:
        """Tell a fact; again when the store could not be reached, because telling twice changes nothing."""
        for wait in TELL_AGAIN:
            try:
                return await self._teller.tell(Telling(order_id, fact, evidence=evidence))
            except Refused as refused:
                if refused.reason not in (Reason.STORE_UNAVAILABLE, Reason.CONFLICT_RETRY):
                    raise
                await self._room.clock.sleep_until(self._room.clock.now() + wait, asyncio.Event())
        return await self._teller.tell(Telling(order_id, fact, evidence=evidence))


# ---------------------------------------------------------------------------------------------- what an answer is


async def _answer(talk: Talk[Finding], until: int) -> Finding | Unknown | NotSent:
    """What the conversation concludes; an answer that does not verify concludes nothing."""
    try:
        return await talk.answer(until)
    except Forged:
        return Unknown("the answer does not verify")


def _prepared(*, may_pay: bool) -> Callable[[object], PaymentFinding]:
    """A prepare that says "paid" without having declared that it may is not believed; it makes us ask."""

    def check(answer: object) -> PaymentFinding:
        finding = check_payment_finding(answer)
        return AlreadyPaid() if isinstance(finding, Paid) and not may_pay else finding

    return check


def _asked(answer: object) -> PaymentFinding:
    finding = check_payment_finding(answer)
    if isinstance(finding, Ready):
        raise Unsound("only prepare may answer that it is ready")
    return finding


def _ends(payment: Payment, finding: PaymentFinding, asked_at: int) -> bool:
    """Whether a query's answer makes closing needless, or impossible for now."""
    if not finding.authenticated:
        return False
    if isinstance(finding, NotFound):
        return asked_at >= payment.expires_at + payment.terms.margin
    if isinstance(finding, PayerPaying):  # some never confirm; a close that gives back may then cut them short
        return asked_at < payment.expires_at or not payment.terms.close_reverses
    return isinstance(finding, Paid | Closed | Reversed | Declined | AlreadyPaid)
