"""The wallet's pages, where a person pays: plain HTML, no script, everything from the books escaped."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from html import escape

from paycore.channel import Money, Reply, format_major
from paycore_alipay import wire
from paycore_alipay.simulator.books import Trade

_STYLE = """
:root{color-scheme:light dark;--ink:#1f2329;--soft:#646a73;--paper:#eef3fb;--card:#fff;--line:#dee0e3;--go:#1677ff;--on-go:#fff}
@media(prefers-color-scheme:dark){:root{--ink:#ebebeb;--soft:#a6a6a6;--paper:#121417;--card:#1c1f23;--line:#33373c;--go:#4c97ff;--on-go:#06121f}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;display:grid;place-items:center;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{width:min(26rem,100% - 2rem);margin:1rem;padding:2rem;background:var(--card);border:1px solid var(--line);border-radius:1rem}
h1{margin:0;font-size:1rem;font-weight:600;color:var(--go)}
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

_TITLE = "支付宝模拟钱包 · Simulated Alipay"
_STATES = {
    "WAIT_BUYER_PAY": ("等待付款", "Waiting for your payment"),
    "TRADE_SUCCESS": ("付款成功", "Paid"),
    "TRADE_FINISHED": ("交易完结", "Finished"),
    "TRADE_CLOSED": ("交易关闭", "Closed"),
}


def page(title: str, content: str, *, status: int = 200) -> Reply:
    """A whole page around escaped content."""
    html = (
        f'<!doctype html><html lang="zh"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<style>{_STYLE}</style></head><body><main>{content}</main></body></html>"
    )
    return Reply(status, dict(_HEADERS), html.encode("utf-8"))


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
    return page(f"{en} · Simulated Alipay", content)


def list_page(trades: Iterable[Trade], prefix: str) -> Reply:
    """The latest trades, each with the way to its wallet page."""
    rows = "".join(
        f'<li><a href="{escape(prefix)}/pay/{escape(trade.token)}">{escape(trade.subject)}</a>'
        f" {format_major(trade.amount_minor, wire.CURRENCY)} · {_STATES[trade.status][1]}</li>"
        for trade in trades
    )
    return page("Simulated Alipay", f"<h1>{_TITLE}</h1><ul>{rows or '<li>没有交易 · No trades yet</li>'}</ul>")


def sorry_page(zh: str, en: str, *, status: int) -> Reply:
    """Something that cannot be done, in both languages."""
    return page(en, f"<h1>{escape(zh)}</h1><p>{escape(en)}</p>", status=status)
