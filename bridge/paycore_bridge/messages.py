"""The messages themselves: JSON-RPC 2.0 as one string, the only type that every bridge carries untouched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from paycore_bridge.canonical import BadJson, canonical_json, parse_json
from paycore_bridge.contract import (
    ERRORS,
    EVENT,
    MAX_MESSAGE,
    VERSION,
    ErrorCode,
    EventType,
    Method,
    check_of,
    short,
)
from paycore_bridge.declaration import ChannelBridge, Meaning, read_table
from paycore_bridge.outcomes import ClientOutcome


class BadMessage(ValueError):
    """A text that is not a message of this bridge; `code` is what a shell answers it with."""

    def __init__(self, what: str, code: ErrorCode, message_id: str | None = None) -> None:
        super().__init__(what)
        self.code = code
        self.message_id = message_id


@dataclass(frozen=True, slots=True)
class Call:
    """What a page asks."""

    id: str
    method: Method
    params: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Failed:
    """A call that was not executed, and why."""

    code: int
    message: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for a call: a result or a failure."""

    id: str | None
    result: Mapping[str, Any] | None = None
    failed: Failed | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """What a device says happened to a payment. Only ever a reason to ask the channel sooner."""

    payment_id: str
    outcome: ClientOutcome
    final: bool = True
    step: int | None = None
    reason: str = ""
    source: str = ""
    code: str = ""
    data: str = ""
    evidence: tuple[str, str] | None = None
    """What proves it, as type and value, where there is such a thing (a store's signed transaction)."""

    def reread(self, bridges: Iterable[ChannelBridge]) -> Meaning:
        """What the raw code means by our own tables, whatever the shell made of it. UNKNOWN where nobody lists it."""
        found = [bridge.read(self.source, self.code) for bridge in bridges if bridge.table(self.source)]
        return found[0] if found else Meaning(ClientOutcome.UNKNOWN, "unlisted_source")


def call(method: Method, params: Mapping[str, Any] | None = None, *, message_id: str) -> str:
    """A call as one string. Raises BadMessage for parameters that do not fit the method."""
    plain = {"jsonrpc": "2.0", "id": message_id, "method": method.value, "params": {"v": VERSION, **(params or {})}}
    return _written(plain, f"{short(method)}.call", ErrorCode.INVALID_PARAMS)


def answer(method: Method, result: Mapping[str, Any], *, message_id: str) -> str:
    """The result of a call as one string."""
    return _written(
        {"jsonrpc": "2.0", "id": message_id, "result": dict(result)}, f"{short(method)}.answer", ErrorCode.INTERNAL
    )


def refuse(code: ErrorCode, *, message_id: str | None, data: Mapping[str, Any] | None = None) -> str:
    """The answer to a call that was not executed; without an id where the call had none that could be read."""
    error: dict[str, Any] = {"code": int(code), "message": ERRORS[code].meaning}
    plain: dict[str, Any] = {"jsonrpc": "2.0", "error": error | ({"data": dict(data)} if data else {})}
    return _written(plain | ({} if message_id is None else {"id": message_id}), "error", ErrorCode.INTERNAL)


def event(kind: EventType, **fields: Any) -> str:
    """What a shell tells unasked, as one string."""
    plain = {"jsonrpc": "2.0", "method": EVENT, "params": {"v": VERSION, "type": kind.value, **fields}}
    return _written(plain, "event", ErrorCode.INTERNAL)


def read_call(text: str) -> Call:
    """The call in a string, as a shell reads it. Raises BadMessage with the code to answer."""
    plain = _object(text)
    message_id = plain.get("id") if isinstance(plain.get("id"), str) else None
    name = plain.get("method")
    if plain.get("jsonrpc") != "2.0" or message_id is None or not isinstance(name, str):
        raise BadMessage("not a JSON-RPC 2.0 call", ErrorCode.INVALID_REQUEST, message_id)
    try:
        method = Method(name)
    except ValueError:
        raise BadMessage("no such method", ErrorCode.METHOD_NOT_FOUND, message_id) from None
    params = plain.get("params")
    version = params.get("v") if isinstance(params, dict) else None
    if isinstance(version, str) and not version.startswith("1."):
        raise BadMessage("another major version", ErrorCode.VERSION_UNSUPPORTED, message_id)
    problem = next(check_of(f"{short(method)}.call")(plain), None)
    if problem is not None:
        code = ErrorCode.INVALID_PARAMS if problem.path.startswith("params") else ErrorCode.INVALID_REQUEST
        raise BadMessage(str(problem), code, message_id)
    assert isinstance(params, dict)
    return Call(message_id, method, params)


def read_answer(text: str, method: Method) -> Answer:
    """The answer in a string, as a page reads it. Raises BadMessage for what is none."""
    plain = _object(text)
    message_id = plain.get("id")
    name = "error" if "error" in plain else f"{short(method)}.answer"
    problem = next(check_of(name)(plain), None)
    if problem is not None:
        raise BadMessage(str(problem), ErrorCode.INTERNAL, message_id if isinstance(message_id, str) else None)
    if "error" not in plain:
        return Answer(plain["id"], result=plain["result"])
    error = plain["error"]
    return Answer(plain.get("id"), failed=Failed(error["code"], error["message"], error.get("data", {})))


def read_claim(result: Mapping[str, Any]) -> Claim:
    """A result of pay or resume as a claim. Raises BadMessage for what is none."""
    frame = {"jsonrpc": "2.0", "id": "0" * 16, "result": dict(result)}
    problem = next(check_of("pay.answer")(frame), None)
    if problem is not None:
        raise BadMessage(str(problem), ErrorCode.INTERNAL)
    raw, evidence = result.get("raw", {}), result.get("evidence")
    return Claim(
        payment_id=result["payment_id"],
        outcome=ClientOutcome(result["outcome"]),
        final=result["final"],
        step=result.get("step"),
        reason=result.get("reason", ""),
        source=raw.get("source", ""),
        code=raw.get("code", ""),
        data=raw.get("data", ""),
        evidence=None if evidence is None else (evidence["type"], evidence["value"]),
    )


def claim_of(
    payment_id: str, *, step: int, source: str, code: str, table: Mapping[str, Any], data: str = ""
) -> dict[str, Any]:
    """The result that a shell answers after a step ended with this code, by the table that came in the envelope."""
    meaning = read_table(table, code)
    raw = {"source": source, "code": code} | ({"data": data} if data else {})
    plain = {
        "v": VERSION,
        "payment_id": payment_id,
        "step": step,
        "outcome": meaning.outcome.value,
        "raw": raw,
        "final": True,
    }
    return plain | ({"reason": meaning.reason} if meaning.reason else {})


def _object(text: str) -> dict[str, Any]:
    if len(text) > MAX_MESSAGE:
        raise BadMessage(f"longer than {MAX_MESSAGE} characters", ErrorCode.INVALID_REQUEST)
    try:
        plain = parse_json(text)
    except BadJson as error:
        raise BadMessage(str(error), ErrorCode.PARSE_ERROR) from error
    if not isinstance(plain, dict):
        raise BadMessage("not an object", ErrorCode.INVALID_REQUEST)
    return plain


def _written(plain: Mapping[str, Any], name: str, code: ErrorCode) -> str:
    problem = next(check_of(name)(plain), None)
    if problem is not None:
        raise BadMessage(str(problem), code)
    try:
        return canonical_json(plain)
    except BadJson as error:
        raise BadMessage(str(error), code) from error
