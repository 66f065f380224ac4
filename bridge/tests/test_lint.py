"""Lint says what would fail, and nothing about what works."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.append(str(Path(__file__).resolve().parent.parent))

import vector_samples as samples

from paycore_bridge import JsapiCall, Step, StepKind, StepSchema, Target, jws
from paycore_bridge.contract import Method
from paycore_bridge.declaration import ChannelBridge, ResultTable
from paycore_bridge.envelope import TYPE, Payment, peek, seal
from paycore_bridge.keys import SigningKey
from paycore_bridge.lint import Level, lint
from paycore_bridge.messages import call

NOW = samples.NOW
KEY = SigningKey.make()
JSAPI: dict[str, Any] = {"appId": samples.APP_ID, **samples.SCRIPT}
LIBRARY = {("timestamp" if name == "timeStamp" else name): value for name, value in samples.SCRIPT.items()}
ALIPAY: dict[str, Any] = {"orderStr": samples.ORDER_STR, "showLoading": True}
IOS: dict[str, Any] = {"orderStr": samples.ORDER_STR, "fromScheme": "shoppay"}
HUAWEI: dict[str, Any] = {"orderStr": samples.HUAWEI_ORDER}


def sealed(sample: samples.Sample) -> str:
    payment = Payment("or_1", "pa_1", sample.channel, sample.method, 100, "CNY")
    return seal(
        sample.plan, payment, key=KEY, issuer="p", audience=["ios:com.x"], jti="j" * 16, now=NOW, bridge=sample.bridge
    )


def found(payload: object, **given: Any) -> list[tuple[str, str]]:
    text = payload if isinstance(payload, str) else json.dumps(payload, ensure_ascii=False)
    return [(one.where, one.what) for one in lint(text, **given).findings]


GOOD = [
    ("arguments of sdk wechat.open on android", samples.WECHAT_ANDROID, None),
    ("arguments of sdk wechat.open on ios", samples.WECHAT_IOS, None),
    ("arguments of sdk wechat.open on harmony", samples.WECHAT_ANDROID, Target.HARMONY),
    ("arguments of jsapi WeixinJSBridge", JSAPI, None),
    ("arguments of jsapi wx", LIBRARY, None),
    ("arguments of mini_program wechat", samples.SCRIPT, None),
    ("arguments of sdk alipay on android", ALIPAY, None),
    ("arguments of sdk alipay on ios", IOS, None),
    ("arguments of sdk huawei.pay on harmony", HUAWEI, None),
]


@pytest.mark.parametrize(("what", "payload", "target"), GOOD, ids=[one[0] for one in GOOD])
def test_what_works_is_recognised_and_left_alone(what: str, payload: dict[str, Any], target: Target | None) -> None:
    report = lint(json.dumps(payload), target=target, now=NOW)
    assert report.looks_like == f"the {what}"
    assert report.findings == ()


@pytest.mark.parametrize("sample", list(samples.samples()), ids=lambda sample: sample.name)
def test_every_sample_is_sound_as_plan_envelope_and_message(sample: samples.Sample) -> None:
    for payload in (
        sample.plan.to_json(),
        sealed(sample),
        json.dumps(peek(sealed(sample))),
        call(Method.PAY, {"envelope": sealed(sample)}, message_id="0123456789abcdef"),
        json.dumps(sample.plan.steps[0].as_json()),
    ):
        assert found(payload, now=NOW) == []


def swapped(payload: dict[str, Any], **names: str) -> dict[str, Any]:
    return {names.get(name, name): value for name, value in payload.items()}


ANDROID = samples.WECHAT_ANDROID
WRONG: list[tuple[str, object, dict[str, Any], tuple[str, str]]] = [
    ("case of a field", swapped(ANDROID, prepayId="prepayid"), {}, ("prepayid", "must be spelled prepayId")),
    ("case in the browser", swapped(JSAPI, timeStamp="timestamp"), {}, ("timestamp", "must be spelled timeStamp")),
    ("case in the library", Step.of(JsapiCall("wx", "chooseWXPay", samples.SCRIPT)).as_json(), {}, ("params_json.arguments.timeStamp", "must be spelled timestamp")),
    ("Android's name on iOS", swapped(samples.WECHAT_IOS, package="packageValue"), {"target": Target.IOS}, ("packageValue", "is called package here")),
    ("iOS's name on Android", swapped(ANDROID, appId="openID"), {"target": Target.ANDROID}, ("openID", "is called appId here")),
    ("milliseconds", ANDROID | {"timeStamp": "1795375803000"}, {}, ("timeStamp", "is in milliseconds")),
    ("milliseconds as a number", samples.WECHAT_IOS | {"timeStamp": 1795375803000}, {}, ("timeStamp", "is in milliseconds")),
    ("a number for a text", ANDROID | {"timeStamp": 1795375803}, {"target": Target.ANDROID}, ("timeStamp", "must be a text, not a number")),
    ("a text for a number", samples.WECHAT_IOS | {"timeStamp": "1795375803"}, {"target": Target.IOS}, ("timeStamp", "must be a number, not a text")),
    ("package of the browser in an app", ANDROID | {"packageValue": "prepay_id=wx1"}, {}, ("packageValue", "must be Sign=WXPay")),
    ("package in lower case", ANDROID | {"packageValue": "sign=wxpay"}, {}, ("packageValue", "must be Sign=WXPay")),
    ("package of an app in the browser", JSAPI | {"package": "Sign=WXPay"}, {}, ("package", "must be prepay_id=...")),
    ("bare prepay id", JSAPI | {"package": "wx201410272009395522657a690389285100"}, {}, ("package", "must begin with prepay_id=")),
    ("prefix twice", JSAPI | {"package": "prepay_id=prepay_id=wx1"}, {}, ("package", "has prepay_id= twice")),
    ("a missing field", {name: value for name, value in JSAPI.items() if name != "paySign"}, {}, ("paySign", "is missing")),
    ("an unknown field", JSAPI | {"total": 1}, {}, ("total", "is not a field of this call")),
    ("space around", JSAPI | {"nonceStr": " a"}, {}, ("nonceStr", "has spaces or line ends around it")),
    ("another app id", ANDROID, {"app_id": "wx0000000000000000"}, ("", "is for another app id")),
    ("another app id in an order", ALIPAY, {"app_id": "2021000100000099"}, ("orderStr.app_id", "is another app id")),
    ("old signature type", JSAPI | {"signType": "MD5"}, {}, ("signType", "is not RSA")),
    ("unknown signature type", JSAPI | {"signType": "SHA1"}, {}, ("signType", "must be RSA or MD5 or HMAC-SHA256")),
    ("an old time", ANDROID, {"now": NOW + 3 * 3600 * 1_000_000}, ("timeStamp", "is 3 hours old")),
    ("a future time", ANDROID, {"now": NOW - 3600 * 1_000_000}, ("timeStamp", "lies in the future")),
    ("boolean as text", ALIPAY | {"showLoading": "true"}, {}, ("showLoading", "must be true or false, not a text")),
    ("a field of another system", IOS | {"showLoading": True}, {"target": Target.IOS}, ("showLoading", "belongs to android")),
    ("order escaped for HTML", ALIPAY | {"orderStr": samples.ORDER_STR.replace("&", "&amp;")}, {}, ("orderStr", "holds &amp;")),
    ("order encoded twice", ALIPAY | {"orderStr": samples.ORDER_STR.replace("%", "%25")}, {}, ("orderStr", "is encoded twice")),
    ("order not encoded", 'app_id=1&method=alipay.trade.app.pay&biz_content={"a": 1}&sign_type=RSA2&sign=x', {}, ("orderStr", "is not encoded")),
    ("order with a bare plus", samples.ORDER_STR.replace("%2B", "+"), {}, ("orderStr.sign", "has a bare plus")),
    ("order without a signature", samples.ORDER_STR.split("&sign=")[0], {}, ("orderStr.sign", "is missing")),
    ("order of a page", samples.ORDER_STR.replace("app.pay", "wap.pay"), {}, ("orderStr.method", "is not alipay.trade.app.pay")),
    ("order number for the order", ALIPAY | {"orderStr": "pa0001"}, {}, ("orderStr", "is no order text")),
    ("Huawei's time in seconds", {"orderStr": samples.HUAWEI_ORDER.replace("1795375803000", "1795375803")}, {}, ("orderStr.timestamp", "must be milliseconds as a text")),
    ("JSON in JSON", json.dumps(json.dumps(JSAPI)), {}, ("", "is JSON inside a JSON text")),
    ("single quotes", "{'a': 1}", {}, ("", "is no JSON text")),
    ("a byte order mark", "\ufeff" + json.dumps(JSAPI), {}, ("", "begins with a byte order mark")),
    ("nothing", "  ", {}, ("", "is empty")),
    ("the same key twice", '{"appId":"a","appId":"b"}', {}, ("", "an object has the same key twice")),
    ("a list", "[1]", {}, ("", "is no object")),
    ("something else", {"hello": "world"}, {}, ("", "looks like nothing that this bridge carries")),
]  # fmt: skip


@pytest.mark.parametrize(("what", "payload", "given", "expected"), WRONG, ids=[one[0] for one in WRONG])
def test_what_would_fail_is_explained(
    what: str, payload: object, given: dict[str, Any], expected: tuple[str, str]
) -> None:
    where, words = expected
    findings = found(payload, **given)
    assert any(at == where and words in said for at, said in findings), findings


def changed_plan(change: Any) -> str:
    plain = json.loads(next(one for one in samples.samples() if one.name == "wechatpay-android").plan.to_json())
    change(plain)
    return json.dumps(plain, ensure_ascii=False)


def set_to(value: Any, *path: Any) -> Any:
    def change(plain: Any) -> None:
        for name in path[:-1]:
            plain = plain[name]
        plain[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (set_to(NOW // 1_000_000, "expires_at"), ("expires_at", "is in seconds")),
        (set_to(NOW // 1000, "expires_at"), ("expires_at", "is in milliseconds")),
        (set_to(NOW // 1000, "steps", 1, "expires_at"), ("steps.1.expires_at", "is in milliseconds")),
        (set_to(NOW - 1, "expires_at"), ("expires_at", "is over")),
        (
            set_to({"sdk": "wechat.open", "arguments": {"a": 1}}, "steps", 0, "params_json"),
            ("steps.0.params_json", "is an object"),
        ),
        (set_to('{"content": "x"}', "steps", 1, "params_json"), ("steps.1.params_json", "is not the canonical text")),
        (set_to("{", "steps", 1, "params_json"), ("steps.1.params_json", "holds no JSON object")),
        (set_to("telephone", "steps", 0, "target"), ("steps.0.target", "must be one of")),
        (set_to([], "steps"), ("steps", "has fewer than 1 items")),
        (set_to(["x"], "steps"), ("steps.0", "is no object")),
        (set_to(2, "v"), ("v", "must be 1")),
        (set_to("desktop", "steps", 0, "target"), ("steps.0.params_json", "sdk wechat.open is not known for desktop")),
    ],
)
def test_a_plan_is_explained_step_by_step(change: Any, expected: tuple[str, str]) -> None:
    assert any(at == expected[0] and expected[1] in said for at, said in found(changed_plan(change), now=NOW))


def test_two_app_ids_in_one_plan_are_seen() -> None:
    other = json.dumps({"sdk": "wechat.open", "arguments": ANDROID | {"appId": "wx0000000000000000"}})
    step = {"kind": "sdk", "target": "harmony", "requires": [], "params_json": other}

    def change(plain: Any) -> None:
        plain["steps"].append(step)

    assert ("steps.2", "is for another app id than step 0") in found(changed_plan(change))


def forged(**changed: Any) -> str:
    claims = peek(sealed(next(samples.samples()))) | changed
    return jws.sign(json.dumps(claims).encode(), key=KEY, typ=TYPE)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (forged(exp=NOW // 1000), ("exp", "is in milliseconds")),
        (forged(exp=NOW // 1_000_000 + 9_000), ("exp", "is more than 300 seconds after iat")),
        (
            forged(amount={"amount_minor": "100", "currency_code": "CNY"}),
            ("amount.amount_minor", "must be of type integer"),
        ),
        (
            forged(amount={"amount_minor": 1, "currency_code": "cny"}),
            ("amount.currency_code", "does not have the required form"),
        ),
        (forged(aud=["com.example"]), ("aud.0", "does not have the required form")),
        (forged() + "=", ("", "ends with padding")),
        ("a.b.c", ("", "holds no claims that can be read")),
        (jws.sign(b"{}", key=KEY, typ=TYPE), ("jti", "is missing")),
    ],
)
def test_an_envelope_is_explained(text: str, expected: tuple[str, str]) -> None:
    assert any(at == expected[0] and expected[1] in said for at, said in found(text))


def test_a_message_is_explained_down_to_its_envelope() -> None:
    message = json.dumps(
        {"jsonrpc": "2.0", "id": "short", "method": "paycore.pay", "params": {"v": "1.0", "envelope": forged(exp=1)}}
    )
    words = found(message, now=NOW)
    assert ("id", "is shorter than 16 characters") in words
    assert ("params.envelope.exp", "is over") in words
    assert lint('{"jsonrpc":"2.0","error":{"code":1,"message":""}}').is_wrong


def test_a_channels_own_declaration_wins() -> None:
    schema = {
        "type": "object",
        "required": ["orderString"],
        "properties": {"orderString": {"type": "string"}},
        "additionalProperties": False,
    }
    bridge = ChannelBridge.of(
        "shop", schemas=[StepSchema(StepKind.SDK, "shop", schema)], results=[ResultTable.of(StepKind.SDK, "shop", {})]
    )
    report = lint('{"orderstring":"x"}', bridges=[bridge])
    assert report.looks_like == "the arguments of sdk shop"
    assert [one.what for one in report.findings] == ["must be spelled orderString"]


def test_doubts_alone_are_not_wrong_and_no_value_is_repeated() -> None:
    report = lint(json.dumps(JSAPI | {"signType": "MD5"}))
    assert not report.is_wrong
    assert report.findings[0].level is Level.DOUBT
    secret = lint(json.dumps(ANDROID | {"sign": 5, "prepayId": "canary canary"}))
    assert secret.is_wrong
    assert not any("canary" in text for one in secret.findings for text in (one.where, one.what, one.why))


@given(st.text(max_size=200))
def test_no_text_breaks_it(text: str) -> None:
    report = lint(text)
    assert all(one.what and one.why for one in report.findings)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["steps", "jsonrpc", "aud", "params_json", "kind", "plan", "appId", "iat", "exp", "method", "params", "arguments"]), inner, max_size=5),
    max_leaves=12,
)  # fmt: skip


@given(JSON)
def test_no_json_breaks_it(plain: Any) -> None:
    lint(json.dumps(plain), now=NOW, app_id="x")
