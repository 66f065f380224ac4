"""What every use case works with, and the few things that all of them do: wait, do at once, look up a replay."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from paycore.core.facts import Fact
from paycore.core.order import Order, Verb
from paycore.core.refusals import Reason, Refused
from paycore.core.terms import SECOND
from paycore.engine.accounts import Accounts
from paycore.engine.asking import Asker
from paycore.engine.clock import Clock
from paycore.engine.converse import Room
from paycore.engine.host import Host
from paycore.engine.ids import Ids
from paycore.engine.memory import Memory
from paycore.engine.offers import Offers
from paycore.engine.reader import Reader
from paycore.engine.tell import Teller, Telling, Told, conflict
from paycore.engine.verbs import Verbs
from paycore.store import Evidence, RequestKey, Unit

log = logging.getLogger("paycore.engine")

T = TypeVar("T")

CONVERSE = 8 * SECOND
"""How long a caller waits for a channel at most; the conversation itself has as long."""
LEASE = CONVERSE + 2 * SECOND
"""How long a task is leased to a caller that does it at once."""
ANSWER = SECOND // 4
"""What is left of a caller's deadline to write the answer."""
LEAST = SECOND // 5
"""With less time than this a caller does nothing itself; the clock does it."""
LOOK_AGAIN_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class CallerRequest:
    """A request that may be sent twice: its key, and its content as canonical bytes."""

    key: RequestKey
    canonical: bytes


@dataclass(slots=True)
class Desk:
    """What every use case works with."""

    clock: Clock
    ids: Ids
    memory: Memory
    teller: Teller
    reader: Reader
    host: Host
    accounts: Accounts
    room: Room
    asker: Asker
    verbs: Verbs
    offers: Offers
    _at_work: set[asyncio.Task[Any]] = field(default_factory=set)

    # ------------------------------------------------------------------------------------ orders

    async def order_of(self, app_id: str, order_id: str) -> Order:
        """The app's order as it stands. Raises Refused; another app's order answers like one that does not exist."""
        order = await self.reader.load(order_id)
        if order is None or order.app_id != app_id:
            raise Refused(Reason.ORDER_NOT_FOUND, "There is no such order.", order_id=order_id)
        return order

    async def tell(
        self,
        app_id: str,
        order_id: str,
        fact: Fact,
        request: CallerRequest | None = None,
        *,
        etag: str = "",
        evidence: tuple[Evidence, ...] = (),
    ) -> Told:
        """Tell a caller's fact about its order. Raises Refused, ETAG_MISMATCH when the caller knew another version of it."""
        return await self.teller.tell(
            Telling(
                order_id,
                fact,
                app_id=app_id,
                request=request.key if request else None,
                canonical=request.canonical if request else b"",
                etag=etag,
                evidence=evidence,
            )
        )

    async def replayed(self, request: CallerRequest) -> Told | None:
        """What this very request led to before, as it stands now; None if it is new. Raises IDEMPOTENCY_CONFLICT."""

        def look(unit: Unit) -> tuple[str, str, bytes] | None:
            stored = unit.find_requests([request.key]).get(request.key)
            return None if stored is None else (stored.order_id, stored.subject_id, stored.canonical)

        found = await self.memory.read(look)
        if found is None:
            return None
        order_id, subject_id, canonical = found
        if canonical != request.canonical:
            raise conflict(Reason.IDEMPOTENCY_CONFLICT, canonical, request.canonical)
        order = await self.reader.load(order_id)
        return None if order is None else Told(order, subject_id, is_replay=True)

    async def refused_or_replayed(self, refused: Refused, request: CallerRequest | None) -> Told:
        """The answer to a request that is refused now: what it led to when it was first sent, if it was."""
        told = None if request is None else await self.replayed(request)
        if told is None:
            raise refused
        return told

    # ------------------------------------------------------------------------------------ time

    def patience(self, deadline_at: int | None) -> int:
        """How long a caller can be kept waiting for a channel, in microseconds."""
        left = CONVERSE if deadline_at is None else deadline_at - self.clock.now() - ANSWER
        return max(0, min(left, CONVERSE))

    async def wait_for(self, work: Coroutine[Any, Any, T], patience: int) -> T | None:
        """What the work gives if it is done in time; None if not. The work goes on in any case, whoever stops waiting."""
        task = asyncio.create_task(work)
        self._at_work.add(task)
        task.add_done_callback(self._done)
        done, _ = await asyncio.wait({task}, timeout=patience / SECOND)
        return task.result() if done else None

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._at_work.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.warning("work that went on after its caller failed: %s", type(task.exception()).__name__)

    async def finish(self, seconds: float) -> None:
        """Wait for what is still at work, then let it go; its tasks are done again when their leases end."""
        tasks = set(self._at_work)
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=seconds)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    # ------------------------------------------------------------------------------------ doing at once

    async def do_now(self, order_id: str, patience: int, subjects: Collection[str] | None = None) -> None:
        """Do what is due on an order's payments and refunds, and wait while somebody else does it; at most so long.

        With `subjects` only these rows count.
        """

        async def until_quiet() -> None:
            while True:
                order = await self.reader.load(order_id)
                due, busy = _due(order, subjects, self.clock.now()) if order is not None else ([], False)
                claimed = await self._claim(due)
                if claimed:
                    await asyncio.gather(*(self.verbs.do(one) for one in claimed), return_exceptions=True)
                elif due or busy:
                    await asyncio.sleep(LOOK_AGAIN_SECONDS)
                else:
                    return

        if patience >= LEAST:
            await self.wait_for(_bounded(until_quiet, patience), patience)

    async def _claim(self, subject_ids: Collection[str]) -> list[Any]:
        now = self.clock.now()
        if not subject_ids:
            return []
        return await self.memory.write(
            lambda unit: [
                due
                for subject_id in subject_ids
                for due in unit.claim_due(now, now + LEASE, limit=1, subject_id=subject_id)
            ]
        )


async def _bounded(work: Callable[[], Awaitable[None]], patience: int) -> None:
    """The work, given up some time after nobody waits for it any more."""
    try:
        async with asyncio.timeout(patience / SECOND + CONVERSE / SECOND):
            await work()
    except TimeoutError:
        return


def _due(order: Order, subjects: Collection[str] | None, now: int) -> tuple[list[str], bool]:
    """The rows whose task is due now, and whether any is being done by somebody."""
    rows = [
        *((payment.payment_id, payment.task) for payment in order.payments),
        *((refund.refund_id, refund.task) for refund in order.refunds),
    ]
    due, busy = [], False
    for subject_id, task in rows:
        if task is None or task.verb is Verb.EXPIRE or (subjects is not None and subject_id not in subjects):
            continue
        if task.leased_until is not None and task.leased_until > now:
            busy = True
        elif task.due_at <= now:
            due.append(subject_id)
    return due, busy
