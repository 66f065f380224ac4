"""Those who watch: a stream is read, breaks, is resumed behind the last message, and must never skip or repeat anything."""

import asyncio
from typing import TYPE_CHECKING, Any

from paycore.testing.simulation.calling import Broken, Caller, Pipe, Refusal
from paycore.v1 import cashier_pb2, common_pb2, order_pb2

if TYPE_CHECKING:
    from paycore.testing.simulation.world import World

HEARTBEAT_SECONDS = 60


class Watcher:
    """Watches one order, as an app or through a cashier session, until the stream says that it is final."""

    def __init__(self, world: "World", order_id: str, *, session: tuple[str, Caller] | None = None) -> None:
        self._world = world
        self._session = session
        self.order_id = order_id
        self.position: int | None = None
        self.is_done = False
        self.breaks = 0

    def __str__(self) -> str:
        return f"{self._rpc} of {self.order_id}, at {self.position}"

    async def watch(self) -> None:
        """Read until it is over, however often the stream breaks."""
        while not self.is_done:
            try:
                async with self._caller.open(self._rpc, self._request()) as pipe:
                    await self._read(pipe)
            except Broken:
                self.breaks += 1
            except Refusal as refusal:
                self.breaks += 1
                if refusal.reason in ("SESSION_EXPIRED", "SESSION_INVALID"):
                    self.is_done = True
                elif refusal.reason == "RESUME_AHEAD":
                    self._world.violated("stream", f"{self.order_id}: what was told up to {self.position} is denied")
                    self.is_done = True
            await asyncio.sleep(1.0)

    @property
    def is_at_the_end(self) -> bool:
        """Whether everything was told that there is to tell."""
        return self.position == self._world.ledger.versions.get(self.order_id)

    @property
    def _caller(self) -> Caller:
        return self._session[1] if self._session else self._world.shop

    @property
    def _rpc(self) -> str:
        return "WatchCashierSession" if self._session else "WatchOrder"

    def _request(self) -> Any:
        more: dict[str, Any] = {} if self.position is None else {"resume_after": self.position}
        if self._session:
            return cashier_pb2.WatchCashierSessionRequest(
                session_id=self._session[0], heartbeat_seconds=HEARTBEAT_SECONDS, **more
            )
        return order_pb2.WatchOrderRequest(order_id=self.order_id, heartbeat_seconds=HEARTBEAT_SECONDS, **more)

    async def _read(self, pipe: Pipe) -> None:
        """Read one stream to its end. Now and then the reader is slow, or has had enough and comes back."""
        weather = self._world.weather
        while (message := await pipe.read()) is not None:
            self._check(message)
            if message.HasField("end"):
                self.is_done = message.end.reason in (
                    common_pb2.END_REASON_FINAL,
                    common_pb2.END_REASON_CREDENTIALS_ENDED,
                )
                return
            if weather.strikes("watcher: slow", self._world.options.caller_faults / 4):
                await asyncio.sleep(weather.dice.choice([1.0, 10.0, 45.0]))
            if weather.strikes("watcher: leaves", self._world.options.caller_faults / 4):
                return

    def _check(self, message: Any) -> None:
        """Numbers go on without a gap; an event says what the database says."""
        kind = message.WhichOneof("message")
        before = self.position
        if kind == "snapshot" and before is not None:
            self._complain(f"a snapshot came where events behind {before} were asked for")
        if kind == "event":
            if before is not None and message.version != before + 1:
                self._complain(f"event {message.version} follows {before}")
            known = self._world.ledger.events.get((self.order_id, message.version))
            if known is None or (known.kind, known.cause) != (message.event.kind, message.event.cause):
                self._complain(
                    f"event {message.version} is told as {message.event.kind}, stored as {known and known.kind}"
                )
        elif before is not None and message.version < before:
            self._complain(f"{kind} {message.version} comes after {before}")
        if message.version > self._world.ledger.versions.get(self.order_id, 0):
            self._complain(f"{kind} {message.version} is ahead of what is stored")
        self.position = message.version

    def _complain(self, sentence: str) -> None:
        self._world.violated("stream", f"{self._rpc} of {self.order_id}: {sentence}")


class FeedWatcher:
    """Watches the app's feed of all orders, from its beginning."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.position = 0
        self.is_done = False

    @property
    def is_at_the_end(self) -> bool:
        """Whether everything was told that there is to tell."""
        return self.position == self._world.ledger.announced

    def __str__(self) -> str:
        return f"WatchOrders, at {self.position}"

    async def watch(self) -> None:
        """Read for ever."""
        while True:
            request = order_pb2.WatchOrdersRequest(resume_after=self.position, heartbeat_seconds=HEARTBEAT_SECONDS)
            try:
                async with self._world.shop.open("WatchOrders", request) as pipe:
                    while (message := await pipe.read()) is not None:
                        if message.HasField("event"):
                            if message.cursor != self.position + 1:
                                self._world.violated("stream", f"feed: {message.cursor} follows {self.position}")
                            self.position = message.cursor
            except (Broken, Refusal):
                pass
            await asyncio.sleep(1.0)
