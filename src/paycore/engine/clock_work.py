"""The one clock that does whatever is due. There is no other timer, and no sweep.

It sleeps until the next task is due, takes what is due by leases, and has it done, many at a time but not too many at one
account. A worker that dies leaves a lease that runs out; the task is then due again, for anybody.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence

from paycore.core.order import Order, Payment, Refund, Task
from paycore.core.terms import SECOND
from paycore.engine.clock import Clock
from paycore.engine.threads import Run, Threads
from paycore.store import Due, Store

log = logging.getLogger("paycore.engine.clock_work")

LEASE = 30 * SECOND
FLOOR = 2 * SECOND
"""The longest sleep: other processes may have left tasks that nobody told us of."""
SOON = SECOND // 5
"""When to look again after tasks that are due and cannot be taken: another worker has them in hand, or their account is busy."""
TROUBLE = tuple(seconds * SECOND for seconds in (1, 2, 4, 8, 15))
"""How long to wait after looks that failed; the last one repeats."""
AT_ONCE = 128
PER_ACCOUNT = 32

Do = Callable[[Due], Awaitable[None]]


class ClockWork:
    """Takes tasks that are due and has them done.

    A slow account holds up nobody else: while most of its hands are busy its tasks are left where they are, not taken
    and kept waiting on a lease that runs.
    """

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
        self._per_account = per_account
        self._most_taken = max(per_account // 2, 1)
        """One look takes so many at most: even if they are all of one account, it has hands for them."""
        self._busy: Counter[str] = Counter()
        self._doing: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._sleeps_until = 0
        self._is_full = False
        self._is_stopping = False
        self._troubles = 0
        self._turning: asyncio.Task[None] | None = None
        self.done = 0
        self.failed = 0

    def start(self) -> None:
        """Begin to do what is due."""
        self._turning = asyncio.get_running_loop().create_task(self._turn())

    async def stop(self, grace_seconds: float = 10.0) -> None:
        """Take nothing more, and wait a while for what is being done. What is not finished is due again later."""
        self._is_stopping = True
        self._wake.set()
        deadline = asyncio.get_running_loop().time() + grace_seconds
        await _finished([self._turning] if self._turning is not None else [], deadline)
        await _finished(self._doing, deadline)
        if self._threads is not None:
            self._threads.close()

    @property
    def doing(self) -> int:
        """How many tasks are being done here now."""
        return len(self._doing)

    def released(self, orders: Sequence[Order]) -> None:
        """Wake up if an order that a commit let go has something due before we meant to look."""
        if any(task.due_at < self._sleeps_until for order in orders for task in _free_tasks(order)):
            self._wake.set()

    # ------------------------------------------------------------------------------------ turning

    async def _turn(self) -> None:
        while not self._is_stopping:
            self._wake.clear()
            self._sleeps_until = self._clock.now() + FLOOR  # what comes while we look may be missed by the look
            try:
                until = await self._take()
                self._troubles = 0
            except Exception as error:  # noqa: BLE001 - the clock goes on, whatever happens to one look
                log.warning("tasks could not be taken: %s", type(error).__name__)
                until = self._clock.now() + TROUBLE[min(self._troubles, len(TROUBLE) - 1)]
                self._troubles += 1
            if until is not None:
                self._sleeps_until = until
                await self._clock.sleep_until(until, self._wake)

    async def _take(self) -> int | None:
        """Take what is due and start it. Returns when to look again; None for at once."""
        most = min(self._at_once - len(self._doing), self._most_taken)
        spared = [account for account, busy in self._busy.items() if busy > self._per_account - self._most_taken]
        self._is_full = most <= 0 or bool(spared)
        if most <= 0:
            return self._clock.now() + FLOOR
        looked_at = self._clock.now()
        taken, next_at = await self._run(lambda: self._claim(looked_at, most, spared))
        for due in taken:
            self._begin(due)
        if len(taken) == most:
            return None
        floor = self._clock.now() + FLOOR
        if next_at is None:
            return floor
        return min(next_at, floor) if next_at > looked_at else self._clock.now() + SOON

    def _claim(self, now: int, most: int, spared: list[str]) -> tuple[list[Due], int | None]:
        """What was taken, and when the next task is due. A look that finds nothing due writes nothing."""
        with self._store.read() as unit:
            next_at = unit.next_due_at(now)
        if next_at is None or next_at > now:
            return [], next_at
        with self._store.write() as unit:
            return unit.claim_due(now, now + self._lease, most, sparing=spared), unit.next_due_at(now)

    # ------------------------------------------------------------------------------------ doing

    def _begin(self, due: Due) -> None:
        account = due.account_id or ""
        self._busy[account] += 1
        task = asyncio.get_running_loop().create_task(self._have_done(due))
        self._doing.add(task)
        task.add_done_callback(lambda done: self._let_go(done, account))

    async def _have_done(self, due: Due) -> None:
        try:
            await self._do(due)
            self.done += 1
        except Exception:
            self.failed += 1
            log.exception("a task failed and will be due again: %s of %s", due.verb, due.subject_id)

    def _let_go(self, task: "asyncio.Task[None]", account: str) -> None:
        """A hand is free again."""
        self._doing.discard(task)
        self._busy[account] -= 1
        if not self._busy[account]:
            del self._busy[account]
        if self._is_full:
            self._wake.set()


async def _finished(tasks: "Sequence[asyncio.Task[None]] | set[asyncio.Task[None]]", deadline: float) -> None:
    """Wait for these until a moment of the loop's time, then end them."""
    waiting = set(tasks)
    if not waiting:
        return
    _, late = await asyncio.wait(waiting, timeout=max(deadline - asyncio.get_running_loop().time(), 0))
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)


def _free_tasks(order: Order) -> Iterator[Task]:
    rows: tuple[Order | Payment | Refund, ...] = (order, *order.payments, *order.refunds)
    return (row.task for row in rows if row.task is not None and row.task.leased_until is None)
