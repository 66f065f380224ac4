"""Steps and plans: what is written, what is read back, what is refused."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paycore_bridge import (
    BadJson,
    BadSchema,
    BadStep,
    ClientOutcome,
    Form,
    JsapiCall,
    Link,
    MiniProgramCall,
    Nothing,
    Plan,
    Qr,
    Redirect,
    SdkCall,
    Step,
    StepContent,
    StepKind,
    StepSchema,
    StepSchemas,
    StorePurchase,
    Target,
    canonical_json,
    parse_json,
)

GOLDEN = Path(__file__).parent / "golden"
TOKEN = "0f8fad5b-d9cb-469f-a165-70867728950e"
EXPIRES_AT = 1_795_000_000_000_000

CONTENTS: dict[StepKind, StepContent] = {
    StepKind.SDK: SdkCall(
        "alipay", {"orderStr": "app_id=1&sign=a%2Bb%3D", "fromScheme": "shop", "universalLink": "https://a.example/"}
    ),
    StepKind.JSAPI: JsapiCall(
        "WeixinJSBridge", "getBrandWCPayRequest", {"timeStamp": "1795000000", "package": "prepay_id=p1"}
    ),
    StepKind.MINI_PROGRAM: MiniProgramCall("wechat", "requestPayment", {"timeStamp": "1795000000", "signType": "RSA"}),
    StepKind.LINK: Link("alipays://platformapi/startapp?appId=20000067"),
    StepKind.REDIRECT: Redirect(
        "https://pay.example/h5?id=1&redirect_url=https%3A%2F%2Fshop.example", referer="https://shop.example/"
    ),
    StepKind.FORM: Form("https://pay.example/gateway", (("b", "二"), ("a", "<\"'&>"), ("b", "again"))),
    StepKind.QR: Qr("https://qr.example/bax0123456789"),
    StepKind.STORE_PURCHASE: StorePurchase("apple", "com.example.gold.100", TOKEN, quantity=2),
    StepKind.NONE: Nothing(),
}


def a_plan() -> Plan:
    steps = [
        Step.of(
            content, target=Target.ANY, requires=("shell.pay",) if kind is StepKind.SDK else (), expires_at=EXPIRES_AT
        )
        for kind, content in CONTENTS.items()
    ]
    return Plan.of(*steps, expires_at=EXPIRES_AT)


def test_every_kind_has_a_sample_and_every_sample_passes() -> None:
    assert set(CONTENTS) == set(StepKind)
    a_plan().check()


@pytest.mark.parametrize("kind", list(StepKind))
def test_content_survives_the_text(kind: StepKind) -> None:
    assert Step.of(CONTENTS[kind]).content == CONTENTS[kind]


def test_the_stored_plan_is_exactly_the_golden_text() -> None:
    text = (GOLDEN / "plan.json").read_text(encoding="utf-8").rstrip("\n")
    assert a_plan().to_json() == text
    assert Plan.from_json(text) == a_plan()


def test_absent_expiry_stays_absent() -> None:
    plan = Plan.of(Step.of(Nothing()))
    assert "expires_at" not in plan.to_json()
    assert Plan.from_json(plan.to_json()) == plan


def test_a_form_keeps_the_order_and_repetition_of_its_fields() -> None:
    step = Step.of(CONTENTS[StepKind.FORM])
    assert [one["name"] for one in step.params["fields"]] == ["b", "a", "b"]


def test_a_device_gets_its_own_steps_in_order_and_none_that_expired() -> None:
    early = Step.of(Qr("first"), target=Target.DESKTOP, expires_at=100)
    ios = Step.of(Qr("ios"), target=Target.IOS)
    last = Step.of(Qr("last"))
    plan = Plan.of(early, ios, last, expires_at=200)
    assert plan.for_device(Target.DESKTOP, 99) == (early, last)
    assert plan.for_device(Target.DESKTOP, 100) == (last,)
    assert plan.for_device(Target.IOS, 150) == (ios, last)
    assert plan.for_device(Target.IOS, 200) == ()
    assert plan.first(StepKind.QR) is early
    assert plan.first(StepKind.SDK) is None


def test_steps_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Step.of(Nothing()).kind = StepKind.QR  # type: ignore[misc]


BAD_CONTENTS: list[tuple[str, StepContent, str]] = [
    ("sdk name in capitals", SdkCall("Alipay", {"a": 1}), "sdk"),
    ("sdk without arguments", SdkCall("alipay", {}), "arguments"),
    ("script object with a bracket", JsapiCall("a['b']", "m", {"a": 1}), "bridge"),
    ("script method with a call", JsapiCall("A", "m()", {"a": 1}), "method"),
    ("mini program host empty", MiniProgramCall("", "m", {"a": 1}), "host"),
    ("link runs script", Link("javascript://%0aalert(1)"), "url"),
    ("link in capitals hides its scheme", Link("JAVASCRIPT://x"), "url"),
    ("link reads a file", Link("file:///etc/passwd"), "url"),
    ("link is an Android intent", Link("intent://scan/#Intent;end"), "url"),
    ("link with a user name", Link("https://pay.example@evil.example/"), "url"),
    ("redirect over plain HTTP", Redirect("http://pay.example/"), "url"),
    ("redirect to a host that only begins like loopback", Redirect("http://localhost.evil.example/"), "url"),
    ("redirect with a user name", Redirect("https://pay.example@evil.example/"), "url"),
    ("redirect with a backslash", Redirect("https://pay.example\\@evil.example/"), "url"),
    ("redirect with a line feed at the end", Redirect("https://pay.example/\n"), "url"),
    ("redirect with a quote", Redirect('https://pay.example/"onload="'), "url"),
    ("redirect relative", Redirect("/pay"), "url"),
    ("redirect too long", Redirect("https://pay.example/" + "a" * 4096), "url"),
    ("referer of a script", Redirect("https://pay.example/", referer="javascript:1"), "referer"),
    ("form by PUT", Form("https://pay.example/", (("a", "b"),), method="PUT"), "method"),
    ("form without fields", Form("https://pay.example/", ()), "fields"),
    ("form field without a name", Form("https://pay.example/", (("", "b"),)), "fields.0.name"),
    ("QR of nothing", Qr(""), "content"),
    ("QR with NUL", Qr("a\0b"), "content"),
    ("QR nobody can scan", Qr("a" * 513), "content"),
    ("purchase of nothing", StorePurchase("apple", "p", TOKEN, quantity=0), "quantity"),
    ("purchase of true", StorePurchase("apple", "p", TOKEN, quantity=True), "quantity"),
    ("purchase under a token in capitals", StorePurchase("apple", "p", TOKEN.upper()), "account_token"),
    ("purchase of a path", StorePurchase("apple", "../p", TOKEN), "product_id"),
]


@pytest.mark.parametrize(
    ("content", "named"), [case[1:] for case in BAD_CONTENTS], ids=[case[0] for case in BAD_CONTENTS]
)
def test_a_bad_step_is_refused_and_the_field_is_named(content: StepContent, named: str) -> None:
    with pytest.raises(BadStep, match=rf"{content.kind} step: {named}\b"):
        Step.of(content).check()


@pytest.mark.parametrize(
    "arguments",
    [
        {"a": 1.5},
        {"a": 2**53},
        {"a": -(2**53)},
        {"a": "\ud800"},
        {"\ud800": 1},
        {1: "a"},
        {"a": b"b"},
        {"a": {1, 2}},
        {"a": float("nan")},
    ],
    ids=[
        "fraction",
        "too large",
        "too small",
        "half a pair",
        "half a pair as key",
        "number as key",
        "bytes",
        "set",
        "not a number",
    ],
)
def test_arguments_some_shell_would_change_are_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(BadStep):
        Step.of(SdkCall("alipay", arguments))


@pytest.mark.parametrize(
    "text",
    [
        '{"content": "a"}',
        '{"content":"a"} ',
        '{"content":"a","content":"a"}',
        '{"content":"\\u0061"}',
        "[]",
        "null",
        "",
        "{",
        "{}",
        '{"x":1,"content":"a"}',
    ],
)
def test_a_params_text_that_is_not_canonical_or_not_fitting_is_refused(text: str) -> None:
    with pytest.raises(BadStep):
        Step(StepKind.QR, text).check()


def test_params_longer_than_a_shell_accepts_are_refused() -> None:
    with pytest.raises(BadStep, match="16384 bytes"):
        Step.of(SdkCall("alipay", {"orderStr": "字" * 6000})).check()


def test_deep_nesting_is_refused_whether_written_or_read() -> None:
    value: object = 1
    for _ in range(40):
        value = [value]
    with pytest.raises(BadJson):
        canonical_json(value)
    for depth in (40, 100_000):
        with pytest.raises(BadJson):
            parse_json("[" * depth + "]" * depth)


BAD_PLANS: list[tuple[str, Callable[[dict[str, object]], object]]] = [
    ("no steps", lambda plan: plan.update(steps=[])),
    ("too many steps", lambda plan: plan.update(steps=[_plain_nothing()] * 17)),
    ("unknown version", lambda plan: plan.update(v=2)),
    ("version true", lambda plan: plan.update(v=True)),
    ("unknown field", lambda plan: plan.update(note="x")),
    ("unknown kind", lambda plan: plan.update(steps=[_plain_nothing() | {"kind": "teleport"}])),
    ("unknown target", lambda plan: plan.update(steps=[_plain_nothing() | {"target": "fridge"}])),
    ("requirement in capitals", lambda plan: plan.update(steps=[_plain_nothing() | {"requires": ["A"]}])),
    ("requirement twice", lambda plan: plan.update(steps=[_plain_nothing() | {"requires": ["a", "a"]}])),
    ("expiry of a step before time began", lambda plan: plan.update(steps=[_plain_nothing() | {"expires_at": 0}])),
    ("expiry as text", lambda plan: plan.update(expires_at="1")),
    ("params as an object", lambda plan: plan.update(steps=[_plain_nothing() | {"params_json": {}}])),
    ("params of another kind", lambda plan: plan.update(steps=[_plain_nothing() | {"params_json": '{"content":"a"}'}])),
]


def _plain_nothing() -> dict[str, object]:
    return {"kind": "none", "target": "any", "requires": [], "params_json": "{}"}


@pytest.mark.parametrize("spoil", [case[1] for case in BAD_PLANS], ids=[case[0] for case in BAD_PLANS])
def test_a_bad_plan_is_refused(spoil: Callable[[dict[str, object]], object]) -> None:
    plain: dict[str, object] = {"v": 1, "steps": [_plain_nothing()]}
    Plan.from_json(json.dumps(plain))
    spoil(plain)
    with pytest.raises(BadStep):
        Plan.from_json(json.dumps(plain))


@pytest.mark.parametrize("text", ["", "nonsense", "[]", '{"v":1,"v":1,"steps":[]}', "1e9", '"' * 3])
def test_a_text_that_is_no_plan_is_refused(text: str) -> None:
    with pytest.raises(BadStep):
        Plan.from_json(text)


def test_the_refusal_of_a_plan_names_the_step() -> None:
    with pytest.raises(BadStep, match="step 1: qr step: content"):
        Plan.of(Step.of(Nothing()), Step.of(Qr(""))).check()


def test_a_refusal_never_repeats_the_value() -> None:
    with pytest.raises(BadStep) as refused:
        Step.of(Redirect("canary-secret")).check()
    assert "canary" not in str(refused.value)


ANDROID = {
    "type": "object",
    "required": ["timeStamp"],
    "properties": {"timeStamp": {"type": "string", "pattern": "^[0-9]{10}$"}},
    "additionalProperties": False,
}
IOS = {
    "type": "object",
    "required": ["timeStamp"],
    "properties": {"timeStamp": {"type": "integer", "minimum": 1}},
    "additionalProperties": False,
}
DECLARED = StepSchemas.of(
    [
        StepSchema(StepKind.SDK, "wechat.open", ANDROID, Target.ANDROID),
        StepSchema(StepKind.SDK, "wechat.open", IOS, Target.IOS),
        StepSchema(StepKind.JSAPI, "WeixinJSBridge", ANDROID),
    ]
)


@pytest.mark.parametrize(
    ("content", "target", "refused"),
    [
        (SdkCall("wechat.open", {"timeStamp": "1795000000"}), Target.ANDROID, None),
        (SdkCall("wechat.open", {"timeStamp": 1795000000}), Target.IOS, None),
        (SdkCall("wechat.open", {"timeStamp": 1795000000}), Target.ANDROID, "timeStamp must be of type string"),
        (
            SdkCall("wechat.open", {"timeStamp": "1795000000000"}),
            Target.ANDROID,
            "timeStamp does not have the required form",
        ),
        (
            SdkCall("wechat.open", {"timestamp": "1795000000"}),
            Target.ANDROID,
            "timestamp is not a known field|timeStamp is missing",
        ),
        (SdkCall("wechat.open", {"timeStamp": "1795000000"}), Target.HARMONY, "not declared for target harmony"),
        (SdkCall("alipay", {"a": 1}), Target.IOS, "alipay is not declared"),
        (JsapiCall("WeixinJSBridge", "getBrandWCPayRequest", {"timeStamp": "1795000000"}), Target.WEBVIEW, None),
        (Qr("kinds without vendor arguments need no declaration"), Target.ANY, None),
    ],
)
def test_a_plugins_schemas_hold_for_its_surface_and_target(
    content: StepContent, target: Target, refused: str | None
) -> None:
    plan = Plan.of(Step.of(content, target=target))
    plan.check()
    if refused is None:
        plan.check(DECLARED)
    else:
        with pytest.raises(BadStep, match=refused):
            plan.check(DECLARED)


@pytest.mark.parametrize(
    "declared",
    [
        [StepSchema(StepKind.SDK, "a", {"oneOf": []})],
        [StepSchema(StepKind.SDK, "a", {"type": "number"})],
        [StepSchema(StepKind.SDK, "a", {"properties": {"b": {"format": "uri"}}})],
        [StepSchema(StepKind.SDK, "a", {"pattern": "("})],
        [StepSchema(StepKind.SDK, "a", {}), StepSchema(StepKind.SDK, "a", {})],
        [StepSchema(StepKind.QR, "a", {})],
    ],
    ids=[
        "unknown keyword",
        "unknown type",
        "unknown keyword below",
        "broken pattern",
        "twice",
        "kind without arguments",
    ],
)
def test_a_schema_we_could_only_half_check_is_refused(declared: list[StepSchema]) -> None:
    with pytest.raises(BadSchema):
        StepSchemas.of(declared)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(json_values)
def test_canonical_text_is_a_fixed_point(value: object) -> None:
    text = canonical_json(value)
    assert parse_json(text) == value
    assert canonical_json(parse_json(text)) == text


@given(st.dictionaries(st.text(min_size=1), json_values, min_size=1, max_size=4), st.sampled_from(Target))
def test_any_arguments_survive_storage(arguments: dict[str, object], target: Target) -> None:
    plan = Plan.of(Step.of(SdkCall("sandbox", arguments), target=target))
    stored = Plan.from_json(plan.to_json())
    assert stored == plan
    assert stored.steps[0].params_json == plan.steps[0].params_json


@given(st.text())
def test_reading_an_outcome_is_total(text: str) -> None:
    known = {outcome.value for outcome in ClientOutcome}
    assert ClientOutcome.read(text) is (ClientOutcome(text) if text in known else ClientOutcome.UNKNOWN)
    assert known == {"success_claimed", "processing", "cancelled", "failed", "not_installed", "unknown"}
