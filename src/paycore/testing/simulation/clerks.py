"""Clerks: ask how it stands, refund twice at once and more than there is, close, decide what nobody else can."""

import asyncio

from paycore.testing.simulation.people import Person
from paycore.testing.simulation.requests import REMEDIES
from paycore.v1 import order_pb2, refund_pb2


class Clerks(Person):
    """Who works for the shop, or in the channel's console."""

    async def work(self) -> None:
        """Ask how it stands, refund twice at once and more than there is, look at what went wrong."""
        for _ in range(self.dice.choice([1, 2, 3, 4])):
            await self.pause(40)
            match self.dice.choice(
                ["sync", "refund", "refund", "refund", "console", "bounce", "bounce", "remedy", "retry"]
            ):
                case "sync":
                    await self.try_to(self.shop, "SyncOrder", order_pb2.SyncOrderRequest(order_id=self.order_id))
                case "refund":
                    await asyncio.gather(*(self.refund() for _ in range(self.dice.choice([1, 2, 3]))))
                case "console":
                    self.refund_in_console()
                case "bounce":
                    self.bounce()
                case "remedy":
                    await self.remedy()
                case "retry":
                    await self.retry()

    async def close(self) -> None:
        await self.pause(120)
        await self.try_to(self.shop, "CloseOrder", self.world.requests.close(self.order_id))

    async def refund(self) -> None:
        amount_minor = round(self.matter.order.amount.amount_minor * self.dice.choice([0.3, 0.6, 1.0])) or 1
        request = self.world.requests.refund(self.order_id, amount_minor)
        answer = None
        for _ in range(self.dice.choice([1, 1, 2])):  # who is not sure asks again
            answer = await self.try_to(self.shop, "CreateRefund", request)
            if answer is None:
                return
            self.world.promises.same_object("CreateRefund", request.request_id, answer.refund.refund_id)
        if answer is not None and self.dice.random() < 0.3:
            sync = refund_pb2.SyncRefundRequest(refund_id=answer.refund.refund_id)
            await self.try_to(self.shop, "SyncRefund", sync)
        if self.dice.random() < 0.25:
            await self.pause(15)
            self.bounce()

    def refund_in_console(self) -> None:
        """Somebody at the merchant refunds past us. Only a notice tells of it once the payment has succeeded."""
        if not self.hears_everything():
            return
        for payment in self.world.payments_of(self.order_id):
            left = self.street.left_minor(payment)
            if left > 0:
                with self.world.channel.happening():
                    self.street.refund_in_console(payment, self.dice.randrange(1, left + 1))
                return

    def hears_everything(self) -> bool:
        """Whether what only a notice tells will be told, sooner or later."""
        options = self.world.options
        return options.notice_loss < 1 and not options.forged_notices and not self.world.weather.is_calm

    def bounce(self) -> None:
        """A refund that was done comes back, and somebody says so."""
        if not self.hears_everything():
            return
        number = self.street.may_bounce(self.world.payments_of(self.order_id))
        if number:
            with self.world.channel.happening():
                self.street.bounce(number)
            self.world.loop.note(f"refund {number} bounced")

    async def remedy(self) -> None:
        """A person decides about something that is open."""
        mine = [one for one in self.world.ledger.rows.anomalies if one.is_open and one.order_id == self.order_id]
        if mine:
            request = self.world.requests.remedy(
                self.dice.choice(mine).anomaly_id, self.order_id, self.dice.choice(REMEDIES)
            )
            await self.try_to(self.shop, "ResolveAnomaly", request)

    async def retry(self) -> None:
        mine = [one for one in self.world.ledger.rows.refunds.values() if one.order_id == self.order_id]
        if mine:
            refund = self.dice.choice(mine)
            await self.try_to(self.shop, "RetryRefund", self.world.requests.retry(refund.refund_id))
