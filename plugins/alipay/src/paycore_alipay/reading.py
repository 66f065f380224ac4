"""What Alipay's words mean, as tables: status or code on the wire -> finding. What no table names is Unknown.

Sources: the documents of alipay.trade.pay, precreate, create, query, close, cancel, refund, fastpay.refund.query ("公共错误码",
"业务错误码", "交易状态说明") and "异步通知说明". Code 10000 alone proves nothing: it says that a call was carried out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from paycore.channel import (
    AboutPayment,
    AlreadyPaid,
    ChannelRefund,
    Closed,
    Declined,
    Failure,
    NotFound,
    Paid,
    PaymentFinding,
    Refunded,
    RefundFailed,
    RefundFinding,
    RefundNotFound,
    RefundRefused,
    RefundShort,
    Reversed,
    Unknown,
    Waiting,
)
from paycore_alipay import wire
from paycore_alipay.wire import Answer, Unreadable

_WORDS: dict[str, tuple[str, str]] = {
    "auth_code_invalid": ("付款码已失效，请刷新后重试", "The payment code is not valid any more. Please refresh it."),
    "payer_balance_short": ("余额不足，请更换付款方式", "The balance is too small. Please pay in another way."),
    "payer_declined": ("付款被拒绝，请换一种方式支付", "The payment was declined. Please try another way to pay."),
    "payer_limited": ("付款金额超出限额", "The amount is above the payer's limit."),
    "channel_refused": ("支付宝未接受本次请求", "Alipay did not accept the request."),
    "account_refused": ("商户的支付宝账户暂不可用", "The merchant's Alipay account cannot be used at the moment."),
    "refund_refused": ("支付宝未接受本次退款", "Alipay did not accept the refund."),
    "refund_window_closed": ("交易已完结，不能再退款", "The trade is finished; it cannot be refunded any more."),
    "balance_short": ("商户余额不足", "The merchant's balance is too small."),
}


def failure(reason: str, channel_code: str) -> Failure:
    """Why something was refused, with words a payer can read."""
    zh, en = _WORDS[reason]
    return Failure(reason=reason, channel_code=channel_code, message_zh=zh, message_en=en)


# ---------------------------------------------------------------------------------------------- codes

UNDECIDED = frozenset({"20000", "40005"})
"""Gateway codes ("公共错误码") after which anything may have happened (service unavailable), or nothing yet (rate limit)."""

MISCONFIGURED = frozenset({"20001", "40001", "40002", "40003", "40006"})
"""Gateway codes that say that the call itself is wrong: tokens, parameters, signature, permissions."""

_SYSTEM_ERRORS = frozenset(
    {"ACQ.SYSTEM_ERROR", "AQC.SYSTEM_ERROR", "aop.ACQ.SYSTEM_ERROR", "isp.unknow-error", "aop.unknow-error"}
)
"""The one system error in all the spellings that the documents have."""

NOT_PAYABLE_STATES = frozenset(
    {"ACQ.TRADE_STATUS_ERROR", "ACQ.REASON_TRADE_STATUS_INVALID", "ACQ.REASON_ILLEGAL_STATUS"}
)
"""A close was refused because the trade does not wait for its payer: paid or closed, a query tells."""


def is_undecided(answer: Answer) -> bool:
    """Whether this answer leaves open what happened."""
    return answer.code in UNDECIDED or answer.sub_code in _SYSTEM_ERRORS


def unknown(answer: Answer) -> Unknown:
    """An answer that no table names."""
    return Unknown(f"Alipay answered {answer.word[:64]}", authenticated=answer.is_signed)


# ---------------------------------------------------------------------------------------------- trades


@dataclass(frozen=True, slots=True)
class Trade:
    """A trade as an answer or a notice shows it. `returned_minor` is what went back in all; None where nothing says so."""

    out_trade_no: str
    trade_no: str
    status: str
    amount_minor: int | None
    currency: str
    merchant: str
    paid_at: int | None
    returned_minor: int | None = None
    returned_no: str = ""


def trade_of(document: Mapping[str, object], *, merchant: str) -> Trade:
    """The trade of an answer about it. A field that is not as Alipay writes it makes the whole unreadable."""
    currency = wire.number_of(document, "trans_currency") or wire.CURRENCY
    return Trade(
        out_trade_no=wire.number_of(document, "out_trade_no"),
        trade_no=wire.number_of(document, "trade_no"),
        status=wire.number_of(document, "trade_status"),
        amount_minor=wire.money_of(document, "total_amount", currency) if "total_amount" in document else None,
        currency=currency,
        merchant=merchant,
        paid_at=wire.time_of(document, "send_pay_date") or wire.time_of(document, "gmt_payment"),
    )


def trade_finding(trade: Trade) -> PaymentFinding:
    """What a trade shows. Paid and then refunded is Paid with what went back, never Closed."""
    return _STATUSES.get(trade.status, _unknown_trade)(trade)


def paid(trade: Trade) -> PaymentFinding:
    """The success that a trade shows. Without an amount it proves none."""
    if trade.amount_minor is None:
        return Unknown("Alipay names no amount", authenticated=True)
    return Paid(
        amount_minor=trade.amount_minor,
        currency=trade.currency,
        merchant=trade.merchant,
        channel_trade_no=trade.trade_no,
        paid_at=trade.paid_at,
        refunds=_returned(trade),
    )


def _returned(trade: Trade) -> tuple[ChannelRefund, ...]:
    """Alipay tells what went back of a trade in all, and names at most the refund that it writes about.

    Its own numbers are digits; ours have letters.
    """
    if not trade.returned_minor:
        return ()
    number = trade.returned_no
    ours = None if not number or number.isdigit() else number
    return (ChannelRefund(trade.returned_minor, channel_refund_no=number, refund_id=ours, is_sum=True),)


def _closed(trade: Trade) -> PaymentFinding:
    """TRADE_CLOSED means two things ("交易状态说明"): closed unpaid, or refunded in full. Who was paid has a time of it."""
    if trade.paid_at is None and not trade.returned_minor:
        return Closed()
    return paid(replace(trade, returned_minor=trade.returned_minor or trade.amount_minor))


def _unknown_trade(trade: Trade) -> PaymentFinding:
    return Unknown("Alipay named a status that this plugin does not know", authenticated=True)


_STATUSES: dict[str, Callable[[Trade], PaymentFinding]] = {
    "WAIT_BUYER_PAY": lambda trade: Waiting(channel_trade_no=trade.trade_no),
    "TRADE_SUCCESS": paid,
    "TRADE_FINISHED": paid,
    "TRADE_CLOSED": _closed,
}


# ---------------------------------------------------------------------------------------------- payments

_PREPARE_WORDS: dict[str, str] = {
    **dict.fromkeys(
        (
            "ACQ.PAYMENT_AUTH_CODE_INVALID",
            "ACQ.SOUNDWAVE_PARSER_FAIL",
            "ACQ.AUTH_TOKEN_IS_NOT_EXIST",
            "ACQ.PAYER_AUTH_CODE_EXPIRED",
        ),
        "auth_code_invalid",
    ),
    **dict.fromkeys(
        ("ACQ.BUYER_BALANCE_NOT_ENOUGH", "ACQ.BUYER_BANKCARD_BALANCE_NOT_ENOUGH", "ACQ.ERROR_BALANCE_PAYMENT_DISABLE"),
        "payer_balance_short",
    ),
    **dict.fromkeys(
        (
            "ACQ.BUYER_PAYMENT_AMOUNT_DAY_LIMIT_ERROR",
            "ACQ.BUYER_PAYMENT_AMOUNT_MONTH_LIMIT_ERROR",
            "ACQ.TOTAL_FEE_EXCEED",
            "ACQ.BEYOND_PAY_RESTRICTION",
            "ACQ.BEYOND_PER_RECEIPT_RESTRICTION",
            "ACQ.BEYOND_PER_RECEIPT_SINGLE_RESTRICTION",
            "ACQ.BEYOND_PER_RECEIPT_DAY_RESTRICTION",
        ),
        "payer_limited",
    ),
    **dict.fromkeys(
        (
            "ACQ.BUYER_SELLER_EQUAL",
            "ACQ.TRADE_BUYER_NOT_MATCH",
            "ACQ.BUYER_ENABLE_STATUS_FORBID",
            "ACQ.PULL_MOBILE_CASHIER_FAIL",
            "ACQ.MOBILE_PAYMENT_SWITCH_OFF",
            "ACQ.PAYMENT_FAIL",
            "ACQ.PAYMENT_REQUEST_HAS_RISK",
            "ACQ.NO_PAYMENT_INSTRUMENTS_AVAILABLE",
            "ACQ.USER_FACE_PAYMENT_SWITCH_OFF",
            "ACQ.BUYER_NOT_EXIST",
            "ACQ.AGREEMENT_NOT_EXIST",
        ),
        "payer_declined",
    ),
    **dict.fromkeys(
        (
            "ACQ.INVALID_PARAMETER",
            "ACQ.EXIST_FORBIDDEN_WORD",
            "ACQ.PRODUCT_AMOUNT_LIMIT_ERROR",
            "ACQ.SUB_MERCHANT_CREATE_FAIL",
            "ACQ.NOT_SUPPORT_PAYMENT_INST",
        ),
        "channel_refused",
    ),
    **dict.fromkeys(
        (
            "ACQ.ACCESS_FORBIDDEN",
            "ACQ.PARTNER_ERROR",
            "ACQ.APPLY_PC_MERCHANT_CODE_ERROR",
            "ACQ.MERCHANT_AGREEMENT_NOT_EXIST",
            "ACQ.MERCHANT_AGREEMENT_INVALID",
            "ACQ.SELLER_BEEN_BLOCKED",
            "ACQ.MERCHANT_STATUS_NOT_NORMAL",
        ),
        "account_refused",
    ),
}
"""Business refusals of a payment after which no money moved and none will, and what they are called for the payer."""

_PREPARE_HINTS: dict[str, PaymentFinding] = {
    "ACQ.TRADE_HAS_SUCCESS": AlreadyPaid(),
    "ACQ.TRADE_HAS_CLOSE": Closed(),
}


def prepare_refusal(answer: Answer) -> PaymentFinding:
    """Why nothing was prepared. ACQ.CONTEXT_INCONSISTENT (the number is taken by other data) is for a query to clear up."""
    if is_undecided(answer):
        return unknown(answer)
    if answer.is_signed and answer.sub_code in _PREPARE_HINTS:
        return _PREPARE_HINTS[answer.sub_code]
    reason = _PREPARE_WORDS.get(answer.sub_code) or ("account_refused" if answer.code in MISCONFIGURED else None)
    if reason is None:
        return unknown(answer)
    return Declined(failure(reason, answer.word), authenticated=answer.is_signed)


def query_refusal(answer: Answer) -> PaymentFinding:
    """A query that found nothing says so: before the expiry that proves nothing, which is the core's to know."""
    if answer.sub_code == "ACQ.TRADE_NOT_EXIST" and answer.is_signed:
        return NotFound()
    return unknown(answer)


def close_refusal(answer: Answer) -> PaymentFinding | None:
    """Why it was not closed; None when only a query can tell."""
    if answer.is_signed and answer.sub_code in NOT_PAYABLE_STATES:
        return None
    return query_refusal(answer)


_CANCEL_TOO_LATE = frozenset(
    {"ACQ.CANCEL_NOT_ALLOWED", "ACQ.TRADE_CANCEL_TIME_OUT", "ACQ.REASON_TRADE_REFUND_FEE_ERR", "ACQ.TRADE_HAS_FINISHED"}
)


def is_too_late_to_cancel(answer: Answer) -> bool:
    """Whether the trade can only be closed in the ordinary way ("撤销": the same day only)."""
    return answer.is_signed and answer.sub_code in _CANCEL_TOO_LATE


_CANCELLED: dict[str, PaymentFinding] = {"close": Closed(), "refund": Reversed(), "": Closed()}
"""What a cancel did, by its `action`; without one there was no trade, and none can be paid under its number any more."""


def cancel_finding(answer: Answer) -> PaymentFinding:
    """What an answer to alipay.trade.cancel shows. `retry_flag` Y means that it has to be called again."""
    if not answer.is_done:
        if answer.is_signed and answer.sub_code == "ACQ.SELLER_BALANCE_NOT_ENOUGH":
            return AlreadyPaid()
        return query_refusal(answer)
    if wire.text_of(answer.document, "retry_flag") == "Y":
        return Unknown("Alipay wants the cancel again", authenticated=True)
    action = wire.text_of(answer.document, "action")
    return _CANCELLED.get(action, Unknown("Alipay named an action that this plugin does not know", authenticated=True))


# ---------------------------------------------------------------------------------------------- refunds

_REFUND_WORDS: dict[str, str] = {
    "ACQ.TRADE_HAS_FINISHED": "refund_window_closed",
    **dict.fromkeys(
        (
            "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL",
            "ACQ.REASON_TRADE_REFUND_FEE_ERR",
            "ACQ.REFUND_FEE_ERROR",
            "ACQ.TRADE_NOT_EXIST",
            "ACQ.TRADE_STATUS_ERROR",
            "ACQ.TRADE_HAS_CLOSE",
            "ACQ.REASON_TRADE_BEEN_FREEZEN",
            "ACQ.DISCORDANT_REPEAT_REQUEST",
            "ACQ.TRADE_NOT_ALLOW_REFUND",
            "ACQ.REASON_TRADE_STATUS_INVALID",
            "ACQ.INVALID_PARAMETER",
            "ACQ.REFUND_CHARGE_ERROR",
            "ACQ.NOT_ALLOW_PARTIAL_REFUND",
            "ACQ.ONLINE_TRADE_VOUCHER_NOT_ALLOW_REFUND",
            "ACQ.BUYER_NOT_EXIST",
            "ACQ.BUYER_ENABLE_STATUS_FORBID",
        ),
        "refund_refused",
    ),
}
_SHORT = frozenset({"ACQ.SELLER_BALANCE_NOT_ENOUGH", "ACQ.REFUND_ACCOUNT_NOT_ENOUGH", "ACQ.ROYALTY_ACCOUNT_NOT_ENOUGH"})


def refund_finding(answer: Answer) -> RefundFinding:
    """What an answer to alipay.trade.refund shows.

    Only fund_change=Y proves that money moved ("如何判断退款是否成功"). `refund_fee` is the sum of all refunds of the trade
    and says nothing about this one.
    """
    if answer.is_done and wire.text_of(answer.document, "fund_change") == "Y":
        return Refunded(refunded_at=wire.time_of(answer.document, "gmt_refund_pay"))
    if answer.is_done:
        return Unknown("Alipay took the refund and does not say that money moved", authenticated=True)
    return _refund_refusal(answer)


def _refund_refusal(answer: Answer) -> RefundFinding:
    if is_undecided(answer):
        return unknown(answer)
    if answer.sub_code in _SHORT:
        return RefundShort(failure("balance_short", answer.word), authenticated=answer.is_signed)
    reason = _REFUND_WORDS.get(answer.sub_code) or ("account_refused" if answer.code in MISCONFIGURED else None)
    if reason is None:
        return unknown(answer)
    return RefundRefused(failure(reason, answer.word), authenticated=answer.is_signed)


def refund_query_finding(answer: Answer) -> RefundFinding:
    """What an answer to alipay.trade.fastpay.refund.query shows.

    REFUND_SUCCESS is the only proof; 10000 without a `refund_status` says that the refund was never carried out. Where the
    last stretch to a bank card fails (`dback_status` F), Alipay pays the money into the payer's balance: it stays returned.
    """
    if not answer.is_done:
        return _refund_query_refusal(answer)
    status = wire.text_of(answer.document, "refund_status")
    if not status:
        return RefundNotFound()
    if status != "REFUND_SUCCESS":
        return Unknown("Alipay named a refund status that this plugin does not know", authenticated=True)
    return Refunded(
        amount_minor=wire.money_of(answer.document, "refund_amount") if "refund_amount" in answer.document else None,
        refunded_at=wire.time_of(answer.document, "gmt_refund_pay"),
    )


def _refund_query_refusal(answer: Answer) -> RefundFinding:
    if answer.is_signed and answer.sub_code == "ACQ.TRADE_NOT_EXIST":
        return RefundFailed(failure("refund_refused", answer.word))
    if answer.is_signed and answer.sub_code == "ACQ.REFUND_NOT_EXIST":
        return RefundNotFound()
    return unknown(answer)


# ---------------------------------------------------------------------------------------------- notices

TRADE_NOTICE = "trade_status_sync"


def notice_findings(parameters: Mapping[str, str], *, merchant: str) -> tuple[AboutPayment, ...]:
    """What a verified notice tells ("异步通知参数说明"). A refund of the trade comes as a notice of the trade again, with
    `refund_fee` (the sum of all its refunds) and `out_biz_no` (the number of the one that it is about).

    What cannot be read in a genuine notice is Unknown: kept, acknowledged, never believed.
    """
    number = wire.number_of(parameters, "out_trade_no")
    if parameters.get("notify_type", TRADE_NOTICE) != TRADE_NOTICE or not number:
        return ()
    try:
        finding = trade_finding(_noticed_trade(parameters, merchant))
    except Unreadable as error:
        finding = Unknown(f"a genuine notice cannot be read: {error}", authenticated=True)
    return (AboutPayment(finding, payment_id=number),)


def _noticed_trade(parameters: Mapping[str, str], merchant: str) -> Trade:
    currency = wire.number_of(parameters, "trans_currency") or wire.CURRENCY
    has_returned = bool(parameters.get("refund_fee")) and parameters["refund_fee"] not in ("0", "0.0", "0.00")
    return Trade(
        out_trade_no=wire.number_of(parameters, "out_trade_no"),
        trade_no=wire.number_of(parameters, "trade_no"),
        status=wire.number_of(parameters, "trade_status"),
        amount_minor=wire.money_of(parameters, "total_amount", currency) if "total_amount" in parameters else None,
        currency=currency,
        merchant=merchant,
        paid_at=wire.time_of(parameters, "gmt_payment"),
        returned_minor=wire.money_of(parameters, "refund_fee", currency) if has_returned else None,
        returned_no=wire.number_of(parameters, "out_biz_no") if has_returned else "",
    )
