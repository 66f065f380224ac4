"""An engine with everything real but the network and the time: a store, a keyring, plugins, a clock that a test moves."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from paycore.channel import ChannelKind, NoticeReply, Reply, Simulator
from paycore.core.order import Details, LineItem, Order, Payment, Refund
from paycore.core.refusals import Reason, Refused
from paycore.engine import Engine
from paycore.engine.carrier import Carrier
from paycore.engine.cashier import Choice
from paycore.engine.desk import CallerRequest
from paycore.engine.host import Host
from paycore.engine.ids import Ids, SystemIds
from paycore.engine.keyring import Keyring
from paycore.engine.orders import OrderDraft
from paycore.engine.refunding import RefundDraft
from paycore.engine.tell import Told
from paycore.engine.threads import Run
from paycore.store import App, RequestKey, Store
from paycore.testing.clock import FakeClock, SeededIds
from paycore.testing.simulators import Postman
from paycore.testing.wires import FaultyCarrier, InlineCarrier, ScriptedCarrier
from tests.engine.channels import ScriptedChannel, kind_of

BASE = "https://pay.example"
GATE = "https://sandbox.example/gate"
KEY = bytes(range(32))
SCRIPTED = {"merchant": "M1", "key": "canary-key"}


def kept_simply(reply: Reply = Reply(200, {}, b"ok")) -> ScriptedCarrier:  # noqa: B008 - frozen
    """A wire that answers everything with the same reply."""
    carrier = ScriptedCarrier()
    carrier.say(*[lambda request: reply] * 200)
    return carrier


@dataclass
class World:
    """An engine and hands to use it with."""

    store: Store
    host: Host
    carrier: Carrier
    clock: FakeClock = field(default_factory=FakeClock)
    base_url: str = BASE
    run: Run | None = None
    engine: Engine = field(init=False)
    app_id: str = "ap" + "0" * 25 + "1"
    numbers: int = 0

    def __post_init__(self) -> None:
        given: object = self.clock  # a test of the real world gives the machine's own
        ids: Ids = SeededIds(self.clock) if isinstance(given, FakeClock) else SystemIds(self.clock)
        self.engine = Engine(
            self.store,
            host=self.host,
            keyring=Keyring(KEY),
            carrier=self.carrier,
            clock=self.clock,
            ids=ids,
            public_base_url=self.base_url,
            run=self.run,
        )
        self.put_app(App(self.app_id, "shop", self.clock.now(), return_hosts=("shop.example",)))

    def put_app(self, app: App) -> None:
        with self.store.write() as unit:
            unit.put_app(app)
        self.engine.apps.forget()

    def request(
        self, rpc: str = "Test", request_id: str = "", content: bytes = b"{}", app_id: str = ""
    ) -> CallerRequest:
        self.numbers += 1
        return CallerRequest(
            RequestKey(app_id or self.app_id, rpc, request_id or f"request-number-{self.numbers:06}"), content
        )

    async def account(self, channel: str = "scripted", settings: Mapping[str, str] | None = None, **more: Any) -> str:
        given = SCRIPTED if settings is None else settings
        environment = more.pop("environment", "sandbox")
        made = await self.engine.accounts.add(more.pop("app_id", self.app_id), channel, environment, given, **more)
        return made.account_id

    async def order(self, amount_minor: int = 10_000, currency: str = "CNY", app_id: str = "", **more: Any) -> Order:
        items: tuple[LineItem, ...] = more.pop("items", ())
        details = Details("Two tickets", items=items, return_url=more.pop("return_url", ""))
        draft = OrderDraft(amount_minor, currency, details, **more)
        return (await self.engine.create_order(app_id or self.app_id, draft, None)).order

    async def pay(self, order: Order, channel: str = "scripted", method: str = "qr", **more: Any) -> Told:
        request = more.pop("request", None)
        app_id = more.pop("app_id", self.app_id)
        deadline_at = more.pop("deadline_at", None)
        choice = Choice(channel, method, **more)
        return await self.engine.pay(app_id, order.order_id, choice, request, deadline_at=deadline_at)

    async def paid(self, order: Order, channel: str = "scripted", method: str = "qr", **more: Any) -> Payment:
        """Begin a payment and return it."""
        told = await self.pay(order, channel, method, **more)
        payment = told.order.payment(told.subject_id)
        assert payment is not None
        return payment

    async def refund(self, order: Order, amount_minor: int, currency: str = "CNY", **more: Any) -> Refund:
        draft = RefundDraft(amount_minor, currency, **more)
        told = await self.engine.create_refund(self.app_id, order.order_id, draft, self.request("CreateRefund"))
        refund = told.order.refund(told.subject_id)
        assert refund is not None
        return refund

    async def stands(self, order: Order) -> Order:
        """The order as it stands now."""
        found = await self.engine.reader.load(order.order_id)
        assert found is not None
        return found

    async def do_due(self, *, limit: int = 50) -> int:
        """Do what is due now, as the clock would, until nothing is; how many tasks that were."""
        done = 0
        for _ in range(limit):
            with self.store.write() as unit:
                taken = unit.claim_due(self.clock.now(), self.clock.now() + 30_000_000, 50)
            if not taken:
                return done
            await asyncio.gather(*(self.engine.verbs.do(due) for due in taken))
            done += len(taken)
        raise AssertionError("tasks are due again and again")

    def evidence(self, order: Order) -> list[str]:
        """How we were told, in order: VIA finding."""
        with self.store.read() as unit:
            return [f"{one.evidence.via} {one.evidence.content}" for one in unit.evidence_of(order.order_id)]


def scripted(store: Store, channel: ScriptedChannel, carrier: Carrier | None = None, **kind: Any) -> World:
    """A world with the scripted channel."""
    return World(store, Host([kind_of(channel, **kind)]), carrier or kept_simply())


@dataclass
class Sandbox:
    """A world with the real sandbox plugin and its simulator, inline, with a bad network in front of it on demand."""

    world: World
    simulator: Any
    wire: FaultyCarrier
    inline: InlineCarrier
    postman: Postman
    account_id: str

    async def deliver(self) -> list[NoticeReply]:
        """Bring the channel's notices in."""
        return await self.postman.deliver()


async def sandbox(store: Store, *more: ChannelKind) -> Sandbox:
    """A sandbox with one account."""
    loaded = Host.load(required=["sandbox"])
    host = Host([*loaded.kinds.values(), *more])
    kind = host.kind("sandbox")
    assert kind is not None
    assert kind.simulator is not None
    simulator: Simulator = kind.simulator()
    clock = FakeClock()
    inline = InlineCarrier(clock, {GATE: simulator})
    wire = FaultyCarrier(inline)
    world = World(store, host, wire, clock)
    account_id = await world.account("sandbox", simulator.settings(GATE))
    postman = Postman({"sandbox": simulator}, clock, world.engine.deliver_notice)
    return Sandbox(world, simulator, wire, inline, postman, account_id)


async def refused(work: Awaitable[Any]) -> Refused:
    """The refusal that this work ends in."""
    try:
        await work
    except Refused as refusal:
        return refusal
    raise AssertionError("it was not refused")


async def reason_of(work: Awaitable[Any]) -> Reason:
    return (await refused(work)).reason


async def until(true: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.005)
