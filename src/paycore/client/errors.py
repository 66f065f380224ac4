"""What a call raises: the server's reason, kept apart from its text, and what can be done about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from paycore.v1 import cashier_pb2

if TYPE_CHECKING:
    from google.protobuf.any_pb2 import Any as Detail

DOMAIN = "paycore"


@dataclass(frozen=True, slots=True)
class Violation:
    """One field of a request that is wrong, and why."""

    field: str
    reason: str
    text: str


class PaycoreError(Exception):
    """A call that was refused or not answered.

    `reason` is stable and for programs (the names are those of paycore.v1.Reason without the prefix); it is empty when the
    error comes from the network instead of the server. `retry_after_seconds` is set where asking again is safe and may
    succeed. `request_id` is the one that was sent: ask again with it, and nothing happens twice. `quote` is the price as it
    is now, where a payer saw another one (QUOTE_CHANGED).
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        text: str,
        *,
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        violations: tuple[Violation, ...] = (),
        retry_after_seconds: float | None = None,
        request_id: str = "",
        quote: cashier_pb2.Quote | None = None,
    ) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.reason = reason
        self.metadata = dict(metadata or {})
        self.violations = violations
        self.retry_after_seconds = retry_after_seconds
        self.request_id = request_id
        self.quote = quote

    def __str__(self) -> str:
        fields = "".join(f"; {violation.field}: {violation.reason or violation.text}" for violation in self.violations)
        return f"{self.reason or self.code.name}: {self.text}{fields}"


class InvalidRequest(PaycoreError):
    """The request is wrong whatever the state of things; `violations` names the fields."""


class NotFound(PaycoreError):
    """There is no such thing, or it belongs to somebody else."""


class Conflict(PaycoreError):
    """The same key or number was used with other content, or others changed the same thing meanwhile."""


class Forbidden(PaycoreError):
    """The state of things forbids it now: the order is paid, the balance too small, the method not usable."""


class Denied(PaycoreError):
    """The credentials do not hold or do not allow it."""


class Unavailable(PaycoreError):
    """No answer, or too busy for one. What was asked may have happened: ask again with the same request_id."""


_KINDS: dict[grpc.StatusCode, type[PaycoreError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequest,
    grpc.StatusCode.OUT_OF_RANGE: InvalidRequest,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.ALREADY_EXISTS: Conflict,
    grpc.StatusCode.ABORTED: Conflict,
    grpc.StatusCode.FAILED_PRECONDITION: Forbidden,
    grpc.StatusCode.UNAUTHENTICATED: Denied,
    grpc.StatusCode.PERMISSION_DENIED: Denied,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: Unavailable,
    grpc.StatusCode.CANCELLED: Unavailable,
}

_TRANSIENT_REASONS = frozenset(
    {"CONFLICT_RETRY", "RATE_LIMITED", "SHUTTING_DOWN", "SLOW_CONSUMER", "STORE_UNAVAILABLE", "TOO_MANY_STREAMS"}
)
_TRANSIENT_CODES = frozenset(
    {
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.UNKNOWN,
    }
)


def from_rpc(error: grpc.RpcError, request_id: str = "") -> PaycoreError:
    """The error of a call, sync or async, as one of ours."""
    call: Any = error
    code = call.code() or grpc.StatusCode.UNKNOWN
    details = {detail.TypeName(): detail for detail in _details(call)}
    info = _read(details, error_details_pb2.ErrorInfo())
    wrong = _read(details, error_details_pb2.BadRequest())
    retry = _read(details, error_details_pb2.RetryInfo())
    quote = _read(details, cashier_pb2.Quote())
    kind = _KINDS.get(code, PaycoreError)
    return kind(
        code,
        call.details() or "no answer",
        reason=info.reason if info.domain == DOMAIN else "",
        metadata=info.metadata if info.domain == DOMAIN else None,
        violations=tuple(Violation(each.field, each.reason, each.description) for each in wrong.field_violations),
        retry_after_seconds=retry.retry_delay.ToTimedelta().total_seconds() if retry.HasField("retry_delay") else None,
        request_id=request_id,
        quote=quote if quote.quote_token else None,
    )


def is_transient(error: PaycoreError) -> bool:
    """Whether opening the same stream again later may succeed. A server of ours says so by its reason, a network by its code."""
    return error.reason in _TRANSIENT_REASONS if error.reason else error.code in _TRANSIENT_CODES


def _details(call: Any) -> list[Detail]:
    try:
        status = rpc_status.from_call(call)
    except ValueError:  # its status contradicts the call's: somebody between us rewrote one of them
        return []
    return [] if status is None else list(status.details)


def _read(details: Mapping[str, Detail], into: Any) -> Any:
    """The detail of this type, or an empty one."""
    detail = details.get(into.DESCRIPTOR.full_name)
    if detail is not None:
        detail.Unpack(into)
    return into
