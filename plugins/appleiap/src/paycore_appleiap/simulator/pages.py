"""The store as a person sees it at a desk: buy for a plan, and do what only Apple does. Plain HTML, no script, all escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape

from paycore.channel import Money, Reply, exponent, format_major
from paycore.channel.simulating import Pages
from paycore_appleiap.simulator.books import MILLI, Sale

PAPER = Pages(light="#0071e3", dark="#2997ff")
_TITLE = "App Store 模拟器 · Simulated App Store"
FIELDS = {
    "product_id": ("商品 · Product", "com.example.game.gold100"),
    "account_token": ("账户令牌 · Account token (a plan's account_token; may be empty)", ""),
    "quantity": ("数量 · Quantity", "1"),
    "price": ("价格 · Price", "6.00"),
    "currency": ("货币 · Currency", "CNY"),
}
BUTTONS = {
    "announce": "再次通知 · Announce it",
    "refund": "退款 · Give the money back",
    "reverse": "撤销退款 · Take the refund back",
    "renew": "续订 · Renew it",
    "consumption": "索取消费信息 · Ask for consumption information",
}


def shop_page(sales: Iterable[Sale], prefix: str, given: Mapping[str, str], sorry: str = "") -> Reply:
    """What was sold, newest first, and the form in which a person buys."""
    inputs = "".join(
        f'<p><label>{escape(label)}<br><input name="{name}" value="{escape(given.get(name, usual))}"></label></p>'
        for name, (label, usual) in FIELDS.items()
    )
    rows = "".join(
        f'<li><a href="{escape(prefix)}/sale/{sale.transaction_id}">{escape(sale.product_id)}</a>'
        f" {escape(sale.currency)} {format_major(minor(sale), sale.currency)} · {_state(sale)}</li>"
        for sale in sales
    )
    content = (
        f"<h1>{_TITLE}</h1>{f'<p role=alert>{escape(sorry)}</p>' if sorry else ''}"
        f'<form method="post" action="{escape(prefix)}/buy">{inputs}<button>购买 · Buy</button></form>'
        f"<ul>{rows or '<li>没有交易 · No transactions yet</li>'}</ul>"
    )
    return PAPER.page("Simulated App Store", content, status=400 if sorry else 200)


def sale_page(sale: Sale, evidence: str, prefix: str) -> Reply:
    """One transaction: what it cost, how it stands, the document that a phone gets, and what Apple may do."""
    buttons = "".join(
        f'<button class="quiet" name="action" value="{action}">{label}</button>' for action, label in BUTTONS.items()
    )
    content = (
        f"<h1>{_TITLE}</h1><strong class=amount>{escape(str(Money(minor(sale), sale.currency)))}</strong>"
        f"<p>{escape(sale.product_id)} × {sale.quantity} · {sale.transaction_id}</p>"
        f"<p>{escape(sale.token) or '没有令牌 · No account token'}</p><p role=status>{_state(sale)}</p>"
        f"<p><label>jwsRepresentation<br><textarea readonly>{escape(evidence)}</textarea></label></p>"
        f'<form method="post">{buttons}</form><a class="button" href="{escape(prefix)}/">返回 · Back</a>'
    )
    return PAPER.page(f"{_state(sale)} · Simulated App Store", content)


def minor(sale: Sale) -> int:
    """The price in minor units."""
    return int(sale.price_milli * 10 ** exponent(sale.currency)) // MILLI


def _state(sale: Sale) -> str:
    if sale.revoked_at is not None:
        return "已退款 · Given back"
    return "已续订 · Renewed" if sale.reason == "RENEWAL" else "已购买 · Bought"
