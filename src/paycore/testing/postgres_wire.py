"""PostgreSQL's wire protocol, read only as far as a fault needs it: where a commit is asked for, and where it is answered."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

_LENGTH = struct.Struct("!I")
_ENCRYPTION_ASKED = frozenset({80877103, 80877104})
"""A client's first words when it would like TLS or GSSAPI; the server answers with one bare byte."""
_COMMIT = re.compile(rb"\s*(COMMIT|END)(\s+(WORK|TRANSACTION))?\s*;?\s*\Z", re.IGNORECASE)
_BEGIN = re.compile(rb"\s*(BEGIN|START\s+TRANSACTION)\b", re.IGNORECASE)
_WRITE = re.compile(rb"(?<!\bFOR )\b(INSERT|UPDATE|DELETE|MERGE)\b", re.IGNORECASE)
_LISTEN = re.compile(rb"\s*LISTEN\b", re.IGNORECASE)


class NotPostgres(Exception):
    """Bytes that are not this protocol."""


class Frames:
    """Cuts a stream of bytes into whole messages. Startup packets have no letter; everything else has one."""

    MOST_BYTES = 256 * 1024 * 1024

    def __init__(self, *, begins_bare: bool) -> None:
        self._rest = bytearray()
        self.is_bare = begins_bare
        """Whether the next message is a startup packet."""

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """The messages that are complete now. Raises NotPostgres."""
        self._rest += piece
        while (size := self._size()) is not None and len(self._rest) >= size:
            frame = bytes(self._rest[:size])
            del self._rest[:size]
            yield frame

    def _size(self) -> int | None:
        """The size of the message that begins here, once that much of it has come."""
        head = 0 if self.is_bare else 1
        if len(self._rest) < head + _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._rest, head)
        if not _LENGTH.size <= length <= self.MOST_BYTES:
            raise NotPostgres(f"a message of {length} bytes")
        return int(length) + head


@dataclass(slots=True)
class Asked:
    """What a client's message means to a fault."""

    frame: bytes
    is_commit: bool = False
    """It ends a transaction that has written something."""


@dataclass(slots=True)
class Session:
    """One connection as far as faults care: its statements by name, and whether the open transaction has written."""

    has_listened: bool = False
    has_written: bool = False
    _from_client: Frames = field(default_factory=lambda: Frames(begins_bare=True))
    _from_server: Frames = field(default_factory=lambda: Frames(begins_bare=False))
    _bare_answers: int = 0
    _statements: dict[bytes, bytes] = field(default_factory=dict)
    _portals: dict[bytes, bytes] = field(default_factory=dict)
    """The text of what each of them runs."""

    def asks(self, piece: bytes) -> Iterator[Asked]:
        """The client's messages that are complete now. Raises NotPostgres."""
        for frame in self._from_client.feed(piece):
            if self._from_client.is_bare:
                self._greeted(frame)
                yield Asked(frame)
            else:
                yield Asked(frame, self._commits(frame))

    def answers(self, piece: bytes) -> Iterator[bytes]:
        """The server's messages that are complete now. Raises NotPostgres."""
        if self._bare_answers and piece:
            self._bare_answers -= 1
            if piece[:1] in (b"S", b"G"):
                raise NotPostgres("the connection is encrypted from here on")
            yield piece[:1]
            piece = piece[1:]
        yield from self._from_server.feed(piece)

    def _greeted(self, frame: bytes) -> None:
        (code,) = _LENGTH.unpack_from(frame, 4) if len(frame) >= 8 else (0,)
        if code in _ENCRYPTION_ASKED:
            self._bare_answers += 1
        else:
            self._from_client.is_bare = False

    def _commits(self, frame: bytes) -> bool:
        """Follow a message; whether it asks for the commit of what was written."""
        kind, body = frame[:1], frame[5:]
        if kind == b"Q":
            return self._runs(body.rstrip(b"\0"))
        if kind == b"P":
            name, text = _two_texts(body)
            self._statements[name] = text
        elif kind == b"B":
            portal, name = _two_texts(body)
            self._portals[portal] = self._statements.get(name, b"")
        elif kind == b"E":
            return self._runs(self._portals.get(body.partition(b"\0")[0], b""))
        return False

    def _runs(self, text: bytes) -> bool:
        if _COMMIT.match(text):
            is_commit, self.has_written = self.has_written, False
            return is_commit
        if _BEGIN.match(text) or text.strip().upper().startswith(b"ROLLBACK"):
            self.has_written = False
        self.has_listened |= _LISTEN.match(text) is not None
        self.has_written |= _WRITE.search(text) is not None
        return False


def _two_texts(body: bytes) -> tuple[bytes, bytes]:
    """The two texts that a message begins with."""
    parts = body.split(b"\0", 2)
    if len(parts) < 3:
        raise NotPostgres("a message without its names")
    return parts[0], parts[1]


def is_end_of_commit(frame: bytes) -> bool:
    """Whether this message of the server's says that a commit is done."""
    return frame[:1] == b"C" and frame[5:].startswith(b"COMMIT")


def is_error(frame: bytes) -> bool:
    """Whether the server says that something failed."""
    return frame[:1] == b"E"
