"""The one way in: who is asking, how often, what exactly, do it, and how it failed.

A transport hands over what it knows about a call (`Incoming`) and how to decode it; the pipeline answers with a message, a
stream of messages, or Refused. It lets nothing else out: what is not ours to refuse becomes INTERNAL with a number that
stands in the log. gRPC calls it through `grpc_face`; HTTP with JSON will call the same pipeline.
"""

import asyncio
import logging
import random
import re
import secrets
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import AbstractContextManager, aclosing
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, Protocol

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from paycore.core.refusals import Reason, Refused
from paycore.rpc.auth import Authenticator, Credentials, Principal
from paycore.rpc.limits import Limits
from paycore.rpc.metrics import Meter
from paycore.rpc.policy import POLICIES, Policy
from paycore.rpc.refusals import CODES
from paycore.rpc.validate import Validator

if TYPE_CHECKING:
    from paycore.engine import Engine

log = logging.getLogger("paycore.rpc")

MICROSECONDS: Final = 1_000_000
CALL_SECONDS: Final = 30.0
"""The most that one call may take, whatever the caller's deadline."""

STREAM_SECONDS: Final = 30 * 60.0
"""The most that a stream lives, give or take a fifth, so that load finds new processes."""

_WHO: Final = frozenset(
    {Reason.CREDENTIALS_MISSING, Reason.CREDENTIALS_INVALID, Reason.CREDENTIALS_MISMATCH, Reason.SESSION_INVALID}
)


@dataclass(frozen=True, slots=True)
class Method:
    """One RPC: its messages, who may call it, and the function that does it.

    `serve(call, request)` is a coroutine function that returns the response, or for a stream an async generator.
    """

    service: str
    name: str
    request_type: type[Message]
    is_stream: bool
    policy: Policy
    serve: Callable[["Call", Any], Any]
    meter: Meter

    @property
    def path(self) -> str:
        """Where gRPC and Connect find it."""
        return f"/{self.service}/{self.name}"


class Incoming(Protocol):
    """What a transport knows about a call before it is decoded."""

    @property
    def credentials(self) -> Credentials: ...
    @property
    def size(self) -> int:
        """Bytes of the encoded request."""

    @property
    def seconds_left(self) -> float | None:
        """Until the caller gives up; None when it never does."""

    def decode(self, request_type: type[Message]) -> Message:
        """The request, or Refused with MALFORMED_REQUEST."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call being served: who asks, until when, and the engine that does it.

    A call that is cancelled or past its deadline has CancelledError thrown into it at its next await; what was
    committed stands. A stream ends itself with MAX_AGE at `ends_at`, with DRAINING once `drain` is set, and with
    CREDENTIALS_ENDED when `credentials_hold()` says no; it is closed (`aclose`) when the client leaves. Both instants are
    microseconds by the engine's clock.
    """

    method: Method
    principal: Principal
    engine: "Engine"
    deadline_at: int
    ends_at: int
    drain: asyncio.Event
    limits: Limits
    authenticator: Authenticator

    @property
    def app_id(self) -> str:
        return self.principal.app_id

    def now(self) -> int:
        """Microseconds by the engine's clock."""
        return self.engine.clock.now()

    def steady(self) -> int:
        """Microseconds that only ever pass, to measure waits by."""
        return self.engine.clock.steady()

    async def credentials_hold(self) -> bool:
        """Whether whoever opened this call would be let in now. Cheap: answered from a cache that lives a few seconds."""
        return await self.authenticator.still_holds(self.principal, self.method.policy)

    def watching(self, order_id: str) -> AbstractContextManager[None]:
        """Holds one of the order's streams, or is refused with TOO_MANY_STREAMS. Wrap the whole stream in it."""
        return self.limits.stream_of_order(order_id)


def methods_of(
    descriptors: Iterable[ServiceDescriptor], services: Mapping[str, object], policies: Mapping[str, Policy] = POLICIES
) -> list[Method]:
    """Every RPC of these services with its policy and its function.

    `services` holds for each service's full name something that has a function for each RPC, by its name in snake
    case. Raises LookupError for an RPC without a policy or without a function: what nobody thought of is not served.
    """
    return [
        _method(rpc, services.get(service.full_name), policies) for service in descriptors for rpc in service.methods
    ]


def _method(rpc: MethodDescriptor, service: object, policies: Mapping[str, Policy]) -> Method:
    policy = policies.get(rpc.full_name)
    serve = getattr(service, snake_case(rpc.name), None)
    if policy is None:
        raise LookupError(f"{rpc.full_name} has no policy")
    if serve is None:
        raise LookupError(f"{rpc.full_name} has no function {snake_case(rpc.name)}")
    if rpc.client_streaming:
        raise LookupError(f"{rpc.full_name} streams requests, which the pipeline does not take")
    name = rpc.containing_service.full_name
    is_stream = bool(rpc.server_streaming)
    meter = Meter(name, rpc.name, is_stream)
    return Method(name, rpc.name, GetMessageClass(rpc.input_type), is_stream, policy, serve, meter)


def snake_case(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


class Pipeline:
    """Takes calls through every stage. One for the whole process, whatever the transports."""

    def __init__(
        self,
        engine: "Engine",
        authenticator: Authenticator,
        limits: Limits,
        *,
        call_seconds: float = CALL_SECONDS,
        stream_seconds: float = STREAM_SECONDS,
    ) -> None:
        self.limits = limits
        self.authenticator = authenticator
        self.drain = asyncio.Event()
        self._engine = engine
        self._validator = Validator()
        self._call_seconds = call_seconds
        self._patience = Patience(call_seconds)
        self._stream_seconds = stream_seconds

    async def call(self, method: Method, incoming: Incoming) -> Message:
        """The response of a unary call, or Refused."""
        began = perf_counter()
        code = "CANCELLED"
        try:
            with self.limits.call(), self._patience.task():
                call, request = self._admit(method, incoming) or await self._look_up(method, incoming)
                response: Message = await method.serve(call, request)
            code = "OK"
            return response
        except Refused as refused:
            code = CODES[refused.reason].name
            raise
        except Exception as error:  # noqa: BLE001 - the guard: whatever it is, its text never leaves the house
            code = "INTERNAL"
            raise bug_of_ours(method.path, error) from None
        finally:
            method.meter.answered(code, perf_counter() - began)

    async def stream(self, method: Method, incoming: Incoming) -> AsyncGenerator[Message, None]:
        """The messages of a stream; raises Refused in the middle when it must end early. Close it when the client leaves."""
        code = "CANCELLED"
        try:
            call, request = self._admit(method, incoming) or await self._look_up(method, incoming)
            with self.limits.stream(call.app_id, call.principal.session_id):
                async with aclosing(method.serve(call, request)) as messages:
                    async for message in messages:
                        method.meter.sent += 1
                        yield message
            code = "OK"
        except Refused as refused:
            code = CODES[refused.reason].name
            raise
        except Exception as error:  # noqa: BLE001 - the guard, as in `call`
            code = "INTERNAL"
            raise bug_of_ours(method.path, error) from None
        finally:
            method.meter.answered(code, 0.0)

    def _admit(self, method: Method, incoming: Incoming) -> tuple[Call, Message] | None:
        """The call, its caller and its request looked at; None when the caller must be looked up first."""
        if self.drain.is_set():
            raise Refused(Reason.SHUTTING_DOWN, "The server shuts down; another process answers.")
        principal = self.authenticator.recall(incoming.credentials, method.policy)
        return None if principal is None else self._take(method, incoming, principal)

    async def _look_up(self, method: Method, incoming: Incoming) -> tuple[Call, Message]:
        return self._take(method, incoming, await self._who(method, incoming.credentials))

    def _take(self, method: Method, incoming: Incoming, principal: Principal) -> tuple[Call, Message]:
        self._pace(principal)
        if incoming.size > method.policy.max_request_bytes:
            raise Refused(
                Reason.REQUEST_TOO_LARGE,
                "The request is larger than this method takes.",
                most=method.policy.max_request_bytes,
            )
        request = incoming.decode(method.request_type)
        self._validator.check(request)
        return self._open(method, principal, incoming.seconds_left), request

    async def _who(self, method: Method, credentials: Credentials) -> Principal:
        if not self.authenticator.has_met(credentials):  # whoever shares an address with a guesser is not shut out
            self.limits.may_try(credentials.address)
        try:
            return await self.authenticator.admit(credentials, method.policy)
        except Refused as refused:
            if refused.reason in _WHO:
                self.limits.failed(credentials.address)
            raise

    def _pace(self, principal: Principal) -> None:
        if principal.is_session:
            self.limits.pace_session(principal.session_id)
        else:
            self.limits.pace_app(principal.app_id, principal.rate_per_second)

    def _open(self, method: Method, principal: Principal, seconds_left: float | None) -> Call:
        now = self._engine.clock.now()
        life = self._stream_seconds * random.uniform(0.8, 1.2) if method.is_stream else self._call_seconds  # noqa: S311 - jitter
        ends_at = now + int(life * MICROSECONDS)
        deadline_at = ends_at if seconds_left is None else min(ends_at, now + int(seconds_left * MICROSECONDS))
        return Call(method, principal, self._engine, deadline_at, ends_at, self.drain, self.limits, self.authenticator)


class Patience:
    """Ends calls that take too long. All may take the same time, so the oldest is the next: one timer is enough.

    `asyncio.timeout` makes and drops a timer for each call, which costs a few hundredths of all that a call costs.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._began: dict[asyncio.Task[Any], float] = {}
        self._is_watching = False

    def task(self) -> "_Patience":
        """While this task serves its call. Raises TOOK_TOO_LONG out of it when that takes too long."""
        task = asyncio.current_task()
        assert task is not None
        return _Patience(self, task)

    def begin(self, task: asyncio.Task[Any]) -> None:
        loop = asyncio.get_running_loop()
        self._began[task] = loop.time()
        if not self._is_watching:
            self._is_watching = True
            loop.call_later(self._seconds, self._look)

    def end(self, task: asyncio.Task[Any]) -> bool:
        """Whether it took too long."""
        return self._began.pop(task, None) is None

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        latest = loop.time() - self._seconds
        while self._began:
            task, began = next(iter(self._began.items()))
            if began > latest:
                loop.call_at(began + self._seconds, self._look)
                return
            del self._began[task]
            task.cancel()
        self._is_watching = False


class _Patience(AbstractContextManager[None]):
    """With one task."""

    __slots__ = ("_patience", "_task")

    def __init__(self, patience: Patience, task: asyncio.Task[Any]) -> None:
        self._patience = patience
        self._task = task

    def __enter__(self) -> None:
        self._patience.begin(self._task)

    def __exit__(self, kind: type[BaseException] | None, *_rest: object) -> None:
        took_too_long = self._patience.end(self._task)
        if took_too_long and self._task.uncancel() == 0 and kind is asyncio.CancelledError:
            raise Refused(
                Reason.TOOK_TOO_LONG,
                "The server gave up; what was done so far stands. Ask again with the same request_id.",
            ) from None


def bug_of_ours(rpc: str, error: Exception) -> Refused:
    """What is said of an exception that nobody expected: the log has everything under a number, the caller has the number."""
    error_id = secrets.token_hex(8)
    log.error("call failed", extra={"rpc": rpc, "error_id": error_id}, exc_info=error)
    return Refused(Reason.INTERNAL, "Something went wrong on our side.", error_id=error_id)
