"""What the players do and what must be true afterwards. Facts are told by the real scribe, each player's in a store of its own."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from paycore.core.events import Event
from paycore.core.facts import (
    CloseAsked,
    Fact,
    OrderAsked,
    PaymentAsked,
    PaymentHeard,
    RefundAsked,
    RefundHeard,
    SwitchAsked,
    Via,
)
from paycore.core.findings import NotFound, Paid, PaymentFinding, Ready, Reference, RefundFinding
from paycore.core.ids import Prefix, make_id
from paycore.core.order import Details, Order, OrderState, Payment, PaymentState, RefundState, SurplusPolicy
from paycore.core.refusals import Reason, Refused
from paycore.core.terms import HOUR, SECOND, Terms
from paycore.engine import witness
from paycore.engine.tell import Telling, Told, _Scribe
from paycore.store import App, Evidence, RequestKey, Store
from paycore.store.audit import audit
from tests.interleavings.weave import Count, Loom, Played, Scene, Work, every_order

NOW = 1_790_000_000 * SECOND
LEASE = 30 * SECOND
APP = make_id(Prefix.APP, NOW, 1)
ACCOUNT = make_id(Prefix.ACCOUNT, NOW, 1)
AMOUNT = 100

_numbers = itertools.count(1)


def fresh(prefix: Prefix) -> str:
    """An id that nobody had before."""
    return make_id(prefix, NOW, next(_numbers) * 7_919)


class Still:
    """A clock that stands. Both players read the same instant: no guard may live on the times being different."""

    def now(self) -> int:
        return NOW

    def steady(self) -> int:
        return 0

    async def sleep_until(self, at: int | None, wake: Any) -> None:
        raise AssertionError("nobody sleeps here")


def tell(store: Store, *tellings: Telling) -> Any:
    """Tell facts in one batch, as a teller does; what became of the first of them, raised if it was refused."""
    answers = _Scribe(store, Still()).write(tellings).answers
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers[0]


def telling(store: Store, *tellings: Telling) -> Work:
    """The work of a player that tells these facts."""
    return lambda: tell(store, *tellings)


# ---------------------------------------------------------------------------------------------- facts


def order_asked(*, number: str | None = None, policy: SurplusPolicy = SurplusPolicy.AUTO_REFUND) -> OrderAsked:
    order_id = fresh(Prefix.ORDER)
    return OrderAsked(
        order_id=order_id,
        app_id=APP,
        merchant_order_no=f"m-{order_id}" if number is None else number,
        amount_minor=AMOUNT,
        currency="CNY",
        details=Details("tea"),
        expires_at=NOW + HOUR,
        surplus_policy=policy,
    )


def payment_asked(*, leased_until: int | None = None, method: str = "qr", prepared: bool = True) -> PaymentAsked:
    return PaymentAsked(
        payment_id=fresh(Prefix.PAYMENT),
        channel="sandbox",
        method=method,
        account_id=ACCOUNT,
        environment="sandbox",
        merchant="M",
        terms=Terms(),
        expires_at=NOW + HOUR,
        leased_until=leased_until,
        prepared=Ready("{}") if prepared else None,
    )


def paid(**more: Any) -> Paid:
    return Paid(AMOUNT, "CNY", "M", **more)


def notice(order_id: str, payment_id: str, finding: PaymentFinding | None = None) -> Telling:
    """A channel's notice, with its evidence and the channel's own number."""
    number = fresh(Prefix.PAYMENT)
    finding = finding or paid(channel_trade_no=f"T{number}", references=(Reference("transaction_id", number),))
    return heard(order_id, payment_id, Via.NOTICE, finding)


def heard(
    order_id: str, payment_id: str, via: Via, finding: PaymentFinding, *, fence: int | None = None, at: int = NOW
) -> Telling:
    """What a channel said about a payment."""
    evidence = witness.heard(order_id, payment_id, via, finding, at)
    asked_at = None if via is Via.NOTICE else at
    return Telling(order_id, PaymentHeard(payment_id, via, finding, asked_at, fence), evidence=(evidence,))


def refund_heard(order_id: str, refund_id: str, finding: RefundFinding, *, fence: int | None) -> Telling:
    """What a channel said about a refund, to a query."""
    evidence = witness.heard(order_id, refund_id, Via.QUERY_REFUND, finding, NOW)
    fact = RefundHeard(refund_id, Via.QUERY_REFUND, finding, NOW, fence)
    return Telling(order_id, fact, evidence=(evidence,))


def refund(order_id: str, amount_minor: int = 70, *, number: str = "", request: str = "", **more: Any) -> Telling:
    """A caller's refund, under a request id of its own unless one is given."""
    fact = RefundAsked(fresh(Prefix.REFUND), amount_minor, "CNY", merchant_refund_no=number, **more)
    return asked(order_id, fact, "CreateRefund", request)


def asked(order_id: str, fact: Fact, rpc: str, request: str = "", content: bytes = b"{}") -> Telling:
    """What a caller asks, under a request id of its own unless one is given."""
    key = RequestKey(APP, rpc, request or fresh(Prefix.ORDER))
    return Telling(order_id, fact, app_id=APP, request=key, canonical=content)


# ---------------------------------------------------------------------------------------------- orders to begin with


def new_order(store: Store, *facts: Fact, **more: Any) -> Order:
    """An order that was told these facts, all in one transaction."""
    fact = order_asked(**more)
    told = [Telling(fact.order_id, one) for one in (fact, *facts)]
    tell(store, *told)
    return loaded(store, fact.order_id)


def waiting_order(store: Store, **more: Any) -> Order:
    """An order whose one payment waits for its payer."""
    return new_order(store, payment_asked(), **more)


def paid_order(store: Store, *facts: Fact, **more: Any) -> Order:
    """A paid order."""
    payment = payment_asked()
    return new_order(store, payment, PaymentHeard(payment.payment_id, Via.NOTICE, paid()), *facts, **more)


def order_with_two_payments(store: Store, **more: Any) -> Order:
    """The payer changed their mind; nobody can say yet that the first attempt will not be paid."""
    first, second = payment_asked(), payment_asked(method="app")
    switch = SwitchAsked(first.payment_id, NOW + LEASE)
    order = new_order(store, first, switch, **more)
    not_found = PaymentHeard(first.payment_id, Via.CLOSE, NotFound(), NOW, order.payments[0].fence)
    tell(store, *(Telling(order.order_id, one) for one in (not_found, second)))
    return loaded(store, order.order_id)


def closing_order(store: Store, **more: Any) -> Order:
    """An order that is being closed at its channel, by a worker that holds the close's lease."""
    order = new_order(store, payment := payment_asked(), CloseAsked(), **more)
    with store.write() as unit:
        unit.claim_due(NOW, NOW + LEASE, 1, subject_id=payment.payment_id)
    return loaded(store, order.order_id)


def refunding_order(store: Store, amount_minor: int = 70, **more: Any) -> Order:
    """A paid order with a refund on its way, of which a worker holds the lease."""
    fact = RefundAsked(fresh(Prefix.REFUND), amount_minor, "CNY", leased_until=NOW + LEASE)
    return paid_order(store, fact, **more)


def loaded(store: Store, order_id: str) -> Order:
    with store.read() as unit:
        return unit.load([order_id])[order_id]


# ---------------------------------------------------------------------------------------------- what must hold


def wrongs(store: Store, order_id: str, outcomes: Sequence[Any] = ()) -> list[str]:
    """What is wrong with one order after a run: the invariants of money and of the stream, and whatever was acknowledged."""
    with store.read() as unit:
        order = unit.load([order_id]).get(order_id)
        if order is None:
            return [f"{order_id} is gone"]
        events = unit.events_after({order_id: 0}, 1000).get(order_id, [])
        kept = {one.evidence.digest for one in unit.evidence_of(order_id)}
    return [
        *_money(order),
        *_stream(order, events),
        *(f"lost: {word}" for outcome in outcomes for word in _lost(order, kept, outcome)),
    ]


def _money(order: Order) -> Iterator[str]:
    for payment in order.payments:
        refunds = list(order.refunds_of(payment.payment_id))
        back = sum(one.amount_minor for one in refunds if one.is_reserving or one.state is RefundState.SUCCEEDED)
        if back > payment.captured_minor:
            yield f"M1: {back} go back of {payment.captured_minor}"
        if back != payment.refunding_minor + payment.refunded_minor:
            yield f"M1: {back} go back and {payment.refunding_minor} + {payment.refunded_minor} are counted"
        if payment.state is PaymentState.SUCCEEDED and not _is_placed(order, payment):
            yield f"M2: {payment.balance_minor} are nobody's"
    effective = [payment for payment in order.payments if payment.is_effective]
    if len(effective) != (order.state is OrderState.PAID):
        yield f"M3: {order.state} with {len(effective)} effective payments"


def _is_placed(order: Order, payment: Payment) -> bool:
    """Whether all of a captured amount is somewhere: it paid, was kept, goes back, or a person looks at it."""
    if payment.is_effective or payment.is_kept or payment.balance_minor == 0:
        return True
    held = (one.amount_minor for one in order.anomalies if one.is_open and one.payment_id == payment.payment_id)
    return payment.balance_minor in held


def _stream(order: Order, events: list[Event]) -> Iterator[str]:
    if [event.version for event in events] != list(range(1, order.version + 1)):
        yield f"S3: version {order.version} with events {[event.version for event in events]}"
    for subject, states in _states(events).items():
        for before, after in itertools.pairwise(states):
            if before in _NEVER_LEFT and after != before:
                yield f"S1: {subject} leads from {before} to {after}"
    last = {event.subject_id: event.figures for event in events}
    shown = {
        order.order_id: order.state.value,
        **{payment.payment_id: payment.state.value for payment in order.payments},
        **{refund.refund_id: refund.state.value for refund in order.refunds},
        **{anomaly.anomaly_id: anomaly.state.value for anomaly in order.anomalies},
    }
    for row_id, state in shown.items():
        if last.get(row_id, {}).get("state") != state:
            yield f"S2: {row_id} is {state} and its last event says {last.get(row_id, {}).get('state')}"


_NEVER_LEFT = frozenset({"PAID", "SUCCEEDED"})


def _states(events: list[Event]) -> dict[str, list[str]]:
    states: dict[str, list[str]] = {}
    for event in events:
        states.setdefault(event.subject_id, []).append(event.figures["state"])
    return states


def _lost(order: Order, kept: set[str], outcome: Any) -> Iterator[str]:
    """What a player was told and is not so any more."""
    if not isinstance(outcome, Told):
        return
    was = outcome.order
    if was.version > order.version:
        yield f"version {was.version} was acknowledged and it stands at {order.version}"
    if was.state is OrderState.PAID and order.state is not OrderState.PAID:
        yield "PAID was acknowledged"
    for payment in was.payments:
        now = order.payment(payment.payment_id)
        if now is None or (payment.state is PaymentState.SUCCEEDED and now.state is not PaymentState.SUCCEEDED):
            yield f"payment {payment.payment_id} {payment.state}"
    yield from (f"refund {one.refund_id}" for one in was.refunds if order.refund(one.refund_id) is None)


def evidence_lost(store: Store, tellings: Sequence[Telling], outcomes: Sequence[Any]) -> list[str]:
    """The evidence of facts that were acknowledged and is not there."""
    told = [one for one, outcome in zip(tellings, outcomes, strict=True) if isinstance(outcome, Told)]
    pieces: list[Evidence] = [piece for one in told for piece in one.evidence]
    with store.read() as unit:
        kept = {
            (order_id, one.evidence.digest)
            for order_id in {piece.order_id for piece in pieces}
            for one in unit.evidence_of(order_id)
        }
    return [f"lost: evidence {piece.via}" for piece in pieces if (piece.order_id, piece.digest) not in kept]


def reasons(played: Played) -> list[str]:
    """How the players ended, in words that can be compared."""
    return [
        outcome.reason.value if isinstance(outcome, Refused) else type(outcome).__name__
        for outcome in played.outcomes.values()
    ]


# ---------------------------------------------------------------------------------------------- pairs


@dataclass
class Facts:
    """What a pair is about: one order, and what each player tells it."""

    order_id: str
    tellings: dict[str, Telling] = field(default_factory=dict)


Pair = Callable[[Store], tuple[str, Sequence[Telling]]]
"""Sets up an order and gives it with what the players tell it."""
Check = Callable[[Store, Played], list[str]]
"""What is wrong after a run, beside what every run is asked."""


def scene_of(pair: Pair) -> Scene:
    """A scene whose players each tell one fact about one order."""

    def begin(loom: Loom) -> tuple[dict[str, Work], Facts]:
        order_id, tellings = pair(loom.stores[0])
        named = dict(zip("ABC", tellings, strict=False))
        works = {name: telling(loom.stores[i], one) for i, (name, one) in enumerate(named.items())}
        return works, Facts(order_id, named)

    return Scene(begin)


def facts_wrong(loom: Loom, played: Played) -> list[str]:
    """What is wrong after a run of a scene of facts."""
    facts: Facts = played.about
    outcomes = [played.outcomes[name] for name in facts.tellings]
    return [
        *wrongs(loom.stores[0], facts.order_id, outcomes),
        *evidence_lost(loom.stores[0], list(facts.tellings.values()), outcomes),
        *(f"{name} ended with {outcome!r}" for name, outcome in played.outcomes.items() if _is_a_fault(outcome)),
        *(["deadlock"] if played.deadlocks else []),
    ]


def _is_a_fault(outcome: Any) -> bool:
    """Whether a player ended in a way that no caller may see: a bug, or "try again" although there was no crowd."""
    if isinstance(outcome, Refused):
        return outcome.reason in (Reason.CONFLICT_RETRY, Reason.STORE_UNAVAILABLE, Reason.INTERNAL)
    return isinstance(outcome, BaseException)


def audited(store: Store) -> list[str]:
    """What the audit says about everything that the runs left behind."""
    with store.write() as unit:
        while unit.number_feed(10_000):
            pass
    return [str(violation) for violation in audit(store)]


def put_app(store: Store) -> None:
    with store.write() as unit:
        unit.put_app(App(APP, "Tea shop", NOW))


def weave(loom: Loom, pair: Pair, ends: set[tuple[str, ...]], *, also: Check = lambda _store, _played: []) -> Count:
    """Run every order of a pair. After each the invariants hold, and it ended in one of the ways that are meant."""
    return weave_scene(
        loom, scene_of(pair), ends, lambda played: facts_wrong(loom, played) + also(loom.stores[0], played)
    )


def weave_scene(
    loom: Loom, scene: Scene, ends: set[tuple[str, ...]], wrong_with: Callable[[Played], list[str]]
) -> Count:
    """Run every order of a scene, with these checks after each, and the audit over all that they left."""
    count, seen = Count(), set()
    for played in every_order(loom, scene):
        wrong = wrong_with(played)
        assert not wrong, f"{wrong}\n{played}"
        seen.add(tuple(reasons(played)))
        assert seen <= ends, f"ended as {reasons(played)}\n{played}"
        count.saw(played)
    assert seen == ends, f"never seen: {ends - seen}"
    assert audited(loom.stores[0]) == []
    return count
