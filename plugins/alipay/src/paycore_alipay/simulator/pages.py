"""The wallet's pages, where a person pays: plain HTML, no script, everything from the books escaped."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from paycore.channel import Money, Reply, format_major
from paycore.channel.simulating import Pages
from paycore_alipay import wire
from paycore_alipay.simulator.books import Trade

PAPER = Pages(light="#1677ff", dark="#4c97ff")
_TITLE = "支付宝模拟钱包 · Simulated Alipay"
_STATES = {
    "WAIT_BUYER_PAY": ("等待付款", "Waiting for your payment"),
    "TRADE_SUCCESS": ("付款成功", "Paid"),
    "TRADE_FINISHED": ("交易完结", "Finished"),
    "TRADE_CLOSED": ("交易关闭", "Closed"),
}


def payment_page(trade: Trade, now: int) -> Reply:
    """One trade: what it costs, how it stands, and the buttons while it can be paid."""
    state = "TRADE_CLOSED" if trade.is_over(now) else trade.status
    zh, en = _STATES[state]
    amount = Money(trade.taken_minor or trade.amount_minor, wire.CURRENCY)
    content = (
        f"<h1>{_TITLE}</h1><strong class=amount>{escape(str(amount))}</strong>"
        f"<p>{escape(trade.subject)}</p><p>{escape(trade.seller_id)} · {escape(trade.out_trade_no)}</p>"
        f"<p role=status>{zh} · {en}</p>"
    )
    if state == "WAIT_BUYER_PAY":
        content += (
            '<form method="post"><button name="action" value="pay">确认付款 · Pay</button>'
            '<button class="quiet" name="action" value="leave">取消 · Cancel</button></form>'
        )
    if trade.return_url:
        content += f'<a class="button" href="{escape(trade.return_url)}">返回商户 · Back to the shop</a>'
    return PAPER.page(f"{en} · Simulated Alipay", content)


def list_page(trades: Iterable[Trade], prefix: str) -> Reply:
    """The latest trades, each with the way to its wallet page."""
    rows = "".join(
        f'<li><a href="{escape(prefix)}/pay/{escape(trade.token)}">{escape(trade.subject)}</a>'
        f" {format_major(trade.amount_minor, wire.CURRENCY)} · {_STATES[trade.status][1]}</li>"
        for trade in trades
    )
    return PAPER.page("Simulated Alipay", f"<h1>{_TITLE}</h1><ul>{rows or '<li>没有交易 · No trades yet</li>'}</ul>")
