"""People: they buy, pay, pay too late, change their mind, close, take money back, and some of them never come back."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from paycore.client import AsyncClient, PaycoreError
from paycore.v1 import order_pb2, payment_pb2
from tests.chaos.asking import Desk, Refusal
from tests.chaos.channel import Channel
from tests.chaos.watching import Gates, Watcher

METHODS = ("app", "qr", "redirect")
ONLINE = ("qr", "redirect")
"""Methods whose trade exists at the channel once the payment is prepared."""
SHORT_SECONDS = 66.0
"""The shortest expiry that the server takes is a minute."""
TOO_LATE = frozenset({"ORDER_ALREADY_PAID", "ORDER_CLOSED", "ORDER_CLOSING", "ORDER_EXPIRED", "ORDER_NOT_PAYABLE"})
LIFE_SECONDS = 240.0


class Strange(Exception):
    """Something that must not happen to anybody."""


class Town:
    """What all people share: where they ask, the channel where they pay, and who watches their orders."""

    def __init__(
        self, desk: Desk, clients: list[AsyncClient], channel: Channel, gates: Gates, rng: random.Random
    ) -> None:
        self.desk = desk
        self.channel = channel
        self.rng = rng
        self.watchers: dict[str, Watcher] = {}
        self.following: dict[str, asyncio.Task[None]] = {}
        self.strange: list[str] = []
        self.figures: Counter[str] = Counter()
        self._clients = clients
        self._gates = gates

    def watch(self, order_id: str) -> Watcher:
        """Whoever watches this order; begun now if nobody does."""
        if order_id not in self.watchers:
            watcher = self.watchers[order_id] = Watcher(self._gates, order_id)
            self.following[order_id] = asyncio.create_task(watcher.follow())
        return self.watchers[order_id]

    async def look_at(self, order_id: str) -> order_pb2.Order:
        """An order as either server tells it, sooner or later."""
        while True:
            with contextlib.suppress(PaycoreError):
                return await self.rng.choice(self._clients).get_order(order_id)
            await asyncio.sleep(0.2)

    async def pay(self, payment: payment_pb2.Payment, *, even_if_over: bool = False) -> bool:
        """Pay at the channel; whether it took the money."""
        step = payment.action.steps[0]
        params = json.loads(step.params_json)
        problem = await self.channel.ask("pay", kind=step.kind, params=params, even_if_over=even_if_over)
        self.figures["paid at the channel" if not problem else "too late to pay"] += 1
        return not problem

    async def stop(self) -> None:
        """Nobody watches any more."""
        for task in self.following.values():
            task.cancel()
        await asyncio.gather(*self.following.values(), return_exceptions=True)


class Person:
    """Somebody who lives one small life after the other. A life may end at any moment, without a word."""

    def __init__(self, town: Town, seed: float) -> None:
        self._town = town
        self._desk = town.desk
        self._rng = random.Random(seed)
        self._doing = ""

    async def go_on(self, is_over: asyncio.Event) -> None:
        """Live until it is over; what must not happen is noted, and life goes on."""
        lives: tuple[tuple[Callable[[], Awaitable[None]], int], ...] = (
            (self._buys, 9),
            (self._closes_while_paying, 4),
            (self._pays_twice, 3),
            (self._pays_a_closed_order, 3),
            (self._never_pays, 1),
        )
        while not is_over.is_set():
            [life] = self._rng.choices([life for life, _ in lives], [weight for _, weight in lives])
            self._town.figures[f"lives: {getattr(life, '__name__', '')[1:].replace('_', ' ')}"] += 1
            self._doing = ""
            try:
                async with asyncio.timeout(LIFE_SECONDS):
                    await life()
            except TimeoutError:
                self._town.strange.append(f"a life did not go on: {life.__qualname__} {self._doing}")
            except (Refusal, Strange) as problem:
                self._town.strange.append(f"{problem} {self._doing}")

    # ------------------------------------------------------------------------------------ lives

    async def _buys(self) -> None:
        """Orders, pays, and takes some of it back."""
        order, watcher = await self._order()
        payment = await self._begin(order, self._rng.choice(METHODS))
        await self._pause(1.0)
        if not await self._town.pay(payment):
            raise Strange(f"{payment.payment_id} could not be paid in time")
        if await watcher.until_paid_or_closed() != "PAID":
            raise Strange(f"order {order.order_id} is closed, and was paid in time")
        await self._take_back(order, watcher)

    async def _closes_while_paying(self) -> None:
        """Closes the order in the very moment in which the payer pays."""
        order, watcher = await self._order()
        payment = await self._begin(order, self._rng.choice(ONLINE))

        async def close() -> None:
            await self._pause(1.0)
            await self._close(order)

        async def pay() -> None:
            await self._pause(1.2)
            if self._rng.random() < 0.7:
                await self._town.pay(payment, even_if_over=self._rng.random() < 0.3)

        await asyncio.gather(close(), pay())
        await watcher.until_paid_or_closed()

    async def _pays_twice(self) -> None:
        """Changes the method, and pays by the new one, or by both."""
        order, watcher = await self._order()
        first = await self._begin(order, "qr")
        second = await self._switch(order, "redirect")
        paying = [] if second is None else [self._town.pay(second)]
        if second is None or self._rng.random() < 0.5:
            paying.append(self._town.pay(first, even_if_over=True))
        await asyncio.gather(*paying)
        if await watcher.until_paid_or_closed() == "PAID" and self._rng.random() < 0.3:
            await self._take_back(order, watcher)

    async def _pays_a_closed_order(self) -> None:
        """Closes the order, and then the payer's money comes all the same."""
        order, watcher = await self._order()
        payment = await self._begin(order, self._rng.choice(ONLINE))
        await self._close(order)
        if await watcher.until_paid_or_closed() != "CLOSED":
            raise Strange(f"order {order.order_id} is paid, and nobody paid")
        await self._pause(1.0)
        await self._town.pay(payment, even_if_over=True)

    async def _never_pays(self) -> None:
        """Shows a code that nobody scans, until the order expires. Others go on living meanwhile."""
        try:
            order, _ = await self._order(expire_time=time.time() + SHORT_SECONDS)
            await self._begin(order, "qr")
        except Refusal as refusal:  # so long was nothing to be reached
            if refusal.reason not in TOO_LATE | {"BAD_EXPIRY"}:
                raise

    # ------------------------------------------------------------------------------------ steps

    async def _order(self, **more: Any) -> tuple[order_pb2.Order, Watcher]:
        content = {
            "merchant_order_no": f"C-{uuid.uuid4().hex[:24]}",
            "amount_minor": self._rng.randrange(3, 50_000),
            "currency": "CNY",
            "subject": "Tea",
            **more,
        }
        order: order_pb2.Order = await self._desk.ask("create_order", uuid.uuid4().hex, **content)
        self._doing = order.order_id
        return order, self._town.watch(order.order_id)

    async def _begin(self, order: order_pb2.Order, method: str) -> payment_pb2.Payment:
        """Begin a payment, and return it once the payer can act."""
        answer = await self._desk.ask(
            "pay_order", uuid.uuid4().hex, order_id=order.order_id, channel="sandbox", method=method
        )
        return await self._ready(answer.payment)

    async def _switch(self, order: order_pb2.Order, method: str) -> payment_pb2.Payment | None:
        """Begin another payment, as soon as the first lets us; None when it does not, for some seconds."""
        request_id = uuid.uuid4().hex
        for _ in range(6):
            try:
                answer = await self._desk.ask(
                    "pay_order", request_id, order_id=order.order_id, channel="sandbox", method=method
                )
            except Refusal as refusal:
                if refusal.reason != "PAYMENT_IN_PROGRESS":
                    raise
                await asyncio.sleep(max(refusal.retry_after_seconds, 0.5))
            else:
                return await self._ready(answer.payment)
        return None

    async def _ready(self, payment: payment_pb2.Payment) -> payment_pb2.Payment:
        while not payment.is_action_ready:
            await asyncio.sleep(0.3)
            order = await self._town.look_at(payment.order_id)
            payment = next(one for one in order.payments if one.payment_id == payment.payment_id)
        return payment

    async def _close(self, order: order_pb2.Order) -> None:
        try:
            await self._desk.ask("close_order", uuid.uuid4().hex, order_id=order.order_id)
        except Refusal as refusal:
            if refusal.reason not in TOO_LATE:
                raise

    async def _take_back(self, order: order_pb2.Order, watcher: Watcher) -> None:
        """Ask for money back in one, two or three parts at once. Together they may be too much: one is then refused."""
        total = order.amount.amount_minor
        parts = self._rng.choice(
            [[], [total], [total // 3], [total // 3, total // 2], [total // 2, total // 2, total // 2]]
        )
        asked = await asyncio.gather(*(self._refund(order, part) for part in parts if part > 0))
        await watcher.until_refunded([refund_id for refund_id in asked if refund_id])

    async def _refund(self, order: order_pb2.Order, amount_minor: int) -> str:
        """Ask for money back; the refund's id, or nothing when there is not so much."""
        await self._pause(0.5)
        try:
            refund = await self._desk.ask(
                "create_refund",
                uuid.uuid4().hex,
                order_id=order.order_id,
                amount_minor=amount_minor,
                currency="CNY",
            )
        except Refusal as refusal:
            if refusal.reason != "REFUND_EXCEEDS_BALANCE":
                raise
            return ""
        return str(refund.refund_id)

    async def _pause(self, most: float) -> None:
        await asyncio.sleep(self._rng.uniform(0, most))
