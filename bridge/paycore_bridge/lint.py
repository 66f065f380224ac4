"""Explains why a payload would fail, to the person who is about to debug an SDK that only says -1.

It reads whatever is put before it: a message, an envelope, claims, a plan, a step, the arguments of an SDK, Alipay's order
text. It proves no signature and asks nobody. What it says names fields, never their values, since a value may be secret.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, TypeGuard
from urllib.parse import parse_qsl

from paycore_bridge import contract, surfaces
from paycore_bridge.canonical import BadJson, canonical_json, parse_json
from paycore_bridge.declaration import ChannelBridge
from paycore_bridge.steps import StepKind, Target
from paycore_bridge.validation import SURFACE, StepSchema, plan_schema, schema_of

_MICRO = 1_000_000
_APP_ID_NAMES = ("appId", "appid", "openID", "app_id")
_ALIASES = (
    {"package", "packageValue"},
    {"appId", "openID"},
    {"sign", "paySign"},
    {"orderStr", "orderInfo"},
    {"tradeNO", "trade_no"},
)
_STALE_SECONDS = 2 * 3600


class Level(StrEnum):
    """How sure we are."""

    WRONG = "wrong"
    """It will not work."""
    DOUBT = "doubt"
    """It works only under a condition that cannot be seen from here."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: where (names joined by dots), what, and why that fails or what to do."""

    where: str
    what: str
    why: str
    level: Level = Level.WRONG


@dataclass(frozen=True, slots=True)
class Report:
    """What a payload looks like, and what is wrong with it."""

    looks_like: str
    findings: tuple[Finding, ...]

    @property
    def is_wrong(self) -> bool:
        """Whether something in it will not work."""
        return any(finding.level is Level.WRONG for finding in self.findings)


@dataclass(frozen=True, slots=True)
class _Desk:
    """What is known while one payload is read."""

    schemas: tuple[StepSchema, ...]
    target: Target | None
    app_id: str
    now: int | None

    def of(self, kind: StepKind, surface: str, target: Target) -> StepSchema | None:
        """The schema of a surface on a target, the first declared one winning."""
        fits = [one for one in self.schemas if (one.kind, one.surface) == (kind, surface)]
        exact = [one for one in fits if one.target is target]
        return next(iter([*exact, *(one for one in fits if one.target is Target.ANY)]), None)


def lint(
    text: str,
    *,
    bridges: Iterable[ChannelBridge] = (),
    target: Target | None = None,
    app_id: str = "",
    now: int | None = None,
) -> Report:
    """Everything that would fail in this payload. Never raises for a text, whatever it holds.

    `bridges` are what channels declare; the wallets' surfaces that this package knows come after them. `target` and
    `app_id` say where it is going to run and which app it must be for; `now` (microseconds UTC) judges ages.
    """
    declared = [schema for bridge in (*bridges, *surfaces.ALL) for schema in bridge.schemas.declared]
    desk = _Desk(tuple(declared), target, app_id, now)
    findings: list[Finding] = []
    stripped = text.strip()
    if text.startswith("\ufeff"):
        findings.append(
            Finding("", "begins with a byte order mark", "a shell's JSON reader stops at it; save the file without")
        )
        stripped = stripped.lstrip("\ufeff").strip()
    report = _text(stripped, desk)
    return replace(report, findings=(*findings, *report.findings))


def _text(text: str, desk: _Desk) -> Report:
    if not text:
        return Report("nothing", (Finding("", "is empty", "the payload got lost before it was written"),))
    if re.fullmatch(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*=*", text):
        return _envelope(text, desk)
    if text[0] not in '{["' and "=" in text and "&" in text:
        return Report("Alipay's order text", tuple(_order_text("orderStr", text, desk)))
    try:
        plain = json.loads(text)
    except (ValueError, RecursionError):
        return Report("nothing that is known", (Finding("", "is no JSON text", _not_json(text)),))
    report = _plain(plain, desk)
    return replace(report, findings=(*_unportable(text), *report.findings))


def _not_json(text: str) -> str:
    if "'" in text and '"' not in text:
        return "names and texts stand in single quotes; JSON wants double ones"
    if re.search(r",\s*[}\]]", text):
        return "there is a comma before a closing bracket"
    return "it was cut off, or escaped once too often on its way"


def _unportable(text: str) -> Iterator[Finding]:
    """What is JSON, and yet not the same to every reader."""
    try:
        parse_json(text)
    except BadJson as error:
        yield Finding("", str(error), "shells in other languages would read something else than the server wrote")


def _plain(plain: Any, desk: _Desk) -> Report:
    if isinstance(plain, str):
        inner = _text(plain.strip(), desk)
        twice = Finding(
            "", "is JSON inside a JSON text", "it was written twice; hand over the object, or parse it once more"
        )
        keep = inner.looks_like == "Alipay's order text"
        return inner if keep else replace(inner, findings=(twice, *inner.findings))
    if not isinstance(plain, dict):
        return Report(
            "nothing that is known", (Finding("", "is no object", "every payload of the bridge is an object"),)
        )
    if "jsonrpc" in plain:
        return _message(plain, desk)
    if "jti" in plain or "aud" in plain:
        return Report("the claims of an envelope", tuple(_claims(plain, desk)))
    if "steps" in plain:
        return Report("a plan", tuple(_plan("", plain, desk)))
    if "params_json" in plain:
        return Report("a step", tuple(_step("", plain, desk)))
    return _arguments_alone(plain, desk)


# ------------------------------------------------------------------------------------------ messages and envelopes


def _message(plain: dict[str, Any], desk: _Desk) -> Report:
    name = plain.get("method")
    known = [method for method in contract.Method if method.value == name]
    if not known:
        schema = "error" if "error" in plain else "event" if name == contract.EVENT else "pay.answer"
        return Report("a message of the bridge", tuple(_by_schema("", plain, contract.SCHEMAS[schema])))
    found = list(_by_schema("", plain, contract.SCHEMAS[f"{contract.short(known[0])}.call"]))
    params = plain.get("params")
    sealed = params.get("envelope") if isinstance(params, dict) else None
    if isinstance(sealed, str) and known[0] is contract.Method.PAY:
        found += [replace(one, where=_under("params.envelope", one.where)) for one in _envelope(sealed, desk).findings]
    return Report(f"a call of {name}", tuple(found))


def _envelope(text: str, desk: _Desk) -> Report:
    from paycore_bridge.envelope import peek

    found: list[Finding] = []
    if text.endswith("="):
        found.append(Finding("", "ends with padding", "a compact JWS has none; take the text as the server gave it"))
    try:
        claims = peek(text)
    except (ValueError, RecursionError):
        return Report(
            "an envelope",
            (*found, Finding("", "holds no claims that can be read", "it was cut off or decoded on its way")),
        )
    header = _header(text)
    if header.get("alg") != "ES256":
        found.append(Finding("header.alg", "is not ES256", "no shell takes another algorithm"))
    if set(header) != {"alg", "kid", "typ"}:
        found.append(
            Finding("header", "holds more or less than alg, kid and typ", "a shell refuses every other header")
        )
    return Report("an envelope", (*found, *_claims(claims, desk)))


def _header(text: str) -> dict[str, Any]:
    from paycore_bridge.keys import from_base64url

    try:
        plain = json.loads(from_base64url(text.split(".", maxsplit=1)[0]))
    except (ValueError, RecursionError):
        return {}
    return plain if isinstance(plain, dict) else {}


def _claims(claims: dict[str, Any], desk: _Desk) -> Iterator[Finding]:
    for name in ("iat", "exp"):
        yield from _unit(name, claims.get(name), wanted="seconds")
    plan = claims.get("plan")
    shallow = {name: value for name, value in claims.items() if name != "plan"} | {"plan": _SMALLEST_PLAN}
    yield from _by_schema("", shallow if isinstance(plan, dict) else claims, contract.SCHEMAS["claims"])
    iat, exp = claims.get("iat"), claims.get("exp")
    if _is_whole(iat) and _is_whole(exp):
        if exp - iat > 300 and exp < 10**11:
            yield Finding("exp", "is more than 300 seconds after iat", "shells refuse envelopes that live longer")
        if desk.now is not None and exp * _MICRO <= desk.now and exp < 10**11:
            yield Finding("exp", "is over", "the shell answers expired; ask the server for a new envelope")
    if isinstance(plan, dict):
        yield from _plan("plan", plan, desk)


_SMALLEST_PLAN = {"v": 1, "steps": [{"kind": "none", "target": "any", "requires": [], "params_json": "{}"}]}


# ------------------------------------------------------------------------------------------ plans and steps


def _plan(where: str, plan: dict[str, Any], desk: _Desk) -> Iterator[Finding]:
    yield from _unit(_under(where, "expires_at"), plan.get("expires_at"), wanted="microseconds")
    yield from _over(_under(where, "expires_at"), plan.get("expires_at"), desk)
    steps = plan.get("steps")
    yield from _by_schema(
        where, {**plan, "steps": _SMALLEST_PLAN["steps"]} if isinstance(steps, list) and steps else plan, plan_schema()
    )
    if not isinstance(steps, list):
        return
    for index, step in enumerate(steps):
        here = _under(where, f"steps.{index}")
        if isinstance(step, dict):
            yield from _step(here, step, desk)
        else:
            yield Finding(here, "is no object", "a step has kind, target, requires and params_json")
    yield from _two_apps(where, steps)


def _step(where: str, step: dict[str, Any], desk: _Desk) -> Iterator[Finding]:
    yield from _unit(_under(where, "expires_at"), step.get("expires_at"), wanted="microseconds")
    yield from _over(_under(where, "expires_at"), step.get("expires_at"), desk)
    frame = plan_schema()["properties"]["steps"]["items"]
    params_json = step.get("params_json")
    if isinstance(params_json, dict):
        yield Finding(
            _under(where, "params_json"),
            "is an object",
            "it is the exact text of one; whoever parsed it lost the bytes that were signed",
        )
        params: Any = params_json
    else:
        yield from _by_schema(where, step, frame)
        params = _params(params_json)
        if params is None:
            yield Finding(_under(where, "params_json"), "holds no JSON object", "the text was changed on its way")
            return
        if _rewritten(params) not in (None, params_json):
            yield Finding(
                _under(where, "params_json"),
                "is not the canonical text",
                "something parsed it and wrote it anew; pass it on byte for byte",
            )
    yield from _content(where, step, params, desk)


def _params(text: Any) -> dict[str, Any] | None:
    try:
        plain = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return None
    return plain if isinstance(plain, dict) else None


def _rewritten(params: dict[str, Any]) -> str | None:
    try:
        return canonical_json(params)
    except BadJson:
        return None


def _content(where: str, step: dict[str, Any], params: dict[str, Any], desk: _Desk) -> Iterator[Finding]:
    try:
        kind, target = StepKind(step.get("kind", "")), Target(step.get("target", ""))
    except ValueError:
        return
    arguments = params.get("arguments")
    at = _under(where, "params_json")
    yield from _by_schema(at, params, schema_of(kind))
    if kind not in SURFACE or not isinstance(arguments, dict):
        return
    surface = params.get(SURFACE[kind])
    schema = desk.of(kind, surface, target) if isinstance(surface, str) else None
    if schema is None:
        yield Finding(
            at,
            f"{kind} {surface} is not known for {target}",
            "no loaded channel declares it; its arguments are not checked",
            Level.DOUBT,
        )
        return
    yield from _arguments(_under(at, "arguments"), arguments, schema, desk)


def _two_apps(where: str, steps: Sequence[Any]) -> Iterator[Finding]:
    seen: dict[str, tuple[int, str]] = {}
    for index, step in enumerate(steps):
        params = _params(step.get("params_json")) if isinstance(step, dict) else None
        arguments = (params or {}).get("arguments")
        if not isinstance(arguments, dict):
            continue
        surface = str((params or {}).get("sdk") or (params or {}).get("bridge") or (params or {}).get("host"))
        for app_id in _app_ids(arguments):
            first = seen.setdefault(surface, (index, app_id))
            if first[1] != app_id:
                yield Finding(
                    _under(where, f"steps.{index}"),
                    f"is for another app id than step {first[0]}",
                    "one payment is prepared for one app id; the signature of the other fails",
                )


def _app_ids(arguments: Mapping[str, Any]) -> Iterator[str]:
    for name in _APP_ID_NAMES:
        if isinstance(arguments.get(name), str):
            yield arguments[name]
    order = arguments.get("orderStr")
    if isinstance(order, str):
        yield from (value for name, value in parse_qsl(order) if name == "app_id")


# ------------------------------------------------------------------------------------------ arguments of SDKs


def _arguments_alone(plain: dict[str, Any], desk: _Desk) -> Report:
    """Arguments without a step around them: the surface is guessed from the names."""
    inner = plain.get("arguments") if isinstance(plain.get("arguments"), dict) else plain
    assert isinstance(inner, dict)
    guessed = _guess(inner, desk)
    if guessed is None:
        return Report(
            "nothing that is known",
            (
                Finding(
                    "",
                    "looks like nothing that this bridge carries",
                    "its names fit no message, plan or SDK; name the target",
                ),
            ),
        )
    on = "" if guessed.target is Target.ANY else f" on {guessed.target}"
    looks_like = f"the arguments of {guessed.kind} {guessed.surface}{on}"
    return Report(looks_like, tuple(_arguments("", inner, guessed, desk)))


def _guess(arguments: Mapping[str, Any], desk: _Desk) -> StepSchema | None:
    scored = [
        (_score(arguments, one), -index, one) for index, one in enumerate(desk.schemas) if _on_target(one, desk.target)
    ]
    best = max(scored, key=lambda one: one[:2], default=None)
    return best[2] if best is not None and best[0] > 0 else None


def _on_target(schema: StepSchema, target: Target | None) -> bool:
    return target is None or schema.target in (Target.ANY, target)


def _score(arguments: Mapping[str, Any], schema: StepSchema) -> int:
    """How much the names are those of the schema; a name in another case counts less, a value that fits a little more."""
    properties = schema.schema.get("properties", {})
    lower = {name.lower() for name in properties}
    score = 0
    for name, value in arguments.items():
        if name in properties:
            score += 4 if not list(_value(name, value, properties[name])) else 3
        else:
            score += 2 if name.lower() in lower else -1
    return score - sum(1 for name in schema.schema.get("required", []) if name not in arguments)


def _arguments(where: str, arguments: Mapping[str, Any], schema: StepSchema, desk: _Desk) -> Iterator[Finding]:
    properties: Mapping[str, Any] = schema.schema.get("properties", {})
    explained: set[str] = set()
    for name, value in arguments.items():
        if name in properties:
            yield from _value(_under(where, name), value, properties[name])
            yield from _meaning(_under(where, name), name, value, desk)
        elif schema.schema.get("additionalProperties") is False:
            right, finding = _strange(where, name, schema, arguments, desk)
            explained.add(right)
            yield finding
    for name in schema.schema.get("required", []):
        if name not in arguments and name not in explained:
            yield Finding(_under(where, name), "is missing", f"{schema.surface} wants it, spelled so")
    yield from _app(where, arguments, desk)


def _strange(
    where: str, name: str, schema: StepSchema, arguments: Mapping[str, Any], desk: _Desk
) -> tuple[str, Finding]:
    """Why a name does not belong here, and the right name that it stands for."""
    properties = schema.schema.get("properties", {})
    at, surface = _under(where, name), schema.surface
    cased = next((one for one in properties if one.lower() == name.lower()), "")
    if cased and cased not in arguments:
        return cased, Finding(
            at,
            f"must be spelled {cased}",
            f"{surface} compares names exactly and does not see this one; no error says so",
        )
    alias = next((one for names in _ALIASES if name in names for one in names if one in properties), "")
    if alias and alias not in arguments:
        return alias, Finding(
            at, f"is called {alias} here", f"other systems call it {name}; {surface} does not know that name"
        )
    elsewhere = next(
        (one for one in desk.schemas if one.surface == surface and name in one.schema.get("properties", {})), None
    )
    if elsewhere is not None and elsewhere.target is not schema.target:
        return "", Finding(at, f"belongs to {elsewhere.target}", f"{surface} has no such field on {schema.target}")
    return "", Finding(at, "is not a field of this call", f"{surface} takes {', '.join(properties)}")


def _value(where: str, value: Any, schema: Mapping[str, Any]) -> Iterator[Finding]:
    """Why a value does not fit, in the words of the usual mistakes."""
    wanted = schema.get("type")
    if "const" in schema or "enum" in schema:
        yield from _fixed(where, value, schema)
    elif wanted == "string" and not isinstance(value, str):
        yield Finding(
            where,
            f"must be a text, not {_sort(value)}",
            "the SDK reads it as text; a number arrives as nothing, or signs differently",
        )
    elif wanted == "integer" and not _is_whole(value):
        yield Finding(where, f"must be a number, not {_sort(value)}", "this system's SDK declares it as an integer")
        if isinstance(value, str):
            yield from _digits(where, value, schema)
    elif wanted == "boolean" and not isinstance(value, bool):
        yield Finding(
            where, f"must be true or false, not {_sort(value)}", "a text is true in one language and a crash in another"
        )
    elif isinstance(value, str) and "pattern" in schema and re.search(schema["pattern"], value) is None:
        yield _form(where, value, schema["pattern"])
    else:
        yield from _digits(where, str(value), schema) if _is_whole(value) else ()
        if isinstance(value, str) and value != value.strip():
            yield Finding(where, "has spaces or line ends around it", "they are signed with it, or break the signature")
        if isinstance(value, str) and len(value) > schema.get("maxLength", len(value)):
            yield Finding(where, "is too long", f"at most {schema['maxLength']} characters")


def _fixed(where: str, value: Any, schema: Mapping[str, Any]) -> Iterator[Finding]:
    allowed = [schema["const"]] if "const" in schema else list(schema["enum"])
    if value in allowed and not isinstance(value, bool):
        return
    words = " or ".join(map(str, allowed))
    if isinstance(value, str) and value.startswith("prepay_id="):
        why = "that is the value for the browser's and the mini program's call; here prepayId carries the id"
    elif isinstance(value, str) and value.strip() in map(str, allowed):
        why = "there are spaces around it"
    elif isinstance(value, str) and value.lower() in [str(one).lower() for one in allowed]:
        why = "upper and lower case count"
    else:
        why = "every other value is refused as a bad signature or parameter"
    yield Finding(where, f"must be {words}", why)


def _form(where: str, value: str, pattern: str) -> Finding:
    if value != value.strip():
        return Finding(where, "has spaces or line ends around it", "they are signed with it, and do not fit")
    if pattern.startswith("^prepay_id="):
        if value.startswith("prepay_id=prepay_id="):
            return Finding(where, "has prepay_id= twice", "the server had put it in already")
        if value.startswith("Sign="):
            return Finding(where, "must be prepay_id=...", "Sign=WXPay is the value for apps")
        return Finding(where, "must begin with prepay_id=", "the bare id is signed for apps only")
    if pattern == "^[1-9][0-9]{9}$" and re.fullmatch(r"[0-9]{13}", value):
        return Finding(where, "is in milliseconds", "it must be whole seconds, ten digits")
    if pattern == "^[1-9][0-9]{9}$" and re.fullmatch(r"[0-9]{16}", value):
        return Finding(where, "is in microseconds", "it must be whole seconds, ten digits")
    if not value:
        return Finding(where, "is empty", "the SDK refuses it without saying which field")
    return Finding(where, "does not have the required form", f"it must fit {pattern}")


def _digits(where: str, digits: str, schema: Mapping[str, Any]) -> Iterator[Finding]:
    if not re.fullmatch(r"[0-9]{1,20}", digits):
        return
    number = int(digits)
    if number > schema.get("maximum", number):
        unit = {13: "milliseconds", 16: "microseconds"}.get(len(digits))
        yield Finding(
            where,
            f"is in {unit}" if unit else "is too large",
            "it must be whole seconds, ten digits" if unit else f"at most {schema['maximum']}",
        )
    elif number < schema.get("minimum", number):
        yield Finding(where, "is too small", f"at least {schema['minimum']}")


def _meaning(where: str, name: str, value: Any, desk: _Desk) -> Iterator[Finding]:
    """What fits by its form and is wrong all the same."""
    if name == "orderStr" and isinstance(value, str):
        yield from _order(where, value, desk)
    if name.lower() == "timestamp" and re.fullmatch(r"[1-9][0-9]{9}", str(value)) and desk.now is not None:
        age = desk.now // _MICRO - int(value)
        if age > _STALE_SECONDS:
            yield Finding(where, f"is {age // 3600} hours old", "what was prepared with it is over by now", Level.DOUBT)
        elif age < -300:
            yield Finding(where, "lies in the future", "the clock of the server that signed is wrong", Level.DOUBT)
    if name == "signType" and value != "RSA":
        yield Finding(where, "is not RSA", "keys of API v3 sign with RSA; the signature then fails as -1", Level.DOUBT)


def _app(where: str, arguments: Mapping[str, Any], desk: _Desk) -> Iterator[Finding]:
    if not desk.app_id:
        return
    for found in _app_ids(arguments):
        if found != desk.app_id:
            yield Finding(
                where,
                "is for another app id",
                "the SDK is registered with the id that you named; it answers -1 or opens the wrong app",
            )


# ------------------------------------------------------------------------------------------ order texts


def _order(where: str, text: str, desk: _Desk) -> Iterator[Finding]:
    """orderStr: Alipay's is a query text, Huawei's a JSON text."""
    if text.lstrip().startswith("{"):
        yield from _huawei_order(where, text)
    elif "=" in text:
        yield from _order_text(where, text, desk)
    else:
        yield Finding(where, "is no order text", "it is the whole signed text of the server, not an order's number")


def _huawei_order(where: str, text: str) -> Iterator[Finding]:
    order = _params(text)
    if order is None:
        yield Finding(where, "holds no JSON object", "it was cut off or escaped on its way")
        return
    stamp = order.get("timestamp")
    if not (isinstance(stamp, str) and re.fullmatch(r"[0-9]{13}", stamp)):
        yield Finding(_under(where, "timestamp"), "must be milliseconds as a text", "thirteen digits, in quotes")
    for name in ("app_id", "merc_no", "prepay_id", "noncestr", "sign", "auth_id"):
        if name not in order:
            yield Finding(_under(where, name), "is missing", "the payment service refuses an order without it")


def _order_text(where: str, text: str, desk: _Desk) -> Iterator[Finding]:
    if "&amp;" in text:
        yield Finding(where, "holds &amp;", "it was escaped for HTML; hand it over as the server wrote it")
        text = text.replace("&amp;", "&")
    if re.search(r"%25[0-9A-Fa-f]{2}", text):
        yield Finding(where, "is encoded twice", "something encoded the signed text once more; it is opaque")
        return
    raw = dict(part.split("=", 1) for part in text.split("&") if "=" in part)
    if re.search(r"[^!-~]|[{}\"]", text):
        yield Finding(
            where,
            "is not encoded",
            "its values must be percent-encoded, else the app cuts it at the first space or quote",
        )
    fields = dict(parse_qsl(text, keep_blank_values=True))
    for name in ("app_id", "method", "biz_content", "sign_type", "sign"):
        if not fields.get(name):
            yield Finding(_under(where, name), "is missing", "the app answers 4000 without a word")
    if "+" in raw.get("sign", ""):
        yield Finding(
            _under(where, "sign"),
            "has a bare plus",
            "it is read as a space; the signature must be percent-encoded (%2B)",
        )
    if fields.get("biz_content") and _params(fields["biz_content"]) is None:
        yield Finding(_under(where, "biz_content"), "holds no JSON object", "it was cut off, or encoded twice")
    if fields.get("method", "alipay.trade.app.pay") != "alipay.trade.app.pay" and fields["method"].startswith(
        "alipay.trade"
    ):
        yield Finding(
            _under(where, "method"),
            "is not alipay.trade.app.pay",
            "the SDK pays by this method alone; pages have others",
        )
    if fields.get("sign_type", "RSA2") != "RSA2":
        yield Finding(
            _under(where, "sign_type"), "is not RSA2", "new applications are refused with anything else", Level.DOUBT
        )
    if desk.app_id and fields.get("app_id", desk.app_id) != desk.app_id:
        yield Finding(_under(where, "app_id"), "is another app id", "it is not the application that you named")


# ------------------------------------------------------------------------------------------ small parts


def _by_schema(where: str, plain: Any, schema: Mapping[str, Any]) -> Iterator[Finding]:
    from paycore_bridge.schema import compile_schema

    for problem in compile_schema({name: part for name, part in schema.items() if name not in ("$schema", "$id")})(
        plain
    ):
        yield Finding(_under(where, problem.path), problem.what, "a shell refuses it as invalid")


def _unit(where: str, value: Any, *, wanted: str) -> Iterator[Finding]:
    """A time in another unit than this field has."""
    if not _is_whole(value) or value <= 0:
        return
    unit = "seconds" if value < 10**11 else "milliseconds" if value < 10**14 else "microseconds"
    if unit != wanted:
        yield Finding(where, f"is in {unit}", f"it must be in {wanted}; read as such it is in another century")


def _over(where: str, value: Any, desk: _Desk) -> Iterator[Finding]:
    if desk.now is not None and _is_whole(value) and 10**14 <= value <= desk.now:
        yield Finding(where, "is over", "no shell starts it any more; ask the server for a new plan")


def _is_whole(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _sort(value: Any) -> str:
    names = {
        bool: "true or false",
        int: "a number",
        float: "a number with a fraction",
        str: "a text",
        list: "a list",
        dict: "an object",
    }
    return names.get(type(value), "null")


def _under(where: str, name: str) -> str:
    return f"{where}.{name}" if where and name else where or name
