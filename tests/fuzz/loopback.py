"""The same house behind real sockets: gRPC and HTTP on loopback, so that what the libraries do with bad bytes is seen as well."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from paycore.core.refusals import Reason, Refused
from paycore.rpc.server import Listening, RpcServer
from paycore.rpc.services import DESCRIPTORS
from paycore.web.listener import HttpServer
from tests.fuzz.house import House
from tests.fuzz.oracle import ALLOWED, expect
from tests.rpc.small import said
from tests.rpc.test_bad_input_services import is_silent

STREAM_SECONDS = 0.05
CALL_SECONDS = 10.0
PATIENCE_SECONDS = 0.1
MOST_ANSWER = 64 * 1024
RPCS = {rpc.name: rpc for service in DESCRIPTORS for rpc in service.methods}
BY_GRPC_ITSELF = grpc.StatusCode.RESOURCE_EXHAUSTED
"""A message or metadata larger than the server takes is refused before any code of ours sees it, without details."""


@dataclass
class Loopback:
    """A house's gRPC server, reached over a socket."""

    channel: Any
    """A gRPC channel that takes bytes."""
    port: int

    async def send(self, rpc: str, raw: bytes, *authorization: str) -> Message | None:
        """The response to these bytes, or a stream's first message. Raises Refused, once it is seen to be said rightly."""
        found = RPCS[rpc]
        path, metadata = (
            f"/{found.containing_service.full_name}/{rpc}",
            [("authorization", one) for one in authorization],
        )
        try:
            packed = await self._call(path, raw, metadata, is_stream=found.server_streaming)
        except grpc.aio.AioRpcError as error:
            raise refused(error) from None
        return None if packed is None else GetMessageClass(found.output_type).FromString(packed)

    async def _call(self, path: str, raw: bytes, metadata: Any, *, is_stream: bool) -> bytes | None:
        if not is_stream:
            return bytes(await self.channel.unary_unary(path)(raw, metadata=metadata, timeout=CALL_SECONDS))
        stream: Any = self.channel.unary_stream(path)(raw, metadata=metadata)
        try:
            first = await asyncio.wait_for(stream.read(), STREAM_SECONDS)
        except TimeoutError:
            return None
        finally:
            stream.cancel()
        return first if isinstance(first, bytes) else None


def refused(error: grpc.aio.AioRpcError) -> Refused:
    """The refusal that a call ended with. Raises Wrong for an end that no input may bring about."""
    expect(error.code() in ALLOWED, f"{error.code().name}: {error.details()}")
    told = said(error)
    if not told.reason:
        expect(error.code() is BY_GRPC_ITSELF, f"no reason is given: {error.code()} {error.details()}")
        return Refused(Reason.REQUEST_TOO_LARGE, "Refused by the library.")
    expect(is_silent(told), f"the refusal says too much: {told}")
    return Refused(Reason(told.reason), told.text)


@asynccontextmanager
async def serve_grpc(house: House) -> AsyncIterator[Loopback]:
    """The house behind a real gRPC server."""
    server = RpcServer(house.pipeline, list(house.methods.values()), Listening("127.0.0.1:0"), has_reflection=True)
    port = await server.start()
    await server.health.say(is_serving=True)
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Loopback(channel, port)
    finally:
        await server.stop()


@asynccontextmanager
async def serve_http(house: House) -> AsyncIterator[int]:
    """The house's HTTP face behind a real HTTP server; the port."""
    server = HttpServer("127.0.0.1:0")
    try:
        yield await server.start(house.web)
    finally:
        await server.stop(1.0)


async def exchange(port: int, raw: bytes, *, seconds: float = 8.0) -> bytes:
    """What comes back for these bytes on a new connection. Raises TimeoutError when the other side never lets go.

    A server waits for the rest of a request that says it is longer; after a moment it is told that nothing more comes.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(raw)
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await reader.read(MOST_ANSWER)
        writer.write_eof()
        async with asyncio.timeout(seconds):
            return await reader.read(MOST_ANSWER)
    except ConnectionError:
        return b""
    finally:
        writer.close()
