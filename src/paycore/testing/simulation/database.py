"""The one database of a world: the real store on SQLite in memory, as every process reaches it, with its faults.

A transaction is one step of the loop, so nobody sees half of one; whoever dies dies before it or after it. What fails,
fails before BEGIN, before COMMIT or after it, always with the same exception: a process cannot tell which it was.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

from paycore.store import Store, StoreUnavailable, Unit
from paycore.store.sql import same
from paycore.store.tables import METADATA
from paycore.testing.simulation.processes import Process
from paycore.testing.simulation.weather import Weather

T = TypeVar("T")

_ERASE = [same(f"DELETE FROM {table.name}") for table in reversed(METADATA.sorted_tables)]  # noqa: S608 - our own names


def empty_store() -> Store:
    """A database with its schema and nothing in it. A real process has one for all its runs: it is emptied, not made anew."""
    store = _store()
    with store.write() as unit:
        for statement in _ERASE:
            unit.rows(statement)
    return store


@cache
def _store() -> Store:
    store = Store.open("sqlite://")
    store.migrate()
    return store


class SimStore(Store):
    """The database as one process reaches it; once that is dead, not at all."""

    def __init__(self, real: Store, process: Process, weather: Weather, committed: Callable[[], None]) -> None:
        vars(self).update(vars(real))
        self._process = process
        self._weather = weather
        self._hear_commit = committed

    @contextmanager
    def write(self) -> Iterator[Unit]:
        """A transaction, with the bad luck that the weather has for it."""
        self._process.must_live()
        self._fail("store: before BEGIN")
        with super().write() as unit:
            yield unit
            self._fail("store: before COMMIT")
        self._hear_commit()
        if self._weather.strikes("killed after a commit", self._weather.options.edge_kills):
            self._process.fuse = self._weather.dice.randrange(3)
        self._fail("store: after COMMIT")

    @contextmanager
    def read(self) -> Iterator[Unit]:
        """A transaction that reads, or none."""
        self._process.must_live()
        self._fail("store: before BEGIN")
        with super().read() as unit:
            yield unit

    def _fail(self, kind: str) -> None:
        if self._weather.strikes(kind, self._weather.options.store_faults / 3):
            raise StoreUnavailable("simulated")


class InlineRun:
    """Runs the store's work on the loop: some time passes, then all of it happens at once, then some time passes again."""

    def __init__(self, process: Process, weather: Weather) -> None:
        self._process = process
        self._weather = weather

    async def __call__(self, work: Callable[[], T], /) -> T:
        seconds = self._weather.options.store_seconds
        await asyncio.sleep(self._weather.about(seconds))
        self._process.must_live()
        result = work()
        await asyncio.sleep(self._weather.about(seconds))
        return result
