"""The only writer: facts that have gathered are decided and stored together, in one transaction, then everybody is answered.

A batch is one function call in a worker thread, with a fixed number of statements however many facts it holds. Facts of
one order fold in turn; facts of an order that is being written wait for the next batch. A fact that is refused refuses
its own teller only. When the batch meets somebody else's change it is told again, one fact at a time.
"""

import asyncio
import json
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from time import perf_counter
from typing import Protocol, TypeVar

from paycore.core.decide import Decision, decide
from paycore.core.facts import Fact, OrderAsked, RefundAsked
from paycore.core.order import Order
from paycore.core.refusals import Reason, Refused
from paycore.engine.clock import Clock
from paycore.store import (
    Change,
    Conflict,
    Evidence,
    LostClaim,
    RequestKey,
    Store,
    StoredRequest,
    StoreUnavailable,
    Unit,
)

log = logging.getLogger("paycore.engine.tell")

T = TypeVar("T")

MAX_BATCH = 256
"""The most facts of one transaction: enough to share its cost, few enough to answer soon."""
MAX_WAITING = 20_000
"""The most facts that wait; more are turned away, so that a slow database is felt at the door."""
TRIES = 5
"""How often one fact alone is told when it meets the changes of others."""


@dataclass(frozen=True, slots=True)
class Telling:
    """A fact on its way: about which order, on whose behalf, under which request.

    `app_id` set: the order must be this app's, or it does not exist. `canonical` is the request's content, so that the
    same request_id with other content can be told apart.
    """

    order_id: str
    fact: Fact
    app_id: str | None = None
    request: RequestKey | None = None
    canonical: bytes = b""
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True, slots=True)
class Told:
    """What became of a telling: the order as it stands, and the row that the fact was about."""

    order: Order
    subject_id: str
    is_replay: bool = False


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


@dataclass(slots=True)
class Meter:
    """What the teller counts; the metrics page reads it."""

    batches: int = 0
    facts: int = 0
    refused: int = 0
    one_by_one: int = 0
    unavailable: int = 0
    seconds: float = 0.0


Answer = Told | Refused
Changed = Callable[[Sequence[Order]], None]
"""Is called on the loop with every order that a commit changed."""


@dataclass(slots=True, eq=False)
class _Waiting:
    telling: Telling
    answer: "asyncio.Future[Told]" = field(repr=False)

    @property
    def keys(self) -> tuple[object, ...]:
        """What must not be in two batches at once: the order, and what would make two requests the same one."""
        telling = self.telling
        keys: tuple[object, ...] = (telling.order_id,)
        if telling.request is not None:
            keys = (*keys, telling.request)
        if isinstance(telling.fact, OrderAsked) and telling.fact.merchant_order_no:
            keys = (*keys, (telling.fact.app_id, telling.fact.merchant_order_no))
        return keys


class Teller:
    """Takes facts and answers with the order as it stands once they are committed."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        changed: Changed = lambda orders: None,
        run: Run | None = None,
        max_batch: int = MAX_BATCH,
        in_flight: int | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._changed = changed
        self._in_flight = in_flight or (1 if store.dialect == "sqlite" else 3)
        self._threads = Threads(self._in_flight, "teller") if run is None else None
        self._run: Run = run or self._threads  # type: ignore[assignment]
        self._max_batch = max_batch
        self._waiting: deque[_Waiting] = deque()
        self._busy_keys: set[object] = set()
        self._batches: set[asyncio.Task[None]] = set()
        self._is_scheduled = False
        self.meter = Meter()

    async def tell(self, telling: Telling) -> Told:
        """Tell a fact and return the order as it stands once that is durable.

        Raises Refused when the order's state forbids it, when another request has this request's id, or when the store
        cannot be reached; in the last case it may have been stored, and telling it again is safe. A teller who stops
        waiting stops nothing.
        """
        if len(self._waiting) >= MAX_WAITING:
            raise Refused(Reason.RATE_LIMITED, "The server has too much to write.", retry_after_seconds=1.0)
        answer: asyncio.Future[Told] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(telling, answer))
        self._schedule()
        return await answer

    async def drain(self) -> None:
        """Return when everything that was told is written."""
        while self._batches or self._waiting:
            self._start_batches()
            await asyncio.gather(*self._batches)

    def close(self) -> None:
        """Take no more work. Call `drain` first."""
        if self._threads is not None:
            self._threads.close()

    # ------------------------------------------------------------------------------------ batches

    def _schedule(self) -> None:
        """Start a batch at the end of this turn of the loop, so that all who tell in it share it."""
        if not self._is_scheduled and len(self._batches) < self._in_flight:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._start_batches)

    def _start_batches(self) -> None:
        self._is_scheduled = False
        while len(self._batches) < self._in_flight and (batch := self._gather()):
            task = asyncio.get_running_loop().create_task(self._write(batch))
            self._batches.add(task)
            task.add_done_callback(self._batch_done)

    def _gather(self) -> list[_Waiting]:
        """Take what has gathered and is not about an order that is being written."""
        batch: list[_Waiting] = []
        stay: deque[_Waiting] = deque()
        mine: set[object] = set()
        held = set(self._busy_keys)
        while self._waiting and len(batch) < self._max_batch:
            waiting = self._waiting.popleft()
            keys = waiting.keys
            if held and any(key in held for key in keys):
                held.update(keys)  # those behind it keep their turn
                stay.append(waiting)
                continue
            mine.update(keys)
            batch.append(waiting)
        stay.extend(self._waiting)
        self._waiting = stay
        self._busy_keys |= mine
        return batch

    async def _write(self, batch: list[_Waiting]) -> None:
        began = perf_counter()
        try:
            written = await self._run(lambda: self._write_all([waiting.telling for waiting in batch]))
        except BaseException as error:
            written = _Written([failure(error)] * len(batch), [])
            if not isinstance(error, Exception):
                raise
        finally:
            for waiting in batch:
                self._busy_keys.difference_update(waiting.keys)
        self.meter.batches += 1
        self.meter.facts += len(batch)
        self.meter.seconds += perf_counter() - began
        if written.changed:
            self._changed(written.changed)
        for waiting, answer in zip(batch, written.answers, strict=True):
            self._answer(waiting.answer, answer)

    def _batch_done(self, task: "asyncio.Task[None]") -> None:
        self._batches.discard(task)
        self._start_batches()

    def _answer(self, future: "asyncio.Future[Told]", answer: "Answer | BaseException") -> None:
        if isinstance(answer, Refused):
            self.meter.refused += 1
        if future.done():
            return
        if isinstance(answer, Told):
            future.set_result(answer)
        else:
            future.set_exception(answer)

    # ------------------------------------------------------------------------------------ in the worker thread

    def _write_all(self, tellings: list[Telling]) -> "_Written":
        try:
            return self._transact(tellings)
        except (Conflict, LostClaim):
            self.meter.one_by_one += 1
        written = _Written([], [])
        for telling in tellings:
            answers, changed = self._alone(telling)
            written.answers.append(answers)
            written.changed.extend(changed)
        return written

    def _alone(self, telling: Telling) -> "tuple[Answer | BaseException, list[Order]]":
        for _ in range(TRIES):
            try:
                written = self._transact([telling])
                return written.answers[0], written.changed
            except Conflict:
                continue
            except LostClaim:
                return _used(), []
            except Exception as error:  # noqa: BLE001 - it is this teller's answer
                return failure(error), []
        text = "Others changed the same thing at the same time."
        return Refused(Reason.CONFLICT_RETRY, text, retry_after_seconds=0.1), []

    def _transact(self, tellings: list[Telling]) -> "_Written":
        """Decide and store these facts in one transaction. Nothing is answered before it is committed."""
        with self._store.write() as unit:
            desk = _Batch(unit, self._clock.now())
            answers = desk.tell(tellings)
            desk.save()
        return _Written(answers, desk.changed)


@dataclass(slots=True)
class _Written:
    answers: "list[Answer | BaseException]"
    changed: list[Order]


class _Batch:
    """The facts of one transaction, told in memory between one load and one save."""

    def __init__(self, unit: Unit, now: int) -> None:
        self._unit = unit
        self._now = now
        self._loaded: dict[str, Order] = {}
        self._orders: dict[str, Order] = {}
        self._decisions: dict[str, list[Decision]] = {}
        self._requests: dict[RequestKey, StoredRequest] = {}
        self._new_requests: list[StoredRequest] = []
        self._numbers: dict[tuple[str, str], str] = {}
        self._refund_numbers: dict[tuple[str, str], str] = {}
        self._evidence: list[Evidence] = []

    @property
    def changed(self) -> list[Order]:
        """The orders that this batch changed, as they are now."""
        return [self._orders[order_id] for order_id, told in self._decisions.items() if any(d.events for d in told)]

    def tell(self, tellings: list[Telling]) -> "list[Answer | BaseException]":
        self._look_up(tellings)
        return [self._tell(telling) for telling in tellings]

    def save(self) -> None:
        """Store everything that was decided."""
        self._unit.save(
            [
                Change(
                    before=self._loaded.get(order_id),
                    after=self._orders[order_id],
                    events=tuple(event for decision in told for event in decision.events),
                    claims=tuple(claim for decision in told for claim in decision.claims),
                )
                for order_id, told in self._decisions.items()
            ]
        )
        if self._new_requests:
            self._unit.put_requests(self._new_requests)
        if self._evidence:
            self._unit.put_evidence(self._evidence)

    def _look_up(self, tellings: list[Telling]) -> None:
        """Everything that the facts need to know, in a fixed number of statements."""
        keys = [telling.request for telling in tellings if telling.request is not None]
        if keys:
            self._requests = self._unit.find_requests(keys)
        pairs = [
            (fact.app_id, fact.merchant_order_no)
            for fact in _facts(tellings)
            if isinstance(fact, OrderAsked) and fact.merchant_order_no
        ]
        if pairs:
            self._numbers = self._unit.orders_by_number(pairs)
        refunds = [
            (telling.order_id, telling.fact.merchant_refund_no)
            for telling in tellings
            if isinstance(telling.fact, RefundAsked) and telling.fact.merchant_refund_no
        ]
        if refunds:
            self._refund_numbers = self._unit.refunds_by_number(refunds)
        wanted = {telling.order_id for telling in tellings if not isinstance(telling.fact, OrderAsked)}
        wanted.update(stored.order_id for stored in self._requests.values())
        wanted.update(self._numbers.values())
        if wanted:
            self._loaded = self._unit.load(sorted(wanted), lock=True)
            self._orders = dict(self._loaded)

    def _tell(self, telling: Telling) -> "Answer | BaseException":
        try:
            same = self._replayed(telling) or self._same_number(telling)
            return same or self._decide(telling)
        except Refused as refused:
            return refused
        except Exception as error:
            log.exception("a fact could not be decided")
            return error

    def _replayed(self, telling: Telling) -> Told | None:
        stored = self._requests.get(telling.request) if telling.request is not None else None
        if stored is None:
            return None
        if stored.canonical != telling.canonical:
            raise conflict(Reason.IDEMPOTENCY_CONFLICT, stored.canonical, telling.canonical)
        return Told(self._orders[stored.order_id], stored.subject_id, is_replay=True)

    def _same_number(self, telling: Telling) -> Told | None:
        """The caller's own number is a natural key: the same content is the same object, other content a conflict."""
        fact = telling.fact
        if isinstance(fact, OrderAsked):
            order_id = self._numbers.get((fact.app_id, fact.merchant_order_no)) if fact.merchant_order_no else None
            if order_id is None:
                return None
            order = self._orders[order_id]
            _refuse_other(Reason.ORDER_NO_CONFLICT, _differing_order(order, fact))
            return self._remember(telling, Told(order, order_id, is_replay=True))
        if isinstance(fact, RefundAsked) and fact.merchant_refund_no:
            refund_id = self._refund_numbers.get((telling.order_id, fact.merchant_refund_no))
            refund_order = self._owned(telling) if refund_id is not None else None
            refund = refund_order.refund(refund_id) if refund_order is not None and refund_id is not None else None
            if refund is None or refund_order is None:
                return None
            differing = [
                name
                for name, is_same in (
                    ("amount", (refund.amount_minor, refund.currency) == (fact.amount_minor, fact.currency)),
                    ("reason", refund.reason == fact.reason),
                    ("payment_id", fact.payment_id in (None, refund.payment_id)),
                )
                if not is_same
            ]
            _refuse_other(Reason.REFUND_NO_CONFLICT, differing)
            return self._remember(telling, Told(refund_order, refund.refund_id, is_replay=True))
        return None

    def _decide(self, telling: Telling) -> "Answer":
        fact = telling.fact
        order = self._orders.get(telling.order_id) if isinstance(fact, OrderAsked) else self._owned(telling)
        decision = decide(order, fact, self._now)
        after = decision.order
        self._orders[after.order_id] = after
        self._decisions.setdefault(after.order_id, []).append(decision)
        self._evidence.extend(telling.evidence)
        if isinstance(fact, OrderAsked) and fact.merchant_order_no:
            self._numbers[fact.app_id, fact.merchant_order_no] = after.order_id
        if isinstance(fact, RefundAsked) and fact.merchant_refund_no:
            self._refund_numbers[after.order_id, fact.merchant_refund_no] = decision.subject_id
        told = self._remember(telling, Told(after, decision.subject_id))
        return told if decision.refusal is None else decision.refusal

    def _owned(self, telling: Telling) -> Order:
        order = self._orders.get(telling.order_id)
        if order is None or (telling.app_id is not None and telling.app_id != order.app_id):
            raise Refused(Reason.ORDER_NOT_FOUND, "There is no such order.", order_id=telling.order_id)
        return order

    def _remember(self, telling: Telling, told: Told) -> Told:
        """Keep what this request led to, in the same transaction."""
        if telling.request is not None:
            request = StoredRequest(telling.request, telling.canonical, told.order.order_id, told.subject_id, self._now)
            self._requests[telling.request] = request
            self._new_requests.append(request)
        return told


# ---------------------------------------------------------------------------------------------- sameness


def _facts(tellings: Iterable[Telling]) -> Iterable[Fact]:
    return (telling.fact for telling in tellings)


def _differing_order(order: Order, fact: OrderAsked) -> list[str]:
    details = order.details
    pairs = (
        ("amount", (order.amount_minor, order.currency), (fact.amount_minor, fact.currency)),
        ("subject", details.subject, fact.details.subject),
        ("description", details.description, fact.details.description),
        ("line_items", details.items, fact.details.items),
        ("metadata", dict(details.metadata), dict(fact.details.metadata)),
        ("return_url", details.return_url, fact.details.return_url),
    )
    return [name for name, old, new in pairs if old != new]


def _refuse_other(reason: Reason, differing: Sequence[str]) -> None:
    if differing:
        raise Refused(reason, "The number was used with other content.", fields=tuple(differing))


def conflict(reason: Reason, stored: bytes, given: bytes) -> Refused:
    """The refusal of a request_id that was used for other content; it names the top-level fields that differ."""
    before, after = json.loads(stored or b"{}"), json.loads(given or b"{}")
    fields = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    return Refused(reason, "The request_id was used for a request with other content.", fields=tuple(fields))


def _used() -> Refused:
    return Refused(Reason.EVIDENCE_USED, "A reference belongs to another payment.")


def failure(error: BaseException) -> BaseException:
    """What the tellers of a batch that was not written are answered."""
    if isinstance(error, StoreUnavailable):
        text = "The database cannot be reached at the moment."
        return Refused(Reason.STORE_UNAVAILABLE, text, retry_after_seconds=1.0)
    return error


# ---------------------------------------------------------------------------------------------- reading


class Reader:
    """Loads orders; those who ask in the same moment share one statement."""

    def __init__(self, store: Store, *, run: Run | None = None, threads: int = 2) -> None:
        self._store = store
        self._threads = Threads(threads, "reader") if run is None else None
        self._run: Run = run or self._threads  # type: ignore[assignment]
        self._slots = threads
        self._waiting: dict[str, list[asyncio.Future[Order | None]]] = {}
        self._reads: set[asyncio.Task[None]] = set()
        self._is_scheduled = False

    async def load(self, order_id: str) -> Order | None:
        """The order as it stands, or None. Raises Refused when the store cannot be reached."""
        answer: asyncio.Future[Order | None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(order_id, []).append(answer)
        self._schedule()
        return await answer

    def close(self) -> None:
        """Take no more work."""
        if self._threads is not None:
            self._threads.close()

    def _schedule(self) -> None:
        if not self._is_scheduled and len(self._reads) < self._slots:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._start)

    def _start(self) -> None:
        self._is_scheduled = False
        if not self._waiting or len(self._reads) >= self._slots:
            return
        batch, self._waiting = self._waiting, {}
        task = asyncio.get_running_loop().create_task(self._read(batch))
        self._reads.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._reads.discard(task)
        if self._waiting:
            self._schedule()

    async def _read(self, batch: "dict[str, list[asyncio.Future[Order | None]]]") -> None:
        def load() -> dict[str, Order]:
            with self._store.read() as unit:
                return unit.load(sorted(batch))

        try:
            orders = await self._run(load)
        except Exception as error:  # noqa: BLE001 - it is the answer of everybody who waits
            refusal = failure(error)
            for future in (future for futures in batch.values() for future in futures if not future.done()):
                future.set_exception(refusal)
            return
        for order_id, futures in batch.items():
            for future in futures:
                if not future.done():
                    future.set_result(orders.get(order_id))
