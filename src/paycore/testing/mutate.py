"""Spoils bytes and texts, the same way for the same seed: for whoever must show that nothing spoilt is ever believed.

    for name, notice in spoilt_notices(genuine, headers=("acme-signature", "acme-timestamp")):
        with pytest.raises(Forged):
            channel.read_notice(notice, now)

`spoilt_notices` changes every byte of the body and every character of the headers once, so a verifier that looks at less
than it should is found for certain. `Mutator` draws from everything that goes wrong on the way and from what an attacker
tries: bits, lengths, splices, nesting, bad UTF-8.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from paycore.channel import RawNotice

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
LARGEST = 2**64 - 1
"""The largest number that a varint carries."""
DEEPEST = 300
"""Far deeper than any parser of protobuf goes."""
_EDGES = (0, 1, 0x20, 0x2E, 0x2F, 0x3D, 0x7F, 0x80, 0xC0, 0xED, 0xF8, 0xFE, 0xFF)
_NUMBERS = (0, 1, 2, 77, 127, 128, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, LARGEST)
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_BAD_TEXTS = (
    b"\0",
    b"\xff",
    b"\xc0\x80",  # NUL, as some write it
    b"\xed\xa0\x80",  # half of a surrogate pair
    b"\xf5\x80\x80\x80",  # beyond the last character
    b"\xe2\x80\xae",  # text runs backwards from here
    b"\xef\xbb\xbf",
    b"\xef\xbc\x91",  # a digit, but no ASCII one
    b"\r\n",
    b"%00",
    b"' OR 1=1 --",
    b"${x}{{x}}%s%n",
    b"../../etc",
)


# ---------------------------------------------------------------------------------------------- every one, once


def every_byte(raw: bytes) -> Iterator[bytes]:
    """The bytes with one of them changed: one variant for each, its lowest bit turned."""
    for place in range(len(raw)):
        yield raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]


def every_letter(text: str) -> Iterator[str]:
    """The text with one character changed: one variant for each, still of the same kind (a digit stays a digit).

    A signature in base64 or hex stays that, a timestamp stays a number: what refuses them must have looked at the
    meaning. The last character of a base64 text is changed too, though a lax decoder reads the same bytes then: one
    signature has one text.
    """
    for place, letter in enumerate(text):
        yield text[:place] + _neighbour(letter) + text[place + 1 :]


def _neighbour(letter: str) -> str:
    place = _LETTERS.find(letter)
    return "A" if place < 0 else _LETTERS[place ^ 1]


def spoilt_notices(genuine: RawNotice, headers: Collection[str]) -> Iterator[tuple[str, RawNotice]]:
    """A genuine notice, spoilt in every way that must not pass, each with a name that says how.

    Each byte of the body and each character of these headers is changed once; each header is left out, doubled and
    emptied; the body is cut, prolonged and emptied. `headers` are those that the channel's signature covers or is
    made of, in lower case.
    """
    for place, body in enumerate(every_byte(genuine.body)):
        yield f"body byte {place}", replace(genuine, body=body)
    for name in headers:
        value = genuine.headers[name]
        for place, text in enumerate(every_letter(value)):
            yield f"{name} character {place}", _with(genuine, name, text)
        yield f"{name} twice", _with(genuine, name, f"{value}, {value}")
        yield f"{name} empty", _with(genuine, name, "")
        yield f"{name} prolonged", _with(genuine, name, f"{value}A")
        without = {key: held for key, held in genuine.headers.items() if key != name}
        yield f"{name} left out", replace(genuine, headers=without)
    yield "body empty", replace(genuine, body=b"")
    yield "body cut", replace(genuine, body=genuine.body[:-1])
    yield "body prolonged", replace(genuine, body=genuine.body + b" ")
    yield "body twice", replace(genuine, body=genuine.body * 2)


def _with(notice: RawNotice, name: str, value: str) -> RawNotice:
    return replace(notice, headers={**notice.headers, name: value})


# ---------------------------------------------------------------------------------------------- by chance


class Mutator:
    """Draws mutations. The same seed and the same calls give the same results, on every machine."""

    def __init__(self, seed: int | str) -> None:
        self._dice = random.Random(seed)  # noqa: S311 - the same again is what is wanted

    def spoil(self, raw: bytes, others: Sequence[bytes] = ()) -> bytes:
        """The bytes after one to four mutations. `others` are what it may be spliced with.

        The result may happen to be what was given: compare before you expect a refusal.
        """
        for _ in range(self._dice.choice((1, 1, 1, 2, 2, 4))):
            raw = self._dice.choice(_GENERAL)(self, raw, others)
        return raw

    def spoil_message(self, raw: bytes, others: Sequence[bytes] = ()) -> bytes:
        """A protobuf message after one to four mutations, most of which keep it a message: fields, lengths, numbers."""
        for _ in range(self._dice.choice((1, 1, 1, 2, 2, 4))):
            kinds = _MESSAGE if self._dice.random() < 0.9 else _GENERAL
            raw = self._dice.choice(kinds)(self, raw, others)
        return raw

    def spoil_text(self, text: str, others: Sequence[str] = ()) -> str:
        """A text after some mutations, always text again (bytes that are no UTF-8 become Latin letters)."""
        spoilt = self.spoil(text.encode(), [other.encode() for other in others])
        try:
            return spoilt.decode()
        except UnicodeDecodeError:
            return spoilt.decode("latin-1")

    # ------------------------------------------------------------------------------------ any bytes

    def _flip(self, raw: bytes, _others: Sequence[bytes]) -> bytes:
        if not raw:
            return b"\x01"
        place = self._dice.randrange(len(raw))
        return raw[:place] + bytes([raw[place] ^ (1 << self._dice.randrange(8))]) + raw[place + 1 :]

    def _edge(self, raw: bytes, _others: Sequence[bytes]) -> bytes:
        place = self._place(raw)
        return raw[:place] + bytes([self._dice.choice(_EDGES)]) + raw[place + 1 :]

    def _cut(self, raw: bytes, _others: Sequence[bytes]) -> bytes:
        place = self._place(raw)
        return raw[:place] if self._dice.random() < 0.5 else raw[place:]

    def _lose(self, raw: bytes, _others: Sequence[bytes]) -> bytes:
        start, end = self._slice(raw)
        return raw[:start] + raw[end:]

    def _repeat(self, raw: bytes, _others: Sequence[bytes]) -> bytes:
        start, end = self._slice(raw)
        return raw[:end] + raw[start:end] * self._dice.choice((1, 2, 40)) + raw[end:]

    def _insert(self, raw: bytes, _others: Sequence[bytes]) -> bytes:
        place, size = self._place(raw), self._dice.choice((1, 2, 8, 300))
        return raw[:place] + self._dice.randbytes(size) + raw[place:]

    def _insert_text(self, raw: bytes, _others: Sequence[bytes]) -> bytes:
        place = self._place(raw)
        return raw[:place] + self._dice.choice(_BAD_TEXTS) + raw[place:]

    def _swap(self, raw: bytes, _others: Sequence[bytes]) -> bytes:
        start, end = self._slice(raw)
        return raw[:start] + raw[start:end][::-1] + raw[end:]

    def _splice(self, raw: bytes, others: Sequence[bytes]) -> bytes:
        other = self._dice.choice(others) if others else raw
        return raw[: self._place(raw)] + other[self._place(other) :]

    # ------------------------------------------------------------------------------------ messages

    def _change_field(self, raw: bytes, others: Sequence[bytes]) -> bytes:
        """Change what one field holds, perhaps deep inside."""
        fields = read_fields(raw)
        if not fields:
            return self._unknown_field(raw, others)
        field = self._dice.choice(fields)
        return raw[: field.start] + self._changed(field, others) + raw[field.end :]

    def _changed(self, field: Field, others: Sequence[bytes]) -> bytes:
        if field.kind == VARINT:
            return field.tag + varint(self._number(field.value))
        if field.kind != BYTES:
            return field.tag + self._dice.randbytes(len(field.content))
        if read_fields(field.content) and self._dice.random() < 0.7:
            return field.tag + _counted(self._change_field(field.content, others))
        return field.tag + _counted(self._content(field.content, others))

    def _content(self, content: bytes, others: Sequence[bytes]) -> bytes:
        """Other content for a field; a text mostly stays a text."""
        try:
            text = content.decode()
        except UnicodeDecodeError:
            return self._dice.choice(_GENERAL)(self, content, others)
        if self._dice.random() < 0.2:
            return self._dice.choice(_GENERAL)(self, content, others)
        return self.spoil_text(text).encode()

    def _drop_field(self, raw: bytes, _others: Sequence[bytes]) -> bytes:
        fields = read_fields(raw)
        if not fields:
            return raw
        field = self._dice.choice(fields)
        return raw[: field.start] + raw[field.end :]

    def _repeat_field(self, raw: bytes, _others: Sequence[bytes]) -> bytes:
        """A field twice: the last one counts, or both do."""
        fields = read_fields(raw)
        if not fields:
            return raw
        field = self._dice.choice(fields)
        return raw + raw[field.start : field.end] * self._dice.choice((1, 1, 2, 200))

    def _foreign_field(self, raw: bytes, others: Sequence[bytes]) -> bytes:
        """A field out of another message, at this message's end."""
        other = self._dice.choice(others) if others else raw
        fields = read_fields(other)
        return raw + (other[(field := self._dice.choice(fields)).start : field.end] if fields else b"")

    def _renumber(self, raw: bytes, _others: Sequence[bytes]) -> bytes:
        """A field under another number or of another wire type."""
        fields = read_fields(raw)
        if not fields:
            return raw
        field = self._dice.choice(fields)
        kind = field.kind if self._dice.random() < 0.5 else self._dice.randrange(8)
        number = field.number if self._dice.random() < 0.5 else self._dice.choice((0, 1, 2, 3, 4, 15, 16, 2**29 - 1))
        return raw[: field.start] + varint(number << 3 | kind) + raw[field.start + len(field.tag) : field.end]

    def _wrong_length(self, raw: bytes, _others: Sequence[bytes]) -> bytes:
        """A length that says more, less, or far more than there is."""
        fields = [field for field in read_fields(raw) if field.kind == BYTES]
        if not fields:
            return raw
        field = self._dice.choice(fields)
        size = max(0, len(field.content) + self._dice.choice((-1, 1, 5, 2**20, 2**31 - 1, 2**31, 2**63)))
        return raw[: field.start] + field.tag + varint(size) + field.content + raw[field.end :]

    def _padded_varint(self, raw: bytes, _others: Sequence[bytes]) -> bytes:
        """A number written longer than it need be, up to more bytes than any number has."""
        fields = [field for field in read_fields(raw) if field.kind == VARINT]
        if not fields:
            return raw
        field = self._dice.choice(fields)
        body = varint(field.value)
        padded = body[:-1] + bytes([body[-1] | 0x80]) + b"\x80" * self._dice.choice((0, 1, 8, 9, 12)) + b"\x00"
        return raw[: field.start] + field.tag + padded + raw[field.end :]

    def _unknown_field(self, raw: bytes, _others: Sequence[bytes]) -> bytes:
        """Fields that nobody knows: a number, some bytes, a group, many."""
        tag = self._dice.choice((1000, 50_000, 2**29 - 1)) << 3
        extra = self._dice.choice(
            (
                varint(tag | VARINT) + varint(self._number(1)),
                varint(tag | BYTES) + _counted(self._dice.randbytes(self._dice.choice((0, 9, 5000)))),
                varint(tag | 3) + varint(tag | 4),
                varint(tag | 3),
                varint(tag | VARINT) + b"\x01",
            )
        )
        place = self._dice.choice((0, len(raw)))
        return raw[:place] + extra * self._dice.choice((1, 1, 1, 400)) + raw[place:]

    def _nest(self, raw: bytes, _others: Sequence[bytes]) -> bytes:
        """A field in itself in itself, as deep as no parser should follow."""
        fields = [field for field in read_fields(raw) if field.kind == BYTES]
        tag = self._dice.choice(fields).tag if fields else varint(1 << 3 | BYTES)
        inside = b""
        for _ in range(self._dice.choice((3, 99, 101, DEEPEST))):
            inside = tag + _counted(inside)
        return raw + inside

    # ------------------------------------------------------------------------------------ drawing

    def _number(self, value: int) -> int:
        if self._dice.random() < 0.4:
            return (value + self._dice.choice((-1, 1, 100))) & LARGEST
        return self._dice.choice(_NUMBERS)

    def _place(self, raw: bytes) -> int:
        return self._dice.randrange(len(raw) + 1)

    def _slice(self, raw: bytes) -> tuple[int, int]:
        start = self._place(raw)
        return start, min(len(raw), start + self._dice.choice((1, 2, 4, 16, 64)))


_Mutation = Callable[[Mutator, bytes, Sequence[bytes]], bytes]
_GENERAL: tuple[_Mutation, ...] = (
    Mutator._flip,  # noqa: SLF001 - its own
    Mutator._edge,  # noqa: SLF001
    Mutator._cut,  # noqa: SLF001
    Mutator._lose,  # noqa: SLF001
    Mutator._repeat,  # noqa: SLF001
    Mutator._insert,  # noqa: SLF001
    Mutator._insert_text,  # noqa: SLF001
    Mutator._swap,  # noqa: SLF001
    Mutator._splice,  # noqa: SLF001
)
_MESSAGE: tuple[_Mutation, ...] = (
    Mutator._change_field,  # noqa: SLF001
    Mutator._change_field,  # noqa: SLF001
    Mutator._change_field,  # noqa: SLF001
    Mutator._drop_field,  # noqa: SLF001
    Mutator._repeat_field,  # noqa: SLF001
    Mutator._foreign_field,  # noqa: SLF001
    Mutator._renumber,  # noqa: SLF001
    Mutator._wrong_length,  # noqa: SLF001
    Mutator._padded_varint,  # noqa: SLF001
    Mutator._unknown_field,  # noqa: SLF001
    Mutator._nest,  # noqa: SLF001
)


# ---------------------------------------------------------------------------------------------- protobuf's bytes


@dataclass(frozen=True, slots=True)
class Field:
    """One field as it stands in a message: from where to where, its tag, and what it holds."""

    start: int
    end: int
    tag: bytes
    number: int
    kind: int
    value: int
    """What a varint says."""
    content: bytes
    """What the others hold."""


def read_fields(raw: bytes) -> list[Field]:
    """The fields of a message, or none at all if the bytes are no message."""
    found: list[Field] = []
    place = 0
    while place < len(raw):
        field = _read_field(raw, place)
        if field is None:
            return []
        found.append(field)
        place = field.end
    return found


def _read_field(raw: bytes, start: int) -> Field | None:
    tag, place = _read_varint(raw, start)
    if tag is None or tag >> 3 == 0:
        return None
    number, kind, spelt = tag >> 3, tag & 7, raw[start:place]
    if kind == VARINT:
        value, end = _read_varint(raw, place)
        return None if value is None else Field(start, end, spelt, number, kind, value, b"")
    size: int | None = {FIXED64: 8, FIXED32: 4}.get(kind)
    if kind == BYTES:
        size, place = _read_varint(raw, place)
    if size is None or place + size > len(raw):
        return None
    return Field(start, place + size, spelt, number, kind, 0, raw[place : place + size])


def _read_varint(raw: bytes, start: int) -> tuple[int | None, int]:
    value = 0
    for count, byte in enumerate(raw[start : start + 10]):
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            return value & LARGEST, start + count + 1
    return None, start


def varint(value: int) -> bytes:
    """A number as protobuf writes it."""
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def _counted(content: bytes) -> bytes:
    return varint(len(content)) + content
