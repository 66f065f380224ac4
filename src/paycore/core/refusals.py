"""Refused: what a caller may do better, with a stable reason and the variable parts apart from the text."""

from enum import StrEnum
from typing import Any


class Reason(StrEnum):
    """Every reason that the core, the engine and the transports give. `rpc/refusals.py` maps each to one gRPC code.

    The names are those of `Reason` in protos/paycore/v1/reason.proto without the prefix; a test keeps them in step.
    """

    # what the order forbids
    ORDER_ALREADY_PAID = "ORDER_ALREADY_PAID"
    ORDER_CLOSED = "ORDER_CLOSED"
    ORDER_CLOSING = "ORDER_CLOSING"
    ORDER_EXPIRED = "ORDER_EXPIRED"
    ORDER_NOT_PAID = "ORDER_NOT_PAID"
    ORDER_NOT_PAYABLE = "ORDER_NOT_PAYABLE"
    PAYMENT_IN_PROGRESS = "PAYMENT_IN_PROGRESS"
    TOO_MANY_ATTEMPTS = "TOO_MANY_ATTEMPTS"
    REFUND_EXCEEDS_BALANCE = "REFUND_EXCEEDS_BALANCE"
    REFUND_UNSUPPORTED = "REFUND_UNSUPPORTED"
    REFUND_WINDOW_CLOSED = "REFUND_WINDOW_CLOSED"
    REFUND_COUNT_LIMIT = "REFUND_COUNT_LIMIT"
    REFUND_NOT_RETRYABLE = "REFUND_NOT_RETRYABLE"
    CURRENCY_MISMATCH = "CURRENCY_MISMATCH"
    ANOMALY_RESOLVED = "ANOMALY_RESOLVED"
    REMEDY_UNSUPPORTED = "REMEDY_UNSUPPORTED"
    ETAG_MISMATCH = "ETAG_MISMATCH"
    # evidence
    WRONG_ACCOUNT = "WRONG_ACCOUNT"
    EVIDENCE_MALFORMED = "EVIDENCE_MALFORMED"
    EVIDENCE_UNTRUSTED = "EVIDENCE_UNTRUSTED"
    EVIDENCE_USED = "EVIDENCE_USED"
    EVIDENCE_MISMATCH = "EVIDENCE_MISMATCH"
    RECEIPT_WRONG_APP = "RECEIPT_WRONG_APP"
    RECEIPT_WRONG_ENV = "RECEIPT_WRONG_ENV"
    RECEIPT_WRONG_ACCOUNT = "RECEIPT_WRONG_ACCOUNT"
    RECEIPT_REVOKED = "RECEIPT_REVOKED"
    # sameness
    ORDER_NO_CONFLICT = "ORDER_NO_CONFLICT"
    REFUND_NO_CONFLICT = "REFUND_NO_CONFLICT"
    IDEMPOTENCY_CONFLICT = "IDEMPOTENCY_CONFLICT"
    # not there (or another tenant's: the answer is the same)
    ORDER_NOT_FOUND = "ORDER_NOT_FOUND"
    PAYMENT_NOT_FOUND = "PAYMENT_NOT_FOUND"
    REFUND_NOT_FOUND = "REFUND_NOT_FOUND"
    SESSION_NOT_FOUND = "SESSION_NOT_FOUND"
    ANOMALY_NOT_FOUND = "ANOMALY_NOT_FOUND"
    ACCOUNT_NOT_FOUND = "ACCOUNT_NOT_FOUND"
    CHANNEL_NOT_FOUND = "CHANNEL_NOT_FOUND"
    # methods of payment
    METHOD_UNKNOWN = "METHOD_UNKNOWN"
    METHOD_UNAVAILABLE = "METHOD_UNAVAILABLE"
    PAYER_REQUIRED = "PAYER_REQUIRED"
    INPUT_REQUIRED = "INPUT_REQUIRED"
    QUOTE_CHANGED = "QUOTE_CHANGED"
    BRIDGE_UNSUPPORTED = "BRIDGE_UNSUPPORTED"
    # limits of an app
    AMOUNT_TOO_LARGE = "AMOUNT_TOO_LARGE"
    CURRENCY_UNSUPPORTED = "CURRENCY_UNSUPPORTED"
    CURRENCY_NOT_ENABLED = "CURRENCY_NOT_ENABLED"
    AMOUNT_MISMATCH = "AMOUNT_MISMATCH"
    BAD_EXPIRY = "BAD_EXPIRY"
    RETURN_URL_FORBIDDEN = "RETURN_URL_FORBIDDEN"
    # the form of a request
    MALFORMED_REQUEST = "MALFORMED_REQUEST"
    REQUEST_TOO_LARGE = "REQUEST_TOO_LARGE"
    FIELD_REQUIRED = "FIELD_REQUIRED"
    FIELD_TOO_LONG = "FIELD_TOO_LONG"
    ILLEGAL_CHARACTER = "ILLEGAL_CHARACTER"
    UNKNOWN_ENUM = "UNKNOWN_ENUM"
    OUT_OF_BOUNDS = "OUT_OF_BOUNDS"
    BAD_TIMESTAMP = "BAD_TIMESTAMP"
    BAD_IDEMPOTENCY_KEY = "BAD_IDEMPOTENCY_KEY"
    BAD_ORDER_NO = "BAD_ORDER_NO"
    BAD_ID = "BAD_ID"
    BAD_METADATA = "BAD_METADATA"
    BAD_CLIENT_IP = "BAD_CLIENT_IP"
    BAD_PAGE_SIZE = "BAD_PAGE_SIZE"
    BAD_PAGE_TOKEN = "BAD_PAGE_TOKEN"
    BAD_RANGE = "BAD_RANGE"
    BAD_RESUME = "BAD_RESUME"
    RESUME_AHEAD = "RESUME_AHEAD"
    AMOUNT_NOT_POSITIVE = "AMOUNT_NOT_POSITIVE"
    NOTIFY_URL_FORBIDDEN = "NOTIFY_URL_FORBIDDEN"
    # who is asking
    CREDENTIALS_MISSING = "CREDENTIALS_MISSING"
    CREDENTIALS_INVALID = "CREDENTIALS_INVALID"
    CREDENTIALS_MISMATCH = "CREDENTIALS_MISMATCH"
    SCOPE_MISSING = "SCOPE_MISSING"
    APP_SUSPENDED = "APP_SUSPENDED"
    SESSION_INVALID = "SESSION_INVALID"
    SESSION_EXPIRED = "SESSION_EXPIRED"
    # how busy we are
    RATE_LIMITED = "RATE_LIMITED"
    TOO_MANY_STREAMS = "TOO_MANY_STREAMS"
    SLOW_CONSUMER = "SLOW_CONSUMER"
    SHUTTING_DOWN = "SHUTTING_DOWN"
    STORE_UNAVAILABLE = "STORE_UNAVAILABLE"
    CONFLICT_RETRY = "CONFLICT_RETRY"
    TOOK_TOO_LONG = "TOOK_TOO_LONG"
    INTERNAL = "INTERNAL"


class Refused(Exception):
    """The request, or the order's state, forbids what was asked. Nothing was changed.

    `reason` is stable and for programs; the text is one English sentence for people without any value in it;
    `details` holds the variable parts (ids, field names, limits), never a secret. `retry_after_seconds` is set where
    asking again later is safe and may succeed. `fields` names the fields of the request that are wrong.
    """

    def __init__(
        self,
        reason: Reason,
        text: str,
        *,
        retry_after_seconds: float | None = None,
        fields: tuple[str, ...] = (),
        **details: Any,
    ) -> None:
        super().__init__(text)
        self.reason = reason
        self.text = text
        self.retry_after_seconds = retry_after_seconds
        self.fields = fields
        self.details = {name: str(value) for name, value in details.items()}

    def __repr__(self) -> str:
        return f"Refused({self.reason})"
