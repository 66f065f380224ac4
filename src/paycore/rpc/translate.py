"""The only place that knows both the protos and the core: what is sent out, and what a validated request says."""

import json
from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import lru_cache
from typing import Any, TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from paycore.channel import ChannelKind, ChannelVerb, Method, NoticeReply, RawNotice
from paycore.core.events import Event, Figures
from paycore.core.findings import Failure
from paycore.core.order import (
    Anomaly,
    AnomalyKind,
    AnomalyState,
    CloseReason,
    Details,
    LineItem,
    Order,
    OrderState,
    Origin,
    Payment,
    PaymentState,
    Refund,
    RefundOrigin,
    RefundState,
    Remedy,
    SurplusPolicy,
)
from paycore.core.terms import AfterUnknown, Price
from paycore.engine.accounts import OpenAccount
from paycore.engine.cashier import Choice, Option, Unusable
from paycore.engine.desk import CallerRequest
from paycore.engine.explain import Line
from paycore.engine.orders import OrderDraft
from paycore.engine.refunding import RefundDraft
from paycore.rpc.pipeline import Call
from paycore.rpc.quotes import applied
from paycore.store import RequestKey, Session
from paycore.v1 import (
    anomaly_pb2,
    cashier_pb2,
    channel_pb2,
    common_pb2,
    money_pb2,
    notice_pb2,
    order_pb2,
    payment_pb2,
    refund_pb2,
)
from paycore_bridge import Plan

MICROSECONDS = 1_000_000

# ---------------------------------------------------------------------------------------------- words


Word = TypeVar("Word", bound=StrEnum)


def _numbers(words: type[Word], enum: Any, prefix: str) -> dict[Word, Any]:
    """The proto's number of every word of ours. A word that the proto lacks stops the import."""
    return {word: enum.Value(f"{prefix}_{word.value}") for word in words}


ORDER_STATES = _numbers(OrderState, order_pb2.Order.State, "STATE")
ORIGINS = _numbers(Origin, order_pb2.Order.Origin, "ORIGIN")
CLOSE_REASONS = _numbers(CloseReason, order_pb2.Order.CloseReason, "CLOSE_REASON")
SURPLUS_POLICIES = _numbers(SurplusPolicy, order_pb2.SurplusPolicy, "SURPLUS_POLICY")
PAYMENT_STATES = _numbers(PaymentState, payment_pb2.Payment.State, "STATE")
REFUND_STATES = _numbers(RefundState, refund_pb2.Refund.State, "STATE")
REFUND_ORIGINS = _numbers(RefundOrigin, refund_pb2.Refund.Origin, "ORIGIN")
ANOMALY_KINDS = _numbers(AnomalyKind, anomaly_pb2.Anomaly.Kind, "KIND")
ANOMALY_STATES = _numbers(AnomalyState, anomaly_pb2.Anomaly.State, "STATE")
REMEDIES = _numbers(Remedy, anomaly_pb2.Remedy, "REMEDY")
NOT_CLOSED = order_pb2.Order.CLOSE_REASON_UNSPECIFIED
NO_REMEDY = anomaly_pb2.REMEDY_UNSPECIFIED


def words(numbers: Mapping[Word, Any], given: Iterable[int]) -> tuple[Word, ...]:
    """Our words for the numbers of a filter, sorted and each once."""
    wanted = set(given)
    return tuple(sorted(word for word, number in numbers.items() if number in wanted))


def word(numbers: Mapping[Word, Any], given: int) -> Word | None:
    """Our word for a number; None for the unspecified one."""
    return next((word for word, number in numbers.items() if number == given), None)


# ---------------------------------------------------------------------------------------------- times and money


def instant(at: int) -> Timestamp:
    """Microseconds as a Timestamp."""
    seconds, micros = divmod(at, MICROSECONDS)
    return Timestamp(seconds=seconds, nanos=micros * 1000)


def maybe_instant(at: int | None) -> Timestamp | None:
    """The same where there may be none."""
    return None if at is None else instant(at)


def micros(stamp: Timestamp) -> int:
    """A validated Timestamp as microseconds; what is finer than a microsecond is cut off."""
    return stamp.seconds * MICROSECONDS + stamp.nanos // 1000


def money(amount_minor: int, currency: str) -> money_pb2.Money:
    return money_pb2.Money(amount_minor=amount_minor, currency_code=currency)


def _failure(failure: Failure | None) -> common_pb2.Failure | None:
    if failure is None:
        return None
    return common_pb2.Failure(
        reason=failure.reason,
        channel_code=failure.channel_code,
        message_zh=failure.message_zh,
        message_en=failure.message_en,
    )


# ---------------------------------------------------------------------------------------------- orders and their rows


def order_message(order: Order, *, with_rows: bool = True) -> order_pb2.Order:
    """An order as its app sees it. Lists leave the rows out."""
    details, effective = order.details, order.effective
    message = order_pb2.Order(
        order_id=order.order_id,
        app_id=order.app_id,
        merchant_order_no=order.merchant_order_no,
        origin=ORIGINS[order.origin],
        state=ORDER_STATES[order.state],
        close_reason=CLOSE_REASONS[order.close_reason] if order.close_reason else NOT_CLOSED,
        subject=details.subject,
        description=details.description,
        line_items=[_line_item(item) for item in details.items],
        metadata=details.metadata,
        return_url=details.return_url,
        amount=money(order.amount_minor, order.currency),
        surplus_policy=SURPLUS_POLICIES[order.surplus_policy],
        version=order.version,
        etag=etag(order),
        create_time=instant(order.created_at),
        update_time=instant(order.updated_at),
        expire_time=instant(order.expires_at),
        pay_time=maybe_instant(order.paid_at),
        close_time=maybe_instant(order.closed_at),
        merchant_payer_no=order.merchant_payer_no,
    )
    if effective is not None:
        message.captured_minor = effective.captured_minor
        message.refunding_minor = effective.refunding_minor
        message.refunded_minor = effective.refunded_minor
        message.effective_payment_id = effective.payment_id
    if with_rows:
        message.payments.extend(payment_message(order, payment) for payment in order.payments)
        message.refunds.extend(refund_message(order.order_id, refund) for refund in order.refunds)
        message.open_anomalies.extend(
            anomaly_message(order.order_id, anomaly) for anomaly in order.anomalies if anomaly.is_open
        )
    return message


def etag(order: Order) -> str:
    """The version as the opaque quoted text that a caller hands back."""
    return f'"{order.version}"'


def _line_item(item: LineItem) -> order_pb2.LineItem:
    return order_pb2.LineItem(
        product_id=item.product_id,
        name=item.name,
        quantity=item.quantity,
        unit_amount_minor=item.unit_amount_minor,
    )


def payment_message(order: Order, payment: Payment) -> payment_pb2.Payment:
    """An attempt, with its action while that may still be of use."""
    is_ready = bool(payment.plan_json) and payment.is_open
    return payment_pb2.Payment(
        payment_id=payment.payment_id,
        order_id=order.order_id,
        channel=payment.channel,
        method=payment.method,
        account_id=payment.account_id,
        state=PAYMENT_STATES[payment.state],
        amount=money(payment.amount_minor, payment.currency),
        captured_minor=payment.captured_minor,
        captured_currency=payment.captured_currency,
        refunding_minor=payment.refunding_minor,
        refunded_minor=payment.refunded_minor,
        is_effective=payment.is_effective,
        is_superseded=payment.is_superseded,
        is_reversed=payment.is_reversed,
        channel_trade_no=payment.channel_trade_no,
        is_action_ready=is_ready,
        action=_action(payment.plan_json, payment.plan_expires_at) if is_ready else None,
        failure=_failure(payment.failure),
        create_time=instant(payment.created_at),
        update_time=instant(payment.updated_at),
        expire_time=instant(payment.expires_at),
        pay_time=maybe_instant(payment.paid_at),
        offers=applied(payment.offers, payment.currency),
    )


@lru_cache(maxsize=4096)
def _action(plan_json: str, expires_at: int | None) -> common_pb2.Action:
    """A plan as the payer's device is told it. It never changes, and each answer and snapshot of an order has it."""
    plan = Plan.from_json(plan_json)
    ends = plan.expires_at if expires_at is None else expires_at
    return common_pb2.Action(
        steps=[
            common_pb2.Step(
                kind=step.kind.value,
                target=step.target.value,
                requires=step.requires,
                params_json=step.params_json,
                expire_time=maybe_instant(step.expires_at),
            )
            for step in plan.steps
        ],
        expire_time=maybe_instant(ends),
    )


def refund_message(order_id: str, refund: Refund) -> refund_pb2.Refund:
    return refund_pb2.Refund(
        refund_id=refund.refund_id,
        order_id=order_id,
        payment_id=refund.payment_id,
        merchant_refund_no=refund.merchant_refund_no,
        origin=REFUND_ORIGINS[refund.origin],
        state=REFUND_STATES[refund.state],
        amount=money(refund.amount_minor, refund.currency),
        reason=refund.reason,
        channel_refund_no=refund.channel_refund_no,
        failure=_failure(refund.failure),
        create_time=instant(refund.created_at),
        update_time=instant(refund.updated_at),
        success_time=maybe_instant(refund.refunded_at),
    )


def anomaly_message(order_id: str, anomaly: Anomaly) -> anomaly_pb2.Anomaly:
    return anomaly_pb2.Anomaly(
        anomaly_id=anomaly.anomaly_id,
        order_id=order_id,
        payment_id=anomaly.payment_id,
        refund_id=anomaly.refund_id,
        kind=ANOMALY_KINDS[anomaly.kind],
        state=ANOMALY_STATES[anomaly.state],
        amount=money(anomaly.amount_minor, anomaly.currency) if anomaly.currency else None,
        detail=anomaly.detail,
        remedy=REMEDIES[anomaly.remedy] if anomaly.remedy else NO_REMEDY,
        note=anomaly.note,
        resolver="" if anomaly.is_open or anomaly.remedy else "a rule",
        create_time=instant(anomaly.opened_at),
        resolve_time=maybe_instant(anomaly.resolved_at),
    )


# ---------------------------------------------------------------------------------------------- events


def event_message(event: Event) -> order_pb2.OrderEvent:
    """An event with the figures of its row. A figure that the proto does not know stays inside."""
    message = order_pb2.OrderEvent(
        order_id=event.order_id,
        version=event.version,
        event_time=instant(event.at),
        kind=event.kind,
        cause=event.cause,
    )
    match event.subject:
        case "order":
            message.order.CopyFrom(_order_figures(event.figures))
        case "payment":
            message.payment.CopyFrom(_payment_figures(event.subject_id, event.figures))
        case "refund":
            message.refund.CopyFrom(_refund_figures(event.subject_id, event.figures))
        case "anomaly":
            message.anomaly.CopyFrom(_anomaly_figures(event.subject_id, event.figures))
    return message


def _order_figures(figures: Figures) -> order_pb2.OrderFigures:
    closing = figures["close_reason"]
    return order_pb2.OrderFigures(
        state=ORDER_STATES[OrderState(figures["state"])],
        amount=money(figures["amount_minor"], figures["currency"]),
        close_reason=CLOSE_REASONS[CloseReason(closing)] if closing else NOT_CLOSED,
        effective_payment_id=figures["effective_payment_id"],
        expire_time=instant(figures["expires_at"]),
        pay_time=maybe_instant(figures["paid_at"]),
        close_time=maybe_instant(figures["closed_at"]),
    )


def _payment_figures(payment_id: str, figures: Figures) -> order_pb2.PaymentFigures:
    return order_pb2.PaymentFigures(
        payment_id=payment_id,
        state=PAYMENT_STATES[PaymentState(figures["state"])],
        channel=figures["channel"],
        method=figures["method"],
        account_id=figures["account_id"],
        amount=money(figures["amount_minor"], figures["currency"]),
        captured_minor=figures["captured_minor"],
        captured_currency=figures["captured_currency"],
        refunding_minor=figures["refunding_minor"],
        refunded_minor=figures["refunded_minor"],
        is_effective=figures["is_effective"],
        is_superseded=figures["is_superseded"],
        is_reversed=figures["is_reversed"],
        is_kept=figures["is_kept"],
        is_action_ready=figures["is_ready"],
        channel_trade_no=figures["channel_trade_no"],
        expire_time=instant(figures["expires_at"]),
        pay_time=maybe_instant(figures["paid_at"]),
        failure=_failure_of(figures),
    )


def _refund_figures(refund_id: str, figures: Figures) -> order_pb2.RefundFigures:
    return order_pb2.RefundFigures(
        refund_id=refund_id,
        payment_id=figures["payment_id"],
        state=REFUND_STATES[RefundState(figures["state"])],
        origin=REFUND_ORIGINS[RefundOrigin(figures["origin"])],
        amount=money(figures["amount_minor"], figures["currency"]),
        merchant_refund_no=figures["merchant_refund_no"],
        reason=figures["reason"],
        channel_refund_no=figures["channel_refund_no"],
        success_time=maybe_instant(figures["refunded_at"]),
        failure=_failure_of(figures),
    )


def _anomaly_figures(anomaly_id: str, figures: Figures) -> order_pb2.AnomalyFigures:
    remedy, currency = figures["remedy"], figures["currency"]
    return order_pb2.AnomalyFigures(
        anomaly_id=anomaly_id,
        kind=ANOMALY_KINDS[AnomalyKind(figures["kind"])],
        state=ANOMALY_STATES[AnomalyState(figures["state"])],
        payment_id=figures["payment_id"],
        refund_id=figures["refund_id"],
        amount=money(figures["amount_minor"], currency) if currency else None,
        detail=figures["detail"],
        remedy=REMEDIES[Remedy(remedy)] if remedy else NO_REMEDY,
        note=figures["note"],
        create_time=instant(figures["opened_at"]),
        resolve_time=maybe_instant(figures["resolved_at"]),
    )


def _failure_of(figures: Figures) -> common_pb2.Failure | None:
    told = figures["failure"]
    return None if told is None else _failure(Failure(*told))


def timeline(lines: Iterable[Line]) -> list[order_pb2.TimelineEntry]:
    return [
        order_pb2.TimelineEntry(
            entry_time=instant(line.at), who=line.who, what=line.what, evidence=line.evidence, version=line.version
        )
        for line in lines
    ]


# ---------------------------------------------------------------------------------------------- the cashier


def session_message(session: Session, order: Order, options: Iterable[Option]) -> cashier_pb2.CashierSession:
    """A session with where its order stands and what its client can choose."""
    latest = order.payments[-1] if order.payments else None
    return cashier_pb2.CashierSession(
        session_id=session.session_id,
        order_id=order.order_id,
        order_state=ORDER_STATES[order.state],
        subject=order.details.subject,
        description=order.details.description,
        amount=money(order.amount_minor, order.currency),
        return_url=order.details.return_url,
        options=[_option(option) for option in options],
        payment=payment_message(order, order.effective or latest) if latest else None,
        version=order.version,
        create_time=instant(session.created_at),
        expire_time=instant(session.expires_at),
        order_expire_time=instant(order.expires_at),
    )


def _option(option: Option) -> cashier_pb2.CashierOption:
    return cashier_pb2.CashierOption(
        channel=option.channel,
        method=option.method,
        display_name_zh=option.title.zh,
        display_name_en=option.title.en,
        availability=_availability(option),
        reason=_why_not(option.reason) if option.reason else None,
        amount=money(option.quote.amount_minor, option.quote.currency),
        scene=option.scene,
        required_inputs=option.required_inputs,
        is_recommended=option.is_recommended,
        is_last_used=option.is_last_used,
        offers=applied(option.quote.offers, option.quote.currency),
        quote_token=option.quote.token if option.is_available else "",
    )


def _availability(option: Option) -> cashier_pb2.CashierOption.Availability.ValueType:
    if not option.is_available:
        return cashier_pb2.CashierOption.AVAILABILITY_UNAVAILABLE
    if option.is_degraded:
        return cashier_pb2.CashierOption.AVAILABILITY_DEGRADED
    return cashier_pb2.CashierOption.AVAILABILITY_AVAILABLE


def _why_not(reason: Unusable) -> cashier_pb2.UnavailableReason:
    return cashier_pb2.UnavailableReason(code=reason.code, message_zh=reason.words.zh, message_en=reason.words.en)


# ---------------------------------------------------------------------------------------------- channels


PRICES = _numbers(Price, channel_pb2.Method.Price, "PRICE")
AFTER_UNKNOWNS = _numbers(AfterUnknown, channel_pb2.Method.AfterUnknown, "AFTER_UNKNOWN")


def channel_message(kind: ChannelKind, accounts: Iterable[OpenAccount]) -> channel_pb2.Channel:
    """What a channel says about itself, with the app's own accounts there."""
    return channel_pb2.Channel(
        channel=kind.name,
        display_name_zh=kind.title.zh,
        display_name_en=kind.title.en,
        plugin_version=kind.version,
        api_version=kind.api_version,
        methods=[_method(method) for method in kind.methods],
        verbs=sorted(verb.value for verb in kind.verbs),
        is_refundable=ChannelVerb.REFUND in kind.verbs,
        refund_window_seconds=kind.refund_window_seconds or 0,
        refund_count=kind.refund_count or 0,
        accounts=[
            channel_pb2.Account(
                account_id=account.account_id,
                environment=account.environment,
                merchant=account.merchant,
                is_usable=account.takes_payments,
            )
            for account in accounts
        ],
    )


def _method(method: Method) -> channel_pb2.Method:
    return channel_pb2.Method(
        method=method.name,
        display_name_zh=method.title.zh,
        display_name_en=method.title.en,
        scene=method.scene,
        step_kinds=method.step_kinds,
        faces=method.faces,
        targets=method.targets,
        inputs=[
            channel_pb2.MethodInput(
                name=one.name, display_name_zh=one.title.zh, display_name_en=one.title.en, pattern=one.pattern
            )
            for one in method.inputs
        ],
        limits=[
            channel_pb2.CurrencyLimit(
                currency_code=currency, min_amount_minor=limit.least_minor, max_amount_minor=limit.most_minor
            )
            for currency, limit in sorted(method.limits.items())
        ],
        needed_app=method.needs_app,
        min_expiry_seconds=method.expiry_min_seconds,
        max_expiry_seconds=method.expiry_max_seconds,
        price=PRICES[method.price],
        after_unknown=AFTER_UNKNOWNS[method.after_unknown],
        may_pay_at_once=method.may_pay_at_prepare,
    )


# ---------------------------------------------------------------------------------------------- notices


def raw_notice(request: notice_pb2.DeliverNoticeRequest) -> RawNotice:
    """A notice as it came, its header names in lower case. A header that came twice is joined, as HTTP has it."""
    headers: dict[str, str] = {}
    for header in request.headers:
        name = header.name.lower()
        headers[name] = f"{headers[name]}, {header.value}" if name in headers else header.value
    path, _, query = request.path.partition("?")
    return RawNotice(request.http_method, path, headers, request.body, query)


def notice_response(reply: NoticeReply) -> notice_pb2.DeliverNoticeResponse:
    return notice_pb2.DeliverNoticeResponse(
        http_status=reply.status,
        headers=[notice_pb2.NoticeHeader(name=name, value=value) for name, value in reply.headers.items()],
        body=reply.body,
    )


# ---------------------------------------------------------------------------------------------- what a request says


_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode


def canonical(request: Message, *, without: frozenset[str] = frozenset({"request_id"})) -> bytes:
    """The content of a request as one exact text: what two asks must have in common to be the same ask.

    The request_id, empty fields and fields that this server does not know are not content.
    """
    return _encode(_plain(request, without)).encode()


def _plain(message: Message, without: frozenset[str] = frozenset()) -> dict[str, Any]:
    return {
        field.name: _plain_value(field, value) for field, value in message.ListFields() if field.name not in without
    }


def _plain_value(field: FieldDescriptor, value: Any) -> Any:
    if field.message_type is None:
        value = list(value) if field.is_repeated else value
        return value.hex() if isinstance(value, bytes) else value
    if not field.is_repeated:
        return _plain(value)
    if field.message_type.GetOptions().map_entry:
        return dict(value)
    return [_plain(one) for one in value]


def asked(call: Call, request: Any) -> CallerRequest:
    """The request as something that may be sent twice: whose, by which method, with which content."""
    return CallerRequest(RequestKey(call.app_id, call.method.name, request.request_id), canonical(request))


CLIENT_OUTCOMES: dict[int, str] = {
    number: name.removeprefix("CLIENT_OUTCOME_") for name, number in cashier_pb2.ClientOutcome.items() if number
}


def client_outcome(given: int) -> str:
    """What the SDK claims, in a word of ours."""
    return CLIENT_OUTCOMES[given]


def client_data(client: common_pb2.ClientContext) -> dict[str, Any]:
    """The client in front of the payer as plain data, by the names of the proto; what was not said is left out."""
    return _plain(client)


def maybe_micros(request: Message, name: str) -> int | None:
    """The instant in a field; None where it was left out."""
    return micros(getattr(request, name)) if request.HasField(name) else None


def order_draft(request: order_pb2.CreateOrderRequest) -> OrderDraft:
    details = Details(
        subject=request.subject,
        description=request.description,
        items=tuple(
            LineItem(item.product_id, item.name, item.quantity, item.unit_amount_minor) for item in request.line_items
        ),
        metadata=dict(request.metadata),
        return_url=request.return_url,
    )
    return OrderDraft(
        amount_minor=request.amount.amount_minor,
        currency=request.amount.currency_code,
        details=details,
        merchant_order_no=request.merchant_order_no,
        merchant_payer_no=request.merchant_payer_no,
        expires_at=maybe_micros(request, "expire_time"),
        surplus_policy=word(SURPLUS_POLICIES, request.surplus_policy),
    )


def refund_draft(request: refund_pb2.CreateRefundRequest) -> RefundDraft:
    return RefundDraft(
        amount_minor=request.amount.amount_minor,
        currency=request.amount.currency_code,
        merchant_refund_no=request.merchant_refund_no,
        reason=request.reason,
        payment_id=request.payment_id or None,
    )


def choice(
    request: order_pb2.PayOrderRequest | cashier_pb2.SubmitPaymentRequest,
    client: Mapping[str, Any],
    account_id: str = "",
    quote_token: str = "",
) -> Choice:
    """The way to pay that was chosen, for this client."""
    return Choice(
        channel=request.channel,
        method=request.method,
        account_id=account_id,
        inputs=dict(request.inputs),
        client=client,
        quote_token=quote_token,
    )
