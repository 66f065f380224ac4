"""The rows about channels: notices, imports, envelopes, and a cashier before which every loaded channel stands."""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
import os
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench import load, servers
from bench.rows import Bench, Row, lines
from paycore.channel import ENTRY_POINT_GROUP, ChannelVerb, KitSimulator, Method, NoticeReply, RawNotice
from paycore.core.offers import Offer, OfferKind
from paycore.core.order import Details, LineItem, OrderState
from paycore.engine import Engine
from paycore.engine.accounts import Accounts
from paycore.engine.cashier import Choice
from paycore.engine.clock import SystemClock
from paycore.engine.host import Host
from paycore.engine.ids import SystemIds
from paycore.engine.keyring import KEY_BYTES, Keyring, open_keyring
from paycore.engine.memory import Memory
from paycore.engine.orders import OrderDraft
from paycore.engine.simulators import SimulatorServer
from paycore.store import App, Store, StoredOffer
from paycore.testing.wires import InlineCarrier
from paycore.v1 import cashier_pb2
from tests.walks.town import Town, found

AMOUNT_MINOR = 12_800
GATEWAY = "http://127.0.0.1:9"
"""Where the simulators stand. They are asked inside this process, so nobody listens there."""


DELIVERED = NoticeReply(200, {"content-type": "text/plain"}, b"success")


# ---------------------------------------------------------------------------------------------- notices


NOTICES_AT_ONCE = 256
PAYERS_AT_ONCE = 64
COMMITTED_TARGET = 1_000.0
COMMITTED_FOR = "alipay"
"""The channel that the target was set for. The others' figures stand beside it."""


async def notices(bench: Bench) -> list[Row]:
    """A channel's genuine notices of payments: verified only, and verified and committed by an engine on SQLite."""
    rows = []
    for name, kind in sorted(Host.load().kinds.items()):
        if kind.simulator is not None and ChannelVerb.READ_NOTICE in kind.verbs:
            rows += await _notice_rows(bench, name)
    return rows


async def _notice_rows(bench: Bench, channel: str) -> list[Row]:
    verified, committed = [], []
    async with office(bench.databases["sqlite"](), channel) as desk:
        for turn in range(bench.scale.rounds + 1):
            letters = await desk.letters(bench.scale.burst // 4)
            alone, stored = await desk.read(letters), await desk.take_in(letters)
            if turn:  # the first round only warms up
                verified.append(alone)
                committed.append(stored)
    read, rate = statistics.median(verified), statistics.median(committed)
    has_target = channel == COMMITTED_FOR
    return [
        Row(f"{channel}: notices verified, one thread", f"{read:,.0f}/s"),
        Row(
            f"{channel}: notices verified and committed, SQLite, synchronous=FULL",
            f"{rate:,.0f}/s ({NOTICES_AT_ONCE} at once, {os.cpu_count()} cores)",
            f">= {COMMITTED_TARGET:,.0f}/s" if has_target else "",
            rate >= COMMITTED_TARGET if has_target else None,
        ),
    ]


@dataclass
class Office:
    """An engine with one account at one channel, and that channel's simulator beside it."""

    engine: Engine
    app_id: str
    account_id: str
    simulator: KitSimulator
    method: Method
    orders: list[str]

    async def letters(self, count: int) -> list[RawNotice]:
        """Let so many orders be paid at the channel; returns its notices about them, which nobody has seen yet."""
        self.orders = []
        for begun in range(0, count, PAYERS_AT_ONCE):
            await asyncio.gather(*(self._pay() for _ in range(min(PAYERS_AT_ONCE, count - begun))))
        now = self.engine.clock.now()
        due = self.simulator.due(now)
        for one in due:  # they will be taken in; the simulator need not send them again
            self.simulator.answered(one.key, DELIVERED, now)
        return [_raw(one.request) for one in due]

    async def _pay(self) -> None:
        items = (LineItem("gold.100", "Jasmine tea", 1, AMOUNT_MINOR),)
        draft = OrderDraft(AMOUNT_MINOR, "CNY", Details("Jasmine tea", items=items))
        order = (await self.engine.create_order(self.app_id, draft, None)).order
        choice = Choice(self.method_channel, self.method.name, target=next(iter(self.method.targets), ""))
        deadline = self.engine.clock.now() + 10_000_000
        told = await self.engine.pay(self.app_id, order.order_id, choice, None, deadline_at=deadline)
        [payment] = told.order.payments
        self._take_money(str(payment.plan_json))
        self.orders.append(order.order_id)

    @property
    def method_channel(self) -> str:
        [name] = self.engine.host.kinds
        return name

    def _take_money(self, plan_json: str) -> None:
        """The payer pays. A store sells for a plan and tells of it when it is asked to; every other channel tells by itself."""
        now = self.engine.clock.now()
        if self.method.scene == "store":
            store: Any = self.simulator
            store.announce("ONE_TIME_CHARGE", store.buy(plan_json, now, amount_minor=AMOUNT_MINOR), now)
        else:
            self.simulator.pay(self.simulator.accept(plan_json, now), now)

    async def read(self, letters: Iterable[RawNotice]) -> float:
        """How many notices a second are read and verified, by one thread."""
        channel, now = (await self.engine.accounts.open(self.account_id)).channel, self.engine.clock.now()
        began, told = time.perf_counter(), 0
        for letter in letters:
            told += len(channel.read_notice(letter, now).findings)
        seconds = time.perf_counter() - began
        if told < len(self.orders):
            raise AssertionError(f"{told} findings in the notices of {len(self.orders)} payments")
        return len(self.orders) / seconds

    async def take_in(self, letters: list[RawNotice]) -> float:
        """How many notices a second the engine takes in, verified and on the disk. Every order is PAID afterwards."""
        waiting = iter(letters)

        async def hand_over() -> None:
            for letter in waiting:
                reply = await self.engine.deliver_notice(self.account_id, letter)
                if reply.status >= 300:
                    raise AssertionError(f"a genuine notice was answered with {reply.status}")

        began = time.perf_counter()
        await asyncio.gather(*(hand_over() for _ in range(NOTICES_AT_ONCE)))
        seconds = time.perf_counter() - began
        for order_id in self.orders:
            order = await self.engine.reader.load(order_id)
            if order is None or order.state is not OrderState.PAID:
                raise AssertionError(f"{order_id} is not paid after its notice was taken in")
        return len(letters) / seconds


@asynccontextmanager
async def office(url: str, channel: str) -> AsyncIterator[Office]:
    """An office on an empty database."""
    clock = SystemClock()
    store = Store.open(url, check_durability=False)
    await asyncio.to_thread(store.migrate)
    host = Host.load(allow=[channel], required=[channel])
    made: Any = host.simulators()[channel]
    ids = SystemIds(clock)
    engine = Engine(
        store,
        host=host,
        keyring=Keyring(os.urandom(KEY_BYTES)),
        carrier=InlineCarrier(clock, {GATEWAY: made}),
        clock=clock,
        ids=ids,
        public_base_url="https://pay.example",
    )
    app = App("ap" + "0" * 25 + "1", "shop", clock.now())
    await engine.start(with_clock=False)
    try:
        await engine.memory.write(lambda unit: unit.put_app(app))
        kind = host.kinds[channel]
        account = await engine.accounts.add(
            app.app_id, channel, kind.environments[0].value, dict(made.settings(GATEWAY))
        )
        if hasattr(made, "notify_url"):  # a store's, which is told by hand where to send them
            made.notify_url = f"https://pay.example/v1/notices/{account.account_id}"
        method = next(one for one in kind.methods if one.scene in ("app", "store") and not one.inputs)
        yield Office(engine, app.app_id, account.account_id, made, method, [])
    finally:
        await engine.stop()
        store.close()


def _raw(request: Any) -> RawNotice:
    parts = urlsplit(request.url)
    headers = {name.lower(): value for name, value in request.headers.items()}
    return RawNotice(request.method, parts.path, headers, request.body, parts.query)


# ---------------------------------------------------------------------------------------------- imports


IMPORT_TARGET_MS = 300.0
IMPORT = """
import sys, time
from importlib import metadata
[point] = [one for one in metadata.entry_points(group=sys.argv[1]) if one.name == sys.argv[2]]
import paycore.channel
began = time.perf_counter()
list(point.load().paycore_channels())
print(time.perf_counter() - began)
"""


async def imports(bench: Bench) -> list[Row]:
    """What loading each plugin costs a server, in a fresh process with byte code in place."""
    names = sorted(point.name for point in metadata.entry_points(group=ENTRY_POINT_GROUP))
    return [await asyncio.to_thread(_import_row, bench, name) for name in names]


def _import_row(bench: Bench, plugin: str) -> Row:
    said = []
    for _ in range(bench.scale.starts + 2):
        words = [sys.executable, "-c", IMPORT, ENTRY_POINT_GROUP, plugin]
        done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
        said.append(float(done.stdout) * 1000)
    milliseconds = statistics.median(said[1:])
    return Row(
        f"loading the plugin {plugin}",
        f"{milliseconds:.0f} ms",
        f"< {IMPORT_TARGET_MS:.0f} ms",
        milliseconds < IMPORT_TARGET_MS,
    )


# ---------------------------------------------------------------------------------------------- envelopes


async def envelopes(bench: Bench) -> list[Row]:
    """Plans sealed for an app: built, narrowed and signed, by one thread, over every channel's plans of the vectors."""
    seals, rates = sealed_samples(), []
    for _ in range(bench.scale.rounds + 1):
        began, done = time.perf_counter(), 0
        while time.perf_counter() - began < bench.scale.seconds:
            for seal in seals:
                seal()
            done += len(seals)
        rates.append(done / (time.perf_counter() - began))
    rate = statistics.median(rates[1:])
    return [Row(f"envelopes sealed, one thread, {len(seals)} plans of the vectors in turn", f"{rate:,.0f}/s")]


def sealed_samples() -> list[Callable[[], str]]:
    """What seals each sample's plan anew. Each was opened once, so that nobody measures seals that no app would take."""
    from paycore_bridge.envelope import Payment, UsedOnce, open_envelope, seal
    from paycore_bridge.keys import KeySet, SigningKey

    key, audience, numbers = SigningKey.make(), ["ios:com.example.shop", "android:com.example.shop"], itertools.count()

    def one(sample: Any, now: int) -> str:
        about = Payment("or_1", "pa_1", sample.channel, sample.method, AMOUNT_MINOR, "CNY")
        jti = f"bench-{next(numbers):016}"
        return seal(sample.plan, about, key=key, issuer="paycore", audience=audience, jti=jti, now=now)

    keys, used = KeySet.of(key), UsedOnce()
    for sample, now in _samples():
        open_envelope(one(sample, now), keys=keys, audience=audience[0], now=now, take=used.take)
    return [partial(one, sample, now) for sample, now in _samples()]


def _samples() -> list[tuple[Any, int]]:
    """Every channel's plan on every target, and when it is sealed. They are made beside the bridge, not shipped with it."""
    path = Path(__file__).resolve().parent.parent / "bridge" / "vector_samples.py"
    spec = importlib.util.spec_from_file_location("vector_samples", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # data classes look their module up
    spec.loader.exec_module(module)
    return [(sample, module.NOW) for sample in module.samples()]


# ---------------------------------------------------------------------------------------------- the cashier


CASHIER = "/paycore.v1.CashierService"
SESSIONS_A_SECOND = 100
UNPACED = {"PAYCORE_LIMITS": '{"session_rate": 1000, "session_burst": 10000}'}
"""One session asks as often as a hundred payers do, which the server would not allow it."""
FACES = ("h5", "android", "pc")


async def cashier(bench: Bench) -> list[Row]:
    """GetCashierSession of a server with an account at every loaded channel, at a steady rate."""
    folder = bench.place("cashier")
    clock = SystemClock()
    simulators = Host.load().simulators()
    street = SimulatorServer(simulators, clock)
    await street.start()
    try:
        town = await found(bench.databases["sqlite"](), folder, simulators["sandbox"].settings(GATEWAY), UNPACED)
        for name in sorted(set(simulators) - {"sandbox"}):
            await _open_account(town, name, dict(simulators[name].settings(street.base_url(name))))
        _make_offers(town)
        server = servers.again(town)
        async with servers.running(server.process) as process, lines(process.address, server.key) as (line,):
            return [await _cashier_row(bench, process.address, line, face) for face in FACES]
    finally:
        await street.stop()


async def _cashier_row(bench: Bench, address: str, line: Any, face: str) -> Row:
    request = cashier_pb2.CreateCashierSessionRequest(
        order_id=await load.create(line), request_id=f"bench-{load.RUN}-{face:_>12}"
    )
    request.client.face = face
    answer = await line.ask(f"{CASHIER}/CreateCashierSession", request.SerializeToString())
    opened = cashier_pb2.CreateCashierSessionResponse.FromString(answer)
    body = cashier_pb2.GetCashierSessionRequest(session_id=opened.session.session_id).SerializeToString()
    async with lines(address, opened.session_token) as (payer,):
        path = f"{CASHIER}/GetCashierSession"
        await load.paced(payer, path, lambda: body, per_second=SESSIONS_A_SECOND, seconds=1)
        seconds = bench.scale.seconds * 2
        figures = await load.paced(payer, path, lambda: body, per_second=SESSIONS_A_SECOND, seconds=seconds)
        shown = cashier_pb2.GetCashierSessionResponse.FromString(await payer.ask(path, body)).session
    channels = len({option.channel for option in shown.options})
    return Row(
        f"GetCashierSession on {face}, {len(shown.options)} options of {channels} channels, {OFFERS} offers, {SESSIONS_A_SECOND}/s",
        f"p50 {figures.at(0.5) * 1000:.1f} ms, p99 {figures.at(0.99) * 1000:.1f} ms",
    )


OFFERS = 20


def _make_offers(town: Town) -> None:
    """Offers of every sort, of which each method meets most."""
    store = Store.open(town.settings["PAYCORE_DATABASE_URL"], pool_size=2, check_durability=False)
    try:
        with store.write() as unit:
            for number in range(OFFERS):
                unit.put_offer(StoredOffer(_offer(number), town.app_id, number))
    finally:
        store.close()


def _offer(number: int) -> Offer:
    is_percent = bool(number % 2)
    return Offer(
        f"of-bench-{number}",
        f"优惠{number}",
        f"Offer {number}",
        OfferKind.PERCENT if is_percent else OfferKind.FIXED,
        "CNY",
        amount_minor=0 if is_percent else 1 + number,
        basis_points=100 + number if is_percent else 0,
        budget_minor=10**9,
        quota=10**6,
        methods=("alipay", "wechatpay.native") if number % 5 == 4 else (),
        stacks=number % 4 == 3,
    )


async def _open_account(town: Town, channel: str, settings: dict[str, str]) -> None:
    """Another channel's account of the town's app."""
    store = Store.open(town.settings["PAYCORE_DATABASE_URL"], pool_size=2, check_durability=False)
    memory, clock = Memory(store), SystemClock()
    try:
        keyring = open_keyring(text=None, path=Path(town.settings["PAYCORE_MASTER_KEY_FILE"]))
        accounts = Accounts(memory, keyring, Host.load(allow=[channel]), clock, SystemIds(clock))
        await accounts.add(town.app_id, channel, "sandbox", settings)
    finally:
        memory.close()
        store.close()


ROWS: dict[str, Callable[[Bench], Awaitable[list[Row]]]] = {
    "notices": notices,
    "imports": imports,
    "envelopes": envelopes,
    "cashier": cashier,
}
