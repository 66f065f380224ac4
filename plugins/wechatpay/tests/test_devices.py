"""What WeChat's software on a device takes of our plans, and what it would not; the pages; runs that repeat."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from paycore.channel import Ready, Reply, Request
from paycore_bridge import (
    BadStep,
    ClientOutcome,
    JsapiCall,
    MiniProgramCall,
    Plan,
    Redirect,
    SdkCall,
    Step,
    Target,
)
from paycore_wechatpay import BRIDGE, STEP_SCHEMAS, WechatPaySimulator, outcome_of
from paycore_wechatpay.simulator import Payer, Phone, Rejected

from .support import BASE, HOUR, MINUTE, NOW, World

DEVICES = {
    "app": (Target.ANDROID, Target.IOS, Target.HARMONY),
    "jsapi": (Target.WEBVIEW,),
    "mini_program": (Target.MINI_PROGRAM,),
}


@pytest.fixture
def world() -> World:
    return World()


def plan_of(world: World, method: str, **changes: Any) -> Plan:
    finding = world.hold(world.channel.prepare(world.payment(method, f"pay-{method}", **changes)))
    assert isinstance(finding, Ready)
    return Plan.from_json(finding.plan_json)


def arguments_of(step: Step) -> dict[str, Any]:
    arguments: dict[str, Any] = step.params["arguments"]
    return arguments


# ---------------------------------------------------------------------------------------------- names and types

ANDROID = {"appId", "partnerId", "prepayId", "packageValue", "nonceStr", "timeStamp", "sign"}
IOS = {"openID", "partnerId", "prepayId", "package", "nonceStr", "timeStamp", "sign"}
SCRIPT = {"timeStamp", "nonceStr", "package", "signType", "paySign"}


def test_every_target_has_its_own_names_and_types(world: World) -> None:
    android, ios, harmony = (step for step in plan_of(world, "app", target="").steps)
    assert (android.target, ios.target, harmony.target) == (Target.ANDROID, Target.IOS, Target.HARMONY)
    assert arguments_of(android) == arguments_of(harmony)
    assert (set(arguments_of(android)), set(arguments_of(ios))) == (ANDROID, IOS)
    assert arguments_of(android)["timeStamp"] == str(arguments_of(ios)["timeStamp"]) == str(NOW // 1_000_000)
    assert type(arguments_of(ios)["timeStamp"]) is int
    assert arguments_of(android)["packageValue"] == arguments_of(ios)["package"] == "Sign=WXPay"
    own, library = plan_of(world, "jsapi").steps
    assert set(arguments_of(own)) == SCRIPT | {"appId"}
    assert set(arguments_of(library)) == SCRIPT - {"timeStamp"} | {"timestamp"}
    (mini,) = plan_of(world, "mini_program").steps
    assert set(arguments_of(mini)) == SCRIPT
    assert all(isinstance(value, str) for value in (*arguments_of(own).values(), *arguments_of(mini).values()))
    assert arguments_of(own)["package"].startswith("prepay_id=")
    assert arguments_of(own)["signType"] == "RSA"


def test_only_the_target_that_was_asked_for_is_signed_for(world: World) -> None:
    assert [step.target for step in plan_of(world, "app", target="ios").steps] == [Target.IOS]


def test_an_h5_page_is_entered_with_its_way_back_and_its_referer(world: World) -> None:
    (step,) = plan_of(world, "h5").steps
    page = step.content
    assert isinstance(page, Redirect)
    assert parse_qs(urlsplit(page.url).query)["redirect_url"] == ["https://shop.example/back?order=1"]
    assert page.referer == "https://shop.example/"
    assert step.target is Target.MOBILE_WEB
    own = dict(world.simulator.settings(BASE)) | {"h5_referer": "https://pay.shop.example/cashier"}
    from .support import open_channel

    world.channel = open_channel(own)
    page = plan_of(world, "h5").steps[0].content
    assert isinstance(page, Redirect)
    assert page.referer == "https://pay.shop.example/cashier"


# ---------------------------------------------------------------------------------------------- what is taken, what is not


@pytest.mark.parametrize(
    ("method", "device"), [(method, one) for method, devices in DEVICES.items() for one in devices]
)
def test_each_device_takes_what_it_is_given(world: World, method: str, device: Target) -> None:
    plan = plan_of(world, method, target=device.value if method == "app" else "")
    claim = Phone(world.simulator, device).run(plan.to_json(), world.now)
    assert (claim.payment_id, claim.outcome) == (f"pay-{method}", ClientOutcome.SUCCESS_CLAIMED)
    trade = world.simulator.trade(f"pay-{method}")
    assert trade is not None
    assert trade.paid_minor == 12800


def spoilt(given: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """A request with one thing wrong: each value another, empty, of another type, missing, under a name in another case."""
    for name, value in given.items():
        other = value + 1 if isinstance(value, int) else f"{value[:-2]}{'A' if value[-2] != 'A' else 'B'}{value[-1]}"
        yield f"{name} is another", given | {name: other}
        yield f"{name} is empty", given | {name: 0 if isinstance(value, int) else ""}
        yield f"{name} is of another type", given | {name: str(value) if isinstance(value, int) else 7}
        yield f"{name} is null", given | {name: None}
        rest = {key: one for key, one in given.items() if key != name}
        yield f"{name} is missing", rest
        yield f"{name} is in lower case", rest | {name.lower() if name.lower() != name else name.upper(): value}
    yield "there is one more", given | {"extra": "1"}


def call_with(step: Step, arguments: dict[str, Any]) -> Step:
    content = step.content
    match content:
        case SdkCall():
            made: SdkCall | JsapiCall | MiniProgramCall = SdkCall(content.sdk, arguments)
        case JsapiCall():
            made = JsapiCall(content.bridge, content.method, arguments)
        case MiniProgramCall():
            made = MiniProgramCall(content.host, content.method, arguments)
        case _:
            raise AssertionError(step.kind)
    return Step.of(made, target=step.target)


@pytest.mark.parametrize("method", DEVICES)
def test_a_device_rejects_what_the_sdk_would_reject(world: World, method: str) -> None:
    tried = 0
    for step in plan_of(world, method, target="").steps:
        assert world.simulator.open_step(step, step.target, world.now) == f"pay-{method}"
        for name, arguments in spoilt(arguments_of(step)):
            with pytest.raises(Rejected):
                world.simulator.open_step(call_with(step, arguments), step.target, world.now)
            tried += bool(name)
    assert tried >= 30


@pytest.mark.parametrize("method", DEVICES)
def test_the_schemas_reject_other_names_and_types(world: World, method: str) -> None:
    """What a shell can see without a key: every name in its case, every type, nothing more."""
    for step in plan_of(world, method, target="").steps:
        step.check(STEP_SCHEMAS)
        for name, arguments in spoilt(arguments_of(step)):
            if name.endswith("is another"):
                continue  # only a signature tells one text from another
            with pytest.raises(BadStep):
                call_with(step, arguments).check(STEP_SCHEMAS)


def test_one_systems_request_is_not_anothers(world: World) -> None:
    android, ios, _ = plan_of(world, "app", target="").steps
    for step, device in ((android, Target.IOS), (ios, Target.ANDROID), (android, Target.WEBVIEW)):
        with pytest.raises(Rejected):
            world.simulator.open_step(step, device, world.now)


def test_what_is_too_old_is_rejected(world: World) -> None:
    for method, lifetime in (("app", 2 * HOUR), ("jsapi", 2 * HOUR), ("native", 2 * HOUR), ("h5", 5 * MINUTE)):
        plan = plan_of(world, method, expires_at=NOW + 5 * HOUR)
        world.now = NOW + lifetime - 1
        assert world.simulator.accept(plan.to_json(), world.now) == f"pay-{method}"
        world.now = NOW + lifetime
        with pytest.raises(Rejected):
            world.simulator.accept(plan.to_json(), world.now)
        world.now = NOW


@pytest.mark.parametrize(
    ("payer", "raw_codes", "outcome"),
    [
        (Payer.PAYS, {"0", "get_brand_wcpay_request:ok", "requestPayment:ok"}, ClientOutcome.SUCCESS_CLAIMED),
        (
            Payer.CANCELS,
            {"-2", "get_brand_wcpay_request:cancel", "requestPayment:fail cancel"},
            ClientOutcome.CANCELLED,
        ),
    ],
)
def test_devices_claim_in_their_own_words(
    world: World, payer: Payer, raw_codes: set[str], outcome: ClientOutcome
) -> None:
    seen = set()
    for method, devices in DEVICES.items():
        plan = plan_of(world, method)
        claim = Phone(world.simulator, devices[0]).run(plan.to_json(), world.now, payer)
        assert claim.outcome is outcome
        seen.add(claim.raw_code)
    assert seen == raw_codes


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("0", ClientOutcome.SUCCESS_CLAIMED),
        ("-1", ClientOutcome.FAILED),
        ("-2", ClientOutcome.CANCELLED),
        ("-5", ClientOutcome.NOT_INSTALLED),
        ("-99", ClientOutcome.UNKNOWN),
        ("", ClientOutcome.UNKNOWN),
        ("ok", ClientOutcome.UNKNOWN),
        ("get_brand_wcpay_request:ok", ClientOutcome.SUCCESS_CLAIMED),
        ("get_brand_wcpay_request:okay", ClientOutcome.UNKNOWN),
        ("get_brand_wcpay_request:cancel", ClientOutcome.CANCELLED),
        ("get_brand_wcpay_request:fail", ClientOutcome.FAILED),
        ("chooseWXPay:ok", ClientOutcome.SUCCESS_CLAIMED),
        ("chooseWXPay:fail, the permission value is offline verifying", ClientOutcome.FAILED),
        ("requestPayment:ok", ClientOutcome.SUCCESS_CLAIMED),
        ("requestPayment:fail cancel", ClientOutcome.CANCELLED),
        ("requestPayment:fail (detail message)", ClientOutcome.FAILED),
        ("somethingElse:ok", ClientOutcome.UNKNOWN),
    ],
)
def test_what_a_code_claims(code: str, outcome: ClientOutcome) -> None:
    assert outcome_of(code) is outcome


def test_every_surface_says_what_its_codes_mean() -> None:
    sources = {table.source for table in BRIDGE.results}
    assert sources == {f"{one.kind}:{one.surface}" for one in BRIDGE.schemas.declared}


# ---------------------------------------------------------------------------------------------- pages, runs


def browse(world: World, method: str, url: str, body: bytes = b"", **headers: str) -> Reply:
    reply = world.simulator.handle(Request(method, url, headers=headers, body=body), world.now)
    assert reply is not None
    return reply


def test_a_person_pays_on_a_page(world: World) -> None:
    world.hold(world.channel.prepare(world.payment(subject="<b>Tea</b>")))
    shown = browse(world, "GET", f"{BASE}/").body.decode()
    assert "&lt;b&gt;Tea&lt;/b&gt;" in shown
    assert "<b>Tea" not in shown
    token = world.simulator.books.trades["py0001"].token
    assert "付款" in browse(world, "GET", f"{BASE}/pay/{token}").body.decode()
    assert browse(world, "POST", f"{BASE}/pay/{token}", b"action=other").status == 400
    assert "已付款" in browse(world, "POST", f"{BASE}/pay/{token}", b"action=pay").body.decode()
    assert browse(world, "GET", f"{BASE}/pay/other").status == 404
    assert world.deliver()[0].status == 204


def test_an_h5_page_wants_the_registered_referer(world: World) -> None:
    world.simulator.h5_domains = frozenset({"shop.example"})
    page = plan_of(world, "h5").steps[0].content
    assert isinstance(page, Redirect)
    assert browse(world, "GET", page.url).status == 400
    assert browse(world, "GET", page.url, referer="https://other.example/").status == 400
    entered = browse(world, "GET", page.url, referer=page.referer or "")
    assert entered.status == 200
    assert "https://shop.example/back?order=1" in entered.body.decode()
    world.now += 6 * MINUTE
    assert browse(world, "GET", page.url, referer=page.referer or "").status == 400


def test_with_a_seed_a_run_repeats_and_without_one_keys_are_new() -> None:
    runs = []
    for _ in range(2):
        world = World(WechatPaySimulator("seed"))
        world.pay_by_code()
        runs.append([(notice.key, notice.request) for notice in world.notices()])
    assert runs[0] == runs[1]
    assert WechatPaySimulator().settings(BASE) != WechatPaySimulator().settings(BASE)


def test_whoever_is_not_a_merchant_is_refused(world: World) -> None:
    request = next(world.channel.query(world.payment()))
    genuine = request.headers["authorization"]
    for spoilt_header in (
        "",
        "Bearer x",
        genuine.replace("1900000109", "1900000110"),
        genuine.replace("SHA256", "SHA1"),
    ):
        headers = {**request.headers, "authorization": spoilt_header}
        reply = world.simulator.handle(Request("GET", request.url, headers=headers), world.now)
        assert reply is not None
        assert (reply.status, json.loads(reply.body)["code"]) == (401, "SIGN_ERROR")
    late = world.simulator.handle(request, world.now + 300 * 1_000_000)
    assert late is not None
    assert late.status == 401
    world.simulator.merchants.retire("1900000109", 1)
    gone = world.simulator.handle(request, world.now)
    assert gone is not None
    assert gone.status == 401
