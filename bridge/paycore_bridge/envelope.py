"""The envelope: a plan sealed for one app, usable once, for some minutes, with the amount it is about.

The seal is a defence for the way from the server to the SDK: a script in the page, an advertisement's frame or
another app can neither swap the payee nor replay an old plan. It says nothing about what happened afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from paycore_bridge import jws
from paycore_bridge.canonical import BadJson, canonical_json, parse_json
from paycore_bridge.contract import MAX_ENVELOPE, VERSION, ErrorCode, check_of
from paycore_bridge.declaration import ChannelBridge
from paycore_bridge.keys import KeySet, SigningKey, from_base64url
from paycore_bridge.steps import BadStep, Plan, Target

TYPE = "paycore-plan+jws"
MAX_LIFETIME_SECONDS = 300
CLOCK_SKEW_SECONDS = 60
_SECOND = 1_000_000


class BadEnvelope(ValueError):
    """An envelope that must not be made or used; `code` is what a shell answers it with."""

    def __init__(self, what: str, code: ErrorCode = ErrorCode.SIGNATURE_INVALID) -> None:
        super().__init__(what)
        self.code = code


@dataclass(frozen=True, slots=True)
class Payment:
    """What the plan is for, as the payer may be shown it on the app's own sheet."""

    order_id: str
    payment_id: str
    channel: str
    method: str
    amount_minor: int
    currency: str


@dataclass(frozen=True, slots=True)
class Opened:
    """A sealed plan whose seal was checked."""

    payment: Payment
    plan: Plan
    issuer: str
    audience: tuple[str, ...]
    jti: str
    expires_at: int
    results: Mapping[str, Any] = field(default_factory=dict)
    opens: tuple[str, ...] = ()


@dataclass(slots=True)
class UsedOnce:
    """Remembers which envelopes were used, until they would be refused for their age anyway. Bounded: a full one refuses."""

    most: int = 4096
    _until: dict[str, int] = field(default_factory=dict)

    def take(self, jti: str, *, until: int, now: int) -> bool:
        """Whether this is the first use."""
        for old in [one for one, end in self._until.items() if end <= now]:
            del self._until[old]
        if jti in self._until or len(self._until) >= self.most:
            return False
        self._until[jti] = until
        return True


def seal(
    plan: Plan,
    payment: Payment,
    *,
    key: SigningKey,
    issuer: str,
    audience: Iterable[str],
    jti: str,
    now: int,
    lifetime_seconds: int = MAX_LIFETIME_SECONDS,
    target: Target | None = None,
    origins: Iterable[str] = (),
    bridge: ChannelBridge | None = None,
) -> str:
    """The plan as one signed text: what Action.envelope carries and paycore.pay takes.

    `audience` are the apps that may use it (ios:com.example.shop, android:com.example.shop, web:https://pay.example),
    `jti` is new for every envelope, at least 16 characters of A-Z a-z 0-9 _ -. With a `target`, only the steps that this
    sort of device may still start are sealed. With the channel's `bridge`, its result tables and what its links may open
    travel along, so that the shell needs to know nothing of the channel. Raises BadEnvelope, with nothing of the plan in
    its text; also where no step is left.
    """
    kept = _narrowed(plan, target, now)
    ends = min(now + lifetime_seconds * _SECOND, kept.expires_at or now + lifetime_seconds * _SECOND)
    claims: dict[str, Any] = {
        "v": VERSION,
        "iss": issuer,
        "aud": list(audience),
        "jti": jti,
        "iat": now // _SECOND,
        "exp": ends // _SECOND,
        "order_id": payment.order_id,
        "payment_id": payment.payment_id,
        "channel": payment.channel,
        "method": payment.method,
        "amount": {"amount_minor": payment.amount_minor, "currency_code": payment.currency},
        "plan": parse_json(kept.to_json()),
    }
    claims |= _optional(kept, list(origins), bridge)
    _refuse_bad_claims(claims)
    text = jws.sign(canonical_json(claims).encode(), key=key, typ=TYPE)
    if len(text) > MAX_ENVELOPE:
        raise BadEnvelope(f"longer than {MAX_ENVELOPE} characters", ErrorCode.INVALID_PARAMS)
    return text


def _narrowed(plan: Plan, target: Target | None, now: int) -> Plan:
    """The steps worth sealing; their order stays."""
    if plan.expires_at is not None and plan.expires_at <= now:
        raise BadEnvelope("the plan is over", ErrorCode.EXPIRED)
    steps = [step for step in plan.steps if step.is_usable(now) and (target is None or step.target.fits(target))]
    if not steps:
        raise BadEnvelope("no step of the plan is left for this device", ErrorCode.UNSUPPORTED)
    return replace(plan, steps=tuple(steps))


def _optional(plan: Plan, origins: list[str], bridge: ChannelBridge | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if origins:
        found["origins"] = origins
    if bridge is not None:
        found["results"] = bridge.tables_of(plan)
        if bridge.opens:
            found["opens"] = list(bridge.opens)
    return found


def open_envelope(
    text: str,
    *,
    keys: KeySet,
    audience: str,
    now: int,
    take: Callable[..., bool],
    origin: str | None = None,
) -> Opened:
    """What every shell does before it touches an SDK: check the seal, then who, where, when, and that it is the first time.

    `audience` is this app's own name. `origin` is the page's, where the engine can tell it; None where it cannot, and then
    the seal is the only check there is. `take` is asked last, so that an envelope that is refused is not used up: see
    `UsedOnce.take`. Raises BadEnvelope with the code to answer.
    """
    claims = _claims(text, keys)
    if audience not in claims["aud"]:
        raise BadEnvelope("sealed for another app")
    if origin is not None and origin not in claims.get("origins", [origin]):
        raise BadEnvelope("handed over by another page", ErrorCode.ORIGIN_REJECTED)
    _refuse_wrong_time(claims, now)
    opened = _opened(claims)
    if not take(opened.jti, until=opened.expires_at, now=now):
        raise BadEnvelope("used before", ErrorCode.REPLAYED)
    return opened


def peek(text: str) -> dict[str, Any]:
    """The claims without any check of the seal: to show to a developer, never to act upon. Raises ValueError."""
    parts = text.split(".")
    if len(parts) != 3:
        raise BadEnvelope("not three parts")
    plain = parse_json(from_base64url(parts[1]).decode("utf-8"))
    if not isinstance(plain, dict):
        raise BadEnvelope("the claims are not an object")
    return plain


def _claims(text: str, keys: KeySet) -> dict[str, Any]:
    try:
        payload = jws.verify(text, keys=keys, typ=TYPE)
        claims = parse_json(payload.decode("utf-8"))
    except jws.BadSignature as error:
        raise BadEnvelope(str(error)) from error
    except (BadJson, UnicodeDecodeError) as error:
        raise BadEnvelope("the claims are not a JSON text", ErrorCode.INVALID_PARAMS) from error
    version = claims.get("v") if isinstance(claims, dict) else None
    if isinstance(version, str) and not version.startswith("1."):
        raise BadEnvelope("another major version", ErrorCode.VERSION_UNSUPPORTED)
    _refuse_bad_claims(claims)
    assert isinstance(claims, dict)
    return claims


def _refuse_bad_claims(claims: Any) -> None:
    problem = next(check_of("claims")(claims), None)
    if problem is not None:
        raise BadEnvelope(f"claims: {problem}", ErrorCode.INVALID_PARAMS)
    if not claims["iat"] < claims["exp"] <= claims["iat"] + MAX_LIFETIME_SECONDS:
        raise BadEnvelope(
            f"claims: lives longer than {MAX_LIFETIME_SECONDS} seconds, or not at all", ErrorCode.INVALID_PARAMS
        )


def _refuse_wrong_time(claims: Mapping[str, Any], now: int) -> None:
    if now >= claims["exp"] * _SECOND:
        raise BadEnvelope("too old", ErrorCode.EXPIRED)
    if now < (claims["iat"] - CLOCK_SKEW_SECONDS) * _SECOND:
        raise BadEnvelope("from the future: the clock of the device is wrong", ErrorCode.EXPIRED)


def _opened(claims: Mapping[str, Any]) -> Opened:
    try:
        plan = Plan.from_json(canonical_json(claims["plan"]))
    except BadStep as error:
        raise BadEnvelope(str(error), ErrorCode.INVALID_PARAMS) from error
    amount = claims["amount"]
    payment = Payment(
        order_id=claims["order_id"],
        payment_id=claims["payment_id"],
        channel=claims["channel"],
        method=claims["method"],
        amount_minor=amount["amount_minor"],
        currency=amount["currency_code"],
    )
    return Opened(
        payment=payment,
        plan=plan,
        issuer=claims["iss"],
        audience=tuple(claims["aud"]),
        jti=claims["jti"],
        expires_at=claims["exp"] * _SECOND,
        results=claims.get("results", {}),
        opens=tuple(claims.get("opens", ())),
    )
