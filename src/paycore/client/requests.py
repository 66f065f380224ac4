"""Requests from keyword arguments. Both clients call by these; they say once what each call takes.

Amounts are whole minor units with an ISO 4217 code, instants are datetimes with a zone. A `request_id` that is not given
is made; keep the one in an error to ask again.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from paycore.v1 import anomaly_pb2, cashier_pb2, channel_pb2, common_pb2, money_pb2, notice_pb2, order_pb2, refund_pb2


def _key(request_id: str | None) -> str:
    return uuid.uuid4().hex if request_id is None else request_id


def _instant(instant: datetime | None) -> Timestamp | None:
    if instant is None:
        return None
    if instant.tzinfo is None:
        raise ValueError("an instant needs a time zone")
    stamp = Timestamp()
    stamp.FromDatetime(instant)
    return stamp


def _naming(**names: str | None) -> dict[str, str]:
    """The one name that was given. None at all is for the server to refuse."""
    given = {name: value for name, value in names.items() if value is not None}
    if len(given) > 1:
        raise ValueError(f"name it by one of {' and '.join(names)}")
    return given


# ---------------------------------------------------------------------------------------------- orders


def create_order(
    *,
    merchant_order_no: str,
    amount_minor: int,
    currency: str,
    subject: str,
    description: str = "",
    line_items: Iterable[order_pb2.LineItem] = (),
    metadata: Mapping[str, str] | None = None,
    return_url: str = "",
    expire_time: datetime | None = None,
    surplus_policy: order_pb2.SurplusPolicy.ValueType = order_pb2.SURPLUS_POLICY_UNSPECIFIED,
    merchant_payer_no: str = "",
    request_id: str | None = None,
) -> order_pb2.CreateOrderRequest:
    """Store a debt and return it. The same number with the same content returns the same order as it stands now."""
    return order_pb2.CreateOrderRequest(
        merchant_order_no=merchant_order_no,
        amount=money_pb2.Money(amount_minor=amount_minor, currency_code=currency),
        subject=subject,
        description=description,
        line_items=line_items,
        metadata=metadata,
        return_url=return_url,
        expire_time=_instant(expire_time),
        surplus_policy=surplus_policy,
        merchant_payer_no=merchant_payer_no,
        request_id=_key(request_id),
    )


def get_order(order_id: str | None = None, *, merchant_order_no: str | None = None) -> order_pb2.GetOrderRequest:
    """Return an order with its payments, refunds and open anomalies, by our id or the caller's number."""
    return order_pb2.GetOrderRequest(**_naming(order_id=order_id, merchant_order_no=merchant_order_no))


def list_orders(
    *,
    states: Iterable[order_pb2.Order.State.ValueType] = (),
    start_time: datetime | None = None,
    end_time: datetime | None = None,
    page_size: int = 0,
    page_token: str = "",
) -> order_pb2.ListOrdersRequest:
    """List orders, newest first, created within at most 31 days."""
    return order_pb2.ListOrdersRequest(
        states=states,
        start_time=_instant(start_time),
        end_time=_instant(end_time),
        page_size=page_size,
        page_token=page_token,
    )


def pay_order(
    order_id: str,
    *,
    channel: str,
    method: str,
    account_id: str = "",
    client: common_pb2.ClientContext | None = None,
    inputs: Mapping[str, str] | None = None,
    etag: str = "",
    request_id: str | None = None,
) -> order_pb2.PayOrderRequest:
    """Begin a payment. The answer has what the payer's device must do, or an event says later when it is ready."""
    return order_pb2.PayOrderRequest(
        order_id=order_id,
        channel=channel,
        method=method,
        account_id=account_id,
        client=client,
        inputs=inputs,
        etag=etag,
        request_id=_key(request_id),
    )


def sync_order(order_id: str) -> order_pb2.SyncOrderRequest:
    """Ask the channels about an order now and return it as it stands afterwards."""
    return order_pb2.SyncOrderRequest(order_id=order_id)


def close_order(order_id: str, *, etag: str = "", request_id: str | None = None) -> order_pb2.CloseOrderRequest:
    """Close an order that nobody paid. The order's state is the outcome: CLOSED, CLOSING, or PAID if the money came first."""
    return order_pb2.CloseOrderRequest(order_id=order_id, etag=etag, request_id=_key(request_id))


def list_order_events(
    order_id: str, *, after_version: int = 0, page_size: int = 0, page_token: str = ""
) -> order_pb2.ListOrderEventsRequest:
    """List an order's events by version."""
    return order_pb2.ListOrderEventsRequest(
        order_id=order_id, after_version=after_version, page_size=page_size, page_token=page_token
    )


def explain_order(order_id: str) -> order_pb2.ExplainOrderRequest:
    """Tell an order's story in sentences, with the evidence for each."""
    return order_pb2.ExplainOrderRequest(order_id=order_id)


def list_anomalies(
    *,
    order_id: str = "",
    state: anomaly_pb2.Anomaly.State.ValueType = anomaly_pb2.Anomaly.STATE_UNSPECIFIED,
    kinds: Iterable[anomaly_pb2.Anomaly.Kind.ValueType] = (),
    page_size: int = 0,
    page_token: str = "",
) -> order_pb2.ListAnomaliesRequest:
    """List money that needs, or needed, a remedy."""
    return order_pb2.ListAnomaliesRequest(
        order_id=order_id, state=state, kinds=kinds, page_size=page_size, page_token=page_token
    )


def resolve_anomaly(
    anomaly_id: str,
    *,
    remedy: anomaly_pb2.Remedy.ValueType,
    note: str,
    payment_id: str = "",
    request_id: str | None = None,
) -> order_pb2.ResolveAnomalyRequest:
    """Remedy an anomaly, and say why for whoever looks later. `payment_id` is whose a store's purchase of no order is."""
    return order_pb2.ResolveAnomalyRequest(
        anomaly_id=anomaly_id, remedy=remedy, note=note, payment_id=payment_id, request_id=_key(request_id)
    )


# ---------------------------------------------------------------------------------------------- cashier


def create_cashier_session(
    order_id: str,
    *,
    client: common_pb2.ClientContext,
    lifetime_seconds: int = 0,
    request_id: str | None = None,
) -> cashier_pb2.CreateCashierSessionRequest:
    """Open a cashier session. The answer has the session's token, with which the payer's client may call."""
    return cashier_pb2.CreateCashierSessionRequest(
        order_id=order_id, client=client, lifetime_seconds=lifetime_seconds, request_id=_key(request_id)
    )


def get_cashier_session(
    session_id: str, *, client: common_pb2.ClientContext | None = None
) -> cashier_pb2.GetCashierSessionRequest:
    """Return a session with its options as they are now."""
    return cashier_pb2.GetCashierSessionRequest(session_id=session_id, client=client)


def submit_payment(
    session_id: str,
    *,
    channel: str,
    method: str,
    inputs: Mapping[str, str] | None = None,
    client: common_pb2.ClientContext | None = None,
    returns_to_page: bool = False,
    quote_token: str = "",
    request_id: str | None = None,
) -> cashier_pb2.SubmitPaymentRequest:
    """Begin a payment by the method that the payer chose, at the price that the quote seals; whatever it is without one."""
    return cashier_pb2.SubmitPaymentRequest(
        session_id=session_id,
        channel=channel,
        method=method,
        inputs=inputs,
        client=client,
        returns_to_page=returns_to_page,
        quote_token=quote_token,
        request_id=_key(request_id),
    )


def report_client_result(
    payment_id: str,
    *,
    outcome: cashier_pb2.ClientOutcome.ValueType,
    raw_code: str = "",
    raw_text: str = "",
) -> cashier_pb2.ReportClientResultRequest:
    """Hand on what the SDK on the device answered. It brings the next query forward and changes nothing else."""
    return cashier_pb2.ReportClientResultRequest(
        payment_id=payment_id, outcome=outcome, raw_code=raw_code, raw_text=raw_text
    )


def confirm_payment(
    *, channel: str, evidence: str, payment_id: str = "", account_id: str = "", request_id: str | None = None
) -> cashier_pb2.ConfirmPaymentRequest:
    """Hand in evidence of a payment, such as a store's signed transaction."""
    return cashier_pb2.ConfirmPaymentRequest(
        channel=channel, evidence=evidence, payment_id=payment_id, account_id=account_id, request_id=_key(request_id)
    )


# ---------------------------------------------------------------------------------------------- refunds


def create_refund(
    order_id: str | None = None,
    *,
    amount_minor: int,
    currency: str,
    merchant_order_no: str | None = None,
    payment_id: str = "",
    merchant_refund_no: str = "",
    reason: str = "",
    request_id: str | None = None,
) -> refund_pb2.CreateRefundRequest:
    """Give back all or part of what an order's payment took."""
    return refund_pb2.CreateRefundRequest(
        **_naming(order_id=order_id, merchant_order_no=merchant_order_no),
        payment_id=payment_id,
        merchant_refund_no=merchant_refund_no,
        amount=money_pb2.Money(amount_minor=amount_minor, currency_code=currency),
        reason=reason,
        request_id=_key(request_id),
    )


def get_refund(refund_id: str | None = None, *, merchant_refund_no: str | None = None) -> refund_pb2.GetRefundRequest:
    """Return a refund by our id or the caller's number."""
    return refund_pb2.GetRefundRequest(**_naming(refund_id=refund_id, merchant_refund_no=merchant_refund_no))


def list_refunds(
    *,
    order_id: str = "",
    states: Iterable[refund_pb2.Refund.State.ValueType] = (),
    start_time: datetime | None = None,
    end_time: datetime | None = None,
    page_size: int = 0,
    page_token: str = "",
) -> refund_pb2.ListRefundsRequest:
    """List refunds, newest first."""
    return refund_pb2.ListRefundsRequest(
        order_id=order_id,
        states=states,
        start_time=_instant(start_time),
        end_time=_instant(end_time),
        page_size=page_size,
        page_token=page_token,
    )


def sync_refund(refund_id: str) -> refund_pb2.SyncRefundRequest:
    """Ask the channel about a refund now and return it as it stands afterwards."""
    return refund_pb2.SyncRefundRequest(refund_id=refund_id)


def retry_refund(refund_id: str, *, request_id: str | None = None) -> refund_pb2.RetryRefundRequest:
    """Send a refund again under the same number."""
    return refund_pb2.RetryRefundRequest(refund_id=refund_id, request_id=_key(request_id))


# ---------------------------------------------------------------------------------------------- channels and notices


def list_channels(*, page_size: int = 0, page_token: str = "") -> channel_pb2.ListChannelsRequest:
    """List the loaded channels with what they can do."""
    return channel_pb2.ListChannelsRequest(page_size=page_size, page_token=page_token)


def get_channel(channel: str) -> channel_pb2.GetChannelRequest:
    """Return what one channel can do."""
    return channel_pb2.GetChannelRequest(channel=channel)


def deliver_notice(
    account_id: str, *, http_method: str, path: str, headers: Iterable[tuple[str, str]], body: bytes
) -> notice_pb2.DeliverNoticeRequest:
    """Hand on a channel's notice, byte for byte, and return the exact answer to give."""
    return notice_pb2.DeliverNoticeRequest(
        account_id=account_id,
        http_method=http_method,
        path=path,
        headers=[notice_pb2.NoticeHeader(name=name, value=value) for name, value in headers],
        body=body,
    )
