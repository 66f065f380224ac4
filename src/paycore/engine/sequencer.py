"""Gives the events of a PostgreSQL their places in their apps' feeds, after commit, in one process at a time.

SQLite needs none: its transactions follow one another, and number as they write.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable

from paycore.core.terms import SECOND
from paycore.engine.clock import Clock
from paycore.engine.threads import Run, Threads
from paycore.store import Store

log = logging.getLogger("paycore.engine.sequencer")

LEASE = 5 * SECOND
EVERY = SECOND
"""How often it looks without being called."""
AT_ONCE = 2_000
PAUSE_SECONDS = 0.02
"""What is committed meanwhile is numbered together."""
NAME = "feed"


class Sequencer:
    """Numbers what was committed whenever it is called; whoever holds the lease does it for all.

    Two that both believe they hold it number in turn and do no harm; the lease only saves their work.
    """

    def __init__(self, store: Store, clock: Clock, grown: Callable[[], None], *, run: Run | None = None) -> None:
        self._store = store
        self._clock = clock
        self._grown = grown
        self._threads = Threads(1, "sequencer") if run is None else None
        self._run: Run = run or self._threads  # type: ignore[assignment]
        self._me = secrets.token_hex(8)
        self._held_until = 0
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
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            await self._leave()
        if self._threads is not None:
            self._threads.close()

    async def _work(self) -> None:
        while True:
            self._wake.clear()
            try:
                await self._number_all()
            except Exception as error:  # noqa: BLE001 - the next turn tries again
                self._held_until = 0
                log.warning("the feed could not be numbered: %s", type(error).__name__)
            await asyncio.sleep(PAUSE_SECONDS)
            await self._clock.sleep_until(self._clock.now() + EVERY, self._wake)

    async def _number_all(self) -> None:
        numbered = AT_ONCE
        while numbered == AT_ONCE:
            numbered = await self._run(self._number)
            if numbered:
                self._grown()

    def _number(self) -> int:
        """How many events got their place. Nothing is written while there is nothing to number and the lease is long."""
        now = self._clock.now()
        with self._store.write() as unit:
            if self._held_until < now + LEASE // 2:
                self._held_until = now + LEASE if unit.take_lease(NAME, self._me, now, now + LEASE) else 0
            return unit.number_feed(AT_ONCE) if self._held_until else 0

    async def _leave(self) -> None:
        def leave() -> None:
            with self._store.write() as unit:
                unit.drop_lease(NAME, self._me)

        try:
            await self._run(leave)
        except Exception as error:  # noqa: BLE001 - the lease ends by itself
            log.warning("the feed's lease could not be dropped: %s", type(error).__name__)
