"""The bad network: what passes, what stops, what breaks, and where a commit is cut."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest
from sqlalchemy.engine import make_url

from paycore.testing.proxy import Cut, PostgresProxy, Proxy, Way
from tests.support.postgres import plain

SOON = 5.0


@asynccontextmanager
async def echo() -> AsyncIterator[int]:
    """A server that says everything back, and goodbye when its caller has finished."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while piece := await reader.read(1000):
                writer.write(piece)
                await writer.drain()
            writer.write(b"goodbye")
            await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


class Caller:
    """Somebody who speaks through the proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def say(self, text: bytes) -> None:
        self.writer.write(text)
        await self.writer.drain()

    async def hear(self, size: int) -> bytes:
        async with asyncio.timeout(SOON):
            return await self.reader.readexactly(size)

    async def hears_nothing(self, seconds: float = 0.2) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self.reader.read(1)
        except TimeoutError:
            return True
        return False


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    async with echo() as port, Proxy("127.0.0.1", port) as opened:
        yield opened


@asynccontextmanager
async def caller_of(proxy: Proxy) -> AsyncIterator[Caller]:
    caller = Caller(*await asyncio.open_connection("127.0.0.1", proxy.port))
    try:
        yield caller
    finally:
        caller.writer.transport.abort()


async def test_in_clear_weather_everything_passes(proxy: Proxy) -> None:
    text = bytes(range(256)) * 2_000
    async with caller_of(proxy) as caller:
        saying = asyncio.create_task(caller.say(text))
        assert await caller.hear(len(text)) == text
        await saying
        caller.writer.write_eof()
        assert await caller.hear(7) == b"goodbye"
        assert await caller.reader.read() == b""
    assert proxy.weather.is_clear


async def test_a_delay_is_felt(proxy: Proxy) -> None:
    proxy.weather.delay_seconds = 0.1
    async with caller_of(proxy) as caller:
        began = time.perf_counter()
        await caller.say(b"hello")
        assert await caller.hear(5) == b"hello"
        assert time.perf_counter() - began >= 0.2


async def test_a_drip_is_slow_and_loses_nothing(proxy: Proxy) -> None:
    proxy.weather.bytes_per_second = 200
    async with caller_of(proxy) as caller:
        began = time.perf_counter()
        await caller.say(b"x" * 100)
        assert await caller.hear(100) == b"x" * 100
        assert time.perf_counter() - began >= 0.4


async def test_what_a_black_hole_held_goes_on_when_it_ends(proxy: Proxy) -> None:
    async with caller_of(proxy) as caller:
        await caller.say(b"one")
        assert await caller.hear(3) == b"one"
        proxy.hold()
        await caller.say(b"two")
        assert await caller.hears_nothing()
        proxy.heal()
        assert await caller.hear(3) == b"two"


async def test_a_black_hole_takes_new_callers_too(proxy: Proxy) -> None:
    proxy.hold()
    async with caller_of(proxy) as caller:
        await caller.say(b"hello")
        assert await caller.hears_nothing()
        proxy.heal()
        assert await caller.hear(5) == b"hello"


async def test_a_connection_that_lost_bytes_is_never_whole_again(proxy: Proxy) -> None:
    async with caller_of(proxy) as caller:
        await caller.say(b"one")
        assert await caller.hear(3) == b"one"
        proxy.weather.is_dropping = True
        await caller.say(b"two")
        assert await caller.hears_nothing()
        proxy.heal()
        with pytest.raises(ConnectionResetError):
            await caller.hear(1)
    assert proxy.counts["dropped bytes"] == 3


async def test_a_reset_breaks_what_stands(proxy: Proxy) -> None:
    async with caller_of(proxy) as caller:
        await caller.say(b"one")
        assert await caller.hear(3) == b"one"
        assert proxy.reset() == 1
        with pytest.raises(ConnectionResetError):
            await caller.hear(1)
    async with caller_of(proxy) as caller:
        await caller.say(b"two")
        assert await caller.hear(3) == b"two"


async def test_who_knocks_is_reset_and_who_is_in_goes_on(proxy: Proxy) -> None:
    async with caller_of(proxy) as inside:
        await inside.say(b"one")
        assert await inside.hear(3) == b"one"
        proxy.weather.is_refusing = True
        async with caller_of(proxy) as outside:
            with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
                await outside.hear(1)
        await inside.say(b"two")
        assert await inside.hear(3) == b"two"


async def test_half_closed_upwards_the_server_thinks_that_all_is_said(proxy: Proxy) -> None:
    async with caller_of(proxy) as caller:
        await caller.say(b"one")
        assert await caller.hear(3) == b"one"
        assert proxy.half_close(Way.UP) == 1
        assert await caller.hear(7) == b"goodbye"
        await caller.say(b"is anybody there?")
        assert await caller.reader.read() == b""


async def test_half_closed_downwards_the_caller_hears_no_more(proxy: Proxy) -> None:
    async with caller_of(proxy) as caller:
        await caller.say(b"one")
        assert await caller.hear(3) == b"one"
        proxy.half_close(Way.DOWN)
        assert await caller.reader.read() == b""
        await caller.say(b"two")
        assert proxy.connections == 1


async def test_nobody_behind_it_is_a_reset() -> None:
    async with Proxy("127.0.0.1", 1) as proxy, caller_of(proxy) as caller:
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await caller.hear(1)
        assert proxy.counts["nobody there"] == 1


# ---------------------------------------------------------------------------------------------- PostgreSQL


@pytest.fixture
def notes(pg_url: str) -> Iterator[psycopg.Connection[Any]]:
    """A table of notes, seen without the proxy."""
    with psycopg.connect(plain(make_url(pg_url)), autocommit=True) as connection:
        connection.execute("CREATE TABLE notes (word text PRIMARY KEY)")
        yield connection


@pytest.fixture
async def post(pg_url: str, notes: psycopg.Connection[Any]) -> AsyncIterator[PostgresProxy]:
    url = make_url(pg_url)
    assert url.host is not None
    assert url.port is not None
    async with PostgresProxy(url.host, url.port) as opened:
        yield opened


@asynccontextmanager
async def writer_of(post: PostgresProxy, pg_url: str) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    url = make_url(pg_url).set(host="127.0.0.1", port=post.port)
    connection = await psycopg.AsyncConnection.connect(plain(url))
    try:
        yield connection
    finally:
        await connection.close()


def words(notes: psycopg.Connection[Any]) -> list[str]:
    return [word for (word,) in notes.execute("SELECT word FROM notes ORDER BY word")]


async def write(connection: psycopg.AsyncConnection[Any], word: str, how: str) -> None:
    """Write and commit, in one of the ways in which psycopg speaks."""
    if how == "pipeline":
        async with connection.pipeline():
            await connection.execute("INSERT INTO notes VALUES (%s)", (word,))
            await connection.commit()
    else:
        await connection.execute("INSERT INTO notes VALUES (%s)", (word,), prepare=how == "prepared")
        await connection.commit()


WAYS = ("simple", "prepared", "pipeline")


@pytest.mark.parametrize("how", WAYS)
async def test_uncut_commits_pass(post: PostgresProxy, pg_url: str, notes: Any, how: str) -> None:
    async with writer_of(post, pg_url) as connection:
        for word in ("one", "two", "three"):
            await write(connection, word, how)
    assert words(notes) == ["one", "three", "two"]
    assert post.counts["commits"] == 3


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize(("cut", "there"), [(Cut.BEFORE, ["one"]), (Cut.AFTER, ["one", "two"])])
async def test_a_commit_is_cut_where_it_was_told(
    post: PostgresProxy, pg_url: str, notes: Any, how: str, cut: Cut, there: list[str]
) -> None:
    async with writer_of(post, pg_url) as connection:
        await write(connection, "one", how)
        post.cut_at_commit(cut)
        with pytest.raises(psycopg.OperationalError) as told:
            await write(connection, "two", how)
        assert told.value.sqlstate is None, "the caller can not tell one from the other"
    assert words(notes) == there
    assert post.cuts_to_come == 0
    assert post.counts[f"cut {cut.value} commit"] == 1


async def test_a_transaction_that_only_reads_is_not_cut(post: PostgresProxy, pg_url: str, notes: Any) -> None:
    async with writer_of(post, pg_url) as connection:
        post.cut_at_commit(Cut.BEFORE)
        await connection.execute("SELECT * FROM notes FOR UPDATE")
        await connection.commit()
        assert post.cuts_to_come == 1
        await connection.execute("INSERT INTO notes VALUES ('gone')")
        await connection.rollback()
        await connection.execute("SELECT 1")
        await connection.commit()
        assert post.cuts_to_come == 1, "what was rolled back is no write of the next transaction"
        with pytest.raises(psycopg.OperationalError):
            await write(connection, "one", "simple")
    assert words(notes) == []


async def test_only_those_that_listen_are_cut(post: PostgresProxy, pg_url: str) -> None:
    async with writer_of(post, pg_url) as listener, writer_of(post, pg_url) as other:
        await listener.execute("LISTEN news")
        await other.execute("SELECT 1")
        assert post.cut_listeners() == 1
        with pytest.raises(psycopg.OperationalError):
            await listener.execute("SELECT 1")
        await other.execute("SELECT 1")


async def test_healing_forgets_the_cuts_to_come(post: PostgresProxy, pg_url: str, notes: Any) -> None:
    post.cut_at_commit(Cut.AFTER, times=3)
    post.heal()
    async with writer_of(post, pg_url) as connection:
        await write(connection, "one", "simple")
    assert words(notes) == ["one"]


async def test_nonsense_breaks_its_own_connection_only(post: PostgresProxy, pg_url: str) -> None:
    async with caller_of(post) as caller, writer_of(post, pg_url) as connection:
        await caller.say(b"\xff\xff\xff\xffGET / HTTP/1.1\r\n\r\n")
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await caller.hear(1)
        await connection.execute("SELECT 1")
