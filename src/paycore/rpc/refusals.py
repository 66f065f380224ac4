"""How a refusal is said over gRPC: one code for each reason, and google.rpc details that always fit."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc import StatusCode

from paycore.core.refusals import Reason, Refused
from paycore.engine.offers import QuoteChanged
from paycore.rpc.quotes import quote_message

DOMAIN: Final = "paycore"
MOST_VIOLATIONS: Final = 20
MOST_DETAIL_BYTES: Final = 4096
"""Metadata of some 8 KiB is refused at random on its way to a client, so the details stay well below."""
MOST_METADATA_BYTES: Final = 2048
MOST_VALUE_CHARACTERS: Final = 256

_CODES: Final[dict[StatusCode, str]] = {
    StatusCode.INVALID_ARGUMENT: """
        MALFORMED_REQUEST FIELD_REQUIRED FIELD_TOO_LONG ILLEGAL_CHARACTER UNKNOWN_ENUM OUT_OF_BOUNDS BAD_TIMESTAMP
        BAD_IDEMPOTENCY_KEY BAD_ORDER_NO BAD_ID BAD_METADATA BAD_CLIENT_IP BAD_PAGE_SIZE BAD_PAGE_TOKEN BAD_RANGE BAD_RESUME
        AMOUNT_NOT_POSITIVE AMOUNT_TOO_LARGE AMOUNT_MISMATCH CURRENCY_UNSUPPORTED CURRENCY_MISMATCH BAD_EXPIRY
        RETURN_URL_FORBIDDEN NOTIFY_URL_FORBIDDEN METHOD_UNKNOWN PAYER_REQUIRED INPUT_REQUIRED EVIDENCE_MALFORMED
        EVIDENCE_UNTRUSTED RECEIPT_WRONG_APP RECEIPT_WRONG_ENV
    """,
    StatusCode.FAILED_PRECONDITION: """
        ORDER_ALREADY_PAID ORDER_CLOSED ORDER_CLOSING ORDER_EXPIRED ORDER_NOT_PAID ORDER_NOT_PAYABLE PAYMENT_IN_PROGRESS
        REFUND_EXCEEDS_BALANCE REFUND_UNSUPPORTED REFUND_WINDOW_CLOSED REFUND_COUNT_LIMIT REFUND_NOT_RETRYABLE ANOMALY_RESOLVED
        REMEDY_UNSUPPORTED METHOD_UNAVAILABLE QUOTE_CHANGED BRIDGE_UNSUPPORTED CURRENCY_NOT_ENABLED EVIDENCE_MISMATCH
        RECEIPT_REVOKED
    """,
    StatusCode.ALREADY_EXISTS: "ORDER_NO_CONFLICT REFUND_NO_CONFLICT IDEMPOTENCY_CONFLICT EVIDENCE_USED",
    StatusCode.ABORTED: "ETAG_MISMATCH CONFLICT_RETRY",
    StatusCode.NOT_FOUND: """
        ORDER_NOT_FOUND PAYMENT_NOT_FOUND REFUND_NOT_FOUND SESSION_NOT_FOUND ANOMALY_NOT_FOUND ACCOUNT_NOT_FOUND
        CHANNEL_NOT_FOUND
    """,
    StatusCode.OUT_OF_RANGE: "RESUME_AHEAD",
    StatusCode.UNAUTHENTICATED: """
        CREDENTIALS_MISSING CREDENTIALS_INVALID CREDENTIALS_MISMATCH SESSION_INVALID SESSION_EXPIRED
    """,
    StatusCode.PERMISSION_DENIED: "SCOPE_MISSING APP_SUSPENDED WRONG_ACCOUNT RECEIPT_WRONG_ACCOUNT",
    StatusCode.RESOURCE_EXHAUSTED: "REQUEST_TOO_LARGE RATE_LIMITED TOO_MANY_STREAMS TOO_MANY_ATTEMPTS SLOW_CONSUMER",
    StatusCode.UNAVAILABLE: "SHUTTING_DOWN STORE_UNAVAILABLE",
    StatusCode.DEADLINE_EXCEEDED: "TOOK_TOO_LONG",
    StatusCode.INTERNAL: "INTERNAL",
}

CODES: Final[dict[Reason, StatusCode]] = {
    Reason(name): code for code, names in _CODES.items() for name in names.split()
}
"""The code of every reason. A test proves that none is missing and none is named twice."""

RETRY_SECONDS: Final[dict[Reason, float]] = {
    Reason.PAYMENT_IN_PROGRESS: 2.0,
    Reason.RATE_LIMITED: 1.0,
    Reason.TOO_MANY_STREAMS: 5.0,
    Reason.SLOW_CONSUMER: 1.0,
    Reason.SHUTTING_DOWN: 0.2,
    Reason.STORE_UNAVAILABLE: 1.0,
    Reason.CONFLICT_RETRY: 0.1,
    Reason.TOOK_TOO_LONG: 1.0,
}
"""Where asking again is safe (with the same request_id), and after how long unless the refusal says it itself."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One field that is wrong: its path without any value in it, the reason, and a fixed sentence."""

    field: str
    reason: str
    text: str


class Invalid(Refused):
    """The request itself is wrong, whatever the state: every field that is wrong, the first one first."""

    def __init__(self, violations: Iterable[Violation]) -> None:
        self.violations = tuple(violations)
        first = self.violations[0]
        super().__init__(
            Reason(first.reason),
            "The request has a field that is not valid; the details name it.",
            fields=tuple(violation.field for violation in self.violations),
        )


@dataclass(frozen=True, slots=True)
class Status:
    """A refusal ready to be sent: the code, the fixed text and the serialised google.rpc.Status."""

    code: StatusCode
    text: str
    details: bytes


def status_of(refused: Refused) -> Status:
    """Say a refusal in gRPC's words. The details are at most 4 KiB, whatever was refused."""
    code = CODES[refused.reason]
    details: list[Message] = [_error_info(refused)]
    seconds = refused.retry_after_seconds or RETRY_SECONDS.get(refused.reason)
    if seconds is not None:
        details.append(error_details_pb2.RetryInfo(retry_delay=_duration(seconds)))
    if isinstance(refused, QuoteChanged):
        details.append(quote_message(refused.quote))
    violations = _violations(refused)
    while True:
        wrong = [error_details_pb2.BadRequest(field_violations=violations)] if violations else []
        packed = _pack(code, refused.text, [*details, *wrong])
        if len(packed) <= MOST_DETAIL_BYTES or not violations:
            return Status(code, refused.text, packed)
        violations = violations[: len(violations) // 2]


def _error_info(refused: Refused) -> error_details_pb2.ErrorInfo:
    metadata, size = {}, 0
    for name, value in refused.details.items():
        shown = value[:MOST_VALUE_CHARACTERS]
        size += len(name.encode()) + len(shown.encode()) + 16
        if size > MOST_METADATA_BYTES:
            break
        metadata[name] = shown
    return error_details_pb2.ErrorInfo(reason=refused.reason, domain=DOMAIN, metadata=metadata)


def _violations(refused: Refused) -> list[error_details_pb2.BadRequest.FieldViolation]:
    found = (
        refused.violations
        if isinstance(refused, Invalid)
        else [Violation(name, refused.reason, refused.text) for name in refused.fields]
    )
    return [
        error_details_pb2.BadRequest.FieldViolation(
            field=wrong.field[:128], reason=wrong.reason, description=wrong.text[:128]
        )
        for wrong in found[:MOST_VIOLATIONS]
    ]


def _pack(code: StatusCode, text: str, details: list[Message]) -> bytes:
    status = status_pb2.Status(code=code.value[0], message=text)
    for detail in details:
        packed = Any()
        packed.Pack(detail)
        status.details.append(packed)
    return bytes(status.SerializeToString())


def _duration(seconds: float) -> Duration:
    whole, nanos = divmod(round(seconds * 1_000_000_000), 1_000_000_000)
    return Duration(seconds=whole, nanos=nanos)
