"""Wakes those who watch. The events table is the truth; everything here only says "look".

In this process watchers are woken by the commit itself. Other processes send hints. What neither brings, a poll finds: it
runs only while somebody watches, and asks for many orders in one statement.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from itertools import islice
from typing import TypeVar

from paycore.core.events import Event
from paycore.core.order import Order
from paycore.core.terms import SECOND
from paycore.engine.clock import Clock
from paycore.engine.threads import Run, Threads, failure
from paycore.store import Store

log = logging.getLogger("paycore.engine.hub")

T = TypeVar("T")

Moved = Callable[[int], None]
"""Is called on the loop with a version that the order has reached."""
Rang = Callable[[], None]
"""Is called on the loop when there may be something new."""

POLL = SECOND
POLL_AT_ONCE = 2_000
"""How many watched orders one poll asks about; the next poll goes on behind them."""
READ_AT_ONCE = 256
"""How many orders' events one read loads."""

Place = tuple[str, int, int]
"""Where somebody reads on: the order, behind which version, how many events at most."""


class Hub:
    """Who watches what in this process, and the reads that they share."""

    def __init__(self, store: Store, clock: Clock, *, run: Run | None = None) -> None:
        self._store = store
        self._clock = clock
        self._threads = Threads(2, "hub") if run is None else None
        self._run: Run = run or self._threads  # type: ignore[assignment]
        self._orders: dict[str, dict[Moved, None]] = {}
        self._feeds: dict[str, dict[Rang, None]] = {}
        self._wanted: dict[Place, list[asyncio.Future[list[Event]]]] = {}
        self._reading: asyncio.Task[None] | None = None
        self._polling: asyncio.Task[None] | None = None
        self._polled_to = ""

    # ------------------------------------------------------------------------------------ watching

    def watch(self, order_id: str, moved: Moved) -> Callable[[], None]:
        """Be told whenever the order may have moved. Returns how to stop."""
        self._orders.setdefault(order_id, {})[moved] = None
        self._keep_polling()
        return lambda: _drop(self._orders, order_id, moved)

    def watch_feed(self, app_id: str, rang: Rang) -> Callable[[], None]:
        """Be told whenever an app's feed may have grown. Returns how to stop."""
        self._feeds.setdefault(app_id, {})[rang] = None
        self._keep_polling()
        return lambda: _drop(self._feeds, app_id, rang)

    @property
    def watched(self) -> int:
        """How many orders are watched here."""
        return len(self._orders)

    @property
    def watched_feeds(self) -> Collection[str]:
        """The apps whose feeds are watched here."""
        return self._feeds.keys()

    def moved(self, positions: Iterable[tuple[str, int]]) -> None:
        """Wake the watchers of these orders (order_id, version)."""
        for order_id, version in positions:
            for moved in tuple(self._orders.get(order_id, ())):
                _wake(partial(moved, version))

    def changed(self, orders: Sequence[Order]) -> None:
        """Wake the watchers of orders that a commit of this process changed."""
        if self._orders:
            self.moved((order.order_id, order.version) for order in orders)

    def ring_feeds(self, app_ids: Iterable[str]) -> None:
        """Wake the watchers of these apps' feeds."""
        for app_id in app_ids:
            for rang in tuple(self._feeds.get(app_id, ())):
                _wake(rang)

    # ------------------------------------------------------------------------------------ reading

    async def events_after(self, order_id: str, version: int, limit: int) -> list[Event]:
        """The order's events behind a version, in order and without a gap, at most so many.

        Those who ask in the same moment share one statement. Raises Refused when the store cannot be reached.
        """
        answer: asyncio.Future[list[Event]] = asyncio.get_running_loop().create_future()
        self._wanted.setdefault((order_id, version, limit), []).append(answer)
        if self._reading is None or self._reading.done():
            self._reading = asyncio.get_running_loop().create_task(self._read())
        return await answer

    async def feed(self, app_id: str, after: int, limit: int) -> list[tuple[int, Event]]:
        """The app's events behind a place in its feed, in order and without a gap."""

        def read() -> list[tuple[int, Event]]:
            with self._store.read() as unit:
                return unit.feed(app_id, after, limit)

        return await self._asked(read)

    async def feed_head(self, app_id: str) -> int:
        """The last place in the app's feed."""

        def read() -> int:
            with self._store.read() as unit:
                return unit.feed_head(app_id)

        return await self._asked(read)

    async def _asked(self, read: Callable[[], T]) -> T:
        try:
            return await self._run(read)
        except Exception as error:  # noqa: BLE001 - it is the caller's answer
            raise failure(error) from None

    async def _read(self) -> None:
        """Read for those who have asked, and then for those who asked meanwhile."""
        while self._wanted:
            wanted = {place: self._wanted.pop(place) for place in list(islice(self._wanted, READ_AT_ONCE))}
            answers = [answer for waiting in wanted.values() for answer in waiting]
            try:
                found = await self._run(lambda: self._read_all(list(wanted)))  # noqa: B023 - run at once
            except Exception as error:  # noqa: BLE001 - it is the answer of everybody who waits
                for answer in answers:
                    if not answer.done():
                        answer.set_exception(failure(error))
                continue
            except BaseException:
                for answer in answers:
                    answer.cancel()
                raise
            for place, waiting in wanted.items():
                for answer in waiting:
                    if not answer.done():
                        answer.set_result(found.get(place, []))

    def _read_all(self, places: list[Place]) -> dict[Place, list[Event]]:
        """The events behind each place. Places of one order are read one after the other; several are rare."""
        found: dict[Place, list[Event]] = {}
        with self._store.read() as unit:
            while places:
                first_of: dict[str, Place] = {}
                later = []
                for place in places:
                    if place[2] == places[0][2] and place[0] not in first_of:
                        first_of[place[0]] = place
                    else:
                        later.append(place)
                events = unit.events_after({order_id: place[1] for order_id, place in first_of.items()}, places[0][2])
                found.update({first_of[order_id]: read for order_id, read in events.items()})
                places = later
        return found

    # ------------------------------------------------------------------------------------ polling

    def _keep_polling(self) -> None:
        if self._polling is None or self._polling.done():
            self._polling = asyncio.get_running_loop().create_task(self._poll())

    async def _poll(self) -> None:
        never = asyncio.Event()
        while self._orders or self._feeds:
            await self._clock.sleep_until(self._clock.now() + POLL, never)
            try:
                await self._poll_once()
            except Exception as error:  # noqa: BLE001 - the next poll asks again
                log.warning("the poll for watchers failed: %s", type(error).__name__)

    async def _poll_once(self) -> None:
        self.ring_feeds(tuple(self._feeds))
        ids = self._next_to_poll()
        if ids:
            versions = await self._run(lambda: self._versions(ids))
            self.moved(versions.items())

    def _next_to_poll(self) -> list[str]:
        """The watched orders whose turn it is."""
        if len(self._orders) <= POLL_AT_ONCE:
            return list(self._orders)
        behind = sorted(order_id for order_id in self._orders if order_id > self._polled_to)
        ids = list(islice(behind, POLL_AT_ONCE))
        self._polled_to = ids[-1] if len(ids) == POLL_AT_ONCE else ""
        return ids

    def _versions(self, ids: Collection[str]) -> dict[str, int]:
        with self._store.read() as unit:
            return unit.versions(ids)

    async def stop(self) -> None:
        """Stop polling."""
        for task in (self._polling, self._reading):
            if task is not None:
                task.cancel()
        await asyncio.gather(*(t for t in (self._polling, self._reading) if t is not None), return_exceptions=True)
        if self._threads is not None:
            self._threads.close()


def _wake(watcher: Callable[[], None]) -> None:
    """Wake one watcher. One that raises keeps nobody else asleep."""
    try:
        watcher()
    except Exception:
        log.exception("a watcher could not be woken")


def _drop(watched: dict[str, dict[T, None]], key: str, who: T) -> None:
    watchers = watched.get(key)
    if watchers is not None:
        watchers.pop(who, None)
        if not watchers:
            del watched[key]
