"""A channel that speaks as browsers do: Connect's JSON over HTTP. Whoever has a gRPC stub can be given it instead."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import httpx2
from google.protobuf import json_format
from google.protobuf.any_pb2 import Any as Packed
from google.rpc import status_pb2

DETAILS = "grpc-status-details-bin"
WORDS = {"canceled": grpc.StatusCode.CANCELLED}
Metadata = Sequence[tuple[str, str]]
END_OF_STREAM = 2


@dataclass(frozen=True)
class BrowserChannel:
    """Asks a paycore at this base URL."""

    base_url: str
    http: httpx2.AsyncClient

    def unary_unary(
        self, path: str, request_serializer: Any, response_deserializer: Callable[[bytes], Any], **_more: Any
    ) -> Any:
        async def call(request: Any, *, metadata: Metadata = (), timeout: float | None = None) -> Any:
            encoding, body = written(request)
            answer = await self.http.post(
                f"{self.base_url}{path}",
                content=body,
                headers=headers(metadata, timeout, f"application/{encoding}"),
                timeout=60,
            )
            if answer.status_code != 200:
                raise failed(answer.json())
            return read(answer.content, encoding, response_deserializer)

        return call

    def unary_stream(
        self, path: str, request_serializer: Any, response_deserializer: Callable[[bytes], Any], **_more: Any
    ) -> Any:
        async def messages(request: Any, metadata: Metadata, timeout: float | None) -> AsyncIterator[Any]:
            encoding, body = written(request)
            asked = self.http.stream(
                "POST",
                f"{self.base_url}{path}",
                content=envelope(body),
                headers=headers(metadata, timeout, f"application/connect+{encoding}"),
                timeout=60,
            )
            async with asked as answer:
                async for flags, content in opened(answer.aiter_bytes()):
                    if flags & END_OF_STREAM:
                        end = json.loads(content)
                        if "error" in end:
                            raise failed(end["error"])
                        return
                    yield read(content, encoding, response_deserializer)

        def call(request: Any, *, metadata: Metadata = (), timeout: float | None = None) -> BrowserStream:
            return BrowserStream(messages(request, metadata, timeout))

        return call


class BrowserStream:
    """A stream being read, with the words of gRPC's."""

    def __init__(self, messages: AsyncIterator[Any]) -> None:
        self._read: asyncio.Queue[Any] = asyncio.Queue()
        self._code: asyncio.Future[grpc.StatusCode] = asyncio.get_running_loop().create_future()
        self._reading = asyncio.create_task(self._keep_reading(messages))

    async def _keep_reading(self, messages: AsyncIterator[Any]) -> None:
        code = grpc.StatusCode.CANCELLED
        try:
            async for message in messages:
                self._read.put_nowait(message)
            code = grpc.StatusCode.OK
            self._read.put_nowait(grpc.aio.EOF)
        except grpc.aio.AioRpcError as error:
            code = error.code()
            self._read.put_nowait(error)
        finally:
            self._code.set_result(code)

    async def read(self) -> Any:
        got = await self._read.get()
        if got is grpc.aio.EOF or isinstance(got, Exception):
            self._read.put_nowait(got)
        if isinstance(got, Exception):
            raise got
        return got

    async def code(self) -> grpc.StatusCode:
        return await asyncio.shield(self._code)

    def cancel(self) -> bool:
        return self._reading.cancel()

    async def __aiter__(self) -> AsyncIterator[Any]:
        while (message := await self.read()) is not grpc.aio.EOF:
            yield message


def headers(metadata: Metadata, timeout: float | None, content_type: str) -> list[tuple[str, str]]:
    more = [] if timeout is None else [("connect-timeout-ms", str(max(1, int(timeout * 1000))))]
    return [("content-type", content_type), ("connect-protocol-version", "1"), *more, *metadata]


def written(request: Any) -> tuple[str, bytes]:
    """The request in JSON; one that JSON has no words for, such as half a nanosecond too many, as protobuf."""
    try:
        return "json", json_format.MessageToJson(request).encode()
    except json_format.SerializeToJsonError:
        return "proto", request.SerializeToString()


def read(content: bytes, encoding: str, deserializer: Any) -> Any:
    return deserializer(content) if encoding == "proto" else json_format.Parse(content, deserializer.__self__())


def envelope(body: bytes) -> bytes:
    return b"\0" + len(body).to_bytes(4, "big") + body


async def opened(parts: AsyncIterator[bytes]) -> AsyncIterator[tuple[int, bytes]]:
    """The messages of a stream with their flags."""
    held = b""
    async for part in parts:
        held += part
        while len(held) >= 5 and len(held) >= (size := 5 + int.from_bytes(held[1:5], "big")):
            yield held[0], held[5:size]
            held = held[size:]


def failed(error: Any) -> grpc.aio.AioRpcError:
    """What a gRPC stub would have raised."""
    code = WORDS.get(error["code"]) or grpc.StatusCode[error["code"].upper()]
    status = status_pb2.Status(code=code.value[0], message=error.get("message", ""))
    for detail in error.get("details", ()):
        value = base64.b64decode(detail["value"] + "==")
        status.details.append(Packed(type_url=f"type.googleapis.com/{detail['type']}", value=value))
    trailing = grpc.aio.Metadata((DETAILS, status.SerializeToString()))
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailing, details=error.get("message"))
