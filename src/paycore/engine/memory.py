"""The store for use cases that are no facts (sessions, accounts, lists): one piece of work beside the loop, its own transaction."""

from collections.abc import Callable
from typing import TypeVar

from paycore.core.refusals import Reason, Refused
from paycore.engine.threads import Run, Threads, failure
from paycore.store import Conflict, Store, Unit

T = TypeVar("T")

THREADS = 4


class Memory:
    """Runs reads and writes beside the event loop. A store that cannot be reached is Refused, to be asked again."""

    def __init__(self, store: Store, *, run: Run | None = None) -> None:
        self.store = store
        self._threads = Threads(THREADS, "memory") if run is None else None
        self._run: Run = run or self._threads  # type: ignore[assignment]

    async def read(self, work: Callable[[Unit], T]) -> T:
        """What the work finds, in one read transaction."""

        def read() -> T:
            with self.store.read() as unit:
                return work(unit)

        return await self._do(read)

    async def write(self, work: Callable[[Unit], T]) -> T:
        """What the work gives once it is committed. Work that loses a race for a unique key is done once more."""

        def write() -> T:
            with self.store.write() as unit:
                return work(unit)

        def write_again() -> T:
            try:
                return write()
            except Conflict:
                return write()

        return await self._do(write_again)

    async def check(self, work: Callable[[Store], T]) -> T:
        """What the work finds out about the store as a whole."""
        return await self._do(lambda: work(self.store))

    def close(self) -> None:
        """Take no more work."""
        if self._threads is not None:
            self._threads.close()

    async def _do(self, work: Callable[[], T]) -> T:
        try:
            return await self._run(work)
        except Conflict:
            text = "Others changed the same thing at the same time."
            raise Refused(Reason.CONFLICT_RETRY, text, retry_after_seconds=0.1) from None
        except Exception as error:  # noqa: BLE001 - translated, not answered for
            raise failure(error) from None
