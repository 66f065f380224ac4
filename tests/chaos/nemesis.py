"""Whatever can go wrong, in an order that a seed decides: deaths of processes by one hand, the network by the other."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import psycopg

from paycore.testing.proxy import Cut, PostgresProxy, Proxy, Way
from paycore_sandbox.simulator import Fault, NoticeFault
from tests.chaos.channel import Channel
from tests.chaos.cluster import Cluster
from tests.walks.processes import Server

KEEP_SECONDS = 0.25
UP_SECONDS = 90.0
MEETING_SECONDS = 6.0
"""How long a cut waits for its commit."""
PAST_A_SHORT_LEASE_SECONDS = (11.0, 13.0)
"""A task that is done for a caller is leased for ten seconds."""
PAST_A_LONG_LEASE_SECONDS = (31.0, 34.0)
"""One that the clock does, for thirty."""


class Kept:
    """A server that is begun again whenever it has ended, as an init system would. It may end by itself only where it starts."""

    def __init__(self, server: Server, name: str) -> None:
        self.server = server
        self.name = name
        self.is_wanted = True
        self.deaths = 0
        """How often it ended without our having killed it."""

    async def keep(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(KEEP_SECONDS)
            if self.is_wanted and not self.is_alive:
                self.deaths += 1
                self.server.spawn()

    @property
    def is_alive(self) -> bool:
        process = self.server._process
        return process is not None and process.poll() is None

    def kill(self) -> None:
        """kill -9."""
        self.is_wanted = False
        self.server.kill()

    def begin(self) -> None:
        self.server.spawn()
        self.is_wanted = True

    async def pause(self, seconds: float) -> None:
        """Freeze it, and let it go on as if nothing had been."""
        process = self.server._process
        assert process is not None
        process.send_signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            process.send_signal(signal.SIGCONT)

    async def ready(self, seconds: float = UP_SECONDS) -> None:
        """Wait until it serves. Raises AssertionError with what it said when it does not."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    try:
                        return await self.server.ready()
                    except AssertionError:  # it ended; it is begun again
                        await asyncio.sleep(KEEP_SECONDS)
        except TimeoutError:
            raise AssertionError(f"{self.name} did not become ready:\n{self.server.said()[-4000:]}") from None


@dataclass
class Place:
    """Everything that can be broken."""

    cluster: Cluster
    servers: Sequence[Kept]
    databases: Sequence[PostgresProxy]
    """Each server's way to the database."""
    doors: Sequence[Proxy]
    """The ways of callers to each server, and of the channel's notices."""
    to_channel: Proxy
    channel: Channel
    freezes_seconds: tuple[float, float] = PAST_A_SHORT_LEASE_SECONDS
    figures: Counter[str] = field(default_factory=Counter)
    strange: list[str] = field(default_factory=list)
    """What must not happen to a server, and did."""

    @property
    def proxies(self) -> list[Proxy]:
        return [*self.databases, *self.doors, self.to_channel]

    @property
    def cuts(self) -> int:
        """How many connections broke exactly at a commit."""
        return sum(one.counts["cut before commit"] + one.counts["cut after commit"] for one in self.databases)

    async def heal(self) -> None:
        """Nothing goes wrong any more, and everything serves."""
        for proxy in self.proxies:
            proxy.heal()
        await self.channel.ask("clear")
        await asyncio.gather(*(server.ready() for server in self.servers))


class Deck:
    """Cards drawn in an order that a seed decides; when none is left they are shuffled anew."""

    def __init__(self, cards: Sequence[Callable[[], Awaitable[None]]], rng: random.Random) -> None:
        self._cards = list(cards)
        self._rng = rng
        self._left: list[Callable[[], Awaitable[None]]] = []

    def draw(self) -> Callable[[], Awaitable[None]]:
        if not self._left:
            self._left = self._rng.sample(self._cards, len(self._cards))
        return self._left.pop()


class Killer:
    """Processes die, freeze, and lose their database."""

    def __init__(self, place: Place, rng: random.Random) -> None:
        self._place = place
        self._rng = rng
        self._thawing: list[asyncio.Task[None]] = []
        self._deck = Deck(
            [self._kill_a_server] * 8
            + [self._kill_the_database] * 4
            + [self._kill_everything, self._freeze_a_server, self._freeze_the_database, self._restart_a_server],
            rng,
        )

    async def rage(self, until: float) -> None:
        """Until this moment of the monotonic clock."""
        while time.monotonic() < until:
            await self._deck.draw()()
            await asyncio.sleep(self._rng.uniform(0.3, 2.0))
        await asyncio.gather(*self._thawing)
        self._thawing.clear()

    async def _kill_a_server(self) -> None:
        """Sometimes again while it starts, and sometimes the other one before it serves again."""
        server = self._rng.choice(self._place.servers)
        await self._strike(server)
        if self._rng.random() < 0.25:
            await asyncio.sleep(self._rng.uniform(0.1, 1.5))
            await self._strike(server)
        if self._rng.random() < 0.6:
            await server.ready()

    async def _strike(self, server: Kept) -> None:
        server.kill()
        self._place.figures["SIGKILL of a server"] += 1
        await asyncio.sleep(self._rng.uniform(0, 0.5))
        server.begin()

    async def _kill_the_database(self) -> None:
        self._place.cluster.kill()
        self._place.figures["SIGKILL of PostgreSQL"] += 1
        await asyncio.sleep(self._rng.uniform(0, 1.5))
        await self._place.cluster.start()
        await asyncio.gather(*(server.ready() for server in self._place.servers))

    async def _kill_everything(self) -> None:
        for server in self._place.servers:
            server.kill()
            self._place.figures["SIGKILL of a server"] += 1
        self._place.cluster.kill()
        self._place.figures["SIGKILL of PostgreSQL"] += 1
        starting = asyncio.create_task(self._place.cluster.start())
        await asyncio.sleep(self._rng.uniform(0, 1.0))
        for server in self._place.servers:
            server.begin()
        await starting
        await asyncio.gather(*(server.ready() for server in self._place.servers))

    async def _restart_a_server(self) -> None:
        """As a deployment does."""
        self._place.figures["polite restarts"] += 1
        server = self._rng.choice(self._place.servers)
        await server.ready()
        server.is_wanted = False
        try:
            code = await server.server.leave()
        except subprocess.TimeoutExpired:
            server.kill()
            code = None
        if code != 0:
            self._place.strange.append(f"{server.name} was asked to leave: {code}: {server.server.said()[-1500:]}")
        server.begin()
        await server.ready()

    async def _freeze_the_database(self) -> None:
        self._place.figures["SIGSTOP of PostgreSQL"] += 1
        await self._place.cluster.freeze(self._rng.uniform(1, 6))

    async def _freeze_a_server(self) -> None:
        """Longer than the lease of what it is doing: others do it meanwhile, and then it wakes."""
        self._place.figures["SIGSTOP past a lease"] += 1
        frozen, seconds = self._rng.choice(self._place.servers), self._rng.uniform(*self._place.freezes_seconds)
        self._thawing.append(asyncio.create_task(frozen.pause(seconds)))


class Weatherman:
    """The network, the database's connections, and the channel's moods."""

    def __init__(self, place: Place, rng: random.Random) -> None:
        self._place = place
        self._rng = rng
        self._deck = Deck(
            [self._cut_at_commit] * 7
            + [self._late, self._drip, self._hold, self._drop, self._refuse, self._reset, self._half_close]
            + [self._terminate, self._cut_listeners]
            + [self._channel_fails] * 3
            + [self._notices_fail] * 2
            + [self._slow_refunds],
            rng,
        )

    async def rage(self, until: float) -> None:
        """Until this moment of the monotonic clock."""
        while time.monotonic() < until:
            card = self._deck.draw()
            self._place.figures[card.__name__[1:].replace("_", " ")] += 1
            await card()
            await asyncio.sleep(self._rng.uniform(0.1, 0.8))

    async def _cut_at_commit(self) -> None:
        """The next commits of one server, before or after they take effect."""
        proxy = self._rng.choice(self._place.databases)
        proxy.cut_at_commit(self._rng.choice(list(Cut)), times=self._rng.choice([1, 1, 2, 3]))
        patience = time.monotonic() + MEETING_SECONDS
        while proxy.cuts_to_come and time.monotonic() < patience:
            await asyncio.sleep(0.05)
        proxy.heal()

    async def _late(self) -> None:
        await self._for_a_while(
            lambda proxy: setattr(proxy.weather, "jitter_seconds", self._rng.uniform(0.02, 0.4)), 4.0
        )

    async def _drip(self) -> None:
        await self._for_a_while(
            lambda proxy: setattr(proxy.weather, "bytes_per_second", self._rng.randrange(2_000, 20_000)), 3.0
        )

    async def _hold(self) -> None:
        await self._for_a_while(lambda proxy: proxy.hold(), 7.0)

    async def _drop(self) -> None:
        await self._for_a_while(lambda proxy: setattr(proxy.weather, "is_dropping", True), 3.0)

    async def _refuse(self) -> None:
        def refuse(proxy: Proxy) -> None:
            proxy.weather.is_refusing = True
            proxy.reset()

        await self._for_a_while(refuse, 3.0)

    async def _for_a_while(self, spoil: Callable[[Proxy], None], most_seconds: float) -> None:
        proxy = self._rng.choice(self._place.proxies)
        spoil(proxy)
        await asyncio.sleep(self._rng.uniform(0.5, most_seconds))
        proxy.heal()

    async def _reset(self) -> None:
        self._rng.choice(self._place.proxies).reset()

    async def _half_close(self) -> None:
        self._rng.choice(self._place.proxies).half_close(self._rng.choice(list(Way)))

    async def _cut_listeners(self) -> None:
        for proxy in self._place.databases:
            proxy.cut_listeners()

    async def _terminate(self) -> None:
        try:
            await asyncio.to_thread(self._place.cluster.terminate_some, self._rng.randrange(1, 6))
        except psycopg.OperationalError:
            self._place.figures["terminate: the database was down"] += 1

    async def _channel_fails(self) -> None:
        """The next calls of one sort."""
        fault = self._rng.choice(
            [
                Fault.LOST,
                Fault.REFUSED_BY_PROXY,
                Fault.EFFECT_THEN_SILENCE,
                Fault.EFFECT_THEN_ERROR,
                Fault.STALE,
                Fault.RATE_LIMITED,
                Fault.TRUNCATED,
            ]
        )
        call = self._rng.choice(["*", "trades", "trades/query", "trades/close", "refunds", "refunds", "refunds/query"])
        await self._place.channel.ask("fault", fault=fault.value, call=call, times=self._rng.randrange(1, 5))

    async def _notices_fail(self) -> None:
        fault = self._rng.choice([NoticeFault.LOST, NoticeFault.DUPLICATE, NoticeFault.LATE])
        times, delay = self._rng.randrange(1, 8), self._rng.randrange(1, 20)
        await self._place.channel.ask("notice_fault", fault=fault.value, times=times, delay_seconds=delay)

    async def _slow_refunds(self) -> None:
        await self._place.channel.ask("slow_refunds", seconds=self._rng.uniform(0, 4))
