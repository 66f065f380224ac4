"""Blocking work beside the event loop: the store's transactions. A simulation runs the same work where it stands."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

from paycore.core.refusals import Reason, Refused
from paycore.store import StoreUnavailable

T = TypeVar("T")


class Run(Protocol):
    """Runs a piece of blocking work beside the loop. A simulation runs it where it stands."""

    async def __call__(self, work: Callable[[], T], /) -> T: ...


class Threads:
    """Runs work in a few threads of its own."""

    def __init__(self, count: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix=name)

    async def __call__(self, work: Callable[[], T], /) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def close(self) -> None:
        """Wait for the work under way and take no more."""
        self._pool.shutdown(wait=True)


def failure(error: BaseException) -> BaseException:
    """What a caller is told when the work it waits for failed. One answer for each caller: an exception is no shared thing."""
    if isinstance(error, StoreUnavailable):
        text = "The database cannot be reached at the moment."
        return Refused(Reason.STORE_UNAVAILABLE, text, retry_after_seconds=1.0)
    return error
