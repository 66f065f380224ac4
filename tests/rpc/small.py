"""A small house for the pipeline: real gRPC on loopback, real policies and messages, services of a few lines."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import grpc
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from paycore.core.ids import Prefix, make_id
from paycore.rpc.auth import Authenticator, Principal, Proof, Shown
from paycore.rpc.limits import Allowance, Limits
from paycore.rpc.pipeline import Call, Method, Pipeline, methods_of, snake_case
from paycore.rpc.policy import BUSINESS_SCOPES, Scope
from paycore.rpc.server import Listening, RpcServer
from paycore.v1 import cashier_pb2, channel_pb2, notice_pb2, order_pb2, refund_pb2

NOW = 1_800_000_000_000_000
DESCRIPTORS = [
    service
    for module in (order_pb2, cashier_pb2, refund_pb2, channel_pb2, notice_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
]
APP = make_id(Prefix.APP, NOW, 1)
OTHER_APP = make_id(Prefix.APP, NOW, 2)
ORDER = make_id(Prefix.ORDER, NOW, 3)
SESSION = make_id(Prefix.SESSION, NOW, 4)
KEY = "pk_" + "k" * 43
OTHER_KEY = "pk_" + "o" * 43
SUSPENDED_KEY = "pk_" + "s" * 43
READER_KEY = "pk_" + "r" * 43
NOTICE_KEY = "pk_" + "n" * 43
TOKEN = f"{SESSION}.good"


class Clock:
    def __init__(self) -> None:
        self.at = NOW

    def now(self) -> int:
        return self.at

    def steady(self) -> int:
        return self.at - NOW


def key_proof(key: str) -> Proof:
    return Proof(Shown.KEY, hashlib.sha256(key.encode()).hexdigest())


@dataclass
class People:
    """Who may come in, and how often somebody was looked up."""

    known: dict[tuple[Shown, str], Principal] = field(default_factory=dict)
    looks: int = 0

    def add(self, principal: Principal) -> None:
        self.known[principal.proof.shown, principal.proof.text] = principal

    def session_id(self, token: str) -> str | None:
        session, _, rest = token.partition(".")
        return session if rest == "good" else None

    async def find(self, proof: Proof) -> Principal | None:
        self.looks += 1
        await asyncio.sleep(0)
        return self.known.get((proof.shown, proof.text))


def people() -> People:
    found = People()
    found.add(Principal(APP, key_proof(KEY), BUSINESS_SCOPES))
    found.add(Principal(OTHER_APP, key_proof(OTHER_KEY), BUSINESS_SCOPES))
    found.add(Principal(APP, key_proof(SUSPENDED_KEY), BUSINESS_SCOPES, is_suspended=True))
    found.add(Principal(APP, key_proof(READER_KEY), frozenset({Scope.ORDERS_READ})))
    found.add(Principal(APP, key_proof(NOTICE_KEY), frozenset({Scope.NOTICES_DELIVER})))
    session = Proof(Shown.SESSION, SESSION)
    found.add(Principal(APP, session, session_id=SESSION, order_id=ORDER, expires_at=NOW + 600_000_000))
    return found


class Services:
    """Answers every RPC with an empty response; a test puts its own function in the place of one."""

    def __init__(self) -> None:
        self.calls: list[tuple[Call, Any]] = []
        self._own: dict[str, Callable[[Call, Any], Any]] = {}

    def put(self, rpc: str, serve: Callable[[Call, Any], Any]) -> None:
        self._own[snake_case(rpc)] = serve

    def all(self) -> dict[str, object]:
        return {service.full_name: self._of(service) for service in DESCRIPTORS}

    def _of(self, service: Any) -> object:
        return SimpleNamespace(**{snake_case(rpc.name): self._serve(rpc) for rpc in service.methods})

    def _serve(self, rpc: Any) -> Callable[[Call, Any], Any]:
        name, response = snake_case(rpc.name), GetMessageClass(rpc.output_type)

        async def unary(call: Call, request: Any) -> Any:
            self.calls.append((call, request))
            own = self._own.get(name)
            return await own(call, request) if own else response()

        async def stream(call: Call, request: Any) -> AsyncIterator[Any]:
            self.calls.append((call, request))
            own = self._own.get(name)
            if own is None:
                yield response()
                return
            async for message in own(call, request):
                yield message

        return stream if rpc.server_streaming else unary


@dataclass
class House:
    target: str
    channel: Any
    services: Services
    people: People
    clock: Clock
    pipeline: Pipeline
    server: RpcServer
    methods: list[Method]

    async def raw(self, path: str, body: bytes, **options: Any) -> bytes:
        """One unary call with any bytes for a request."""
        metadata = options.pop("metadata", bearer(KEY))
        answer: bytes = await self.channel.unary_unary(path)(body, metadata=metadata, **options)
        return answer

    def stream(self, path: str, body: bytes, metadata: Any = None, **options: Any) -> Any:
        return self.channel.unary_stream(path)(body, metadata=bearer(KEY) if metadata is None else metadata, **options)


def bearer(key: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {key}"),)


@asynccontextmanager
async def small_house(
    *,
    allowance: Allowance | None = None,
    listening: Listening | None = None,
    credentials: Callable[[], grpc.ChannelCredentials] | None = None,
    has_reflection: bool = False,
    slow_seconds: float = 30.0,
    call_seconds: float = 30.0,
    fresh_seconds: float = 0.0,
    options: tuple[tuple[str, Any], ...] = (),
    target: Callable[[int], str] = lambda port: f"127.0.0.1:{port}",
) -> AsyncIterator[House]:
    clock, directory, services = Clock(), people(), Services()
    authenticator = Authenticator(directory, now=clock.now, fresh_seconds=fresh_seconds)
    engine: Any = SimpleNamespace(clock=clock)
    pipeline = Pipeline(engine, authenticator, Limits(allowance), call_seconds=call_seconds)
    methods = methods_of(DESCRIPTORS, services.all())
    server = RpcServer(
        pipeline,
        methods,
        listening or Listening("127.0.0.1:0"),
        has_reflection=has_reflection,
        slow_seconds=slow_seconds,
    )
    port = await server.start()
    await server.health.say(is_serving=True)
    where = target(port)
    channel = (
        grpc.aio.secure_channel(where, credentials(), options=options)
        if credentials
        else grpc.aio.insecure_channel(where, options=options)
    )
    try:
        yield House(where, channel, services, directory, clock, pipeline, server, methods)
    finally:
        await channel.close()
        await server.stop()


@dataclass(frozen=True)
class Said:
    """How a call was refused."""

    code: str
    reason: str
    text: str
    metadata: dict[str, str]
    fields: tuple[str, ...]
    retry_seconds: float | None
    details_bytes: int


def said(error: grpc.aio.AioRpcError) -> Said:
    """What the server said, from the code and the details."""
    trailing = dict(error.trailing_metadata() or ())
    status = rpc_status.from_call(error) or status_pb2.Status()
    info, fields, retry = error_details_pb2.ErrorInfo(), [], None
    for detail in status.details:
        if detail.Unpack(info):
            continue
        bad, again = error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
        if detail.Unpack(bad):
            fields = [violation.field for violation in bad.field_violations]
        elif detail.Unpack(again):
            retry = again.retry_delay.seconds + again.retry_delay.nanos / 1e9
    size = len(trailing.get("grpc-status-details-bin", b""))
    return Said(error.code().name, info.reason, error.details() or "", dict(info.metadata), tuple(fields), retry, size)


async def refusal(awaited: Any) -> Said:
    """The refusal that a call must end with."""
    try:
        answer = await awaited
    except grpc.aio.AioRpcError as error:
        return said(error)
    raise AssertionError(f"was not refused: {answer!r}")


def paths() -> Iterator[tuple[str, Any]]:
    """Every RPC of ours with its path."""
    for service in DESCRIPTORS:
        for rpc in service.methods:
            yield f"/{service.full_name}/{rpc.name}", rpc
