"""Payments: what each verb concludes from each thing the channel can say."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from paycore.channel import (
    AlreadyPaid,
    ChannelRefund,
    Closed,
    Declined,
    NotFound,
    Paid,
    PayerPaying,
    PaymentFinding,
    Ready,
    Reference,
    Reply,
    Silence,
    StorePurchase,
    Unknown,
    Waiting,
)
from paycore_bridge import Plan, Qr, Redirect, SdkCall, StepKind, Target
from paycore_bridge import StorePurchase as StoreStep
from paycore_sandbox import STEP_SCHEMAS, signing
from paycore_sandbox.simulator import Fault, NotPayable

from .support import BASE, MINUTE, NOW, SECOND, TOKEN, World

CURRENCIES = [("JPY", 500, "500"), ("CNY", 12800, "128.00"), ("CNY", 1, "0.01"), ("KWD", 12345, "12.345")]


@pytest.fixture
def world() -> World:
    return World()


def plan_of(finding: PaymentFinding) -> Plan:
    assert isinstance(finding, Ready), finding
    plan = Plan.from_json(finding.plan_json)
    plan.check(STEP_SCHEMAS)
    return plan


def test_an_app_payment_only_signs(world: World) -> None:
    plan = plan_of(world.hold(world.channel.prepare(world.payment("app"))))
    assert world.sent == []
    assert [step.target for step in plan.steps] == [Target.ANDROID, Target.IOS, Target.HARMONY, Target.ANY]
    assert plan.expires_at == NOW + 15 * MINUTE


@pytest.mark.parametrize(
    ("target", "extra"),
    [("android", {"showLoading": True}), ("harmony", {"showLoading": True}), ("ios", {"fromScheme": "paycoresandbox"})],
)
def test_a_known_target_gets_exactly_its_sdks_arguments(world: World, target: str, extra: dict[str, object]) -> None:
    plan = plan_of(world.hold(world.channel.prepare(world.payment("app", target=target))))
    first = plan.steps[0].content
    assert isinstance(first, SdkCall)
    assert {name: value for name, value in first.arguments.items() if name != "orderString"} == extra
    assert [step.kind for step in plan.steps] == [StepKind.SDK, StepKind.REDIRECT]


@pytest.mark.parametrize("method", ["qr", "redirect"])
def test_the_channel_is_told_number_amount_and_expiry_exactly(world: World, method: str) -> None:
    for index, (currency, minor, written) in enumerate(CURRENCIES):
        ask = world.payment(method, f"py{index}", amount_minor=minor, currency=currency)
        plan_of(world.hold(world.channel.prepare(ask)))
        told = json.loads(world.sent[-1].body)
        assert (told["out_trade_no"], told["amount"], told["currency"]) == (f"py{index}", written, currency)
        assert told["expires_at_ms"] == ask.expires_at // 1000
        assert world.sent[-1].url == f"{BASE}/v1/trades"


def test_a_qr_code_leads_to_the_trade_and_dies_with_it(world: World) -> None:
    plan = plan_of(world.hold(world.channel.prepare(world.payment("qr"))))
    (step,) = plan.steps
    assert isinstance(step.content, Qr)
    assert world.simulator.scan(step.content.content, NOW) == "py1"
    assert step.expires_at == NOW + 15 * MINUTE


def test_a_long_order_has_a_code_that_dies_before_it(world: World) -> None:
    expires_at = NOW + 24 * 60 * MINUTE
    plan = plan_of(world.hold(world.channel.prepare(world.payment("qr", expires_at=expires_at))))
    assert plan.steps[0].expires_at == NOW + 120 * MINUTE
    assert plan.expires_at == expires_at


def test_a_redirect_leads_to_the_payment_page(world: World) -> None:
    (step,) = plan_of(world.hold(world.channel.prepare(world.payment("redirect")))).steps
    assert isinstance(step.content, Redirect)
    assert step.content.url.startswith(f"{BASE}/pay/")


def test_a_store_payment_hands_out_product_and_token(world: World) -> None:
    finding = world.hold(world.channel.prepare(world.payment("store", quantity=3)))
    assert world.sent == []
    assert plan_of(finding).steps[0].content == StoreStep("sandbox", "gold.100", TOKEN, quantity=3)
    assert isinstance(finding, Ready)
    assert finding.references == (Reference("token", TOKEN),)


def test_a_store_payment_without_a_product_has_no_plan(world: World) -> None:
    assert isinstance(world.hold(world.channel.prepare(world.payment("store", product_id=""))), Unknown)


def test_an_unknown_method_is_declined_without_asking(world: World) -> None:
    assert isinstance(world.hold(world.channel.prepare(world.payment("barcode"))), Declined)
    assert world.sent == []


def test_a_retry_sends_the_same_number_and_makes_the_same_trade(world: World) -> None:
    world.simulator.faults.plan(Fault.EFFECT_THEN_SILENCE, "trades")
    with pytest.raises(Silence):
        world.hold(world.channel.prepare(world.payment("qr")))
    first = world.sent[-1]
    finding = world.hold(world.channel.prepare(world.payment("qr")))
    assert json.loads(world.sent[-1].body) == json.loads(first.body)
    assert world.sent[-1].headers[signing.NONCE] != first.headers[signing.NONCE]
    assert isinstance(finding, Ready)
    assert len(world.simulator.books.trades) == 1


def close(world: World) -> None:
    """Somebody closes the trade."""
    world.hold(world.channel.close(world.payment()))


# What a prepare hears: how the trade stands, and what that is taken for.
PREPARES: list[tuple[str, Callable[[World], object], type[PaymentFinding]]] = [
    ("waiting", lambda world: None, Ready),
    ("paid", lambda world: world.simulator.pay("py1", world.now), AlreadyPaid),
    ("closed", close, Closed),
    ("declined", lambda world: world.simulator.decline("py1", world.now), Closed),
    ("key retired", lambda world: world.simulator.retire_key(), Declined),
    ("rate limited", lambda world: world.simulator.faults.plan(Fault.RATE_LIMITED), Unknown),
]


@pytest.mark.parametrize(("words", "arrange", "expected"), PREPARES, ids=[case[0] for case in PREPARES])
def test_preparing_again_concludes(
    world: World, words: str, arrange: Callable[[World], object], expected: type[PaymentFinding]
) -> None:
    world.hold(world.channel.prepare(world.payment()))
    arrange(world)
    assert isinstance(world.hold(world.channel.prepare(world.payment())), expected)


def test_another_amount_under_the_same_number_is_never_taken_for_success(world: World) -> None:
    world.hold(world.channel.prepare(world.payment()))
    assert isinstance(world.hold(world.channel.prepare(world.payment(amount_minor=1))), Unknown)
    assert world.simulator.books.trades["py1"].amount_minor == 12800


# How the trade stands, what a query concludes, what a close concludes.
STANDS: list[tuple[str, Callable[[World], object], type[PaymentFinding], type[PaymentFinding]]] = [
    ("waiting", lambda world: None, Waiting, Closed),
    ("being paid", lambda world: world.simulator.begin_paying("py1", world.now), PayerPaying, PayerPaying),
    ("paid", lambda world: world.simulator.pay("py1", world.now), Paid, AlreadyPaid),
    ("declined", lambda world: world.simulator.decline("py1", world.now), Declined, Closed),
    ("expired", lambda world: setattr(world, "now", world.now + 16 * MINUTE), Closed, Closed),
    ("closed", close, Closed, Closed),
    ("not there", lambda world: world.simulator.books.trades.clear(), NotFound, NotFound),
    ("not entered", lambda world: setattr(world.simulator.books.trades["py1"], "is_hidden", True), NotFound, NotFound),
    ("key retired", lambda world: world.simulator.retire_key(), Unknown, Unknown),
]


@pytest.mark.parametrize(("words", "arrange", "queried", "closed"), STANDS, ids=[case[0] for case in STANDS])
def test_asking_concludes(
    world: World,
    words: str,
    arrange: Callable[[World], object],
    queried: type[PaymentFinding],
    closed: type[PaymentFinding],
) -> None:
    world.hold(world.channel.prepare(world.payment()))
    arrange(world)
    assert isinstance(world.hold(world.channel.query(world.payment())), queried)
    assert isinstance(world.hold(world.channel.close(world.payment())), closed)


SPOILERS: list[tuple[str, Callable[[Reply], Reply]]] = [
    ("500", lambda reply: replace(reply, status=500)),
    ("201", lambda reply: replace(reply, status=201)),
    ("redirected", lambda reply: Reply(302, {"location": "https://elsewhere.example/"}, b"")),
    ("empty", lambda reply: replace(reply, body=b"")),
    ("a byte more", lambda reply: replace(reply, body=reply.body + b" ")),
    ("no headers", lambda reply: replace(reply, headers={})),
    ("old", lambda reply: replace(reply, headers=dict(reply.headers) | {signing.TIMESTAMP: str(NOW // SECOND - 301)})),
    ("a page", lambda reply: Reply(200, {"content-type": "text/html"}, b"<html>")),
]


@pytest.mark.parametrize("spoil", [case[1] for case in SPOILERS], ids=[case[0] for case in SPOILERS])
@pytest.mark.parametrize("verb", ["prepare", "query", "close", "refund", "query_refund"])
def test_a_spoilt_answer_proves_nothing(world: World, verb: str, spoil: Callable[[Reply], Reply]) -> None:
    world.pay_by_qr()
    ask = world.refund() if "refund" in verb else world.payment()
    assert isinstance(world.hold(getattr(world.channel, verb)(ask), spoil), Unknown)


@pytest.mark.parametrize(
    "fault",
    [
        Fault.REFUSED_BY_PROXY,
        Fault.EFFECT_THEN_ERROR,
        Fault.UNSIGNED,
        Fault.BADLY_SIGNED,
        Fault.TRUNCATED,
        Fault.EMPTY,
        Fault.OTHER_SUBJECT,
        Fault.RATE_LIMITED,
    ],
)
@pytest.mark.parametrize("verb", ["prepare", "query", "close", "refund", "query_refund"])
def test_a_fault_on_the_way_proves_nothing(world: World, verb: str, fault: Fault) -> None:
    world.pay_by_qr("py0")
    world.hold(world.channel.prepare(world.payment()))
    if verb == "query_refund":
        world.hold(world.channel.refund(world.refund(payment=world.payment(payment_id="py0"))))
    world.simulator.faults.plan(fault)
    ask = world.refund(payment=world.payment(payment_id="py0")) if "refund" in verb else world.payment()
    assert isinstance(world.hold(getattr(world.channel, verb)(ask)), Unknown)


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.EFFECT_THEN_SILENCE])
@pytest.mark.parametrize("verb", ["prepare", "query", "close", "refund", "query_refund"])
def test_silence_is_left_to_the_engine(world: World, verb: str, fault: Fault) -> None:
    world.simulator.faults.plan(fault)
    ask = world.refund() if "refund" in verb else world.payment()
    with pytest.raises(Silence):
        world.hold(getattr(world.channel, verb)(ask))


def test_an_answer_to_another_question_proves_nothing(world: World) -> None:
    world.pay_by_qr()
    earlier = world.overhear(world.channel.query(world.payment()))
    assert isinstance(world.hold(world.channel.query(world.payment()), lambda reply: earlier), Unknown)


def test_paid_tells_what_was_taken_by_whom_and_what_went_back(world: World) -> None:
    world.hold(world.channel.prepare(world.payment()))
    world.simulator.pay("py1", NOW + 3 * SECOND, amount_minor=12801)
    world.hold(world.channel.refund(world.refund(amount_minor=800)))
    console = world.simulator.refund_in_console("py1", NOW, amount_minor=200)
    finding = world.hold(world.channel.query(world.payment()))
    assert isinstance(finding, Paid)
    assert (finding.amount_minor, finding.currency, finding.merchant) == (12801, "CNY", "SANDBOX")
    assert finding.paid_at == NOW + 3 * SECOND
    ours, theirs = finding.refunds
    assert (ours.refund_id, ours.amount_minor, ours.reversed) == ("rf1", 800, False)
    assert theirs == ChannelRefund(200, console)


def test_paid_to_somebody_else_names_them(world: World) -> None:
    world.hold(world.channel.prepare(world.payment()))
    world.simulator.pay("py1", NOW, paid_to="THIEF")
    finding = world.hold(world.channel.query(world.payment()))
    assert isinstance(finding, Paid)
    assert finding.merchant == "THIEF"


def test_a_stale_answer_says_waiting(world: World) -> None:
    world.pay_by_qr()
    world.simulator.faults.plan(Fault.STALE, "trades/query")
    assert isinstance(world.hold(world.channel.query(world.payment())), Waiting)
    assert isinstance(world.hold(world.channel.query(world.payment())), Paid)


def test_a_store_payment_is_found_by_its_token(world: World) -> None:
    ask = world.payment("store")
    assert isinstance(world.hold(world.channel.query(ask)), NotFound)
    assert isinstance(world.hold(world.channel.close(ask)), NotFound)
    world.simulator.buy("gold.100", TOKEN, NOW, amount_minor=600)
    finding = world.hold(world.channel.query(world.payment("store")))
    assert isinstance(finding, Paid)
    assert finding.purchase == StorePurchase("gold.100", 1, TOKEN)
    assert finding.amount_minor == 600
    assert isinstance(world.hold(world.channel.close(world.payment("store"))), AlreadyPaid)


def test_a_payer_cannot_pay_what_is_over(world: World) -> None:
    world.hold(world.channel.prepare(world.payment()))
    world.hold(world.channel.close(world.payment()))
    with pytest.raises(NotPayable):
        world.simulator.pay("py1", NOW)
    world.simulator.pay("py1", NOW, even_if_over=True)
    assert isinstance(world.hold(world.channel.query(world.payment())), Paid)


def test_no_secret_is_ever_printed(world: World) -> None:
    secret = world.simulator.settings(BASE)["private_key"]
    world.hold(world.channel.prepare(world.payment()))
    shown = repr(world.channel) + repr(vars(world.channel)) + repr(world.sent) + repr(world.simulator)
    assert secret not in shown
