"""The pages where a person pays: plain HTML, no script, everything from the books escaped."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from html import escape

from paycore.channel import Money, Reply, format_major
from paycore_wechatpay.simulator.books import Trade

_STYLE = """
:root{color-scheme:light dark;--ink:#17202a;--soft:#5d6b78;--paper:#f4f6f8;--card:#fff;--line:#dfe5ea;--go:#0b6bcb;--on-go:#fff}
@media(prefers-color-scheme:dark){:root{--ink:#eef2f5;--soft:#9fb0bf;--paper:#10161c;--card:#1a232c;--line:#2c3945;--go:#4aa3ff;--on-go:#06121f}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;display:grid;place-items:center;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{width:min(26rem,100% - 2rem);margin:1rem;padding:2rem;background:var(--card);border:1px solid var(--line);border-radius:1rem}
h1{margin:0;font-size:1rem;font-weight:600}
p{margin:.5rem 0;color:var(--soft);overflow-wrap:anywhere}
strong.amount{display:block;margin:1rem 0;font-size:2.5rem;line-height:1.1;letter-spacing:-.02em;color:var(--ink)}
button,a.button{display:block;width:100%;min-height:3rem;margin-top:.75rem;padding:.75rem;border:1px solid transparent;border-radius:.75rem;background:var(--go);color:var(--on-go);font:inherit;font-weight:600;text-align:center;text-decoration:none;cursor:pointer}
button.quiet{background:transparent;border-color:var(--line);color:var(--ink)}
:focus-visible{outline:3px solid var(--go);outline-offset:2px}
ul{margin:1rem 0 0;padding:0;list-style:none}
li{padding:.75rem 0;border-top:1px solid var(--line)}
""".strip()

_HEADERS = {
    "content-type": "text/html; charset=utf-8",
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; style-src 'sha256-"
    + base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    + "'",
}

_STATES = {
    "NOTPAY": ("等待付款", "Waiting for your payment"),
    "USERPAYING": ("正在付款", "Payment under way"),
    "SUCCESS": ("已付款", "Paid"),
    "REFUND": ("已付款，有退款", "Paid, with a refund"),
    "CLOSED": ("已关闭", "Closed"),
    "REVOKED": ("已撤销", "Reversed"),
    "PAYERROR": ("付款失败", "The payment failed"),
}


def page(title: str, content: str, *, status: int = 200) -> Reply:
    """A whole page around escaped content."""
    html = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<style>{_STYLE}</style></head><body><main>{content}</main></body></html>"
    )
    return Reply(status, dict(_HEADERS), html.encode("utf-8"))


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
    return page(f"{en} · Simulated WeChat Pay", content)


def list_page(trades: Iterable[Trade], prefix: str) -> Reply:
    """The latest orders, each with the way to its payment page."""
    rows = "".join(
        f'<li><a href="{escape(prefix)}/pay/{escape(trade.token)}">{escape(trade.order.description)}</a>'
        f" {escape(trade.order.currency)} {format_major(trade.order.amount_minor, trade.order.currency)}"
        f" · {_STATES[trade.shown_state][1]}</li>"
        for trade in trades
    )
    empty = "<li>没有订单 · No orders yet</li>"
    return page("Simulated WeChat Pay", f"<h1>微信支付模拟器 · Simulated WeChat Pay</h1><ul>{rows or empty}</ul>")


def sorry_page(zh: str, en: str, *, status: int) -> Reply:
    """Something that cannot be done, in both languages."""
    return page(en, f"<h1>{escape(zh)}</h1><p>{escape(en)}</p>", status=status)
