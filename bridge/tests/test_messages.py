"""Messages: one string out, one string in, and nothing half read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from paycore_bridge import ClientOutcome, StepKind, contract
from paycore_bridge.contract import ERRORS, EXCHANGES, ErrorCode, EventType, Method, NextMove
from paycore_bridge.declaration import ChannelBridge, Meaning, ResultTable
from paycore_bridge.messages import (
    BadMessage,
    answer,
    call,
    claim_of,
    event,
    read_answer,
    read_call,
    read_claim,
    refuse,
)
from paycore_bridge.schema import compile_schema

from .test_schema import mutations

ID = "0123456789abcdef"
TABLE = ResultTable.of(
    StepKind.SDK, "shop", {"0": ClientOutcome.SUCCESS_CLAIMED, "1": Meaning(ClientOutcome.CANCELLED, "user")}
)
PARAMS: dict[Method, dict[str, Any]] = {
    Method.HELLO: {"page": {"origin": "https://pay.example"}},
    Method.PAY: {"envelope": "a.b.c"},
    Method.RESUME: {"payment_id": "pa_1"},
    Method.ACK: {"payment_id": "pa_1"},
    Method.FINISH: {"transaction_id": "tr_1"},
    Method.UNFINISHED: {},
    Method.CLOSE: {"payment_id": "pa_1"},
}
CLAIM = claim_of("pa_1", step=0, source="sdk:shop", code="1", table=TABLE.as_json(), data="<raw>")
RESULTS: dict[Method, dict[str, Any]] = {
    Method.HELLO: {
        "v": ["1.0"],
        "shell": {"name": "Shop", "version": "8.3.1", "os": "ios"},
        "methods": [method.value for method in Method],
        "pending": ["pa_1"],
        "channels": {"shop": {"installed": None, "sdk": "15.8"}},
        "capabilities": ["shop.sdk"],
    },
    Method.PAY: CLAIM,
    Method.RESUME: CLAIM,
    Method.ACK: {"v": "1.0"},
    Method.FINISH: {"v": "1.0", "finished": True},
    Method.UNFINISHED: {
        "v": "1.0",
        "transactions": [{"transaction_id": "t", "evidence": {"type": "storekit2_jws", "value": "a.b.c"}}],
    },
    Method.CLOSE: {"v": "1.0", "closed": False},
}


@pytest.mark.parametrize("method", list(Method))
def test_every_method_goes_and_comes_as_one_string(method: Method) -> None:
    text = call(method, PARAMS[method], message_id=ID)
    assert "\n" not in text
    read = read_call(text)
    assert (read.id, read.method) == (ID, method)
    assert read.params == {"v": "1.0", **PARAMS[method]}
    back = read_answer(answer(method, RESULTS[method], message_id=ID), method)
    assert back.result == RESULTS[method]
    assert back.failed is None


@pytest.mark.parametrize("code", list(ErrorCode))
def test_every_error_is_told_and_says_what_the_page_does(code: ErrorCode) -> None:
    back = read_answer(refuse(code, message_id=ID, data={"payment_id": "pa_1"}), Method.PAY)
    assert back.failed is not None
    assert back.failed.code == code
    assert isinstance(ERRORS[code].next_move, NextMove)
    assert read_answer(refuse(code, message_id=None), Method.PAY).id is None


def test_every_method_is_described_and_every_error_has_a_rule() -> None:
    assert set(EXCHANGES) == set(Method)
    assert set(ERRORS) == set(ErrorCode)
    used = {code for exchange in EXCHANGES.values() for code in exchange.errors}
    assert used | set(contract._FRAME_ERRORS) | {ErrorCode.TIMEOUT} == set(ErrorCode)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", ErrorCode.PARSE_ERROR),
        ("{", ErrorCode.PARSE_ERROR),
        ('{"a":1,"a":2}', ErrorCode.PARSE_ERROR),
        ("[]", ErrorCode.INVALID_REQUEST),
        ("{}", ErrorCode.INVALID_REQUEST),
        ("x" * 70_000, ErrorCode.INVALID_REQUEST),
        ('{"jsonrpc":"1.0","id":"0123456789abcdef","method":"paycore.ack"}', ErrorCode.INVALID_REQUEST),
        ('{"jsonrpc":"2.0","method":"paycore.ack","params":{"v":"1.0"}}', ErrorCode.INVALID_REQUEST),
        ('{"jsonrpc":"2.0","id":1,"method":"paycore.ack"}', ErrorCode.INVALID_REQUEST),
        ('{"jsonrpc":"2.0","id":"0123456789abcdef","method":"toString"}', ErrorCode.METHOD_NOT_FOUND),
        ('{"jsonrpc":"2.0","id":"0123456789abcdef","method":"paycore.ack","params":{"v":"2.0"}}', ErrorCode.VERSION_UNSUPPORTED),
        ('{"jsonrpc":"2.0","id":"0123456789abcdef","method":"paycore.ack","params":{"v":"1.0"}}', ErrorCode.INVALID_PARAMS),
        ('{"jsonrpc":"2.0","id":"0123456789abcdef","method":"paycore.ack"}', ErrorCode.INVALID_PARAMS),
        ('{"jsonrpc":"2.0","id":"short","method":"paycore.unfinished","params":{"v":"1.0"}}', ErrorCode.INVALID_REQUEST),
        ('{"jsonrpc":"2.0","id":"0123456789abcdef","method":"paycore.unfinished","params":{"v":"1.0"},"x":1}', ErrorCode.INVALID_REQUEST),
    ],
)  # fmt: skip
def test_what_is_no_call_is_answered_with_its_code(text: str, code: ErrorCode) -> None:
    with pytest.raises(BadMessage) as caught:
        read_call(text)
    assert caught.value.code is code


def test_a_field_that_is_not_known_does_not_matter() -> None:
    assert read_call(call(Method.ACK, {"payment_id": "p", "newer": {"x": 1}}, message_id=ID)).params["newer"] == {
        "x": 1
    }
    assert read_answer(answer(Method.ACK, {"v": "1.3", "newer": 1}, message_id=ID), Method.ACK).result


def test_what_may_not_be_said_is_not_written() -> None:
    for wrong in ({}, {"payment_id": ""}, {"payment_id": "a b"}, {"payment_id": 5}):
        with pytest.raises(BadMessage):
            call(Method.RESUME, wrong, message_id=ID)
    with pytest.raises(BadMessage):
        answer(Method.PAY, {**CLAIM, "outcome": "paid"}, message_id=ID)
    with pytest.raises(BadMessage):
        call(Method.ACK, {"payment_id": "p", "price": 1.5}, message_id=ID)


def test_a_claim_is_read_and_read_again_by_our_own_table() -> None:
    claim = read_claim(CLAIM)
    assert (claim.outcome, claim.reason, claim.code, claim.data) == (ClientOutcome.CANCELLED, "user", "1", "<raw>")
    lying = read_claim({**CLAIM, "outcome": "success_claimed"})
    bridge = ChannelBridge.of("shop", results=[TABLE])
    assert lying.reread([bridge]) == Meaning(ClientOutcome.CANCELLED, "user")
    assert lying.reread([]).outcome is ClientOutcome.UNKNOWN
    proof = read_claim({**CLAIM, "evidence": {"type": "storekit2_jws", "value": "a.b.c"}})
    assert proof.evidence == ("storekit2_jws", "a.b.c")
    with pytest.raises(BadMessage):
        read_claim({"outcome": "success_claimed"})


@pytest.mark.parametrize("kind", list(EventType))
def test_events_are_told_without_an_id(kind: EventType) -> None:
    plain = json.loads(event(kind, claim=CLAIM))
    assert "id" not in plain
    assert plain["params"]["type"] == kind.value


SAMPLES = (
    [(f"{contract.short(method)}.call", json.loads(call(method, PARAMS[method], message_id=ID))) for method in Method]
    + [(f"{contract.short(method)}.answer", json.loads(answer(method, RESULTS[method], message_id=ID))) for method in Method]
    + [("error", json.loads(refuse(ErrorCode.BUSY, message_id=ID))), ("event", json.loads(event(EventType.RESULT, claim=CLAIM)))]
)  # fmt: skip


@pytest.mark.parametrize(("name", "sample"), SAMPLES, ids=[name for name, _ in SAMPLES])
def test_an_independent_validator_says_the_same(name: str, sample: Any) -> None:
    schema = contract.SCHEMAS[name]
    Draft202012Validator.check_schema(schema)
    theirs, ours = Draft202012Validator(schema), compile_schema(schema)
    assert theirs.is_valid(sample)
    verdicts = set()

    @settings(max_examples=60, deadline=None)
    @given(mutations(sample))
    def compare(mutated: Any) -> None:
        fits = next(ours(mutated), None) is None
        assert fits == theirs.is_valid(mutated)
        verdicts.add(fits)

    compare()
    assert False in verdicts
