"""How a channel speaks: it yields a Request, is sent the Reply (or has Silence thrown into it), returns what it concluded.

    def query(self, ask: PaymentAsk) -> Conversation[PaymentFinding]:
        reply = yield self._call("trade.query", out_trade_no=ask.payment_id)
        return read_trade(reply)

A verb does no I/O, asks no clock and draws no random number: what it needs is in the ask. The same code runs under the
engine's HTTP client, under a scripted wire and under a storm.
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")

Conversation = Generator["Request", "Reply", T]
"""A verb at work: yields requests, is sent replies, returns a finding."""


class Secret:
    """A value that prints as dots and stays a secret until the line that signs (`reveal`)."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself. Call it where it is used, never to keep it."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(******)"

    __str__ = __repr__

    def __format__(self, format_spec: str) -> str:
        return repr(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(("Secret", self._value))

    def __reduce__(self) -> Any:
        raise TypeError("a Secret is never pickled")


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request that the engine is to carry.

    `redact` names headers, and form or JSON fields, that no log or trace may show. Redirects are never followed.
    An answer larger than `max_reply_bytes` is not read: None means the engine's usual cap (1 MiB); a statement's file may
    ask for up to 64 MiB.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    timeout_seconds: float = 5.0
    redact: frozenset[str] = frozenset({"authorization"})
    max_reply_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back, raw. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Silence(Exception):
    """No answer, or one that cannot be read: we do not know whether the request took effect.

    `was_sent` is False only when not one byte left this machine. A verb that does not catch it concludes Unknown
    (or NotSent).
    """

    def __init__(self, note: str = "", *, was_sent: bool = True) -> None:
        super().__init__(note)
        self.note = note
        self.was_sent = was_sent


class Forged(Exception):
    """A notice, evidence or reply does not verify. Nothing of it is believed or stored."""


class Malformed(Forged):
    """It has not even the form of what was wanted (no signed document at all), so there was nothing to verify."""


class WrongApp(Forged):
    """Evidence that verifies, and was made for another app or merchant than this account's."""


class WrongEnvironment(Forged):
    """Evidence of another world: the channel's test environment where the account is real, the reverse, a developer's own."""
