"""The life of one order, with everybody around it."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from paycore.testing.simulation.clerks import Clerks
from paycore.testing.simulation.payers import Payers
from paycore.testing.simulation.people import Matter
from paycore.testing.simulation.phones import Phones
from paycore.testing.simulation.shop import Shop
from paycore.testing.simulation.watchers import Watcher


async def live(matter: Matter) -> None:
    """From the order's birth until nobody wants anything of it any more."""
    shop, payers, phones, clerks = Shop(matter), Payers(matter), Phones(matter), Clerks(matter)
    world, dice = matter.world, matter.dice
    await shop.pause(5)
    await shop.create()
    crowd: list[Coroutine[Any, Any, None]] = [payers.choose_some(), phones.pay_some(), clerks.work()]
    if dice.random() < 0.6:
        world.watchers.append(watcher := Watcher(world, shop.order_id))
        world.begin(watcher.watch())
    if dice.random() < 0.3:
        crowd.append(clerks.close())
    if dice.random() < 0.3:
        crowd.append(payers.use_the_cashier())
    if dice.random() < world.options.pays_when_over:
        crowd.append(phones.pay_late())
    await asyncio.gather(*crowd)
