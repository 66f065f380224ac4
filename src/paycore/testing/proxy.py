"""A bad network that a test holds in its hand: a TCP proxy on loopback, and one that knows PostgreSQL's commits.

    async with PostgresProxy("127.0.0.1", 5432) as proxy:
        # connect to proxy.port instead
        proxy.weather.delay_seconds = 0.2
        proxy.cut_at_commit(Cut.AFTER)     # the next commit takes effect, and its answer is lost
        proxy.heal()

Bytes are never changed or put in another order. They are late, they stop, they vanish with the rest of their connection,
or the connection breaks: what TCP may do to anybody.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Protocol, Self

from paycore.testing.postgres_wire import NotPostgres, Session, is_end_of_commit, is_error

PIECE_BYTES: Final = 64 * 1024
DRIPS_PER_SECOND: Final = 20
_RESET: Final = struct.pack("ii", 1, 0)


@dataclass(slots=True)
class Weather:
    """What happens to bytes under way and to callers who knock. As it is made, nothing does."""

    delay_seconds: float = 0.0
    jitter_seconds: float = 0.0
    """Every piece is so late, and up to so much more."""
    bytes_per_second: int = 0
    """A slow drip in each direction; 0 is as fast as it goes."""
    is_refusing: bool = False
    """Whoever knocks is reset. Connections that stand go on."""
    is_dropping: bool = False
    """Bytes vanish. A connection that lost some is never whole again: it breaks when the weather clears."""

    @property
    def is_clear(self) -> bool:
        return self == Weather()


class Way(Enum):
    """Which way bytes go."""

    UP = "up"
    """From the caller to the server."""
    DOWN = "down"


class Cut(Enum):
    """Where a connection breaks around a commit. The caller cannot tell one from the other."""

    BEFORE = "before"
    """The server never hears of it."""
    AFTER = "after"
    """The server has done it, and its answer is lost."""


class Severed(Exception):
    """The connection breaks here; these bytes still pass."""

    def __init__(self, last: bytes = b"") -> None:
        super().__init__()
        self.last = last


class Tap(Protocol):
    """Reads along on one connection, and may break it by raising Severed."""

    def passing(self, way: Way, piece: bytes) -> bytes:
        """What goes on now of what has come."""


class _Blind:
    def passing(self, _way: Way, piece: bytes) -> bytes:
        return piece


@dataclass(eq=False, slots=True)
class _Link:
    """One caller's connection, both halves of it."""

    caller: asyncio.StreamWriter
    server: asyncio.StreamWriter
    tap: Tap
    has_lost_bytes: bool = False
    finished: set[Way] = field(default_factory=set)
    """The ways on which nothing more is passed on."""

    def sink(self, way: Way) -> asyncio.StreamWriter:
        return self.server if way is Way.UP else self.caller

    def reset(self) -> None:
        """Break it for both ends at once, with what is still under way."""
        for end in (self.caller, self.server):
            _reset(end)

    def finish(self, way: Way) -> None:
        """Say to one end that the other has said everything. The opposite way stays open."""
        if way not in self.finished:
            self.finished.add(way)
            with contextlib.suppress(OSError, RuntimeError):
                self.sink(way).write_eof()


def _reset(end: asyncio.StreamWriter) -> None:
    sock: socket.socket | None = end.get_extra_info("socket")
    with contextlib.suppress(OSError):
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    end.transport.abort()


class Proxy:
    """A port on loopback that leads to another one, with any weather in between. `counts` says what it did."""

    def __init__(self, host: str, port: int, *, rng: random.Random | None = None) -> None:
        self._to = (host, port)
        self._rng = rng or random.Random(0)  # noqa: S311 - a test wants the same again
        self._server: asyncio.Server | None = None
        self._visits: set[asyncio.Task[None]] = set()
        self._links: set[_Link] = set()
        self._may_move = asyncio.Event()
        self._may_move.set()
        self.weather = Weather()
        self.port = 0
        self.counts: Counter[str] = Counter()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Begin to listen; `port` is then where."""
        self._server = await asyncio.start_server(self._visit, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Hang up on everybody and listen no more."""
        if self._server is not None:
            self._server.close()
        for task in self._visits:
            task.cancel()
        await asyncio.gather(*self._visits, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def connections(self) -> int:
        """How many connections stand now."""
        return len(self._links)

    # ------------------------------------------------------------------------------------ weather

    def hold(self) -> None:
        """A black hole: nothing moves and nobody is told. When it ends, everything goes on where it stopped."""
        self.counts["held"] += 1
        self._may_move.clear()

    def reset(self) -> int:
        """Break every connection that stands; how many that were."""
        return self._break(list(self._links))

    def half_close(self, way: Way = Way.UP) -> int:
        """Let one end of every connection look as if it had finished speaking; how many that were."""
        links = [link for link in self._links if way not in link.finished]
        for link in links:
            link.finish(way)
        self.counts["half-closed"] += len(links)
        return len(links)

    def heal(self) -> None:
        """Clear weather. What was held goes on; connections that lost bytes break."""
        self.weather = Weather()
        self._break([link for link in self._links if link.has_lost_bytes])
        self._may_move.set()

    def _break(self, links: list[_Link]) -> int:
        for link in links:
            link.reset()
        self.counts["reset"] += len(links)
        return len(links)

    # ------------------------------------------------------------------------------------ connections

    def _tap(self) -> Tap:
        """Whoever reads along on a new connection."""
        return _Blind()

    async def _visit(self, reader: asyncio.StreamReader, caller: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._visits.add(task)
        try:
            await self._lead(reader, caller)
        except asyncio.CancelledError:
            _reset(caller)  # we stop; asyncio's streams would complain about a task that was cancelled
        finally:
            self._visits.discard(task)

    async def _lead(self, reader: asyncio.StreamReader, caller: asyncio.StreamWriter) -> None:
        await self._may_move.wait()
        if self.weather.is_refusing:
            self.counts["refused"] += 1
            _reset(caller)
            return
        try:
            answers, server = await asyncio.open_connection(*self._to)
        except OSError:
            self.counts["nobody there"] += 1
            _reset(caller)
            return
        link = _Link(caller, server, self._tap())
        self._links.add(link)
        self.counts["connections"] += 1
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(link, reader, Way.UP))
                both.create_task(self._pump(link, answers, Way.DOWN))
            for end in (caller, server):
                end.close()  # politely, with what is still to be written, if it was not reset
        except asyncio.CancelledError:
            link.reset()
            raise
        finally:
            self._links.discard(link)

    async def _pump(self, link: _Link, source: asyncio.StreamReader, way: Way) -> None:
        """Carry bytes one way until that way ends, or the connection breaks."""
        try:
            while piece := await source.read(PIECE_BYTES):
                await self._under_way()
                await self._pass_on(link, way, piece)
            await self._may_move.wait()
            link.finish(way)
        except Severed as severed:
            await self._write(link, way, severed.last)
            link.reset()
        except (OSError, NotPostgres):
            link.reset()

    async def _under_way(self) -> None:
        await self._may_move.wait()
        if self.weather.delay_seconds or self.weather.jitter_seconds:
            await asyncio.sleep(self.weather.delay_seconds + self._rng.random() * self.weather.jitter_seconds)
            await self._may_move.wait()

    async def _pass_on(self, link: _Link, way: Way, piece: bytes) -> None:
        if self.weather.is_dropping or link.has_lost_bytes:
            link.has_lost_bytes = True
            self.counts["dropped bytes"] += len(piece)
            if self.weather.is_clear:
                link.reset()
        else:
            await self._write(link, way, link.tap.passing(way, piece))

    async def _write(self, link: _Link, way: Way, piece: bytes) -> None:
        """Write it, drop by drop while the weather says so."""
        sink = link.sink(way)
        while piece and way not in link.finished:
            size = (
                max(self.weather.bytes_per_second // DRIPS_PER_SECOND, 1)
                if self.weather.bytes_per_second
                else len(piece)
            )
            sink.write(piece[:size])
            await sink.drain()
            piece = piece[size:]
            if piece:
                await asyncio.sleep(1 / DRIPS_PER_SECOND)
                await self._may_move.wait()


class PostgresProxy(Proxy):
    """A proxy in front of PostgreSQL that can break a connection exactly at a commit of something written.

    The client must not encrypt; on loopback it does not.
    """

    def __init__(self, host: str, port: int, *, rng: random.Random | None = None) -> None:
        super().__init__(host, port, rng=rng)
        self._cuts: list[Cut] = []

    def cut_at_commit(self, cut: Cut, *, times: int = 1) -> None:
        """Break the connections of the next commits, whosever they are. Those of transactions that only read pass."""
        self._cuts += [cut] * times

    @property
    def cuts_to_come(self) -> int:
        """How many were asked for and have not met a commit yet."""
        return len(self._cuts)

    def cut_listeners(self) -> int:
        """Break the connections that LISTEN; how many that were."""
        return self._break([link for link in self._links if isinstance(link.tap, _Reading) and link.tap.has_listened])

    def heal(self) -> None:
        """Clear weather, and no cuts to come."""
        self._cuts.clear()
        super().heal()

    def _tap(self) -> Tap:
        return _Reading(self._cuts, self.counts)


class _Reading:
    """Reads PostgreSQL's words on one connection, and cuts it where it was told to."""

    def __init__(self, cuts: list[Cut], counts: Counter[str]) -> None:
        self._session = Session()
        self._cuts = cuts
        self._counts = counts
        self._waits_for_end = False

    @property
    def has_listened(self) -> bool:
        return self._session.has_listened

    def passing(self, way: Way, piece: bytes) -> bytes:
        return self._asked(piece) if way is Way.UP else self._answered(piece)

    def _asked(self, piece: bytes) -> bytes:
        passed = bytearray()
        for asked in self._session.asks(piece):
            if asked.is_commit:
                self._counts["commits"] += 1
                if self._cuts and not self._waits_for_end:
                    self._cut(self._cuts.pop(0), bytes(passed))
            passed += asked.frame
        return bytes(passed)

    def _cut(self, cut: Cut, before: bytes) -> None:
        if cut is Cut.BEFORE:
            self._counts["cut before commit"] += 1
            raise Severed(before)
        self._waits_for_end = True

    def _answered(self, piece: bytes) -> bytes:
        passed = bytearray()
        for frame in self._session.answers(piece):
            if self._waits_for_end and (is_end_of_commit(frame) or is_error(frame)):
                self._counts["cut after commit" if is_end_of_commit(frame) else "cut after error"] += 1
                raise Severed(bytes(passed))
            passed += frame
        return bytes(passed)
