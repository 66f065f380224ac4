"""Payments, from the signed order to their end, each against the simulated gateway."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from paycore.channel import (
    AlreadyPaid,
    Closed,
    Declined,
    NotFound,
    Paid,
    PaymentFinding,
    Ready,
    Request,
    Reversed,
    Silence,
    Unknown,
    Waiting,
)
from paycore_alipay import plans, wire
from paycore_alipay.simulator import CodeAnswer, Fault
from paycore_bridge import Form, JsapiCall, MiniProgramCall, Plan, Qr, Redirect, SdkCall, StepKind, Target

from .support import AUTH_CODE, BASE, BUYER, DAY, MINUTE, NOTIFY, NOW, PAYMENT, World, payment

NO_TRADE_YET = ["app", "wap", "page", "qr"]
AT_ONCE = ["jsapi", "mini_program"]


def ready(found: PaymentFinding) -> Plan:
    assert isinstance(found, Ready), found
    return Plan.from_json(found.plan_json)


def sent(request: Request) -> dict[str, str]:
    """The parameters of a call, wherever they stand."""
    return wire.texts(wire.read_form(b"&".join([urlsplit(request.url).query.encode(), request.body])))


def biz(parameters: dict[str, str]) -> dict[str, Any]:
    return {name: member.value for name, member in wire.members(parameters["biz_content"]).items()}


def prepared(world: World, method: str, **changes: Any) -> Plan:
    return ready(world.hold(world.channel.prepare(world.payment(method, **changes))))


# ---------------------------------------------------------------------------------------------- prepare


def test_an_app_order_is_signed_and_asks_nobody(world: World) -> None:
    plan = prepared(world, "app")
    assert world.sent == []
    assert [step.target for step in plan.steps] == [Target.ANDROID, Target.IOS, Target.HARMONY]
    contents = [step.content for step in plan.steps]
    assert all(isinstance(one, SdkCall) and one.sdk == "alipay" for one in contents)
    orders = {one.arguments["orderStr"] for one in contents if isinstance(one, SdkCall)}
    assert len(orders) == 1
    parameters = wire.texts(wire.read_form(orders.pop().encode()))
    assert parameters | {"sign": "", "biz_content": ""} == {
        "app_id": "9021000100000001",
        "method": "alipay.trade.app.pay",
        "format": "JSON",
        "charset": "utf-8",
        "sign_type": "RSA2",
        "timestamp": "2026-11-23 03:30:03",
        "version": "1.0",
        "notify_url": NOTIFY,
        "biz_content": "",
        "sign": "",
    }
    assert biz(parameters) == {
        "out_trade_no": PAYMENT,
        "product_code": "QUICK_MSECURITY_PAY",
        "subject": "Two tickets 两张票",
        "time_expire": "2026-11-23 03:45:03",
        "total_amount": "128.00",
    }


def test_each_target_gets_what_its_sdk_takes(world: World) -> None:
    arguments = {}
    for target in (Target.ANDROID, Target.IOS, Target.HARMONY):
        [step] = prepared(world, "app", target=target.value).steps
        assert step.target is target
        assert isinstance(step.content, SdkCall)
        arguments[target] = {name: value for name, value in step.content.arguments.items() if name != "orderStr"}
    assert arguments == {
        Target.ANDROID: {"showLoading": True, "sandbox": True},
        Target.IOS: {"fromScheme": "ap9021000100000001"},
        Target.HARMONY: {"showLoading": True},
    }


@pytest.mark.parametrize(("method", "first"), [("wap", StepKind.REDIRECT), ("page", StepKind.FORM)])
def test_a_page_is_reached_by_address_and_by_form(world: World, method: str, first: StepKind) -> None:
    plan = prepared(world, method)
    assert plan.steps[0].kind is first
    by_kind = {step.kind: step.content for step in plan.steps}
    redirect, form = by_kind[StepKind.REDIRECT], by_kind[StepKind.FORM]
    assert isinstance(redirect, Redirect)
    assert isinstance(form, Form)
    in_address = {name: values[0] for name, values in parse_qs(urlsplit(redirect.url).query).items()}
    assert dict(form.fields) | {"charset": "utf-8"} == in_address
    assert form.url == f"{BASE}/gateway.do?charset=utf-8"
    assert in_address["return_url"] == "https://shop.example/back?x=1&y=2"
    assert biz(in_address).get("quit_url") == (in_address["return_url"] if method == "wap" else None)


def test_an_order_too_long_for_an_address_goes_as_a_form(world: World) -> None:
    plan = prepared(world, "wap", return_url="https://shop.example/" + "x" * 1900)
    assert [step.kind for step in plan.steps] == [StepKind.FORM]
    assert world.simulator.accept(plan.to_json(), world.now) == PAYMENT


def test_a_code_dies_no_later_than_the_payment(world: World) -> None:
    plan = prepared(world, "qr")
    [step] = plan.steps
    assert isinstance(step.content, Qr)
    assert plan.expires_at == NOW + 15 * MINUTE == step.expires_at
    assert biz(sent(world.sent[0]))["qr_code_timeout_express"] == "15m"
    long = ready(
        world.hold(world.channel.prepare(world.payment("qr", "py01JCPAYMENT0000000000000002", expires_at=NOW + DAY)))
    )
    assert long.steps[0].expires_at == NOW + 120 * MINUTE
    assert long.expires_at == NOW + DAY


def test_a_genuine_answer_with_a_code_of_somebody_else_is_not_shown(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world.simulator, "_base_url", "https://evil.example")
    found = world.hold(world.channel.prepare(world.payment("qr")))
    assert found == Unknown("the code to scan is not one of Alipay's")


@pytest.mark.parametrize(
    "code",
    [
        "http://qr.alipay.com/bax1",
        "https://evil.example/bax1",
        "https://qr.alipay.com.evil.example/bax1",
        "https://evilalipay.com/bax1",
        "https://evil.example/qr.alipay.com",
        "https://qr.alipay.com@evil.example/bax1",
        "https://evil.example\\@qr.alipay.com/",
        "https://qr.alipay.com:1@evil.example/",
        "javascript:alert(1)//qr.alipay.com",
        "alipays://platformapi/startapp",
        "https://qr.alipay.com/b\nax1",
        "https://alipay.example:444/qr/1",
        "//qr.alipay.com/bax1",
        "qr.alipay.com/bax1",
        "",
    ],
)
def test_only_codes_of_alipay_and_of_its_gateway_are_to_scan(code: str) -> None:
    good = ["https://qr.alipay.com/bax09876543210abcdef1", "https://QR.alipaydev.com/x", f"{BASE}/qr/token"]
    assert [plans.scannable(one, f"{BASE}/gateway.do") for one in good] == good
    with pytest.raises(wire.Unreadable):
        plans.scannable(code, f"{BASE}/gateway.do")


@pytest.mark.parametrize(("method", "content"), [("jsapi", JsapiCall), ("mini_program", MiniProgramCall)])
def test_a_payer_inside_alipay_gets_the_trades_number(world: World, method: str, content: type) -> None:
    [step] = prepared(world, method).steps
    assert isinstance(step.content, content)
    trade_no = world.simulator.books.trades[PAYMENT].trade_no
    assert step.params["arguments"] == {"tradeNO": trade_no}
    assert step.params["method"] == "tradePay"


@pytest.mark.parametrize(
    ("buyer", "name"), [(BUYER, "buyer_id"), ("074a1CcTG1LelxKe4xQC0zgNdId0nxi95b5lsNpazWYoCo5", "buyer_open_id")]
)
def test_a_payer_is_named_by_the_id_that_was_given(world: World, buyer: str, name: str) -> None:
    prepared(world, "jsapi", inputs={"buyer_open_id": buyer})
    document = biz(sent(world.sent[0]))
    assert document[name] == buyer
    assert {"buyer_id", "buyer_open_id"} & document.keys() == {name}


def test_a_scanned_code_pays_at_once(world: World) -> None:
    found = world.hold(world.channel.prepare(world.payment("barcode")))
    assert isinstance(found, Paid)
    assert (found.amount_minor, found.currency, found.merchant) == (12800, "CNY", world.channel.merchant)


def test_a_scanned_payer_may_have_to_confirm(world: World) -> None:
    world.simulator.next_codes.append(CodeAnswer.HAS_TO_CONFIRM)
    [step] = prepared(world, "barcode").steps
    assert step.kind is StepKind.NONE
    assert isinstance(world.hold(world.channel.query(world.payment("barcode"))), Waiting)
    world.simulator.pay(PAYMENT, world.now)
    assert isinstance(world.hold(world.channel.query(world.payment("barcode"))), Paid)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(CodeAnswer.IS_INVALID, "auth_code_invalid"), (CodeAnswer.HAS_NO_MONEY, "payer_balance_short")],
)
def test_a_scanned_code_may_be_refused(world: World, answer: CodeAnswer, reason: str) -> None:
    world.simulator.next_codes.append(answer)
    found = world.hold(world.channel.prepare(world.payment("barcode")))
    assert isinstance(found, Declined)
    assert found.failure.reason == reason
    assert found.failure.message_zh
    assert found.failure.message_en


def test_a_payers_code_is_masked(world: World) -> None:
    from paycore.engine.carrier import redacted

    world.hold(world.channel.prepare(world.payment("barcode")))
    assert AUTH_CODE not in str(redacted(world.sent[0]))
    world.hold(world.channel.query(world.payment("barcode")))
    assert sent(world.sent[1])["sign"] not in str(redacted(world.sent[1]))


def test_what_alipay_forbids_in_a_subject_is_left_out(world: World) -> None:
    prepared(world, "qr", subject="A/B=C&D\n" + "长" * 300, description="x\0y" * 100)
    document = biz(sent(world.sent[0]))
    assert document["subject"] == "A／B＝C＆D " + "长" * 248
    assert document["body"] == ("x y" * 100)[:128].strip()


def test_the_same_number_with_other_content_is_not_prepared(world: World) -> None:
    prepared(world, "qr")
    found = world.hold(world.channel.prepare(world.payment("qr", amount_minor=12900)))
    assert isinstance(found, Unknown)
    assert "CONTEXT_INCONSISTENT" in found.note


def test_preparing_again_is_preparing_once(world: World) -> None:
    for method, number in (("qr", "py01JCPAYMENT0000000000000003"), ("jsapi", "py01JCPAYMENT0000000000000004")):
        first = prepared(world, method, payment_id=number)
        world.now += MINUTE
        again = prepared(world, method, payment_id=number)
        assert [step.params for step in first.steps] == [step.params for step in again.steps]


def test_a_paid_or_closed_trade_is_not_prepared_again(world: World) -> None:
    world.pay("jsapi")
    assert isinstance(world.hold(world.channel.prepare(world.payment("jsapi"))), AlreadyPaid)
    other = "py01JCPAYMENT0000000000000005"
    prepared(world, "jsapi", payment_id=other)
    world.hold(world.channel.close(world.payment("jsapi", other)))
    assert isinstance(world.hold(world.channel.prepare(world.payment("jsapi", other))), Closed)


# ---------------------------------------------------------------------------------------------- query, close


@pytest.mark.parametrize("method", NO_TRADE_YET)
def test_there_is_no_trade_before_the_payer_enters_it(world: World, method: str) -> None:
    plan = prepared(world, method)
    ask = world.payment(method)
    assert world.hold(world.channel.query(ask)) == NotFound()
    assert world.hold(world.channel.close(ask)) == NotFound()
    assert world.simulator.accept(plan.to_json(), world.now) == PAYMENT
    assert isinstance(world.hold(world.channel.query(ask)), Waiting)
    assert world.hold(world.channel.close(ask)) == Closed()
    assert world.hold(world.channel.query(ask)) == Closed()


@pytest.mark.parametrize("method", [*NO_TRADE_YET, *AT_ONCE])
def test_a_payment_is_found_and_closes_no_more(world: World, method: str) -> None:
    world.pay(method)
    ask = world.payment(method)
    found = world.hold(world.channel.query(ask))
    assert isinstance(found, Paid)
    assert (found.amount_minor, found.merchant, found.paid_at, found.refunds) == (
        12800,
        world.channel.merchant,
        NOW,
        (),
    )
    assert world.hold(world.channel.close(ask)) == found


def test_a_trade_that_nobody_paid_in_time_is_closed_at_alipay(world: World) -> None:
    plan = prepared(world, "qr")
    world.simulator.accept(plan.to_json(), world.now)
    world.now += 15 * MINUTE
    assert world.hold(world.channel.query(world.payment())) == Closed()


def test_a_cancel_closes_what_waits_and_reverses_nothing_that_is_known_to_be_paid(world: World) -> None:
    world.simulator.next_codes += [CodeAnswer.HAS_TO_CONFIRM] * 2
    prepared(world, "barcode")
    assert world.hold(world.channel.close(world.payment("barcode"))) == Closed()
    other = "py01JCPAYMENT0000000000000006"
    ask = world.payment("barcode", other, inputs={"auth_code": "280000000000000001"})
    ready(world.hold(world.channel.prepare(ask)))
    world.simulator.pay(other, world.now)
    assert isinstance(world.hold(world.channel.close(ask)), Paid)
    assert world.simulator.books.trades[other].returned_minor == 0


def test_a_cancel_that_meets_a_payment_returns_it(world: World) -> None:
    """The payer pays between our question and our cancel."""
    world.simulator.next_codes.append(CodeAnswer.HAS_TO_CONFIRM)
    prepared(world, "barcode")
    world.simulator.pay(PAYMENT, world.now)
    world.simulator.faults.plan(Fault.STALE, "alipay.trade.query")
    ask = world.payment("barcode")
    assert world.hold(world.channel.close(ask)) == Reversed()
    found = world.hold(world.channel.query(ask))
    assert isinstance(found, Paid)
    assert sum(one.amount_minor for one in found.refunds) == found.amount_minor


def test_a_cancel_that_comes_too_late_becomes_a_close(world: World) -> None:
    world.simulator.next_codes.append(CodeAnswer.HAS_TO_CONFIRM)
    prepared(world, "barcode", expires_at=NOW + 3 * DAY)
    world.simulator.pay(PAYMENT, world.now)
    world.now += DAY
    world.simulator.faults.plan(Fault.STALE, "alipay.trade.query")
    assert isinstance(world.hold(world.channel.close(world.payment("barcode"))), Paid)
    names = [call.name for call in world.simulator.calls[-4:]]
    assert names == ["alipay.trade.query", "alipay.trade.cancel", "alipay.trade.close", "alipay.trade.query"]


# ---------------------------------------------------------------------------------------------- what is not believed

DOUBTFUL = [
    Fault.REFUSED_BY_PROXY,
    Fault.SYSTEM_ERROR,
    Fault.RATE_LIMITED,
    Fault.EFFECT_THEN_ERROR,
    Fault.BADLY_SIGNED,
    Fault.SIGNED_WITH_SHA1,
    Fault.DOUBLED_KEY,
    Fault.TRUNCATED,
    Fault.EMPTY,
    Fault.OTHER_SUBJECT,
]


@pytest.mark.parametrize("fault", DOUBTFUL)
def test_a_doubtful_answer_is_not_knowing(world: World, fault: Fault) -> None:
    world.pay()
    ask = world.payment()
    refusals_name_no_trade = fault is Fault.OTHER_SUBJECT
    for verb in (world.channel.query, *([] if refusals_name_no_trade else [world.channel.close])):
        world.simulator.faults.plan(fault)
        assert isinstance(world.hold(verb(ask)), Unknown)
    world.simulator.faults.plan(fault)
    prepared_again = world.hold(world.channel.prepare(world.payment("qr", "py01JCPAYMENT0000000000000007")))
    assert isinstance(prepared_again, Unknown)


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.EFFECT_THEN_SILENCE])
def test_silence_is_the_engines_to_conclude_from(world: World, fault: Fault) -> None:
    world.simulator.faults.plan(fault)
    with pytest.raises(Silence):
        world.hold(world.channel.query(world.payment()))


def test_an_unsigned_answer_is_a_hint_at_best(world: World) -> None:
    world.pay()
    for verb in (world.channel.query, world.channel.close):
        world.simulator.faults.plan(Fault.UNSIGNED)
        found = world.hold(verb(world.payment()))
        assert isinstance(found, Unknown)
        assert not found.authenticated


def test_a_wrong_key_of_ours_is_an_unsigned_refusal(world: World) -> None:
    world.simulator.retire_key()
    found = world.hold(world.channel.prepare(world.payment()))
    assert isinstance(found, Declined)
    assert not found.authenticated
    assert found.failure.channel_code == "isv.invalid-signature"
    assert isinstance(world.hold(world.channel.query(world.payment())), Unknown)


def test_certificate_mode_does_all_of_it() -> None:
    world = World(by_certificates=True)
    world.pay("app")
    assert isinstance(world.hold(world.channel.query(world.payment("app"))), Paid)
    parameters = sent(world.sent[-1])
    assert {"app_cert_sn", "alipay_root_cert_sn"} <= parameters.keys()


def test_a_certificate_that_the_account_does_not_know_is_not_trusted() -> None:
    world = World(by_certificates=True)
    world.pay()

    def renamed(reply: Any) -> Any:
        head, mark, tail = reply.body.partition(b'"alipay_cert_sn":"')
        assert mark
        return type(reply)(reply.status, reply.headers, head + mark + b"0" * 32 + tail[32:])

    found = world.hold(world.channel.query(world.payment()), renamed)
    assert isinstance(found, Unknown)


# ---------------------------------------------------------------------------------------------- what a phone claims


def test_the_codes_of_the_sdk() -> None:
    outcomes = {code: plans.outcome_of(code).value for code in ("9000", "8000", "6001", "99", "4000", "4")}
    assert outcomes == {
        "9000": "success_claimed",
        "8000": "processing",
        "6001": "cancelled",
        "99": "cancelled",
        "4000": "failed",
        "4": "failed",
    }
    assert {plans.outcome_of(code).value for code in ("5000", "6002", "6004", "-1", "", "9000 ")} == {"unknown"}


def test_an_unknown_method_is_refused(world: World) -> None:
    assert isinstance(world.hold(world.channel.prepare(payment("fax"))), Declined)
