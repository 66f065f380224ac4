"""What the protos say of the core's rows, and what a request says to the core."""

from __future__ import annotations

import json

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from paycore.core.findings import Declined, Failure, Ready, RefundStuck
from paycore.core.order import SurplusPolicy
from paycore.rpc import translate
from paycore.v1 import anomaly_pb2, common_pb2, money_pb2, order_pb2, payment_pb2, refund_pb2
from paycore_bridge import Plan, Qr, Step
from tests.core.stories import ORDER, PAYMENTS, REFUNDS, Story, paid

PLAN = Plan((Step.of(Qr("sandbox://pay/1"), expires_at=60_000_000),), expires_at=3_600_000_000).to_json()


def test_an_order_says_what_it_is_before_anybody_paid() -> None:
    order = Story(SurplusPolicy.HOLD).order
    assert order is not None
    message = translate.order_message(order)
    assert (message.order_id, message.app_id, message.merchant_order_no) == (ORDER, "ap", "m-1")
    assert message.state == order_pb2.Order.STATE_PENDING
    assert message.close_reason == order_pb2.Order.CLOSE_REASON_UNSPECIFIED
    assert message.amount == money_pb2.Money(amount_minor=100, currency_code="CNY")
    assert message.surplus_policy == order_pb2.SURPLUS_POLICY_HOLD
    assert message.version == 1
    assert message.etag == '"1"'
    assert message.expire_time.ToMicroseconds() == order.expires_at
    assert not message.HasField("pay_time")
    assert not message.HasField("close_time")


def test_a_paid_order_shows_the_figures_of_its_effective_payment() -> None:
    story = Story().pays().refunds(30)
    assert story.order is not None
    message = translate.order_message(story.order)
    assert message.state == order_pb2.Order.STATE_PAID
    assert message.effective_payment_id == PAYMENTS["p1"]
    assert (message.captured_minor, message.refunding_minor, message.refunded_minor) == (100, 30, 0)
    assert [payment.payment_id for payment in message.payments] == [PAYMENTS["p1"]]
    assert [refund.refund_id for refund in message.refunds] == [REFUNDS["r1"]]
    assert message.refunds[0].state == refund_pb2.Refund.STATE_PENDING
    assert message.HasField("pay_time")


def test_a_list_leaves_the_rows_out() -> None:
    order = Story().pays().refunds(30).order
    assert order is not None
    message = translate.order_message(order, with_rows=False)
    assert not message.payments
    assert not message.refunds
    assert message.captured_minor == 100


def test_the_action_is_the_plan_while_the_payment_is_open() -> None:
    story = Story().asks().hears(Ready(PLAN, expires_at=3_600_000_000), "PREPARE")
    assert story.order is not None
    payment = translate.payment_message(story.order, story.payment())
    assert payment.is_action_ready
    [step] = payment.action.steps
    assert (step.kind, step.target, step.params_json) == ("qr", "any", '{"content":"sandbox://pay/1"}')
    assert step.expire_time.ToMicroseconds() == 60_000_000
    assert payment.action.expire_time.ToMicroseconds() == 3_600_000_000


def test_the_action_is_gone_once_it_is_used_up() -> None:
    story = Story().asks().hears(Ready(PLAN), "PREPARE").hears(paid(), "NOTICE")
    assert story.order is not None
    payment = translate.payment_message(story.order, story.payment())
    assert payment.state == payment_pb2.Payment.STATE_SUCCEEDED
    assert not payment.HasField("action")


def test_a_failure_is_told_in_both_languages() -> None:
    why = Failure("insufficient_funds", "C-7", "余额不足", "Not enough money.")
    story = Story().asks().hears(Declined(why), "PREPARE")
    assert story.order is not None
    payment = translate.payment_message(story.order, story.payment())
    assert payment.state == payment_pb2.Payment.STATE_FAILED
    assert payment.failure == common_pb2.Failure(
        reason="insufficient_funds", channel_code="C-7", message_zh="余额不足", message_en="Not enough money."
    )


def test_open_anomalies_are_shown_and_resolved_ones_are_not() -> None:
    story = Story().pays().refunds(40).takes_refund().learns(RefundStuck(Failure("card_gone")))
    assert story.order is not None
    [anomaly] = translate.order_message(story.order).open_anomalies
    assert anomaly.state == anomaly_pb2.Anomaly.STATE_OPEN
    assert anomaly.order_id == ORDER
    assert anomaly.remedy == anomaly_pb2.REMEDY_UNSPECIFIED


STORY = [
    ("order.created", "order"),
    ("payment.created", "payment"),
    ("payment.prepared", "payment"),
    ("payment.succeeded", "payment"),
    ("order.paid", "order"),
    ("refund.created", "refund"),
    ("payment.updated", "payment"),
]


def test_every_event_carries_the_figures_of_its_row() -> None:
    story = Story()
    told = list(story.last.events)
    told += story.asks().last.events
    told += story.hears(Ready(PLAN), "PREPARE").last.events
    told += story.hears(paid(), "NOTICE").last.events
    told += story.refunds(30).last.events
    messages = [translate.event_message(event) for event in told]
    assert [message.version for message in messages] == list(range(1, len(messages) + 1))
    assert {(message.kind, str(message.WhichOneof("changed"))) for message in messages} == set(STORY)
    by_kind = {message.kind: message for message in messages}
    assert by_kind["order.paid"].order.state == order_pb2.Order.STATE_PAID
    assert by_kind["order.paid"].order.effective_payment_id == PAYMENTS["p1"]
    assert by_kind["payment.prepared"].payment.is_action_ready
    assert by_kind["payment.succeeded"].payment.captured_minor == 100
    assert by_kind["refund.created"].refund.amount.amount_minor == 30
    assert by_kind["refund.created"].refund.origin == refund_pb2.Refund.ORIGIN_MERCHANT
    assert by_kind["order.created"].cause == "OrderAsked"


def test_the_events_of_a_failure_and_of_an_anomaly_are_whole() -> None:
    story = Story().asks().hears(Declined(Failure("no", "C", "不", "No.")), "PREPARE")
    [failed] = [translate.event_message(one) for one in story.last.events if one.kind == "payment.failed"]
    assert failed.payment.failure.message_zh == "不"
    story = Story().pays().refunds(40).takes_refund().learns(RefundStuck(Failure("card_gone")))
    [opened] = [translate.event_message(one) for one in story.last.events if one.subject == "anomaly"]
    assert opened.anomaly.kind == anomaly_pb2.Anomaly.KIND_REFUND_ABNORMAL
    assert opened.anomaly.refund_id == REFUNDS["r1"]


@pytest.mark.parametrize("at", [0, 1, 999_999, 1_000_000, 1_799_999_999_123_456, 32_503_679_999_999_999])
def test_an_instant_comes_back_as_it_was(at: int) -> None:
    assert translate.micros(translate.instant(at)) == at


def test_what_is_finer_than_a_microsecond_is_cut_off() -> None:
    assert translate.micros(Timestamp(seconds=1, nanos=1_999)) == 1_000_001


# ---------------------------------------------------------------------------------------------- canonical requests


def request(**more: object) -> order_pb2.CreateOrderRequest:
    made = order_pb2.CreateOrderRequest(
        merchant_order_no="A-1000",
        subject="tea",
        amount=money_pb2.Money(amount_minor=100, currency_code="CNY"),
        line_items=[order_pb2.LineItem(name="cup", quantity=2, unit_amount_minor=50)],
        metadata={"z": "1", "a": "2"},
        request_id="request-0000000001",
    )
    for name, value in more.items():
        setattr(made, name, value)
    return made


def test_a_canonical_request_is_sorted_json_without_the_request_id() -> None:
    told = translate.canonical(request())
    assert told == json.dumps(json.loads(told), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert json.loads(told) == {
        "merchant_order_no": "A-1000",
        "subject": "tea",
        "amount": {"amount_minor": 100, "currency_code": "CNY"},
        "line_items": [{"name": "cup", "quantity": 2, "unit_amount_minor": 50}],
        "metadata": {"z": "1", "a": "2"},
    }


def test_another_request_id_and_unknown_fields_are_the_same_content() -> None:
    strange = order_pb2.CreateOrderRequest.FromString(request().SerializeToString() + b"\xfa\x3e\x03new")
    assert translate.canonical(strange) == translate.canonical(request(request_id="request-0000000002"))


@pytest.mark.parametrize(
    ("name", "value"), [("subject", "teas"), ("description", "x"), ("return_url", "https://a.example/")]
)
def test_other_content_is_another_text(name: str, value: str) -> None:
    assert translate.canonical(request(**{name: value})) != translate.canonical(request())


def test_a_client_is_told_by_the_names_of_the_proto() -> None:
    client = common_pb2.ClientContext(
        face="ios", client_ip="192.0.2.7", locale="zh-CN", installed_apps=["wallet"], sdk_versions={"pay": "1.2"}
    )
    assert translate.client_data(client) == {
        "face": "ios",
        "client_ip": "192.0.2.7",
        "locale": "zh-CN",
        "installed_apps": ["wallet"],
        "sdk_versions": {"pay": "1.2"},
    }


def test_filters_become_words() -> None:
    states = [order_pb2.Order.STATE_PAID, order_pb2.Order.STATE_CLOSED, order_pb2.Order.STATE_PAID]
    assert translate.words(translate.ORDER_STATES, states) == ("CLOSED", "PAID")
    assert translate.word(translate.REMEDIES, anomaly_pb2.REMEDY_REFUND) == "REFUND"
    assert translate.word(translate.REMEDIES, anomaly_pb2.REMEDY_UNSPECIFIED) is None
