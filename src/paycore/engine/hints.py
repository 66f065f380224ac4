"""Tells other processes on one PostgreSQL to look at an order. A hint is never needed, only early.

It is sent after the commit from a connection of its own, many at a time, at most fifty times a second: a NOTIFY inside
the transaction would make all commits queue behind one lock of the whole database.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any

import psycopg
from sqlalchemy.engine import make_url

from paycore.core.order import Order

log = logging.getLogger("paycore.engine.hints")

CHANNEL = "paycore_moved"
EVERY_SECONDS = 0.02
AGAIN_SECONDS = 1.0
MAX_BYTES = 7_500
"""PostgreSQL takes less than 8,000 bytes a hint."""

Heard = Callable[[list[tuple[str, int]]], None]
"""Is called on the loop with what others say has moved: (order_id, version)."""


class Hints:
    """Sends and hears hints; connects again by itself, and is silent while it cannot."""

    def __init__(self, url: str, heard: Heard) -> None:
        self._conninfo = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        self._heard = heard
        self._me = secrets.token_hex(4)
        self._moved: dict[str, int] = {}
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

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
        self._wake.set()

    async def _again(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        while True:
            try:
                await work()
            except (psycopg.Error, OSError) as error:
                log.warning("hints are interrupted: %s", type(error).__name__)
            await asyncio.sleep(AGAIN_SECONDS)

    async def _connect(self) -> "psycopg.AsyncConnection[tuple[object, ...]]":
        return await psycopg.AsyncConnection.connect(
            self._conninfo, autocommit=True, application_name="paycore hints", connect_timeout=5
        )

    async def _send(self) -> None:
        async with await self._connect() as connection:
            while True:
                await self._wake.wait()
                self._wake.clear()
                moved, self._moved = self._moved, {}
                for text in packed(self._me, moved.items()):
                    await connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, text))
                await asyncio.sleep(EVERY_SECONDS)

    async def _listen(self) -> None:
        async with await self._connect() as connection:
            await connection.execute(f"LISTEN {CHANNEL}")
            async for notice in connection.notifies():
                sender, positions = unpacked(notice.payload)
                if sender != self._me and positions:
                    self._heard(positions)


def packed(sender: str, positions: Iterable[tuple[str, int]]) -> list[str]:
    """Hints as texts, each short enough: the sender, then order_id:version for each."""
    texts, text = [], sender
    for order_id, version in positions:
        word = f" {order_id}:{version}"
        if len(text) + len(word) > MAX_BYTES:
            texts.append(text)
            text = sender
        text += word
    return [*texts, text] if text != sender else texts


def unpacked(text: str) -> tuple[str, list[tuple[str, int]]]:
    """The sender and what it says has moved. Words that are not ours are passed over."""
    sender, *words = text.split(" ")
    positions = []
    for word in words:
        order_id, _, version = word.partition(":")
        if version.isascii() and version.isdigit():
            positions.append((order_id, int(version)))
    return sender, positions
