"""The messages between page and shell, described once: the JSON Schemas and the OpenRPC file are made from here.

`bridge/generate.py` writes both into the folder contract_files/. Nothing else describes a message: `messages` checks
with these, the shells are written against the files, and a test proves the files fresh.

Messages of one major version ignore fields they do not know, so parameters and results stay open; the JSON-RPC
frame, an envelope's claims and a plan are closed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from functools import cache
from typing import Any, TypeAlias

from paycore_bridge.outcomes import ClientOutcome
from paycore_bridge.schema import Check, compile_schema
from paycore_bridge.steps import StepKind
from paycore_bridge.validation import plan_schema

VERSION = "1.0"
MAX_ENVELOPE = 32 * 1024
MAX_MESSAGE = 64 * 1024
DRAFT = "https://json-schema.org/draft/2020-12/schema"

Schema: TypeAlias = dict[str, Any]


class Method(StrEnum):
    """What a page may ask of a shell: a closed set. A shell has a switch over it, never a lookup by name."""

    HELLO = "paycore.hello"
    PAY = "paycore.pay"
    RESUME = "paycore.resume"
    ACK = "paycore.ack"
    FINISH = "paycore.finish"
    UNFINISHED = "paycore.unfinished"
    CLOSE = "paycore.close"


EVENT = "paycore.event"


class EventType(StrEnum):
    """What a shell tells without being asked."""

    RESULT = "result"
    TRANSACTION = "transaction"
    FOREGROUND = "foreground"
    BACKGROUND = "background"
    PRESENTED = "presented"
    COLOR_SCHEME = "color_scheme"


class NextMove(StrEnum):
    """What a page does after an error. CONFIRM: perhaps it was executed; ask the server before anything else."""

    NEXT_STEP = "next_step"
    REFRESH_PLAN = "refresh_plan"
    RESUME = "resume"
    CONFIRM = "confirm"
    ASK_TAP = "ask_tap"
    STOP = "stop"


class ErrorCode(IntEnum):
    """Why a call was not executed. What an SDK answered is never an error, but a result."""

    PARSE_ERROR = -32700
    INVALID_REQUEST = -32600
    METHOD_NOT_FOUND = -32601
    INVALID_PARAMS = -32602
    INTERNAL = -32603
    VERSION_UNSUPPORTED = -32010
    UNSUPPORTED = -32011
    ORIGIN_REJECTED = -32012
    SIGNATURE_INVALID = -32013
    EXPIRED = -32014
    REPLAYED = -32015
    BUSY = -32016
    USER_ACTIVATION_REQUIRED = -32017
    TIMEOUT = -32018
    USER_DENIED = -32019


@dataclass(frozen=True, slots=True)
class ErrorRule:
    """What an error means, and what the page does next."""

    meaning: str
    next_move: NextMove


ERRORS: Mapping[ErrorCode, ErrorRule] = {
    ErrorCode.PARSE_ERROR: ErrorRule("The message is not a JSON text.", NextMove.NEXT_STEP),
    ErrorCode.INVALID_REQUEST: ErrorRule("The message is not a JSON-RPC 2.0 call of this bridge.", NextMove.NEXT_STEP),
    ErrorCode.METHOD_NOT_FOUND: ErrorRule("The shell is older than this method.", NextMove.NEXT_STEP),
    ErrorCode.INVALID_PARAMS: ErrorRule("The parameters do not fit the method.", NextMove.NEXT_STEP),
    ErrorCode.INTERNAL: ErrorRule("The shell failed before it could start anything.", NextMove.NEXT_STEP),
    ErrorCode.VERSION_UNSUPPORTED: ErrorRule("The shell speaks other versions; data.supported lists them.", NextMove.REFRESH_PLAN),
    ErrorCode.UNSUPPORTED: ErrorRule("No step of the plan can run in this shell.", NextMove.NEXT_STEP),
    ErrorCode.ORIGIN_REJECTED: ErrorRule("The page is not one that may pay here, or not the main frame.", NextMove.STOP),
    ErrorCode.SIGNATURE_INVALID: ErrorRule("The envelope is not signed for this app by a key that it trusts.", NextMove.REFRESH_PLAN),
    ErrorCode.EXPIRED: ErrorRule("The envelope, or every step that could run, is too old.", NextMove.REFRESH_PLAN),
    ErrorCode.REPLAYED: ErrorRule("The envelope was used before.", NextMove.RESUME),
    ErrorCode.BUSY: ErrorRule("Another payment is on the screen; data.payment_id names it.", NextMove.RESUME),
    ErrorCode.USER_ACTIVATION_REQUIRED: ErrorRule("The shell wants a tap of the payer first.", NextMove.ASK_TAP),
    ErrorCode.TIMEOUT: ErrorRule("The shell did not answer; made by the page's runtime itself.", NextMove.CONFIRM),
    ErrorCode.USER_DENIED: ErrorRule("The payer said no on the app's own confirmation sheet.", NextMove.STOP),
}  # fmt: skip


def text(most: int = 256, *, least: int = 0, pattern: str = "", what: str = "") -> Schema:
    """A text of bounded length."""
    schema: Schema = {"type": "string", "maxLength": most}
    if least:
        schema["minLength"] = least
    if pattern:
        schema["pattern"] = pattern
    return schema | ({"description": what} if what else {})


def whole(least: int = 0, *, most: int | None = None, what: str = "") -> Schema:
    """A whole number."""
    schema: Schema = {"type": "integer", "minimum": least}
    if most is not None:
        schema["maximum"] = most
    return schema | ({"description": what} if what else {})


def record(
    required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None, *, closed: bool = False
) -> Schema:
    """An object with these fields; open to others unless closed."""
    schema: Schema = {
        "type": "object",
        "required": list(required),
        "properties": {**required, **(optional or {})},
    }
    return schema | ({"additionalProperties": False} if closed else {})


def listing(item: Schema, most: int, *, least: int = 0, what: str = "") -> Schema:
    """A list of bounded length."""
    schema: Schema = {"type": "array", "maxItems": most, "items": item}
    if least:
        schema["minItems"] = least
    return schema | ({"description": what} if what else {})


def mapping(item: Schema, most: int, *, what: str = "") -> Schema:
    """An object whose names are free."""
    schema: Schema = {"type": "object", "maxProperties": most, "additionalProperties": item}
    return schema | ({"description": what} if what else {})


_ID = text(64, least=1, pattern="^[A-Za-z0-9_.:-]+$")
_NAME = text(64, least=1, pattern="^[a-z][a-z0-9_]*$")
_CAPABILITY = text(64, pattern=r"^[a-z][a-z0-9_]*(?:\.[a-z0-9_]+)*$")
_SPOKEN = text(
    16, pattern="^1\\.[0-9]{1,4}$", what="The version of these messages; the major part is fixed for a session."
)
_MESSAGE_ID = text(64, least=16, pattern="^[A-Za-z0-9_-]+$", what="Made by the page, at random, never used twice.")
_ORIGIN = text(256, pattern="^(?:https://[a-z0-9.-]+|http://localhost|http://127\\.0\\.0\\.1)(?::[0-9]{1,5})?$")
AUDIENCE = "^(?:ios|android|harmony|web|mini_program|desktop|tv_car):[^\\s]+$"
_AUDIENCE = text(256, pattern=AUDIENCE)
_TRI_STATE: Schema = {
    "enum": [True, False, None],
    "description": "null: this shell cannot know. Never hide a method for it.",
}
_CODE_MEANING = listing(text(40, least=1), 2, least=1, what="The outcome, and a word on why.")

EVIDENCE = record(
    {"type": text(64, least=1, what="Such as storekit2_jws."), "value": text(32768, least=1, what="Verbatim.")}
)
RAW = record(
    {"source": text(140, what="The surface that answered, as kind:name, such as sdk:alipay."), "code": text(256)},
    {"text": text(2048), "data": text(16384, what="What the SDK handed back, byte for byte: it may be signed.")},
)
CLAIM = record(
    {
        "v": _SPOKEN,
        "payment_id": _ID,
        "outcome": {"enum": [one.value for one in ClientOutcome]},
        "final": {"type": "boolean", "description": "false: only a sign of progress, such as launched."},
    },
    {
        "step": whole(0, most=15, what="The step of the plan that ran, counted from 0."),
        "reason": text(64, what="A word for the engineer: user, network, duplicate, returned_without_result."),
        "raw": RAW,
        "evidence": EVIDENCE,
        "at": whole(1, what="Microseconds UTC by the device's clock."),
        "shell": mapping(text(128), 16, what="name, version, os, and the versions of SDKs."),
    },
)
TRANSACTION = record(
    {"transaction_id": _ID, "evidence": EVIDENCE},
    {"product_id": text(256), "account_token": text(64), "payment_id": _ID},
)
RESULT_TABLE = record(
    {"is": mapping(_CODE_MEANING, 128, what="Codes that are equal to this text.")},
    {
        "has": listing(
            listing(text(128, least=1), 3, least=2), 128, what="Else: codes that contain this text, in order."
        )
    },
    closed=True,
)
CLAIMS = record(
    {
        "v": _SPOKEN,
        "iss": text(128, least=1, what="Who sealed it: the server's name."),
        "aud": listing(_AUDIENCE, 16, least=1, what="Who may use it; an app looks for its own name."),
        "jti": text(64, least=16, pattern="^[A-Za-z0-9_-]+$", what="Used once; a shell remembers it until exp."),
        "iat": whole(1, what="Seconds UTC."),
        "exp": whole(1, what="Seconds UTC; at most 300 after iat."),
        "order_id": _ID,
        "payment_id": _ID,
        "channel": _NAME,
        "method": _NAME,
        "amount": record(
            {"amount_minor": whole(0), "currency_code": text(3, least=3, pattern="^[A-Z]{3}$")}, closed=True
        ),
        "plan": {name: part for name, part in plan_schema().items() if name not in ("$schema", "$id")},
    },
    {
        "origins": listing(_ORIGIN, 16, least=1, what="The pages that may hand it over, where the shell can tell."),
        "opens": listing(text(64, least=1), 16, what="The schemes and hosts that a step may open, beside web pages."),
        "results": mapping(RESULT_TABLE, 16, what="What raw codes mean, by source; unlisted ones are unknown."),
    },
    closed=True,
)
HELLO_RESULT = record(
    {
        "v": listing(_SPOKEN, 8, least=1, what="All versions that the shell speaks."),
        "shell": record(
            {"name": text(128, least=1), "version": text(64), "os": text(32, least=1)}, {"os_version": text(64)}
        ),
        "methods": listing(text(64), 32),
        "pending": listing(_ID, 64, what="Payments whose result no page has acknowledged."),
    },
    {
        "aud": _AUDIENCE,
        "capabilities": listing(_CAPABILITY, 128, what="What the requires of steps may name."),
        "channels": mapping(record({}, {"installed": _TRI_STATE, "sdk": text(64), "kinds": listing(text(32), 16)}), 32),
        "keys": listing(text(64), 16, what="Names of the keys that the app trusts."),
        "limits": record({}, {"max_bytes": whole(1)}),
        "ui": mapping(text(64), 16, what="locale, color_scheme."),
    },
)

_OF_A_PAYMENT = record({"v": _SPOKEN, "payment_id": _ID})


@dataclass(frozen=True, slots=True)
class Exchange:
    """One method: what it means, what it takes, what it gives, and which errors it may answer with."""

    summary: str
    params: Schema
    result: Schema
    errors: tuple[ErrorCode, ...] = ()


_FRAME_ERRORS = (
    ErrorCode.PARSE_ERROR,
    ErrorCode.INVALID_REQUEST,
    ErrorCode.METHOD_NOT_FOUND,
    ErrorCode.INVALID_PARAMS,
    ErrorCode.INTERNAL,
    ErrorCode.VERSION_UNSUPPORTED,
    ErrorCode.ORIGIN_REJECTED,
)
EXCHANGES: Mapping[Method, Exchange] = {
    Method.HELLO: Exchange(
        "Says who the shell is and what it can do, and names the results that wait to be fetched.",
        record({"v": _SPOKEN}, {"page": record({}, {"origin": text(256), "runtime": text(32)})}),
        HELLO_RESULT,
    ),
    Method.PAY: Exchange(
        "Checks the envelope, then runs the first step of its plan that the shell can run, and answers what the SDK said.",
        record(
            {
                "v": _SPOKEN,
                "envelope": text(MAX_ENVELOPE, least=1, what="The compact JWS, exactly as the server gave it."),
            }
        ),
        CLAIM,
        (
            ErrorCode.UNSUPPORTED,
            ErrorCode.SIGNATURE_INVALID,
            ErrorCode.EXPIRED,
            ErrorCode.REPLAYED,
            ErrorCode.BUSY,
            ErrorCode.USER_ACTIVATION_REQUIRED,
            ErrorCode.USER_DENIED,
        ),
    ),
    Method.RESUME: Exchange(
        "Gives the result of a payment again, also after the page or the app died; not final while the SDK is open, "
        "unknown where the shell knows nothing.",
        _OF_A_PAYMENT,
        CLAIM,
    ),
    Method.ACK: Exchange(
        "Says that the page has the result; the shell may forget it. Acknowledging twice is no error.",
        _OF_A_PAYMENT,
        record({"v": _SPOKEN}),
    ),
    Method.FINISH: Exchange(
        "Finishes a store purchase after the server accepted its evidence, never before.",
        record({"v": _SPOKEN, "transaction_id": _ID}, {"payment_id": _ID}),
        record({"v": _SPOKEN, "finished": {"type": "boolean"}}),
        (ErrorCode.UNSUPPORTED,),
    ),
    Method.UNFINISHED: Exchange(
        "Lists the store purchases that are paid and not finished, such as those of a run of the app that died.",
        record({"v": _SPOKEN}),
        record({"v": _SPOKEN, "transactions": listing(TRANSACTION, 64)}),
        (ErrorCode.UNSUPPORTED,),
    ),
    Method.CLOSE: Exchange(
        "Takes the shell's own sheet off the screen. It says nothing about money.",
        _OF_A_PAYMENT,
        record({"v": _SPOKEN, "closed": {"type": "boolean"}}),
    ),
}
EVENT_PARAMS = record(
    {"v": _SPOKEN, "type": {"enum": [one.value for one in EventType]}},
    {"claim": CLAIM, "transaction": TRANSACTION, "color_scheme": {"enum": ["light", "dark"]}},
)
ERROR = record(
    {"code": {"type": "integer", "minimum": -32768, "maximum": -32000}, "message": text(512)},
    {"data": {"type": "object"}},
)


def _frame(fields: Mapping[str, Schema]) -> Schema:
    return record({"jsonrpc": {"const": "2.0"}, **fields}, closed=True)


def short(method: Method) -> str:
    """The last word of a method's name, which names its schema files."""
    return method.value.rpartition(".")[2]


def _schemas() -> dict[str, Schema]:
    """Every schema by name: a call and an answer for each method, an error, an event, an envelope's claims."""
    found: dict[str, Schema] = {}
    for method, exchange in EXCHANGES.items():
        name = short(method)
        call = _frame({"id": _MESSAGE_ID, "method": {"const": method.value}, "params": exchange.params})
        found[f"{name}.call"] = call | {"description": exchange.summary}
        found[f"{name}.answer"] = _frame({"id": _MESSAGE_ID, "result": exchange.result})
    found["error"] = record({"jsonrpc": {"const": "2.0"}, "error": ERROR}, {"id": _MESSAGE_ID}, closed=True)
    found["event"] = _frame({"method": {"const": EVENT}, "params": EVENT_PARAMS})
    found["claims"] = CLAIMS
    return {
        name: {"$schema": DRAFT, "$id": f"urn:paycore:bridge:{name}:1", "title": name, **schema}
        for name, schema in found.items()
    }


SCHEMAS: Mapping[str, Schema] = _schemas()


@cache
def check_of(name: str) -> Check:
    """The compiled check of one of the schemas."""
    return compile_schema(SCHEMAS[name])


def openrpc() -> dict[str, Any]:
    """The contract as an OpenRPC 1.3 document."""
    return {
        "openrpc": "1.3.2",
        "info": {
            "title": "paycore bridge",
            "version": VERSION,
            "description": "What a payment page asks of the native shell around it. One handler, one string in, one string out. "
            "Every result is a claim: the server asks the channel.",
        },
        "methods": [_openrpc_method(method, exchange) for method, exchange in EXCHANGES.items()] + [_openrpc_event()],
        "components": {"schemas": {"claim": CLAIM, "transaction": TRANSACTION, "claims": CLAIMS}},
        "x-step-kinds": [kind.value for kind in StepKind],
    }


def _openrpc_method(method: Method, exchange: Exchange) -> dict[str, Any]:
    return {
        "name": method.value,
        "summary": exchange.summary,
        "paramStructure": "by-name",
        "params": _openrpc_params(exchange.params),
        "result": {"name": "result", "schema": exchange.result},
        "errors": [
            {
                "code": int(code),
                "message": code.name.lower(),
                "data": {"meaning": ERRORS[code].meaning, "next": ERRORS[code].next_move},
            }
            for code in (*_FRAME_ERRORS, *exchange.errors)
        ],
    }


def _openrpc_event() -> dict[str, Any]:
    return {
        "name": EVENT,
        "summary": "A notification of the shell to the page: it has no id and no answer.",
        "paramStructure": "by-name",
        "params": _openrpc_params(EVENT_PARAMS),
    }


def _openrpc_params(schema: Schema) -> list[dict[str, Any]]:
    return [
        {"name": name, "required": name in schema["required"], "schema": part}
        for name, part in schema["properties"].items()
    ]


def is_audience(name: str) -> bool:
    """Whether a text names an app or page that may use envelopes, such as ios:com.example.shop."""
    return len(name) <= 256 and re.search(AUDIENCE, name) is not None
