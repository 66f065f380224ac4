"""Every request carries our number and the exact amount, in every currency that the kind takes."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from urllib.parse import unquote_plus

from paycore.channel import ChannelVerb, Method, Paid, Ready, Request, format_major
from paycore.testing.conformance.stand import Begun, Stand
from paycore_bridge import Plan

_SEALED = re.compile(r"[A-Za-z0-9_-]{24,}={0,2}|[A-Za-z0-9+/]{24,}={0,2}", re.ASCII)
_FLOAT = re.compile(
    r"(?<![0-9.])[0-9]+\.[0-9]{6,}(?![0-9])|(?<![0-9A-Za-z.])[0-9]+(?:\.[0-9]+)?[eE][+-][0-9]+", re.ASCII
)


def amounts(method: Method, currency: str) -> Iterator[int]:
    """Amounts that show whether digits are cut, rounded or moved, within the method's limits."""
    limit = method.limits[currency]
    for wanted in (
        limit.least_minor,
        1,
        7,
        10,
        105,
        1007,
        4999,
        10_000,
        12_807,
        1_999_999,
        123_456_789,
        limit.most_minor,
    ):
        if limit.least_minor <= wanted <= limit.most_minor:
            yield wanted


def texts(begun: Begun) -> str:
    """Everything that leaves us for one payment, opened as far as it goes: escapes, and what is packed in base64."""
    parts = [part for request in begun.heard.requests for part in _parts(request)]
    if begun.plan_json is not None:
        parts += [step.params_json for step in Plan.from_json(begun.plan_json).steps]
    opened = [unquote_plus(part) for part in parts]
    opened += [inner for part in list(opened) for inner in _unsealed(part)]
    return "\n".join([*parts, *opened])


def _parts(request: Request) -> list[str]:
    return [request.url, request.body.decode("utf-8", "replace")]


def _unsealed(text: str) -> Iterator[str]:
    for match in _SEALED.finditer(text):
        word = match[0].rstrip("=").replace("-", "+").replace("_", "/")
        try:
            yield base64.b64decode(word + "=" * (-len(word) % 4)).decode("utf-8")
        except (binascii.Error, UnicodeDecodeError):
            continue


def says(text: str, amount_minor: int, currency: str) -> bool:
    """Whether a text writes this amount as a number of its own: in major units with the currency's digits, or in minor ones."""
    major = re.escape(format_major(amount_minor, currency))
    return re.search(rf"(?<![0-9.])(?:{major}|{amount_minor})(?![0-9.])", text) is not None


class ExactMoney:
    """Exact amounts in currencies of 0, 2 and 3 digits."""

    def test_what_is_asked_for_is_asked_for_exactly(self, stand: Stand) -> None:
        for method in stand.exact_methods:
            for currency in method.limits:
                for amount_minor in amounts(method, currency):
                    begun = stand.begin(method, amount_minor=amount_minor, currency=currency)
                    what = f"{method.name} {currency} {amount_minor}"
                    assert isinstance(begun.heard.finding, Ready | Paid) or method.may_pay_at_prepare, what
                    self._is_exact(stand, begun, what)

    def _is_exact(self, stand: Stand, begun: Begun, what: str) -> None:
        ask = begun.ask
        written = texts(begun)
        assert ask.payment_id in written, f"{what}: our number is not in what is sent"
        assert says(written, ask.amount_minor, ask.currency), f"{what}: the exact amount is not in what is sent"
        assert _FLOAT.search(_SEALED.sub("", written)) is None, f"{what}: something looks like a float"
        trade = stand.simulator.trade(ask.payment_id)
        assert trade is not None, f"{what}: the channel knows of no trade"
        assert (trade.amount_minor, trade.currency) == (ask.amount_minor, ask.currency), what

    def test_what_was_paid_is_read_exactly(self, stand: Stand) -> None:
        if not stand.has(ChannelVerb.QUERY):
            return
        for method in stand.exact_methods:
            for currency in method.limits:
                for amount_minor in amounts(method, currency):
                    ask = stand.paid(method, amount_minor=amount_minor, currency=currency)
                    found = stand.query(ask)
                    assert isinstance(found, Paid), f"{method.name} {currency} {amount_minor}: {found}"
                    assert (found.amount_minor, found.currency) == (amount_minor, currency)

    def test_what_is_given_back_is_exact(self, stand: Stand) -> None:
        if not stand.has(ChannelVerb.REFUND):
            return
        for method in stand.exact_methods:
            for currency in method.limits:
                for amount_minor in amounts(method, currency):
                    part = amount_minor if amount_minor < 2 or not stand.kind.partial_refunds else amount_minor // 2 + 1
                    ask = stand.refund(stand.paid(method, amount_minor=amount_minor, currency=currency), part)
                    heard = stand.listen(stand.channel.refund(ask))
                    what = f"{method.name} {currency} {part} of {amount_minor}"
                    written = "\n".join(unquote_plus(one) for request in heard.requests for one in _parts(request))
                    assert ask.refund_id in written, f"{what}: our refund number is not in what is sent"
                    assert says(written, part, currency), f"{what}: the exact amount is not in what is sent"
                    assert stand.simulator.refunds(ask.payment.payment_id).get(ask.refund_id) == part, what

    def test_a_store_purchase_names_product_quantity_and_token(self, stand: Stand) -> None:
        for method in stand.store_methods:
            begun = stand.payment(method)
            finding = stand.hold(stand.channel.prepare(begun))
            assert isinstance(finding, Ready), f"{method.name}: {finding}"
            plan = Plan.from_json(finding.plan_json)
            [purchase] = [step.params for step in plan.steps if step.kind.value == "store_purchase"]
            assert (purchase["product_id"], purchase["account_token"]) == (begun.product_id, begun.token)
            assert purchase.get("quantity", 1) == begun.quantity
