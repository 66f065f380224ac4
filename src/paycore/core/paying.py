"""Rules about payments: what an attempt may become, and when its success pays the order (design rules 1 to 15)."""

from dataclasses import replace
from typing import assert_never

from paycore.core.edit import open_anomaly, put_anomaly, put_payment, resolve_anomaly, resolve_kind
from paycore.core.facts import ClientReported, PaymentAsked, PaymentHeard, PurchaseClaimed, SwitchAsked, Via
from paycore.core.findings import (
    AlreadyPaid,
    Closed,
    Declined,
    NotFound,
    NotSent,
    Paid,
    PayerPaying,
    Ready,
    Reversed,
    Unknown,
    Waiting,
)
from paycore.core.ids import Prefix, derive_id
from paycore.core.order import (
    Anomaly,
    AnomalyKind,
    AnomalyState,
    CloseReason,
    Order,
    OrderState,
    Payment,
    PaymentState,
    RefundOrigin,
    Remedy,
    SurplusPolicy,
    Verb,
)
from paycore.core.refunding import absorb_refunds, begin_refund, record_return, within_captured
from paycore.core.refusals import Reason, Refused
from paycore.core.schedule import (
    ASK,
    PAID_UNHEARD,
    PAYER_PAYING,
    RETRY,
    WATCH,
    WATCH_FOR,
    again,
    forward,
    with_task,
    without_task,
)
from paycore.core.terms import SECOND, AfterUnknown, Price

MAX_PAYMENTS = 20
"""Attempts at one order; a payer who needs more is a machine."""
SWITCH_RETRY_SECONDS = 2.0
"""When to ask again while the older attempt is still being closed."""
HOLDS = frozenset({AnomalyKind.LATE_PAYMENT, AnomalyKind.SECOND_PAYMENT, AnomalyKind.AMOUNT_MISMATCH})
"""The anomalies that cover surplus money; one for each payment that has some."""

# ---------------------------------------------------------------------------------------------- a payer asks


def payment_asked(order: Order, fact: PaymentAsked, now: int) -> tuple[Order, str]:
    """Begin an attempt, or find the one that already waits for the same choice. Returns whose payment it is."""
    if order.payment(fact.payment_id) is not None:
        return order, fact.payment_id
    refuse_unpayable(order, now)
    waiting = [payment for payment in order.open_payments if not payment.is_superseded]
    for payment in waiting:
        if _is_same_choice(order, payment, fact, now):
            return order, payment.payment_id
    if waiting:
        raise Refused(
            Reason.PAYMENT_IN_PROGRESS,
            "Another attempt is still open at its channel.",
            retry_after_seconds=SWITCH_RETRY_SECONDS,
            payment_id=waiting[0].payment_id,
        )
    if fact.expires_at - now < max(fact.min_left, 1):
        raise Refused(Reason.ORDER_EXPIRED, "Too little time is left to pay by this method.")
    if len(order.payments) >= MAX_PAYMENTS:
        raise Refused(Reason.TOO_MANY_ATTEMPTS, "The order was attempted too often.", limit=MAX_PAYMENTS)
    return put_payment(order, _new_payment(order, fact, now), now), fact.payment_id


def refuse_unpayable(order: Order, now: int) -> None:
    """Raise Refused unless the order may still be paid."""
    order_id = order.order_id
    if order.state is OrderState.PAID:
        raise Refused(Reason.ORDER_ALREADY_PAID, "The order is paid.", order_id=order_id)
    if now >= order.expires_at or order.close_reason is CloseReason.EXPIRED:
        raise Refused(Reason.ORDER_EXPIRED, "The order's time is over.", order_id=order_id)
    if order.state is OrderState.CLOSED:
        raise Refused(Reason.ORDER_CLOSED, "The order is closed.", order_id=order_id)
    if order.state is OrderState.CLOSING:
        raise Refused(Reason.ORDER_CLOSING, "The order is being closed.", order_id=order_id)


def _is_same_choice(order: Order, payment: Payment, fact: PaymentAsked, now: int) -> bool:
    """The same way at the same price: what an offer took off before is not what the payer is asked for now."""
    same = (payment.channel, payment.method, payment.target) == (fact.channel, fact.method, fact.target)
    is_valid = payment.plan_expires_at is None or payment.plan_expires_at > now
    is_usable = is_valid and not payment.is_switching and now < payment.expires_at
    return same and is_usable and payment.amount_minor == _amount_after(order, fact)


def _amount_after(order: Order, fact: PaymentAsked) -> int:
    return order.amount_minor - sum(given.amount_minor for given in fact.offers)


def _new_payment(order: Order, fact: PaymentAsked, now: int) -> Payment:
    payment = Payment(
        payment_id=fact.payment_id,
        channel=fact.channel,
        method=fact.method,
        account_id=fact.account_id,
        environment=fact.environment,
        merchant=fact.merchant,
        amount_minor=_amount_after(order, fact),
        currency=order.currency,
        terms=fact.terms,
        created_at=now,
        updated_at=now,
        expires_at=min(fact.expires_at, order.expires_at),
        target=fact.target,
        inputs=fact.inputs,
        client=fact.client,
        product_id=fact.product_id,
        quantity=fact.quantity,
        token=fact.token,
        offers=fact.offers,
    )
    if fact.prepared is not None:
        return _schedule(order, _readied(replace(payment, sends=1), fact.prepared), now)
    if fact.leased_until is not None:
        return with_task(replace(payment, sends=1), Verb.PREPARE, now, tries=1, leased_until=fact.leased_until)
    return with_task(payment, Verb.PREPARE, now)


def switch_asked(order: Order, fact: SwitchAsked, now: int) -> Order:
    """Begin to close an open attempt because the payer chose another way."""
    payment = known(order, fact.payment_id)
    if not payment.is_open or payment.is_superseded or order.state is not OrderState.PENDING:
        return order
    payment = replace(_remember_close(payment, owns=False), is_switching=True)
    tries = 0 if fact.leased_until is None else 1
    return put_payment(order, with_task(payment, Verb.CLOSE, now, tries=tries, leased_until=fact.leased_until), now)


def client_reported(order: Order, fact: ClientReported, now: int) -> Order:
    """A phone's claim only brings the next question forward."""
    payment = known(order, fact.payment_id)
    if payment.is_open and payment.task is not None and payment.task.verb is Verb.QUERY:
        return put_payment(order, forward(payment, now), now)
    return order


def known(order: Order, payment_id: str) -> Payment:
    """The payment of this order. Raises Refused when it has none with this id."""
    payment = order.payment(payment_id)
    if payment is None:
        raise Refused(Reason.PAYMENT_NOT_FOUND, "There is no such payment.", payment_id=payment_id)
    return payment


# ---------------------------------------------------------------------------------------------- the channel answers


def payment_heard(order: Order, fact: PaymentHeard, now: int) -> Order:
    """Say what a channel's words about one payment mean."""
    payment = known(order, fact.payment_id)
    owns = fact.fence is not None and fact.fence == payment.fence
    if owns:
        order = resolve_kind(order, AnomalyKind.ACCOUNT_UNUSABLE, payment.payment_id, now, "usable again")
    if isinstance(fact.finding, Paid) and fact.finding.authenticated:
        return _paid(order, payment, fact, fact.finding, owns, now)
    if isinstance(fact.finding, Reversed) and fact.finding.authenticated:
        return _reversed(order, payment, owns, now)
    if payment.state is PaymentState.SUCCEEDED:
        return _after_success(order, payment, owns, now)
    if not payment.is_open:
        return _after_end(order, payment, fact, owns, now)
    return put_payment(order, _open_heard(order, payment, fact, owns, now), now)


def _open_heard(  # noqa: C901 - a dispatcher
    order: Order, payment: Payment, fact: PaymentHeard, owns: bool, now: int
) -> Payment:
    finding = fact.finding
    if not finding.authenticated and not isinstance(finding, Unknown):
        return _hinted(order, payment, fact, owns, now)
    match finding:
        case Ready():
            return _ready(order, payment, finding, owns, now)
        case Waiting():
            return _waiting(order, payment, fact, finding, owns, now)
        case PayerPaying():
            payment = replace(_known_to_channel(payment), is_switching=False)
            return _remind(order, payment, now, PAYER_PAYING) if owns else payment
        case Declined():
            return _declined(order, payment, fact, finding, owns, now)
        case Closed():
            if fact.via is Via.PREPARE:
                return _ask_now(order, payment, owns, now)
            return ended(payment, PaymentState.CLOSED, now)
        case AlreadyPaid():
            payment = replace(
                payment, is_switching=False, close_unanswered_until=None if owns else payment.close_unanswered_until
            )
            return _remind(order, payment, now, PAID_UNHEARD) if owns else forward(payment, now)
        case NotFound():
            return _not_found(order, payment, fact, owns, now)
        case NotSent():
            return _not_sent(order, payment, fact, now) if owns else payment
        case Unknown():
            return _unanswered(order, payment, fact, now) if owns else payment
        case Paid() | Reversed():
            return payment
        case _:
            assert_never(finding)


def _hinted(order: Order, payment: Payment, fact: PaymentHeard, owns: bool, now: int) -> Payment:
    """Words that nobody vouches for are never acted on; they make us ask."""
    if owns:
        return _unanswered(order, payment, fact, now)
    return _ask_now(order, payment, owns, now)


def _ready(order: Order, payment: Payment, finding: Ready, owns: bool, now: int) -> Payment:
    payment = _readied(payment, finding)
    if not owns:
        return payment
    return _schedule(order, payment, now)


def _readied(payment: Payment, finding: Ready) -> Payment:
    return replace(
        payment,
        state=PaymentState.PENDING,
        plan_json=finding.plan_json,
        plan_expires_at=finding.expires_at,
        channel_trade_no=finding.channel_trade_no or payment.channel_trade_no,
    )


def _waiting(order: Order, payment: Payment, fact: PaymentHeard, finding: Waiting, owns: bool, now: int) -> Payment:
    payment = replace(payment, channel_trade_no=finding.channel_trade_no or payment.channel_trade_no)
    if _must_prepare(payment) and not _wants_close(order, payment, now):
        return again(payment, Verb.PREPARE, now, RETRY) if owns else payment
    payment = _known_to_channel(payment)
    if owns and payment.is_switching and not payment.terms.can_close:
        payment = replace(payment, is_switching=False, is_superseded=True)
    elif owns and payment.is_switching:
        payment = replace(payment, is_switching=False)
    return _schedule(order, payment, now) if owns else payment


def _declined(order: Order, payment: Payment, fact: PaymentHeard, finding: Declined, owns: bool, now: int) -> Payment:
    """Believed when it answers the only send, or when an authenticated query says it."""
    only_send = fact.via is Via.PREPARE and owns and payment.sends <= 1
    if only_send or fact.via in (Via.QUERY, Via.CLOSE):
        return ended(replace(payment, failure=finding.failure), PaymentState.FAILED, now)
    return _ask_now(order, payment, owns, now)


def _not_found(order: Order, payment: Payment, fact: PaymentHeard, owns: bool, now: int) -> Payment:
    """Proves that nobody paid only when asked after the expiry that we sent, plus the margin."""
    if fact.asked_at is not None and fact.asked_at >= payment.expires_at + payment.terms.margin:
        return ended(payment, PaymentState.CLOSED, now)
    if not owns:
        return payment
    if payment.is_switching:
        payment = replace(payment, is_switching=False, is_superseded=True)
    if _must_prepare(payment) and not _wants_close(order, payment, now):
        return again(payment, Verb.PREPARE, now, RETRY)
    return _schedule(order, payment, now)


def _not_sent(order: Order, payment: Payment, fact: PaymentHeard, now: int) -> Payment:
    if fact.via is Via.PREPARE:
        payment = replace(payment, sends=max(payment.sends - 1, 0))
        return again(payment, Verb.PREPARE, now, RETRY, latest=payment.expires_at)
    if payment.is_switching:
        payment = replace(payment, is_switching=False)
    return _retry(order, payment, now)


def _unanswered(order: Order, payment: Payment, fact: PaymentHeard, now: int) -> Payment:
    """Silence: a prepare makes it UNKNOWN, a query leaves it as it is, a close may still take effect."""
    payment = replace(_remember_close(payment, owns=False), is_switching=False)
    if fact.via is not Via.PREPARE:
        if _is_out_of_reach(payment, fact):
            return ended(payment, PaymentState.CLOSED, now)
        return _retry(order, payment, now)
    payment = replace(payment, state=PaymentState.UNKNOWN)
    if payment.terms.after_unknown is AfterUnknown.QUERY_THEN_CLOSE:
        return _schedule(order, payment, now)
    return _retry(order, payment, now)


def _is_out_of_reach(payment: Payment, fact: PaymentHeard) -> bool:
    """A kind that can be neither asked nor closed (a store): after the margin nothing more is expected of it."""
    deaf = not payment.terms.can_query and not payment.terms.can_close
    return deaf and fact.asked_at is not None and fact.asked_at >= payment.expires_at + payment.terms.margin


def _ask_now(order: Order, payment: Payment, owns: bool, now: int) -> Payment:
    task = payment.task
    if not owns and task is not None and task.leased_until is not None and task.leased_until > now:
        return payment
    if owns and task is not None and task.verb is Verb.QUERY:
        return _retry(order, payment, now)
    if _wants_close(order, payment, now) or not payment.terms.can_query:
        return _retry(order, payment, now)
    return with_task(payment, Verb.QUERY, now)


def _known_to_channel(payment: Payment) -> Payment:
    return payment if payment.state is PaymentState.PENDING else replace(payment, state=PaymentState.PENDING)


def _must_prepare(payment: Payment) -> bool:
    """Whether sending the same prepare again is both safe and needed: the device has nothing to do yet."""
    return (
        payment.state in (PaymentState.CREATED, PaymentState.UNKNOWN)
        and not payment.plan_json
        and payment.terms.after_unknown is AfterUnknown.REPEAT
    )


# ---------------------------------------------------------------------------------------------- what next


def _wants_close(order: Order, payment: Payment, now: int) -> bool:
    return order.state is not OrderState.PENDING or payment.is_switching or now >= payment.expires_at


def _schedule(order: Order, payment: Payment, now: int) -> Payment:
    """Ask again in a while; at the payment's expiry the last question closes it."""
    if _wants_close(order, payment, now):
        return again(payment, Verb.CLOSE, now, ASK, latest=payment.expires_at + payment.terms.margin)
    if not payment.terms.can_query:
        return with_task(payment, Verb.CLOSE, payment.expires_at)
    asked = again(payment, Verb.QUERY, now, ASK, latest=payment.expires_at)
    if asked.task is not None and asked.task.due_at >= payment.expires_at:
        return with_task(payment, Verb.CLOSE, payment.expires_at)
    return asked


def _retry(order: Order, payment: Payment, now: int) -> Payment:
    """After silence: the same thing later."""
    if _wants_close(order, payment, now):
        return again(payment, Verb.CLOSE, now, RETRY)
    if _must_prepare(payment):
        return again(payment, Verb.PREPARE, now, RETRY, latest=payment.expires_at)
    if not payment.terms.can_query:
        return with_task(payment, Verb.CLOSE, payment.expires_at)
    return again(payment, Verb.QUERY, now, RETRY, latest=payment.expires_at)


def _remind(order: Order, payment: Payment, now: int, ladder: tuple[int, ...]) -> Payment:
    verb = Verb.CLOSE if _wants_close(order, payment, now) or not payment.terms.can_query else Verb.QUERY
    return again(payment, verb, now, ladder)


def _remember_close(payment: Payment, *, owns: bool) -> Payment:
    """Keep the end of a lease under which a close may have left us without our having its answer."""
    task = payment.task
    if owns or task is None or task.verb is not Verb.CLOSE or task.leased_until is None:
        return payment
    return replace(payment, close_unanswered_until=max(task.leased_until, payment.close_unanswered_until or 0))


def ended(payment: Payment, state: PaymentState, now: int) -> Payment:
    """An attempt that ended unpaid. Late money is real, so a quiet watch goes on for a day."""
    payment = replace(payment, state=state, is_switching=False)
    if not payment.terms.can_query or payment.sends == 0:
        return without_task(payment)
    return with_task(replace(payment, watch_until=now + WATCH_FOR), Verb.QUERY, now + WATCH[0])


def _after_end(order: Order, payment: Payment, fact: PaymentHeard, owns: bool, now: int) -> Order:
    """The late watch: ends with the first answer asked after its end, never by the clock."""
    if not owns:
        return order
    if isinstance(fact.finding, AlreadyPaid):
        return put_payment(order, _watch(payment, now, now + SECOND), now)
    answered = fact.finding.authenticated and not isinstance(fact.finding, Unknown | NotSent)
    over = payment.watch_until is None or (fact.asked_at is not None and fact.asked_at >= payment.watch_until)
    if answered and over:
        return put_payment(order, without_task(payment), now)
    return put_payment(order, again(payment, Verb.QUERY, now, WATCH, latest=payment.watch_until), now)


def _watch(payment: Payment, now: int, due_at: int) -> Payment:
    return with_task(replace(payment, watch_until=payment.watch_until or now + WATCH_FOR), Verb.QUERY, due_at)


def _after_success(order: Order, payment: Payment, owns: bool, now: int) -> Order:
    """Nothing more is closed on a success; only a close that may still reverse it is waited for."""
    if not owns:
        return order
    if payment.close_unanswered_until is None:
        return put_payment(order, without_task(payment), now)
    return put_payment(order, again(payment, Verb.QUERY, now, RETRY), now)


# ---------------------------------------------------------------------------------------------- success


def _paid(order: Order, payment: Payment, fact: PaymentHeard, paid: Paid, owns: bool, now: int) -> Order:
    if paid.merchant != payment.merchant:
        return _wrong_account(order, payment, owns, now)
    if payment.terms.price is Price.STORE and fact.via in (Via.NOTICE, Via.CONFIRM):
        _refuse_purchase(payment, fact.via, paid)
    is_news = payment.state is not PaymentState.SUCCEEDED
    told = replace(payment, captured_currency=paid.currency) if is_news else payment
    order = absorb_refunds(order, told, paid.refunds, now, via=fact.via)  # in the money that was taken
    payment = known(order, payment.payment_id)
    if payment.state is PaymentState.SUCCEEDED:
        return _paid_again(order, payment, fact, paid, owns, now)
    payment = _succeeded(payment, fact, paid, owns, now)
    order = put_payment(order, payment, now)
    if payment.is_reversed:
        return _returned_whole(order, payment, now)
    if payment.refunded_minor >= payment.captured_minor > 0:
        return order
    if not _is_what_we_asked(payment, paid):
        return _hold(order, payment, AnomalyKind.AMOUNT_MISMATCH, now)
    if order.state in (OrderState.PENDING, OrderState.CLOSING):
        return pay_order(order, payment, now)
    return _surplus(order, payment, now)


def _refuse_purchase(payment: Payment, via: Via, paid: Paid) -> None:
    """Raise Refused for a purchase that is not this payment's: a second one under its token, or another than was asked for.

    What pays this payment already, and was accepted as what it is, is compared no more.
    """
    is_known = payment.state is PaymentState.SUCCEEDED and bool(payment.channel_trade_no and paid.channel_trade_no)
    is_same = is_known and paid.channel_trade_no == payment.channel_trade_no
    if is_known and not is_same:
        raise Refused(Reason.EVIDENCE_USED, "Another purchase paid this payment.", payment_id=payment.payment_id)
    is_settled = is_same and (payment.is_effective or payment.is_kept)
    if via is not Via.CONFIRM or is_settled or _is_what_we_asked(payment, paid):
        return
    bought = paid.purchase
    if bought is not None and _is_what_we_asked(replace(payment, token=bought.token), paid):
        raise Refused(Reason.RECEIPT_WRONG_ACCOUNT, "The purchase carries another token.", fields=("evidence",))
    raise Refused(Reason.EVIDENCE_MISMATCH, "The purchase is not the one that was asked for.")


def purchase_claimed(order: Order, fact: PurchaseClaimed, now: int) -> Order:
    """Take a store's purchase for this payment's because a person says so. All but the token has to be as it was asked.

    The person keeps the money, so no policy gives it back: it pays an order that is closed, and is kept beside a paid one.
    """
    payment, paid = known(order, fact.payment_id), fact.paid
    if payment.terms.price is not Price.STORE or paid.purchase is None:
        raise Refused(Reason.REMEDY_UNSUPPORTED, "Only a store's purchase can be claimed.")
    if paid.merchant != payment.merchant:
        raise Refused(Reason.WRONG_ACCOUNT, "The purchase was made at another merchant.")
    paid = replace(paid, purchase=replace(paid.purchase, token=payment.token))
    heard = PaymentHeard(payment.payment_id, Via.CONFIRM, paid)
    told = _paid(replace(order, surplus_policy=SurplusPolicy.HOLD), payment, heard, paid, owns=False, now=now)
    payment = known(told, payment.payment_id)
    is_left_over = not (payment.is_effective or payment.is_kept)
    if is_left_over and (payment.balance_minor > 0 or payment.captured_minor == 0):
        told = accept(told, payment, now, "claimed by a person")
    return replace(told, surplus_policy=order.surplus_policy)


def _is_what_we_asked(payment: Payment, paid: Paid) -> bool:
    if payment.terms.price is Price.STORE:
        bought = paid.purchase
        return bought is not None and (bought.product_id, bought.quantity, bought.token) == (
            payment.product_id,
            payment.quantity,
            payment.token,
        )
    return (paid.amount_minor, paid.currency) == (payment.amount_minor, payment.currency)


def _succeeded(payment: Payment, fact: PaymentHeard, paid: Paid, owns: bool, now: int) -> Payment:
    payment = _remember_close(payment, owns=owns)
    until = payment.close_unanswered_until if payment.terms.close_reverses else None
    if until is not None and fact.asked_at is not None and fact.asked_at > until:
        until = None
    payment = replace(
        payment,
        state=PaymentState.SUCCEEDED,
        captured_minor=paid.amount_minor,
        captured_currency=paid.currency,
        channel_trade_no=paid.channel_trade_no or payment.channel_trade_no,
        paid_at=paid.paid_at or now,
        failure=None,
        is_switching=False,
        watch_until=None,
        close_unanswered_until=until,
    )
    return without_task(payment) if until is None else with_task(payment, Verb.QUERY, max(until, now) + SECOND)


def _paid_again(order: Order, payment: Payment, fact: PaymentHeard, paid: Paid, owns: bool, now: int) -> Order:
    """Told twice: nothing changes, unless it is told differently, or it is the answer a close left us waiting for."""
    if (paid.amount_minor, paid.currency) != (payment.captured_minor, payment.captured_currency):
        order = open_anomaly(
            order,
            AnomalyKind.CONFLICTING_AMOUNT,
            now,
            payment=payment,
            amount_minor=paid.amount_minor,
            currency=paid.currency,
            detail="the channel named another amount before",
            purpose=f"{paid.amount_minor}{paid.currency}",
        )
    until = payment.close_unanswered_until
    if until is not None and fact.asked_at is not None and fact.asked_at > until:
        return put_payment(order, without_task(replace(payment, close_unanswered_until=None)), now)
    return _after_success(order, payment, owns, now)


def pay_order(order: Order, payment: Payment, now: int) -> Order:
    """This payment pays the order."""
    order = put_payment(order, replace(payment, is_effective=True), now)
    return without_task(
        replace(order, state=OrderState.PAID, paid_at=payment.paid_at, closed_at=None, close_reason=None)
    )


def _wrong_account(order: Order, payment: Payment, owns: bool, now: int) -> Order:
    """Genuine words about another merchant's money: never attached to this payment."""
    order = open_anomaly(
        order,
        AnomalyKind.WRONG_ACCOUNT,
        now,
        payment=payment,
        amount_minor=payment.amount_minor,
        detail="the channel names another merchant as the receiver",
    )
    if not owns:
        return order
    if payment.is_open:
        return put_payment(order, _retry(order, payment, now), now)
    return put_payment(order, again(payment, Verb.QUERY, now, RETRY), now)


# ---------------------------------------------------------------------------------------------- surplus


def _surplus(order: Order, payment: Payment, now: int) -> Order:
    """A success that the order no longer wants: the app's policy says what becomes of it."""
    is_late = order.state is OrderState.CLOSED
    kind = AnomalyKind.LATE_PAYMENT if is_late else AnomalyKind.SECOND_PAYMENT
    order = _hold(order, payment, kind, now)
    if order.surplus_policy is SurplusPolicy.ACCEPT:
        return accept(order, payment, now, "accepted by policy")
    if is_late and order.surplus_policy is SurplusPolicy.AUTO_REFUND and _is_sold_for_good(payment):
        return accept(order, payment, now, "the store sold it and lets nobody give it back")
    if order.surplus_policy is SurplusPolicy.HOLD or not payment.terms.can_refund or payment.balance_minor <= 0:
        return order
    order = begin_refund(
        order,
        payment,
        refund_id=derive_id(Prefix.REFUND, payment.payment_id, "surplus"),
        amount_minor=payment.balance_minor,
        origin=RefundOrigin.POLICY,
        now=now,
        reason=kind.value,
    )
    hold = hold_of(order, payment)
    return order if hold is None else resolve_anomaly(order, hold, now, Remedy.REFUND, "given back by policy")


def _is_sold_for_good(payment: Payment) -> bool:
    """A store has taken the money for what this very payment asked for, and only the store could give it back."""
    return payment.terms.price is Price.STORE and not payment.terms.can_refund


def accept(order: Order, payment: Payment, now: int, note: str) -> Order:
    """Keep surplus money: it pays an order that is not paid; on a paid one it is kept beside it."""
    hold = hold_of(order, payment)
    if hold is not None:
        order = resolve_anomaly(order, hold, now, Remedy.ACCEPT, note)
    if order.state is OrderState.PAID:
        return put_payment(order, replace(payment, is_kept=True), now)
    return pay_order(order, payment, now)


def _hold(order: Order, payment: Payment, kind: AnomalyKind, now: int) -> Order:
    return open_anomaly(
        order,
        kind,
        now,
        payment=payment,
        amount_minor=payment.balance_minor,
        currency=payment.captured_currency,
    )


def hold_of(order: Order, payment: Payment) -> Anomaly | None:
    """The anomaly that covers this payment's surplus, open or resolved."""
    return next((a for a in order.anomalies if a.kind in HOLDS and a.payment_id == payment.payment_id), None)


def _reversed(order: Order, payment: Payment, owns: bool, now: int) -> Order:
    """The whole amount went back. It never pays the order, whether its success was told before or comes after."""
    was_reversed = payment.is_reversed
    payment = replace(payment, is_reversed=True, is_switching=False, close_unanswered_until=None)
    if payment.state is not PaymentState.SUCCEEDED:
        if payment.is_open:
            return put_payment(order, ended(payment, PaymentState.CLOSED, now), now)
        order = put_payment(order, payment, now)
        return _after_end(order, payment, PaymentHeard(payment.payment_id, Via.QUERY, Closed(), now), owns, now)
    order = put_payment(order, without_task(payment), now)
    if was_reversed:
        return order
    if payment.is_effective:
        order = open_anomaly(
            order,
            AnomalyKind.PAID_BUT_RETURNED,
            now,
            payment=payment,
            amount_minor=payment.captured_minor,
            currency=payment.captured_currency,
            detail="the payment that paid the order was returned",
        )
    return _returned_whole(order, known(order, payment.payment_id), now)


def _returned_whole(order: Order, payment: Payment, now: int) -> Order:
    return record_return(
        order,
        payment,
        refund_id=derive_id(Prefix.REFUND, payment.payment_id, "reversed"),
        amount_minor=payment.captured_minor - payment.refunded_minor,
        channel_refund_no="",
        now=now,
    )


# ---------------------------------------------------------------------------------------------- settling


def settle(order: Order, now: int) -> Order:
    """Draw the consequences that hold for every order whatever was told: closings, holds, the order's own end."""
    if order.state is not OrderState.PENDING:
        for payment in tuple(order.open_payments):
            order = put_payment(order, _closing(payment, now), now)
    for payment in order.payments:
        if payment.state is PaymentState.SUCCEEDED:
            order = within_captured(order, payment, now)
            order = _settle_hold(order, known(order, payment.payment_id), now)
    if order.state is OrderState.CLOSING and not any(order.open_payments):
        order = without_task(replace(order, state=OrderState.CLOSED, closed_at=now))
    return order


def _closing(payment: Payment, now: int) -> Payment:
    """An open attempt of an order that is closing or paid: never sent is closed here, the rest at the channel."""
    if payment.sends == 0 and payment.state is PaymentState.CREATED:
        return ended(payment, PaymentState.CLOSED, now)
    if payment.task is not None and payment.task.verb is Verb.CLOSE:
        return payment
    return with_task(payment, Verb.CLOSE, now)


def _settle_hold(order: Order, payment: Payment, now: int) -> Order:
    """Money that the order does not want is covered by an open anomaly until it is given back or accepted."""
    if payment.is_effective or payment.is_kept:
        return order
    hold = hold_of(order, payment)
    if payment.balance_minor <= 0:
        return order if hold is None else resolve_anomaly(order, hold, now, Remedy.REFUND, "nothing is left of it")
    if hold is None:
        kind = AnomalyKind.SECOND_PAYMENT if order.state is OrderState.PAID else AnomalyKind.LATE_PAYMENT
        return _hold(order, payment, kind, now)
    if hold.is_open and hold.amount_minor == payment.balance_minor:
        return order
    open_hold = replace(
        hold,
        state=AnomalyState.OPEN,
        resolved_at=None,
        remedy=None,
        note="",
        amount_minor=payment.balance_minor,
    )
    return put_anomaly(order, open_hold)
