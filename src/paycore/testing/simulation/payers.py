"""Payers choose: a way to pay, another one, the same twice at once, through the shop's page or through a cashier."""

import asyncio
from typing import Any

from paycore.testing.simulation.calling import Caller, Refusal
from paycore.testing.simulation.people import Person
from paycore.testing.simulation.watchers import Watcher
from paycore.v1 import cashier_pb2


class Payers(Person):
    """Who is to pay, before anything is paid."""

    async def choose_some(self) -> None:
        """Choose a way to pay, now and then another one, now and then twice at once."""
        for _ in range(self.dice.choice([1, 2, 2, 3])):
            await self.pause(20)
            method = self.street.method(self.dice, self.matter.product)
            clicks = self.dice.choice([1, 1, 1, 2])
            same = self.world.requests.payment(self.order_id, method)
            asked = [
                same if self.dice.random() < 0.5 else self.world.requests.payment(self.order_id, method)
                for _ in range(clicks)
            ]
            await asyncio.gather(*(self.choose(self.shop, "PayOrder", request) for request in asked))

    async def choose(self, caller: Caller, rpc: str, request: Any) -> None:
        """Begin a payment. In the way of another one: ask again a few times, then let it be."""
        for _ in range(3):
            try:
                answer = await caller.insist(rpc, request)
            except Refusal as refusal:
                if refusal.reason != "PAYMENT_IN_PROGRESS":
                    return
                await self.pause(4)
                continue
            self.world.promises.same_object(rpc, request.request_id, answer.payment.payment_id)
            return

    async def use_the_cashier(self) -> None:
        """Pay through a cashier session, watch it, and report what the phone says."""
        try:
            made = await self.shop.insist("CreateCashierSession", self.world.requests.session(self.order_id))
        except Refusal:
            return
        session = self.world.caller(made.session_token)
        watcher = Watcher(self.world, self.order_id, session=(made.session.session_id, session))
        self.world.watchers.append(watcher)
        self.world.begin(watcher.watch())
        await self.pause(10)
        method = self.street.method(self.dice, "")
        request = self.world.requests.submission(made.session.session_id, self.order_id, method)
        await self.choose(session, "SubmitPayment", request)
        for payment in self.world.payments_of(self.order_id)[:1]:
            outcome = self.dice.choice([number for number in cashier_pb2.ClientOutcome.values() if number])
            report = cashier_pb2.ReportClientResultRequest(payment_id=payment.payment_id, outcome=outcome)
            await self.try_to(session, "ReportClientResult", report)
