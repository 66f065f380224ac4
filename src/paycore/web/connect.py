"""The same services for browsers: Connect's protocol over HTTP, JSON or protobuf, through the same pipeline as gRPC.

The library speaks the protocol (time-outs, envelopes of a stream, how an error looks); the bytes of a message pass
through it as they came, so that they are decoded, checked and refused where gRPC's are.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

from connectrpc.code import Code
from connectrpc.errors import ConnectError, ErrorDetail
from connectrpc.method import IdempotencyLevel, MethodInfo, StreamType
from connectrpc.request import RequestContext
from connectrpc.server import ConnectASGIApplication, Endpoint
from google.protobuf import json_format
from google.protobuf.message import Message
from google.rpc import status_pb2
from protobuf.wkt import Any as Detail

from paycore.core.refusals import Reason, Refused
from paycore.rpc.auth import Credentials
from paycore.rpc.grpc_face import decode
from paycore.rpc.pipeline import Method, Pipeline
from paycore.rpc.policy import NOTICE_BYTES
from paycore.rpc.refusals import status_of
from paycore.rpc.watch import Shared

MOST_BYTES: Final = 2 * NOTICE_BYTES
"""The most that is read at all: JSON has bytes as base64. What a method takes is the pipeline's to say."""
MOST_DEPTH: Final = 32
_CODES: Final = {"CANCELLED": Code.CANCELED}

Context = RequestContext[Any, Any]


@dataclass(frozen=True, slots=True)
class Raw:
    """A message as it came, and the encoding that the client named."""

    content: bytes
    encoding: str


@dataclass(frozen=True, slots=True)
class Passing:
    """Hands bytes on undecoded, and writes out messages in one encoding."""

    encoding: str

    def name(self) -> str:
        return self.encoding

    def decode(self, data: bytes | bytearray, _message_class: type[Any]) -> Raw:
        return Raw(bytes(data), self.encoding)

    def encode(self, message: Message | Shared) -> bytes:
        if self.encoding == "proto":
            return message.SerializeToString()
        told = message.message if isinstance(message, Shared) else message
        return json_format.MessageToJson(told, indent=None, ensure_ascii=False).encode()


class ConnectCall:
    """What HTTP knows about a call before it is decoded."""

    __slots__ = ("_context", "_raw", "credentials")

    def __init__(self, raw: Raw, context: Context) -> None:
        self._raw = raw
        self._context = context
        address = (context.client_address or "").rpartition(":")[0]
        self.credentials = Credentials(tuple(context.request_headers.getall("authorization")), address)

    @property
    def size(self) -> int:
        """Bytes as protobuf would have them: in JSON they travel a third longer."""
        size = len(self._raw.content)
        return size if self._raw.encoding == "proto" else size * 3 // 4

    @property
    def seconds_left(self) -> float | None:
        left = self._context.timeout_ms
        return None if left is None else left / 1000

    def decode(self, request_type: type[Message]) -> Message:
        if self._raw.encoding == "proto":
            request: Message = decode(request_type.FromString, self._raw.content)
            return request
        return decode_json(request_type, self._raw.content)


def decode_json(request_type: type[Message], raw: bytes) -> Message:
    """The message that a JSON text is. Unknown fields are passed over, as in protobuf. Raises MALFORMED_REQUEST."""
    try:
        return json_format.Parse(
            raw or b"{}", request_type(), ignore_unknown_fields=True, max_recursion_depth=MOST_DEPTH
        )
    except (json_format.Error, ValueError, TypeError, RecursionError):
        raise Refused(Reason.MALFORMED_REQUEST, "The text is not a message of this type in JSON.") from None


class Services(ConnectASGIApplication["Services"]):
    """Every RPC of the pipeline at `/package.Service/Method`."""

    path = ""

    def __init__(self, pipeline: Pipeline, methods: Sequence[Method], *, slow_seconds: float) -> None:
        self._pipeline = pipeline
        self._slow_seconds = slow_seconds
        self._methods = methods
        super().__init__(
            service=self,
            endpoints=lambda _: self._all(),
            codecs=[Passing("json"), Passing("proto")],
            compressions=[],  # nothing that is small when it comes and large when it is read
            read_max_bytes=MOST_BYTES,
        )

    def _all(self) -> Mapping[str, Any]:
        return {method.path: self._endpoint(method) for method in self._methods}

    def _endpoint(self, method: Method) -> Any:
        kind = StreamType.SERVER_STREAM if method.is_stream else StreamType.UNARY
        info: MethodInfo[Any, Any] = MethodInfo(
            name=method.name,
            service_name=method.service,
            input=Raw,
            output=Raw,
            idempotency_level=IdempotencyLevel.UNKNOWN,  # so that GET, which is logged and cached, is no way in
            stream_type=kind,
        )
        if method.is_stream:
            return Endpoint.server_stream(info, self._streaming(method))
        return Endpoint.unary(info, self._unary(method))

    def _unary(self, method: Method) -> Callable[[Raw, Context], Awaitable[Message]]:
        async def serve(raw: Raw, context: Context) -> Message:
            try:
                return await self._pipeline.call(method, ConnectCall(raw, context))
            except Refused as refused:
                raise said(refused) from None

        return serve

    def _streaming(self, method: Method) -> Callable[[Raw, Context], AsyncGenerator[Message, None]]:
        async def serve(raw: Raw, context: Context) -> AsyncGenerator[Message, None]:
            task, loop = asyncio.current_task(), asyncio.get_running_loop()
            assert task is not None
            try:
                async with aclosing(self._pipeline.stream(method, ConnectCall(raw, context))) as messages:
                    async for message in messages:
                        too_slow = loop.call_later(self._slow_seconds, task.cancel)
                        try:
                            yield message
                        finally:
                            too_slow.cancel()
            except Refused as refused:
                raise said(refused) from None

        return serve


def said(refused: Refused) -> ConnectError:
    """A refusal in Connect's words: the same code, text and details as over gRPC."""
    status = status_of(refused)
    details = status_pb2.Status.FromString(status.details).details
    code = _CODES.get(status.code.name) or Code[status.code.name]
    return ConnectError(
        code, status.text, [ErrorDetail(Detail(type_url=one.type_url, value=one.value)) for one in details]
    )
