"""The only writer: facts that have gathered are decided and stored together, in one transaction, then everybody is answered.

A batch is one function call in a worker thread, with a fixed number of statements however many facts it holds. Facts of
one order fold in turn; facts of an order that is being written wait for the next batch. A fact that is refused refuses
its own teller only. When a batch cannot be stored as a whole (somebody else changed something, or the store cannot hold
one of its facts) it is told again, one fact at a time.
"""

import asyncio
import json
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import assert_never

from paycore.core.decide import Claim, Decision, ReferenceClaim, decide
from paycore.core.facts import Fact, OrderAsked, RefundAsked
from paycore.core.offers import OfferClaim
from paycore.core.order import Order, Refund
from paycore.core.refusals import Reason, Refused
from paycore.engine.clock import Clock
from paycore.engine.threads import Run, Threads, failure
from paycore.store import (
    Change,
    Conflict,
    Evidence,
    LostClaim,
    RequestKey,
    Store,
    StoredRequest,
    StoreError,
    StoreUnavailable,
    Unit,
)

log = logging.getLogger("paycore.engine.tell")

MAX_BATCH = 256
"""The most facts of one transaction: enough to share its cost, few enough to answer soon."""
MAX_WAITING = 10_000
"""The most facts that wait; more are turned away, so that a slow database is felt at the door."""
IN_FLIGHT = 3
"""How many batches PostgreSQL is given at once. SQLite has one writer, so it gets one."""
COMPANY = 64
"""How many facts must wait for a batch to go out beside another. Many small ones at once cost far more than one after the other."""
OVERDUE_SECONDS = 0.02
"""After which a few facts go out beside a batch that is held up: the database is far, or somebody holds its rows."""
TRIES = 5
"""How often one fact alone is told when it meets the changes of others."""


@dataclass(frozen=True, slots=True)
class Telling:
    """A fact on its way: about which order, on whose behalf, under which request.

    `app_id` set: the order must be this app's, or it does not exist. `canonical` is the request's content, so that the
    same request_id with other content can be told apart. `evidence` is kept even if the fact is refused. `etag` set: the
    order must be the one that the caller knows.
    """

    order_id: str
    fact: Fact
    app_id: str | None = None
    request: RequestKey | None = None
    canonical: bytes = b""
    evidence: tuple[Evidence, ...] = ()
    etag: str = ""


@dataclass(frozen=True, slots=True)
class Told:
    """What became of a telling: the order as it stands, and the row that the fact was about."""

    order: Order
    subject_id: str
    is_replay: bool = False


@dataclass(slots=True)
class Meter:
    """What the teller counts; the metrics page reads it."""

    batches: int = 0
    facts: int = 0
    refused: int = 0
    one_by_one: int = 0
    """Batches that had to be told one fact at a time."""
    unavailable: int = 0
    """Facts that were answered with STORE_UNAVAILABLE."""
    seconds: float = 0.0


Heard = Callable[[Sequence[Order]], None]
"""Is called on the loop, after a commit, with orders that it stored."""
Answer = Told | Exception
"""What one teller gets; an exception is raised to it."""


def _nobody(orders: Sequence[Order]) -> None:
    """Hears nothing."""


class _Waiting:
    """One teller that waits for its answer."""

    __slots__ = ("answer", "telling")

    def __init__(self, telling: Telling, answer: "asyncio.Future[Told]") -> None:
        self.telling = telling
        self.answer = answer

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
    """Takes facts and answers with the order as it stands once they are committed.

    `changed` hears of the orders that have new events, `released` of every order that a commit let go, changed or not:
    while it was held, a clock that looked for due tasks has passed it by.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        changed: Heard = _nobody,
        released: Heard = _nobody,
        run: Run | None = None,
        max_batch: int = MAX_BATCH,
        max_waiting: int = MAX_WAITING,
        in_flight: int | None = None,
        company: int = COMPANY,
    ) -> None:
        self._changed = changed
        self._released = released
        self._scribe = _Scribe(store, clock)
        self._in_flight = in_flight or (1 if store.dialect == "sqlite" else IN_FLIGHT)
        self._threads = Threads(self._in_flight, "teller") if run is None else None
        self._run: Run = run or self._threads  # type: ignore[assignment]
        self._company = company
        self._overdue: asyncio.TimerHandle | None = None
        self._max_batch = max_batch
        self._max_waiting = max_waiting
        self._waiting: deque[_Waiting] = deque()
        self._busy_keys: set[object] = set()
        self._batches: set[asyncio.Task[None]] = set()
        self._is_scheduled = False
        self._is_closed = False
        self.meter = Meter()

    async def tell(self, telling: Telling) -> Told:
        """Tell a fact and return the order as it stands once that is durable.

        Raises Refused when the order's state forbids it, when another request has this request's id, or when the store
        cannot be reached; in the last case it may have been stored, and telling it again is safe. A teller who stops
        waiting stops nothing.
        """
        if self._is_closed:
            raise Refused(Reason.SHUTTING_DOWN, "The server is shutting down.", retry_after_seconds=1.0)
        if len(self._waiting) >= self._max_waiting:
            raise Refused(Reason.RATE_LIMITED, "The server has too much to write.", retry_after_seconds=1.0)
        answer: asyncio.Future[Told] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(telling, answer))
        self._schedule()
        return await answer

    @property
    def waiting(self) -> int:
        """How many facts wait for their batch."""
        return len(self._waiting)

    async def drain(self) -> None:
        """Return when everything that was told is written."""
        while self._batches or self._waiting:
            self._start_batches()
            await asyncio.wait(self._batches)

    def close(self) -> None:
        """Take no more work. Call `drain` first."""
        self._is_closed = True
        self._forget_overdue()
        if self._threads is not None:
            self._threads.close()

    # ------------------------------------------------------------------------------------ batches

    def _schedule(self) -> None:
        """Start a batch at the end of this turn of the loop, so that all who tell in it share it."""
        if self._is_scheduled or len(self._batches) >= self._in_flight:
            return
        if self._may_start():
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._start_batches)
        elif self._overdue is None:
            self._overdue = asyncio.get_running_loop().call_later(OVERDUE_SECONDS, self._start_overdue)

    def _may_start(self) -> bool:
        """Whether what waits is worth a batch now: nothing is being written, or much waits."""
        return not self._batches or len(self._waiting) >= self._company

    def _start_batches(self) -> None:
        self._is_scheduled = False
        while self._waiting and len(self._batches) < self._in_flight and self._may_start() and self._start_one():
            pass

    def _start_overdue(self) -> None:
        self._overdue = None
        if self._waiting and len(self._batches) < self._in_flight:
            self._start_one()

    def _start_one(self) -> bool:
        """Write what has gathered; False when all of it must wait for what is being written."""
        batch = self._gather()
        if batch:
            task = asyncio.get_running_loop().create_task(self._write(batch))
            self._batches.add(task)
            task.add_done_callback(self._batch_done)
        return bool(batch)

    def _batch_done(self, task: "asyncio.Task[None]") -> None:
        self._batches.discard(task)
        self._forget_overdue()
        self._start_batches()
        if self._waiting:
            self._schedule()

    def _forget_overdue(self) -> None:
        if self._overdue is not None:
            self._overdue.cancel()
            self._overdue = None

    def _gather(self) -> list[_Waiting]:
        """Take what has gathered and is not about an order that is being written."""
        if self._in_flight == 1:
            return [self._waiting.popleft() for _ in range(min(len(self._waiting), self._max_batch))]
        batch: list[_Waiting] = []
        stay: list[_Waiting] = []
        held, mine = set(self._busy_keys), set[object]()
        while self._waiting and len(batch) < self._max_batch:
            waiting = self._waiting.popleft()
            keys = waiting.keys
            if held.isdisjoint(keys):
                batch.append(waiting)
                mine.update(keys)
            else:
                stay.append(waiting)
                held.update(keys)  # those behind it keep their turn
        self._waiting.extendleft(reversed(stay))
        self._busy_keys |= mine
        return batch

    async def _write(self, batch: list[_Waiting]) -> None:
        began = perf_counter()
        try:
            written = await self._run(lambda: self._scribe.write([waiting.telling for waiting in batch]))
        except Exception as error:  # noqa: BLE001 - every teller is answered, whatever happened
            written = _Written([error] * len(batch))
        except BaseException:
            for waiting in batch:
                waiting.answer.cancel()
            raise
        finally:
            for waiting in batch:
                self._busy_keys.difference_update(waiting.keys)
        self.meter.batches += 1
        self.meter.facts += len(batch)
        self.meter.one_by_one += written.was_one_by_one
        self.meter.seconds += perf_counter() - began
        for waiting, answer in zip(batch, written.answers, strict=True):
            self._answer(waiting.answer, answer)
        self._spread(written)

    def _answer(self, future: "asyncio.Future[Told]", answer: Answer) -> None:
        if isinstance(answer, Refused):
            self.meter.refused += 1
        elif isinstance(answer, StoreUnavailable):
            self.meter.unavailable += 1
        if future.done():
            return
        if isinstance(answer, Told):
            future.set_result(answer)
        else:
            future.set_exception(failure(answer))

    def _spread(self, written: "_Written") -> None:
        """Say what was stored. Whoever listens is only early: what it misses it finds by itself."""
        for heard, orders in ((self._changed, written.changed), (self._released, written.released)):
            try:
                if orders:
                    heard(orders)
            except Exception:
                log.exception("what was stored could not be spread")


# ---------------------------------------------------------------------------------------------- in the worker thread


@dataclass(slots=True)
class _Written:
    """What one batch came to."""

    answers: list[Answer] = field(default_factory=list)
    changed: list[Order] = field(default_factory=list)
    """The orders that have new events, as they are now."""
    released: list[Order] = field(default_factory=list)
    """Every order that was held, as it is now."""
    was_one_by_one: bool = False


class _Scribe:
    """Writes batches. Runs in worker threads and keeps nothing from one batch to the next."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def write(self, tellings: Sequence[Telling]) -> _Written:
        """Decide and store these facts. Raises StoreUnavailable when nothing is known about any of them."""
        try:
            return self._transact(tellings)
        except StoreUnavailable:
            raise
        except StoreError as error:
            log.info("a batch of %d is told one fact at a time: %s", len(tellings), error.code)
        except Exception:
            log.exception("a batch of %d is told one fact at a time", len(tellings))
        return self._one_by_one(tellings)

    def _one_by_one(self, tellings: Sequence[Telling]) -> _Written:
        """Each fact in its own transaction, so that only the one that cannot be stored fails."""
        written = _Written(was_one_by_one=True)
        for number, telling in enumerate(tellings):
            try:
                one = self._alone(telling)
            except StoreUnavailable as error:  # those behind it would only wait for the same
                written.answers += [error] * (len(tellings) - number)
                break
            written.answers += one.answers
            written.changed += one.changed
            written.released += one.released
        return written

    def _alone(self, telling: Telling) -> _Written:
        for _ in range(TRIES):
            try:
                return self._transact([telling])
            except Conflict:
                continue
            except LostClaim as lost:
                return _Written([_refused_claim(lost.claim)])
            except StoreUnavailable:
                raise
            except Exception as error:
                log.exception("a fact could not be stored")
                return _Written([error])
        text = "Others changed the same thing at the same time."
        return _Written([Refused(Reason.CONFLICT_RETRY, text, retry_after_seconds=0.1)])

    def _transact(self, tellings: Sequence[Telling]) -> _Written:
        """Decide and store these facts in one transaction. Nothing is answered before it is committed."""
        with self._store.write() as unit:
            batch = _Batch(unit, self._clock.now())
            written = batch.tell(tellings)
            batch.save()
        return written


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
        self._evidence: list[Evidence] = []

    def tell(self, tellings: Sequence[Telling]) -> _Written:
        """Decide every fact, each upon what those before it left."""
        self._look_up(tellings)
        answers = [self._tell(telling) for telling in tellings]
        moved = [order_id for order_id in self._decisions if self._orders[order_id] is not self._loaded.get(order_id)]
        return _Written(
            answers,
            changed=[self._orders[i] for i in moved if any(decision.events for decision in self._decisions[i])],
            released=list(self._orders.values()),
        )

    def save(self) -> None:
        """Store everything that was decided. Rows go in the order of their numbers, so that two writers never cross."""
        changes = [
            Change(
                before=self._loaded.get(order_id),
                after=self._orders[order_id],
                events=tuple(event for decision in told for event in decision.events),
                claims=tuple(claim for decision in told for claim in decision.claims),
            )
            for order_id, told in self._decisions.items()
        ]
        changes.sort(key=lambda change: (change.after.app_id, change.after.merchant_order_no, change.after.order_id))
        self._unit.save(changes)
        if self._new_requests:
            self._unit.put_requests(self._new_requests)
        if self._evidence:
            self._unit.put_evidence(self._evidence)

    def _look_up(self, tellings: Sequence[Telling]) -> None:
        """Everything that the facts need to know, in a fixed number of statements."""
        keys = [telling.request for telling in tellings if telling.request is not None]
        if keys:
            self._requests = self._unit.find_requests(keys)
        wanted = {stored.order_id for stored in self._requests.values()}
        numbers = set()
        for telling in tellings:
            if isinstance(telling.fact, OrderAsked) and telling.fact.merchant_order_no:
                numbers.add((telling.fact.app_id, telling.fact.merchant_order_no))
            else:
                wanted.add(telling.order_id)
        if numbers:
            self._numbers = self._unit.orders_by_number(numbers)
            wanted.update(self._numbers.values())
        if wanted:
            self._loaded = self._unit.load(wanted, lock=True)
            self._orders = dict(self._loaded)

    def _tell(self, telling: Telling) -> Answer:
        try:
            return self._replayed(telling) or self._same_number(telling) or self._decide(telling)
        except Refused as refused:
            refusal = refused
        except Exception as error:
            log.exception("a fact could not be decided")
            return error
        return self._answered_meanwhile(telling) or refusal

    def _answered_meanwhile(self, telling: Telling) -> Answer | None:
        """The answer to a refused request if another process answered it between our look for it and our lock.

        What it did then is why it would be refused now; its caller is to hear what was done.
        """
        key = telling.request
        if key is None or key in self._requests:
            return None
        stored = self._unit.find_requests([key]).get(key)
        if stored is None:
            return None
        if stored.canonical != telling.canonical:
            return conflict(Reason.IDEMPOTENCY_CONFLICT, stored.canonical, telling.canonical)
        order = self._orders.get(stored.order_id) or self._unit.load([stored.order_id])[stored.order_id]
        return Told(order, stored.subject_id, is_replay=True)

    def _replayed(self, telling: Telling) -> Told | None:
        """The answer to a request that was answered before: its object as it stands now."""
        stored = self._requests.get(telling.request) if telling.request is not None else None
        if stored is None:
            return None
        if stored.canonical != telling.canonical:
            raise conflict(Reason.IDEMPOTENCY_CONFLICT, stored.canonical, telling.canonical)
        self._evidence += telling.evidence
        return Told(self._orders[stored.order_id], stored.subject_id, is_replay=True)

    def _same_number(self, telling: Telling) -> Told | None:
        """The caller's own number is a natural key: the same content is the same object, other content a conflict."""
        fact = telling.fact
        if isinstance(fact, OrderAsked):
            order = self._known(fact)
            if order is None:
                return None
            _refuse_other(Reason.ORDER_NO_CONFLICT, _differing_order(order, fact))
            subject_id = order.order_id
        elif isinstance(fact, RefundAsked) and fact.merchant_refund_no:
            order = self._owned(telling)
            refund = next((r for r in order.refunds if r.merchant_refund_no == fact.merchant_refund_no), None)
            if refund is None:
                return None
            _refuse_other(Reason.REFUND_NO_CONFLICT, _differing_refund(refund, fact))
            subject_id = refund.refund_id
        else:
            return None
        self._evidence += telling.evidence
        return self._remember(telling, Told(order, subject_id, is_replay=True))

    def _known(self, fact: OrderAsked) -> Order | None:
        """The order that is asked for, if it is there already."""
        if fact.merchant_order_no:
            return self._orders.get(self._numbers.get((fact.app_id, fact.merchant_order_no), ""))
        return self._orders.get(fact.order_id)

    def _decide(self, telling: Telling) -> Answer:
        fact = telling.fact
        order = None if isinstance(fact, OrderAsked) else self._owned(telling)
        if order is not None:
            self._evidence += telling.evidence  # what was learnt is kept, whatever the rules say to it
            expect_etag(order, telling.etag)
        decision = decide(order, fact, self._now)
        after = decision.order
        self._orders[after.order_id] = after
        self._decisions.setdefault(after.order_id, []).append(decision)
        if isinstance(fact, OrderAsked):
            self._evidence += telling.evidence
            if fact.merchant_order_no:
                self._numbers[fact.app_id, fact.merchant_order_no] = after.order_id
        if decision.refusal is not None:
            return decision.refusal  # and not remembered: the same request is refused in the same way again
        return self._remember(telling, Told(after, decision.subject_id))

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


def _refused_claim(claim: Claim) -> Refused:
    """Why a fact is refused whose claim was lost."""
    match claim:
        case ReferenceClaim():
            return Refused(Reason.EVIDENCE_USED, "A reference belongs to another payment.")
        case OfferClaim():
            return Refused(Reason.QUOTE_CHANGED, "An offer is no longer to be had.", offer_id=claim.given.offer_id)
        case _:
            assert_never(claim)


# ---------------------------------------------------------------------------------------------- sameness


def _differing_order(order: Order, fact: OrderAsked) -> list[str]:
    same_debt = (order.amount_minor, order.currency) == (fact.amount_minor, fact.currency)
    if same_debt and order.merchant_payer_no == fact.merchant_payer_no and order.details == fact.details:
        return []
    old, new = order.details, fact.details
    pairs = (
        ("merchant_payer_no", order.merchant_payer_no, fact.merchant_payer_no),
        ("amount", (order.amount_minor, order.currency), (fact.amount_minor, fact.currency)),
        ("subject", old.subject, new.subject),
        ("description", old.description, new.description),
        ("line_items", old.items, new.items),
        ("metadata", dict(old.metadata), dict(new.metadata)),
        ("return_url", old.return_url, new.return_url),
    )
    return [name for name, before, after in pairs if before != after]


def _differing_refund(refund: Refund, fact: RefundAsked) -> list[str]:
    pairs = (
        ("amount", (refund.amount_minor, refund.currency), (fact.amount_minor, fact.currency)),
        ("reason", refund.reason, fact.reason),
        ("payment_id", refund.payment_id, fact.payment_id or refund.payment_id),
    )
    return [name for name, before, after in pairs if before != after]


def expect_etag(order: Order, etag: str) -> None:
    """Raise Refused unless the caller knows the order as it is; an empty etag asks nothing."""
    if etag and etag != f'"{order.version}"':
        raise Refused(
            Reason.ETAG_MISMATCH, "The order has changed since it was read.", fields=("etag",), version=order.version
        )


def _refuse_other(reason: Reason, differing: Iterable[str]) -> None:
    fields = tuple(differing)
    if fields:
        raise Refused(reason, "The number was used with other content.", fields=fields)


def conflict(reason: Reason, stored: bytes, given: bytes) -> Refused:
    """The refusal of a request_id that was used for other content; it names the top-level fields that differ."""
    before, after = json.loads(stored or b"{}"), json.loads(given or b"{}")
    fields = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    return Refused(reason, "The request_id was used for a request with other content.", fields=tuple(fields))
