"""The unary calls: how each is asked, where it goes, how long it may take, and what of its answer is returned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, ParamSpec, TypeVar

from paycore.client import requests
from paycore.v1 import (
    cashier_pb2,
    cashier_pb2_grpc,
    channel_pb2,
    channel_pb2_grpc,
    notice_pb2,
    notice_pb2_grpc,
    order_pb2,
    order_pb2_grpc,
    refund_pb2,
    refund_pb2_grpc,
)

P = ParamSpec("P")
R = TypeVar("R")

QUICK_SECONDS = 10.0
"""For what only the server answers."""
TALKING_SECONDS = 20.0
"""For what may wait for a channel, to which the server gives at most 8 seconds."""


@dataclass(frozen=True, slots=True)
class Unary(Generic[P, R]):
    """One call of the contract. `part` names the field of the answer that is returned; empty returns the answer itself."""

    build: Callable[P, Any]
    service: str
    method: str
    returns: Callable[..., R]
    """The type that is returned; it is named so that the clients' methods are typed."""
    part: str = ""
    timeout_seconds: float = QUICK_SECONDS

    def read(self, answer: Any) -> R:
        result: R = getattr(answer, self.part) if self.part else answer
        return result


def stubs(channel: Any) -> dict[str, Any]:
    """The services over a channel, by name."""
    return {
        "OrderService": order_pb2_grpc.OrderServiceStub(channel),
        "CashierService": cashier_pb2_grpc.CashierServiceStub(channel),
        "RefundService": refund_pb2_grpc.RefundServiceStub(channel),
        "ChannelService": channel_pb2_grpc.ChannelServiceStub(channel),
        "NoticeService": notice_pb2_grpc.NoticeServiceStub(channel),
    }


_ORDERS, _CASHIER, _REFUNDS, _CHANNELS = "OrderService", "CashierService", "RefundService", "ChannelService"

create_order = Unary(requests.create_order, _ORDERS, "CreateOrder", order_pb2.Order, "order")
get_order = Unary(requests.get_order, _ORDERS, "GetOrder", order_pb2.Order, "order")
list_orders = Unary(requests.list_orders, _ORDERS, "ListOrders", order_pb2.ListOrdersResponse)
pay_order = Unary(requests.pay_order, _ORDERS, "PayOrder", order_pb2.PayOrderResponse, timeout_seconds=TALKING_SECONDS)
sync_order = Unary(requests.sync_order, _ORDERS, "SyncOrder", order_pb2.Order, "order", timeout_seconds=TALKING_SECONDS)
close_order = Unary(
    requests.close_order, _ORDERS, "CloseOrder", order_pb2.Order, "order", timeout_seconds=TALKING_SECONDS
)
list_order_events = Unary(requests.list_order_events, _ORDERS, "ListOrderEvents", order_pb2.ListOrderEventsResponse)
explain_order = Unary(requests.explain_order, _ORDERS, "ExplainOrder", order_pb2.ExplainOrderResponse)
list_anomalies = Unary(requests.list_anomalies, _ORDERS, "ListAnomalies", order_pb2.ListAnomaliesResponse)
resolve_anomaly = Unary(
    requests.resolve_anomaly,
    _ORDERS,
    "ResolveAnomaly",
    order_pb2.ResolveAnomalyResponse,
    timeout_seconds=TALKING_SECONDS,
)

create_cashier_session = Unary(
    requests.create_cashier_session, _CASHIER, "CreateCashierSession", cashier_pb2.CreateCashierSessionResponse
)
get_cashier_session = Unary(
    requests.get_cashier_session, _CASHIER, "GetCashierSession", cashier_pb2.CashierSession, "session"
)
submit_payment = Unary(
    requests.submit_payment,
    _CASHIER,
    "SubmitPayment",
    cashier_pb2.SubmitPaymentResponse,
    timeout_seconds=TALKING_SECONDS,
)
report_client_result = Unary(
    requests.report_client_result, _CASHIER, "ReportClientResult", cashier_pb2.ReportClientResultResponse
)
confirm_payment = Unary(
    requests.confirm_payment,
    _CASHIER,
    "ConfirmPayment",
    cashier_pb2.ConfirmPaymentResponse,
    timeout_seconds=TALKING_SECONDS,
)

create_refund = Unary(
    requests.create_refund, _REFUNDS, "CreateRefund", refund_pb2.Refund, "refund", timeout_seconds=TALKING_SECONDS
)
get_refund = Unary(requests.get_refund, _REFUNDS, "GetRefund", refund_pb2.Refund, "refund")
list_refunds = Unary(requests.list_refunds, _REFUNDS, "ListRefunds", refund_pb2.ListRefundsResponse)
sync_refund = Unary(
    requests.sync_refund, _REFUNDS, "SyncRefund", refund_pb2.Refund, "refund", timeout_seconds=TALKING_SECONDS
)
retry_refund = Unary(
    requests.retry_refund, _REFUNDS, "RetryRefund", refund_pb2.Refund, "refund", timeout_seconds=TALKING_SECONDS
)

list_channels = Unary(requests.list_channels, _CHANNELS, "ListChannels", channel_pb2.ListChannelsResponse)
get_channel = Unary(requests.get_channel, _CHANNELS, "GetChannel", channel_pb2.Channel, "channel")

deliver_notice = Unary(
    requests.deliver_notice,
    "NoticeService",
    "DeliverNotice",
    notice_pb2.DeliverNoticeResponse,
    timeout_seconds=TALKING_SECONDS,
)
