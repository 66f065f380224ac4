"""Our ids: a two-letter prefix and a ULID, 28 letters and digits, so each is a valid number at every channel.

The first ten characters of a ULID are its milliseconds, so an id carries its time. Ids are minted by the engine; the
core only derives one id from another, so that deciding twice gives the same id.
"""

import hashlib
import re
from enum import StrEnum

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = tuple(first + second for first in ALPHABET for second in ALPHABET)
_BODY = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}", re.ASCII)


class Prefix(StrEnum):
    """Whose id it is, at a glance."""

    APP = "ap"
    ACCOUNT = "ac"
    ORDER = "or"
    PAYMENT = "py"
    REFUND = "rf"
    SESSION = "cs"
    ANOMALY = "an"
    OFFER = "of"


def is_id(text: str, prefix: Prefix) -> bool:
    """Whether the text could be one of our ids of this kind."""
    return len(text) == 28 and text.startswith(prefix) and _BODY.fullmatch(text, 2) is not None


def encode(value: int, length: int) -> str:
    """The low bits of a number as Crockford base 32, most significant first; an even number of letters."""
    return "".join([_PAIRS[(value >> shift) & 1023] for shift in range(5 * length - 10, -1, -10)])


def make_id(prefix: Prefix, at: int, randomness: int) -> str:
    """An id for an instant (microseconds) and 80 bits of randomness."""
    return prefix + encode(at // 1000, 10) + encode(randomness, 16)


def derive_id(prefix: Prefix, source_id: str, purpose: str) -> str:
    """The one id that follows from another id and a purpose; it keeps the other's time."""
    digest = hashlib.sha256(f"{prefix}|{source_id}|{purpose}".encode()).digest()
    clock = source_id[2:12] if len(source_id) == 28 else "0" * 10
    return prefix + clock + encode(int.from_bytes(digest[:10]), 16)
