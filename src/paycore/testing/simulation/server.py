"""A server process: the real engine and the real rpc pipeline on the database, the clock and the wire of one machine."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from google.protobuf.message import Message

from paycore.channel import Reply, Request
from paycore.engine import Engine
from paycore.engine.host import Host
from paycore.engine.keyring import Keyring
from paycore.engine.workshop import InlineWorkshop
from paycore.rpc.auth import Authenticator, Credentials
from paycore.rpc.directory import StoredDirectory
from paycore.rpc.grpc_face import decode
from paycore.rpc.limits import Allowance, Limits
from paycore.rpc.pages import Pages
from paycore.rpc.pipeline import Method, Pipeline, methods_of
from paycore.rpc.services import DESCRIPTORS, services
from paycore.rpc.watch import Watches
from paycore.testing.simulation.database import InlineRun, SimStore
from paycore.testing.simulation.mischief import mischievous
from paycore.testing.simulation.processes import Process
from paycore.testing.simulation.timing import SimClock, SimIds

if TYPE_CHECKING:
    from paycore.testing.simulation.world import World

BASE = "https://pay.example"
LEAVE_SECONDS = 60.0
MASTER_KEY = bytes(range(32))


@dataclass(frozen=True, slots=True)
class Incoming:
    """A call as a transport hands it to the pipeline."""

    raw: bytes
    credentials: Credentials
    seconds_left: float | None

    @property
    def size(self) -> int:
        return len(self.raw)

    def decode(self, request_type: type[Message]) -> Message:
        request: Message = decode(request_type.FromString, self.raw)
        return request


class Wire:
    """One process's way to the channel."""

    def __init__(self, world: "World", process: Process, clock: SimClock) -> None:
        self._world = world
        self._process = process
        self._clock = clock

    async def carry(self, request: Request, *, seconds: float) -> Reply:
        self._process.must_live()
        self._world.promises.sending(request, seconds, self._clock.now())
        return await self._world.channel.carry(self._process, request, seconds)


class Server:
    """One incarnation of a server, from its start to its death."""

    def __init__(self, world: "World", process: Process, clock: SimClock) -> None:
        weather, name = world.weather, process.name
        self.process = process
        self.is_leaving = False
        self._world = world
        store = SimStore(world.store, process, weather, lambda: world.ledger.committed(name))
        kind = replace(world.counterpart.kind, open=mischievous(world.counterpart.kind.open, weather))
        engine = self.engine = Engine(
            store,
            host=Host([kind], workshop=InlineWorkshop()),
            keyring=Keyring(MASTER_KEY),
            carrier=Wire(world, process, clock),
            clock=clock,
            ids=SimIds(clock, f"ids {world.options.seed} {name}"),
            public_base_url=BASE,
            run=InlineRun(process, weather),
        )
        self._watches = watches = Watches(engine)
        pages = Pages(engine.keyring.derive_all("page tokens"))
        directory = StoredDirectory(engine.memory, engine.sessions.tokens, engine.clock)
        authenticator = Authenticator(directory, now=clock.now, monotonic=world.loop.time, fresh_seconds=60.0)
        self.pipeline = Pipeline(engine, authenticator, Limits(Allowance(), monotonic=world.loop.time))
        self.methods: dict[str, Method] = {
            method.name: method for method in methods_of(DESCRIPTORS, services(watches, pages))
        }

    async def leave(self) -> None:
        """Leave politely, as a rolling restart asks for: nothing new, an end to what is at work, then gone."""
        leapt = self._world.loop.leapt
        self.is_leaving = True
        self.pipeline.drain.set()
        try:
            async with asyncio.timeout(LEAVE_SECONDS):
                await self.pipeline.limits.quiet()
                await self._watches.stop()
                await self.engine.stop(LEAVE_SECONDS / 2)
        except TimeoutError:
            if self._world.loop.leapt == leapt:  # else time ran away under it
                self._world.loop.call_exception_handler({"message": f"{self.process.name} does not leave"})
        self.process.die()

    async def serve(self, rpc: str, incoming: Incoming) -> bytes:
        """Answer a call. What is promised with the answer must hold when it leaves."""
        response = await self.pipeline.call(self.methods[rpc], incoming)
        self._world.promises.answering(rpc, incoming.raw, response)
        if rpc == "DeliverNotice" and self._world.weather.strikes(
            "killed after an acknowledgement", self._world.options.edge_kills
        ):
            self.process.fuse = 1
        return response.SerializeToString()

    async def stream(self, rpc: str, incoming: Incoming, write: Callable[[bytes], Awaitable[None]]) -> None:
        """Answer a call with a stream, as fast as it is read. Raises Refused."""
        async with aclosing(self.pipeline.stream(self.methods[rpc], incoming)) as messages:
            async for message in messages:
                await write(message.SerializeToString())
