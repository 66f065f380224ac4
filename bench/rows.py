"""The rows of the table: what is asked of the servers, and what the answer is compared with."""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench import h2load, load, servers
from bench.load import ORDERS, Figures
from bench.sandbox import ACCOUNT_ID, Wallet
from bench.wire import CallFailed, Line
from tests.walks.town import found

CREATE = f"{ORDERS}/CreateOrder"


@dataclass(frozen=True)
class Row:
    """One line of the table. `is_met` is None where there is no target."""

    what: str
    measured: str
    target: str = ""
    is_met: bool | None = None


@dataclass(frozen=True)
class Scale:
    """How long and how much. The quick one shows that everything works, and roughly how well."""

    rounds: int
    seconds: float
    open_streams: int
    burst: int
    audience: int
    idle_streams: int
    starts: int

    @classmethod
    def full(cls) -> Scale:
        return cls(
            rounds=5, seconds=3.0, open_streams=10_000, burst=2_000, audience=5_000, idle_streams=2_000, starts=5
        )

    @classmethod
    def quick(cls) -> Scale:
        return cls(rounds=2, seconds=1.0, open_streams=2_500, burst=2_000, audience=2_000, idle_streams=2_000, starts=2)


@dataclass(frozen=True)
class Bench:
    """What every row may use: a folder for this run, the databases, how much to do, and where to say what happens."""

    folder: Path
    databases: dict[str, Callable[[], str]]
    """For each kind of database, what makes an empty one and returns its URL."""
    scale: Scale
    say: Callable[[str], None]
    with_h2load: bool = True

    def place(self, name: str) -> Path:
        """An empty folder for one server."""
        place = self.folder / name
        place.mkdir(parents=True)
        return place


@asynccontextmanager
async def lines(address: str, key: str = "", count: int = 1) -> AsyncIterator[list[Line]]:
    """So many connections to a server, which show this key."""
    headers = (("authorization", f"Bearer {key or 'pk_' + 'x' * 43}"),)
    opened = [await Line.open(address, headers) for _ in range(count)]
    try:
        yield opened
    finally:
        for line in opened:
            line.close()


@asynccontextmanager
async def calling(server: servers.Paycore, count: int) -> AsyncIterator[list[Line]]:
    """So many connections to a server of paycore, for as long as it runs."""
    async with servers.running(server.process) as process, lines(process.address, server.key, count) as opened:
        yield opened


# ---------------------------------------------------------------------------------------------- CreateOrder


AT_ONCE = 128
CREATE_TARGETS = {"sqlite": 0.85, "postgresql": 0.55}
KINDS = {"sqlite": "SQLite, synchronous=FULL", "postgresql": "PostgreSQL"}


@dataclass
class Contender:
    """A server that takes CreateOrder, and how it did: calls a second and microseconds of processor a call, each round."""

    process: servers.Process
    key: str = ""
    rates: list[float] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)

    async def take_turn(self, tool: h2load.Tool | None, seconds: float) -> None:
        before = self.process.cpu_seconds
        rate = await self._calls_per_second(tool, seconds)
        self.rates.append(rate)
        self.costs.append((self.process.cpu_seconds - before) / (rate * seconds) * 1_000_000)

    async def _calls_per_second(self, tool: h2load.Tool | None, seconds: float) -> float:
        address, key = self.process.address, self.key
        if tool is not None:
            return await tool.run(address, CREATE, load.same_order(), key=key, seconds=seconds, at_once=AT_ONCE)
        async with lines(address, key) as (line,):
            figures = await load.closed_loop(line, CREATE, load.new_order, seconds=seconds, at_once=AT_ONCE)
        return figures.per_second


async def create(bench: Bench) -> list[Row]:
    """CreateOrder against the echo of the same message. Rounds take turns, so that a busy machine is busy for both."""
    tool = h2load.Tool.find() if bench.with_h2load else None
    async with AsyncExitStack() as stack:
        echo = Contender(await stack.enter_async_context(servers.running(servers.echo(bench.place("echo")))))
        ours: dict[str, tuple[servers.Paycore, Contender]] = {}
        for kind, make in bench.databases.items():
            server = await servers.paycore(bench.place(f"create-{kind}"), make(), stamps=tool is not None)
            process = await stack.enter_async_context(servers.running(server.process))
            ours[kind] = server, Contender(process, server.key)
        for turn in range(bench.scale.rounds + 1):
            for contender in (echo, *(one for _, one in ours.values())):
                await contender.take_turn(tool, bench.scale.seconds if turn else 1.0)
        for server, contender in ours.values():
            await _refuse_failures(server, contender)
    how = f"{tool.name if tool else 'own generator'}, {AT_ONCE} at once"
    return [_create_row(bench, kind, contender, echo, how) for kind, (_, contender) in ours.items()]


async def _refuse_failures(server: servers.Paycore, contender: Contender) -> None:
    """h2load takes a refusal for success, so the server's own count decides."""
    outcomes = await server.outcomes("CreateOrder")
    if set(outcomes) - {"OK", "CANCELLED"} or outcomes.get("OK", 0) < sum(contender.rates):
        raise CallFailed(f"CreateOrder ended with {outcomes}")


def _create_row(bench: Bench, kind: str, ours: Contender, echo: Contender, how: str) -> Row:
    """The first round only warmed up."""
    pairs = list(zip(ours.rates, echo.rates, strict=True))[1:]
    ratio = statistics.median(rate / bare for rate, bare in pairs)
    cost = statistics.median(ours.costs[1:]) / statistics.median(echo.costs[1:])
    bench.say(f"  {kind}: {pairs[-1][0]:,.0f}/s against {pairs[-1][1]:,.0f}/s, {cost:.1f}x the processor time a call")
    target = CREATE_TARGETS[kind]
    return Row(
        f"CreateOrder, durable, {KINDS[kind]}", f"{ratio:.2f} of a bare echo ({how})", f">= {target}", ratio >= target
    )


# ---------------------------------------------------------------------------------------------- whole lives


LIFE_AT_ONCE = 64
LIFE_TARGET = 4.0


async def lives(bench: Bench) -> list[Row]:
    """Create, pay, notice, PAID on the stream: against the same four steps on one ORM session for each request."""
    return [await _life_row(bench, kind, make) for kind, make in bench.databases.items()]


async def _life_row(bench: Bench, kind: str, make: Callable[[], str]) -> Row:
    wallet = Wallet()
    async with AsyncExitStack() as stack:
        usual = await stack.enter_async_context(
            servers.running(servers.orm(bench.place(f"orm-{kind}"), make(), wallet.settings))
        )
        ours = await servers.paycore(bench.place(f"life-{kind}"), make(), wallet.settings)
        await stack.enter_async_context(servers.running(ours.process))
        (usual_line,) = await stack.enter_async_context(lines(usual.address))
        (our_line,) = await stack.enter_async_context(lines(ours.process.address, ours.key))
        (notice_line,) = await stack.enter_async_context(lines(ours.process.address, ours.notice_key))
        pairs: list[tuple[Figures, Figures]] = []
        for turn in range(max(2, bench.scale.rounds // 2) + 1):
            seconds = bench.scale.seconds if turn else 0.5
            slow = await load.lives(usual_line, wallet, ACCOUNT_ID, seconds=seconds, at_once=LIFE_AT_ONCE)
            fast = await load.lives(
                our_line, wallet, ours.account_id, seconds=seconds, at_once=LIFE_AT_ONCE, notice_line=notice_line
            )
            if turn:
                pairs.append((slow, fast))
    ratio = statistics.median(fast.per_second / slow.per_second for slow, fast in pairs)
    slow, fast = pairs[-1]
    bench.say(f"  {kind}: {fast.per_second:,.0f} against {slow.per_second:,.0f} lives/s")
    return Row(
        f"create + pay + notice + PAID on the stream, {kind}",
        f"{ratio:.1f}x one ORM session per request ({LIFE_AT_ONCE} at once)",
        f">= {LIFE_TARGET:g}x",
        ratio >= LIFE_TARGET,
    )


# ---------------------------------------------------------------------------------------------- streams


WATCHERS_OF_ORDER = 100
"""As many as the server allows by default."""
CONNECTIONS = 4


async def streams(bench: Bench) -> list[Row]:
    """A crowd of watchers on one process: what each costs, how a burst is served, how fast news reaches all of them."""
    scale = bench.scale
    bare = await _bare_stream_bytes(bench, scale.burst)
    server = await servers.paycore(bench.place("streams"), bench.databases["sqlite"]())
    async with calling(server, CONNECTIONS) as connections:
        orders = [await load.create(connections[0]) for _ in range(scale.open_streams // WATCHERS_OF_ORDER)]
        before = server.process.rss_bytes
        burst, burst_seconds = await load.crowd(connections, orders, scale.burst)
        rest, rest_seconds = await load.crowd(connections, orders, scale.open_streams - scale.burst)
        each = (server.process.rss_bytes - before) / scale.open_streams
        told = await _tell(connections[0], orders[: scale.audience // WATCHERS_OF_ORDER], [*burst, *rest])
    bench.say(f"  the other {len(rest):,} streams had their snapshots after {rest_seconds:.1f} s")
    return [
        Row(
            f"{scale.open_streams:,} open WatchOrder streams in one process",
            f"{each / 1024:.1f} KiB each, {each / bare:.1f}x a stream of the bare echo",
            "<= 40 KB each",
            each <= 40_000,
        ),
        Row(
            f"{scale.burst:,} streams opened at once",
            f"all have their snapshot after {burst_seconds:.2f} s",
            "all",
            True,
        ),
        Row(
            f"events to all of {scale.audience:,} watchers, {WATCHERS_OF_ORDER} an order",
            f"{told:.2f} s",
            "< 1 s",
            told < 1.0,
        ),
    ]


async def _bare_stream_bytes(bench: Bench, count: int) -> float:
    async with (
        servers.running(servers.echo(bench.place("bare-streams"))) as process,
        lines(process.address, count=CONNECTIONS) as connections,
    ):
        before = process.rss_bytes
        await load.crowd(connections, ["or00000000000000000000000000"], count)
        return (process.rss_bytes - before) / count


async def _tell(line: Line, orders: list[str], watchers: list[load.Watcher]) -> float:
    """Change these orders, and return after how many seconds all of their watchers knew."""
    listening = [watcher for watcher in watchers if watcher.order_id in set(orders)]
    began = time.perf_counter()
    await asyncio.gather(*(line.ask(f"{ORDERS}/PayOrder", load.new_payment(order)) for order in orders))
    async with asyncio.timeout(30):
        return max(await asyncio.gather(*(watcher.news for watcher in listening))) - began


# ---------------------------------------------------------------------------------------------- latency


RATE = 200


async def latency(bench: Bench) -> list[Row]:
    """Unary calls at a steady rate beside idle streams."""
    server = await servers.paycore(bench.place("latency"), bench.databases["sqlite"]())
    seconds = bench.scale.seconds * 3
    async with calling(server, CONNECTIONS + 1) as (line, *others):
        await load.paced(line, CREATE, load.new_order, per_second=RATE, seconds=1)
        alone = await load.paced(line, CREATE, load.new_order, per_second=RATE, seconds=seconds)
        orders = [await load.create(line) for _ in range(bench.scale.idle_streams // WATCHERS_OF_ORDER)]
        await load.crowd(others, orders, bench.scale.idle_streams)
        await asyncio.sleep(1)
        beside = await load.paced(line, CREATE, load.new_order, per_second=RATE, seconds=seconds)
    bench.say(f"  without streams: p50 {alone.at(0.5) * 1000:.1f} ms, p99 {alone.at(0.99) * 1000:.1f} ms")
    p99 = beside.at(0.99) * 1000
    return [
        Row(
            f"CreateOrder p99 beside {bench.scale.idle_streams:,} idle streams, {RATE}/s",
            f"{p99:.1f} ms, {p99 / (alone.at(0.99) * 1000):.1f}x that without streams",
            "< 20 ms",
            p99 < 20,
        )
    ]


# ---------------------------------------------------------------------------------------------- starting


async def start(bench: Bench) -> list[Row]:
    """From the command to ready, with byte code in place; and what importing the client costs."""
    town = await found(bench.databases["sqlite"](), bench.place("start"), Wallet().settings, {})
    seconds = []
    for turn in range(bench.scale.starts + 1):
        async with servers.running(servers.again(town).process) as process:
            if turn:  # the first one makes the byte code
                seconds.append(process.seconds_to_start)
    ready = statistics.median(seconds)
    imported, is_light = _import_client(bench.scale.starts)
    return [
        Row("server ready, warm byte code", f"{ready:.2f} s", "< 1.2 s", ready < 1.2),
        Row(
            "import paycore.client",
            f"{imported * 1000:.0f} ms, {'without' if is_light else 'WITH'} SQLAlchemy",
            "< 200 ms, without SQLAlchemy",
            is_light and imported < 0.2,
        ),
    ]


IMPORT = """
import sys, time
began = time.perf_counter()
import paycore.client
print(time.perf_counter() - began, "sqlalchemy" in sys.modules)
"""


def _import_client(times: int) -> tuple[float, bool]:
    said = []
    for _ in range(times + 1):
        done = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True, timeout=60)
        said.append(done.stdout.split())
    return statistics.median(float(seconds) for seconds, _ in said[1:]), all(heavy == "False" for _, heavy in said)


ROWS: dict[str, Callable[[Bench], Awaitable[list[Row]]]] = {
    "create": create,
    "life": lives,
    "streams": streams,
    "latency": latency,
    "start": start,
}
