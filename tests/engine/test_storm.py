"""Storms: payers, apps, networks and channels that do their worst, in an order that a seed decides; in the end the books agree.

Everything runs inline, without a thread and without a pause, so that a seed is a story that can be read again.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import pytest

from paycore.core.order import Order, OrderState, PaymentState, RefundOrigin, RefundState
from paycore.core.refusals import Reason, Refused
from paycore.engine.cashier import Choice
from paycore.engine.host import Host
from paycore.engine.workshop import InlineWorkshop
from paycore.store import Store
from paycore.testing.clock import FakeClock
from paycore.testing.simulators import Postman
from paycore.testing.wires import FaultyCarrier, InlineCarrier, WireFault
from paycore_bridge import Plan
from paycore_sandbox.simulator import Fault, NoticeFault, NotPayable, RefundEnd, SandboxSimulator
from tests.engine.world import GATE, World

T = TypeVar("T")
SECOND = 1_000_000
QUIET = [0.0, 0.5, 1.0, 3.0, 10.0, 40.0]
FAULTS = list(Fault)
NOTICE_FAULTS = [NoticeFault.LOST, NoticeFault.DUPLICATE, NoticeFault.LATE, NoticeFault.FORGED]
WIRE_FAULTS = [WireFault.REFUSED, WireFault.LOST, WireFault.UNANSWERED, WireFault.GARBLED]


async def inline(work: Callable[[], T], /) -> T:
    """The store's work where it stands; others get their turn before it."""
    await asyncio.sleep(0)
    return work()


@dataclass
class Storm:
    """One seed's story."""

    store: Store
    seed: int
    orders: list[Order] = field(default_factory=list)

    async def begin(self) -> None:
        self.chance = random.Random(self.seed)
        host = Host(Host.load(required=["sandbox"]).kinds.values(), workshop=InlineWorkshop())
        self.simulator = SandboxSimulator(f"storm {self.seed}")
        self.clock = FakeClock()
        self.wire = FaultyCarrier(InlineCarrier(self.clock, {GATE: self.simulator}))
        self.world = World(self.store, host, self.wire, self.clock, run=inline)
        self.postman = Postman({"sandbox": self.simulator}, self.clock, self.world.engine.deliver_notice)
        await self.world.account("sandbox", self.simulator.settings(GATE))

    # ------------------------------------------------------------------------------------ what may happen

    async def step(self) -> None:
        deeds = [
            (self.order, 3),
            (self.pay, 6),
            (self.payer, 6),
            (self.open_app, 3),
            (self.close, 1),
            (self.refund, 3),
            (self.sync, 1),
            (self.trouble, 5),
            (self.deliver, 6),
            (self.work, 8),
            (self.wait, 6),
        ]
        [deed] = self.chance.choices([deed for deed, _ in deeds], [weight for _, weight in deeds])
        with contextlib.suppress(Refused):
            await deed()

    async def order(self) -> None:
        if len(self.orders) < 6:
            self.orders.append(await self.world.order(self.chance.randrange(100, 100_000)))

    async def pay(self) -> None:
        order = self._one()
        method, client = self.chance.choice(
            [("qr", {"face": "pc"}), ("redirect", {"face": "h5"}), ("app", {"face": "android"})]
        )
        deadline_at = self.clock.now() + self.chance.choice([1000, SECOND])
        choice = Choice("sandbox", method, client=client)
        await self.world.engine.pay(self.world.app_id, order.order_id, choice, None, deadline_at=deadline_at)

    async def payer(self) -> None:
        trades = list(self.simulator.books.trades)
        if not trades:
            return
        deed = self.chance.choice(["pay", "pay", "pay", "late", "begin", "stop", "decline"])
        payment_id, now = self.chance.choice(trades), self.clock.now()
        with contextlib.suppress(NotPayable):
            match deed:
                case "pay":
                    self.simulator.pay(payment_id, now)
                case "late":
                    self.simulator.pay(payment_id, now, even_if_over=True)
                case "begin":
                    self.simulator.begin_paying(payment_id, now)
                case "stop":
                    self.simulator.stop_paying(payment_id, now)
                case "decline":
                    self.simulator.decline(payment_id, now)

    async def open_app(self) -> None:
        """A payer hands an app order to the wallet, however old it is."""
        order = await self.world.stands(self._one())
        for payment in order.payments:
            if payment.method == "app" and payment.plan_json:
                arguments = Plan.from_json(payment.plan_json).steps[0].params["arguments"]
                with contextlib.suppress(NotPayable):
                    self.simulator.open_app(arguments["orderString"], self.clock.now())

    async def close(self) -> None:
        order_id, request = self._one().order_id, self.world.request()
        await self.world.engine.close_order(self.world.app_id, order_id, request, deadline_at=self._soon)

    async def refund(self) -> None:
        order = await self.world.stands(self._one())
        await self.world.refund(order, self.chance.randrange(1, order.amount_minor + 1))

    async def sync(self) -> None:
        await self.world.engine.sync_order(self.world.app_id, self._one().order_id, deadline_at=self._soon)

    async def trouble(self) -> None:
        match self.chance.randrange(4):
            case 0:
                self.wire.plan(self.chance.choice(WIRE_FAULTS))
            case 1:
                self.simulator.faults.plan(self.chance.choice(FAULTS))
            case 2:
                fault = self.chance.choice(NOTICE_FAULTS)
                self.simulator.faults.plan_notice(fault, delay=round(self.chance.choice([1, 60]) * SECOND))
            case 3:
                self.simulator.next_refunds(self.chance.choice(list(RefundEnd)))

    async def deliver(self) -> None:
        await self.postman.deliver()

    async def work(self) -> None:
        with self.store.write() as unit:
            taken = unit.claim_due(self.clock.now(), self.clock.now() + 30 * SECOND, 3)
        for due in taken:
            if self.chance.random() < 0.9:  # else the worker dies with the task in its hands
                await self.world.engine.verbs.do(due)

    async def wait(self) -> None:
        self.clock.advance(self.chance.choice(QUIET))

    @property
    def _soon(self) -> int:
        """A caller's deadline; nobody waits long for a worker that is dead."""
        return self.clock.now() + SECOND // 2

    def _one(self) -> Order:
        if not self.orders:
            raise Refused(Reason.ORDER_NOT_FOUND, "There is no order yet.")
        return self.chance.choice(self.orders)

    # ------------------------------------------------------------------------------------ the end

    async def calm(self) -> None:
        """The weather clears; time passes until nothing is left to do."""
        self.simulator.faults.clear()
        self.simulator.books.next_refund_ends.clear()
        self.wire.clear()
        for _ in range(400):
            self._let_go()
            await self.deliver()
            with self.store.write() as unit:
                taken = unit.claim_due(self.clock.now(), self.clock.now() + 30 * SECOND, 50)
            for due in taken:
                await self.world.engine.verbs.do(due)
            with self.store.read() as unit:
                next_at = unit.next_due_at(self.clock.now())
            due_at = [at for at in (next_at, self.simulator.next_due()) if at is not None]
            if not due_at:
                return
            self.clock.set(max(min(due_at), self.clock.now()))
        raise AssertionError("it never becomes calm")

    def _let_go(self) -> None:
        """Payers put their phones away, and what the channel was slow about is done."""
        now = self.clock.now()
        for payment_id in list(self.simulator.books.trades):
            self.simulator.stop_paying(payment_id, now)
        for refund in list(self.simulator.books.refunds.values()):
            if refund.state == "PROCESSING" and refund.ends_at is None:
                self.simulator.end_refund(refund.out_refund_no, RefundEnd.SUCCESS, now)


@pytest.fixture
def memory() -> Iterator[Store]:
    """SQLite in memory: a storm tries the rules, not the disk."""
    opened = Store.open("sqlite://")
    opened.migrate()
    yield opened
    opened.close()


@pytest.mark.parametrize("seed", range(8))
async def test_after_every_storm_the_books_agree(memory: Store, seed: int) -> None:
    storm = Storm(memory, seed)
    await storm.begin()
    for _ in range(120):
        await storm.step()
    await storm.calm()
    books = storm.simulator.books
    for told in storm.orders:
        order = await storm.world.stands(told)
        _is_sound(order)
        for payment in order.payments:
            trade = books.trades.get(payment.payment_id)
            taken = trade.taken_minor if trade is not None else 0
            assert (payment.captured_minor > 0) == (taken > 0), (seed, payment.payment_id, "money that nobody knows of")
        for refund in order.refunds:
            theirs = books.refunds.get(refund.refund_id)
            went_back = theirs is not None and theirs.state == "SUCCESS"
            assert (refund.state is RefundState.SUCCEEDED) == went_back, (seed, refund.refund_id)
    _channel_refunded_nothing_unknown(storm, [await storm.world.stands(order) for order in storm.orders])


def _is_sound(order: Order) -> None:
    """What must be so of any order when nothing is left to do."""
    effective = [payment for payment in order.payments if payment.is_effective]
    assert (order.state is OrderState.PAID) == (len(effective) == 1)
    assert order.state in (OrderState.PAID, OrderState.CLOSED)
    open_anomalies = {anomaly.payment_id for anomaly in order.anomalies if anomaly.is_open}
    for payment in order.payments:
        assert not payment.is_open
        assert payment.task is None
        assert 0 <= payment.refunded_minor <= payment.captured_minor
        surplus = payment.state is PaymentState.SUCCEEDED and not payment.is_effective and payment.balance_minor > 0
        assert not surplus or payment.payment_id in open_anomalies, "surplus money that nobody looks at"
        was_tried = any(refund.origin is RefundOrigin.POLICY for refund in order.refunds_of(payment.payment_id))
        assert not surplus or was_tried, "surplus money that was not given back by itself"
    for refund in order.refunds:
        assert refund.task is None
        assert not refund.is_reserving or refund.state is RefundState.ABNORMAL


def _channel_refunded_nothing_unknown(storm: Storm, orders: list[Order]) -> None:
    known = {refund.refund_id for order in orders for refund in order.refunds}
    assert {one.out_refund_no for one in storm.simulator.books.refunds.values()} <= known
