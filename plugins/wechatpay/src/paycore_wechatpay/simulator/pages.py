"""The pages where a person pays: plain HTML, no script, everything from the books escaped."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from paycore.channel import Money, Reply, format_major
from paycore.channel.simulating import Pages
from paycore_wechatpay.simulator.books import Trade

PAPER = Pages()
_STATES = {
    "NOTPAY": ("等待付款", "Waiting for your payment"),
    "USERPAYING": ("正在付款", "Payment under way"),
    "SUCCESS": ("已付款", "Paid"),
    "REFUND": ("已付款，有退款", "Paid, with a refund"),
    "CLOSED": ("已关闭", "Closed"),
    "REVOKED": ("已撤销", "Reversed"),
    "PAYERROR": ("付款失败", "The payment failed"),
}


def payment_page(trade: Trade, *, now: int, return_url: str = "") -> Reply:
    """One order: what it costs, how it stands, and the buttons while it can be paid."""
    zh, en = _STATES[trade.shown_state]
    amount = Money(trade.taken_minor or trade.order.amount_minor, trade.order.currency)
    content = (
        f"<h1>微信支付模拟器 · Simulated WeChat Pay</h1><strong class=amount>{escape(str(amount))}</strong>"
        f"<p>{escape(trade.order.description)}</p><p>{escape(trade.mchid)} · {escape(trade.out_trade_no)}</p>"
        f"<p role=status>{zh} · {en}</p>"
    )
    if not trade.is_over(now):
        content += (
            '<form method="post"><button name="action" value="pay">付款 · Pay</button>'
            '<button class="quiet" name="action" value="cancel">取消 · Cancel</button></form>'
        )
    if return_url:
        content += f'<a class="button" href="{escape(return_url)}">返回商户 · Back to the shop</a>'
    return PAPER.page(f"{en} · Simulated WeChat Pay", content)


def list_page(trades: Iterable[Trade], prefix: str) -> Reply:
    """The latest orders, each with the way to its payment page."""
    rows = "".join(
        f'<li><a href="{escape(prefix)}/pay/{escape(trade.token)}">{escape(trade.order.description)}</a>'
        f" {escape(trade.order.currency)} {format_major(trade.order.amount_minor, trade.order.currency)}"
        f" · {_STATES[trade.shown_state][1]}</li>"
        for trade in trades
    )
    empty = "<li>没有订单 · No orders yet</li>"
    return PAPER.page("Simulated WeChat Pay", f"<h1>微信支付模拟器 · Simulated WeChat Pay</h1><ul>{rows or empty}</ul>")
