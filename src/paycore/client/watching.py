"""Watching as thinking: what a message of a stream means for what the reader has seen, and when to open the stream again.

No I/O, no clock, no chance of its own: the two clients feed it, sleep for it and draw its random numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Generic, TypeVar

import grpc

from paycore.client.errors import PaycoreError, Unavailable, is_transient
from paycore.v1 import cashier_pb2, common_pb2, order_pb2, refund_pb2

M = TypeVar("M")
"""The message of a stream."""

DEFAULT_HEARTBEAT_SECONDS = 15
PATIENCE_SECONDS = 300.0
"""How long a watch goes on trying without hearing anything before it gives up."""


class Verdict(Enum):
    """What to do about a message."""

    SHOW = "show"
    """It is news; give it to the reader."""
    SKIP = "skip"
    """It is a sign of life, or was seen before."""
    REOPEN = "reopen"
    """Something is missing before it, or the stream ended and goes on elsewhere."""
    FINISH = "finish"
    """Nothing more can happen."""


class Follow(Generic[M]):
    """What a reader has seen of one stream: no message twice, none missing, whatever the connection does."""

    service: str
    method: str

    def __init__(self, request: Any, seen: int | None) -> None:
        self._request = request
        self.seen = seen

    @property
    def silence_seconds(self) -> float:
        """How long a living stream can be quiet at most: two heartbeats and a half."""
        return 2.5 * (self._request.heartbeat_seconds or DEFAULT_HEARTBEAT_SECONDS)

    def request(self) -> Any:
        """What to open the stream with now: from behind what was seen last."""
        request = type(self._request)()
        request.CopyFrom(self._request)
        if self.seen is not None:
            request.resume_after = self.seen
        return request

    def take(self, message: M) -> Verdict:
        """Judge the next message and remember how far it leads."""
        kind = message.WhichOneof("message")  # type: ignore[attr-defined]
        if kind == "end":
            is_final = message.end.reason == common_pb2.END_REASON_FINAL  # type: ignore[attr-defined]
            return Verdict.FINISH if is_final and self.has_all(message) else Verdict.REOPEN
        if kind is None:  # a kind of message that is newer than this client
            return Verdict.SKIP
        return self.judge(kind, message)

    def judge(self, kind: str, message: M) -> Verdict:
        """Judge a message that is not an end."""
        raise NotImplementedError

    def has_all(self, message: M) -> bool:
        """Whether nothing is missing before this last message."""
        return True


class OrderFollow(Follow[order_pb2.WatchOrderResponse]):
    """One order: a snapshot, then every event, each one version further."""

    service = "OrderService"
    method = "WatchOrder"

    def judge(self, kind: str, message: order_pb2.WatchOrderResponse) -> Verdict:
        if kind in ("snapshot", "resync"):
            return self._whole(message.version)
        if kind == "heartbeat":
            return Verdict.SKIP if message.version == self.seen else self._strange(message.version)
        if self.seen is not None and message.version == self.seen + 1 == message.event.version:
            self.seen = message.version
            return Verdict.SHOW
        return self._strange(message.version)

    def has_all(self, message: order_pb2.WatchOrderResponse) -> bool:
        return message.version == self.seen

    def _whole(self, version: int) -> Verdict:
        """A whole order replaces what was seen, but never takes the reader back."""
        if self.seen is not None and version <= self.seen:
            return Verdict.SKIP
        self.seen = version
        return Verdict.SHOW

    def _strange(self, version: int) -> Verdict:
        """What was seen already is left out; anything further on means that something is missing."""
        return Verdict.SKIP if self.seen is not None and version <= self.seen else Verdict.REOPEN


class StateFollow(Follow[M]):
    """Something whose whole state is sent each time it changes; only newer states are news."""

    def judge(self, kind: str, message: M) -> Verdict:
        version: int = message.version  # type: ignore[attr-defined]
        if self.seen is not None and version <= self.seen:
            return Verdict.SKIP
        if kind == "heartbeat":
            return Verdict.SKIP
        self.seen = version
        return Verdict.SHOW


class RefundFollow(StateFollow[refund_pb2.WatchRefundResponse]):
    """One refund."""

    service = "RefundService"
    method = "WatchRefund"


class SessionFollow(StateFollow[cashier_pb2.WatchCashierSessionResponse]):
    """One cashier session."""

    service = "CashierService"
    method = "WatchCashierSession"


class FeedFollow(Follow[order_pb2.WatchOrdersResponse]):
    """All events of an app. Its cursor grows with gaps, so the order of things is the server's promise."""

    service = "OrderService"
    method = "WatchOrders"

    def judge(self, kind: str, message: order_pb2.WatchOrdersResponse) -> Verdict:
        if self.seen is not None and message.cursor <= self.seen:
            return Verdict.SKIP
        self.seen = message.cursor
        return Verdict.SKIP if kind == "heartbeat" else Verdict.SHOW


def watch_order(
    order_id: str,
    *,
    resume_after: int | None = None,
    heartbeat_seconds: int = 0,
    end_policy: common_pb2.EndPolicy.ValueType = common_pb2.END_POLICY_UNSPECIFIED,
) -> OrderFollow:
    """Watch one order: its snapshot and then its events, or the events after `resume_after`, with no gap and none twice.

    Goes on over broken connections and restarted servers, and ends when nothing more can happen to the order by itself.
    A server that cannot send every event to a slow reader sends the whole order again, as `resync`.
    """
    request = order_pb2.WatchOrderRequest(order_id=order_id, heartbeat_seconds=heartbeat_seconds, end_policy=end_policy)
    return OrderFollow(request, resume_after)


def watch_orders(*, resume_after: int | None = None, heartbeat_seconds: int = 0) -> FeedFollow:
    """Watch the events of all orders of the app. Keep each message's `cursor` once it is dealt with, and resume from it.

    Without `resume_after` it begins with what happens from now on; 0 begins with the first event of all. It never ends.
    """
    return FeedFollow(order_pb2.WatchOrdersRequest(heartbeat_seconds=heartbeat_seconds), resume_after)


def watch_refund(
    refund_id: str,
    *,
    resume_after: int | None = None,
    heartbeat_seconds: int = 0,
    end_policy: common_pb2.EndPolicy.ValueType = common_pb2.END_POLICY_UNSPECIFIED,
) -> RefundFollow:
    """Watch one refund: how it stands, then each time it changes, until it has ended."""
    request = refund_pb2.WatchRefundRequest(
        refund_id=refund_id, heartbeat_seconds=heartbeat_seconds, end_policy=end_policy
    )
    return RefundFollow(request, resume_after)


def watch_cashier_session(
    session_id: str,
    *,
    resume_after: int | None = None,
    heartbeat_seconds: int = 0,
    end_policy: common_pb2.EndPolicy.ValueType = common_pb2.END_POLICY_UNSPECIFIED,
) -> SessionFollow:
    """Watch one cashier session: how it stands, then each time its order changes, until that is paid or closed for good."""
    request = cashier_pb2.WatchCashierSessionRequest(
        session_id=session_id, heartbeat_seconds=heartbeat_seconds, end_policy=end_policy
    )
    return SessionFollow(request, resume_after)


# ---------------------------------------------------------------------------------------------- waiting


@dataclass
class Pace:
    """How long to wait before a stream is opened again: longer each time, never at the same moment as everybody else.

    `draw` gives a random number from 0 to 1. Whatever the server says sets it back, unless all it says is goodbye.
    """

    draw: Callable[[], float]
    heard_at: float
    patience_seconds: float = PATIENCE_SECONDS
    first_seconds: float = 0.25
    most_seconds: float = 10.0
    failures: int = field(default=0, init=False)

    def heard(self, now: float) -> None:
        """The stream said something of use."""
        self.heard_at = now
        self.failures = 0

    def wait_seconds(self, cause: PaycoreError, now: float) -> float:
        """How long to wait now. Raises the cause when waiting cannot help, or has not helped for too long."""
        if not is_transient(cause) or now - self.heard_at > self.patience_seconds:
            raise cause
        most = min(self.most_seconds, self.first_seconds * 2.0 ** min(self.failures, 16))
        self.failures += 1
        return (cause.retry_after_seconds or 0.0) + self.draw() * most


class FellSilent(Unavailable):
    """The stream was quiet for longer than a living one can be; the connection may lead nowhere."""

    def __init__(self) -> None:
        super().__init__(grpc.StatusCode.UNAVAILABLE, "the stream fell silent")


def ended_early() -> Unavailable:
    """The stream ended, or something was missing in it; it goes on when it is opened again."""
    return Unavailable(grpc.StatusCode.UNAVAILABLE, "the stream ended before its end")
