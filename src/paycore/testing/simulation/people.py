"""Those who ask. Everybody around one order shares its dice, and asks again with the same request when no answer comes."""

import asyncio
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from paycore.testing.simulation.calling import Broken, Caller, Refusal
from paycore.testing.simulation.counterpart import Street

if TYPE_CHECKING:
    from paycore.testing.simulation.world import World


@dataclass(slots=True)
class Matter:
    """One order, and what everybody around it shares."""

    world: "World"
    number: int
    dice: random.Random
    order: Any = None
    product: str = ""
    """The product in the store, for an order that can be paid there."""


class Person:
    """Somebody around an order."""

    def __init__(self, matter: Matter) -> None:
        self.matter = matter
        self.world = matter.world
        self.dice = matter.dice

    @property
    def order_id(self) -> str:
        return str(self.matter.order.order_id)

    @property
    def shop(self) -> Caller:
        return self.world.shop

    @property
    def street(self) -> Street:
        return self.world.counterpart.street

    async def pause(self, seconds: float) -> None:
        """Some time passes; less when the weather is calm, and everybody hurries to an end."""
        most = 1.0 if self.world.weather.is_calm else seconds
        await asyncio.sleep(self.dice.uniform(0, most))

    async def try_to(self, caller: Caller, rpc: str, request: Any) -> Any:
        """The response; None where it is refused."""
        try:
            return await caller.insist(rpc, request)
        except (Refusal, Broken):
            return None
