"""The shop: makes the order, sometimes by the same call twice at once, sometimes again with another content."""

import asyncio

from paycore.testing.simulation.calling import Refusal
from paycore.testing.simulation.people import Person
from paycore.testing.simulation.requests import POLICIES
from paycore.testing.simulation.timing import SECOND, true_now
from paycore.v1 import order_pb2

CHANGED = "the same request with another content"


class Shop(Person):
    """Who wants to be paid."""

    async def create(self) -> None:
        """Make the order; sometimes the same call goes out twice at once, sometimes again with another content."""
        amount_minor, world = self.dice.randrange(100, 100_000), self.world
        self.matter.product = self.street.product(self.dice, self.matter.number)
        policy, request = self.dice.choice(POLICIES), None
        while self.matter.order is None:
            request = world.requests.order(
                amount_minor, expires_at=self.wanted_expiry(), policy=policy, product=self.matter.product
            )
            calls = [self.try_to(self.shop, "CreateOrder", request) for _ in range(self.dice.choice([1, 1, 2]))]
            for answer in await asyncio.gather(*calls):
                if answer is not None:  # else it took so long to arrive that its expiry came too near
                    world.promises.same_object("CreateOrder", request.request_id, answer.order.order_id)
                    self.matter.order = answer.order
        if request is not None and self.dice.random() < 0.2:
            await self.ask_differently(request)

    async def ask_differently(self, request: order_pb2.CreateOrderRequest) -> None:
        """The same request_id with another content is refused, and nothing comes of it."""
        other = order_pb2.CreateOrderRequest()
        other.CopyFrom(request)
        other.subject = "two cups of tea"
        try:
            await self.shop.insist("CreateOrder", other)
        except Refusal:
            return
        self.world.violated("idempotent", f"CreateOrder {request.request_id}: {CHANGED} was answered with OK")

    def wanted_expiry(self) -> int:
        options = self.world.options
        return true_now() + round((options.expiry_seconds + options.skew_seconds + 30) * SECOND)
