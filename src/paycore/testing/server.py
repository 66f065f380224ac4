"""A whole server inside the test's loop: real gRPC and HTTP on loopback, channels played by their own simulators.

    async with running_server() as server:
        async with AsyncClient(server.target, server.api_key) as client:
            order = await client.create_order(...)
            ...
            server.pay(payment_id)  # as the payer would; the channel's notice follows by itself

With a FakeClock nothing that waits for time happens until the clock is moved.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from paycore.channel import Simulator
from paycore.core.ids import Prefix
from paycore.engine import Engine
from paycore.engine.clock import Clock, SystemClock
from paycore.engine.host import Host
from paycore.engine.ids import Ids, SystemIds
from paycore.engine.keyring import KEY_BYTES, Keyring
from paycore.engine.simulators import SimulatorServer, enter_notice_urls
from paycore.rpc.auth import KEY_PREFIX, digest_of
from paycore.rpc.policy import Scope
from paycore.serving import Parts, Process, serving
from paycore.settings import load
from paycore.store import Account, ApiKey, App, Store

ALL_SCOPES = frozenset(Scope)


@dataclass(slots=True)
class RunningServer:
    """A server with one app, its key, and an account at every channel that has a simulator."""

    process: Process
    clock: Clock
    ids: Ids
    simulators: Mapping[str, Simulator]
    street: SimulatorServer
    app: App
    api_key: str
    accounts: dict[str, Account] = field(default_factory=dict)
    """The app's account at each channel, by the channel's name."""

    @property
    def target(self) -> str:
        """Where gRPC listens, as `host:port`."""
        return self.process.target

    @property
    def base_url(self) -> str:
        """Where HTTP listens."""
        return self.process.base_url

    @property
    def engine(self) -> Engine:
        return self.process.engine

    @property
    def simulator(self) -> Simulator:
        """The simulator, where there is only one."""
        [only] = self.simulators.values()
        return only

    def pay(self, payment_id: str, *, amount_minor: int | None = None, channel: str | None = None) -> None:
        """Pay as the payer would. The channel's notice follows."""
        simulator = self.simulator if channel is None else self.simulators[channel]
        simulator.pay(payment_id, self.clock.now(), amount_minor=amount_minor)
        self.street.look()

    async def add_app(self, name: str, *, scopes: Collection[str] = ALL_SCOPES, **limits: Any) -> tuple[App, str]:
        """Another business, and its key."""
        app = App(self.ids.mint(Prefix.APP), name, self.clock.now(), scopes=tuple(ALL_SCOPES), **limits)
        await self.engine.memory.write(lambda unit: unit.put_app(app))
        return app, await self.add_key(app, scopes)

    async def add_key(self, app: App, scopes: Collection[str] = ALL_SCOPES, **more: Any) -> str:
        """Another key of an app. It is the only time that its text is seen."""
        key = KEY_PREFIX + secrets.token_urlsafe(32)
        row = ApiKey(
            secrets.token_hex(8), app.app_id, self.clock.now(), sha256=digest_of(key), scopes=tuple(scopes), **more
        )
        await self.engine.memory.write(lambda unit: unit.put_key(row))
        return key

    async def add_account(self, app: App, channel: str, settings: Mapping[str, str]) -> Account:
        """An account of this app at a channel, in the first environment that the channel has."""
        environment = self.engine.host.kinds[channel].environments[0].value
        return await self.engine.accounts.add(app.app_id, channel, environment, settings)


@asynccontextmanager
async def running_server(
    store_url: str = "sqlite://",
    *,
    clock: Clock | None = None,
    ids: Ids | None = None,
    host: Host | None = None,
    channels: Collection[str] = ("sandbox",),
    keyring: Keyring | None = None,
    simulators: Mapping[str, Simulator] | None = None,
    **settings: Any,
) -> AsyncIterator[RunningServer]:
    """A server on a fresh or an existing database, with these channels and any settings of `paycore.settings`.

    `simulators` and `keyring` are handed in where a second server plays against the same channel on the same database.
    """
    clock = clock or SystemClock()
    ids = ids or SystemIds(clock)
    host = host or Host.load(allow=channels, required=channels)
    await asyncio.to_thread(_migrate, store_url)
    played = host.simulators() if simulators is None else simulators
    given = {"grpc_listen": "127.0.0.1:0", "http_listen": "127.0.0.1:0", "check_durability": False, **settings}
    read = load(database_url=store_url, **given)
    parts = Parts(clock=clock, ids=ids, host=host, keyring=keyring or Keyring(secrets.token_bytes(KEY_BYTES)))
    async with AsyncExitStack() as stack:
        street = SimulatorServer(played, clock)
        await street.start()
        stack.push_async_callback(street.stop)
        process = await stack.enter_async_context(serving(read, parts))
        yield await _populated(process, clock, ids, played, street)


async def _populated(
    process: Process, clock: Clock, ids: Ids, simulators: Mapping[str, Simulator], street: SimulatorServer
) -> RunningServer:
    app = App(ids.mint(Prefix.APP), "shop", clock.now(), scopes=tuple(ALL_SCOPES))
    server = RunningServer(process, clock, ids, simulators, street, app, "")
    await process.engine.memory.write(lambda unit: unit.put_app(app))
    server.api_key = await server.add_key(app)
    for channel, simulator in simulators.items():
        settings = simulator.settings(street.base_url(channel))
        server.accounts[channel] = await server.add_account(app, channel, settings)
    urls = {channel: process.engine.notice_url(one.account_id) for channel, one in server.accounts.items()}
    enter_notice_urls(simulators, urls)
    return server


def _migrate(store_url: str) -> None:
    """Make the tables of a fresh PostgreSQL; a server does so itself on SQLite only."""
    if store_url.startswith("sqlite"):
        return
    store = Store.open(store_url, check_durability=False)
    try:
        if store.is_fresh():
            store.migrate()
    finally:
        store.close()
