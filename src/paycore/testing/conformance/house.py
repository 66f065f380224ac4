"""The real engine around the plugin: a store in memory, a clock by hand, a network that can be bad, no thread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TypeVar

from paycore.channel import KitSimulator, RawNotice
from paycore.core.order import Details, LineItem, Order, Refund
from paycore.engine import Engine
from paycore.engine.cashier import Choice
from paycore.engine.desk import CallerRequest
from paycore.engine.host import Host
from paycore.engine.keyring import KEY_BYTES, Keyring
from paycore.engine.orders import OrderDraft
from paycore.engine.refunding import RefundDraft
from paycore.engine.workshop import InlineWorkshop
from paycore.store import Account, App, RequestKey, Store
from paycore.testing.clock import FakeClock, SeededIds
from paycore.testing.conformance.case import Case
from paycore.testing.conformance.stand import NOW, SECOND
from paycore.testing.wires import FaultyCarrier, InlineCarrier

T = TypeVar("T")
BASE_URL = "https://pay.example"
APP = "ap" + "0" * 25 + "1"
SOON = SECOND // 2


async def _inline(work: Callable[[], T], /) -> T:
    """The store's work where it stands; others get their turn before it."""
    await asyncio.sleep(0)
    return work()


@dataclass
class House:
    """An engine with one app and one account at the channel."""

    case: Case
    store: Store
    engine: Engine
    clock: FakeClock
    wire: FaultyCarrier
    simulator: KitSimulator
    account: Account
    requests: int = 0

    def request(self, rpc: str) -> CallerRequest:
        self.requests += 1
        return CallerRequest(RequestKey(APP, rpc, f"request-number-{self.requests:06}"), b"{}")

    async def order(self, amount_minor: int, currency: str) -> Order:
        items = (LineItem(self.case.product_id, "Two tickets", 1, amount_minor),)
        draft = OrderDraft(amount_minor, currency, Details("Two tickets", items=items))
        return (await self.engine.create_order(APP, draft, None)).order

    async def pay(self, order: Order, method_name: str) -> Order:
        method = self.case.kind.method(method_name)
        assert method is not None
        self.requests += 1
        inputs = self.case.inputs_of(method, self.requests)
        target = method.targets[0] if method.targets else ""
        choice = Choice(self.case.kind.name, method_name, target=target, inputs=inputs, client=dict(self.case.client))
        told = await self.engine.pay(APP, order.order_id, choice, None, deadline_at=self.clock.now() + SECOND)
        return told.order

    async def refund(self, order: Order, amount_minor: int) -> Refund:
        draft = RefundDraft(amount_minor, order.currency)
        request = self.request("CreateRefund")
        deadline_at = self.clock.now() + SOON
        told = await self.engine.create_refund(APP, order.order_id, draft, request, deadline_at=deadline_at)
        refund = told.order.refund(told.subject_id)
        assert refund is not None
        return refund

    async def stands(self, order: Order) -> Order:
        found = await self.engine.reader.load(order.order_id)
        assert found is not None
        return found

    async def deliver(self, notice: RawNotice) -> None:
        await self.engine.deliver_notice(self.account.account_id, notice)

    async def work(self, most: int = 50) -> int:
        """Do what is due now; how much that was."""
        with self.store.write() as unit:
            taken = unit.claim_due(self.clock.now(), self.clock.now() + 30 * SECOND, most)
        for due in taken:
            await self.engine.verbs.do(due)
        return len(taken)


@contextmanager
def _sound(host: Host, channel: str) -> Iterator[None]:
    """The plugin's own code must not fail; where something else does, what it did is said with it."""
    try:
        yield
    except Exception as error:
        if problem := host.last_problem(channel):
            error.add_note(f"the plugin's own code failed in {problem}")
        raise
    problem = host.last_problem(channel)
    assert not problem, f"the plugin's own code failed in {problem}"


@asynccontextmanager
async def house(case: Case, seed: int) -> AsyncIterator[House]:
    """A house that is torn down again."""
    store = Store.open("sqlite://")
    try:
        store.migrate()
        clock = FakeClock(NOW)
        simulator = case.make_simulator()
        wire = FaultyCarrier(InlineCarrier(clock, {case.base_url: simulator}))
        engine = Engine(
            store,
            host=Host([case.kind], workshop=InlineWorkshop()),
            keyring=Keyring(bytes(KEY_BYTES)),
            carrier=wire,
            clock=clock,
            ids=SeededIds(clock, seed),
            public_base_url=BASE_URL,
            run=_inline,
        )
        with store.write() as unit:
            unit.put_app(App(APP, "shop", clock.now()))
        settings = simulator.settings(case.base_url)
        account = await engine.accounts.add(APP, case.kind.name, case.kind.environments[0].value, settings)
        with _sound(engine.host, case.kind.name):
            yield House(case, store, engine, clock, wire, simulator, account)
    finally:
        store.close()
