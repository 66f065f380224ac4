"""Payers pay. They look at a phone, not at our answers: an attempt can be paid although the answer that made it was lost."""

import asyncio

from paycore.testing.simulation.people import Person
from paycore.testing.simulation.rows import PaymentRow
from paycore.testing.simulation.timing import SECOND, true_now
from paycore.v1 import cashier_pb2
from paycore_bridge import Plan
from paycore_sandbox.simulator import NotPayable


class Phones(Person):
    """Who pays, declines, or pays what is long over."""

    async def pay_some(self) -> None:
        """Somebody with a phone pays, or declines, or pays what is long over."""
        options = self.world.options
        for _ in range(self.dice.choice([0, 1, 1, 2, 3])):
            if options.pays_at_the_edge and not self.world.weather.is_calm:
                due = (
                    self.matter.order.expire_time.ToMicroseconds()
                    - true_now()
                    + round(self.dice.uniform(-10, 10) * SECOND)
                )
                await asyncio.sleep(max(due, 0) / SECOND)
            else:
                await self.pause(60)
            payments = self.world.payments_of(self.order_id)
            if payments and not self.world.weather.is_calm:
                chosen = payments if options.pays_in_bursts else [self.dice.choice(payments)]
                for payment in chosen:
                    self.act(payment)

    async def pay_late(self) -> None:
        """Somebody whose money was under way when everybody else thought that the order was settled."""
        while not self.world.weather.is_calm:
            await self.pause(20)
            order = self.world.ledger.rows.orders[self.order_id]
            if order.state in ("PAID", "CLOSED"):
                break
        await self.pause(30)
        for payment in self.world.payments_of(self.order_id)[: self.dice.choice([1, 1, 2])]:
            if self.world.weather.is_calm or payment.payment_id not in self.world.channel.books.trades:
                return
            try:
                with self.world.channel.happening():
                    self.pay(payment.payment_id, even_if_over=True)
            except NotPayable:
                continue

    def act(self, payment: PaymentRow) -> None:
        """Do something with one attempt, if the channel lets us."""
        world, now = self.world, true_now()
        try:
            with world.channel.happening():
                if payment.method == "store":
                    self.buy(payment)
                    return
                if payment.method == "app":
                    self.open_app(payment)
                match self.dice.choice(["pay", "pay", "pay", "pay", "begin", "decline", "stop"]):
                    case "pay":
                        self.pay(payment.payment_id)
                    case "begin":
                        world.channel.simulator.begin_paying(payment.payment_id, now)
                    case "decline":
                        world.channel.simulator.decline(payment.payment_id, now)
                    case _:
                        world.channel.simulator.stop_paying(payment.payment_id, now)
        except (NotPayable, LookupError):
            return

    def pay(self, payment_id: str, *, even_if_over: bool = False) -> None:
        options, weather = self.world.options, self.world.weather
        trade = self.world.channel.books.trades[payment_id]
        amount_minor = trade.amount_minor
        if weather.strikes("payer: another amount", options.pays_other_amounts):
            amount_minor = max(amount_minor + self.dice.choice([-1, 1, 500]), 1)
        other = "OTHER" if weather.strikes("payer: another merchant", options.pays_other_merchants) else ""
        even_if_over = even_if_over or self.dice.random() < options.pays_when_over
        if trade.state in ("CLOSED", "DECLINED"):
            weather.count("payer: pays what is over")
        self.world.channel.simulator.pay(
            payment_id, true_now(), amount_minor=amount_minor, paid_to=other, even_if_over=even_if_over
        )
        self.world.loop.note(f"somebody paid {payment_id}")

    def open_app(self, payment: PaymentRow) -> None:
        """Hand the order to the wallet, however old it is."""
        plan = self.world.plan_of(payment.payment_id)
        if plan:
            arguments = Plan.from_json(plan).steps[0].params["arguments"]
            self.world.channel.simulator.open_app(arguments["orderString"], true_now())

    def buy(self, payment: PaymentRow) -> None:
        """Buy in the store, and let the app hand in the receipt, or not."""
        receipt = self.world.channel.simulator.buy(
            self.matter.product, payment.token, true_now(), amount_minor=self.dice.randrange(100, 1000)
        )
        self.world.loop.note(f"somebody bought for {payment.payment_id}")
        if self.dice.random() < 0.7:
            request = cashier_pb2.ConfirmPaymentRequest(
                channel="sandbox",
                evidence=receipt,
                payment_id=payment.payment_id,
                request_id=self.world.requests.fresh("confirm"),
            )
            self.world.begin(self.try_to(self.shop, "ConfirmPayment", request))
