"""One seed's world: put together, let loose, calmed, looked at."""

import asyncio
import hashlib
import random
from collections.abc import Coroutine
from typing import Any

from paycore.channel import Environment
from paycore.core.ids import Prefix, make_id
from paycore.core.refusals import Refused
from paycore.rpc.policy import Scope
from paycore.store import ApiKey, App
from paycore.store.sql import same
from paycore.testing.simulation import ending, nemesis
from paycore.testing.simulation.calling import Caller
from paycore.testing.simulation.channel import ChannelSide
from paycore.testing.simulation.counterparts import maker_of
from paycore.testing.simulation.database import empty_store
from paycore.testing.simulation.ledger import Ledger
from paycore.testing.simulation.life import live
from paycore.testing.simulation.loop import SimLoop
from paycore.testing.simulation.options import Options
from paycore.testing.simulation.people import Matter
from paycore.testing.simulation.post import Post
from paycore.testing.simulation.processes import Process
from paycore.testing.simulation.promises import Promises
from paycore.testing.simulation.requests import Requests
from paycore.testing.simulation.rows import PaymentRow
from paycore.testing.simulation.server import BASE, Server
from paycore.testing.simulation.timing import BEGINNING, SimClock
from paycore.testing.simulation.watchers import FeedWatcher, Watcher
from paycore.testing.simulation.weather import Weather

SHOP = make_id(Prefix.APP, BEGINNING, 1)
SHOP_KEY = "pk_" + "s" * 43
_PLAN = same("SELECT plan_json FROM payments WHERE payment_id = ?")


class Violated(AssertionError):
    """A rule was broken: which, and one sentence."""

    def __init__(self, rule: str, sentence: str) -> None:
        super().__init__(f"{rule}: {sentence}")
        self.rule = rule


class World:
    """Everything that one seed runs."""

    def __init__(self, options: Options, loop: SimLoop) -> None:
        self.options = options
        self.loop = loop
        self.weather = Weather(options)
        self.store = empty_store()
        self.counterpart = maker_of(options.channel)(options, self.weather)
        self.channel = ChannelSide(options, self.weather, self.counterpart)
        self.requests = Requests(options.channel, self.counterpart.street)
        self.truth = self.counterpart.truth
        good = options.clocks_are_good
        self.ledger = Ledger(
            self.store, self.truth, self.channel.left, self.requests.wanted, self.violated, clocks_are_good=good
        )
        self.promises = Promises(self.store, self.counterpart, self.ledger.leases, self.violated, clocks_are_good=good)
        self.shop = self.caller(SHOP_KEY)
        self.post = Post(self, self.shop)
        self.watchers: list[Watcher] = []
        self.feed = FeedWatcher(self)
        self.servers: dict[str, Server] = {}
        self.clocks = [SimClock(self._skew()) for _ in range(options.processes)]
        self.told_by = 0.0
        """When, by the loop's time, the channel has told everything at least once without a fault."""
        self._incarnations = 0
        self._tasks: set[asyncio.Task[Any]] = set()

    def caller(self, token: str) -> Caller:
        """Somebody with these credentials."""
        return Caller(self, token)

    def begin(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Have something done beside everything else."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.loop.interrupt(task.exception() or AssertionError())

    def violated(self, rule: str, sentence: str) -> None:
        """A rule is broken: the run ends here."""
        self.loop.note(f"VIOLATED {rule}: {sentence}")
        self.loop.interrupt(Violated(rule, sentence))

    # ------------------------------------------------------------------------------------ what there is

    def servers_up(self) -> list[Server]:
        """The servers that take calls now."""
        return [server for server in self.servers.values() if server.process.is_alive]

    def payments_of(self, order_id: str) -> list[PaymentRow]:
        """The attempts at an order, as they are stored."""
        return self.ledger.rows.payments_of(order_id)

    def plan_of(self, payment_id: str) -> str:
        """What the payer's device was given to do."""
        with self.store.read() as unit:
            found = unit.rows(_PLAN, payment_id)
        return str(found[0][0]) if found else ""

    def _skew(self) -> float:
        return self.weather.dice.uniform(-1, 1) * self.options.skew_seconds

    # ------------------------------------------------------------------------------------ its life

    async def live(self) -> None:
        """People come and go under all faults; then the faults stop, and everything must come to rest."""
        await self._found()
        for number in range(self.options.processes):
            self.begin(self._keep_up(number))
        self.watching_feed = self.begin(self.feed.watch())
        for work in (self.post.work(), nemesis.kill(self), nemesis.set_clocks(self)):
            self.begin(work)
        lives = [
            self.begin(live(Matter(self, number, random.Random(f"life {self.options.seed} {number}"))))  # noqa: S311
            for number in range(self.options.orders)
        ]
        await asyncio.wait(lives, timeout=self.options.rough_seconds)
        await ending.come_to_rest(self, lives)

    async def _found(self) -> None:
        """The shop, its key, its account at the channel."""
        scopes = tuple(sorted(Scope))
        with self.store.write() as unit:
            unit.put_app(App(SHOP, "shop", BEGINNING, scopes=scopes))
            sha256 = hashlib.sha256(SHOP_KEY.encode()).hexdigest()
            unit.put_key(ApiKey("key1", SHOP, BEGINNING, sha256=sha256, scopes=scopes))
        founder = Server(self, Process("founder"), SimClock())
        self.weather.is_calm = True
        kind = self.counterpart.kind
        environment = Environment.SANDBOX if Environment.SANDBOX in kind.environments else kind.environments[0]
        made = await founder.engine.accounts.add(SHOP, kind.name, environment.value, self.counterpart.settings())
        self.weather.is_calm = False
        self.counterpart.opened(f"{BASE}/v1/notices/{made.account_id}")

    async def _keep_up(self, number: int) -> None:
        """Start a server, and after its death another one, from the database alone."""
        while True:
            self._incarnations += 1
            process = Process(f"{'ab'[number]}{self._incarnations}")
            server = Server(self, process, self.clocks[number])
            dead = asyncio.Event()
            process.breaks[self] = dead.set
            process.spawn(self._start(server, number), name="start")
            await dead.wait()
            self.servers.pop(str(number), None)
            self.weather.count("process died")
            await asyncio.sleep(
                0.1 if self.weather.is_calm else self.weather.dice.uniform(0.1, self.options.away_seconds)
            )

    async def _start(self, server: Server, number: int) -> None:
        while True:
            try:
                await server.engine.start()
            except Refused:
                await asyncio.sleep(0.5)
                continue
            self.servers[str(number)] = server
            self.loop.note("is up")
            return
