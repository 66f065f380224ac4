"""A shop that takes Alipay: the real engine, a store, a clock by hand, a network that can be bad, and the simulated Alipay."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from paycore.channel import NoticeReply
from paycore.core.order import Details, Order
from paycore.engine import Engine
from paycore.engine.cashier import Choice
from paycore.engine.desk import CallerRequest
from paycore.engine.host import Host
from paycore.engine.keyring import KEY_BYTES, Keyring
from paycore.engine.orders import OrderDraft
from paycore.engine.refunding import RefundDraft
from paycore.store import App, RequestKey, Store
from paycore.testing.clock import FakeClock, SeededIds
from paycore.testing.simulators import Postman
from paycore.testing.wires import FaultyCarrier, InlineCarrier
from paycore_alipay import ALIPAY
from paycore_alipay.simulator import AlipaySimulator

from .support import AUTH_CODE, BASE, BUYER, SECOND

APP = "ap" + "0" * 25 + "1"
TELLER = {"app": {}, "barcode": {"auth_code": AUTH_CODE}, "jsapi": {"buyer_open_id": BUYER}}


@dataclass
class Shop:
    """An engine, an app, an account at the simulated Alipay, and a network that can be bad."""

    store: Store
    clock: FakeClock = field(default_factory=FakeClock)
    simulator: AlipaySimulator = field(default_factory=lambda: AlipaySimulator("stories"))
    more: dict[str, Any] = field(default_factory=dict)
    """What else the engine is given: another workshop, another way to run the store's work."""
    requests: int = 0

    def __post_init__(self) -> None:
        self.inline = InlineCarrier(self.clock, {BASE: self.simulator})
        self.wire = FaultyCarrier(self.inline)
        self.engine = Engine(
            self.store,
            host=self.more.pop("host", None) or Host([ALIPAY]),
            keyring=Keyring(bytes(KEY_BYTES)),
            carrier=self.wire,
            clock=self.clock,
            ids=SeededIds(self.clock),
            public_base_url="https://pay.example",
            **self.more,
        )
        with self.store.write() as unit:
            unit.put_app(App(APP, "shop", self.clock.now(), return_hosts=("shop.example",)))
        self.engine.apps.forget()
        self.postman = Postman({"alipay": self.simulator}, self.clock, self.engine.deliver_notice)

    async def open(self) -> Shop:
        made = await self.engine.accounts.add(APP, "alipay", "sandbox", self.simulator.settings(BASE))
        self.account_id = made.account_id
        return self

    async def order(self, amount_minor: int = 8888) -> Order:
        return (await self.engine.create_order(APP, OrderDraft(amount_minor, "CNY", Details("云音乐会员")), None)).order

    async def pay(self, order: Order, method: str = "qr", target: str = "") -> Order:
        choice = Choice("alipay", method, target=target, inputs=TELLER.get(method, {}))
        told = await self.engine.pay(APP, order.order_id, choice, None, deadline_at=self.clock.now() + SECOND)
        return told.order

    async def refund(self, order: Order, amount_minor: int) -> str:
        self.requests += 1
        request = CallerRequest(RequestKey(APP, "CreateRefund", f"request-number-{self.requests:06}"), b"{}")
        told = await self.engine.create_refund(
            APP, order.order_id, RefundDraft(amount_minor, "CNY"), request, deadline_at=self.clock.now() + SECOND
        )
        return told.subject_id

    async def stands(self, order: Order) -> Order:
        found = await self.engine.reader.load(order.order_id)
        assert found is not None
        return found

    async def notices(self) -> list[NoticeReply]:
        return await self.postman.deliver()

    async def work(self, *, until: int | None = None, limit: int = 200) -> None:
        """Do what is due, and what falls due until an instant, notices included."""
        for _ in range(limit):
            await self.notices()
            with self.store.write() as unit:
                taken = unit.claim_due(self.clock.now(), self.clock.now() + 30 * SECOND, 50)
            await asyncio.gather(*(self.engine.verbs.do(due) for due in taken))
            if taken:
                continue
            with self.store.read() as unit:
                times = (unit.next_due_at(self.clock.now()), self.simulator.next_due())
            later = min((at for at in times if at is not None), default=None)
            if until is None or later is None or later > until:
                return
            self.clock.set(max(later, self.clock.now()))
        raise AssertionError("tasks are due again and again")

    def payment_id(self, order: Order) -> str:
        return order.payments[-1].payment_id

    def plan(self, order: Order) -> str:
        return str(order.payments[-1].plan_json)
