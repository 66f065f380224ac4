"""How refusals are said: one code for each reason, details that always fit, texts without a value in them."""

from __future__ import annotations

import pytest
from google.rpc import error_details_pb2, status_pb2

from paycore.core.refusals import Reason, Refused
from paycore.rpc import refusals
from paycore.rpc.refusals import CODES, MOST_DETAIL_BYTES, MOST_VIOLATIONS, RETRY_SECONDS, Invalid, Violation, status_of


def read(refused: Refused) -> tuple[status_pb2.Status, list[object]]:
    status = status_pb2.Status.FromString(status_of(refused).details)
    details: list[object] = []
    for packed in status.details:
        for kind in (error_details_pb2.ErrorInfo, error_details_pb2.BadRequest, error_details_pb2.RetryInfo):
            found = kind()
            if packed.Unpack(found):
                details.append(found)
    return status, details


def test_every_reason_has_exactly_one_code() -> None:
    named = [name for names in refusals._CODES.values() for name in names.split()]
    assert sorted(named) == sorted(Reason)
    assert set(CODES) == set(Reason)


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (Reason.RECEIPT_WRONG_APP, "INVALID_ARGUMENT"),
        (Reason.RECEIPT_WRONG_ENV, "INVALID_ARGUMENT"),
        (Reason.RECEIPT_WRONG_ACCOUNT, "PERMISSION_DENIED"),
        (Reason.RECEIPT_REVOKED, "FAILED_PRECONDITION"),
    ],
)
def test_a_receipt_that_is_refused_has_the_code_that_was_agreed(reason: Reason, code: str) -> None:
    assert CODES[reason].name == code


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_can_be_said(reason: Reason) -> None:
    status, details = read(Refused(reason, "Fixed words.", order_id="or1"))
    assert status.code == CODES[reason].value[0]
    assert status.message == "Fixed words."
    info, *rest = details
    assert isinstance(info, error_details_pb2.ErrorInfo)
    assert (info.reason, info.domain, dict(info.metadata)) == (reason.value, "paycore", {"order_id": "or1"})
    assert [type(detail).__name__ for detail in rest] == (["RetryInfo"] if reason in RETRY_SECONDS else [])


def test_a_refusal_says_itself_when_to_ask_again() -> None:
    _, details = read(Refused(Reason.RATE_LIMITED, "Later.", retry_after_seconds=2.25))
    [_, retry] = details
    assert isinstance(retry, error_details_pb2.RetryInfo)
    assert (retry.retry_delay.seconds, retry.retry_delay.nanos) == (2, 250_000_000)


def test_at_most_twenty_fields_are_named_with_their_own_reasons() -> None:
    wrong = [Violation(f"line_items[{i}].name", Reason.FIELD_TOO_LONG, "is too long") for i in range(50)]
    refused = Invalid(
        [Violation("subject", Reason.ILLEGAL_CHARACTER, "contains a character that is not allowed"), *wrong]
    )
    assert refused.reason is Reason.ILLEGAL_CHARACTER
    _, details = read(refused)
    [_, bad] = details
    assert isinstance(bad, error_details_pb2.BadRequest)
    assert len(bad.field_violations) == MOST_VIOLATIONS
    assert (bad.field_violations[0].field, bad.field_violations[0].reason) == ("subject", "ILLEGAL_CHARACTER")


def test_details_never_outgrow_what_metadata_can_carry() -> None:
    wrong = [Violation("f" * 500, Reason.FIELD_TOO_LONG, "t" * 500) for _ in range(20)]
    refused = Invalid(wrong)
    refused.details = {f"detail_{i}": "长" * 5_000 for i in range(30)}
    assert len(status_of(refused).details) <= MOST_DETAIL_BYTES
