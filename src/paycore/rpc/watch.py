"""Streams: what changed since the client last knew, read from the events table at the client's own pace.

A stream holds nothing of what it has yet to send but its position. What many streams need (an event's bytes, a
snapshot) is read and written out once, by the order's `Topic`. A stream ends with OK and says why: final, too old,
draining, or its credentials hold no more.
"""

import asyncio
import random
from abc import abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from google.protobuf.message import Message

from paycore.core.events import Event
from paycore.core.order import Order, OrderState
from paycore.core.refusals import Reason, Refused
from paycore.engine.hub import Hub
from paycore.rpc.bells import SECOND, Bell, Bells, Wheel, ring_in_turn
from paycore.rpc.pipeline import Call
from paycore.rpc.translate import event_message, instant, order_message, refund_message
from paycore.v1 import cashier_pb2, common_pb2, order_pb2, refund_pb2

if TYPE_CHECKING:
    from paycore.engine import Engine

BACKLOG = 256
"""How many events a stream may fall behind before it is sent the whole order instead. What there was before it was opened
behind a version is sent event by event, however much."""
PAGE = 64
"""How many events are taken at a time."""
HEARTBEAT_SECONDS = 15
LOOK_AGAIN = 2 * SECOND
"""How soon a stream looks again while the database cannot be asked."""
CREDENTIALS_EVERY = 30 * SECOND
"""How often a stream asks whether whoever opened it would still be let in."""
SETTLED = frozenset({OrderState.PAID, OrderState.CLOSED})


class Shared:
    """A message that is sent to many and written out once."""

    __slots__ = ("_bytes", "message")

    def __init__(self, message: Message) -> None:
        self.message = message
        self._bytes: bytes | None = None

    def SerializeToString(self) -> bytes:  # noqa: N802 - what a transport calls on any message
        """The message's bytes."""
        if self._bytes is None:
            self._bytes = self.message.SerializeToString()
        return self._bytes


# ---------------------------------------------------------------------------------------------- what is shared


class Topic:
    """One order that is watched here, by however many streams."""

    __slots__ = ("_engine", "_events", "_order", "_reading", "_snapshot", "bells", "order_id", "streams", "version")

    def __init__(self, order_id: str, engine: "Engine") -> None:
        self.order_id = order_id
        self.streams = 0
        self.version = 0
        self.bells: Bells = {}
        self._engine = engine
        self._order: Order | None = None
        self._snapshot: Shared | None = None
        self._events: dict[int, tuple[Event, Shared]] = {}
        self._reading: asyncio.Task[Order | None] | None = None

    def moved(self, version: int) -> None:
        """The order has come to this version: wake everybody who watches it."""
        if version > self.version:
            self.version = version
            ring_in_turn(tuple(self.bells))

    async def fresh(self) -> Order | None:
        """The order as the database has it now; None if there is no such order."""
        order = await self._engine.reader.load(self.order_id)
        if order is not None:
            if self._order is None or order.version > self._order.version:
                self._order, self._snapshot = order, None
            self.moved(order.version)
        return order

    async def order(self, at_least: int) -> Order:
        """The order at this version or a later one. Those who ask at the same time share one read.

        A version that two reads do not find was never reached, whoever said so; the order is then as it is.
        """
        for _ in range(2):
            if self._order is None or self._order.version < at_least:
                await asyncio.shield(self._read())
        if self._order is None:
            raise Refused(Reason.ORDER_NOT_FOUND, "There is no such order.", order_id=self.order_id)
        if self._order.version < at_least:
            self.version = self._order.version
        return self._order

    def _read(self) -> "asyncio.Task[Order | None]":
        if self._reading is None or self._reading.done():
            self._reading = asyncio.get_running_loop().create_task(self.fresh())
            self._reading.add_done_callback(_look_at_failure)
        return self._reading

    async def events(self, after: int) -> list[tuple[Event, Shared]]:
        """The next events after this version, at most a page of them; none if there are none yet."""
        if after + 1 not in self._events:
            read = await self._engine.hub.events_after(self.order_id, after, PAGE)
            return [self._written(event) for event in read]
        found = []
        for version in range(after + 1, after + 1 + PAGE):
            kept = self._events.get(version)
            if kept is None:
                break
            found.append(kept)
        return found

    def _written(self, event: Event) -> tuple[Event, Shared]:
        """An event written out; the latest ones are kept for everybody who is about to need them."""
        kept = self._events.get(event.version)
        if kept is None:
            message = order_pb2.WatchOrderResponse(version=event.version, event=event_message(event))
            kept = event, Shared(message)
            if event.version > self.version - BACKLOG:
                self._events[event.version] = kept
                if len(self._events) > BACKLOG:
                    del self._events[min(self._events)]
        return kept

    def snapshot(self, order: Order) -> Shared:
        """The whole order as the first message of a stream."""
        if order is self._order and self._snapshot is not None:
            return self._snapshot
        shared = Shared(order_pb2.WatchOrderResponse(version=order.version, snapshot=order_message(order)))
        if order is self._order and self.streams > 1:
            self._snapshot = shared
        return shared


def _look_at_failure(task: "asyncio.Task[Any]") -> None:
    """A read that failed is told to whoever waits for it; if they have all gone, nobody has to hear of it."""
    if not task.cancelled():
        task.exception()


# ---------------------------------------------------------------------------------------------- what one stream sends


Told = tuple[int, Any]
"""A message and the position of whoever has it."""


class Source(Protocol):
    """What a stream tells: the news behind a position, signs of life, and a last word."""

    position: int

    @property
    def bells(self) -> Bells:
        """Whom to wake when there may be news."""

    async def news(self) -> Iterable[Told]:
        """The next messages, in order; none if there are none. `position` is moved by whoever has sent them."""

    async def is_over(self) -> bool:
        """Whether everything was told and nothing more is expected to happen by itself."""

    def heartbeat(self, beat: common_pb2.Heartbeat) -> Message: ...

    def end(self, end: common_pb2.StreamEnd) -> Message: ...


class OfOrder:
    """What the sources of one order have in common. They begin with how it stands, or behind a version."""

    response: Any

    def __init__(self, topic: Topic, order: Order, resume_after: int | None) -> None:
        self._topic = topic
        self._begin_with: Order | None = order if resume_after is None else None
        self.position = order.version if resume_after is None else resume_after

    @property
    def bells(self) -> Bells:
        return self._topic.bells

    def heartbeat(self, beat: common_pb2.Heartbeat) -> Message:
        message: Message = self.response(version=self.position, heartbeat=beat)
        return message

    def end(self, end: common_pb2.StreamEnd) -> Message:
        message: Message = self.response(version=self.position, end=end)
        return message

    async def news(self) -> Iterable[Told]:
        """How it stands first, then what is new."""
        if self._begin_with is not None:
            order = self._begin_with
            told = [(order.version, await self.whole(order))]
            self._begin_with = None
            return told
        return await self.more() if self.position < self._topic.version else ()

    @abstractmethod
    async def whole(self, order: Order) -> Any:
        """The message that says how things stand."""

    @abstractmethod
    async def more(self) -> Iterable[Told]:
        """What came after the position; there is something."""

    async def is_over(self) -> bool:
        order = await self._topic.order(self.position)
        return order.version == self.position and self.is_final(order)

    @abstractmethod
    def is_final(self, order: Order) -> bool:
        """Whether nothing more is expected of an order that stands like this."""


class OrderSource(OfOrder):
    """An order's events, none left out; or the whole order again for a client that fell too far behind."""

    response = order_pb2.WatchOrderResponse

    def __init__(self, topic: Topic, order: Order, resume_after: int | None) -> None:
        super().__init__(topic, order, resume_after)
        self._promised = 0 if resume_after is None else order.version
        self._state = order.state

    async def whole(self, order: Order) -> Any:
        return self._topic.snapshot(order)

    async def more(self) -> Iterable[Told]:
        if self.position >= self._promised and self._topic.version - self.position > BACKLOG:
            order = await self._topic.order(self._topic.version)
            if order.version - self.position > BACKLOG:
                self._state = order.state
                return [(order.version, self.response(version=order.version, resync=order_message(order)))]
        pairs = await self._topic.events(self.position)
        for event, _ in pairs:
            if event.subject == "order":
                self._state = OrderState(event.figures["state"])
        return [(event.version, shared) for event, shared in pairs]

    async def is_over(self) -> bool:
        return self._state in SETTLED and await super().is_over()

    def is_final(self, order: Order) -> bool:
        return order.is_final


class RefundSource(OfOrder):
    """A refund as it stands, each time it changed."""

    response = refund_pb2.WatchRefundResponse

    def __init__(self, topic: Topic, order: Order, resume_after: int | None, refund_id: str) -> None:
        super().__init__(topic, order, resume_after)
        self._refund_id = refund_id

    async def whole(self, order: Order) -> Any:
        refund = order.refund(self._refund_id)
        return self.response(version=order.version, refund=refund_message(order.order_id, refund) if refund else None)

    async def more(self) -> Iterable[Told]:
        """Every event in between is looked at; what is not about this refund only moves the position."""
        at, has_changed = self.position, False
        while at < self._topic.version and (pairs := await self._topic.events(at)):
            has_changed = has_changed or any(event.subject_id == self._refund_id for event, _ in pairs)
            at = pairs[-1][0].version
        if has_changed:
            order = await self._topic.order(at)
            return [(order.version, await self.whole(order))]
        self.position = at
        return ()

    def is_final(self, order: Order) -> bool:
        refund = order.refund(self._refund_id)
        return refund is None or not refund.is_reserving


Show = Callable[[Order], Awaitable[cashier_pb2.CashierSession]]


class SessionSource(OfOrder):
    """A cashier session as it stands, each time its order changed."""

    response = cashier_pb2.WatchCashierSessionResponse

    def __init__(self, topic: Topic, order: Order, resume_after: int | None, show: Show) -> None:
        super().__init__(topic, order, resume_after)
        self._show = show

    async def whole(self, order: Order) -> Any:
        return self.response(version=order.version, session=await self._show(order))

    async def more(self) -> Iterable[Told]:
        order = await self._topic.order(self._topic.version)
        return [(order.version, await self.whole(order))] if order.version > self.position else ()

    def is_final(self, order: Order) -> bool:
        return order.state in SETTLED


class FeedSource:
    """The events of all orders of an app, in their one order."""

    def __init__(self, hub: Hub, app_id: str) -> None:
        self.position = 0
        self.bells: Bells = {}
        self._hub = hub
        self._app_id = app_id
        self._has_grown = True

    def rang(self) -> None:
        """The feed may have grown."""
        self._has_grown = True
        ring_in_turn(tuple(self.bells))

    async def news(self) -> Iterable[Told]:
        if not self._has_grown:
            return ()
        self._has_grown = False
        try:
            found = await self._hub.feed(self._app_id, self.position, PAGE)
        except Refused:
            self._has_grown = True
            raise
        self._has_grown = self._has_grown or len(found) == PAGE
        return [(seq, order_pb2.WatchOrdersResponse(cursor=seq, event=event_message(event))) for seq, event in found]

    async def is_over(self) -> bool:
        return False

    def heartbeat(self, beat: common_pb2.Heartbeat) -> Message:
        return order_pb2.WatchOrdersResponse(cursor=self.position, heartbeat=beat)

    def end(self, end: common_pb2.StreamEnd) -> Message:
        return order_pb2.WatchOrdersResponse(cursor=self.position, end=end)


# ---------------------------------------------------------------------------------------------- streams


Opening = AbstractAsyncContextManager[Source]
"""Finds what is to be watched and holds it as long as the stream lives. Raises Refused."""


class Life:
    """When one stream must say something, and when it must end. Waits are steady times, its ends are instants."""

    def __init__(self, call: Call, bell: Bell, wheel: Wheel, heartbeat_seconds: int) -> None:
        self._call = call
        self._bell = bell
        self._wheel = wheel
        self._period = (heartbeat_seconds or HEARTBEAT_SECONDS) * SECOND
        now = call.steady()
        self._checked_at = now
        self._looks_at: int | None = None
        # Streams that were opened together shall not all beat together.
        self._beats_at = now + int(self._period * random.uniform(0.5, 1.0))  # noqa: S311 - jitter

    def spoke(self) -> None:
        """Something was sent: the next sign of life is not due before a whole period."""
        self._beats_at = self._call.steady() + self._period

    def is_due(self) -> bool:
        """Whether a sign of life is due."""
        return self._call.steady() >= self._beats_at

    def must_leave(self) -> bool:
        """Whether the stream cannot go on here, whatever there is to tell."""
        return self._call.drain.is_set() or self._call.now() >= self._call.ends_at

    def look_again(self) -> None:
        """The database could not be asked; the stream stays and looks again soon."""
        self._looks_at = self._call.steady() + LOOK_AGAIN

    async def why_end(self) -> common_pb2.EndReason.ValueType | None:
        """Why the stream must end now; None if it may go on."""
        if self._call.drain.is_set():
            return common_pb2.END_REASON_DRAINING
        if self._call.now() >= self._call.ends_at:
            return common_pb2.END_REASON_MAX_AGE
        if self._has_expired() or not await self._holds():
            return common_pb2.END_REASON_CREDENTIALS_ENDED
        return None

    def _has_expired(self) -> bool:
        expires_at = self._call.principal.expires_at
        return expires_at is not None and self._call.now() >= expires_at

    async def _holds(self) -> bool:
        """Whether the credentials still hold, as far as can be known now; asked only now and then."""
        steady = self._call.steady()
        if steady < self._checked_at + CREDENTIALS_EVERY:
            return True
        self._checked_at = steady
        try:
            return await self._call.credentials_hold()
        except Refused as refused:
            if refused.reason is not Reason.STORE_UNAVAILABLE:
                raise
            return True  # nothing is told either while the database is away; it is asked again

    async def rest(self) -> None:
        """Wait until there is news, or until something is due."""
        looks_at, self._looks_at = self._looks_at, None
        steady, now, expires_at = self._call.steady(), self._call.now(), self._call.principal.expires_at
        ends_at = self._call.ends_at if expires_at is None else min(self._call.ends_at, expires_at)
        due = (self._beats_at, self._checked_at + CREDENTIALS_EVERY, steady + ends_at - now)
        self._wheel.set(self._bell, min(due if looks_at is None else (*due, looks_at)))
        await self._bell.wait()


class Watches:
    """Everything that is watched in this process."""

    def __init__(self, engine: "Engine") -> None:
        self.engine = engine
        self._wheel = Wheel(engine.clock)
        self._topics: dict[str, tuple[Topic, Callable[[], None]]] = {}
        self._open: Bells = {}
        self._drains: dict[asyncio.Event, asyncio.Task[None]] = {}

    async def stop(self) -> None:
        """Let go of what still waits; the streams themselves belong to their transports."""
        await self._wheel.stop()
        for task in self._drains.values():
            task.cancel()
        await asyncio.gather(*self._drains.values(), return_exceptions=True)

    async def stream(
        self, call: Call, opening: Opening, *, heartbeat_seconds: int, ends_when_final: bool
    ) -> AsyncGenerator[Any, None]:
        """Tell a source's news as they come, with signs of life between them, until it is over or must end."""
        bell = Bell()
        async with opening as source:
            life = Life(call, bell, self._wheel, heartbeat_seconds)
            with self._waking(bell, source, call.drain):
                while True:
                    told, is_over = await self._look(source, life)
                    for position, message in told:
                        yield message
                        source.position = position
                        life.spoke()
                        if life.must_leave():
                            break
                    reason = await life.why_end()
                    if reason is None and is_over and ends_when_final:
                        reason = common_pb2.END_REASON_FINAL
                    if reason is not None:
                        yield source.end(common_pb2.StreamEnd(reason=reason))
                        return
                    if not told and life.is_due():
                        yield source.heartbeat(common_pb2.Heartbeat(server_time=instant(call.now())))
                        life.spoke()
                    elif not told:
                        await life.rest()

    async def _look(self, source: Source, life: Life) -> tuple[Iterable[Told], bool]:
        """The news, and whether there is none and will be none. While the database is away there is none yet."""
        try:
            told = await source.news()
            return told, not told and await source.is_over()
        except Refused as refused:
            if refused.reason is not Reason.STORE_UNAVAILABLE:
                raise
            life.look_again()
            return (), False

    @contextmanager
    def _waking(self, bell: Bell, source: Source, drain: asyncio.Event) -> Iterator[None]:
        """Have the bell rung for news, for its time, and when the house closes."""
        if drain not in self._drains:
            self._drains[drain] = asyncio.get_running_loop().create_task(self._ring_at(drain))
        self._open[bell] = source.bells[bell] = None
        try:
            yield
        finally:
            source.bells.pop(bell, None)
            self._open.pop(bell, None)
            self._wheel.unset(bell)

    async def _ring_at(self, drain: asyncio.Event) -> None:
        await drain.wait()
        ring_in_turn(tuple(self._open))

    # ------------------------------------------------------------------------------------ what is watched

    @asynccontextmanager
    async def of_order(
        self,
        call: Call,
        order_id: str,
        resume_after: int | None,
        make: Callable[[Topic, Order, int | None], Source],
    ) -> AsyncIterator[Source]:
        """An order of the app, or something inside it, to be told from here on or from behind a version."""
        with self._topic(order_id) as topic:
            order = await topic.fresh()
            if order is None or order.app_id != call.app_id:
                raise Refused(Reason.ORDER_NOT_FOUND, "There is no such order.", order_id=order_id)
            refuse_ahead(resume_after, order.version)
            with call.watching(order_id):
                yield make(topic, order, resume_after)

    @asynccontextmanager
    async def of_feed(self, call: Call, resume_after: int | None) -> AsyncIterator[Source]:
        """The feed of the app, from now on or from behind a place in it."""
        source = FeedSource(self.engine.hub, call.app_id)
        stop = self.engine.hub.watch_feed(call.app_id, source.rang)
        try:
            head = await self.engine.hub.feed_head(call.app_id)
            refuse_ahead(resume_after, head)
            source.position = head if resume_after is None else resume_after
            yield source
        finally:
            stop()

    @contextmanager
    def _topic(self, order_id: str) -> Iterator[Topic]:
        """The order's topic, made for the first stream of it and gone with the last."""
        topic, stop = self._topics.get(order_id) or self._begin(order_id)
        topic.streams += 1
        try:
            yield topic
        finally:
            topic.streams -= 1
            if not topic.streams:
                stop()
                del self._topics[order_id]

    def _begin(self, order_id: str) -> tuple[Topic, Callable[[], None]]:
        topic = Topic(order_id, self.engine)
        begun = self._topics[order_id] = topic, self.engine.hub.watch(order_id, topic.moved)
        return begun


def refuse_ahead(resume_after: int | None, reached: int) -> None:
    """Raise Refused for a position that has not been reached."""
    if resume_after is not None and resume_after > reached:
        raise Refused(
            Reason.RESUME_AHEAD, "The position lies ahead of the stream.", fields=("resume_after",), reached=reached
        )


def resume_after(request: Any) -> int | None:
    """The position behind which a stream is to begin; None to begin with how things stand."""
    return request.resume_after if request.HasField("resume_after") else None


def ends_when_final(request: Any) -> bool:
    """Whether the stream is to end once nothing more is expected."""
    return bool(request.end_policy != common_pb2.END_POLICY_NEVER)
