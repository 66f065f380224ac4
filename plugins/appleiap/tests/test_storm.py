"""Storms: phones that forget, notices that are lost, doubled and late, Apple giving back and taking back. The books agree in the end.

APPLEIAP_STORMS=500 runs so many of them.
"""

from __future__ import annotations

import contextlib
import os
import random
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from paycore.core.order import Order, OrderState, Payment, RefundState
from paycore.core.refusals import Refused
from paycore.store import Store
from paycore_appleiap.simulator import NoticeFault, Sale

from .support import DAY, SECOND
from .world import Shop

SEEDS = int(os.environ.get("APPLEIAP_STORMS", "20"))
STEPS = 25
TROUBLE = (NoticeFault.LOST, NoticeFault.DUPLICATE, NoticeFault.FORGED)


@dataclass
class Weather:
    """One seed's orders, phones and accidents."""

    shop: Shop
    chance: random.Random
    begun: list[tuple[Order, Payment]] = field(default_factory=list)
    sales: dict[str, Sale] = field(default_factory=dict)
    reversed_: set[str] = field(default_factory=set)

    async def step(self) -> None:
        deed = self.chance.choice(
            [self.begin, self.buy, self.confirm, self.give_back, self.take_back, self.talk, self.wait]
        )
        with contextlib.suppress(Refused):
            await deed()

    async def begin(self) -> None:
        order = await self.shop.order()
        self.begun.append((order, await self.shop.pay(order)))

    async def buy(self) -> None:
        unsold = [payment for _, payment in self.begun if payment.token not in self.sales]
        if unsold:
            payment = self.chance.choice(unsold)
            sale = self.shop.simulator.buy(payment.plan_json, self.shop.clock.now(), amount_minor=600)
            self.sales[payment.token] = sale
            if self.chance.random() < 0.5:
                self.shop.simulator.announce("ONE_TIME_CHARGE", sale, self.shop.clock.now())

    async def confirm(self) -> None:
        if self.sales:
            sale = self.chance.choice(list(self.sales.values()))
            if self.chance.random() < 0.2:
                self.shop.simulator.failures.append((500, 5_000_001))
            named = self.chance.choice([None, *(payment for _, payment in self.begun)])
            await self.shop.confirm(self.shop.simulator.signed(sale, self.shop.clock.now()), named)

    async def give_back(self) -> None:
        kept = [
            one for one in self.sales.values() if one.revoked_at is None and one.transaction_id not in self.reversed_
        ]
        if kept:
            self.shop.simulator.refund(self.chance.choice(kept), self.shop.clock.now())

    async def take_back(self) -> None:
        gone = [one for one in self.sales.values() if one.revoked_at is not None]
        if gone and self.chance.random() < 0.5:
            sale = self.chance.choice(gone)
            self.reversed_.add(sale.transaction_id)
            self.shop.simulator.reverse_refund(sale, self.shop.clock.now())

    async def talk(self) -> None:
        if self.chance.random() < 0.5:
            self.shop.simulator.plan_notice(self.chance.choice(TROUBLE))
        await self.shop.deliver()

    async def wait(self) -> None:
        self.shop.clock.advance(self.chance.choice([1, 60, 700, 3 * 3600]))
        await self.shop.do_due()

    async def calm(self) -> None:
        """The weather clears: every phone starts again with what it has not finished, and Apple repeats what was not taken."""
        self.shop.simulator.failures.clear()
        for _ in range(6):
            self.shop.clock.advance(3 * DAY // SECOND)
            await self.shop.deliver()
            for _ in range(5):
                await self.shop.do_due()
        for sale in self.sales.values():
            with contextlib.suppress(Refused):
                await self.shop.confirm(self.shop.simulator.signed(sale, self.shop.clock.now()))

    async def judge(self, seed: int) -> None:
        for told, payment in self.begun:
            order, where = await self.shop.stands(told), f"seed {seed}, {told.order_id}"
            sale = self.sales.get(payment.token)
            assert order.payments[0].captured_minor == (0 if sale is None else 600), where
            done = [one for one in order.refunds if one.state is RefundState.SUCCEEDED]
            assert len(done) == (1 if sale is not None and sale.revoked_at is not None else 0), where
            assert len(order.refunds) <= 1, where
            if sale is None:
                assert order.state is OrderState.CLOSED, where
            elif sale.revoked_at is None and sale.transaction_id not in self.reversed_:
                assert order.state is OrderState.PAID, where
        assert self.shop.simulator.undelivered == 0, seed


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_after_every_storm_the_books_agree(seed: int, tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path}/storm.db", check_durability=False)
    store.migrate()
    try:
        weather = Weather(await Shop.opened(store), random.Random(seed))
        for _ in range(STEPS):
            await weather.step()
        await weather.calm()
        await weather.judge(seed)
        await weather.shop.engine.stop(0)
    finally:
        store.close()
