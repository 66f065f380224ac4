"""One run of chaos: everything is built, breaks for some minutes while people live on it, and is then compared."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from paycore.client import AsyncClient
from paycore.testing.proxy import PostgresProxy, Proxy
from paycore.v1 import order_pb2
from tests.chaos import checks, journal
from tests.chaos.asking import Desk, Refusal, order_of, row_of
from tests.chaos.channel import Channel
from tests.chaos.cluster import Cluster, lasting_ports
from tests.chaos.journal import Journal
from tests.chaos.nemesis import PAST_A_LONG_LEASE_SECONDS, Kept, Killer, Place, Weatherman
from tests.chaos.people import TOO_LATE, Person, Town
from tests.chaos.watching import FeedReader, Gates
from tests.walks.town import Town as Found
from tests.walks.town import found

SERVERS = 2
PEOPLE = 8
STORM_SECONDS = 25.0
REST_SECONDS = 180.0
"""How long everything may take to come to rest once nothing goes wrong any more."""
DIE_SECONDS = (4.0, 12.0)
"""How often somebody dies in the middle of a life."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How long, from which seed, and how much must have happened before it is over."""

    minutes: float
    seed: int
    kills: int = 20
    kills_of_database: int = 5
    cuts: int = 10
    is_weakened: bool = False
    """PostgreSQL is set so that it may forget, to see that this is found."""

    @property
    def again(self) -> str:
        """The command that runs it again."""
        return f"make chaos MINUTES={self.minutes:g} SEED={self.seed}"


@dataclass(slots=True)
class Outcome:
    """What a run found wrong, and what happened in it."""

    plan: Plan
    problems: list[str] = field(default_factory=list)
    figures: dict[str, int | float] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"chaos: seed {self.plan.seed}, {self.plan.minutes:g} minutes"]
        lines += [f"  {value:>8g}  {name}" for name, value in self.figures.items()]
        lines += [f"  WRONG: {problem}" for problem in self.problems[:60]]
        lines += [
            f"  {len(self.problems)} problems; again: {self.plan.again}" if self.problems else "  nothing is wrong"
        ]
        return "\n".join(lines)


class Chaos:
    """The run itself."""

    def __init__(self, plan: Plan, folder: Path, stack: AsyncExitStack) -> None:
        self._plan = plan
        self._folder = folder
        self._stack = stack
        self._rng = random.Random(plan.seed)
        self._outcome = Outcome(plan)
        self._figures: Counter[str] = Counter()
        self.place: Place
        self.town: Town
        self.found: Found
        self.feeds: list[FeedReader] = []
        self._at_rest: dict[str, int] = {}
        """The version at which each order was found at rest."""
        self._readers: list[asyncio.Task[None]] = []

    # ------------------------------------------------------------------------------------ building

    async def build(self, cluster: Cluster) -> None:
        """A database, a channel, two servers, and a bad road between any two of them."""
        await cluster.make()
        channel = await Channel.begin(self._folder / "channel.log")
        self._stack.push_async_callback(channel.end)
        to_channel = await self._proxy(Proxy("127.0.0.1", channel.port, rng=self._fork()))
        account = await channel.ask("settings", base_url=f"http://{to_channel.address}/sandbox")
        strict = {"PAYCORE_CHECK_DURABILITY": "false" if self._plan.is_weakened else "true"}
        self.found = await found(cluster.url(), self._folder, account, strict)
        roads = [await self._proxy(PostgresProxy("127.0.0.1", cluster.port, rng=self._fork())) for _ in range(SERVERS)]
        servers, doors = [], []
        for number, road in enumerate(roads):
            server, door, letterbox = await self._server(cluster, road)
            servers.append(Kept(server, f"server {number}"))
            doors += [door, letterbox]
        self.place = Place(cluster, servers, roads, doors, to_channel, channel)
        if self._plan.minutes >= 5:
            self.place.freezes_seconds = PAST_A_LONG_LEASE_SECONDS
        await self._open(servers, doors[::2], channel)

    async def _server(self, cluster: Cluster, road: PostgresProxy) -> tuple[Any, Proxy, Proxy]:
        """A server with its way to the database, the callers' way to it, and the notices' way."""
        server = self.found.server(PAYCORE_DATABASE_URL=cluster.url(road.port), PAYCORE_DRAIN_SECONDS="5")
        server.grpc_port, server.http_port = lasting_ports(2)
        self._stack.callback(server.kill)
        door = await self._proxy(Proxy("127.0.0.1", server.grpc_port, rng=self._fork()))
        letterbox = await self._proxy(Proxy("127.0.0.1", server.http_port, rng=self._fork()))
        server._settings["PAYCORE_PUBLIC_BASE_URL"] = f"http://{letterbox.address}"
        return server, door, letterbox

    async def _proxy(self, proxy: Any) -> Any:
        return await self._stack.enter_async_context(proxy)

    async def _open(self, servers: list[Kept], doors: list[Proxy], channel: Channel) -> None:
        """Begin the servers, and whoever asks and watches there."""
        for server in servers:
            server.begin()
            keeping = asyncio.create_task(server.keep())
            self._stack.callback(keeping.cancel)
        await asyncio.gather(*(server.ready() for server in servers))
        targets, key = [door.address for door in doors], self.found.key
        clients = [await self._client(target) for target in targets]
        written = self._stack.enter_context(Journal(self._folder / "journal.jsonl"))
        gates = Gates(targets, key, self._fork())
        self._stack.push_async_callback(gates.close)
        self.town = Town(Desk(clients, written, self._fork()), clients, channel, gates, self._fork())
        self.gates = gates
        self._stack.push_async_callback(self.town.stop)
        self.feeds = [FeedReader(client) for client in clients]
        self._readers = [asyncio.create_task(feed.follow()) for feed in self.feeds]
        self._stack.callback(lambda: [reader.cancel() for reader in self._readers])

    async def _client(self, target: str) -> AsyncClient:
        client = AsyncClient(target, self.found.key, timeout_seconds=5, patience_seconds=3_600)
        return await self._stack.enter_async_context(client)

    def _fork(self) -> random.Random:
        return random.Random(self._rng.random())

    # ------------------------------------------------------------------------------------ raging

    async def rage(self) -> None:
        """People live, everything breaks, with a quiet look at the books after each storm; then it all comes to rest."""
        is_over = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            crowd = group.create_task(self._crowd(is_over))
            await self._storms()
            calm_at = time.monotonic()
            is_over.set()
            await crowd
        await self._bury_the_dead()
        await self._come_to_rest()
        self._figures["seconds until everything was at rest"] = round(time.monotonic() - calm_at)

    async def _storms(self) -> None:
        killer, weatherman = Killer(self.place, self._fork()), Weatherman(self.place, self._fork())
        began = time.monotonic()
        while (gone := time.monotonic() - began) < self._plan.minutes * 60 or (
            not self._is_enough and gone < self._plan.minutes * 180
        ):
            until = time.monotonic() + min(STORM_SECONDS, max(self._plan.minutes * 60 - gone, 10))
            await asyncio.gather(killer.rage(until), weatherman.rage(until))
            await self.place.heal()
            await self._audit()
        self._figures["seconds of chaos"] = round(time.monotonic() - began)

    @property
    def _is_enough(self) -> bool:
        kills, database = self._kills
        return (
            kills >= self._plan.kills
            and database >= self._plan.kills_of_database
            and self.place.cuts >= self._plan.cuts
        )

    @property
    def _kills(self) -> tuple[int, int]:
        """All of them, and those of PostgreSQL among them."""
        figures = self.place.figures
        return figures["SIGKILL of a server"] + figures["SIGKILL of PostgreSQL"], figures["SIGKILL of PostgreSQL"]

    async def _audit(self) -> None:
        self._figures["audits"] += 1
        done = await asyncio.to_thread(self.found.command, "audit")
        if done.returncode != 0:
            self._outcome.problems.append(f"paycore audit: {done.stdout.strip()} {done.stderr.strip()}")

    async def _crowd(self, is_over: asyncio.Event) -> None:
        """People, of whom now and then one dies and another comes, until it is over and everybody has finished."""
        rng = self._fork()
        living = [asyncio.create_task(self._person(is_over)) for _ in range(PEOPLE)]
        try:
            while not is_over.is_set():
                await _wait(is_over, rng.uniform(*DIE_SECONDS))
                if not is_over.is_set():
                    victim = living.pop(rng.randrange(len(living)))
                    victim.cancel()
                    await asyncio.gather(victim, return_exceptions=True)
                    self._figures["people who died in the middle of something"] += 1
                    living.append(asyncio.create_task(self._person(is_over)))
            await asyncio.gather(*living)
        finally:
            for person in living:
                person.cancel()

    async def _person(self, is_over: asyncio.Event) -> None:
        await Person(self.town, self._rng.random()).go_on(is_over)

    # ------------------------------------------------------------------------------------ coming to rest

    async def _bury_the_dead(self) -> None:
        """What the dead asked for is asked again under the same request_id, and orders that nobody cares for are closed."""
        lines = journal.read(self._folder / "journal.jsonl")
        await asyncio.gather(*(self.town.desk.again(line) for line in journal.unanswered(lines)))
        for order in await self._orders():
            self.town.watch(order.order_id)
            if order.state == order_pb2.Order.STATE_PENDING:
                self._figures["orders closed for the dead"] += 1
                await self._close(order.order_id)

    async def _close(self, order_id: str) -> None:
        try:
            await self.town.desk.ask("close_order", f"bury-{order_id}", order_id=order_id)
        except Refusal as refusal:
            if refusal.reason not in TOO_LATE:
                self._outcome.problems.append(f"closing {order_id}: {refusal}")

    async def _orders(self) -> list[order_pb2.Order]:
        """Every order that there is."""
        client, orders, token = self.town._clients[0], list[order_pb2.Order](), ""
        while True:
            page = await client.list_orders(page_size=100, page_token=token)
            orders += page.orders
            token = page.next_page_token
            if not token:
                return orders

    async def _come_to_rest(self) -> None:
        """Wait until nothing is under way any more and every watcher has seen the end of it."""
        waiting: list[str] = []
        deadline = time.monotonic() + REST_SECONDS
        while time.monotonic() < deadline:
            waiting = await self._waiting()
            if not waiting:
                return
            await asyncio.sleep(0.5)
        self._outcome.problems += [f"not at rest after {REST_SECONDS:g} s: {one}" for one in waiting]

    async def _waiting(self) -> list[str]:
        books = await self.place.channel.books()
        orders = await self._orders()
        waiting = [what for order in orders for what in await self._unsettled(order, books)]
        if books.undelivered:
            waiting.append(f"{books.undelivered} notices are not delivered")
        for order in orders:
            if self.town.watch(order.order_id).version < order.version:
                waiting.append(f"the watcher of {order.order_id} is behind")
        events = sum(order.version for order in orders)
        waiting += [f"a feed has {len(feed.entries)} of {events}" for feed in self.feeds if len(feed.entries) < events]
        return waiting

    async def _unsettled(self, listed: order_pb2.Order, books: checks.Books) -> list[str]:
        """What is under way in an order. Lists tell no payments, so each is looked at; not again once it was at rest."""
        if self._at_rest.get(listed.order_id) == listed.version:
            return []
        whole = row_of(await self.town.look_at(listed.order_id))
        waiting = [f"order {whole.order_id}: {what}" for what in checks.unsettled(whole, books)]
        if not waiting:
            self._at_rest[whole.order_id] = whole.version
        return waiting

    # ------------------------------------------------------------------------------------ comparing

    async def compare(self) -> Outcome:
        """The journal, the database, the channel's books and the streams: what they disagree about."""
        await self._audit()
        lines = journal.read(self._folder / "journal.jsonl")
        books = await self.place.channel.books()
        client = self.town._clients[0]
        orders = {one.order_id: await order_of(client, one.order_id) for one in await self._orders()}
        problems = self._outcome.problems
        problems += [*self.place.strange, *self.town.strange]
        problems += checks.lost_writes(lines, orders)
        problems += checks.doubled_effects(lines, orders)
        problems += checks.books_differ(orders, books)
        problems += checks.broken_streams([one.report() for one in self.town.watchers.values()], orders)
        for order in orders.values():
            problems += checks.misread_events(order)
        for watcher in self.town.watchers.values():
            problems += watcher.oddities
        for feed in self.feeds:
            problems += checks.broken_feed(feed.entries, orders)
        problems += self._tracebacks()
        self._outcome.problems = list(dict.fromkeys(problems))
        self._outcome.figures = self._all_figures(orders, books)
        self._keep(orders, books)
        return self._outcome

    def _tracebacks(self) -> Iterator[str]:
        """Whatever a server did not foresee. What the network does to it, it does foresee."""
        for server in self.place.servers:
            said = server.server.said()
            if "Traceback" in said:
                at = said.index("Traceback")
                yield f"{server.name} was surprised {said.count('Traceback')} times: {said[max(at - 500, 0) : at + 1500]}"

    def _all_figures(self, orders: Mapping[str, checks.Order], books: checks.Books) -> dict[str, int | float]:
        kills, database = self._kills
        first = {
            "SIGKILLs": kills,
            "of which of PostgreSQL": database,
            "cuts at COMMIT": self.place.cuts,
            "acknowledged writes": self.town.desk.figures["acknowledged"],
            "retries": self.town.desk.figures["retries"],
            "orders": len(orders),
            "orders paid": sum(one.state == "PAID" for one in orders.values()),
            "orders closed": sum(one.state == "CLOSED" for one in orders.values()),
            "payments": sum(len(one.payments) for one in orders.values()),
            "refunds": sum(len(one.refunds) for one in orders.values()),
            "events, each seen once by every watcher": sum(one.version for one in orders.values()),
            "refunds sent to the channel": len(books.sends),
        }
        counts: Counter[str] = Counter()
        for proxy in self.place.proxies:
            counts += Counter({f"proxies: {name}": times for name, times in proxy.counts.items()})
        parts = (
            self._figures,
            self.place.figures,
            self.town.desk.figures,
            self.town.figures,
            self.gates.figures,
            counts,
        )
        starts = {f"{one.name} ended by itself": one.deaths for one in self.place.servers}
        rest = {name: value for part in parts for name, value in sorted(part.items())}
        return {**first, **rest, **starts}

    def _keep(self, orders: Mapping[str, checks.Order], books: checks.Books) -> None:
        """Leave what was compared beside the journal, for whoever looks later."""
        (self._folder / "orders.json").write_text(json.dumps([asdict(one) for one in orders.values()], indent=1))
        (self._folder / "books.json").write_text(json.dumps(asdict(books), indent=1))


async def run(plan: Plan, folder: Path, cluster: Cluster) -> Outcome:
    """One run on a cluster that is not made yet, from nothing to its verdict. Whatever breaks it is part of the outcome."""
    async with AsyncExitStack() as stack:
        chaos = Chaos(plan, folder, stack)
        try:
            await chaos.build(cluster)
            await chaos.rage()
            return await chaos.compare()
        except Exception as error:
            error.add_note(f"chaos: seed {plan.seed}; again: {plan.again}; what was written lies in {folder}")
            raise


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return
