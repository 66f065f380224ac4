"""The channel's own side, sans-I/O too: what a plugin ships so that demo, tests and storms need no network peer.

A host may serve it over HTTP on a laptop, or run it inline in a simulation; the simulator does not know which.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from paycore.channel.asks import NoticeReply
from paycore.channel.talk import Reply, Request


@dataclass(frozen=True, slots=True)
class OutgoingNotice:
    """A callback that the channel wants to deliver now. `key` names it when its answer is handed back."""

    key: str
    request: Request


class Simulator(Protocol):
    """A channel in miniature, with its own books and its own keys. Times are microseconds, passed in."""

    def settings(self, base_url: str) -> Mapping[str, str]:
        """The account settings of a merchant of this simulated channel, reachable at this URL. Secrets are plain text."""

    def handle(self, request: Request, now: int) -> Reply | None:
        """Answer a request, the merchant's or a person's browser's. None is a black hole: the caller gets no answer."""

    def due(self, now: int) -> Sequence[OutgoingNotice]:
        """The notices to deliver now; each is taken as being delivered until its answer is handed back."""

    def answered(self, key: str, reply: NoticeReply | None, now: int) -> None:
        """How a delivery went; None when nothing came back. The retry ladder goes on from here."""

    def next_due(self) -> int | None:
        """When `due` will next have something, or None."""

    def pay(self, payment_id: str, now: int, *, amount_minor: int | None = None) -> None:
        """Pay a trade as its payer would (scan and confirm). Raises LookupError when there is no such trade."""
