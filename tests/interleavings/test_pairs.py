"""All orders of two transactions, statement by statement, on PostgreSQL: money and the stream are right after every one.

Design section 5 and the invariants M1 to M3, S1 to S3, I1 and I2. The players tell facts as two servers would.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from paycore.core.facts import AnomalySettled, CloseAsked, PaymentHeard, Via
from paycore.core.findings import Closed, Failure, NotFound, Reference, Refunded, RefundFailed, Waiting
from paycore.core.ids import Prefix
from paycore.core.order import OrderState, RefundOrigin, Remedy, SurplusPolicy
from paycore.core.terms import HOUR
from paycore.engine.tell import Telling, Told
from paycore.store import Store
from tests.interleavings import scenes
from tests.interleavings.scenes import (
    APP,
    NOW,
    Facts,
    asked,
    closing_order,
    fresh,
    heard,
    loaded,
    notice,
    order_with_two_payments,
    paid,
    paid_order,
    payment_asked,
    refund,
    refund_heard,
    refunding_order,
    tell,
    waiting_order,
    weave,
)
from tests.interleavings.weave import Loom, Played

Set = tuple[str, Sequence[Telling]]
HOLD = SurplusPolicy.HOLD

# ---------------------------------------------------------------------------------------------- refund x refund


def two_refunds(store: Store) -> Set:
    order = paid_order(store)
    return order.order_id, [refund(order.order_id), refund(order.order_id)]


def two_refunds_sent_at_once(store: Store) -> Set:
    """As the server does: each is leased to its caller, who sends it to the channel after the commit."""
    order = paid_order(store)
    lease = NOW + scenes.LEASE
    return order.order_id, [_without_request(refund(order.order_id, leased_until=lease)) for _ in range(2)]


def two_small_refunds(store: Store) -> Set:
    order = paid_order(store)
    return order.order_id, [_without_request(refund(order.order_id, 40)) for _ in range(2)]


def one_refund_twice_by_number(store: Store) -> Set:
    order = paid_order(store)
    return order.order_id, [_without_request(refund(order.order_id, number="R-1")) for _ in range(2)]


def one_refund_twice_by_request(store: Store) -> Set:
    """Once more would be too much: whoever comes second gets what the first got, no refusal."""
    order, request = paid_order(store), fresh(Prefix.ORDER)
    return order.order_id, [refund(order.order_id, request=request) for _ in range(2)]


def _without_request(one: Telling) -> Telling:
    return Telling(one.order_id, one.fact, app_id=one.app_id)


def is_one_refund(store: Store, played: Played) -> list[str]:
    """Both callers were given the same refund, and there is no other."""
    facts: Facts = played.about
    subjects = {outcome.subject_id for outcome in played.outcomes.values() if isinstance(outcome, Told)}
    stored = {one.refund_id for one in loaded(store, facts.order_id).refunds}
    return [] if subjects == stored and len(stored) == 1 else [f"I1: {subjects} were told and {stored} are there"]


def is_whole(store: Store, played: Played) -> list[str]:
    """Both refunds are there."""
    order = loaded(store, played.about.order_id)
    return [] if [one.amount_minor for one in order.refunds] == [40, 40] else [f"lost: {order.refunds}"]


# ---------------------------------------------------------------------------------------------- notify x notify


def two_payments_are_paid(store: Store) -> Set:
    order = order_with_two_payments(store)
    return order.order_id, [notice(order.order_id, payment.payment_id) for payment in order.payments]


def two_payments_are_paid_and_held(store: Store) -> Set:
    order = order_with_two_payments(store, policy=HOLD)
    return order.order_id, [notice(order.order_id, payment.payment_id) for payment in order.payments]


def one_notice_twice(store: Store) -> Set:
    order = waiting_order(store)
    one = notice(order.order_id, order.payments[0].payment_id)
    return order.order_id, [one, one]


def two_payments_one_reference(store: Store) -> Set:
    """Both notices name the same transaction: it may pay one of the attempts only."""
    order, number = order_with_two_payments(store), fresh(Prefix.PAYMENT)
    finding = paid(references=(Reference("transaction_id", number),))
    return order.order_id, [notice(order.order_id, payment.payment_id, finding) for payment in order.payments]


def surplus_goes_back(store: Store, played: Played) -> list[str]:
    order = loaded(store, played.about.order_id)
    surplus = [payment for payment in order.payments if not payment.is_effective]
    returned = [(one.payment_id, one.amount_minor, one.origin) for one in order.refunds]
    meant = [(payment.payment_id, 100, RefundOrigin.POLICY) for payment in surplus]
    return [] if returned == meant and len(meant) == 1 else [f"L1: {returned}"]


def notice_was_counted_twice(store: Store, played: Played) -> list[str]:
    with store.read() as unit:
        [kept] = unit.evidence_of(played.about.order_id)
    order = loaded(store, played.about.order_id)
    right = kept.count == 2 and order.state is OrderState.PAID and not order.refunds and not order.anomalies
    return [] if right else [f"I2: seen {kept.count} times, {order}"]


# ---------------------------------------------------------------------------------------------- notify x close, x query


def notice_and_close_asked(store: Store) -> Set:
    order = waiting_order(store)
    close = asked(order.order_id, CloseAsked(), "CloseOrder")
    return order.order_id, [notice(order.order_id, order.payments[0].payment_id), _without_request(close)]


def notice_and_closed(store: Store) -> Set:
    """The channel's close was answered, and its notice of the payment comes too."""
    order = closing_order(store)
    payment = order.payments[0]
    close = heard(order.order_id, payment.payment_id, Via.CLOSE, Closed(), fence=payment.fence)
    return order.order_id, [notice(order.order_id, payment.payment_id), close]


def notice_and_query(finding: Any, *, at: int = NOW) -> Callable[[Store], Set]:
    def pair(store: Store) -> Set:
        order = waiting_order(store)
        payment = order.payments[0]
        query = heard(order.order_id, payment.payment_id, Via.QUERY, finding, fence=payment.fence, at=at)
        return order.order_id, [notice(order.order_id, payment.payment_id), query]

    return pair


def took_it_once(store: Store, played: Played) -> list[str]:
    """What was captured paid the order, or is on its way back; never both, never neither."""
    order = loaded(store, played.about.order_id)
    [payment] = order.payments
    is_paid = order.state is OrderState.PAID and payment.is_effective and not order.refunds
    is_returned = order.state is OrderState.CLOSED and payment.refunding_minor == 100
    return [] if payment.captured_minor == 100 and (is_paid or is_returned) else [f"L1: {order}"]


def pays_after_all(store: Store, played: Played) -> list[str]:
    order = loaded(store, played.about.order_id)
    return [] if order.state is OrderState.PAID and order.effective is not None else [f"L1: {order}"]


# ---------------------------------------------------------------------------------------------- close x pay


def close_and_pay(store: Store) -> Set:
    order = scenes.new_order(store)
    close, pay = CloseAsked(), payment_asked(leased_until=NOW + scenes.LEASE, prepared=False)
    return order.order_id, [Telling(order.order_id, close, app_id=APP), Telling(order.order_id, pay, app_id=APP)]


def close_and_signed_pay(store: Store) -> Set:
    order = scenes.new_order(store)
    return order.order_id, [
        asked(order.order_id, CloseAsked(), "CloseOrder"),
        Telling(order.order_id, payment_asked(), app_id=APP),
    ]


def two_pays(store: Store) -> Set:
    """Two devices choose different methods: only one attempt is begun."""
    order = scenes.new_order(store)
    pays = [payment_asked(method=method) for method in ("qr", "app")]
    return order.order_id, [Telling(order.order_id, pay, app_id=APP) for pay in pays]


def nothing_waits_behind_a_closed_door(store: Store, played: Played) -> list[str]:
    order = loaded(store, played.about.order_id)
    if order.state is OrderState.CLOSED:
        return [f"L2: closed with {order.payments}"] if any(order.open_payments) else []
    closes = all(payment.task is not None and payment.task.verb == "CLOSE" for payment in order.open_payments)
    return [] if order.state is OrderState.CLOSING and closes else [f"L2: {order}"]


# ---------------------------------------------------------------------------------------------- refund x its result


def refund_and_result(finding: Any, amount_minor: int = 70) -> Callable[[Store], Set]:
    def pair(store: Store) -> Set:
        order = refunding_order(store)
        [first] = order.refunds
        result = refund_heard(order.order_id, first.refund_id, finding, fence=first.fence)
        return order.order_id, [_without_request(refund(order.order_id, amount_minor)), result]

    return pair


# ---------------------------------------------------------------------------------------------- surplus x refund


def surplus_and_refund(policy: SurplusPolicy) -> Callable[[Store], Set]:
    """A second payment arrives while somebody asks for its money back."""

    def pair(store: Store) -> Set:
        order = order_with_two_payments(store, policy=policy)
        first, second = order.payments
        tell(store, Telling(order.order_id, PaymentHeard(first.payment_id, Via.NOTICE, paid())))
        back = refund(order.order_id, payment_id=second.payment_id)
        return order.order_id, [notice(order.order_id, second.payment_id), _without_request(back)]

    return pair


def remedy_and_refund(store: Store) -> Set:
    """A person gives the surplus back while the app asks for a part of it."""
    order = order_with_two_payments(store, policy=HOLD)
    for payment in order.payments:
        tell(store, Telling(order.order_id, PaymentHeard(payment.payment_id, Via.NOTICE, paid())))
    order = loaded(store, order.order_id)
    [hold] = order.anomalies
    remedy = AnomalySettled(hold.anomaly_id, Remedy.REFUND, "given back", fresh(Prefix.REFUND))
    back = refund(order.order_id, payment_id=hold.payment_id)
    return order.order_id, [Telling(order.order_id, remedy), _without_request(back)]


NOTHING: Callable[[Store, Played], list[str]] = lambda _store, _played: []  # noqa: E731 - a table's empty cell
FULL, UNPAID, PAID = "REFUND_EXCEEDS_BALANCE", "ORDER_NOT_PAID", "ORDER_ALREADY_PAID"
BOTH = ("Told", "Told")
FAILED, RETURNED = RefundFailed(Failure("NO")), Refunded(70)

PAIRS: list[tuple[str, Callable[[Store], Set], set[tuple[str, str]], Callable[[Store, Played], list[str]]]] = [
    ("refund x refund", two_refunds, {("Told", FULL), (FULL, "Told")}, NOTHING),
    ("refund x refund: sent at once", two_refunds_sent_at_once, {("Told", FULL), (FULL, "Told")}, NOTHING),
    ("refund x refund: both fit", two_small_refunds, {BOTH}, is_whole),
    ("refund x refund: one number", one_refund_twice_by_number, {BOTH}, is_one_refund),
    ("refund x refund: one request", one_refund_twice_by_request, {BOTH}, is_one_refund),
    ("notify x notify", two_payments_are_paid, {BOTH}, surplus_goes_back),
    ("notify x notify: held", two_payments_are_paid_and_held, {BOTH}, NOTHING),
    ("notify x notify: the same", one_notice_twice, {BOTH}, notice_was_counted_twice),
    (
        "notify x notify: one reference",
        two_payments_one_reference,
        {("Told", "EVIDENCE_USED"), ("EVIDENCE_USED", "Told")},
        pays_after_all,
    ),
    ("notify x close: asked", notice_and_close_asked, {BOTH, ("Told", PAID)}, took_it_once),
    ("notify x close: answered", notice_and_closed, {BOTH}, took_it_once),
    ("notify x query: waiting", notice_and_query(Waiting()), {BOTH}, pays_after_all),
    ("notify x query: paid", notice_and_query(paid()), {BOTH}, pays_after_all),
    ("notify x query: not found", notice_and_query(NotFound(), at=NOW + 2 * HOUR), {BOTH}, pays_after_all),
    ("close x pay", close_and_pay, {BOTH, ("Told", "ORDER_CLOSED")}, nothing_waits_behind_a_closed_door),
    ("close x pay: signed", close_and_signed_pay, {BOTH, ("Told", "ORDER_CLOSED")}, nothing_waits_behind_a_closed_door),
    ("pay x pay", two_pays, {("Told", "PAYMENT_IN_PROGRESS"), ("PAYMENT_IN_PROGRESS", "Told")}, NOTHING),
    ("refund x result: failed", refund_and_result(FAILED), {BOTH, (FULL, "Told")}, NOTHING),
    ("refund x result: returned", refund_and_result(RETURNED, 30), {BOTH}, NOTHING),
    ("refund x result: returned, too much", refund_and_result(RETURNED), {(FULL, "Told")}, NOTHING),
    (
        "surplus x refund",
        surplus_and_refund(SurplusPolicy.AUTO_REFUND),
        {("Told", FULL), ("Told", UNPAID)},
        NOTHING,
    ),
    ("surplus x refund: held", surplus_and_refund(HOLD), {BOTH, ("Told", UNPAID)}, NOTHING),
    ("surplus x refund: a remedy", remedy_and_refund, {BOTH, ("Told", FULL)}, NOTHING),
]


@pytest.mark.parametrize(("pair", "ends", "also"), [row[1:] for row in PAIRS], ids=[row[0] for row in PAIRS])
def test_no_order_of_two_facts_breaks_anything(loom: Loom, pair: Any, ends: Any, also: Any) -> None:
    assert weave(loom, pair, ends, also=also).run >= 10
