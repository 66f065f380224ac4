"""Payers pay. They look at a phone, not at our answers: an attempt can be paid although the answer that made it was lost."""

import asyncio

from google.protobuf.message import Message

from paycore.testing.simulation.counterpart import NotPossible
from paycore.testing.simulation.people import Matter, Person
from paycore.testing.simulation.rows import PaymentRow
from paycore.testing.simulation.timing import SECOND, true_now

LOOK_SECONDS = 30.0
"""How often a phone that was put away is thought of. When the weather is calm everybody hurries to an end."""


class Phones(Person):
    """Who pays, declines, or pays what is long over."""

    def __init__(self, matter: Matter) -> None:
        super().__init__(matter)
        self.held: list[tuple[int, Message]] = []
        """The evidence that phones will hand in some time, and when."""

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
        await self.start_again()

    async def pay_late(self) -> None:
        """Somebody whose money was under way when everybody else thought that the order was settled."""
        while not self.world.weather.is_calm:
            await self.pause(20)
            order = self.world.ledger.rows.orders[self.order_id]
            if order.state in ("PAID", "CLOSED"):
                break
        await self.pause(30)
        for payment in self.world.payments_of(self.order_id)[: self.dice.choice([1, 1, 2])]:
            if self.world.weather.is_calm or not self.street.knows(payment):
                return
            try:
                with self.world.channel.happening():
                    self.pay(payment, even_if_over=True)
            except NotPossible:
                continue

    def act(self, payment: PaymentRow) -> None:
        """Do something with one attempt, if the channel lets us."""
        plan, street = self.world.plan_of(payment.payment_id), self.street
        try:
            with self.world.channel.happening():
                if self.world.counterpart.truth.sets_price(payment):
                    self.buy(payment, plan)
                    return
                street.enter(payment, plan)
                match self.dice.choice(["pay", "pay", "pay", "pay", "begin", "decline", "stop"]):
                    case "pay":
                        self.pay(payment)
                    case "begin":
                        street.begin_paying(payment)
                    case "decline":
                        street.decline(payment)
                    case _:
                        street.stop_paying(payment)
        except NotPossible:
            return

    def pay(self, payment: PaymentRow, *, even_if_over: bool = False) -> None:
        options, weather, street = self.world.options, self.world.weather, self.street
        amount_minor = street.asked_minor(payment)
        if weather.strikes("payer: another amount", options.pays_other_amounts):
            amount_minor = max(amount_minor + self.dice.choice([-1, 1, 500]), 1)
        is_elsewhere = weather.strikes("payer: another merchant", options.pays_other_merchants)
        even_if_over = even_if_over or self.dice.random() < options.pays_when_over
        if street.is_over(payment):
            weather.count("payer: pays what is over")
        street.pay(payment, amount_minor=amount_minor, is_elsewhere=is_elsewhere, even_if_over=even_if_over)
        self.world.loop.note(f"somebody paid {payment.payment_id}")

    def buy(self, payment: PaymentRow, plan: str) -> None:
        """Buy in the store, and let the app hand in the receipt, or not."""
        amount_minor = self.dice.randrange(100, 1000)
        receipt = self.street.buy(payment, self.matter.product, plan, amount_minor=amount_minor)
        self.world.loop.note(f"somebody bought for {payment.payment_id}")
        for after in self.street.hands_in_after(self.dice):
            proof = self.world.requests.proof(payment.payment_id, receipt)
            if after:
                self.held.append((true_now() + round(after * SECOND), proof))
            else:
                self.world.begin(self.try_to(self.shop, "ConfirmPayment", proof))

    async def start_again(self) -> None:
        """Phones that were put away are started again, and come with what was bought on them."""
        for at, proof in self.held:
            while true_now() < at and not self.world.weather.is_calm:  # noqa: ASYNC110 - in virtual time nobody polls
                await asyncio.sleep(min((at - true_now()) / SECOND, LOOK_SECONDS))
            await self.try_to(self.shop, "ConfirmPayment", proof)
