"""The documents of the sandbox channel: JSON objects, money as decimal text, instants as whole milliseconds.

Reading is strict and decides nothing: a document either has the shape that was agreed, or it is `Unreadable`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from paycore.channel import BillAmount, LineKind, Statement, StatementLine, format_major, parse_major
from paycore_bridge import BadJson, canonical_json, parse_json

MILLISECOND = 1_000
LATEST_MS = 10**14
LONGEST_TEXT = 2048
MOST_OBJECTS = 100


class Unreadable(Exception):
    """A document has not the agreed shape; nothing of it may be used."""


def write(document: Mapping[str, Any]) -> bytes:
    """The exact bytes of a document."""
    return canonical_json(document).encode("utf-8")


def read(body: bytes) -> dict[str, Any]:
    """The object in these bytes. Duplicate keys, fractions and anything but an object are unreadable."""
    try:
        document = parse_json(body.decode("utf-8"))
    except (UnicodeDecodeError, BadJson) as error:
        raise Unreadable("not a JSON document") from error
    if not isinstance(document, dict):
        raise Unreadable("not a JSON object")
    return document


def text(document: Mapping[str, Any], name: str) -> str:
    """A text that must be there and not be empty."""
    value = text_or_empty(document, name)
    if not value:
        raise Unreadable(f"{name} is not a text")
    return value


def text_or_empty(document: Mapping[str, Any], name: str) -> str:
    """A text that may be empty or missing."""
    value = document.get(name, "")
    if not isinstance(value, str) or len(value) > LONGEST_TEXT or "\0" in value:
        raise Unreadable(f"{name} is not a text")
    return value


def whole(document: Mapping[str, Any], name: str, *, least: int = 1, most: int = LATEST_MS) -> int:
    """A whole number within bounds."""
    value = document.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise Unreadable(f"{name} is not a number within bounds")
    return value


def instant(document: Mapping[str, Any], name: str) -> int:
    """An instant in microseconds, from whole milliseconds on the wire."""
    return whole(document, name) * MILLISECOND


def to_ms(at: int) -> int:
    """An instant as the wire has it. Rounds down, so an expiry is never later than ours."""
    return at // MILLISECOND


def money(amount_minor: int, currency: str) -> dict[str, str]:
    """An amount as the wire has it, with exactly the currency's digits."""
    return {"amount": format_major(amount_minor, currency), "currency": currency}


def amount(document: Mapping[str, Any]) -> tuple[int, str]:
    """Minor units and currency. Only the one spelling that `money` writes is read."""
    written, currency = text(document, "amount"), text(document, "currency")
    try:
        minor = parse_major(written, currency)
    except ValueError as error:
        raise Unreadable("amount is not money") from error
    if format_major(minor, currency) != written or minor <= 0:
        raise Unreadable("amount is not money")
    return minor, currency


@dataclass(frozen=True, slots=True)
class Returned:
    """A refund that a trade shows: whose, how much, and whether it came back."""

    refund_no: str
    out_refund_no: str
    amount_minor: int
    has_bounced: bool


@dataclass(frozen=True, slots=True)
class Trade:
    """A trade as the channel shows it in answers and notices."""

    merchant: str
    out_trade_no: str
    trade_no: str
    state: str
    amount_minor: int
    currency: str
    paid_at: int | None
    reason: str
    returned: tuple[Returned, ...]


@dataclass(frozen=True, slots=True)
class RefundRecord:
    """A refund as the channel shows it. `out_refund_no` is empty when it was begun in the channel's console."""

    merchant: str
    out_trade_no: str
    account_token: str
    out_refund_no: str
    refund_no: str
    state: str
    amount_minor: int
    currency: str
    refunded_at: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class Purchase:
    """A store's transaction: what was bought under which token, and what the store took for it."""

    merchant: str
    transaction_id: str
    account_token: str
    product_id: str
    quantity: int
    amount_minor: int
    currency: str
    purchased_at: int


def read_trade(document: Mapping[str, Any]) -> Trade:
    """The trade of an answer or a notice."""
    minor, currency = amount(document)
    state = text(document, "state")
    return Trade(
        merchant=text(document, "merchant"),
        out_trade_no=text(document, "out_trade_no"),
        trade_no=text(document, "trade_no"),
        state=state,
        amount_minor=minor,
        currency=currency,
        paid_at=instant(document, "paid_at_ms") if state == "PAID" else None,
        reason=text_or_empty(document, "reason"),
        returned=tuple(_read_returned(one, currency) for one in _objects(document, "refunds")),
    )


def _read_returned(document: Mapping[str, Any], trade_currency: str) -> Returned:
    minor, currency = amount(document)
    if currency != trade_currency:
        raise Unreadable("a refund is in another currency")
    return Returned(
        refund_no=text(document, "refund_no"),
        out_refund_no=text_or_empty(document, "out_refund_no"),
        amount_minor=minor,
        has_bounced=text(document, "state") == "BOUNCED",
    )


def _objects(document: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    value = document.get(name, [])
    if not isinstance(value, list) or len(value) > MOST_OBJECTS or not all(isinstance(one, dict) for one in value):
        raise Unreadable(f"{name} is not a list of objects")
    return value


def read_refund(document: Mapping[str, Any]) -> RefundRecord:
    """The refund of an answer or a notice."""
    minor, currency = amount(document)
    state = text(document, "state")
    return RefundRecord(
        merchant=text(document, "merchant"),
        out_trade_no=text_or_empty(document, "out_trade_no"),
        account_token=text_or_empty(document, "account_token"),
        out_refund_no=text_or_empty(document, "out_refund_no"),
        refund_no=text(document, "refund_no"),
        state=state,
        amount_minor=minor,
        currency=currency,
        refunded_at=instant(document, "refunded_at_ms") if state == "SUCCESS" else None,
        reason=text_or_empty(document, "reason"),
    )


def read_purchase(document: Mapping[str, Any]) -> Purchase:
    """The transaction inside a store's signed text, an answer or a notice."""
    minor, currency = amount(document)
    return Purchase(
        merchant=text(document, "merchant"),
        transaction_id=text(document, "transaction_id"),
        account_token=text(document, "account_token"),
        product_id=text(document, "product_id"),
        quantity=whole(document, "quantity", most=1000),
        amount_minor=minor,
        currency=currency,
        purchased_at=instant(document, "purchased_at_ms"),
    )


def read_statement(document: Mapping[str, Any], name: str) -> Statement:
    """The statement of an answer. Its totals have to agree with its lines."""
    merchant = text(document, "merchant")
    lines = tuple(_read_line(one) for one in _objects(document, "lines"))
    if whole(document, "count", least=0) != len(lines) or "lines" not in document:
        raise Unreadable("the statement's totals disagree with its lines")
    return Statement(name, text(document, "day"), merchant, lines)


def _read_line(document: Mapping[str, Any]) -> StatementLine:
    try:
        kind = LineKind(text(document, "kind"))
        moved, fee = BillAmount.parse(text(document, "amount")), BillAmount.parse(text(document, "fee"))
    except ValueError as error:
        raise Unreadable("a line of the statement cannot be read") from error
    return StatementLine(
        kind=kind,
        amount=moved,
        currency=text(document, "currency"),
        payment_id=text(document, "out_trade_no"),
        refund_id=text_or_empty(document, "out_refund_no"),
        channel_trade_no=text(document, "trade_no"),
        channel_refund_no=text_or_empty(document, "refund_no"),
        fee=fee,
        happened_at=instant(document, "at_ms"),
    )
