"""Bugs that we plant into the product, one at a time, to see that the simulation finds them.

Each is small, each is a mistake that somebody has made somewhere, and each names the rule of the design that it breaks.
A class of bugs counts as covered only while its mutation is caught.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

from paycore.channel import ChannelVerb
from paycore.core import decide as deciding
from paycore.core import paying, refunding, schedule
from paycore.core.edit import put_payment, put_refund
from paycore.core.events import announce
from paycore.core.facts import Via
from paycore.core.findings import NotSent, Paid
from paycore.core.ids import Prefix, derive_id
from paycore.core.order import (
    Order,
    OrderState,
    Payment,
    PaymentState,
    Refund,
    RefundOrigin,
    RefundState,
    SurplusPolicy,
)
from paycore.core.refusals import Refused
from paycore.engine import asking, clock_work, converse, hub, notices, tell, verbs
from paycore.engine.refunding import Refunding
from paycore.rpc import watch
from paycore.store.sql import same
from paycore.store.tasks import Tasks
from paycore.store.telling import Telling

Change = tuple[Any, str, Any]
"""Where, what, and by what it is replaced."""


@dataclass(frozen=True)
class Bug:
    """A mutation of the product."""

    name: str
    rule: str
    """The rule that it breaks, by its number in the design, or in words."""
    changes: Callable[[], list[Change]]

    @contextmanager
    def planted(self) -> Iterator[None]:
        """While this lasts, the product has the bug."""
        with ExitStack() as stack:
            for owner, name, mutant in self.changes():
                stack.callback(setattr, owner, name, _given(owner, name))
                setattr(owner, name, mutant)
            yield


def _given(owner: Any, name: str) -> Any:
    return vars(owner)[name]


# ---------------------------------------------------------------------------------------------- not knowing


def unknown_is_failure() -> list[Change]:
    """A prepare without an answer has failed."""
    given = paying._unanswered

    def mutant(order: Order, payment: Payment, fact: Any, now: int) -> Payment:
        if fact.via is Via.PREPARE:
            return paying.ended(payment, PaymentState.FAILED, now)
        return given(order, payment, fact, now)

    return [(paying, "_unanswered", mutant)]


def unknown_refund_is_failure() -> list[Change]:
    """A refund without an answer has failed, and its amount may be given away again."""
    given = refunding._unanswered

    def mutant(order: Order, refund: Refund, fact: Any, owns: bool, asks: bool, now: int) -> Order:
        if owns and fact.via is Via.REFUND:
            return refunding._end(order, refund, RefundState.FAILED, now)
        return given(order, refund, fact, owns, asks, now)

    return [(refunding, "_unanswered", mutant)]


def silence_was_not_sent() -> list[Change]:
    """No answer means that nothing was sent."""
    return [(converse.Talk, "_silence", lambda self, note: NotSent(note))]


def query_gives_up() -> list[Change]:
    """After three tries nobody asks any more."""
    given = schedule.again

    def mutant(row: Any, verb: Any, now: int, ladder: tuple[int, ...], *, latest: int | None = None) -> Any:
        if row.task is not None and row.task.verb is verb and row.task.tries >= 3:
            return schedule.without_task(row)
        return given(row, verb, now, ladder, latest=latest)

    return [(paying, "again", mutant), (refunding, "again", mutant)]


def crash_hides_a_send() -> list[Change]:
    """A send is counted when it is answered, so that one who dies while sending has sent nothing."""
    given = Tasks.claim_due

    def mutant(self: Any, *arguments: Any, **more: Any) -> Any:
        taken = given(self, *arguments, **more)
        for due in taken:
            if due.table in ("payments", "refunds"):
                column = due.table[:-1] + "_id"
                self.rows(same(f"UPDATE {due.table} SET sends = 0 WHERE {column} = ?"), due.subject_id)
        return taken

    def born_unsent(order: Order, fact: Any, now: int) -> Payment:
        return replace(new_payment(order, fact, now), sends=0)

    new_payment = paying._new_payment
    return [(Tasks, "claim_due", mutant), (paying, "_new_payment", born_unsent)]


# ---------------------------------------------------------------------------------------------- promises


def acknowledge_before_commit() -> list[Change]:
    """The channel hears "taken" first, and the notice is stored a little later."""
    given = notices.Notices._take_in

    async def mutant(self: Any, account: Any, notice: Any, digest: str) -> Any:
        self._later = asyncio.ensure_future(given(self, account, notice, digest))
        return notice.acknowledge

    return [(notices.Notices, "_take_in", mutant)]


class GivenUp(Exception):
    """A transaction that was only a rehearsal."""


def answer_before_commit() -> list[Change]:
    """Callers hear what will be stored in a moment."""
    given = tell.Teller._write

    async def mutant(self: Any, batch: list[Any]) -> None:
        def rehearse() -> Any:
            tellings, heard = [waiting.telling for waiting in batch], []
            with suppress(GivenUp), self._scribe._store.write() as unit:
                heard.append(tell._Batch(unit, self._scribe._clock.now()).tell(tellings))
                raise GivenUp
            return heard[0]

        try:
            written = await self._run(rehearse)
        except Exception:
            await given(self, batch)
            return
        for waiting, answer in zip(batch, written.answers, strict=True):
            self._answer(waiting.answer, answer)
        await given(self, batch)

    return [(tell.Teller, "_write", mutant)]


def send_before_commit() -> list[Change]:
    """A refund is sent first and stored afterwards."""
    given = Refunding.create

    async def mutant(
        self: Any, app_id: str, order_id: str, draft: Any, request: Any, *, deadline_at: int | None
    ) -> Any:
        order = await self._desk.order_of(app_id, order_id)
        if order.effective is not None and draft.amount_minor <= order.effective.balance_minor:
            refund_id = derive_id(Prefix.REFUND, order.order_id, request.key.request_id)
            payment_id = order.effective.payment_id
            early = Refund(refund_id, payment_id, draft.amount_minor, draft.currency, RefundOrigin.MERCHANT, 0, 0)
            account = await self._desk.accounts.open(order.effective.account_id)
            ask = self._desk.asker.refund(order, order.effective, early)
            talk: Any = converse.Talk(
                self._desk.room,
                "sandbox",
                ChannelVerb.REFUND,
                lambda: account.channel.refund(ask),
                lambda found: found,
            )
            await verbs._answer(talk, self._desk.clock.now() + 5_000_000)
        return await given(self, app_id, order_id, draft, request, deadline_at=deadline_at)

    return [(Refunding, "create", mutant)]


def no_idempotency() -> list[Change]:
    """A request that was answered before is a new one."""
    return [
        (tell._Batch, "_replayed", lambda self, telling: None),
        (Telling, "put_requests", lambda self, requests: None),
    ]


def same_key_other_content() -> list[Change]:
    """Whoever uses a key again gets the first answer, whatever is asked now."""
    given = tell._Batch._replayed

    def mutant(self: Any, telling: Any) -> Any:
        stored = self._requests.get(telling.request)
        return given(self, telling if stored is None else replace(telling, canonical=stored.canonical))

    return [(tell._Batch, "_replayed", mutant)]


# ---------------------------------------------------------------------------------------------- closing


def close_only_here() -> list[Change]:
    """Closing is a matter of our own books; the channel is not asked."""

    def mutant(payment: Payment, now: int) -> Payment:
        return paying.ended(payment, PaymentState.CLOSED, now)

    return [(paying, "_closing", mutant)]


def close_overwrites_paid() -> list[Change]:
    """An order can be closed although it is paid."""
    given = deciding._close_asked

    def mutant(order: Order, fact: Any, now: int) -> Order:
        if order.state.value == "PAID":
            order = replace(order, state=OrderState.PENDING)
        return given(order, fact, now)

    return [(deciding, "_close_asked", mutant)]


def not_found_is_never() -> list[Change]:
    """What the channel does not find will never be paid, whenever it was asked."""

    def mutant(order: Order, payment: Payment, fact: Any, owns: bool, now: int) -> Payment:
        return paying.ended(payment, PaymentState.CLOSED, now)

    return [(paying, "_not_found", mutant)]


def hearsay_is_believed() -> list[Change]:
    """What nobody vouches for is as good as anything."""
    given = paying.payment_heard

    def mutant(order: Order, fact: Any, now: int) -> Order:
        if hasattr(fact.finding, "authenticated"):
            fact = replace(fact, finding=replace(fact.finding, authenticated=True))
        return given(order, fact, now)

    return [(deciding, "payment_heard", mutant)]


def orders_never_expire() -> list[Change]:
    """An order is born without the task that ends it."""
    given = deciding._born

    def mutant(fact: Any, now: int) -> Any:
        born = given(fact, now)
        return replace(born, order=replace(born.order, task=None))

    return [(deciding, "_born", mutant)]


def switch_without_closing() -> list[Change]:
    """Another way to pay is opened beside the first."""
    given = paying.payment_asked

    def mutant(order: Order, fact: Any, now: int) -> Any:
        try:
            return given(order, fact, now)
        except Refused as refused:
            if refused.reason != "PAYMENT_IN_PROGRESS":
                raise
            return put_payment(order, paying._new_payment(order, fact, now), now), fact.payment_id

    return [(deciding, "payment_asked", mutant)]


def late_watch_forgotten() -> list[Change]:
    """What ended unpaid is never asked about again."""
    given = paying.ended

    def mutant(payment: Payment, state: PaymentState, now: int) -> Payment:
        return schedule.without_task(given(payment, state, now))

    return [(paying, "ended", mutant)]


# ---------------------------------------------------------------------------------------------- surplus


def late_money_is_kept() -> list[Change]:
    """Money that comes too late stays where it is, and nobody hears of it."""

    def mutant(order: Order, payment: Payment, now: int) -> Order:
        return put_payment(order, replace(payment, is_kept=True), now)

    return [(paying, "_surplus", mutant)]


def late_money_reopens() -> list[Change]:
    """Money that comes too late pays the closed order, whatever the policy."""
    given = paying._surplus

    def mutant(order: Order, payment: Payment, now: int) -> Order:
        return paying.pay_order(order, payment, now) if order.state.value == "CLOSED" else given(order, payment, now)

    return [(paying, "_surplus", mutant)]


def surplus_is_only_noted() -> list[Change]:
    """A second payment waits for a person although the policy gives it back."""
    given = paying._surplus

    def mutant(order: Order, payment: Payment, now: int) -> Order:
        return given(replace(order, surplus_policy=SurplusPolicy.HOLD), payment, now)

    def undone(order: Order, payment: Payment, now: int) -> Order:
        return replace(mutant(order, payment, now), surplus_policy=order.surplus_policy)

    return [(paying, "_surplus", undone)]


def any_amount_will_do() -> list[Change]:
    """Whoever pays something has paid."""
    return [(paying, "_is_what_we_asked", lambda payment, paid: True)]


def any_merchant_will_do() -> list[Change]:
    """Money that somebody else received pays our order."""
    given = paying.payment_heard

    def mutant(order: Order, fact: Any, now: int) -> Order:
        if isinstance(fact.finding, Paid):
            fact = replace(fact, finding=replace(fact.finding, merchant=paying.known(order, fact.payment_id).merchant))
        return given(order, fact, now)

    return [
        (deciding, "payment_heard", mutant),
        (deciding, "_refusal", lambda order, fact: None),
        (notices, "_is_of", lambda account, subject, about: True),
    ]


def duplicate_notice_counts_twice() -> list[Change]:
    """The same success told twice is twice the money."""
    given = paying._paid_again

    def mutant(order: Order, payment: Payment, fact: Any, paid: Paid, owns: bool, now: int) -> Order:
        if fact.via is Via.NOTICE:
            twice = replace(payment, captured_minor=payment.captured_minor + paid.amount_minor)
            return put_payment(order, twice, now)
        return given(order, payment, fact, paid, owns, now)

    return [(paying, "_paid_again", mutant)]


# ---------------------------------------------------------------------------------------------- refunds


def new_refund_number_per_send() -> list[Change]:
    """A refund that is sent again is sent under another number."""
    given = asking.Asker.refund

    def mutant(self: Any, order: Order, payment: Payment, refund: Refund) -> Any:
        ask = given(self, order, payment, refund)
        if refund.sends > 1:
            ask = replace(ask, refund_id=derive_id(Prefix.REFUND, refund.refund_id, str(refund.sends)))
        return ask

    return [(asking.Asker, "refund", mutant)]


def new_amount_per_send() -> list[Change]:
    """A refund that is sent again asks for what is left now."""
    given = asking.Asker.refund

    def mutant(self: Any, order: Order, payment: Payment, refund: Refund) -> Any:
        ask = given(self, order, payment, refund)
        return replace(ask, amount_minor=refund.amount_minor + 1) if refund.sends > 1 else ask

    return [(asking.Asker, "refund", mutant)]


def refund_check_outside_the_lock() -> list[Change]:
    """Whether there is enough left is looked up first, and believed afterwards."""
    create, refuse = Refunding.create, refunding._refuse_unrefundable

    async def checked(
        self: Any, app_id: str, order_id: str, draft: Any, request: Any, *, deadline_at: int | None
    ) -> Any:
        order = await self._desk.order_of(app_id, order_id)
        if order.effective is not None and draft.amount_minor > order.effective.balance_minor:
            raise Refused("REFUND_EXCEEDS_BALANCE", "The refund is larger than what is left of the payment.")  # type: ignore[arg-type]
        return await create(self, app_id, order_id, draft, request, deadline_at=deadline_at)

    def unchecked(order: Order, payment: Payment, fact: Any, now: int) -> None:
        refuse(order, replace(payment, captured_minor=10**12), fact, now)

    return [(Refunding, "create", checked), (refunding, "_refuse_unrefundable", unchecked)]


def refusal_is_believed_alone() -> list[Change]:
    """A refund that was refused once has failed, although an earlier send may have been done."""

    def mutant(order: Order, refund: Refund, fact: Any, finding: Any, owns: bool, now: int) -> Order:
        return refunding._end(order, refund, RefundState.FAILED, now)

    return [
        (refunding, "_refused", mutant),
        (
            refunding,
            "_not_found",
            lambda order, refund, fact, owns, now: refunding._end(order, refund, RefundState.FAILED, now),
        ),
    ]


def bounce_is_ignored() -> list[Change]:
    """A refund that was done stays done, whatever the channel says later."""
    given = refunding._ended_heard

    def mutant(order: Order, refund: Refund, fact: Any, owns: bool, now: int) -> Order:
        return given(order, refund, fact, owns, now) if type(fact.finding).__name__ != "RefundBounced" else order

    return [(refunding, "_ended_heard", mutant)]


def console_refund_is_ignored() -> list[Change]:
    """What we did not begin is none of our business."""
    return [(deciding, "foreign_refund_heard", lambda order, payment, fact, now: order)]


def stuck_refund_is_unseen() -> list[Change]:
    """A refund that needs a person calls nobody."""

    def mutant(order: Order, refund: Refund, failure: Any, now: int) -> Order:
        stuck = schedule.without_task(replace(refund, state=RefundState.ABNORMAL, failure=failure))
        return put_refund(order, stuck, now)

    return [(refunding, "stuck", mutant)]


# ---------------------------------------------------------------------------------------------- workers, writers, readers


def lease_shorter_than_the_call() -> list[Change]:
    """A worker talks on although its lease has ended."""
    given = verbs.Verbs.work

    async def mutant(self: Any, order: Order, subject_id: str, lease: Any) -> Any:
        return await given(self, order, subject_id, replace(lease, until=lease.until + 60_000_000))

    return [(verbs.Verbs, "work", mutant)]


def tasks_are_not_leased() -> list[Change]:
    """A due task is done by whoever sees it."""
    given = Tasks.claim_due

    def mutant(self: Any, now: int, lease_until: int, limit: int, **more: Any) -> Any:
        return given(self, now, now, limit, **more)

    return [(Tasks, "claim_due", mutant)]


def guards_are_ignored() -> list[Change]:
    """What was read in one transaction is written in another, over whatever others wrote meanwhile."""
    given = Telling.load
    remembered: dict[int, dict[str, Order]] = {}

    def stale(self: Any, order_ids: Any, *, lock: bool = False) -> Any:
        fresh = given(self, order_ids, lock=lock)
        if not lock:
            remembered.setdefault(0, {}).update(fresh)
            return fresh
        known = remembered.get(0, {})
        return {order_id: known.pop(order_id, order) for order_id, order in fresh.items()}

    def unguarded(self: Any, statement: Any, rows: Any) -> None:
        self._change_many(statement, rows)

    return [(Telling, "load", stale), (Telling, "_guarded", unguarded)]


def event_is_forgotten() -> list[Change]:
    """A change of a payment is stored, and not always announced."""
    given = announce

    def mutant(before: Any, after: Order, cause: str, at: int) -> Any:
        events = given(before, after, cause, at)
        return events[:-1] if len(events) > 2 else events

    return [(deciding, "announce", mutant)]


def stream_skips_after_resume() -> list[Change]:
    """A stream that is resumed begins one event too late."""
    given = watch.OfOrder.__init__

    def mutant(self: Any, topic: Any, order: Order, resume_after: int | None) -> None:
        given(self, topic, order, resume_after)
        if resume_after is not None and resume_after < order.version:
            self.position += 1

    return [(watch.OfOrder, "__init__", mutant)]


def stream_repeats_after_resume() -> list[Change]:
    """A stream that is resumed tells the last event again."""
    given = watch.OfOrder.__init__

    def mutant(self: Any, topic: Any, order: Order, resume_after: int | None) -> None:
        given(self, topic, order, resume_after)
        if resume_after:
            self.position -= 1

    return [(watch.OfOrder, "__init__", mutant)]


def nobody_polls() -> list[Change]:
    """Watchers hear only of what their own process commits."""

    async def mutant(self: Any) -> None:
        return None

    return [(hub.Hub, "_poll_once", mutant)]


def clock_dies_of_an_error() -> list[Change]:
    """A look at the due tasks that fails is the last one."""
    given = clock_work.ClockWork._take

    async def mutant(self: Any) -> Any:
        try:
            return await given(self)
        except Exception:
            await asyncio.Event().wait()

    return [(clock_work.ClockWork, "_take", mutant)]


BUGS = [
    Bug("unknown is failure", "1", unknown_is_failure),
    Bug("unknown refund is failure", "1, 8", unknown_refund_is_failure),
    Bug("silence was not sent", "1", silence_was_not_sent),
    Bug("query gives up", "1, 8", query_gives_up),
    Bug("a crash hides a send", "1", crash_hides_a_send),
    Bug("acknowledge before commit", "3", acknowledge_before_commit),
    Bug("answer before commit", "accepted means durable", answer_before_commit),
    Bug("send before commit", "2", send_before_commit),
    Bug("no idempotency", "the same request is the same object", no_idempotency),
    Bug("same key, other content", "the same request is the same object", same_key_other_content),
    Bug("close only here", "10", close_only_here),
    Bug("close overwrites paid", "PAID never leaves", close_overwrites_paid),
    Bug("not found is never", "10", not_found_is_never),
    Bug("hearsay is believed", "12", hearsay_is_believed),
    Bug("orders never expire", "16", orders_never_expire),
    Bug("switch without closing", "11", switch_without_closing),
    Bug("late watch forgotten", "10", late_watch_forgotten),
    Bug("late money is kept", "6", late_money_is_kept),
    Bug("late money reopens", "6", late_money_reopens),
    Bug("surplus is only noted", "6", surplus_is_only_noted),
    Bug("any amount will do", "5", any_amount_will_do),
    Bug("any merchant will do", "5", any_merchant_will_do),
    Bug("duplicate notice counts twice", "12", duplicate_notice_counts_twice),
    Bug("new refund number per send", "2", new_refund_number_per_send),
    Bug("new amount per send", "2", new_amount_per_send),
    Bug("refund check outside the lock", "8", refund_check_outside_the_lock),
    Bug("refusal is believed alone", "8", refusal_is_believed_alone),
    Bug("bounce is ignored", "7", bounce_is_ignored),
    Bug("console refund is ignored", "7", console_refund_is_ignored),
    Bug("stuck refund is unseen", "8, 16", stuck_refund_is_unseen),
    Bug("lease shorter than the call", "2", lease_shorter_than_the_call),
    Bug("tasks are not leased", "leases", tasks_are_not_leased),
    Bug("guards are ignored", "the order is the lock", guards_are_ignored),
    Bug("an event is forgotten", "16", event_is_forgotten),
    Bug("stream skips after resume", "streams have no gap", stream_skips_after_resume),
    Bug("stream repeats after resume", "streams have no repeat", stream_repeats_after_resume),
    Bug("nobody polls", "a lost hint costs time only", nobody_polls),
    Bug("the clock dies of an error", "what is due is done", clock_dies_of_an_error),
]
