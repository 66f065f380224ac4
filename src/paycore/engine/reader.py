"""Shared reads of whole orders: those who ask in the same moment share one transaction, and one statement for each table."""

import asyncio
from collections.abc import Iterable
from itertools import islice

from paycore.core.order import Order
from paycore.engine.threads import Run, Threads, failure
from paycore.store import Store

AT_ONCE = 256
"""How many orders one read loads: two thousand streams that open together must not stop everybody else."""

Answers = dict[str, "list[asyncio.Future[Order | None]]"]


class Reader:
    """Loads orders, many with one read."""

    def __init__(self, store: Store, *, run: Run | None = None, threads: int = 2) -> None:
        self._store = store
        self._threads = Threads(threads, "reader") if run is None else None
        self._run: Run = run or self._threads  # type: ignore[assignment]
        self._slots = threads
        self._waiting: Answers = {}
        self._reads: set[asyncio.Task[None]] = set()
        self._is_scheduled = False

    async def load(self, order_id: str) -> Order | None:
        """The order as it stands, or None. Raises Refused when the store cannot be reached.

        What was committed before the call is in it.
        """
        answer: asyncio.Future[Order | None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(order_id, []).append(answer)
        self._schedule()
        return await answer

    def close(self) -> None:
        """Take no more work."""
        if self._threads is not None:
            self._threads.close()

    def _schedule(self) -> None:
        """Read at the end of this turn of the loop, so that all who ask in it share the read."""
        if not self._is_scheduled and len(self._reads) < self._slots:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._start)

    def _start(self) -> None:
        self._is_scheduled = False
        while self._waiting and len(self._reads) < self._slots:
            task = asyncio.get_running_loop().create_task(self._read(self._gather()))
            self._reads.add(task)
            task.add_done_callback(self._done)

    def _gather(self) -> Answers:
        if len(self._waiting) <= AT_ONCE:
            batch, self._waiting = self._waiting, {}
            return batch
        return {order_id: self._waiting.pop(order_id) for order_id in list(islice(self._waiting, AT_ONCE))}

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._reads.discard(task)
        self._start()

    async def _read(self, batch: Answers) -> None:
        try:
            orders = await self._run(lambda: self._load(batch))
        except Exception as error:  # noqa: BLE001 - it is the answer of everybody who waits
            for answer in _open(batch.values()):
                answer.set_exception(failure(error))
            return
        for order_id, answers in batch.items():
            for answer in _open([answers]):
                answer.set_result(orders.get(order_id))

    def _load(self, order_ids: Iterable[str]) -> dict[str, Order]:
        with self._store.read() as unit:
            return unit.load(sorted(order_ids))


def _open(answers: "Iterable[list[asyncio.Future[Order | None]]]") -> "Iterable[asyncio.Future[Order | None]]":
    """Those who still wait."""
    return (answer for waiting in answers for answer in waiting if not answer.done())
