"""A whole house without a thread: pipeline, engine, store in memory, the sandbox channel, a clock that stands still.

Made in a few milliseconds and always the same, so that whatever happens in it can be made to happen again.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import logging
import re
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from google.protobuf.message import Message
from starlette.applications import Starlette

from paycore.core.ids import Prefix, make_id
from paycore.engine import Engine
from paycore.engine.host import Host
from paycore.engine.keyring import Keyring
from paycore.engine.workshop import InlineWorkshop
from paycore.rpc.auth import Authenticator, Credentials
from paycore.rpc.directory import StoredDirectory
from paycore.rpc.grpc_face import decode
from paycore.rpc.limits import Allowance, Limits
from paycore.rpc.pages import Pages
from paycore.rpc.pipeline import Method, Pipeline, methods_of
from paycore.rpc.policy import Scope
from paycore.rpc.services import DESCRIPTORS, services
from paycore.rpc.validate import Validator
from paycore.rpc.watch import Watches
from paycore.store import ApiKey, App, Store
from paycore.store.audit import audit
from paycore.store.rules import Violation
from paycore.testing.clock import FakeClock, SeededIds
from paycore.testing.wires import FaultyCarrier, InlineCarrier
from paycore.web.app import Behind, make_app
from paycore.web.figures import Figures
from paycore_sandbox import SANDBOX, SandboxSimulator
from tests.rpc.shop import ONE_WAY, STRICT

T = TypeVar("T")

NOW = 1_795_000_000_000_000
SECOND = 1_000_000
GATE = "https://sandbox.example/gate"
OTHER_GATE = "https://sandbox.example/other"
BASE = "https://pay.example"
SHOP, RIVAL = make_id(Prefix.APP, NOW, 1), make_id(Prefix.APP, NOW, 2)
SHOP_KEY, RIVAL_KEY = ("pk_" + letter * 43 for letter in "sr")
LIMITLESS = Allowance(
    app_rate=1e9, app_burst=1e9, session_rate=1e9, session_burst=1e9, failed_rate=1e9, failed_burst=1e9
)
KINDS = (SANDBOX, STRICT, ONE_WAY)
TURNS = 400
"""How often others get their turn before a stream counts as having nothing to say."""


async def inline(work: Callable[[], T], /) -> T:
    """The store's work where it stands; others get their turn before it."""
    await asyncio.sleep(0)
    return work()


@dataclass(frozen=True, slots=True)
class Arrived:
    """A call as a transport would hand it over."""

    raw: bytes
    credentials: Credentials
    seconds_left: float | None = None

    @property
    def size(self) -> int:
        return len(self.raw)

    def decode(self, request_type: type[Message]) -> Message:
        return cast("Message", decode(request_type.FromString, self.raw))


@dataclass(eq=False)
class House:
    """The house, and what is needed to see whether anything moved in it."""

    store: Store
    books: sqlite3.Connection
    clock: FakeClock
    simulator: SandboxSimulator
    wire: FaultyCarrier
    inline: InlineCarrier
    engine: Engine
    pipeline: Pipeline
    methods: dict[str, Method]
    web: Starlette
    account_id: str
    rival_account_id: str

    # ------------------------------------------------------------------------------------ calling

    async def send(self, rpc: str, raw: bytes, *authorization: str) -> Message | None:
        """The response to these bytes, or a stream's first message (None: it has nothing to say yet). Raises Refused."""
        method = self.methods[rpc]
        arrived = Arrived(raw, Credentials(authorization, "192.0.2.7"))
        if not method.is_stream:
            return await self.pipeline.call(method, arrived)
        async with aclosing(self.pipeline.stream(method, arrived)) as messages:
            return await _first(messages)

    async def ask(self, request: Message, key: str = SHOP_KEY) -> Any:
        """The response to a request of ours."""
        rpc = type(request).__name__.removesuffix("Request")
        return await self.send(rpc, request.SerializeToString(), f"Bearer {key}")

    # ------------------------------------------------------------------------------------ looking

    @property
    def stirred(self) -> int:
        """Grows with every row that is written, kept or not."""
        return self.books.total_changes

    def shape(self) -> str:
        """One text for everything that is stored: two that are equal have the same rows in every table."""
        found = hashlib.sha256()
        for table in self._tables:
            for row in sorted(map(repr, self.books.execute(f"SELECT * FROM {table}"))):
                found.update(row.encode())
        return found.hexdigest()

    @functools.cached_property
    def _tables(self) -> list[str]:
        found = self.books.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
        return [name for (name,) in found if not name.startswith("sqlite_")]

    def violations(self) -> list[Violation]:
        """What the audit finds."""
        return list(audit(self.store))

    @property
    def sent(self) -> int:
        """How many requests have left for a channel."""
        return len(self.inline.carried)


async def _first(messages: AsyncIterator[Message]) -> Message | None:
    """The first message, if there is one without any time passing."""
    waiting = asyncio.ensure_future(_next(messages))
    for _ in range(TURNS):
        if waiting.done():
            break
        await asyncio.sleep(0)
    if waiting.done():
        return waiting.result()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    return None


async def _next(messages: AsyncIterator[Message]) -> Message | None:
    return await anext(messages, None)


# ---------------------------------------------------------------------------------------------- building


@asynccontextmanager
async def open_house(seed: str = "") -> AsyncIterator[House]:
    """A house with two apps, each with a key and an account at every channel, and nothing else."""
    store = Store.open("sqlite://")
    books = raw_connection(store)
    books.deserialize(await _template())
    clock, simulator, other = FakeClock(NOW), SandboxSimulator(f"fuzz {seed}"), SandboxSimulator("other merchant")
    carrier = InlineCarrier(clock, {GATE: simulator, OTHER_GATE: other})
    wire = FaultyCarrier(carrier)
    engine = Engine(
        store,
        host=Host(KINDS, workshop=InlineWorkshop()),
        keyring=Keyring(bytes(range(32))),
        carrier=wire,
        clock=clock,
        ids=SeededIds(clock),
        public_base_url=BASE,
        run=inline,
    )
    watches, pages = Watches(engine), Pages(engine.keyring.derive_all("page tokens"))
    directory = StoredDirectory(engine.memory, engine.sessions.tokens, clock)
    pipeline = Pipeline(engine, Authenticator(directory, now=clock.now, fresh_seconds=3600), Limits(LIMITLESS))
    pipeline._validator = _validator()  # compiling the rules takes longer than all the rest
    methods = methods_of(DESCRIPTORS, services(watches, pages))
    web = make_app(Behind(engine.deliver_notice, engine.why_not_ready, Figures(methods, pipeline.limits, dict)))
    try:
        accounts = [await engine.accounts.add(SHOP, kind.name, "sandbox", simulator.settings(GATE)) for kind in KINDS]
        rival = await engine.accounts.add(RIVAL, "sandbox", "sandbox", other.settings(OTHER_GATE))
        simulator.settings(GATE)
        simulator.purchase_notify_url = f"{BASE}/v1/notices/{accounts[0].account_id}"
        yield House(
            store,
            books,
            clock,
            simulator,
            wire,
            carrier,
            engine,
            pipeline,
            {method.name: method for method in methods},
            web,
            accounts[0].account_id,
            rival.account_id,
        )
    finally:
        await watches.stop()
        await engine.stop(0)
        store.close()


def raw_connection(store: Store) -> sqlite3.Connection:
    """The one connection of a store in memory."""
    with store._writer.connect() as connection:
        return cast("sqlite3.Connection", connection.connection.dbapi_connection)


@functools.cache
def _validator() -> Validator:
    return Validator()


_made: list[bytes] = []


async def _template() -> bytes:
    """A migrated database with two apps and their keys, as bytes; made once."""
    if not _made:
        store = Store.open("sqlite://")
        store.migrate()
        scopes = tuple(sorted(Scope))
        with store.write() as unit:
            unit.put_app(
                App(SHOP, "shop", NOW, scopes=scopes, currencies=("CNY", "JPY"), return_hosts=("shop.example",))
            )
            unit.put_app(App(RIVAL, "rival", NOW, scopes=scopes))
            for number, (app_id, key) in enumerate([(SHOP, SHOP_KEY), (RIVAL, RIVAL_KEY)]):
                digest = hashlib.sha256(key.encode()).hexdigest()
                unit.put_key(ApiKey(f"key{number}", app_id, NOW, sha256=digest, scopes=scopes))
        _made.append(raw_connection(store).serialize())
        store.close()
    return _made[0]


# ---------------------------------------------------------------------------------------------- listening


_NO_BUG = re.compile(r"(ORPHAN_NOTICE|WRONG_ACCOUNT) at account \w+")


@dataclass
class Ears(logging.Handler):
    """Hears whether anybody complains of a bug: a traceback, an error, a plugin that broke.

    That the channel speaks of something unknown, or to somebody else, is no bug.
    """

    heard: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(logging.INFO)

    def __hash__(self) -> int:
        return id(self)

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info or (record.levelno >= logging.WARNING and not _NO_BUG.fullmatch(record.getMessage())):
            self.heard.append(self.format(record))


@contextmanager
def listening() -> Iterator[Ears]:
    """Listen to everything that paycore logs meanwhile."""
    ears, log = Ears(), logging.getLogger("paycore")
    before = log.level
    log.addHandler(ears)
    log.setLevel(logging.INFO)
    try:
        yield ears
    finally:
        log.removeHandler(ears)
        log.setLevel(before)
