"""The pages where a person pays: plain HTML, no script, everything from the books escaped."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from paycore.channel import Money, Reply, format_major
from paycore.channel.simulating import Pages
from paycore_sandbox.simulator.books import Trade

PAPER = Pages()
_STATES = {
    "WAITING": ("等待付款", "Waiting for your payment"),
    "PAYING": ("正在付款", "Payment under way"),
    "PAID": ("已付款", "Paid"),
    "CLOSED": ("已关闭", "Closed"),
    "DECLINED": ("付款被拒绝", "Declined"),
}


def payment_page(trade: Trade) -> Reply:
    """One trade: what it costs, how it stands, and the buttons while it can be paid."""
    zh, en = _STATES[trade.state]
    amount = Money(trade.taken_minor or trade.amount_minor, trade.currency)
    content = (
        f"<h1>沙箱钱包 · Sandbox wallet</h1><strong class=amount>{escape(str(amount))}</strong>"
        f"<p>{escape(trade.subject)}</p><p>{escape(trade.merchant)} · {escape(trade.out_trade_no)}</p>"
        f"<p role=status>{zh} · {en}</p>"
    )
    if trade.state in ("WAITING", "PAYING"):
        content += (
            '<form method="post"><button name="action" value="pay">付款 · Pay</button>'
            '<button class="quiet" name="action" value="decline">拒绝 · Decline</button></form>'
        )
    elif trade.return_url:
        content += f'<a class="button" href="{escape(trade.return_url)}">返回商户 · Back to the shop</a>'
    return PAPER.page(f"{en} · Sandbox wallet", content)


def list_page(trades: Iterable[Trade], prefix: str) -> Reply:
    """The latest trades, each with the way to its payment page."""
    rows = "".join(
        f'<li><a href="{escape(prefix)}/pay/{escape(trade.token)}">{escape(trade.subject or trade.out_trade_no)}</a>'
        f" {escape(trade.currency)} {format_major(trade.amount_minor, trade.currency)} · {_STATES[trade.state][1]}</li>"
        for trade in trades
    )
    return PAPER.page(
        "Sandbox wallet", f"<h1>沙箱钱包 · Sandbox wallet</h1><ul>{rows or '<li>没有交易 · No trades yet</li>'}</ul>"
    )
