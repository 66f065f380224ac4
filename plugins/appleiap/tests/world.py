"""The App Store behind a real engine: a store, a clock that a test moves, and the simulator inline."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from paycore.channel import NoticeReply
from paycore.core.order import AnomalyState, Details, LineItem, Order, Payment, Remedy
from paycore.core.refusals import Reason, Refused
from paycore.engine import Engine
from paycore.engine.cashier import Choice
from paycore.engine.host import Host
from paycore.engine.keyring import Keyring
from paycore.engine.orders import OrderDraft
from paycore.store import App, Store
from paycore.testing.clock import FakeClock, SeededIds
from paycore.testing.simulators import Postman
from paycore.testing.wires import InlineCarrier
from paycore_appleiap import APPLEIAP, AppStoreSimulator

from .support import BASE, NOW, SECOND

APP = "ap" + "0" * 25 + "1"
PRODUCT = "com.example.game.gold100"


@dataclass
class Shop:
    """An app with one account at the App Store, and hands to use it with."""

    store: Store
    simulator: AppStoreSimulator
    clock: FakeClock = field(default_factory=lambda: FakeClock(NOW))
    account_id: str = ""

    def __post_init__(self) -> None:
        self.engine = Engine(
            self.store,
            host=Host([APPLEIAP]),
            keyring=Keyring(bytes(range(32))),
            carrier=InlineCarrier(self.clock, {BASE: self.simulator}),
            clock=self.clock,
            ids=SeededIds(self.clock),
            public_base_url="https://pay.example",
        )
        self.postman = Postman({"appleiap": self.simulator}, self.clock, self.engine.deliver_notice)
        with self.store.write() as unit:
            unit.put_app(App(APP, "shop", self.clock.now(), return_hosts=("shop.example",)))

    @classmethod
    async def opened(cls, store: Store) -> Shop:
        """A shop whose account is there, and whose address stands in App Store Connect."""
        shop = cls(store, AppStoreSimulator("stories"))
        account = await shop.engine.accounts.add(APP, "appleiap", "sandbox", shop.simulator.settings(BASE))
        shop.account_id = account.account_id
        shop.simulator.notify_url = f"https://pay.example/v1/notices/{account.account_id}"
        return shop

    async def order(self, quantity: int = 1) -> Order:
        details = Details("100 gold", items=(LineItem(PRODUCT, "100 gold", quantity, 600),))
        return (await self.engine.create_order(APP, OrderDraft(600 * quantity, "CNY", details), None)).order

    async def pay(self, order: Order) -> Payment:
        choice = Choice("appleiap", "purchase", client={"face": "ios"})
        told = await self.engine.pay(APP, order.order_id, choice, None)
        payment = told.order.payment(told.subject_id)
        assert payment is not None
        return payment

    async def confirm(self, evidence: str, payment: Payment | None = None) -> tuple[Order, bool]:
        """The phone hands in what StoreKit gave it."""
        named = payment.payment_id if payment is not None else ""
        told, may_finish = await self.engine.confirm(APP, "appleiap", evidence, payment_id=named)
        return told.order, may_finish

    async def refused(self, evidence: str, payment: Payment | None = None) -> Reason:
        """Why the phone is refused."""
        try:
            await self.confirm(evidence, payment)
        except Refused as refused:
            return refused.reason
        raise AssertionError("it was believed")

    async def claim(self, payment: Payment | None = None) -> Order:
        """A person says what the only purchase of nobody was made for: this payment, or no order at all."""
        [listed] = await self.engine.list_anomalies(APP, states=(AnomalyState.OPEN,))
        named = payment.payment_id if payment is not None else ""
        done = await self.engine.resolve_anomaly(
            APP, listed.anomaly.anomaly_id, Remedy.ACCEPT, "they told us", None, payment_id=named
        )
        assert done.order is not None
        return done.order

    async def stands(self, order: Order) -> Order:
        found = await self.engine.reader.load(order.order_id)
        assert found is not None
        return found

    async def deliver(self) -> list[NoticeReply]:
        """Bring the notices in that are due."""
        return await self.postman.deliver()

    async def do_due(self) -> None:
        with self.store.write() as unit:
            taken = unit.claim_due(self.clock.now(), self.clock.now() + 30 * SECOND, 50)
        await asyncio.gather(*(self.engine.verbs.do(due) for due in taken))

    async def wait(self, seconds: int, *, step: int = 30) -> None:
        """Let time pass, doing what falls due on the way."""
        end = self.clock.now() + seconds * SECOND
        while self.clock.now() < end:
            self.clock.set(min(end, self.clock.now() + step * SECOND))
            await self.do_due()
