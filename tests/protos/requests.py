"""Requests that break no rule, one of each type, for tests that then break one."""

from typing import Any

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from paycore.v1 import anomaly_pb2, cashier_pb2, channel_pb2, common_pb2, money_pb2, notice_pb2, order_pb2, refund_pb2

BODY = "0123456789ABCDEFGHJKMNPQRS"
ORDER, PAYMENT, REFUND, SESSION, ANOMALY, ACCOUNT = (prefix + BODY for prefix in ("or", "py", "rf", "cs", "an", "ac"))
KEY = "request-0123456789"
NOON = Timestamp(seconds=1_790_000_000)
LATER = Timestamp(seconds=1_790_600_000)


def client() -> common_pb2.ClientContext:
    return common_pb2.ClientContext(
        face="android",
        os="android",
        os_version="16",
        app_version="1.2.3",
        sdk_versions={"alipay": "15.8"},
        installed_apps=["alipay"],
        vendor="acme",
        client_ip="203.0.113.7",
        locale="zh-CN",
        user_agent="shop/1",
    )


def money() -> money_pb2.Money:
    return money_pb2.Money(currency_code="CNY", amount_minor=1200)


def sound() -> dict[str, Message]:
    """A sound request of each type, by its name."""
    page: Any = {"page_size": 50, "page_token": "bmV4dA"}
    requests: list[Message] = [
        order_pb2.CreateOrderRequest(
            merchant_order_no="order_0001",
            amount=money(),
            subject="Tea 茶 🍵",
            description="Two cups",
            line_items=[order_pb2.LineItem(product_id="t1", name="Tea", quantity=2, unit_amount_minor=600)],
            metadata={"shop": "12"},
            return_url="https://shop.example/done?order=1",
            expire_time=LATER,
            surplus_policy=order_pb2.SURPLUS_POLICY_HOLD,
            request_id=KEY,
        ),
        order_pb2.GetOrderRequest(order_id=ORDER),
        order_pb2.ListOrdersRequest(states=[order_pb2.Order.STATE_PAID], start_time=NOON, end_time=LATER, **page),
        order_pb2.PayOrderRequest(
            order_id=ORDER,
            channel="sandbox",
            method="qr",
            account_id=ACCOUNT,
            client=client(),
            inputs={"openid": "o1"},
            request_id=KEY,
            etag='"3"',
        ),
        order_pb2.SyncOrderRequest(order_id=ORDER),
        order_pb2.CloseOrderRequest(order_id=ORDER, etag='"3"', request_id=KEY),
        order_pb2.ListOrderEventsRequest(order_id=ORDER, after_version=3, **page),
        order_pb2.ExplainOrderRequest(order_id=ORDER),
        order_pb2.WatchOrderRequest(
            order_id=ORDER, resume_after=3, heartbeat_seconds=15, end_policy=common_pb2.END_POLICY_NEVER
        ),
        order_pb2.WatchOrdersRequest(resume_after=0, heartbeat_seconds=5),
        order_pb2.ListAnomaliesRequest(
            order_id=ORDER, state=anomaly_pb2.Anomaly.STATE_OPEN, kinds=[anomaly_pb2.Anomaly.KIND_LATE_PAYMENT], **page
        ),
        order_pb2.ResolveAnomalyRequest(
            anomaly_id=ANOMALY, remedy=anomaly_pb2.REMEDY_ACCEPT, note="talked to the payer", request_id=KEY
        ),
        cashier_pb2.CreateCashierSessionRequest(order_id=ORDER, client=client(), lifetime_seconds=600, request_id=KEY),
        cashier_pb2.GetCashierSessionRequest(session_id=SESSION, client=client()),
        cashier_pb2.SubmitPaymentRequest(
            session_id=SESSION,
            channel="sandbox",
            method="qr",
            inputs={"openid": "o1"},
            client=client(),
            request_id=KEY,
        ),
        cashier_pb2.ReportClientResultRequest(
            payment_id=PAYMENT, outcome=cashier_pb2.CLIENT_OUTCOME_CANCELLED, raw_code="6001", raw_text="cancelled"
        ),
        cashier_pb2.ConfirmPaymentRequest(
            channel="sandbox", evidence="aaa.bbb.ccc", payment_id=PAYMENT, account_id=ACCOUNT, request_id=KEY
        ),
        cashier_pb2.WatchCashierSessionRequest(session_id=SESSION, resume_after=0, heartbeat_seconds=60),
        refund_pb2.CreateRefundRequest(
            order_id=ORDER,
            payment_id=PAYMENT,
            merchant_refund_no="refund_0001",
            amount=money(),
            reason="broken",
            request_id=KEY,
        ),
        refund_pb2.GetRefundRequest(refund_id=REFUND),
        refund_pb2.ListRefundsRequest(
            order_id=ORDER, states=[refund_pb2.Refund.STATE_PENDING], start_time=NOON, end_time=LATER, **page
        ),
        refund_pb2.SyncRefundRequest(refund_id=REFUND),
        refund_pb2.RetryRefundRequest(refund_id=REFUND, request_id=KEY),
        refund_pb2.WatchRefundRequest(refund_id=REFUND, resume_after=2),
        channel_pb2.ListChannelsRequest(**page),
        channel_pb2.GetChannelRequest(channel="sandbox"),
        notice_pb2.DeliverNoticeRequest(
            account_id=ACCOUNT,
            http_method="POST",
            path="/v1/notices/x?a=1",
            headers=[notice_pb2.NoticeHeader(name="Content-Type", value="text/plain")],
            body=b"\x00\xff",
        ),
    ]
    return {request.DESCRIPTOR.name: request for request in requests}
