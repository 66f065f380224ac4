"""Sealed plans: what a shell accepts, and everything that it refuses before an SDK could be called."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from paycore_bridge import (
    ClientOutcome,
    Link,
    Plan,
    Qr,
    Redirect,
    SdkCall,
    Step,
    StepKind,
    StepSchema,
    Target,
    canonical_json,
    jws,
)
from paycore_bridge.contract import ErrorCode
from paycore_bridge.declaration import ChannelBridge, ResultTable
from paycore_bridge.envelope import TYPE, BadEnvelope, Opened, Payment, UsedOnce, open_envelope, peek, seal
from paycore_bridge.keys import KeySet, SigningKey

KEY = SigningKey.make()
KEYS = KeySet.of(KEY)
NOW = 1_795_000_000_000_000
SECOND = 1_000_000
APP = "ios:com.example.shop"
PAYMENT = Payment("or_1", "pa_1", "shop", "app", 12_800, "CNY")
BRIDGE = ChannelBridge.of(
    "shop",
    schemas=[StepSchema(StepKind.SDK, "shop", {"type": "object"})],
    results=[ResultTable.of(StepKind.SDK, "shop", {"0": ClientOutcome.SUCCESS_CLAIMED})],
    opens=["shoppay"],
)
PLAN = Plan.of(
    Step.of(SdkCall("shop", {"order": "<&'\"\u2028二"}), target=Target.IOS, requires=["shop.sdk"]),
    Step.of(SdkCall("shop", {"order": "a"}), target=Target.ANDROID),
    Step.of(Link("shoppay://go"), expires_at=NOW - 1),
    Step.of(Redirect("https://pay.example/")),
    Step.of(Qr("q"), target=Target.DESKTOP),
    expires_at=NOW + 3_600 * SECOND,
)


def sealed(**changed: Any) -> str:
    given: dict[str, Any] = {
        "key": KEY,
        "issuer": "paycore",
        "audience": [APP],
        "jti": "j" * 16,
        "now": NOW,
        "origins": ["https://pay.example"],
        "bridge": BRIDGE,
    }
    return seal(given.pop("plan", PLAN), PAYMENT, **(given | changed))


def opened(text: str, **changed: Any) -> Opened:
    given: dict[str, Any] = {"keys": KEYS, "audience": APP, "now": NOW, "take": UsedOnce().take}
    return open_envelope(text, **(given | changed))


def refusal(text: str, **changed: Any) -> ErrorCode:
    with pytest.raises(BadEnvelope) as caught:
        opened(text, **changed)
    return caught.value.code


def test_what_is_sealed_is_opened() -> None:
    found = opened(sealed(), origin="https://pay.example")
    assert found.payment == PAYMENT
    assert found.plan.steps == tuple(step for step in PLAN.steps if step.is_usable(NOW))
    assert found.results == {"sdk:shop": {"is": {"0": ["success_claimed"]}}}
    assert found.opens == ("shoppay",)
    assert (found.issuer, found.audience, found.expires_at) == ("paycore", (APP,), NOW + 300 * SECOND)


def test_only_the_steps_of_the_device_are_sealed() -> None:
    kinds = [step.kind for step in opened(sealed(target=Target.IOS)).plan.steps]
    assert kinds == [StepKind.SDK, StepKind.REDIRECT]
    assert len(sealed(target=Target.IOS)) < len(sealed())


def test_an_envelope_ends_no_later_than_its_plan() -> None:
    short = dataclasses.replace(PLAN, expires_at=NOW + 10 * SECOND)
    text = seal(short, PAYMENT, key=KEY, issuer="p", audience=[APP], jti="j" * 16, now=NOW)
    assert opened(text).expires_at == NOW + 10 * SECOND


def test_one_second_decides() -> None:
    text = sealed()
    assert opened(text, now=NOW + 300 * SECOND - 1).jti
    assert refusal(text, now=NOW + 300 * SECOND) is ErrorCode.EXPIRED
    assert opened(text, now=NOW - 60 * SECOND).jti
    assert refusal(text, now=NOW - 61 * SECOND) is ErrorCode.EXPIRED


def test_it_is_used_once_and_a_refused_one_is_not_used_up() -> None:
    text, used = sealed(), UsedOnce()
    assert refusal(text, take=used.take, audience="ios:com.example.other") is ErrorCode.SIGNATURE_INVALID
    assert refusal(text, take=used.take, origin="https://evil.example") is ErrorCode.ORIGIN_REJECTED
    assert opened(text, take=used.take).jti
    assert refusal(text, take=used.take) is ErrorCode.REPLAYED
    assert opened(sealed(jti="k" * 16), take=used.take).jti


def test_a_full_memory_refuses_and_time_empties_it() -> None:
    used = UsedOnce(most=1)
    assert used.take("a", until=10, now=0)
    assert not used.take("b", until=10, now=9)
    assert used.take("b", until=20, now=10)


def test_another_app_another_key_another_page() -> None:
    text = sealed()
    assert refusal(text, audience="android:com.example.shop") is ErrorCode.SIGNATURE_INVALID
    assert refusal(text, keys=KeySet.of(SigningKey.make())) is ErrorCode.SIGNATURE_INVALID
    assert refusal(text, origin="http://pay.example") is ErrorCode.ORIGIN_REJECTED
    assert refusal(text, origin="https://pay.example.evil.example") is ErrorCode.ORIGIN_REJECTED
    assert opened(sealed(origins=[]), origin="https://anything.example").jti


def forged(**changed: Any) -> str:
    """Signed by the right key, with claims that no server of ours makes."""
    claims = peek(sealed()) | changed
    text = canonical_json({name: value for name, value in claims.items() if value is not ...})
    return jws.sign(text.encode(), key=KEY, typ=TYPE)


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"exp": NOW // SECOND + 301}, ErrorCode.INVALID_PARAMS),
        ({"exp": NOW // SECOND}, ErrorCode.INVALID_PARAMS),
        ({"exp": NOW}, ErrorCode.INVALID_PARAMS),
        ({"exp": "soon"}, ErrorCode.INVALID_PARAMS),
        ({"aud": []}, ErrorCode.INVALID_PARAMS),
        ({"aud": APP}, ErrorCode.INVALID_PARAMS),
        ({"jti": "short"}, ErrorCode.INVALID_PARAMS),
        ({"jti": ...}, ErrorCode.INVALID_PARAMS),
        ({"v": "2.0"}, ErrorCode.VERSION_UNSUPPORTED),
        ({"v": "1.7"}, None),
        ({"amount": {"amount_minor": -1, "currency_code": "CNY"}}, ErrorCode.INVALID_PARAMS),
        ({"amount": ...}, ErrorCode.INVALID_PARAMS),
        ({"plan": {"v": 1, "steps": []}}, ErrorCode.INVALID_PARAMS),
        ({"plan": {"v": 1, "steps": [{"kind": "link", "target": "any", "requires": [], "params_json": '{"url":"javascript:1"}'}]}}, ErrorCode.INVALID_PARAMS),
        ({"opens": ["x"] * 20}, ErrorCode.INVALID_PARAMS),
        ({"extra": 1}, ErrorCode.INVALID_PARAMS),
    ],
)  # fmt: skip
def test_claims_that_do_not_fit_are_refused_although_signed(changed: dict[str, Any], code: ErrorCode | None) -> None:
    if code is None:
        assert opened(forged(**changed)).jti
    else:
        assert refusal(forged(**changed)) is code


def test_a_token_of_another_purpose_is_refused() -> None:
    payload = canonical_json(peek(sealed())).encode()
    assert refusal(jws.sign(payload, key=KEY, typ="JWT")) is ErrorCode.SIGNATURE_INVALID
    assert refusal(jws.sign(b"\xff", key=KEY, typ=TYPE)) is ErrorCode.INVALID_PARAMS
    assert refusal(jws.sign(b"[]", key=KEY, typ=TYPE)) is ErrorCode.INVALID_PARAMS


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"now": NOW + 3_600 * SECOND}, ErrorCode.EXPIRED),
        ({"target": Target.TV_CAR, "now": NOW}, None),
        ({"audience": []}, ErrorCode.INVALID_PARAMS),
        ({"audience": ["com.example"]}, ErrorCode.INVALID_PARAMS),
        ({"jti": "j"}, ErrorCode.INVALID_PARAMS),
        ({"lifetime_seconds": 301}, ErrorCode.INVALID_PARAMS),
        ({"lifetime_seconds": 0}, ErrorCode.INVALID_PARAMS),
        ({"origins": ["https://pay.example/path"]}, ErrorCode.INVALID_PARAMS),
        ({"origins": ["http://pay.example"]}, ErrorCode.INVALID_PARAMS),
    ],
)
def test_what_may_not_be_sealed(changed: dict[str, Any], code: ErrorCode | None) -> None:
    if code is None:
        assert sealed(**changed)
        return
    with pytest.raises(BadEnvelope) as caught:
        sealed(**changed)
    assert caught.value.code is code


def test_no_step_left_is_said() -> None:
    only_ios = Plan.of(Step.of(SdkCall("shop", {"a": "1"}), target=Target.IOS))
    with pytest.raises(BadEnvelope) as caught:
        seal(only_ios, PAYMENT, key=KEY, issuer="p", audience=[APP], jti="j" * 16, now=NOW, target=Target.ANDROID)
    assert caught.value.code is ErrorCode.UNSUPPORTED


def test_the_words_of_a_refusal_hold_nothing_of_the_plan() -> None:
    secret = Plan.of(Step.of(SdkCall("shop", {"order": "canary" * 10_000})))
    with pytest.raises(BadEnvelope) as caught:
        seal(secret, PAYMENT, key=KEY, issuer="p", audience=[APP], jti="j" * 16, now=NOW)
    assert "canary" not in str(caught.value)


def test_peeking_proves_nothing_and_reads_everything() -> None:
    assert peek(sealed())["payment_id"] == "pa_1"
    assert json.loads(canonical_json(peek(sealed())["amount"])) == {"amount_minor": 12_800, "currency_code": "CNY"}
    with pytest.raises(ValueError, match="three parts"):
        peek("nothing")
