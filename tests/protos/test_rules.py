"""The request rules: each row breaks one rule and names the reason it must have."""

import re
from collections.abc import Iterator
from pathlib import Path

import protovalidate
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from paycore.core.refusals import Reason as CoreReason
from paycore.v1 import cashier_pb2, channel_pb2, notice_pb2, order_pb2, reason_pb2, refund_pb2
from tests.protos.requests import BODY, LATER, NOON, sound

PROTOS = Path(__file__).parents[2] / "protos/paycore/v1"

STANDARD = {"required": "FIELD_REQUIRED", "enum.defined_only": "UNKNOWN_ENUM"}
"""The two rules whose id is not a reason's name, and the reason they stand for (see rules.proto)."""

SERVICES = [
    service
    for module in (order_pb2, cashier_pb2, refund_pb2, channel_pb2, notice_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
]
REQUESTS = {method.input_type.name: method.input_type for service in SERVICES for method in service.methods}
REASONS = {name.removeprefix("REASON_") for name in reason_pb2.Reason.DESCRIPTOR.values_by_name} - {"UNSPECIFIED"}

validator = protovalidate.Validator()


def complaints(request: Message) -> set[tuple[str, str]]:
    """What is wrong with a request: paths of fields with reasons."""
    found = set()
    for violation in validator.collect_violations(request):
        proto = violation.proto
        path = ".".join(element.field_name for element in proto.field.elements) if proto.field else ""
        found.add((path, STANDARD.get(proto.rule_id, proto.rule_id)))
    return found


def with_field(name: str, path: str, value: object) -> Message:
    """The sound request of this type with one field changed. A path may lead through messages and first items of lists."""
    request = sound()[name]
    *parents, last = path.split(".")
    holder = request
    for parent in parents:
        step = getattr(holder, parent)
        holder = step[0] if hasattr(step, "append") or hasattr(step, "add") else step
    field = holder.DESCRIPTOR.fields_by_name[last]
    if value is None:
        holder.ClearField(last)
    elif isinstance(value, dict):
        holder.ClearField(last)
        getattr(holder, last).update(value)
    elif field.is_repeated:
        holder.ClearField(last)
        getattr(holder, last).extend(value)
    elif isinstance(value, Message):
        getattr(holder, last).CopyFrom(value)
    else:
        setattr(holder, last, value)
    return request


def test_every_rpc_has_a_sound_request() -> None:
    assert set(sound()) == set(REQUESTS)


@pytest.mark.parametrize("name", sorted(REQUESTS))
def test_a_sound_request_breaks_no_rule(name: str) -> None:
    assert complaints(sound()[name]) == set()


ROWS: list[tuple[str, str, object, str]] = [
    # CreateOrder
    ("CreateOrderRequest", "merchant_order_no", "", "FIELD_REQUIRED"),
    ("CreateOrderRequest", "merchant_order_no", "12345", "BAD_ORDER_NO"),
    ("CreateOrderRequest", "merchant_order_no", "x" * 33, "BAD_ORDER_NO"),
    ("CreateOrderRequest", "merchant_order_no", "order 0001", "BAD_ORDER_NO"),
    ("CreateOrderRequest", "merchant_order_no", "order_0001\n", "BAD_ORDER_NO"),
    ("CreateOrderRequest", "merchant_order_no", "订单000001", "BAD_ORDER_NO"),
    ("CreateOrderRequest", "amount", None, "FIELD_REQUIRED"),
    ("CreateOrderRequest", "amount.amount_minor", 0, "AMOUNT_NOT_POSITIVE"),
    ("CreateOrderRequest", "amount.amount_minor", -1, "AMOUNT_NOT_POSITIVE"),
    ("CreateOrderRequest", "amount.amount_minor", -(2**63), "AMOUNT_NOT_POSITIVE"),
    ("CreateOrderRequest", "amount.amount_minor", 10**12 + 1, "AMOUNT_TOO_LARGE"),
    ("CreateOrderRequest", "amount.amount_minor", 2**63 - 1, "AMOUNT_TOO_LARGE"),
    ("CreateOrderRequest", "amount.currency_code", "", "CURRENCY_UNSUPPORTED"),
    ("CreateOrderRequest", "amount.currency_code", "cny", "CURRENCY_UNSUPPORTED"),
    ("CreateOrderRequest", "amount.currency_code", "CNYX", "CURRENCY_UNSUPPORTED"),
    ("CreateOrderRequest", "amount.currency_code", "ＣＮＹ", "CURRENCY_UNSUPPORTED"),
    ("CreateOrderRequest", "amount.currency_code", "CNY\n", "CURRENCY_UNSUPPORTED"),
    ("CreateOrderRequest", "subject", "", "FIELD_REQUIRED"),
    ("CreateOrderRequest", "subject", "x" * 129, "FIELD_TOO_LONG"),
    ("CreateOrderRequest", "subject", "🍵" * 97, "FIELD_TOO_LONG"),
    ("CreateOrderRequest", "subject", "a\x07b", "ILLEGAL_CHARACTER"),
    ("CreateOrderRequest", "subject", "a\nb", "ILLEGAL_CHARACTER"),
    ("CreateOrderRequest", "subject", "a\x85b", "ILLEGAL_CHARACTER"),
    ("CreateOrderRequest", "subject", "a\u202eb", "ILLEGAL_CHARACTER"),
    ("CreateOrderRequest", "subject", "a\u2066b", "ILLEGAL_CHARACTER"),
    ("CreateOrderRequest", "subject", "\u200dab", "ILLEGAL_CHARACTER"),
    ("CreateOrderRequest", "subject", "ab\u200d", "ILLEGAL_CHARACTER"),
    ("CreateOrderRequest", "subject", "a\u200d\u200db", "ILLEGAL_CHARACTER"),
    ("CreateOrderRequest", "description", "x" * 513, "FIELD_TOO_LONG"),
    ("CreateOrderRequest", "line_items", [order_pb2.LineItem(name="n", quantity=1)] * 101, "OUT_OF_BOUNDS"),
    ("CreateOrderRequest", "line_items.name", "", "FIELD_REQUIRED"),
    ("CreateOrderRequest", "line_items.quantity", 0, "OUT_OF_BOUNDS"),
    ("CreateOrderRequest", "line_items.quantity", 1_000_001, "OUT_OF_BOUNDS"),
    ("CreateOrderRequest", "line_items.unit_amount_minor", -1, "OUT_OF_BOUNDS"),
    ("CreateOrderRequest", "line_items.unit_amount_minor", 2**63 - 1, "OUT_OF_BOUNDS"),
    ("CreateOrderRequest", "metadata", {f"k{number}": "v" for number in range(21)}, "BAD_METADATA"),
    ("CreateOrderRequest", "metadata", {"a.b": "v"}, "BAD_METADATA"),
    ("CreateOrderRequest", "metadata", {"a\x01": "v"}, "BAD_METADATA"),
    ("CreateOrderRequest", "metadata", {"": "v"}, "BAD_METADATA"),
    ("CreateOrderRequest", "metadata", {"k": "v" * 4096}, "BAD_METADATA"),
    ("CreateOrderRequest", "metadata", {"k": "茶" * 1366}, "BAD_METADATA"),
    ("CreateOrderRequest", "metadata", {"k": "a\x00"}, "ILLEGAL_CHARACTER"),
    *[
        ("CreateOrderRequest", "return_url", url, "RETURN_URL_FORBIDDEN")
        for url in (
            "javascript:alert(1)",
            "http://shop.example/",
            "file:///etc/passwd",
            "https://user:pw@shop.example/",
            "https://shop.example@evil.example/",
            "https://",
            "https:///x",
            "https://shop.example\\@evil.example/",
            "https://shop.example/a b",
            "https://[::1]/",
            "https://-shop.example/",
            " https://shop.example/",
        )
    ],
    ("CreateOrderRequest", "return_url", "https://shop.example/" + "x" * 1024, "FIELD_TOO_LONG"),
    ("CreateOrderRequest", "expire_time", Timestamp(seconds=253402300800), "BAD_TIMESTAMP"),
    ("CreateOrderRequest", "expire_time", Timestamp(seconds=253370764800), "BAD_TIMESTAMP"),
    ("CreateOrderRequest", "expire_time", Timestamp(seconds=-1), "BAD_TIMESTAMP"),
    ("CreateOrderRequest", "expire_time", Timestamp(seconds=2**62), "BAD_TIMESTAMP"),
    ("CreateOrderRequest", "surplus_policy", 77, "UNKNOWN_ENUM"),
    ("CreateOrderRequest", "request_id", "", "BAD_IDEMPOTENCY_KEY"),
    ("CreateOrderRequest", "request_id", "x" * 15, "BAD_IDEMPOTENCY_KEY"),
    ("CreateOrderRequest", "request_id", "x" * 129, "BAD_IDEMPOTENCY_KEY"),
    ("CreateOrderRequest", "request_id", "with space 0123456", "BAD_IDEMPOTENCY_KEY"),
    ("CreateOrderRequest", "request_id", "ключ-0123456789012", "BAD_IDEMPOTENCY_KEY"),
    # naming things
    ("GetOrderRequest", "order_id", "", "FIELD_REQUIRED"),
    ("GetOrderRequest", "order_id", "py" + BODY, "BAD_ID"),
    ("GetOrderRequest", "order_id", "or" + BODY.lower(), "BAD_ID"),
    ("GetOrderRequest", "order_id", "or" + BODY + "0", "BAD_ID"),
    ("GetOrderRequest", "order_id", "or" + BODY[:-1], "BAD_ID"),
    ("GetOrderRequest", "order_id", "' OR 1=1 --", "BAD_ID"),
    ("GetOrderRequest", "merchant_order_no", "", "FIELD_REQUIRED"),
    ("GetOrderRequest", "merchant_order_no", "a/b/c/d/e", "BAD_ORDER_NO"),
    ("GetRefundRequest", "refund_id", "or" + BODY, "BAD_ID"),
    ("GetRefundRequest", "merchant_refund_no", "a/b/c/d/e", "BAD_ORDER_NO"),
    ("SyncRefundRequest", "refund_id", "", "FIELD_REQUIRED"),
    ("GetChannelRequest", "channel", "", "FIELD_REQUIRED"),
    ("GetChannelRequest", "channel", "x" * 65, "FIELD_TOO_LONG"),
    ("ResolveAnomalyRequest", "anomaly_id", "or" + BODY, "BAD_ID"),
    ("ResolveAnomalyRequest", "payment_id", "an" + BODY, "BAD_ID"),
    ("DeliverNoticeRequest", "account_id", "x", "BAD_ID"),
    # listing
    ("ListOrdersRequest", "page_size", -1, "BAD_PAGE_SIZE"),
    ("ListOrdersRequest", "page_size", 201, "BAD_PAGE_SIZE"),
    ("ListOrdersRequest", "page_size", 10**9, "BAD_PAGE_SIZE"),
    ("ListOrdersRequest", "page_token", "not a token", "BAD_PAGE_TOKEN"),
    ("ListOrdersRequest", "page_token", "x" * 513, "BAD_PAGE_TOKEN"),
    ("ListOrdersRequest", "states", [77], "UNKNOWN_ENUM"),
    ("ListOrdersRequest", "states", [0], "FIELD_REQUIRED"),
    ("ListOrdersRequest", "states", [1] * 11, "OUT_OF_BOUNDS"),
    ("ListOrderEventsRequest", "after_version", -1, "BAD_RESUME"),
    ("ListAnomaliesRequest", "kinds", [99], "UNKNOWN_ENUM"),
    ("ListAnomaliesRequest", "state", 9, "UNKNOWN_ENUM"),
    ("ListChannelsRequest", "page_size", 201, "BAD_PAGE_SIZE"),
    # streams
    ("WatchOrderRequest", "resume_after", -1, "BAD_RESUME"),
    ("WatchOrderRequest", "resume_after", -(2**63), "BAD_RESUME"),
    ("WatchOrderRequest", "heartbeat_seconds", 4, "OUT_OF_BOUNDS"),
    ("WatchOrderRequest", "heartbeat_seconds", 61, "OUT_OF_BOUNDS"),
    ("WatchOrderRequest", "heartbeat_seconds", -5, "OUT_OF_BOUNDS"),
    ("WatchOrderRequest", "end_policy", 9, "UNKNOWN_ENUM"),
    ("WatchOrdersRequest", "resume_after", -1, "BAD_RESUME"),
    ("WatchRefundRequest", "resume_after", -1, "BAD_RESUME"),
    ("WatchCashierSessionRequest", "resume_after", -1, "BAD_RESUME"),
    # paying
    ("PayOrderRequest", "channel", "", "FIELD_REQUIRED"),
    ("PayOrderRequest", "method", "", "FIELD_REQUIRED"),
    ("PayOrderRequest", "account_id", "nobody", "BAD_ID"),
    ("PayOrderRequest", "inputs", {f"k{number}": "v" for number in range(21)}, "OUT_OF_BOUNDS"),
    ("PayOrderRequest", "inputs", {"openid": "x" * 513}, "FIELD_TOO_LONG"),
    *[
        ("PayOrderRequest", "client.client_ip", address, "BAD_CLIENT_IP")
        for address in ("1.2.3", "01.2.3.4", "fe80::1%eth0", "1.2.3.4, 5.6.7.8", "1.2.3.4:80", "localhost", "0x7f.1")
    ],
    ("PayOrderRequest", "client.installed_apps", ["a"] * 51, "OUT_OF_BOUNDS"),
    ("PayOrderRequest", "client.user_agent", "x" * 513, "FIELD_TOO_LONG"),
    ("CreateCashierSessionRequest", "client", None, "FIELD_REQUIRED"),
    ("CreateCashierSessionRequest", "lifetime_seconds", 59, "OUT_OF_BOUNDS"),
    ("CreateCashierSessionRequest", "lifetime_seconds", 86_401, "OUT_OF_BOUNDS"),
    ("SubmitPaymentRequest", "session_id", "or" + BODY, "BAD_ID"),
    ("ReportClientResultRequest", "outcome", 0, "FIELD_REQUIRED"),
    ("ReportClientResultRequest", "outcome", 77, "UNKNOWN_ENUM"),
    ("ConfirmPaymentRequest", "evidence", "", "FIELD_REQUIRED"),
    ("ConfirmPaymentRequest", "evidence", "x" * 49_153, "EVIDENCE_MALFORMED"),
    ("ConfirmPaymentRequest", "evidence", "证.据.x", "EVIDENCE_MALFORMED"),
    # refunding and remedying
    ("CreateRefundRequest", "amount", None, "FIELD_REQUIRED"),
    ("CreateRefundRequest", "amount.amount_minor", 0, "AMOUNT_NOT_POSITIVE"),
    ("CreateRefundRequest", "amount.amount_minor", -5, "AMOUNT_NOT_POSITIVE"),
    ("CreateRefundRequest", "merchant_refund_no", "short", "BAD_ORDER_NO"),
    ("CreateRefundRequest", "payment_id", "rf" + BODY, "BAD_ID"),
    ("CreateRefundRequest", "reason", "x" * 81, "FIELD_TOO_LONG"),
    ("CreateRefundRequest", "reason", "a\x1b[31m", "ILLEGAL_CHARACTER"),
    ("ResolveAnomalyRequest", "remedy", 0, "FIELD_REQUIRED"),
    ("ResolveAnomalyRequest", "remedy", 8, "UNKNOWN_ENUM"),
    ("ResolveAnomalyRequest", "note", "", "FIELD_REQUIRED"),
    ("ListRefundsRequest", "page_size", 201, "BAD_PAGE_SIZE"),
    # notices
    ("DeliverNoticeRequest", "body", b"x" * 262_145, "FIELD_TOO_LONG"),
    ("DeliverNoticeRequest", "headers", [notice_pb2.NoticeHeader(name="a")] * 101, "OUT_OF_BOUNDS"),
    ("DeliverNoticeRequest", "headers.name", "", "FIELD_REQUIRED"),
]


@pytest.mark.parametrize(("name", "path", "value", "reason"), ROWS)
def test_a_broken_rule_names_its_reason(name: str, path: str, value: object, reason: str) -> None:
    assert {(where.split("[")[0], why) for where, why in complaints(with_field(name, path, value))} == {(path, reason)}


LARGEST: list[tuple[str, str, object]] = [
    ("CreateOrderRequest", "amount.amount_minor", 1),
    ("CreateOrderRequest", "amount.amount_minor", 10**12),
    ("CreateOrderRequest", "merchant_order_no", "a-b_c9"),
    ("CreateOrderRequest", "merchant_order_no", "x" * 32),
    ("CreateOrderRequest", "subject", "茶" * 128),
    ("CreateOrderRequest", "subject", "👩\u200d👧 family"),
    ("CreateOrderRequest", "metadata", {f"k{number}": "v" for number in range(20)}),
    ("CreateOrderRequest", "metadata", {"k": "v" * 4095}),
    ("CreateOrderRequest", "return_url", "https://shop.example:8443/a/b?c=d#e"),
    ("CreateOrderRequest", "request_id", "!" * 16),
    ("CreateOrderRequest", "request_id", "~" * 128),
    ("PayOrderRequest", "client.client_ip", "2001:db8::1"),
    ("WatchOrderRequest", "resume_after", 2**63 - 1),
    ("WatchOrderRequest", "heartbeat_seconds", 0),
    ("WatchOrderRequest", "heartbeat_seconds", 60),
    ("ListOrdersRequest", "page_size", 200),
    ("DeliverNoticeRequest", "body", b"\x00" * 262_144),
    ("ConfirmPaymentRequest", "evidence", "x" * 49_152),
]


@pytest.mark.parametrize(("name", "path", "value"), LARGEST)
def test_the_edge_of_a_rule_is_allowed(name: str, path: str, value: object) -> None:
    assert complaints(with_field(name, path, value)) == set()


@pytest.mark.parametrize("name", ["ListOrdersRequest", "ListRefundsRequest"])
@pytest.mark.parametrize(
    ("start", "end", "is_fine"),
    [
        (NOON, NOON, False),
        (LATER, NOON, False),
        (NOON, Timestamp(seconds=NOON.seconds + 31 * 86_400), True),
        (NOON, Timestamp(seconds=NOON.seconds + 31 * 86_400 + 1), False),
    ],
)
def test_a_range_runs_forward_for_at_most_31_days(name: str, start: Timestamp, end: Timestamp, is_fine: bool) -> None:
    request = sound()[name]
    request.start_time.CopyFrom(start)  # type: ignore[attr-defined]
    request.end_time.CopyFrom(end)  # type: ignore[attr-defined]
    assert complaints(request) == (set() if is_fine else {("", "BAD_RANGE")})


@pytest.mark.parametrize("name", ["GetOrderRequest", "GetRefundRequest", "CreateRefundRequest"])
def test_naming_nothing_is_refused(name: str) -> None:
    request = sound()[name]
    (oneof,) = (one for one in request.DESCRIPTOR.oneofs if not one.name.startswith("_"))
    request.ClearField(oneof.name)
    assert complaints(request) == {(oneof.name, "FIELD_REQUIRED")}


# ---------------------------------------------------------------------------------------------- what holds for all


def texts(descriptor: Descriptor, path: str = "") -> Iterator[str]:
    """Paths of every text field that a request can carry, maps left out."""
    for field in descriptor.fields:
        here = f"{path}.{field.name}" if path else field.name
        if field.message_type is not None:
            is_map = field.message_type.GetOptions().map_entry
            if not is_map and field.message_type.file.package == "paycore.v1":
                yield from texts(field.message_type, here)
        elif field.type == FieldDescriptor.TYPE_STRING:
            yield here


TEXTS = [(name, path) for name, descriptor in REQUESTS.items() for path in texts(descriptor)]


@pytest.mark.parametrize(("name", "path"), TEXTS)
def test_no_text_takes_a_nul(name: str, path: str) -> None:
    is_list = path == "client.installed_apps"
    found = complaints(with_field(name, path, ["a\x00b"] if is_list else "a\x00b"))
    reason = "EVIDENCE_MALFORMED" if path == "evidence" else "ILLEGAL_CHARACTER"
    assert found == {(path, reason)}


@pytest.mark.parametrize(("name", "path"), TEXTS)
def test_every_text_is_bounded(name: str, path: str) -> None:
    is_list = path == "client.installed_apps"
    assert complaints(with_field(name, path, ["x" * 60_000] if is_list else "x" * 60_000))


def maps(descriptor: Descriptor, path: str = "") -> Iterator[str]:
    for field in descriptor.fields:
        here = f"{path}.{field.name}" if path else field.name
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            yield here
        elif field.message_type is not None and field.message_type.file.package == "paycore.v1":
            yield from maps(field.message_type, here)


@pytest.mark.parametrize(("name", "path"), [(name, path) for name, d in REQUESTS.items() for path in maps(d)])
def test_no_map_takes_a_nul_or_many_entries(name: str, path: str) -> None:
    assert complaints(with_field(name, path, {"k": "a\x00b"})) == {(path, "ILLEGAL_CHARACTER")}
    assert complaints(with_field(name, path, {"a\x00b": "v"}))
    assert complaints(with_field(name, path, {f"k{number}": "v" for number in range(500)}))


def test_every_rule_is_a_reason() -> None:
    texts_of_protos = [path.read_text() for path in PROTOS.glob("*.proto")]
    ids = {found for text in texts_of_protos for found in re.findall(r'\bid: "([^"]*)"', text)}
    assert ids <= REASONS
    assert len(ids) > 15, "the rules are no longer found in the texts"


def test_the_reasons_are_those_of_the_core() -> None:
    assert {reason.value for reason in CoreReason} == REASONS
