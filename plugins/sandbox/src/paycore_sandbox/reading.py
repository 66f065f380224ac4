"""What the channel's words mean, as tables: state or code on the wire -> finding. What no table names is Unknown."""

from __future__ import annotations

from collections.abc import Callable

from paycore.channel import (
    AboutPayment,
    AboutRefund,
    AlreadyPaid,
    ChannelRefund,
    Closed,
    Declined,
    Failure,
    NotFound,
    Paid,
    PayerPaying,
    PaymentFinding,
    Reference,
    RefundBounced,
    Refunded,
    RefundFailed,
    RefundFinding,
    RefundNotFound,
    RefundProcessing,
    RefundRefused,
    RefundShort,
    RefundStuck,
    StorePurchase,
    Unknown,
    Waiting,
)
from paycore_sandbox.wire import Purchase, RefundRecord, Trade

TOKEN = "token"
TRANSACTION = "transaction_id"

_WORDS: dict[str, tuple[str, str]] = {
    "payer_declined": ("付款被拒绝，请换一种方式支付", "The payment was declined. Please try another way to pay."),
    "channel_refused": ("支付渠道未接受本次请求", "The payment channel did not accept the request."),
    "account_refused": ("商户账户暂不可用", "The merchant's account cannot be used at the moment."),
    "refund_refused": ("退款未被接受", "The refund was not accepted."),
    "refund_failed": ("退款失败", "The refund failed."),
    "balance_short": ("商户余额不足", "The merchant's balance is too small."),
    "payer_account_gone": ("原收款账户不可用，需人工处理", "The payer's account is gone; a person has to decide."),
}


def failure(reason: str, channel_code: str) -> Failure:
    """Why something was refused, with words a payer can read."""
    zh, en = _WORDS[reason]
    return Failure(reason=reason, channel_code=channel_code, message_zh=zh, message_en=en)


# ---------------------------------------------------------------------------------------------- payments


def trade_finding(trade: Trade) -> PaymentFinding:
    """What a trade shows. Paid and then refunded is Paid with its refunds."""
    return _TRADE_STATES.get(trade.state, _unknown_trade)(trade)


def _paid(trade: Trade) -> PaymentFinding:
    return Paid(
        amount_minor=trade.amount_minor,
        currency=trade.currency,
        merchant=trade.merchant,
        channel_trade_no=trade.trade_no,
        paid_at=trade.paid_at,
        refunds=tuple(
            ChannelRefund(
                amount_minor=one.amount_minor,
                channel_refund_no=one.refund_no,
                refund_id=one.out_refund_no or None,
                reversed=one.has_bounced,
            )
            for one in trade.returned
        ),
    )


def _unknown_trade(trade: Trade) -> PaymentFinding:
    return Unknown("the channel named a trade state that this plugin does not know")


_TRADE_STATES: dict[str, Callable[[Trade], PaymentFinding]] = {
    "WAITING": lambda trade: Waiting(channel_trade_no=trade.trade_no),
    "PAYING": lambda trade: PayerPaying(),
    "PAID": _paid,
    "CLOSED": lambda trade: Closed(),
    "DECLINED": lambda trade: Declined(failure("payer_declined", trade.reason)),
}

PREPARE_REFUSALS: dict[str, PaymentFinding] = {
    "TRADE_PAID": AlreadyPaid(),
    "TRADE_CLOSED": Closed(),
    "INVALID_REQUEST": Declined(failure("channel_refused", "INVALID_REQUEST")),
    "NOT_SUPPORTED": Declined(failure("channel_refused", "NOT_SUPPORTED")),
    "UNAUTHORIZED": Declined(failure("account_refused", "UNAUTHORIZED")),
}
QUERY_REFUSALS: dict[str, PaymentFinding] = {"TRADE_NOT_FOUND": NotFound(), "PURCHASE_NOT_FOUND": NotFound()}
CLOSE_REFUSALS: dict[str, PaymentFinding] = {
    "TRADE_NOT_FOUND": NotFound(),
    "TRADE_PAID": AlreadyPaid(),
    "PAYER_PAYING": PayerPaying(),
}


_CLOSE_STATES: dict[str, PaymentFinding] = {
    "CLOSED": Closed(),
    "DECLINED": Closed(),
    "PAID": AlreadyPaid(),
    "PAYING": PayerPaying(),
}


def close_finding(trade: Trade) -> PaymentFinding:
    """What a trade shows after a close was done."""
    return _CLOSE_STATES.get(trade.state, Unknown("the channel did not close the trade"))


def purchase_finding(purchase: Purchase) -> Paid:
    """What a store's transaction proves: the store sets the price, so product, quantity and token go along."""
    return Paid(
        amount_minor=purchase.amount_minor,
        currency=purchase.currency,
        merchant=purchase.merchant,
        channel_trade_no=purchase.transaction_id,
        paid_at=purchase.purchased_at,
        purchase=StorePurchase(
            product_id=purchase.product_id, quantity=purchase.quantity, token=purchase.account_token
        ),
        references=(Reference(TRANSACTION, purchase.transaction_id),),
    )


def about_purchase(purchase: Purchase) -> AboutPayment:
    """The transaction with its subject: the payment whose token it carries."""
    return AboutPayment(purchase_finding(purchase), reference=Reference(TOKEN, purchase.account_token))


def about_trade(trade: Trade) -> AboutPayment:
    """The trade with its subject."""
    return AboutPayment(trade_finding(trade), payment_id=trade.out_trade_no)


# ---------------------------------------------------------------------------------------------- refunds


def refund_finding(refund: RefundRecord) -> RefundFinding:
    """What a refund shows."""
    return _REFUND_STATES.get(refund.state, _unknown_refund)(refund)


def _refunded(refund: RefundRecord) -> RefundFinding:
    return Refunded(
        amount_minor=refund.amount_minor, channel_refund_no=refund.refund_no, refunded_at=refund.refunded_at
    )


def _unknown_refund(refund: RefundRecord) -> RefundFinding:
    return Unknown("the channel named a refund state that this plugin does not know")


_REFUND_STATES: dict[str, Callable[[RefundRecord], RefundFinding]] = {
    "SUCCESS": _refunded,
    "PROCESSING": lambda refund: RefundProcessing(channel_refund_no=refund.refund_no),
    "FAILED": lambda refund: RefundFailed(failure("refund_failed", refund.reason)),
    "STUCK": lambda refund: RefundStuck(
        failure("payer_account_gone", refund.reason), channel_refund_no=refund.refund_no
    ),
    "BOUNCED": lambda refund: RefundBounced(channel_refund_no=refund.refund_no),
}

REFUND_REFUSALS: dict[str, RefundFinding] = {
    "BALANCE_SHORT": RefundShort(failure("balance_short", "BALANCE_SHORT")),
    **{
        code: RefundRefused(failure("refund_refused", code))
        for code in ("INVALID_REQUEST", "NOT_SUPPORTED", "REFUND_EXCEEDS", "TRADE_NOT_FOUND", "TRADE_NOT_PAID")
    },
    "UNAUTHORIZED": RefundRefused(failure("account_refused", "UNAUTHORIZED")),
}
QUERY_REFUND_REFUSALS: dict[str, RefundFinding] = {"REFUND_NOT_FOUND": RefundNotFound()}


def about_refund(refund: RefundRecord) -> AboutRefund:
    """The refund with its subject: ours by our id, one begun at the channel by its payment and the channel's number."""
    is_ours = bool(refund.out_refund_no)
    by_token = not is_ours and bool(refund.account_token)
    return AboutRefund(
        refund_finding(refund),
        refund_id=refund.out_refund_no if is_ours else None,
        payment_id=None if is_ours or by_token else refund.out_trade_no or None,
        payment_reference=Reference(TOKEN, refund.account_token) if by_token else None,
        channel_refund_no=refund.refund_no,
        amount_minor=refund.amount_minor,
        currency=refund.currency,
        merchant=refund.merchant,
    )
