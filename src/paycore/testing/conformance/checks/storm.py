"""A small storm through the real engine: lost, doubled, late and garbled, in an order that a seed decides; in the end the books agree."""

from __future__ import annotations

import asyncio
import contextlib
import random

from paycore.channel import ChannelVerb
from paycore.core.order import Order, OrderState, Payment, PaymentState, RefundState
from paycore.core.refusals import Reason, Refused
from paycore.testing.conformance.case import Case
from paycore.testing.conformance.house import APP, SOON, House, house
from paycore.testing.conformance.stand import SECOND, Stand, raw_notice
from paycore.testing.wires import WireFault

SEEDS = 4
STEPS = 70
MOST_ORDERS = 5
LULLS = (0.0, 1.0, 5.0, 40.0, 300.0)
FAULTS = (WireFault.REFUSED, WireFault.LOST, WireFault.UNANSWERED, WireFault.GARBLED)


class Storms:
    """Whole lives under bad weather."""

    def test_after_every_storm_the_books_agree(self, stand: Stand) -> None:
        if stand.main_method is None or not stand.has(ChannelVerb.QUERY):
            return
        for seed in range(SEEDS):
            asyncio.run(storm(stand.case, seed))


async def storm(case: Case, seed: int) -> None:
    """Live through one more storm than the kit's own, and judge it. A plugin may ask for as many as it likes.

    Only for channels that have a method whose price is the order's, and a query.
    """
    stand = Stand(case)
    async with house(case, seed) as at:
        story = Storm(stand, at, seed)
        for _ in range(STEPS):
            with contextlib.suppress(Refused):
                await story.step()
        await story.calm()
        await story.judge()


class Storm:
    """One seed's story."""

    def __init__(self, stand: Stand, at: House, seed: int) -> None:
        self.stand = stand
        self.at = at
        self.seed = seed
        self.chance = random.Random(seed)  # noqa: S311 - a story that can be read again
        self.orders: list[Order] = []
        self.methods = [
            method for method in stand.exact_methods if not method.may_pay_at_prepare
        ] or stand.exact_methods

    async def step(self) -> None:
        deeds = [
            (self.order, 3),
            (self.pay, 6),
            (self.payer, 8),
            (self.close, 1),
            (self.refund, 3),
            (self.sync, 1),
            (self.trouble, 4),
            (self.deliver, 6),
            (self.work, 8),
            (self.wait, 5),
        ]
        [deed] = self.chance.choices([deed for deed, _ in deeds], [weight for _, weight in deeds])
        await deed()

    # ------------------------------------------------------------------------------------ what may happen

    async def order(self) -> None:
        if len(self.orders) < MOST_ORDERS:
            method = self.chance.choice(self.methods)
            currency = self.stand.currency_of(method)
            usual = self.stand.usual_minor(method, currency)
            least = method.limits[currency].least_minor
            self.orders.append(await self.at.order(self.chance.randrange(least, usual + 1), currency))

    async def pay(self) -> None:
        await self.at.pay(self._one(), self.chance.choice(self.methods).name)

    async def payer(self) -> None:
        """A payer opens what the device was given, however old it is, and pays, or does not."""
        payments = [payment for order in self.orders for payment in (await self.at.stands(order)).payments]
        if not payments:
            return
        payment, now = self.chance.choice(payments), self.at.clock.now()
        with contextlib.suppress(ValueError, LookupError):
            if payment.plan_json:
                self.at.simulator.accept(payment.plan_json, now)
            deed = self.chance.random()
            if deed < 0.7:
                self.at.simulator.pay(payment.payment_id, now)
            elif deed < 0.8:
                self.at.simulator.decline(payment.payment_id, now)

    async def close(self) -> None:
        deadline_at = self.at.clock.now() + SOON
        request = self.at.request("CloseOrder")
        await self.at.engine.close_order(APP, self._one().order_id, request, deadline_at=deadline_at)

    async def refund(self) -> None:
        order = await self.at.stands(self._one())
        part = (
            order.amount_minor if not self.stand.kind.partial_refunds else self.chance.randrange(order.amount_minor) + 1
        )
        await self.at.refund(order, part)

    async def sync(self) -> None:
        await self.at.engine.sync_order(APP, self._one().order_id, deadline_at=self.at.clock.now() + SOON)

    async def trouble(self) -> None:
        self.at.wire.plan(self.chance.choice(FAULTS))

    async def deliver(self) -> None:
        """Notices arrive; some are lost, some come twice, some answers never reach the channel."""
        for notice in self.at.simulator.due(self.at.clock.now()):
            fate, raw = self.chance.random(), raw_notice(notice.request)
            if fate < 0.2:
                continue
            reply = await self.at.engine.deliver_notice(self.at.account.account_id, raw)
            if fate < 0.4:
                await self.at.deliver(raw)
            elif fate < 0.5:
                continue
            self.at.simulator.answered(notice.key, reply, self.at.clock.now())

    async def work(self) -> None:
        with self.at.store.write() as unit:
            taken = unit.claim_due(self.at.clock.now(), self.at.clock.now() + 30 * SECOND, 3)
        for due in taken:
            if self.chance.random() < 0.9:  # else the worker dies with the task in its hands
                await self.at.engine.verbs.do(due)

    async def wait(self) -> None:
        self.at.clock.advance(self.chance.choice(LULLS))

    def _one(self) -> Order:
        if not self.orders:
            raise Refused(Reason.ORDER_NOT_FOUND, "There is no order yet.")
        return self.chance.choice(self.orders)

    # ------------------------------------------------------------------------------------ the end

    async def calm(self) -> None:
        """The weather clears; time passes until nothing is left to do."""
        self.at.wire.clear()
        for _ in range(600):
            now = self.at.clock.now()
            for notice in self.at.simulator.due(now):
                reply = await self.at.engine.deliver_notice(self.at.account.account_id, raw_notice(notice.request))
                self.at.simulator.answered(notice.key, reply, now)
            await self.at.work()
            with self.at.store.read() as unit:
                next_at = unit.next_due_at(now)
            due_at = [at for at in (next_at, self.at.simulator.next_due()) if at is not None]
            if not due_at:
                return
            self.at.clock.set(max(min(due_at), now + SECOND // 100))
        raise AssertionError(f"seed {self.seed}: it never becomes calm")

    async def judge(self) -> None:
        """What we believe is what the channel's books have, for every payment and every refund."""
        for told in self.orders:
            order = await self.at.stands(told)
            where = f"seed {self.seed}, order {order.order_id}"
            effective = [payment for payment in order.payments if payment.is_effective]
            assert order.state in (OrderState.PAID, OrderState.CLOSED), f"{where} is {order.state}"
            assert (order.state is OrderState.PAID) == (len(effective) == 1), where
            for payment in order.payments:
                self._judge_payment(order, payment, f"{where}, payment {payment.payment_id}")

    def _judge_payment(self, order: Order, payment: Payment, where: str) -> None:
        trade = self.at.simulator.trade(payment.payment_id)
        taken = trade.paid_minor if trade is not None else 0
        assert payment.task is None, f"{where} still has something to do"
        assert payment.captured_minor == taken, (
            f"{where}: we believe {payment.captured_minor}, the channel took {taken}"
        )
        assert (payment.state is PaymentState.SUCCEEDED) == (taken > 0), f"{where} is {payment.state}"
        theirs = self.at.simulator.refunds(payment.payment_id)
        for refund in order.refunds_of(payment.payment_id):
            went_back = refund.refund_id in theirs
            assert refund.task is None, f"{where}, refund {refund.refund_id} still has something to do"
            assert (refund.state is RefundState.SUCCEEDED) == went_back, (
                f"{where}, refund {refund.refund_id}: {refund.state}"
            )
        ours = {refund.refund_id for refund in order.refunds}
        assert set(theirs) <= ours, f"{where}: the channel gave back what we did not ask for"
