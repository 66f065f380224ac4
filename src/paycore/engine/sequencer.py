"""Gives the events of a PostgreSQL their places in their apps' feeds, after commit, in one process at a time.

SQLite needs none: its transactions follow one another, and number as they write.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable

from paycore.core.terms import SECOND
from paycore.engine.clock import Clock
from paycore.engine.tell import Run, Threads
from paycore.store import Store

log = logging.getLogger("paycore.engine.sequencer")

LEASE = 5 * SECOND
EVERY = SECOND
"""How often it looks without being called."""
AT_ONCE = 2_000
NAME = "feed"


class Sequencer:
    """Numbers what was committed whenever it is called; whoever holds the lease does it for all."""

    def __init__(self, store: Store, clock: Clock, grown: Callable[[], None], *, run: Run | None = None) -> None:
        self._store = store
        self._clock = clock
        self._grown = grown
        self._threads = Threads(1, "sequencer") if run is None else None
        self._run: Run = run or self._threads  # type: ignore[assignment]
        self._me = secrets.token_hex(8)
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to number."""
        self._task = asyncio.get_running_loop().create_task(self._work())

    def call(self) -> None:
        """There is something to number, here or elsewhere."""
        self._wake.set()

    async def stop(self) -> None:
        """Stop, and let another process take over at once."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        try:
            await self._run(self._leave)
        except Exception as error:  # noqa: BLE001 - the lease ends by itself
            log.warning("the feed's lease could not be dropped: %s", type(error).__name__)
        if self._threads is not None:
            self._threads.close()

    async def _work(self) -> None:
        while True:
            self._wake.clear()
            try:
                while await self._run(self._number):
                    self._grown()
            except Exception as error:  # noqa: BLE001 - the next turn tries again
                log.warning("the feed could not be numbered: %s", type(error).__name__)
            await self._clock.sleep_until(self._clock.now() + EVERY, self._wake)

    def _number(self) -> int:
        now = self._clock.now()
        with self._store.write() as unit:
            return unit.number_feed(AT_ONCE) if unit.take_lease(NAME, self._me, now, now + LEASE) else 0

    def _leave(self) -> None:
        with self._store.write() as unit:
            unit.drop_lease(NAME, self._me)
