"""WeChat Pay behind a real engine: a store, a clock that a test moves, a bad network on demand, and the simulator inline."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from paycore.channel import NoticeReply
from paycore.core.order import Details, Order, Payment, Refund
from paycore.engine import Engine
from paycore.engine.cashier import Choice
from paycore.engine.desk import CallerRequest
from paycore.engine.host import Host
from paycore.engine.keyring import Keyring
from paycore.engine.orders import OrderDraft
from paycore.engine.refunding import RefundDraft
from paycore.store import App, RequestKey, Store
from paycore.testing.clock import FakeClock, SeededIds
from paycore.testing.simulators import Postman
from paycore.testing.wires import FaultyCarrier, InlineCarrier
from paycore_wechatpay import WECHATPAY, WechatPaySimulator

from .support import BASE, NOW, OPENID

APP = "ap" + "0" * 25 + "1"
CLIENT = {"client_ip": "203.0.113.7"}
FACES = {"app": "android", "jsapi": "in_wallet", "mini_program": "mini_program", "h5": "h5"}
SECONDS = 1_000_000


@dataclass
class Shop:
    """An app with one account at WeChat Pay, and hands to use it with."""

    store: Store
    simulator: WechatPaySimulator
    clock: FakeClock = field(default_factory=lambda: FakeClock(NOW))
    requests: int = 0
    account_id: str = ""

    def __post_init__(self) -> None:
        self.wire = FaultyCarrier(InlineCarrier(self.clock, {BASE: self.simulator}))
        self.engine = Engine(
            self.store,
            host=Host([WECHATPAY]),
            keyring=Keyring(bytes(range(32))),
            carrier=self.wire,
            clock=self.clock,
            ids=SeededIds(self.clock),
            public_base_url="https://pay.example",
        )
        self.postman = Postman({"wechatpay": self.simulator}, self.clock, self.engine.deliver_notice)
        with self.store.write() as unit:
            unit.put_app(App(APP, "shop", self.clock.now(), return_hosts=("shop.example",)))

    @classmethod
    async def opened(cls, store: Store, simulator: WechatPaySimulator | None = None) -> Shop:
        """A shop whose account is there."""
        shop = cls(store, simulator or WechatPaySimulator("stories"))
        settings = shop.simulator.settings(BASE)
        account = await shop.engine.accounts.add(APP, "wechatpay", "sandbox", settings)
        shop.account_id = account.account_id
        return shop

    # ------------------------------------------------------------------------------------ what the app does

    def request(self, rpc: str) -> CallerRequest:
        self.requests += 1
        return CallerRequest(RequestKey(APP, rpc, f"request-number-{self.requests:06}"), b"{}")

    async def order(self, amount_minor: int = 12800) -> Order:
        details = Details("两张票", return_url="https://shop.example/back")
        return (await self.engine.create_order(APP, OrderDraft(amount_minor, "CNY", details), None)).order

    async def pay(self, order: Order, method: str = "native", **inputs: str) -> Payment:
        given = {"openid": OPENID} | inputs
        client = CLIENT | {"face": FACES.get(method, "pc")}
        choice = Choice("wechatpay", method, inputs=given, client=client)
        told = await self.engine.pay(APP, order.order_id, choice, None)
        payment = told.order.payment(told.subject_id)
        assert payment is not None
        return payment

    async def refund(self, order: Order, amount_minor: int) -> Refund:
        draft = RefundDraft(amount_minor, "CNY")
        told = await self.engine.create_refund(APP, order.order_id, draft, self.request("CreateRefund"))
        refund = told.order.refund(told.subject_id)
        assert refund is not None
        return refund

    async def close(self, order: Order) -> Order:
        return (await self.engine.close_order(APP, order.order_id, self.request("CloseOrder"))).order

    # ------------------------------------------------------------------------------------ what happens meanwhile

    async def stands(self, order: Order) -> Order:
        found = await self.engine.reader.load(order.order_id)
        assert found is not None
        return found

    async def stands_refund(self, order: Order, refund: Refund) -> Refund:
        found = (await self.stands(order)).refund(refund.refund_id)
        assert found is not None
        return found

    async def deliver(self) -> list[NoticeReply]:
        """Bring the notices in that are due."""
        return await self.postman.deliver()

    async def do_due(self) -> int:
        """Do what is due now, once."""
        with self.store.write() as unit:
            taken = unit.claim_due(self.clock.now(), self.clock.now() + 30 * SECONDS, 50)
        await asyncio.gather(*(self.engine.verbs.do(due) for due in taken))
        return len(taken)

    async def wait(self, seconds: float, *, step: float = 5) -> None:
        """Let time pass, doing what falls due on the way."""
        end = self.clock.now() + round(seconds * SECONDS)
        while self.clock.now() < end:
            self.clock.set(min(end, self.clock.now() + round(step * SECONDS)))
            await self.do_due()

    def calls(self, name: str) -> list[Any]:
        """What WeChat Pay was really asked."""
        return [call for call in self.simulator.calls if call.name == name]
