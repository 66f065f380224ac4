"""What WeChat Pay's words mean, as tables: state or code -> finding. What no table names is Unknown, never success.

Codes stand here without underscores (see `gateway.squeezed`). Sources: "Query an order", "Close an order", "Reverse an order",
"Apply for a refund", "Query a refund", each with its table of error codes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

from paycore.channel import (
    AboutPayment,
    AboutRefund,
    AlreadyPaid,
    Closed,
    Declined,
    Failure,
    NotFound,
    Paid,
    PayerPaying,
    PaymentFinding,
    Refunded,
    RefundFailed,
    RefundFinding,
    RefundNotFound,
    RefundProcessing,
    RefundRefused,
    RefundShort,
    RefundStuck,
    Reversed,
    Unknown,
    Waiting,
)
from paycore_wechatpay.gateway import Answer
from paycore_wechatpay.wire import RefundRecord, Trade, Unreadable

_WORDS: dict[str, tuple[str, str]] = {
    "payer_declined": ("付款未成功，请换一种方式支付", "The payment was declined. Please try another way to pay."),
    "code_expired": ("付款码已失效，请刷新后重试", "The payment code has expired. Please show a fresh one."),
    "client_ip_missing": ("缺少付款人网络地址，无法使用该方式", "This way to pay needs the payer's network address."),
    "channel_refused": ("支付渠道未接受本次请求", "The payment channel did not accept the request."),
    "account_refused": ("商户账户暂不可用", "The merchant's account cannot be used at the moment."),
    "refund_refused": ("退款未被接受", "The refund was not accepted."),
    "refund_closed": ("退款已关闭，资金未退回", "The refund was closed; the money was not returned."),
    "balance_short": ("商户余额不足", "The merchant's balance is too small."),
    "channel_busy": ("支付渠道繁忙，稍后重试", "The payment channel is busy; it will be asked again."),
    "payer_account_gone": ("原收款账户不可用，需人工处理", "The payer's account is gone; a person has to decide."),
}


def failure(reason: str, channel_code: str) -> Failure:
    """Why something was refused, with words a payer can read."""
    zh, en = _WORDS[reason]
    return Failure(reason=reason, channel_code=channel_code, message_zh=zh, message_en=en)


# ---------------------------------------------------------------------------------------------- payments


def trade_finding(trade: Trade) -> PaymentFinding:
    """What a trade shows. Source: "Query an order", trade_state."""
    return _TRADE_STATES.get(trade.state, _unknown_trade)(trade)


def _paid(trade: Trade) -> PaymentFinding:
    """Paid, by the amount of the order: what the payer gave may be less, where coupons paid the rest."""
    if trade.amount_minor is None:
        raise Unreadable("a paid trade shows no amount")
    return Paid(
        amount_minor=trade.amount_minor,
        currency=trade.currency,
        merchant=trade.mchid,
        channel_trade_no=trade.transaction_id,
        paid_at=trade.paid_at,
    )


def _unknown_trade(trade: Trade) -> PaymentFinding:
    return Unknown("WeChat Pay named a trade state that this plugin does not know", authenticated=True)


_TRADE_STATES: dict[str, Callable[[Trade], PaymentFinding]] = {
    "SUCCESS": _paid,
    "REFUND": _paid,
    "NOTPAY": lambda trade: Waiting(channel_trade_no=trade.transaction_id),
    "ACCEPT": lambda trade: Waiting(channel_trade_no=trade.transaction_id),
    "USERPAYING": lambda trade: PayerPaying(),
    "CLOSED": lambda trade: Closed(),
    "REVOKED": lambda trade: Reversed(),
    "PAYERROR": lambda trade: Declined(failure("payer_declined", "PAYERROR")),
}
"""REFUND means paid, and that some refund exists; how much went back is told by the refunds. REVOKED is a barcode payment
that was reversed: not taken, or taken and given back whole."""

_CERTAIN = {
    **{code: Declined(failure("channel_refused", code)) for code in ("INVALIDREQUEST", "PARAMERROR", "OUTTRADENOUSED")},
    **{
        code: Declined(failure("account_refused", code))
        for code in ("APPIDMCHIDNOTMATCH", "MCHNOTEXISTS", "NOAUTH", "SIGNERROR", "RULELIMIT", "ACCOUNTERROR")
    },
    **{
        code: Declined(failure("code_expired", code)) for code in ("AUTHCODEEXPIRE", "AUTHCODEINVALID", "AUTHCODEERROR")
    },
    **{
        code: Declined(failure("payer_declined", code))
        for code in ("NOTENOUGH", "NOTSUPORTCARD", "USERACCOUNTABNORMAL", "OPENIDMISMATCH")
    },
}

PREPARE_REFUSALS: Mapping[str, PaymentFinding] = {
    **_CERTAIN,
    "ORDERPAID": AlreadyPaid(),
    "ORDERCLOSED": Closed(),
    "ORDERREVERSED": Closed(),
    "USERPAYING": PayerPaying(),
}
QUERY_REFUSALS: Mapping[str, PaymentFinding] = {"ORDERNOTEXIST": NotFound(), "RESOURCENOTEXISTS": NotFound()}
CLOSE_REFUSALS: Mapping[str, PaymentFinding] = {
    **QUERY_REFUSALS,
    "ORDERPAID": AlreadyPaid(),
    "ORDERCLOSED": Closed(),
    "ORDERREVERSED": Reversed(),
    "USERPAYING": PayerPaying(),
}


def about_trade(trade: Trade) -> AboutPayment:
    """The trade with its subject."""
    return AboutPayment(trade_finding(trade), payment_id=trade.out_trade_no)


# ---------------------------------------------------------------------------------------------- refunds


def refund_finding(refund: RefundRecord) -> RefundFinding:
    """What a refund shows. Source: "Query a refund", status."""
    return _REFUND_STATES.get(refund.state, _unknown_refund)(refund)


def accepted_finding(refund: RefundRecord) -> RefundFinding:
    """What the answer to a send shows: that it was taken, never that it is done.

    Source: "Apply for a refund": success means that the application was accepted; the result is in the query and the notice.
    """
    return _processing(refund) if refund.state == "SUCCESS" else refund_finding(refund)


def _processing(refund: RefundRecord) -> RefundFinding:
    return RefundProcessing(channel_refund_no=refund.refund_id)


def _unknown_refund(refund: RefundRecord) -> RefundFinding:
    return Unknown("WeChat Pay named a refund state that this plugin does not know", authenticated=True)


_REFUND_STATES: dict[str, Callable[[RefundRecord], RefundFinding]] = {
    "SUCCESS": lambda refund: Refunded(
        amount_minor=refund.amount_minor, channel_refund_no=refund.refund_id, refunded_at=refund.refunded_at
    ),
    "PROCESSING": _processing,
    "CLOSED": lambda refund: RefundFailed(failure("refund_closed", "CLOSED")),
    "ABNORMAL": lambda refund: RefundStuck(
        failure("payer_account_gone", "ABNORMAL"), channel_refund_no=refund.refund_id
    ),
}

REFUND_REFUSALS: Mapping[str, RefundFinding] = {
    "NOTENOUGH": RefundShort(failure("balance_short", "NOTENOUGH")),
    **{
        code: RefundShort(failure("channel_busy", code))
        for code in ("FREQUENCYLIMITED", "FREQUENCYLIMITEXCEED", "RATELIMITEXCEED", "RATELIMITEXCEEDED")
    },
    **{
        code: RefundRefused(failure("refund_refused", code))
        for code in ("INVALIDREQUEST", "PARAMERROR", "RESOURCENOTEXISTS", "ORDERNOTEXIST", "USERACCOUNTABNORMAL")
    },
    **{
        code: RefundRefused(failure("account_refused", code))
        for code in ("APPIDMCHIDNOTMATCH", "MCHNOTEXISTS", "NOAUTH", "SIGNERROR")
    },
}
"""Too many calls, or a refund within a minute of the last one of this order, are not accepted and may come again under the
same number: they wait as a missing balance does. SYSTEM_ERROR and BANK_ERROR are in no table: nobody knows."""

QUERY_REFUND_REFUSALS: Mapping[str, RefundFinding] = {
    "RESOURCENOTEXISTS": RefundNotFound(),
    "REFUNDNOTEXISTS": RefundNotFound(),
}


_OURS = re.compile(r"[A-Za-z][0-9A-Za-z]{5,31}", re.ASCII)
"""Our numbers begin with a letter; what was begun in the console carries digits that WeChat Pay drew."""


def about_refund(refund: RefundRecord) -> AboutRefund:
    """The refund of a notice with its subject. A refund begun in the console has a number too, which is none of ours."""
    return AboutRefund(
        refund_finding(refund),
        refund_id=refund.out_refund_no if _OURS.fullmatch(refund.out_refund_no) else None,
        payment_id=refund.out_trade_no,
        channel_refund_no=refund.refund_id,
        amount_minor=refund.amount_minor,
        currency=refund.currency,
        merchant=refund.mchid,
    )


# ---------------------------------------------------------------------------------------------- refusals

Finding = TypeVar("Finding", PaymentFinding, RefundFinding)


def refused(answer: Answer, table: Mapping[str, Finding]) -> Finding | Unknown:
    """What a refusal means: as certain as its signature, and only a hint without one.

    Source: "Signature verification" promises a signature for answers that were done, and for nothing else.
    """
    found = table.get(answer.code)
    if found is None:
        return Unknown(f"WeChat Pay answered {answer.status} {answer.code}", authenticated=answer.is_signed)
    if isinstance(found, Declined | RefundRefused | RefundShort):
        said = str(answer.document.get("code") or answer.code)[:64]
        found = replace(found, failure=replace(found.failure, channel_code=said))
    return replace(found, authenticated=answer.is_signed)
