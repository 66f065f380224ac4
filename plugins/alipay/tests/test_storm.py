"""Storms at Alipay: payers, consoles, networks and a gateway that do their worst; in the end both books say the same.

Everything runs inline, without a thread and without a pause, so that a seed is a story that can be read again.
ALIPAY_STORMS=500 runs so many of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest

from paycore.core.order import Order, OrderState, PaymentState, RefundOrigin, RefundState
from paycore.core.refusals import Reason, Refused
from paycore.engine.cashier import Choice
from paycore.engine.host import Host
from paycore.engine.workshop import InlineWorkshop
from paycore.store import Store
from paycore.testing.wires import WireFault
from paycore_alipay import ALIPAY
from paycore_alipay.simulator import (
    AlipaySimulator,
    CodeAnswer,
    Fault,
    KeyRing,
    NoticeFault,
    NotPayable,
    Payer,
    Phone,
    RefundEnd,
)

from .shop import APP, Shop
from .support import BUYER, SECOND

T = TypeVar("T")
RING = KeyRing()
SEEDS = int(os.environ.get("ALIPAY_STORMS", "20"))
QUIET = [0.0, 0.5, 1.0, 3.0, 10.0, 40.0]
NOTICE_FAULTS = [NoticeFault.LOST, NoticeFault.DUPLICATE, NoticeFault.LATE, NoticeFault.FORGED]
WIRE_FAULTS = [WireFault.REFUSED, WireFault.LOST, WireFault.UNANSWERED, WireFault.GARBLED]
METHODS = ["app", "wap", "page", "qr", "qr", "jsapi", "barcode"]


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
    codes: int = 0

    async def begin(self) -> None:
        self.chance = random.Random(self.seed)
        self.simulator = AlipaySimulator(f"storm {self.seed}", ring=RING)
        more: dict[str, Any] = {"host": Host([ALIPAY], workshop=InlineWorkshop()), "run": inline}
        self.shop = await Shop(self.store, simulator=self.simulator, more=more).open()
        self.clock = self.shop.clock

    async def step(self) -> None:
        deeds = [
            (self.order, 3),
            (self.pay, 6),
            (self.payer, 6),
            (self.device, 6),
            (self.console, 2),
            (self.close, 1),
            (self.refund, 3),
            (self.sync, 1),
            (self.trouble, 5),
            (self.shop.notices, 6),
            (self.work, 8),
            (self.wait, 6),
        ]
        [deed] = self.chance.choices([deed for deed, _ in deeds], [weight for _, weight in deeds])
        with contextlib.suppress(Refused):
            await deed()

    # ------------------------------------------------------------------------------------ what may happen

    async def order(self) -> None:
        if len(self.orders) < 6:
            self.orders.append(await self.shop.order(self.chance.randrange(100, 100_000)))

    async def pay(self) -> None:
        order, method = self._one(), self.chance.choice(METHODS)
        self.codes += 1
        if method == "barcode" and self.chance.random() < 0.4:
            self.simulator.next_codes.append(self.chance.choice(list(CodeAnswer)))
        inputs = {"jsapi": {"buyer_open_id": BUYER}, "barcode": {"auth_code": f"28{self.codes:016d}"}}
        choice = Choice("alipay", method, inputs=inputs.get(method, {}))
        deadline_at = self.clock.now() + self.chance.choice([1000, SECOND])
        await self.shop.engine.pay(APP, order.order_id, choice, None, deadline_at=deadline_at)

    async def payer(self) -> None:
        trades = list(self.simulator.books.trades)
        if trades:
            with contextlib.suppress(NotPayable):
                payment_id = self.chance.choice(trades)
                self.simulator.pay(payment_id, self.clock.now(), even_if_over=self.chance.random() < 0.2)

    async def device(self) -> None:
        """A payer runs a plan, however old it is."""
        order = await self.shop.stands(self._one())
        for payment in order.payments:
            if payment.plan_json and payment.method != "barcode":
                Phone(self.simulator).run(payment.plan_json, self.clock.now(), self.chance.choice(list(Payer)))

    async def console(self) -> None:
        """Somebody refunds in Alipay's console."""
        paid = [trade for trade in self.simulator.books.trades.values() if trade.status == "TRADE_SUCCESS"]
        if paid:
            trade = self.chance.choice(paid)
            left = trade.taken_minor - trade.promised_minor
            if left > 0:
                amount = self.chance.choice([left, self.chance.randrange(1, left + 1)])
                self.simulator.refund_in_console(trade.out_trade_no, self.clock.now(), amount_minor=amount)

    async def close(self) -> None:
        await self.shop.engine.close_order(APP, self._one().order_id, None, deadline_at=self._soon)

    async def refund(self) -> None:
        order = await self.shop.stands(self._one())
        await self.shop.refund(order, self.chance.randrange(1, order.amount_minor + 1))

    async def sync(self) -> None:
        await self.shop.engine.sync_order(APP, self._one().order_id, deadline_at=self._soon)

    async def trouble(self) -> None:
        match self.chance.randrange(4):
            case 0:
                self.shop.wire.plan(self.chance.choice(WIRE_FAULTS))
            case 1:
                self.simulator.faults.plan(self.chance.choice(list(Fault)))
            case 2:
                fault, delay = self.chance.choice(NOTICE_FAULTS), round(self.chance.choice([1, 60]) * SECOND)
                self.simulator.faults.plan_notice(fault, self._may_meet(fault), delay=delay)
            case 3:
                self.simulator.next_refunds(self.chance.choice(list(RefundEnd)))

    def _may_meet(self, fault: NoticeFault) -> str:
        """A refund of the console whose every notice is lost shows in no answer either: that is for the bill to tell."""
        is_lost = fault in (NoticeFault.LOST, NoticeFault.FORGED)
        return self.chance.choice(["paid", "closed"]) if is_lost else "*"

    async def work(self) -> None:
        with self.store.write() as unit:
            taken = unit.claim_due(self.clock.now(), self.clock.now() + 30 * SECOND, 3)
        for due in taken:
            if self.chance.random() < 0.9:  # else the worker dies with the task in its hands
                await self.shop.engine.verbs.do(due)

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
        self.simulator.next_codes.clear()
        self.shop.wire.clear()
        for trade in self.simulator.books.trades.values():
            for refund in trade.refunds:
                if refund.refunded_at is None and not refund.is_given_up:
                    self.simulator.end_refund(refund.out_request_no, RefundEnd.SUCCESS, self.clock.now())
        await self.shop.work(until=self.clock.now() + 10**15, limit=2000)


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_after_every_storm_both_books_say_the_same(seed: int) -> None:
    store = Store.open("sqlite://")
    store.migrate()
    storm = Storm(store, seed)
    await storm.begin()
    for _ in range(120):
        await storm.step()
    await storm.calm()
    for told in storm.orders:
        order = await storm.shop.stands(told)
        is_sound(order)
        for payment in order.payments:
            trade = storm.simulator.books.trades.get(payment.payment_id)
            taken, returned = (trade.taken_minor, trade.returned_minor) if trade is not None else (0, 0)
            if payment.state is PaymentState.SUCCEEDED or trade is None or returned < taken:
                assert (payment.captured_minor, payment.refunded_minor) == (taken, returned), payment.payment_id
        ours = {one.refund_id: one for one in order.refunds if one.origin is not RefundOrigin.CHANNEL}
        for refund in ours.values():
            theirs = storm.simulator.books.trades[refund.payment_id].refund(refund.refund_id)
            went_back = theirs is not None and theirs.refunded_at is not None
            assert (refund.state is RefundState.SUCCEEDED) == went_back, refund.refund_id
    store.close()


def is_sound(order: Order) -> None:
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
    for refund in order.refunds:
        assert refund.task is None
        assert not refund.is_reserving or refund.state is RefundState.ABNORMAL
