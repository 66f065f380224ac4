"""Tells other processes on one PostgreSQL to look. A hint is never needed, only early.

It is sent after the commit from a connection of its own, many at a time, at most fifty times a second: a NOTIFY inside
the transaction would make all commits queue behind one lock of the whole database.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo
from sqlalchemy.engine import make_url

from paycore.core.order import Order
from paycore.store.connect import PG_KEEPALIVE

log = logging.getLogger("paycore.engine.hints")

CHANNEL = "paycore_moved"
EVERY_SECONDS = 0.02
AGAIN_SECONDS = 1.0
MAX_BYTES = 7_500
"""PostgreSQL takes less than 8,000 bytes a hint."""
MAX_KEPT = 10_000
"""How many orders are kept to be hinted at while the database cannot be reached. What is forgotten a poll finds."""
FEEDS = "feeds"
"""The word that says: events have got their places in the feeds."""

Connection = psycopg.AsyncConnection[tuple[object, ...]]
Moved = Callable[[list[tuple[str, int]]], None]
"""Is called on the loop with what others say has moved: (order_id, version)."""


def _nothing() -> None:
    """Hears nothing."""


class Hints:
    """Sends and hears hints; connects again by itself, and is silent while it cannot.

    `heard` hears of orders that moved elsewhere, `feeds_grew` that some app's feed has grown.
    """

    def __init__(self, url: str, heard: Moved, feeds_grew: Callable[[], None] = _nothing) -> None:
        self._conninfo = make_conninfo(
            make_url(url).set(drivername="postgresql").render_as_string(hide_password=False),
            application_name="paycore hints",
            connect_timeout=5,
            options="-c statement_timeout=5000",
            **PG_KEEPALIVE,
        )
        self._heard = heard
        self._feeds_grew = feeds_grew
        self._me = secrets.token_hex(4)
        self._moved: dict[str, int] = {}
        self._have_feeds_grown = False
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.is_listening = False

    def start(self) -> None:
        """Begin to send and to hear."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._again(self._send)), loop.create_task(self._again(self._listen))]

    async def stop(self) -> None:
        """Stop both."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def changed(self, orders: Sequence[Order]) -> None:
        """Say soon that these orders have moved."""
        for order in orders:
            self._moved[order.order_id] = order.version
        if len(self._moved) > MAX_KEPT:
            self._moved.clear()
        self._wake.set()

    def grown(self) -> None:
        """Say soon that feeds have grown."""
        self._have_feeds_grown = True
        self._wake.set()

    async def _again(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do this work for ever: whatever ends it, it begins anew with a fresh connection."""
        while True:
            try:
                await work()
            except Exception as error:  # noqa: BLE001 - hints are never needed; the polls go on
                log.warning("hints are interrupted: %s", type(error).__name__)
            await asyncio.sleep(AGAIN_SECONDS)

    async def _connect(self) -> Connection:
        return await psycopg.AsyncConnection.connect(self._conninfo, autocommit=True)

    async def _send(self) -> None:
        async with await self._connect() as connection:
            while True:
                await self._wake.wait()
                self._wake.clear()
                await self._send_gathered(connection)
                await asyncio.sleep(EVERY_SECONDS)

    async def _send_gathered(self, connection: Connection) -> None:
        moved, self._moved = self._moved, {}
        have_feeds_grown, self._have_feeds_grown = self._have_feeds_grown, False
        try:
            for text in packed(self._me, moved.items(), have_feeds_grown=have_feeds_grown):
                await connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, text))
        except psycopg.Error:
            self._moved = moved | self._moved
            self._have_feeds_grown |= have_feeds_grown
            self._wake.set()
            raise

    async def _listen(self) -> None:
        async with await self._connect() as connection:
            await connection.execute(f"LISTEN {CHANNEL}")
            self.is_listening = True
            try:
                async for notice in connection.notifies():
                    self._hear(notice.payload)
            finally:
                self.is_listening = False

    def _hear(self, text: str) -> None:
        sender, positions, have_feeds_grown = unpacked(text)
        if sender == self._me:
            return
        if positions:
            self._heard(positions)
        if have_feeds_grown:
            self._feeds_grew()


def packed(sender: str, positions: Iterable[tuple[str, int]], *, have_feeds_grown: bool = False) -> list[str]:
    """Hints as texts, each short enough: the sender, then order_id:version for each, or that feeds have grown."""
    texts, text = [], f"{sender} {FEEDS}" if have_feeds_grown else sender
    for order_id, version in positions:
        word = f" {order_id}:{version}"
        if len(text) + len(word) > MAX_BYTES:
            texts.append(text)
            text = sender
        text += word
    return [*texts, text] if text != sender else texts


def unpacked(text: str) -> tuple[str, list[tuple[str, int]], bool]:
    """The sender, what it says has moved, and whether feeds have grown. Words that are not ours are passed over."""
    sender, *words = text.split(" ")
    positions = []
    for word in words:
        order_id, _, version = word.partition(":")
        if version.isascii() and version.isdigit() and len(version) < 19:
            positions.append((order_id, int(version)))
    return sender, positions, FEEDS in words
