"""Rules about money on its way back (design rules 7 and 8)."""

from dataclasses import replace
from typing import assert_never

from paycore.core.edit import anomaly_id, open_anomaly, put_refund, resolve_kind
from paycore.core.facts import ForeignRefundHeard, RefundAsked, RefundHeard, RefundRetryAsked, Via
from paycore.core.findings import (
    ChannelRefund,
    Failure,
    NotSent,
    RefundBounced,
    Refunded,
    RefundFailed,
    RefundFinding,
    RefundNotFound,
    RefundProcessing,
    RefundRefused,
    RefundShort,
    RefundStuck,
    Unknown,
)
from paycore.core.ids import Prefix, derive_id
from paycore.core.order import (
    AnomalyKind,
    Order,
    Payment,
    PaymentState,
    Refund,
    RefundOrigin,
    RefundState,
    Verb,
)
from paycore.core.refusals import Reason, Refused
from paycore.core.schedule import (
    LOOKS,
    REFUND_AGES,
    REFUND_ASK,
    RETRY,
    SHORT,
    again,
    forward,
    step,
    with_task,
    without_task,
)

# ---------------------------------------------------------------------------------------------- we ask


def refund_asked(order: Order, fact: RefundAsked, now: int) -> Order:
    """Reserve the amount under the order's lock and leave the task that sends it."""
    payment = order.payment(fact.payment_id) if fact.payment_id else order.effective
    if payment is None and fact.payment_id:
        raise Refused(Reason.PAYMENT_NOT_FOUND, "The order has no such payment.", payment_id=fact.payment_id)
    if payment is None or payment.state is not PaymentState.SUCCEEDED:
        raise Refused(Reason.ORDER_NOT_PAID, "Nothing was paid that could be refunded.", order_id=order.order_id)
    _refuse_unrefundable(order, payment, fact, now)
    return begin_refund(
        order,
        payment,
        refund_id=fact.refund_id,
        amount_minor=fact.amount_minor,
        origin=RefundOrigin.MERCHANT,
        now=now,
        merchant_refund_no=fact.merchant_refund_no,
        reason=fact.reason,
        leased_until=fact.leased_until,
    )


def _refuse_unrefundable(order: Order, payment: Payment, fact: RefundAsked, now: int) -> None:
    terms = payment.terms
    if fact.currency != payment.captured_currency:
        raise Refused(Reason.CURRENCY_MISMATCH, "A refund is in the currency that was paid.", fields=("amount",))
    if not terms.can_refund:
        raise Refused(Reason.REFUND_UNSUPPORTED, "This channel takes no refunds from us.", channel=payment.channel)
    if terms.refund_window is not None and now > (payment.paid_at or now) + terms.refund_window:
        raise Refused(Reason.REFUND_WINDOW_CLOSED, "The channel's time for refunds is over.", channel=payment.channel)
    taken = sum(refund.state is not RefundState.FAILED for refund in order.refunds_of(payment.payment_id))
    if terms.refund_count is not None and taken >= terms.refund_count:
        raise Refused(Reason.REFUND_COUNT_LIMIT, "The channel takes no more refunds of this payment.", limit=taken)
    if fact.amount_minor > payment.balance_minor:
        raise Refused(
            Reason.REFUND_EXCEEDS_BALANCE,
            "The refund is larger than what is left of the payment.",
            refundable_minor=max(payment.balance_minor, 0),
        )
    if not terms.partial_refunds and fact.amount_minor != payment.captured_minor:
        raise Refused(Reason.REFUND_UNSUPPORTED, "This channel refunds whole payments only.", channel=payment.channel)


def begin_refund(
    order: Order,
    payment: Payment,
    *,
    refund_id: str,
    amount_minor: int,
    origin: RefundOrigin,
    now: int,
    merchant_refund_no: str = "",
    reason: str = "",
    leased_until: int | None = None,
) -> Order:
    """The order with a refund whose amount is reserved and whose send is due: now, or after the channel's pause."""
    due_at = _next_send(order, payment, now)
    leased_until = leased_until if due_at == now else None
    refund = Refund(
        refund_id=refund_id,
        payment_id=payment.payment_id,
        amount_minor=amount_minor,
        currency=payment.captured_currency,
        origin=origin,
        created_at=now,
        updated_at=now,
        merchant_refund_no=merchant_refund_no,
        reason=reason,
        sends=0 if leased_until is None else 1,
    )
    tries = 0 if leased_until is None else 1
    return put_refund(order, with_task(refund, Verb.REFUND, due_at, tries=tries, leased_until=leased_until), now)


def _next_send(order: Order, payment: Payment, now: int) -> int:
    """When a new refund of this payment may be sent: a pause after the last one, where the channel wants one."""
    pause = payment.terms.refund_interval
    if pause is None:
        return now
    ours = [one for one in order.refunds_of(payment.payment_id) if one.origin is not RefundOrigin.CHANNEL]
    sends = [one.created_at for one in ours]
    sends += [one.task.due_at for one in ours if one.task is not None and one.task.verb is Verb.REFUND]
    return max([now, *(at + pause for at in sends)])


def retry_asked(order: Order, fact: RefundRetryAsked, now: int) -> Order:
    """Try again what needed a person or money."""
    refund = _refund(order, fact.refund_id)
    if refund.state is RefundState.ABNORMAL:
        return send_again(order, refund, now, "retried")
    if not refund.is_reserving:
        raise Refused(
            Reason.REFUND_NOT_RETRYABLE, "The refund has ended.", refund_id=fact.refund_id, state=refund.state
        )
    return put_refund(order, forward(refund, now), now)


def send_again(order: Order, refund: Refund, now: int, note: str) -> Order:
    """Take an ABNORMAL refund up again: its outcome is open, its id stays."""
    order = resolve_kind(order, AnomalyKind.REFUND_ABNORMAL, refund.refund_id, now, note)
    refund = replace(refund, state=RefundState.UNKNOWN, failure=None)
    return put_refund(order, with_task(refund, Verb.REFUND, now), now)


def _refund(order: Order, refund_id: str) -> Refund:
    refund = order.refund(refund_id)
    if refund is None:
        raise Refused(Reason.REFUND_NOT_FOUND, "There is no such refund.", refund_id=refund_id)
    return refund


# ---------------------------------------------------------------------------------------------- the channel answers


def refund_heard(order: Order, fact: RefundHeard, now: int) -> Order:
    """Say what a channel's words about one of our refunds mean."""
    refund = _refund(order, fact.refund_id)
    owns = fact.fence is not None and fact.fence == refund.fence
    if owns:
        order = resolve_kind(order, AnomalyKind.ACCOUNT_UNUSABLE, refund.refund_id, now, "usable again")
    if refund.is_reserving:
        return _reserving_heard(order, refund, fact, owns, now)
    return _ended_heard(order, refund, fact, owns, now)


def _reserving_heard(  # noqa: C901 - a dispatcher
    order: Order, refund: Refund, fact: RefundHeard, owns: bool, now: int
) -> Order:
    finding = fact.finding
    asks = _can_query(order, refund)
    if owns and fact.via is Via.REFUND and not isinstance(finding, Unknown | NotSent):
        refund = replace(refund, answered=refund.answered + 1)
    match finding:
        case Refunded(authenticated=True):
            return _succeed(order, refund, finding, now)
        case RefundProcessing(authenticated=True):
            refund = _named(refund, finding.channel_refund_no)
            if refund.state is not RefundState.ABNORMAL:
                refund = replace(refund, state=RefundState.PROCESSING)
            return _follow(order, refund, owns, asks, now)
        case RefundBounced(authenticated=True):
            return _end(order, _named(refund, finding.channel_refund_no), RefundState.REVERSED, now)
        case RefundFailed(authenticated=True):
            if fact.via is Via.QUERY_REFUND or not asks:
                return _end(order, replace(refund, failure=finding.failure), RefundState.FAILED, now)
            return put_refund(order, _ask_now(refund, owns, now), now)
        case RefundRefused():
            return _refused(order, refund, fact, finding, owns, now)
        case RefundShort():
            refund = replace(refund, failure=finding.failure)
            return put_refund(order, again(refund, Verb.REFUND, now, SHORT) if owns else refund, now)
        case RefundStuck(authenticated=True):
            return stuck(order, _named(refund, finding.channel_refund_no), finding.failure, now)
        case RefundNotFound():
            return _not_found(order, refund, fact, owns, now)
        case NotSent():
            return put_refund(order, _not_sent(refund, fact, now) if owns else refund, now)
        case Unknown() | Refunded() | RefundProcessing() | RefundBounced() | RefundFailed() | RefundStuck():
            return _unanswered(order, refund, fact, owns, asks, now)
        case _:
            assert_never(finding)


def _ended_heard(order: Order, refund: Refund, fact: RefundHeard, owns: bool, now: int) -> Order:
    """After the end only three things count: late success, a bounce, and the last looks for one."""
    finding = fact.finding
    if refund.state is RefundState.FAILED:
        if isinstance(finding, Refunded) and finding.authenticated:
            return _succeed(order, refund, finding, now)
        return order
    if refund.state is RefundState.SUCCEEDED:
        came_back = isinstance(finding, RefundBounced) or (
            isinstance(finding, RefundFailed) and fact.via is Via.QUERY_REFUND
        )
        if came_back and finding.authenticated:
            return _end(order, refund, RefundState.REVERSED, now)
        if owns:
            return put_refund(order, _looked(refund, now, answered=finding.authenticated), now)
    return order


def _succeed(order: Order, refund: Refund, finding: Refunded, now: int) -> Order:
    """Evidence that the money went back. An amount that differs is not believed quietly."""
    if finding.amount_minor is not None and finding.amount_minor != refund.amount_minor:
        order = open_anomaly(
            order,
            AnomalyKind.CONFLICTING_AMOUNT,
            now,
            refund=refund,
            amount_minor=finding.amount_minor,
            currency=refund.currency,
            detail="the channel returned another amount than was asked",
            purpose=str(finding.amount_minor),
        )
        return put_refund(
            order, again(refund, Verb.QUERY_REFUND, now, REFUND_ASK) if refund.is_reserving else refund, now
        )
    refund = _named(refund, finding.channel_refund_no)
    refund = replace(refund, state=RefundState.SUCCEEDED, failure=None, refunded_at=finding.refunded_at or now, looks=0)
    looks = with_task(refund, Verb.QUERY_REFUND, now + LOOKS[0]) if _can_query(order, refund) else without_task(refund)
    order = resolve_kind(order, AnomalyKind.REFUND_ABNORMAL, refund.refund_id, now, "the refund succeeded")
    return put_refund(order, looks, now)


def _end(order: Order, refund: Refund, state: RefundState, now: int) -> Order:
    order = resolve_kind(order, AnomalyKind.REFUND_ABNORMAL, refund.refund_id, now, "the refund ended")
    return put_refund(order, without_task(replace(refund, state=state)), now)


def stuck(order: Order, refund: Refund, failure: Failure | None, now: int) -> Order:
    """The refund needs a person; its amount stays reserved."""
    order = put_refund(order, without_task(replace(refund, state=RefundState.ABNORMAL, failure=failure)), now)
    return open_anomaly(
        order,
        AnomalyKind.REFUND_ABNORMAL,
        now,
        refund=refund,
        amount_minor=refund.amount_minor,
        currency=refund.currency,
        detail=failure.reason if failure else "",
    )


def _refused(order: Order, refund: Refund, fact: RefundHeard, finding: RefundRefused, owns: bool, now: int) -> Order:
    """A refusal proves nothing alone; a query asked after it has to agree."""
    refund = replace(refund, failure=finding.failure)
    if refund.state is RefundState.ABNORMAL:
        return put_refund(order, refund, now)
    refund = replace(refund, state=RefundState.UNKNOWN, refused_at=fact.asked_at or refund.refused_at)
    if _can_query(order, refund):
        return put_refund(order, again(refund, Verb.QUERY_REFUND, now, REFUND_ASK) if owns else refund, now)
    if not finding.authenticated or not owns:
        return put_refund(order, again(refund, Verb.REFUND, now, RETRY) if owns else refund, now)
    if refund.answered >= refund.sends:
        return _end(order, refund, RefundState.FAILED, now)
    return stuck(order, refund, finding.failure, now)


def _not_found(order: Order, refund: Refund, fact: RefundHeard, owns: bool, now: int) -> Order:
    """Not found: send the same id again; unless it was refused before we asked, then it never will be there."""
    proves = (
        fact.finding.authenticated
        and fact.via is Via.QUERY_REFUND
        and refund.refused_at is not None
        and fact.asked_at is not None
        and fact.asked_at > refund.refused_at
    )
    if not proves:
        if not owns:
            return order
        if refund.state is RefundState.ABNORMAL:
            return put_refund(order, without_task(refund), now)
        # By sends, since tries begin anew with each change of verb: where refusals are mere hints this goes round for ever.
        return put_refund(order, with_task(refund, Verb.REFUND, now + step(RETRY, refund.sends)), now)
    if refund.answered >= refund.sends:
        return _end(order, refund, RefundState.FAILED, now)
    return stuck(order, refund, refund.failure, now)


def _unanswered(order: Order, refund: Refund, fact: RefundHeard, owns: bool, asks: bool, now: int) -> Order:
    """No answer, or one that nobody vouches for: it stays as it is; a send without an answer is unknown."""
    if not owns:
        hint = not isinstance(fact.finding, Unknown)
        return put_refund(order, _ask_now(refund, owns, now), now) if hint and asks else order
    if fact.via is Via.REFUND and refund.state is not RefundState.ABNORMAL:
        refund = replace(refund, state=RefundState.UNKNOWN)
    return put_refund(order, again(refund, Verb.QUERY_REFUND if asks else Verb.REFUND, now, RETRY), now)


def _not_sent(refund: Refund, fact: RefundHeard, now: int) -> Refund:
    if fact.via is Via.REFUND:
        refund = replace(refund, sends=max(refund.sends - 1, 0))
        return again(refund, Verb.REFUND, now, RETRY)
    return again(refund, Verb.QUERY_REFUND, now, RETRY)


def _follow(order: Order, refund: Refund, owns: bool, asks: bool, now: int) -> Order:
    """Keep asking after a refund that was accepted; without a query, sending the same id again asks."""
    verb = Verb.QUERY_REFUND if asks else Verb.REFUND
    if refund.state is RefundState.ABNORMAL:
        return put_refund(order, without_task(refund), now)
    if owns or refund.task is None:
        latest = now + REFUND_AGES * (now - refund.created_at)
        refund = again(refund, verb, now, REFUND_ASK, latest=latest)
    return put_refund(order, refund, now)


def _ask_now(refund: Refund, owns: bool, now: int) -> Refund:
    """Bring a query to now, unless somebody else is at this refund already."""
    task = refund.task
    if not owns and task is not None and task.leased_until is not None and task.leased_until > now:
        return refund
    return with_task(refund, Verb.QUERY_REFUND, now)


def _looked(refund: Refund, now: int, *, answered: bool) -> Refund:
    """One look for a bounce is done; silence does not count as a look."""
    if not answered:
        return again(refund, Verb.QUERY_REFUND, now, REFUND_ASK[3:])
    looks = refund.looks + 1
    refund = replace(refund, looks=looks)
    if looks >= len(LOOKS):
        return without_task(refund)
    return with_task(refund, Verb.QUERY_REFUND, now + LOOKS[looks])


def _named(refund: Refund, channel_refund_no: str) -> Refund:
    return replace(refund, channel_refund_no=channel_refund_no or refund.channel_refund_no)


def _can_query(order: Order, refund: Refund) -> bool:
    payment = order.payment(refund.payment_id)
    return payment is not None and payment.terms.can_query_refund


# ---------------------------------------------------------------------------------------------- begun at the channel


def absorb_refunds(order: Order, payment: Payment, refunds: tuple[ChannelRefund, ...], now: int, *, via: Via) -> Order:
    """Record the refunds that a channel reports together with a payment: ours are answered, others are recorded."""
    for told in refunds:
        if told.is_sum:
            order = _absorb_sum(order, payment, told, now, via)
            continue
        finding: RefundFinding = (
            RefundBounced(told.channel_refund_no)
            if told.reversed
            else Refunded(told.amount_minor, told.channel_refund_no)
        )
        ours = order.refund(told.refund_id) if told.refund_id else _by_number(order, payment, told.channel_refund_no)
        if ours is not None:
            order = refund_heard(order, RefundHeard(ours.refund_id, Via.QUERY, finding), now)
        else:
            order = record_return(
                order,
                payment,
                refund_id=_channel_refund_id(payment, told.refund_id or told.channel_refund_no),
                amount_minor=told.amount_minor,
                channel_refund_no=told.channel_refund_no,
                now=now,
                state=RefundState.REVERSED if told.reversed else RefundState.SUCCEEDED,
            )
    return order


def _absorb_sum(order: Order, payment: Payment, told: ChannelRefund, now: int, via: Via) -> Order:
    """A channel that tells only what went back in all: what no refund that we know of explains was begun there.

    While the outcome of a refund of ours is open, nobody can say whether it is part of the sum. A notice is refused
    until then, for the channel sends it again; an answer is left for the next one.
    """
    number = told.refund_id or told.channel_refund_no
    ours = order.refund(told.refund_id) if told.refund_id else None
    if ours is not None:
        number = ""
        order = refund_heard(order, RefundHeard(ours.refund_id, Via.QUERY, Refunded(None, told.channel_refund_no)), now)
    known = tuple(order.refunds_of(payment.payment_id))
    unexplained = told.amount_minor - sum(one.amount_minor for one in known if one.state is RefundState.SUCCEEDED)
    if unexplained > 0 and any(_may_have_returned(one) for one in known):
        if via is Via.NOTICE:
            text = "What went back cannot be told apart from a refund of ours that is open."
            raise Refused(Reason.CONFLICT_RETRY, text)
        return order
    return record_return(
        order,
        payment,
        refund_id=_channel_refund_id(payment, number or f"sum|{told.amount_minor}"),
        amount_minor=unexplained,
        channel_refund_no=number,
        now=now,
    )


def _may_have_returned(refund: Refund) -> bool:
    """Sent, and its outcome open. ABNORMAL was refused and is not found: only a person can say more."""
    return refund.is_reserving and refund.sends > 0 and refund.state is not RefundState.ABNORMAL


def foreign_refund_heard(order: Order, payment: Payment, fact: ForeignRefundHeard, now: int) -> Order:
    """A refund that we did not begin. Only its end counts; it is kept even before the payment's success is told."""
    about = fact.about
    ours = order.refund(about.refund_id) if about.refund_id else None
    known = ours or _by_number(order, payment, about.channel_refund_no)
    if known is not None:
        return refund_heard(order, RefundHeard(known.refund_id, fact.via, about.told, fact.asked_at), now)
    ended = {Refunded: RefundState.SUCCEEDED, RefundBounced: RefundState.REVERSED}.get(type(about.finding))
    if ended is None or not about.finding.authenticated:
        return order
    told = about.finding.amount_minor if isinstance(about.finding, Refunded) else None
    return record_return(
        order,
        payment,
        refund_id=_channel_refund_id(payment, about.channel_refund_no),
        amount_minor=told or about.amount_minor or payment.captured_minor or payment.amount_minor,
        channel_refund_no=about.channel_refund_no,
        now=now,
        state=ended,
    )


def record_return(
    order: Order,
    payment: Payment,
    *,
    refund_id: str,
    amount_minor: int,
    channel_refund_no: str,
    now: int,
    state: RefundState = RefundState.SUCCEEDED,
) -> Order:
    """Record money that went back without our asking. What evidence shows is recorded even beyond what was captured."""
    if order.refund(refund_id) is not None or amount_minor <= 0:
        return order
    refund = Refund(
        refund_id=refund_id,
        payment_id=payment.payment_id,
        amount_minor=amount_minor,
        currency=payment.captured_currency or payment.currency,
        origin=RefundOrigin.CHANNEL,
        created_at=now,
        updated_at=now,
        state=state,
        channel_refund_no=channel_refund_no,
        refunded_at=now,
    )
    return put_refund(order, refund, now)


def _channel_refund_id(payment: Payment, number: str) -> str:
    return derive_id(Prefix.REFUND, payment.payment_id, f"channel|{number}")


def _by_number(order: Order, payment: Payment, channel_refund_no: str) -> Refund | None:
    if not channel_refund_no:
        return None
    return next((r for r in order.refunds_of(payment.payment_id) if r.channel_refund_no == channel_refund_no), None)


def within_captured(order: Order, payment: Payment, now: int) -> Order:
    """Evidence came first: refunds never sent give way; what is still too much needs a person, once for each sum."""
    if payment.balance_minor >= 0:
        return resolve_kind(order, AnomalyKind.OVER_REFUND, payment.payment_id, now, "the sums agree again")
    for refund in reversed(tuple(order.refunds_of(payment.payment_id))):
        if refund.is_reserving and refund.sends == 0:
            failure = Failure("OVER_REFUND", message_zh="款项已从渠道退回", message_en="The money already went back.")
            order = _end(order, replace(refund, failure=failure), RefundState.FAILED, now)
            return within_captured(order, order.payment(payment.payment_id) or payment, now)
    purpose = str(payment.refunded_minor + payment.refunding_minor)
    known = order.anomaly(anomaly_id(payment.payment_id, AnomalyKind.OVER_REFUND, purpose))
    if known is not None and known.remedy is not None:
        return order  # a person has dealt with this very sum
    return open_anomaly(
        order,
        AnomalyKind.OVER_REFUND,
        now,
        payment=payment,
        amount_minor=-payment.balance_minor,
        currency=payment.captured_currency,
        detail="more went back, or is on its way, than was captured",
        purpose=purpose,
    )
