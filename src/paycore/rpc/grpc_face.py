"""gRPC on the pipeline: raw bytes in, so that decoding fails inside our guard; no interceptor on the way.

The standard services (health, reflection) are not ours, but their bytes are as foreign: `guarded` gives them the same
decoding and the same silence about exceptions.
"""

import asyncio
import hashlib
import re
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

import grpc
from google.protobuf.message import DecodeError, Message

from paycore.core.refusals import Reason, Refused
from paycore.rpc.auth import Certificate, Credentials
from paycore.rpc.pipeline import Method, Pipeline, bug_of_ours
from paycore.rpc.refusals import status_of

DETAILS: Final = "grpc-status-details-bin"
SLOW_SECONDS: Final = 30.0
"""A message of a stream that the client does not take for so long ends the stream."""

_PEER = re.compile(r"ipv[46]:\[?([0-9a-fA-F.:]+?)(?:%\w+)?\]?:\d+", re.ASCII)

if TYPE_CHECKING:
    Context = grpc.aio.ServicerContext[Any, Any]
    Handler = grpc.RpcMethodHandler[Any, Any]
else:
    Context, Handler = grpc.aio.ServicerContext, grpc.RpcMethodHandler  # which know no parameters at run time


class GrpcCall:
    """What gRPC knows about a call before it is decoded."""

    __slots__ = ("_context", "_raw", "credentials")

    def __init__(self, raw: bytes, context: Context, *, looks_at_certificates: bool) -> None:
        self._raw = raw
        self._context = context
        self.credentials = Credentials(
            tuple(_text(value) for key, value in context.invocation_metadata() or () if key == "authorization"),
            address_of(context.peer()),
            certificate_of(context) if looks_at_certificates else None,
        )

    @property
    def size(self) -> int:
        return len(self._raw)

    @property
    def seconds_left(self) -> float | None:
        left: float | None = self._context.time_remaining()
        return left

    def decode(self, request_type: type[Message]) -> Message:
        request: Message = decode(request_type.FromString, self._raw)
        return request


def decode(parse: Callable[[bytes], Any], raw: bytes) -> Any:
    """The message that the bytes are, or MALFORMED_REQUEST: not protobuf, not UTF-8, nested too deeply."""
    try:
        return parse(raw)
    except (DecodeError, UnicodeDecodeError, ValueError, RecursionError):
        raise Refused(Reason.MALFORMED_REQUEST, "The bytes are not a message of this type.") from None


class GrpcFace(grpc.GenericRpcHandler):
    """Finds the handler of a path; one dictionary for all services."""

    def __init__(
        self,
        pipeline: Pipeline,
        methods: Sequence[Method],
        *,
        slow_seconds: float = SLOW_SECONDS,
        looks_at_certificates: bool = False,
    ) -> None:
        self._pipeline = pipeline
        self._slow_seconds = slow_seconds
        self._looks_at_certificates = looks_at_certificates
        self._handlers = {method.path: self._handler(method) for method in methods}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler | None:
        return self._handlers.get(handler_call_details.method)

    def _handler(self, method: Method) -> Handler:
        if method.is_stream:
            return grpc.unary_stream_rpc_method_handler(self._streaming(method))
        return grpc.unary_unary_rpc_method_handler(self._unary(method))

    def _unary(self, method: Method) -> Callable[[bytes, Context], Any]:
        async def serve(raw: bytes, context: Context) -> bytes:
            incoming = GrpcCall(raw, context, looks_at_certificates=self._looks_at_certificates)
            try:
                return (await self._pipeline.call(method, incoming)).SerializeToString()
            except Refused as refused:
                await refuse(context, refused)
                raise

        return serve

    def _streaming(self, method: Method) -> Callable[[bytes, Context], Any]:
        async def serve(raw: bytes, context: Context) -> None:
            incoming = GrpcCall(raw, context, looks_at_certificates=self._looks_at_certificates)
            try:
                async with aclosing(self._pipeline.stream(method, incoming)) as messages:
                    async for message in messages:
                        await self._write(context, message.SerializeToString())
            except Refused as refused:
                await refuse(context, refused)

        return serve

    async def _write(self, context: Context, packed: bytes) -> None:
        limit = asyncio.timeout(self._slow_seconds)
        try:
            async with limit:
                await context.write(packed)
        except grpc.aio.InternalError:
            raise asyncio.CancelledError from None  # the client has left; gRPC has no better word for it
        except TimeoutError:
            if not limit.expired():
                raise
            raise Refused(Reason.SLOW_CONSUMER, "The stream was not read; resume it from the last message.") from None


async def refuse(context: Context, refused: Refused) -> None:
    """End a call with a refusal. `abort` raises, so nothing after it runs."""
    status = status_of(refused)
    try:
        await context.abort(status.code, status.text, ((DETAILS, status.details),))
    except grpc.aio.InternalError:
        raise asyncio.CancelledError from None  # the client has left


def guarded(register: Callable[[Any], None], *, most_at_once: int = 1000) -> grpc.GenericRpcHandler:
    """A standard service, as its `add_..._to_server` registers it, with our decoding and our silence about exceptions.

    It asks nobody for credentials, so no more than `most_at_once` of its streams are open.
    """
    catcher = _Catcher()
    register(catcher)
    return _Guarded(catcher.handlers, most_at_once)


class _Catcher:
    """Stands in for a server and keeps what is registered."""

    def __init__(self) -> None:
        self.handlers: dict[str, Any] = {}

    def add_generic_rpc_handlers(self, _handlers: Any) -> None:
        """The same handlers come by name as well."""

    def add_registered_method_handlers(self, service: str, handlers: dict[str, Any]) -> None:
        self.handlers |= {f"/{service}/{name}": handler for name, handler in handlers.items()}


class _Guarded(grpc.GenericRpcHandler):
    def __init__(self, handlers: dict[str, Any], most_at_once: int) -> None:
        self._free = most_at_once
        self._handlers = {path: self._guard(path, handler) for path, handler in handlers.items()}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler | None:
        return self._handlers.get(handler_call_details.method)

    def _guard(self, path: str, handler: Any) -> Handler:
        parse, pack = handler.request_deserializer, handler.response_serializer

        async def one(raw: bytes, context: Context) -> Any:
            async with _silence(path, context):
                return await handler.unary_unary(decode(parse, raw), context)

        async def stream(raw: bytes, context: Context) -> None:
            async with _silence(path, context):
                with self._room():
                    await handler.unary_stream(decode(parse, raw), context)

        async def both(raws: AsyncIterator[bytes], context: Context) -> AsyncIterator[Any]:
            async with _silence(path, context):
                with self._room():
                    async for message in handler.stream_stream((decode(parse, raw) async for raw in raws), context):
                        yield message

        if handler.request_streaming:
            return grpc.stream_stream_rpc_method_handler(both, response_serializer=pack)
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(stream, response_serializer=pack)
        return grpc.unary_unary_rpc_method_handler(one, response_serializer=pack)

    @contextmanager
    def _room(self) -> Iterator[None]:
        """Room for one more stream. Probes ask by single calls, which never wait for it."""
        if not self._free:
            raise Refused(Reason.TOO_MANY_STREAMS, "Too many streams are open.", limit="process")
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1


@asynccontextmanager
async def _silence(path: str, context: Context) -> AsyncIterator[None]:
    """Nothing is said about what went wrong inside but what we say."""
    try:
        yield
    except grpc.aio.AbortError:
        raise
    except Refused as refused:
        await refuse(context, refused)
    except Exception as error:  # noqa: BLE001 - the guard: whatever it is, its text never leaves the house
        await refuse(context, bug_of_ours(path, error))


@lru_cache(maxsize=4096)  # a peer is a connection: the same for thousands of calls
def address_of(peer: str) -> str:
    """The address in gRPC's name of a peer, without its port: `ipv4:192.0.2.1:5000` is 192.0.2.1."""
    found = _PEER.fullmatch(unquote(peer))
    return found[1] if found else ""


def certificate_of(context: Context) -> Certificate | None:
    """The client certificate that TLS verified, if there was one."""
    shown = context.auth_context()
    pem = next(iter(shown.get("x509_pem_cert", ())), None)
    if pem is None:
        return None
    names = tuple(_text(name) for name in shown.get("x509_subject_alternative_name", ()))
    return Certificate(_fingerprint(pem), names)


@lru_cache(maxsize=1024)
def _fingerprint(pem: bytes) -> str:
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem.decode("ascii"))).hexdigest()


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")
