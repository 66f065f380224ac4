"""States and error codes: each line is what WeChat Pay says and what is concluded from it."""

from __future__ import annotations

from typing import Any

import pytest

from paycore.channel import (
    AlreadyPaid,
    Closed,
    Declined,
    NotFound,
    Paid,
    PayerPaying,
    Refunded,
    RefundFailed,
    RefundNotFound,
    RefundProcessing,
    RefundRefused,
    RefundShort,
    RefundStuck,
    Reversed,
    Unknown,
    Waiting,
)
from paycore_wechatpay import reading
from paycore_wechatpay.gateway import Answer, squeezed
from paycore_wechatpay.wire import RefundRecord, Trade

from .support import vectors

STATES = {
    "SUCCESS": Paid,
    "REFUND": Paid,
    "NOTPAY": Waiting,
    "ACCEPT": Waiting,
    "USERPAYING": PayerPaying,
    "CLOSED": Closed,
    "REVOKED": Reversed,
    "PAYERROR": Declined,
    "SOMETHING_NEW": Unknown,
    "success": Unknown,
}
REFUND_STATES = {
    "SUCCESS": (Refunded, RefundProcessing),
    "PROCESSING": (RefundProcessing, RefundProcessing),
    "CLOSED": (RefundFailed, RefundFailed),
    "ABNORMAL": (RefundStuck, RefundStuck),
    "SOMETHING_NEW": (Unknown, Unknown),
}
PREPARE = {
    "ORDERPAID": AlreadyPaid,
    "ORDER_PAID": AlreadyPaid,
    "ORDER_CLOSED": Closed,
    "ORDERCLOSED": Closed,
    "OUT_TRADE_NO_USED": Declined,
    "PARAM_ERROR": Declined,
    "INVALID_REQUEST": Declined,
    "SIGN_ERROR": Declined,
    "NO_AUTH": Declined,
    "NOAUTH": Declined,
    "APPID_MCHID_NOT_MATCH": Declined,
    "MCH_NOT_EXISTS": Declined,
    "AUTH_CODE_INVALID": Declined,
    "AUTHCODEEXPIRE": Declined,
    "NOT_ENOUGH": Declined,
    "USERPAYING": PayerPaying,
    "USER_PAYING": PayerPaying,
    "FREQUENCY_LIMITED": Unknown,
    "RATELIMIT_EXCEEDED": Unknown,
    "BANK_ERROR": Unknown,
    "BANKERROR": Unknown,
    "TRADE_ERROR": Unknown,
    "A_NEW_CODE": Unknown,
}
QUERY = {
    "ORDER_NOT_EXIST": NotFound,
    "ORDERNOTEXIST": NotFound,
    "RESOURCE_NOT_EXISTS": NotFound,
    "PARAM_ERROR": Unknown,
    "SIGN_ERROR": Unknown,
    "NO_AUTH": Unknown,
    "FREQUENCY_LIMITED": Unknown,
}
CLOSE = {
    "ORDER_PAID": AlreadyPaid,
    "ORDERPAID": AlreadyPaid,
    "ORDER_CLOSED": Closed,
    "ORDERCLOSED": Closed,
    "USER_PAYING": PayerPaying,
    "ORDER_NOT_EXIST": NotFound,
    "ORDER_REVERSED": Reversed,
    "INVALID_REQUEST": Unknown,
    "FREQUENCY_LIMITED": Unknown,
}
REFUND = {
    "NOT_ENOUGH": RefundShort,
    "NOTENOUGH": RefundShort,
    "FREQUENCY_LIMITED": RefundShort,
    "RATELIMIT_EXCEED": RefundShort,
    "RATELIMIT_EXCEEDED": RefundShort,
    "USER_ACCOUNT_ABNORMAL": RefundRefused,
    "RESOURCE_NOT_EXISTS": RefundRefused,
    "INVALID_REQUEST": RefundRefused,
    "NO_AUTH": RefundRefused,
    "SIGN_ERROR": RefundRefused,
    "PARAM_ERROR": RefundRefused,
    "MCH_NOT_EXISTS": RefundRefused,
    "SYSTEM_ERROR": Unknown,
    "BANK_ERROR": Unknown,
    "A_NEW_CODE": Unknown,
}
QUERY_REFUND = {"RESOURCE_NOT_EXISTS": RefundNotFound, "SIGN_ERROR": Unknown, "FREQUENCY_LIMITED": Unknown}
TABLES: list[tuple[str, Any, dict[str, type]]] = [
    ("prepare", reading.PREPARE_REFUSALS, PREPARE),
    ("query", reading.QUERY_REFUSALS, QUERY),
    ("close", reading.CLOSE_REFUSALS, CLOSE),
    ("refund", reading.REFUND_REFUSALS, REFUND),
    ("query_refund", reading.QUERY_REFUND_REFUSALS, QUERY_REFUND),
]
ROWS = [
    pytest.param(table, code, kind, id=f"{verb} {code}")
    for verb, table, codes in TABLES
    for code, kind in codes.items()
]


def trade(state: str, **changes: Any) -> Trade:
    fields: dict[str, Any] = {
        "mchid": "1900000109",
        "out_trade_no": "py0001",
        "transaction_id": "42",
        "state": state,
        "amount_minor": 100,
        "currency": "CNY",
        "paid_at": None,
        "description": "",
    }
    return Trade(**fields | changes)


def refund(state: str) -> RefundRecord:
    return RefundRecord("", "py0001", "rf0001", "50", state, 30, "CNY", 7)


@pytest.mark.parametrize(("state", "kind"), STATES.items())
def test_a_trade_state(state: str, kind: type) -> None:
    assert type(reading.trade_finding(trade(state))) is kind


@pytest.mark.parametrize(("state", "kinds"), REFUND_STATES.items())
def test_a_refund_state(state: str, kinds: tuple[type, type]) -> None:
    """Queried, and as the answer to a send, which only says that the refund was accepted."""
    assert (type(reading.refund_finding(refund(state))), type(reading.accepted_finding(refund(state)))) == kinds


@pytest.mark.parametrize(("table", "code", "kind"), ROWS)
def test_an_error_code(table: Any, code: str, kind: type) -> None:
    for is_signed in (True, False):
        finding: Any = reading.refused(Answer(400, squeezed(code), {}, is_signed), table)
        assert finding.authenticated == is_signed, "a refusal is as certain as its signature"
        assert type(finding) is kind


@pytest.mark.parametrize(("table", "code", "kind"), ROWS)
def test_both_spellings_of_a_code_are_one(table: Any, code: str, kind: type) -> None:
    assert squeezed(code) == squeezed(code.replace("_", ""))
    assert type(reading.refused(Answer(400, squeezed(code.replace("_", "")), {}, True), table)) is kind


def test_no_table_turns_a_refusal_into_money() -> None:
    found = [finding for _, table, _ in TABLES for finding in table.values()]
    assert not any(isinstance(finding, Paid | Refunded | RefundFailed | RefundProcessing) for finding in found)


SAFE: dict[str, tuple[type, ...]] = {
    "PAID": (Paid,),
    "PENDING": (Waiting, PayerPaying),
    "CLOSED": (Closed, Reversed),
    "CLOSED_LOCALLY": (NotFound,),
    "FAILED": (Declined,),
    "NOT_FOUND": (NotFound,),
    "RETRY_LATER": (Unknown,),
    "RETRY_SAME": (Unknown,),
    "REJECTED": (Declined, Unknown),
    "QUERY": (AlreadyPaid,),
    "UNKNOWN": (Unknown,),
    "REFUND_SUCCEEDED": (Refunded,),
    "REFUND_PROCESSING": (RefundProcessing,),
    "REFUND_FAILED": (RefundFailed, RefundRefused),
    "REFUND_NEEDS_ATTENTION": (RefundStuck,),
    "REFUND_UNKNOWN": (Unknown,),
    "REFUND_RETRY_LATER": (RefundShort,),
    "REFUND_NOT_FOUND": (RefundNotFound,),
}


@pytest.mark.parametrize("entry", [entry for entry in vectors("states") if len(entry["input"]) > 1])
def test_the_given_map_of_states(entry: dict[str, Any]) -> None:
    """Which way is safe, as somebody judged who did not write this plugin."""
    assert type(conclude(entry["operation"], entry["input"])) in SAFE[entry["outcome"]], entry


def conclude(operation: str, given: dict[str, Any]) -> object:
    if "trade_state" in given:
        return reading.trade_finding(trade(given["trade_state"]))
    if "status" in given:
        return reading.refund_finding(refund(given["status"]))
    if given["http"] >= 500:
        return Unknown()
    tables = {"prepay": "prepare", "refund_query": "query_refund"}
    table = next(table for verb, table, _ in TABLES if verb == tables.get(operation, operation))
    return reading.refused(Answer(given["http"], squeezed(given["code"]), {}, True), table)
