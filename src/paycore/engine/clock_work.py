"""The one clock that does whatever is due. There is no other timer, and no sweep.

It sleeps until the next task is due, takes what is due by leases, and has it done, many at a time but not too many at one
account. A worker that dies leaves a lease that runs out; the task is then due again, for anybody.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence

from paycore.core.order import Order, Payment, Refund, Task
from paycore.core.terms import SECOND
from paycore.engine.clock import Clock
from paycore.engine.tell import Run, Threads
from paycore.store import Due, Store

log = logging.getLogger("paycore.engine.clock_work")

LEASE = 30 * SECOND
FLOOR = 2 * SECOND
"""The longest sleep: other processes may have left tasks that nobody told us of."""
AFTER_TROUBLE = SECOND
AT_ONCE = 64
PER_ACCOUNT = 16

Do = Callable[[Due], Awaitable[None]]


class ClockWork:
    """Takes tasks that are due and has them done."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        do: Do,
        *,
        run: Run | None = None,
        lease: int = LEASE,
        at_once: int = AT_ONCE,
        per_account: int = PER_ACCOUNT,
    ) -> None:
        self._store = store
        self._clock = clock
        self._do = do
        self._threads = Threads(1, "clock") if run is None else None
        self._run: Run = run or self._threads  # type: ignore[assignment]
        self._lease = lease
        self._at_once = at_once
        self._accounts: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(per_account))
        self._doing: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._sleeps_until = 0
        self._task: asyncio.Task[None] | None = None
        self.done = 0
        self.failed = 0

    def start(self) -> None:
        """Begin to do what is due."""
        self._task = asyncio.get_running_loop().create_task(self._turn())

    async def stop(self, grace_seconds: float = 10.0) -> None:
        """Take nothing more, and wait a while for what is being done. What is not finished is due again later."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        doing = set(self._doing)
        if doing:
            _, late = await asyncio.wait(doing, timeout=grace_seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        if self._threads is not None:
            self._threads.close()

    @property
    def doing(self) -> int:
        """How many tasks are being done here now."""
        return len(self._doing)

    def changed(self, orders: Sequence[Order]) -> None:
        """Wake up if an order that was committed has something due before we meant to look."""
        if any(task.due_at < self._sleeps_until for order in orders for task in _free_tasks(order)):
            self._wake.set()

    async def _turn(self) -> None:
        while True:
            self._wake.clear()
            self._sleeps_until = self._clock.now() + FLOOR  # what comes while we look may be missed by the look
            try:
                until = await self._take()
            except Exception as error:  # noqa: BLE001 - the clock goes on, whatever happens to one turn
                log.warning("tasks could not be taken: %s", type(error).__name__)
                until = self._clock.now() + AFTER_TROUBLE
            if until is not None:
                self._sleeps_until = until
                await self._clock.sleep_until(until, self._wake)

    async def _take(self) -> int | None:
        """Take what is due and start it. Returns when to look again; None for at once."""
        room = self._at_once - len(self._doing)
        if room <= 0:
            await asyncio.wait(self._doing, return_when=asyncio.FIRST_COMPLETED)
            return None
        now = self._clock.now()
        taken, next_at = await self._run(lambda: self._claim(now, room))
        for due in taken:
            task = asyncio.get_running_loop().create_task(self._done(due))
            self._doing.add(task)
            task.add_done_callback(self._doing.discard)
        if len(taken) == room:
            return None
        floor = self._clock.now() + FLOOR
        return floor if next_at is None else min(max(next_at, now), floor)

    def _claim(self, now: int, room: int) -> tuple[list[Due], int | None]:
        """Look first, so that a turn with nothing to do writes nothing."""
        with self._store.read() as unit:
            next_at = unit.next_due_at(now)
        if next_at is None or next_at > now:
            return [], next_at
        with self._store.write() as unit:
            taken = unit.claim_due(now, now + self._lease, room)
        with self._store.read() as unit:
            return taken, unit.next_due_at(now)

    async def _done(self, due: Due) -> None:
        try:
            async with self._accounts[due.account_id or ""]:
                await self._do(due)
            self.done += 1
        except Exception:
            self.failed += 1
            log.exception("a task failed and will be due again: %s of %s", due.verb, due.subject_id)


def _free_tasks(order: Order) -> Iterator[Task]:
    rows: tuple[Order | Payment | Refund, ...] = (order, *order.payments, *order.refunds)
    return (row.task for row in rows if row.task is not None and row.task.leased_until is None)
