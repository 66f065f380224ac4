"""One walk: a server in this process, reached over real gRPC and HTTP, on a clock that the test holds in its hand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import select

from paycore.client import AsyncClient
from paycore.engine import Engine
from paycore.serving import Parts, serving
from paycore.settings import Settings
from paycore.store import Store
from paycore.store.audit import audit
from paycore.store.tables import OrderTable, PaymentTable, RefundTable, table
from paycore.testing.clock import FakeClock
from paycore.testing.wires import InlineCarrier
from paycore.v1 import common_pb2, order_pb2, payment_pb2, refund_pb2
from tests.walks.street import CHANNEL, Street, first_step, open_street
from tests.walks.town import Town, open_town

AMOUNT = 1_200
PATIENCE_SECONDS = 5.0
LOOK_SECONDS = 0.01
ROWS = [table(one) for one in (OrderTable, PaymentTable, RefundTable)]
PHONE = common_pb2.ClientContext(face="android", os="android", locale="zh-CN")
PC = common_pb2.ClientContext(face="pc", os="linux", locale="en")
CLIENTS = {"app": PHONE, "store": PHONE}


class Watcher:
    """Somebody who watches an order from its first version on."""

    def __init__(self, messages: AsyncIterator[order_pb2.WatchOrderResponse]) -> None:
        self._messages = messages
        self.seen: list[order_pb2.WatchOrderResponse] = []

    async def until(
        self, is_over: Callable[[order_pb2.WatchOrderResponse], bool]
    ) -> list[order_pb2.WatchOrderResponse]:
        """Everything up to and with the first message like this."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not (self.seen and is_over(self.seen[-1])):
                self.seen.append(await anext(self._messages))
        return self.seen


@dataclass
class Walk:
    """What a story needs: a caller, the people on the street, and time."""

    client: AsyncClient
    street: Street
    clock: FakeClock
    town: Town
    store: Store
    engine: Engine
    base_url: str
    _watchers: list[Any] = field(default_factory=list)

    # ------------------------------------------------------------------------------------ beginnings

    async def order(
        self,
        *,
        amount_minor: int = AMOUNT,
        expires_in: float | None = None,
        line_items: Sequence[order_pb2.LineItem] = (),
        surplus_policy: order_pb2.SurplusPolicy.ValueType = order_pb2.SURPLUS_POLICY_UNSPECIFIED,
    ) -> order_pb2.Order:
        """A new order."""
        expire_time = None
        if expires_in is not None:
            expire_time = datetime.fromtimestamp(self.clock.now() / 1_000_000 + expires_in, UTC)
        return await self.client.create_order(
            merchant_order_no=f"W-{uuid4().hex[:24]}",
            amount_minor=amount_minor,
            currency="CNY",
            subject="Jasmine tea 茉莉花茶",
            line_items=line_items,
            expire_time=expire_time,
            surplus_policy=surplus_policy,
        )

    async def pay(self, order: order_pb2.Order, method: str) -> payment_pb2.Payment:
        """Begin a payment on the device that the method is made for."""
        answer = await self.client.pay_order(
            order.order_id, channel=CHANNEL, method=method, client=CLIENTS.get(method, PC)
        )
        return answer.payment

    async def paid_order(self, amount_minor: int) -> order_pb2.Order:
        """An order that its payer has paid."""
        order = await self.order(amount_minor=amount_minor)
        self.street.pay(await self.pay(order, "qr"))
        return await self.until(order, lambda one: one.state == order_pb2.Order.STATE_PAID)

    async def refund(self, order: order_pb2.Order, amount_minor: int) -> refund_pb2.Refund:
        """Ask for money back."""
        return await self.client.create_refund(order.order_id, amount_minor=amount_minor, currency="CNY", reason="cold")

    async def watch(self, order: order_pb2.Order) -> Watcher:
        """Watch an order; its snapshot is there when this returns."""
        stream = self.client.watch_order(order.order_id)
        self._watchers.append(stream)
        watcher = Watcher(stream)
        await watcher.until(lambda message: message.WhichOneof("message") == "snapshot")
        return watcher

    def page_of(self, payment: payment_pb2.Payment) -> str:
        """The address of the payment's page."""
        return str(json.loads(first_step(payment).params_json)["url"])

    @property
    def notice_url(self) -> str:
        """Where this account's notices go."""
        return f"{self.base_url}/v1/notices/{self.town.account_id}"

    # ------------------------------------------------------------------------------------ time

    async def until(self, order: order_pb2.Order, is_so: Callable[[order_pb2.Order], bool]) -> order_pb2.Order:
        """The order once it is so. Time stands still meanwhile: only what is due already can bring it about."""
        found = order
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not is_so(found := await self.client.get_order(order.order_id)):
                    await asyncio.sleep(LOOK_SECONDS)
        except TimeoutError:
            raise AssertionError(f"it did not come to be so:\n{found}") from None
        return found

    async def pass_time(self, seconds: float) -> None:
        """Let time pass, stopping whenever something is due, until it is done."""
        target = self.clock.now() + round(seconds * 1_000_000)
        await self.until_quiet()
        while (due := self._next_due()) is not None and due < target:
            self.clock.set(max(due, self.clock.now()))
            await self.until_quiet()
        self.clock.set(target)
        await self.until_quiet()

    async def until_quiet(self) -> None:
        """Wait until everything that is due has been done and every notice that is due has been answered."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            for turn in count(1):
                if not self._is_busy():
                    return
                self.street.host.look()
                await asyncio.sleep(LOOK_SECONDS)
                if turn % 50 == 0:  # whoever met a locked row looks again in a moment, which has to come
                    self.clock.advance(0.1)

    def _is_busy(self) -> bool:
        """Whether anybody is at work, or has something to do now."""
        due = self._next_due()
        has_due = due is not None and due <= self.clock.now()
        return has_due or self._is_leased() or bool(self.street.host._deliveries)

    def _next_due(self) -> int | None:
        with self.store.read() as unit:
            ours = unit.next_due_at(self.clock.now())
        theirs = self.street.simulator.next_due()
        return min((at for at in (ours, theirs) if at is not None), default=None)

    def _is_leased(self) -> bool:
        """Whether some task is being done. Nobody dies here, so each lease has somebody at work."""
        now = self.clock.now()
        with self.store.read() as unit:
            return any(unit._ask(select(one.c.task_verb).where(one.c.task_leased_until > now).limit(1)) for one in ROWS)

    async def leave(self) -> None:
        for stream in self._watchers:
            await stream.aclose()


@asynccontextmanager
async def open_walk(url: str, folder: Path) -> AsyncIterator[Walk]:
    """A server on an empty database, with the street in front of it."""
    clock = FakeClock()
    async with open_street(clock) as street, open_town(url, street, folder) as town:
        base = street.host.base_url(CHANNEL)
        carrier = InlineCarrier(clock, {base: street.simulator})
        settings = settings_of(town)
        async with serving(settings, Parts(clock=clock, carrier=carrier)) as process:
            street.simulator.purchase_notify_url = f"{process.base_url}/v1/notices/{town.account_id}"
            store = Store.open(url, pool_size=2, check_durability=False)
            try:
                async with AsyncClient(process.target, town.key) as client:
                    walk = Walk(client, street, clock, town, store, process.engine, process.base_url)
                    yield walk
                    await walk.leave()
                assert list(audit(store)) == []
            finally:
                store.close()


def settings_of(town: Town) -> Settings:
    """The town's settings, listening wherever there is room."""
    given = {name.removeprefix("PAYCORE_").lower(): value for name, value in town.settings.items()}
    return Settings(grpc_listen="127.0.0.1:0", http_listen="127.0.0.1:0", log_level="warning", **given)  # type: ignore[arg-type]
