"""Those who call: a request over a bad line to some server that is up, an answer or none, a stream that may break."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from paycore.core.refusals import Reason, Refused
from paycore.rpc.auth import Credentials
from paycore.rpc.services import DESCRIPTORS
from paycore.testing.simulation.server import Incoming, Server

if TYPE_CHECKING:
    from paycore.testing.simulation.world import World

AGAIN = frozenset(
    {Reason.STORE_UNAVAILABLE, Reason.CONFLICT_RETRY, Reason.RATE_LIMITED, Reason.SHUTTING_DOWN, Reason.TOOK_TOO_LONG}
)
RESPONSES: dict[str, Any] = {
    rpc.name: GetMessageClass(rpc.output_type) for service in DESCRIPTORS for rpc in service.methods
}
BUFFER = 4
"""How many messages of a stream lie between server and reader; a full one holds the server up."""
SLOW_SECONDS = 30.0
CALL_SECONDS = 12.0


class Broken(Exception):
    """No answer. What was asked may have been done."""


class Refusal(Exception):
    """An answer: no."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.reason)
        self.reason = refused.reason
        self.details = refused.details
        self.may_ask_again = refused.reason in AGAIN


class Caller:
    """Somebody with a key or a token."""

    def __init__(self, world: "World", token: str) -> None:
        self._world = world
        self._credentials = Credentials((f"Bearer {token}",), "192.0.2.1")

    async def call(self, rpc: str, request: Message, *, seconds: float = CALL_SECONDS) -> Any:
        """The response. Raises Broken and Refusal."""
        world = self._world
        server = await self._server()
        if world.weather.strikes("caller: request lost", world.options.caller_faults / 2):
            await asyncio.sleep(1.0)
            raise Broken("the request was lost")
        packed = await self._served(server, rpc, request, seconds)
        if world.weather.strikes("caller: answer lost", world.options.caller_faults / 2):
            raise Broken("the answer was lost")
        return RESPONSES[rpc].FromString(packed)

    async def _served(self, server: Server, rpc: str, request: Message, seconds: float) -> bytes:
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        incoming = Incoming(request.SerializeToString(), self._credentials, seconds)

        async def serve() -> None:
            try:
                packed = await server.serve(rpc, incoming)
            except Refused as refused:
                _settle(answer, Refusal(refused))
            else:
                _settle(answer, packed)

        process = server.process
        process.breaks[answer] = lambda: _settle(answer, Broken("the server died"))
        work = process.spawn(serve(), name=rpc)
        try:
            async with asyncio.timeout(seconds):
                return await answer
        except TimeoutError:
            work.cancel()
            raise Broken("no answer in time") from None
        finally:
            process.breaks.pop(answer, None)

    async def insist(self, rpc: str, request: Message, *, pause: float = 0.5) -> Any:
        """The response, however often the same request must be sent for it. Raises Refusal where asking again is no use."""
        for turn in range(200):
            try:
                return await self.call(rpc, request)
            except Broken:
                pass
            except Refusal as refusal:
                if not refusal.may_ask_again:
                    raise
            await asyncio.sleep(min(pause * 2 ** min(turn, 4), 8.0))
        raise AssertionError(f"{rpc} is never answered")

    @asynccontextmanager
    async def open(self, rpc: str, request: Message) -> AsyncIterator["Pipe"]:
        """A stream, while it is read. Raises Broken and Refusal, then or while reading."""
        server = await self._server()
        pipe = Pipe(RESPONSES[rpc])
        incoming = Incoming(request.SerializeToString(), self._credentials, None)

        async def serve() -> None:
            try:
                await server.stream(rpc, incoming, pipe.write)
            except Refused as refused:
                pipe.end(Refusal(refused))
            else:
                pipe.end(None)

        process = server.process
        process.breaks[pipe] = lambda: pipe.end(Broken("the server died"))
        work = process.spawn(serve(), name=rpc)
        try:
            yield pipe
        finally:
            process.breaks.pop(pipe, None)
            work.cancel()

    async def _server(self) -> Server:
        """Some server that is up, the line to it included."""
        world = self._world
        await asyncio.sleep(world.weather.about(0.005))
        up = world.servers_up()
        if not up:
            await asyncio.sleep(0.5)
            raise Broken("no server is up")
        return world.weather.dice.choice(up)


def _settle(answer: "asyncio.Future[bytes]", outcome: bytes | Exception) -> None:
    if answer.done():
        return
    if isinstance(outcome, Exception):
        answer.set_exception(outcome)
    else:
        answer.set_result(outcome)


class Pipe:
    """The messages of one stream between its server and its reader."""

    def __init__(self, message_type: Any) -> None:
        self._message_type = message_type
        self._messages: deque[bytes] = deque()
        self._end: Exception | None = None
        self._is_ended = False
        self._moved = asyncio.Event()

    async def write(self, packed: bytes) -> None:
        """Hand over a message, as soon as there is room for it. Raises Refused to a server that is not read."""
        try:
            async with asyncio.timeout(SLOW_SECONDS):
                while len(self._messages) >= BUFFER:
                    self._moved.clear()
                    await self._moved.wait()
        except TimeoutError:
            raise Refused(Reason.SLOW_CONSUMER, "The stream was not read; resume it from the last message.") from None
        self._messages.append(packed)
        self._moved.set()

    def end(self, error: Exception | None) -> None:
        """No message comes any more."""
        if not self._is_ended:
            self._is_ended, self._end = True, error
            self._moved.set()

    async def read(self) -> Any:
        """The next message; None at the end. Raises Broken and Refusal."""
        while not self._messages and not self._is_ended:
            self._moved.clear()
            await self._moved.wait()
        if self._messages:
            packed = self._messages.popleft()
            self._moved.set()
            return self._message_type.FromString(packed)
        if self._end is not None:
            raise self._end
        return None
