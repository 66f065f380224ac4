"""The sync client's unary calls, driven by grpcio-testing: what is sent, what comes back, what is raised."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import grpc
import grpc_testing
import pytest
from google.protobuf.message import Message
from grpc_status import rpc_status

from paycore.client import (
    AsyncClient,
    Client,
    Conflict,
    Denied,
    Forbidden,
    InvalidRequest,
    NotFound,
    PaycoreError,
    Unavailable,
)
from paycore.client import calls as table
from paycore.client.calls import QUICK_SECONDS, TALKING_SECONDS, Unary
from paycore.v1 import anomaly_pb2, cashier_pb2, channel_pb2, common_pb2, notice_pb2, order_pb2, refund_pb2
from tests.client.scripted import KEY, Refusal
from tests.protos.requests import ACCOUNT, ANOMALY, ORDER, PAYMENT, REFUND, SESSION
from tests.protos.test_rules import complaints

SERVICES = {
    service.name: service
    for module in (order_pb2, cashier_pb2, refund_pb2, channel_pb2, notice_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
}
WATCHES = {"WatchOrder", "WatchOrders", "WatchRefund", "WatchCashierSession"}
CALLS: dict[str, Unary[Any, Any]] = {name: call for name, call in vars(table).items() if isinstance(call, Unary)}

ARGUMENTS: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "create_order": ((), {"merchant_order_no": "T-1001", "amount_minor": 1200, "currency": "CNY", "subject": "Tea"}),
    "get_order": ((ORDER,), {}),
    "list_orders": ((), {"states": [order_pb2.Order.STATE_PAID], "page_size": 10}),
    "pay_order": ((ORDER,), {"channel": "sandbox", "method": "qr"}),
    "sync_order": ((ORDER,), {}),
    "close_order": ((ORDER,), {}),
    "list_order_events": ((ORDER,), {"after_version": 2}),
    "explain_order": ((ORDER,), {}),
    "list_anomalies": ((), {"state": anomaly_pb2.Anomaly.STATE_OPEN}),
    "resolve_anomaly": ((ANOMALY,), {"remedy": anomaly_pb2.REMEDY_REFUND, "note": "as agreed"}),
    "create_cashier_session": ((ORDER,), {"client": common_pb2.ClientContext(face="h5")}),
    "get_cashier_session": ((SESSION,), {}),
    "submit_payment": ((SESSION,), {"channel": "sandbox", "method": "qr"}),
    "report_client_result": ((PAYMENT,), {"outcome": cashier_pb2.CLIENT_OUTCOME_CANCELLED, "raw_code": "6001"}),
    "confirm_payment": ((), {"channel": "sandbox", "evidence": "a.b.c"}),
    "create_refund": ((ORDER,), {"amount_minor": 500, "currency": "CNY", "reason": "broken"}),
    "get_refund": ((), {"merchant_refund_no": "R-1001"}),
    "list_refunds": ((), {"order_id": ORDER}),
    "sync_refund": ((REFUND,), {}),
    "retry_refund": ((REFUND,), {}),
    "list_channels": ((), {}),
    "get_channel": (("sandbox",), {}),
    "deliver_notice": (
        (ACCOUNT,),
        {"http_method": "POST", "path": "/v1/notices/x", "headers": [("A", "b")], "body": b"\x00"},
    ),
}


class Line:
    """A client on a fake channel, and the far end of it."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool
        self._channel = grpc_testing.channel(SERVICES.values(), grpc_testing.strict_real_time())
        self.client = Client("far.example:443", KEY, channel=self._channel)

    def ask(self, name: str) -> Future[Any]:
        arguments, named = ARGUMENTS[name]
        return self._pool.submit(getattr(self.client, name), *arguments, **named)

    def take(self, call: Unary[Any, Any]) -> tuple[dict[str, str], Message, Any]:
        method = SERVICES[call.service].methods_by_name[call.method]
        metadata, request, rpc = self._channel.take_unary_unary(method)
        rpc.send_initial_metadata(())
        return dict(metadata), request, rpc


@pytest.fixture
def line() -> Iterator[Line]:
    with ThreadPoolExecutor(1) as pool:
        yield Line(pool)


def snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def test_every_rpc_of_the_contract_is_a_method() -> None:
    rpcs = {method.name for service in SERVICES.values() for method in service.methods}
    assert set(CALLS) == {snake(rpc) for rpc in rpcs - WATCHES} == set(ARGUMENTS)
    for rpc in rpcs:
        for client in (Client, AsyncClient):
            method = inspect.getattr_static(client, snake(rpc))
            assert method.__doc__
            assert inspect.signature(method.__wrapped__).parameters


@pytest.mark.parametrize("name", CALLS)
def test_a_call_sends_its_request_with_the_key_and_returns_the_answer(line: Line, name: str) -> None:
    call = CALLS[name]
    asked = line.ask(name)
    metadata, request, rpc = line.take(call)
    answer = SERVICES[call.service].methods_by_name[call.method].output_type._concrete_class()
    if call.part:
        getattr(answer, call.part).SetInParent()
    rpc.terminate(answer, (), grpc.StatusCode.OK, "")
    assert metadata["authorization"] == f"Bearer {KEY}"
    assert complaints(request) == set()
    result = asked.result(5)
    assert result == (getattr(answer, call.part) if call.part else answer)
    assert isinstance(result, call.returns)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name", [name for name, call in CALLS.items() if "request_id" in inspect.signature(call.build).parameters]
)
def test_a_request_id_is_made_unless_it_is_given(name: str) -> None:
    arguments, named = ARGUMENTS[name]
    build = CALLS[name].build
    first, second = build(*arguments, **named), build(*arguments, **named)
    assert first.request_id != second.request_id
    assert build(*arguments, **named, request_id="mine-0123456789ab").request_id == "mine-0123456789ab"


def test_what_creates_or_moves_money_has_a_request_id() -> None:
    with_key = {name for name, call in CALLS.items() if "request_id" in inspect.signature(call.build).parameters}
    assert with_key == {
        "create_order",
        "pay_order",
        "close_order",
        "resolve_anomaly",
        "create_cashier_session",
        "submit_payment",
        "confirm_payment",
        "create_refund",
        "retry_refund",
    }


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, "AMOUNT_NOT_POSITIVE", InvalidRequest),
        (grpc.StatusCode.OUT_OF_RANGE, "RESUME_AHEAD", InvalidRequest),
        (grpc.StatusCode.NOT_FOUND, "ORDER_NOT_FOUND", NotFound),
        (grpc.StatusCode.ALREADY_EXISTS, "IDEMPOTENCY_CONFLICT", Conflict),
        (grpc.StatusCode.ABORTED, "ETAG_MISMATCH", Conflict),
        (grpc.StatusCode.FAILED_PRECONDITION, "ORDER_ALREADY_PAID", Forbidden),
        (grpc.StatusCode.UNAUTHENTICATED, "CREDENTIALS_INVALID", Denied),
        (grpc.StatusCode.PERMISSION_DENIED, "SCOPE_MISSING", Denied),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED", Unavailable),
        (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE", Unavailable),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "", Unavailable),
        (grpc.StatusCode.INTERNAL, "INTERNAL", PaycoreError),
    ],
)
def test_a_refusal_keeps_its_reason(line: Line, code: grpc.StatusCode, reason: str, kind: type[PaycoreError]) -> None:
    asked = line.ask("create_order")
    _, request, rpc = line.take(table.create_order)
    refusal = Refusal(code, reason, retry_after_seconds=1.5 if reason == "RATE_LIMITED" else None)
    trailing = rpc_status.to_status(refusal.status()).trailing_metadata if reason else ()
    rpc.terminate(None, trailing, code, "refused")
    with pytest.raises(kind) as caught:
        asked.result(5)
    error = caught.value
    assert type(error) is kind
    assert (error.code, error.reason, error.text) == (code, reason, "refused")
    assert error.metadata == ({"order_id": "or1"} if reason else {})
    assert error.request_id == request.request_id  # type: ignore[attr-defined]
    assert error.retry_after_seconds == (1.5 if reason == "RATE_LIMITED" else None)
    fields = [(violation.field, violation.reason) for violation in error.violations]
    assert fields == ([("amount.amount_minor", reason)] if kind is InvalidRequest and "AMOUNT" in reason else [])
    assert (reason or code.name) in str(error)


def test_a_status_that_contradicts_the_call_is_not_believed(line: Line) -> None:
    asked = line.ask("get_order")
    _, _, rpc = line.take(table.get_order)
    told = rpc_status.to_status(Refusal(grpc.StatusCode.NOT_FOUND, "ORDER_NOT_FOUND").status()).trailing_metadata
    rpc.terminate(None, told, grpc.StatusCode.UNAVAILABLE, "proxy says no")
    with pytest.raises(Unavailable) as caught:
        asked.result(5)
    assert (caught.value.reason, caught.value.text) == ("", "proxy says no")


class Recorder:
    """Stands where a stub's method stands and remembers the deadline."""

    def __init__(self) -> None:
        self.timeout: float | None = None

    def __call__(self, request: Any, *, timeout: float, metadata: Any) -> Any:
        self.timeout = timeout
        return order_pb2.GetOrderResponse()


@pytest.mark.parametrize(
    ("name", "seconds"),
    [("get_order", QUICK_SECONDS), ("pay_order", TALKING_SECONDS), ("create_refund", TALKING_SECONDS)],
)
def test_every_call_has_a_deadline(name: str, seconds: float) -> None:
    assert CALLS[name].timeout_seconds == seconds


def test_a_deadline_can_be_chosen() -> None:
    with Client("localhost:1", KEY) as client:
        recorder = Recorder()
        client._stubs["OrderService"] = type("Stub", (), {"GetOrder": recorder})
        client.get_order("or1")
        assert recorder.timeout == QUICK_SECONDS
        client.within(0.5).get_order("or1")
        assert recorder.timeout == 0.5
        client.get_order("or1")
        assert recorder.timeout == QUICK_SECONDS


BAD_ARGUMENTS: list[Callable[[Client], object]] = [
    lambda client: client.get_order("or1", merchant_order_no="T-1001"),
    lambda client: client.get_refund("rf1", merchant_refund_no="R-1001"),
    lambda client: client.create_refund("or1", merchant_order_no="T-1001", amount_minor=1, currency="CNY"),
    lambda client: client.list_orders(start_time=datetime(2026, 11, 24)),  # noqa: DTZ001
]


@pytest.mark.parametrize("call", BAD_ARGUMENTS)
def test_what_cannot_be_meant_is_not_sent(line: Line, call: Callable[[Client], object]) -> None:
    with pytest.raises(ValueError, match=r"name it by one of|time zone"):
        call(line.client)


def test_instants_are_sent_to_the_microsecond() -> None:
    request = table.list_orders.build(start_time=datetime(2026, 11, 24, 12, 0, 0, 250_001, UTC))
    assert (request.start_time.seconds, request.start_time.nanos) == (1795521600, 250_001_000)
