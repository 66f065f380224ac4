"""A gRPC client in plain frames, so cheap that the server is what is measured.

A Python gRPC client costs as much as the server that it asks. This one writes the HTTP/2 frames itself, a few
microseconds a call, and can still send a different message each time, which h2load cannot.
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import Callable, Iterable
from typing import cast

MessageHandler = Callable[[bytes], None]
EndHandler = Callable[["Ended"], None]

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY, _WINDOW, _CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
_ACK = _END_STREAM = 0x1
_END_HEADERS = 0x4
_MOST_WINDOW = 2**31 - 1
_DEFAULT_WINDOW = 65_535
_STATUS = b"grpc-status"


class Ended(str):
    """How a call ended: its grpc-status as text, "0" for OK, or what broke it."""

    @property
    def is_ok(self) -> bool:
        return self == "0"


class CallFailed(Exception):
    """A call that should have gone well did not."""


class _Call:
    """One call under way: what has come of it and who is to be told."""

    __slots__ = ("ended", "message", "pending", "stream")

    def __init__(self, message: MessageHandler | None, ended: EndHandler) -> None:
        self.message = message
        self.ended = ended
        self.pending = b""
        self.stream = 0

    def hear(self, data: bytes) -> None:
        """Hand on each whole message."""
        if self.message is None:
            return
        self.pending += data
        while len(self.pending) >= 5:
            end = 5 + int.from_bytes(self.pending[1:5], "big")
            if len(self.pending) < end:
                return
            body, self.pending = self.pending[5:end], self.pending[end:]
            self.message(body)


class Line(asyncio.Protocol):
    """One HTTP/2 connection, plain text, for many calls at once. Calls beyond what the server allows wait their turn."""

    def __init__(self, headers: Iterable[tuple[str, str]] = ()) -> None:
        self._headers = (("te", "trailers"), ("content-type", "application/grpc"), *headers)
        self._table: dict[tuple[str, str], int] = {}
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._calls: dict[int, _Call] = {}
        self._waiting: deque[tuple[str, bytes, _Call]] = deque()
        self._next_id = 1
        self._most_calls = 100
        self._window = _DEFAULT_WINDOW
        self._out: list[bytes] = []
        self._is_flushing = False
        self._owed = 0
        self._continued: tuple[int, int, bytes] | None = None
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @classmethod
    async def open(cls, address: str, headers: Iterable[tuple[str, str]] = ()) -> Line:
        """Connect to host:port and wait for the server's settings."""
        host, _, port = address.rpartition(":")
        _, protocol = await asyncio.get_running_loop().create_connection(lambda: cls(headers), host, int(port))
        line = protocol
        async with asyncio.timeout(10):
            await line.settled
        return line

    @property
    def open_calls(self) -> int:
        return len(self._calls) + len(self._waiting)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    # ------------------------------------------------------------------------------------ asking

    def send(
        self, path: str, body: bytes, ended: EndHandler, message: MessageHandler | None = None
    ) -> Callable[[], None]:
        """Begin a call: `message` hears each answer, `ended` how it ended. Returns what cancels it."""
        call = _Call(message, ended)
        if len(self._calls) >= self._most_calls or self._window < len(body) + 5:
            self._waiting.append((path, body, call))
        else:
            self._begin(path, body, call)
        return lambda: self._cancel(call)

    def _cancel(self, call: _Call) -> None:
        if self._calls.pop(call.stream, None) is not None:
            self._write(_frame(_RESET, 0, call.stream, struct.pack("!I", 8)))
            self._begin_waiting()

    async def ask(self, path: str, body: bytes) -> bytes:
        """Make one unary call and return its answer. Raises CallFailed."""
        answers: list[bytes] = []
        done: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        self.send(path, body, done.set_result, answers.append)
        ended = await done
        if not ended.is_ok or len(answers) != 1:
            raise CallFailed(f"{path} ended with {ended}")
        return answers[0]

    def _begin(self, path: str, body: bytes, call: _Call) -> None:
        stream, self._next_id = self._next_id, self._next_id + 2
        self._calls[stream], call.stream = call, stream
        head = self._head(path)
        self._window -= len(body) + 5
        self._write(
            _frame(_HEADERS, _END_HEADERS, stream, head)
            + _frame(_DATA, _END_STREAM, stream, b"\0" + len(body).to_bytes(4, "big") + body)
        )

    def _head(self, path: str) -> bytes:
        """The header block: everything that was sent before is one byte each, as with any grown-up client."""
        fields = ((":path", path), (":authority", "bench"), *self._headers)
        return b"\x83\x86" + b"".join(self._field(name, value) for name, value in fields)

    def _field(self, name: str, value: str) -> bytes:
        known = self._table.get((name, value))
        if known is not None:
            return bytes((0x80 | (62 + len(self._table) - 1 - known),))
        self._table[name, value] = len(self._table)
        return b"\x40" + _text(name) + _text(value)

    def _write(self, frame: bytes) -> None:
        self._out.append(frame)
        if not self._is_flushing:
            self._is_flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._is_flushing = False
        if self._transport is not None:
            self._transport.write(b"".join(self._out))
        self._out.clear()

    # ------------------------------------------------------------------------------------ hearing

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        settings = b"".join(struct.pack("!HI", *pair) for pair in ((1, 0), (2, 0), (4, _MOST_WINDOW)))
        window = struct.pack("!I", _MOST_WINDOW - _DEFAULT_WINDOW)
        self._write(_PREFACE + _frame(_SETTINGS, 0, 0, settings) + _frame(_WINDOW, 0, 0, window))
        self.ready.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_all(f"connection lost: {exc or 'closed'}")

    def data_received(self, data: bytes) -> None:
        if self._received:
            data = self._received + data
        at, size = 0, len(data)
        while size - at >= 9:
            end = at + 9 + int.from_bytes(data[at : at + 3], "big")
            if end > size:
                break
            stream = int.from_bytes(data[at + 5 : at + 9], "big") & _MOST_WINDOW
            self._hear(data[at + 3], data[at + 4], stream, data[at + 9 : end])
            at = end
        self._received = data[at:]

    def _hear(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == _DATA:
            self._hear_data(flags, stream, payload)
        elif kind == _HEADERS:
            self._hear_headers(flags, stream, payload)
        elif kind == _CONTINUATION and self._continued is not None:
            first, _, so_far = self._continued
            self._hear_headers(first | (flags & _END_HEADERS), stream, so_far + payload)
        elif kind == _WINDOW and stream == 0:
            self._window += int.from_bytes(payload, "big")
            self._begin_waiting()
        elif kind == _SETTINGS and not flags & _ACK:
            self._settle(payload)
        elif kind == _PING and not flags & _ACK:
            self._write(_frame(_PING, _ACK, 0, payload))
        elif kind == _RESET:
            self._end(stream, Ended(f"reset {int.from_bytes(payload, 'big')}"))
        elif kind == _GOAWAY and payload[4:8] != b"\0\0\0\0":
            self._end_all(f"goaway {payload[8:].decode('latin-1')}")

    def _hear_data(self, flags: int, stream: int, payload: bytes) -> None:
        self._owed += len(payload)
        if self._owed > 2**20:
            self._write(_frame(_WINDOW, 0, 0, struct.pack("!I", self._owed)))
            self._owed = 0
        call = self._calls.get(stream)
        if call is not None:
            call.hear(payload)
        if flags & _END_STREAM:
            self._end(stream, Ended("no trailers"))

    def _hear_headers(self, flags: int, stream: int, block: bytes) -> None:
        if not flags & _END_HEADERS:
            self._continued = (flags, stream, block)
            return
        self._continued = None
        if flags & _END_STREAM:
            self._end(stream, _status(block))

    def _settle(self, payload: bytes) -> None:
        for at in range(0, len(payload), 6):
            name, value = struct.unpack_from("!HI", payload, at)
            if name == 3:
                self._most_calls = value
        if not self.settled.done():
            self._most_calls = self._most_calls if b"\0\x03" in payload else 2**31
            self.settled.set_result(None)
        self._write(_frame(_SETTINGS, _ACK, 0, b""))

    def _end(self, stream: int, how: Ended) -> None:
        call = self._calls.pop(stream, None)
        if call is not None:
            call.ended(how)
            self._begin_waiting()

    def _begin_waiting(self) -> None:
        while self._waiting and len(self._calls) < self._most_calls and self._window > len(self._waiting[0][1]) + 5:
            self._begin(*self._waiting.popleft())

    def _end_all(self, why: str) -> None:
        calls = [*self._calls.values(), *(call for _, _, call in self._waiting)]
        self._calls.clear()
        self._waiting.clear()
        for call in calls:
            call.ended(Ended(why))
        if not self.settled.done():
            self.settled.set_exception(ConnectionError(why))


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def _text(value: str) -> bytes:
    """A string of a header block, not Huffman coded."""
    data = value.encode("ascii")
    if len(data) < 127:
        return bytes((len(data),)) + data
    rest, size = len(data) - 127, b"\x7f"
    while rest >= 128:
        size += bytes((rest & 127 | 128,))
        rest >>= 7
    return size + bytes((rest,)) + data


def _status(block: bytes) -> Ended:
    """The grpc-status of a trailer block. The server's header table is off, so the name stands there in full."""
    at = block.find(_STATUS)
    if at < 0:
        return Ended("no grpc-status")
    at += len(_STATUS)
    size = block[at] & 127
    return Ended(block[at + 1 : at + 1 + size].decode("latin-1"))
