"""One server process: the store, the engine, gRPC and HTTP, brought up in order and taken down in the other.

    settings = load()
    run(settings)                                   # until SIGTERM or SIGINT
    async with serving(settings) as process: ...    # inside another loop (tests, demo)

Everything that is slow to import is imported where it is first needed, so that a server is ready in about a second.
"""

import asyncio
import gc
import logging
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from paycore import logs
from paycore.rpc.auth import Authenticator
from paycore.rpc.directory import StoredDirectory
from paycore.rpc.limits import Allowance, Limits
from paycore.rpc.pages import Pages
from paycore.rpc.pipeline import Method, Pipeline, methods_of
from paycore.rpc.server import Listening, RpcServer, Tls
from paycore.rpc.services import DESCRIPTORS, services
from paycore.rpc.watch import Watches
from paycore.settings import Settings
from paycore.store import Store
from paycore.web.app import Behind, make_app
from paycore.web.figures import Figures
from paycore.web.listener import HttpServer
from paycore.web.page import CashierPage

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from paycore.engine import Engine
    from paycore.engine.carrier import Carrier
    from paycore.engine.clock import Clock
    from paycore.engine.host import Host
    from paycore.engine.ids import Ids
    from paycore.engine.keyring import Keyring

log = logging.getLogger("paycore.serving")

LOOK_SECONDS: Final = 2.0
"""How long the database may take to show that it is there."""
LOOK_EVERY_SECONDS: Final = 5.0
HTTP_LAST_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Parts:
    """What a process may be given instead of the real thing: a clock that stands still, a wire that is a simulator."""

    clock: "Clock | None" = None
    ids: "Ids | None" = None
    carrier: "Carrier | None" = None
    host: "Host | None" = None
    keyring: "Keyring | None" = None


class Readiness:
    """Whether this process may be sent calls, and why not. The database is looked at, but never by two at once."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self._looking: asyncio.Task[str] | None = None
        self.is_leaving = False

    async def why_not(self) -> str:
        """An empty text when it may; else one sentence."""
        if self.is_leaving:
            return "The server shuts down."
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._engine.why_not_ready())
        try:
            return await asyncio.wait_for(asyncio.shield(self._looking), LOOK_SECONDS)
        except TimeoutError:
            return "The database does not answer."


@dataclass(slots=True)
class Process:
    """A server that runs. `target` is where gRPC listens, `base_url` where HTTP does (empty without HTTP)."""

    settings: Settings
    engine: "Engine"
    rpc: RpcServer
    methods: list[Method]
    readiness: Readiness
    target: str
    base_url: str
    authenticator: Authenticator
    closing: AsyncExitStack

    async def drain(self) -> None:
        """Leave politely: first not ready, then nothing new, then the end of what is at work."""
        self.readiness.is_leaving = True
        await self.rpc.health.leave()
        await asyncio.sleep(self.settings.leave_seconds)
        await self.rpc.drain(self.settings.drain_seconds)
        await self.stop()

    async def stop(self) -> None:
        """Stop at once. What was acknowledged is stored; what was not will be told again."""
        await self.closing.aclose()


async def start(settings: Settings, parts: Parts | None = None) -> Process:
    """Bring a process up; it is ready when this returns. Raises what keeps it from being so, with everything closed again."""
    closing = AsyncExitStack()
    try:
        return await _start(settings, parts or Parts(), closing)
    except BaseException:
        await closing.aclose()
        raise


@asynccontextmanager
async def serving(settings: Settings, parts: Parts | None = None) -> AsyncIterator[Process]:
    """A process for as long as the block runs."""
    process = await start(settings, parts)
    try:
        yield process
    finally:
        await process.stop()


def run(
    settings: Settings, say: Callable[[str], None] = print, opened: Callable[[Process], None] = lambda process: None
) -> None:
    """Serve until SIGTERM or SIGINT, then leave politely; a second signal leaves at once.

    Says one line when ready; `opened` is called right before, when it is known where the process listens.
    """
    logs.configure(settings.log_level)
    asyncio.run(_run(settings, say, opened))


async def _run(settings: Settings, say: Callable[[str], None], opened: Callable[[Process], None]) -> None:
    signals: asyncio.Queue[int] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signals.put_nowait, number)
    process = await start(settings)
    gc.freeze()  # what start-up made lives as long as the process: not to be looked through again and again
    try:
        opened(process)
        say(
            f"paycore is ready: gRPC at {process.target}"
            + (f", HTTP at {process.base_url}" if process.base_url else "")
        )
        await signals.get()
        leaving = asyncio.create_task(process.drain())
        again = asyncio.create_task(signals.get())
        await asyncio.wait((leaving, again), return_when=asyncio.FIRST_COMPLETED)
        again.cancel()
        leaving.cancel()
        with suppress(asyncio.CancelledError):
            await leaving
    finally:
        await process.stop()


async def _start(settings: Settings, parts: Parts, closing: AsyncExitStack) -> Process:
    logs.hide(settings.secrets())
    listening = _listening(settings, settings.grpc_listen)
    http = _http(settings, closing)
    store = await asyncio.to_thread(_open_store, settings)
    closing.callback(store.close)
    base_url = "" if http is None else http.base_url
    engine = _engine(settings, parts, store, settings.public_base_url or base_url, closing)
    closing.push_async_callback(engine.stop)
    watches, pages = Watches(engine), Pages(engine.keyring.derive_all("page tokens"))
    closing.push_async_callback(watches.stop)
    directory = StoredDirectory(engine.memory, engine.sessions.tokens, engine.clock)
    authenticator = Authenticator(directory, now=engine.clock.now)
    pipeline = Pipeline(
        engine,
        authenticator,
        Limits(Allowance(**settings.limits.model_dump())),
        call_seconds=settings.call_seconds,
        stream_seconds=settings.stream_seconds,
    )
    methods = methods_of(DESCRIPTORS, services(watches, pages))
    rpc = RpcServer(
        pipeline, methods, listening, has_reflection=settings.reflection, slow_seconds=settings.slow_seconds
    )
    readiness = Readiness(engine)
    await engine.start()
    port = await rpc.start()
    closing.push_async_callback(rpc.stop)
    if http is not None:
        figures = Figures(methods, pipeline.limits, lambda: _figures(engine))
        cashier = CashierPage(engine, is_secure=engine.public_base_url.startswith("https:"))
        browsers = _browsers(settings, pipeline, methods)
        behind = Behind(engine.deliver_notice, readiness.why_not, figures, browsers, cashier.routes())
        await http.start(make_app(behind))
        closing.push_async_callback(http.stop, HTTP_LAST_SECONDS)  # before the engine, to which it brings notices
    await _watch_health(rpc, readiness, closing)
    target = _target(settings.grpc_listen, port)
    return Process(settings, engine, rpc, methods, readiness, target, base_url, authenticator, closing)


def _browsers(settings: Settings, pipeline: Pipeline, methods: list[Method]) -> "ASGIApp":
    """Every RPC for browsers, made when the first of them asks."""
    from paycore.web.door import Door, open_to

    def make() -> "ASGIApp":
        from paycore.web.connect import Services

        services: ASGIApp = Services(pipeline, methods, slow_seconds=settings.slow_seconds)
        return services

    return open_to(settings.web_origins, Door(make))


def _listening(settings: Settings, address: str) -> Listening:
    """Where to listen and how. Raises PlaintextRefused."""
    tls = None
    if settings.tls_certificate is not None and settings.tls_key is not None:
        tls = Tls(settings.tls_certificate, settings.tls_key, settings.tls_client_authority)
    listening = Listening(address, tls, settings.allow_plaintext, settings.share_port)
    listening.check()
    return listening


def _http(settings: Settings, stack: AsyncExitStack) -> HttpServer | None:
    """The HTTP face with its port taken, not yet answering; None when there is to be none."""
    if not settings.http_listen:
        return None
    listening = _listening(settings, settings.http_listen)
    server = HttpServer(
        listening.address,
        shares_port=listening.shares_port,
        certificate=settings.tls_certificate,
        key=settings.tls_key,
    )
    server.bind()
    stack.push_async_callback(server.stop, HTTP_LAST_SECONDS)
    return server


def _open_store(settings: Settings) -> Store:
    """The database. A new SQLite file gets its tables; whatever else is not current is for `paycore migrate`."""
    store = Store.open(
        settings.database_url.get_secret_value(),
        pool_size=settings.database_pool_size,
        check_durability=settings.check_durability,
    )
    try:
        if store.dialect == "sqlite" and store.is_fresh():
            store.migrate()
        store.require_current()
    except BaseException:
        store.close()
        raise
    return store


def _engine(settings: Settings, parts: Parts, store: Store, base_url: str, closing: AsyncExitStack) -> "Engine":
    from paycore.engine import Engine
    from paycore.engine.carrier import HttpCarrier
    from paycore.engine.clock import SystemClock
    from paycore.engine.host import Host
    from paycore.engine.ids import SystemIds

    carrier = parts.carrier
    if carrier is None:
        carrier = HttpCarrier()
        closing.push_async_callback(carrier.aclose)
    clock = parts.clock or SystemClock()
    named = settings.channels or None
    return Engine(
        store,
        host=parts.host or Host.load(allow=named, deny=settings.channels_off, required=settings.channels),
        keyring=parts.keyring or keyring_of(settings),
        carrier=carrier,
        clock=clock,
        ids=parts.ids or SystemIds(clock),
        public_base_url=base_url,
        hints_url=settings.database_url.get_secret_value() if store.dialect == "postgresql" else None,
    )


def _figures(engine: "Engine") -> dict[str, float]:
    """What the engine counted, by the names of metrics."""
    told, clock = engine.teller.meter, engine.clock_work
    return {
        "paycore_facts_total": told.facts,
        "paycore_facts_refused_total": told.refused,
        "paycore_fact_batches_total": told.batches,
        "paycore_fact_batch_seconds_total": told.seconds,
        "paycore_facts_told_one_by_one_total": told.one_by_one,
        "paycore_store_unavailable_total": told.unavailable,
        "paycore_tasks_done_total": clock.done,
        "paycore_tasks_failed_total": clock.failed,
        "paycore_tasks_at_work": clock.doing,
        "paycore_orders_watched": engine.hub.watched,
    }


def keyring_of(settings: Settings) -> "Keyring":
    """The master keys. On a development database without one, the file beside it is used, and made at first. Raises NoMasterKey."""
    from paycore.engine.keyring import NoMasterKey, open_keyring

    if settings.master_key is not None:
        return open_keyring(text=settings.master_key.get_secret_value())
    if settings.master_key_file is not None:
        return open_keyring(path=settings.master_key_file)
    beside = settings.development_key_file
    if beside is None:
        raise NoMasterKey("There is no master key; set PAYCORE_MASTER_KEY_FILE (make it by `paycore master-key make`).")
    return open_keyring(path=beside, make_if_missing=True)


async def _watch_health(rpc: RpcServer, readiness: Readiness, stack: AsyncExitStack) -> None:
    """Keep what health says in step with what is so, beginning now."""

    async def look() -> None:
        reason = await readiness.why_not()
        if (not reason) != rpc.health.is_serving:
            log.info("readiness changed", extra={"is_ready": not reason, "reason": reason})
            await rpc.health.say(is_serving=not reason)

    async def keep_looking() -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_SECONDS)
            await look()

    await look()
    task = asyncio.create_task(keep_looking(), name="health")

    async def end() -> None:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    stack.push_async_callback(end)


def _target(address: str, port: int) -> str:
    """The address with the port that was really taken."""
    return address if address.startswith("unix") else f"{address.rpartition(':')[0]}:{port}"
