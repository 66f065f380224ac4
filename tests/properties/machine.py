"""Lives that hypothesis thinks of, lived through the real pipeline, engine, store and sandbox channel, against `model.Debt`.

After each deed every event that was announced is told to the model, and every row must be what the model says. In the end
the weather clears, time passes, and our books, the channel's and the model agree.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

from google.protobuf.message import Message
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from paycore.channel import NoticeReply
from paycore.core.events import anomaly_figures, order_figures, payment_figures, refund_figures
from paycore.core.order import Order, Payment, RefundState
from paycore.core.refusals import Refused
from paycore.testing.wires import WireFault
from paycore.v1 import anomaly_pb2, order_pb2, refund_pb2
from paycore_sandbox.simulator import NoticeFault, NotPayable, RefundEnd
from tests.fuzz.house import Ears, House, listening, open_house
from tests.properties.model import RESERVING, Debt, Lie, must
from tests.rpc.shop import a_close, a_notice, a_payment, a_refund, an_order, money

T = TypeVar("T")
__all__ = ["Lie", "Life", "live"]

MOST_ORDERS = 3
PATIENCE = 300
"""How many times the clock may have something to do until an order is at rest."""
POLICIES = {
    order_pb2.SURPLUS_POLICY_AUTO_REFUND: "AUTO_REFUND",
    order_pb2.SURPLUS_POLICY_HOLD: "HOLD",
    order_pb2.SURPLUS_POLICY_ACCEPT: "ACCEPT",
}
FACES = {"qr": "pc", "redirect": "h5", "app": "android"}
WHICH = st.integers(0, 5)
AMOUNTS = st.integers(1, 1_000)


class Life(RuleBasedStateMachine):
    """A few orders, and everybody who has a hand in them."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.opened = contextlib.AsyncExitStack()
        self.house: House = self.run(self.opened.enter_async_context(open_house()))
        self.ears: Ears = self.opened.enter_context(listening())
        self.debts: dict[str, Debt] = {}
        self.rows: dict[str, Order] = {}
        self.fold: dict[str, Any] = {}
        self.created: list[order_pb2.CreateOrderRequest] = []
        self.refunded: list[tuple[str, refund_pb2.CreateRefundRequest]] = []
        self.numbers = 0

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    def ask(self, request: Message) -> Any:
        """The answer, or the reason why not."""
        try:
            return self.run(self.house.ask(request))
        except Refused as refused:
            return refused.reason.value

    def fresh(self) -> str:
        self.numbers += 1
        return f"life-request-{self.numbers:06}"

    # ------------------------------------------------------------------------------------ apps

    @initialize(
        amounts=st.lists(AMOUNTS, min_size=1, max_size=MOST_ORDERS),
        policy=st.sampled_from([*POLICIES, order_pb2.SURPLUS_POLICY_AUTO_REFUND]),
        first=st.sampled_from(["late", "paid", "switched", "taken", "begun", "paid twice", "paid"]),
    )
    def begin(self, amounts: list[int], policy: Any, first: str) -> None:
        """Some orders; the first of them has come some way already."""
        for amount in amounts:
            self.create(amount, policy)
        self.pay(0, "qr")
        self.look()
        if first in ("late", "switched", "paid twice"):
            self.late_payer(0, is_switch=first != "late", is_announced=True)
        if first in ("taken", "paid", "paid twice"):
            self.act(self.unpaid()[-1], "pay", is_announced=True)
        if first.startswith("paid"):
            self.notices("delivered")

    def create(self, amount: int, policy: Any) -> None:
        request = an_order(
            amount=money(amount), merchant_order_no=self.fresh(), request_id=self.fresh(), surplus_policy=policy
        )
        request.expire_time.FromMicroseconds(self.house.clock.now() + 900_000_000)
        order = self.ask(request).order
        self.created.append(request)
        self.debts[order.order_id] = Debt(order.order_id, amount, POLICIES[policy])

    @rule(which=WHICH, is_same=st.booleans())
    def create_again(self, which: int, is_same: bool) -> None:
        """The same request is the same order; the same request_id with other content is refused."""
        request = order_pb2.CreateOrderRequest()
        request.CopyFrom(self.created[which % len(self.created)])
        if not is_same:
            request.amount.amount_minor += 1
        answer = self.ask(request)
        if is_same:
            must(answer.order.order_id == list(self.debts)[which % len(self.created)], "it is another order")
        else:
            must(answer == "IDEMPOTENCY_CONFLICT", f"it is answered by {answer}")

    @rule(which=WHICH, method=st.sampled_from(sorted(FACES)))
    def pay(self, which: int, method: str) -> None:
        debt = self.debt(which)
        request = a_payment(debt.order_id, method=method, request_id=self.fresh())
        request.client.face = FACES[method]
        allowed = debt.pay_answers(is_over=self.is_over(debt))
        answer = self.ask(request)
        given = answer if isinstance(answer, str) else "OK"
        must(given in allowed, f"beginning a payment of a {debt.state} order is answered by {given}")

    @rule(which=WHICH)
    def close(self, which: int) -> None:
        debt = self.debt(which)
        was_paid = debt.state == "PAID"
        answer = self.ask(a_close(debt.order_id, request_id=self.fresh()))
        if was_paid:
            must(answer == "ORDER_ALREADY_PAID", f"closing a paid order is answered by {answer}")
        else:
            must(not isinstance(answer, str), f"closing is refused: {answer}")

    @rule(which=WHICH)
    def sync(self, which: int) -> None:
        """Asking now finds whatever was paid by what is still open, if the wire lets it."""
        debt = self.debt(which)
        is_trouble_ahead = any(one.times > 0 for one in self.house.wire._planned)
        found = self.ask(order_pb2.SyncOrderRequest(order_id=debt.order_id))
        must(not isinstance(found, str), f"asking is refused: {found}")
        open_ones = [one for one in debt.unheard if debt.attempts[one].state in ("PENDING", "UNKNOWN")]
        self.look()
        if not is_trouble_ahead:
            missed = [one for one in open_ones if one in debt.unheard]
            must(not missed, f"the channel was asked and it is still not known that this was paid:{self.story(debt)}")

    @rule(
        which=WHICH, part=st.one_of(st.integers(1, 50), st.integers(1, 1_200)), end=st.sampled_from([None, *RefundEnd])
    )
    def refund(self, which: int, part: int, end: RefundEnd | None) -> None:
        debt = self.debt(which)
        if end is not None:
            self.house.simulator.next_refunds(end)
        request = a_refund(debt.order_id, part, request_id=self.fresh(), merchant_refund_no="")
        expected = debt.refund_answer(part)
        debt.asked = [part]
        answer = self.ask(request)
        given = answer if isinstance(answer, str) else "OK"
        must(given == expected, f"a refund of {part} is answered by {given}, not {expected}")
        if given == "OK":
            self.refunded.append((answer.refund.refund_id, request))

    @rule(which=WHICH)
    def refund_again(self, which: int) -> None:
        if not self.refunded:
            return
        refund_id, request = self.refunded[which % len(self.refunded)]
        answer = self.ask(request)
        must(not isinstance(answer, str) and answer.refund.refund_id == refund_id, f"the same ask gives {answer}")

    @rule(which=WHICH)
    def retry_refund(self, which: int) -> None:
        found = [(debt, refund_id) for debt in self.debts.values() for refund_id in debt.returns]
        if found:
            debt, refund_id = found[which % len(found)]
            is_over = debt.returns[refund_id].state in ("SUCCEEDED", "FAILED", "REVERSED")
            answer = self.ask(refund_pb2.RetryRefundRequest(refund_id=refund_id, request_id=self.fresh()))
            must((answer == "REFUND_NOT_RETRYABLE") == is_over, f"sending it again is answered by {answer}")

    @rule(
        which=WHICH,
        remedy=st.sampled_from([anomaly_pb2.REMEDY_ACCEPT, anomaly_pb2.REMEDY_REFUND, anomaly_pb2.REMEDY_RELEASE]),
    )
    def resolve(self, which: int, remedy: Any) -> None:
        """A person decides about an anomaly."""
        listed = self.ask(order_pb2.ListAnomaliesRequest(state=anomaly_pb2.Anomaly.STATE_OPEN)).anomalies
        if not listed:
            return
        anomaly = listed[which % len(listed)]
        debt = self.debts[anomaly.order_id]
        debt.accepts_late = remedy == anomaly_pb2.REMEDY_ACCEPT
        debt.asked = [debt.balance(anomaly.payment_id)] if anomaly.payment_id in debt.attempts else []
        request = order_pb2.ResolveAnomalyRequest(
            anomaly_id=anomaly.anomaly_id, remedy=remedy, note="decided", request_id=self.fresh()
        )
        self.ask(request)
        self.look()
        debt.accepts_late, debt.asked = False, []

    # ------------------------------------------------------------------------------------ payers and the channel

    @rule(which=WHICH, deed=st.sampled_from(["pay", "pay", "begin", "stop", "decline"]), is_announced=st.booleans())
    def payer(self, which: int, deed: str, is_announced: bool) -> None:
        """Somebody does something with one of the attempts, whatever has become of it here. Its notice may be lost for good."""
        attempts = self.unpaid()
        if attempts:
            self.act(attempts[which % len(attempts)], deed, is_announced=is_announced)

    @rule(which=WHICH, is_switch=st.booleans(), is_announced=st.booleans())
    def late_payer(self, which: int, is_switch: bool, is_announced: bool) -> None:
        """An attempt is closed, for another one or with its order, and is paid all the same."""
        attempts = self.unpaid()
        if not attempts:
            return
        payment = attempts[which % len(attempts)]
        place = next(place for place, debt in enumerate(self.debts.values()) if payment.payment_id in debt.attempts)
        if payment.is_open:
            if is_switch:
                self.pay(place, "redirect" if payment.method == "qr" else "qr")
            else:
                self.close(place)
            self.look()
        self.act(payment, "late", is_announced=is_announced)

    def unpaid(self) -> list[Payment]:
        taken = {key for debt in self.debts.values() for key, one in debt.attempts.items() if one.taken}
        return [one for order in self.rows.values() for one in order.payments if one.payment_id not in taken]

    def act(self, payment: Payment, deed: str, *, is_announced: bool) -> None:
        now, channel = self.house.clock.now(), self.house.simulator
        debt = next(debt for debt in self.debts.values() if payment.payment_id in debt.attempts)
        if not is_announced:
            channel.faults.plan_notice(NoticeFault.LOST, "trade")
        with contextlib.suppress(NotPayable, LookupError):
            if payment.method == "app" and payment.plan_json and payment.payment_id not in channel.books.trades:
                order_string = json.loads(payment.plan_json)["steps"][0]["params"]["arguments"]["orderString"]
                channel.open_app(order_string, now)
            if deed in ("pay", "late"):
                channel.pay(payment.payment_id, now, even_if_over=deed == "late")
                debt.pays(payment.payment_id, payment.amount_minor)
            else:
                others = {"begin": channel.begin_paying, "stop": channel.stop_paying, "decline": channel.decline}
                others[deed](payment.payment_id, now)
        channel.faults.clear()

    @rule(fate=st.sampled_from(["delivered", "delivered", "twice", "not answered"]))
    def notices(self, fate: str) -> None:
        """The channel's notices come in: once, twice, or in vain for now. What was acknowledged is known."""
        for notice in self.house.simulator.due(self.house.clock.now()):
            if fate == "not answered":
                self.house.simulator.answered(notice.key, None, self.house.clock.now())
                continue
            answer = self.ask(a_notice(notice))
            if fate == "twice":
                answer = self.ask(a_notice(notice))
            must(answer.http_status == 200, f"a genuine notice is answered by {answer}")
            reply = NoticeReply(answer.http_status, {}, answer.body)
            self.house.simulator.answered(notice.key, reply, self.house.clock.now())
            self.look()
            told = json.loads(notice.request.body)["data"]
            for debt in self.debts.values():
                must(told["out_trade_no"] not in debt.unheard, "a payment was acknowledged and is not known")

    @rule(which=WHICH, end=st.sampled_from([RefundEnd.SUCCESS, RefundEnd.FAILED, RefundEnd.STUCK]))
    def refund_ends(self, which: int, end: RefundEnd) -> None:
        """The channel makes up its mind about a refund."""
        open_ones = [
            key for key, one in self.house.simulator.books.refunds.items() if one.state in ("PROCESSING", "STUCK")
        ]
        if open_ones:
            self.house.simulator.end_refund(open_ones[which % len(open_ones)], end, self.house.clock.now())

    @rule(fault=st.sampled_from([WireFault.REFUSED, WireFault.LOST, WireFault.UNANSWERED, WireFault.GARBLED]))
    def trouble(self, fault: WireFault) -> None:
        """The next call to the channel fails in some way."""
        self.house.wire.plan(fault)

    # ------------------------------------------------------------------------------------ time

    @rule(seconds=st.sampled_from([0, 1, 1, 1, 5, 5, 30, 120, 900]))
    def time_passes(self, seconds: int) -> None:
        self.house.clock.advance(seconds)
        self.run(self.work())

    async def work(self) -> None:
        """Whatever is due is done, once."""
        now = self.house.clock.now()
        with self.house.store.write() as unit:
            taken = unit.claim_due(now, now + 30_000_000, 50)
        for due in taken:
            await self.house.engine.verbs.do(due)

    # ------------------------------------------------------------------------------------ looking

    @invariant()
    def look(self) -> None:
        """Every event is possible, every row is the fold of its events, every figure is the model's."""
        must(not self.ears.heard, f"the log complains: {self.ears.heard}")
        for order_id, version in self.house.books.execute("SELECT order_id, version FROM orders").fetchall():
            debt = self.debts[order_id]
            if version != debt.version:
                self._listen(debt)
                self._compare(debt)

    def _listen(self, debt: Debt) -> None:
        with self.house.store.read() as unit:
            for event in unit.events_after({debt.order_id: debt.version}, 10_000).get(debt.order_id, []):
                debt.hears(event.version, event.subject, event.subject_id, event.figures)
                self.fold[event.subject_id] = event.figures
            self.rows[debt.order_id] = unit.load([debt.order_id])[debt.order_id]

    def _compare(self, debt: Debt) -> None:
        order = self.rows[debt.order_id]
        must(order.version == debt.version, f"the row is at {order.version}, its events at {debt.version}")
        must((order.state.value, order.amount_minor) == (debt.state, debt.amount), f"the row says {order.state}")
        must({one.payment_id for one in order.payments} == debt.attempts.keys(), "there are other payments")
        must({one.refund_id for one in order.refunds} == debt.returns.keys(), "there are other refunds")
        for payment in order.payments:
            returns = debt.returns_of(payment.payment_id)
            must(payment.captured_minor == debt.attempts[payment.payment_id].heard, "another amount is captured")
            must(payment.refunded_minor == _sum(returns, "SUCCEEDED"), "another amount went back")
            must(payment.refunding_minor == _sum(returns, *RESERVING), "another amount is promised back")
            must(payment.is_effective == (payment.payment_id == debt.effective), "another payment has paid")
        shown = {
            order.order_id: order_figures(order),
            **{one.payment_id: payment_figures(one) for one in order.payments},
            **{one.refund_id: refund_figures(one) for one in order.refunds},
            **{one.anomaly_id: anomaly_figures(one) for one in order.anomalies},
        }
        must(all(self.fold[key] == figures for key, figures in shown.items()), "a row is not what its events say")

    def teardown(self) -> None:
        """The weather clears, and in the end everybody's books agree."""
        try:
            if self.debts and sys.exc_info()[0] is None:
                self._calm()
                for debt in self.debts.values():
                    self._agree(debt)
                must(not (found := self.house.violations()), f"the audit finds {found}")
        finally:
            self.run(self.opened.aclose())
            self.loop.close()

    def _calm(self) -> None:
        house = self.house
        house.wire.clear()
        house.simulator.faults.clear()
        house.simulator.books.next_refund_ends.clear()
        for _ in range(PATIENCE):
            self._let_go()
            self.notices("delivered")
            self.run(self.work())
            self.look()
            if all(debt.is_at_rest for debt in self.debts.values()):
                return
            with house.store.read() as unit:
                due = [at for at in (unit.next_due_at(house.clock.now()), house.simulator.next_due()) if at is not None]
            must(
                bool(due), f"nothing is left to do, and {[debt for debt in self.debts.values() if not debt.is_at_rest]}"
            )
            house.clock.set(max(min(due), house.clock.now()))
        raise Lie(f"it never comes to rest: {[debt for debt in self.debts.values() if not debt.is_at_rest]}")

    def _let_go(self) -> None:
        """Payers put their phones away; the channel ends what it was slow about."""
        now, channel = self.house.clock.now(), self.house.simulator
        for payment_id in list(channel.books.trades):
            channel.stop_paying(payment_id, now)
        for refund_id, refund in list(channel.books.refunds.items()):
            if refund.state == "PROCESSING" and refund.ends_at is None:
                channel.end_refund(refund_id, RefundEnd.SUCCESS, now)

    def _agree(self, debt: Debt) -> None:
        books, order = self.house.simulator.books, self.rows[debt.order_id]
        for payment_id, attempt in debt.attempts.items():
            trade = books.trades.get(payment_id)
            must(attempt.heard == (trade.taken_minor if trade else 0), "the channel's books say another amount")
            held = any(one.is_open and one.payment_id == payment_id for one in order.anomalies)
            payment = order.payment(payment_id)
            assert payment is not None
            surplus = payment_id != debt.effective and debt.balance(payment_id) > 0
            must(not surplus or held or payment.is_kept, "surplus money that nobody looks at")
            tried = any(one.origin == "POLICY" for one in debt.returns_of(payment_id))
            wanted = surplus and debt.policy == "AUTO_REFUND" and not payment.is_kept
            must(not wanted or tried, "surplus money that was not given back by itself")
        for refund in order.refunds:
            theirs = books.refunds.get(refund.refund_id)
            went_back = theirs is not None and theirs.state == "SUCCESS"
            if refund.state is RefundState.SUCCEEDED and not went_back:
                by_hand = any(one.refund_id == refund.refund_id and one.remedy for one in order.anomalies)
                must(by_hand, "a refund that the channel never made")
            must(not went_back or refund.state is RefundState.SUCCEEDED, "a refund was made that we do not know of")

    def story(self, debt: Debt) -> str:
        """What there is to know about an order, for whoever reads a lie."""
        with self.house.store.read() as unit:
            kept = [f"{one.evidence.via} {one.evidence.content}" for one in unit.evidence_of(debt.order_id)]
        order = self.rows[debt.order_id]
        trades = [self.house.simulator.books.trades.get(one.payment_id) for one in order.payments]
        lines = [
            f"now {self.house.clock.now()}",
            debt,
            order.task,
            *order.payments,
            *order.refunds,
            *trades,
            *kept[-12:],
        ]
        return "".join(f"\n    {line}" for line in lines)

    def is_over(self, debt: Debt) -> bool:
        return debt.order_id in self.rows and self.house.clock.now() >= self.rows[debt.order_id].expires_at

    def debt(self, which: int) -> Debt:
        self.look()
        return list(self.debts.values())[which % len(self.debts)]


def _sum(returns: Any, *states: str) -> int:
    return sum(one.amount for one in returns if one.state in states)


def live(number: int, *, examples: int, steps: int, shrinks: bool = True) -> None:
    """So many lives of so many deeds, all following from one number. Raises what is wrong with the shortest life found."""

    class Lives(Life):
        pass

    phases = [Phase.generate, *([Phase.shrink] if shrinks else [])]
    run_state_machine_as_test(
        seed(number)(Lives),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            phases=phases,
            suppress_health_check=list(HealthCheck),
            print_blob=False,
        ),
    )
