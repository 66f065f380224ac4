"""The documents of WeChat Pay APIv3: JSON objects, money in fen, times as RFC 3339 in Beijing time.

Reading decides nothing: a document either has what is asked of it, or it is `Unreadable`. Fields that nobody asks for may
be anything, because WeChat Pay adds fields at any time ("Compatibility").
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Never

SECOND = 1_000_000
BEIJING = timezone(timedelta(hours=8))
MAX_MINOR = 10**12
_RFC3339 = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})", re.ASCII
)

_UNWRITABLE = re.compile("[\0\ud800-\udfff]")
"""What no database takes: NUL, and halves of surrogate pairs."""


class Unreadable(Exception):
    """A document has not the agreed shape; nothing of it may be used."""


def write(document: Mapping[str, Any]) -> bytes:
    """The exact bytes of a document."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def read(body: bytes) -> dict[str, Any]:
    """The object in these bytes. Duplicate keys, endless numbers and depths, and anything but an object are unreadable.

    Numbers with a fraction stay texts: no field that is read here has one, and none may become a float.
    """
    try:
        document = json.loads(
            body.decode("utf-8"), object_pairs_hook=_unique, parse_float=str, parse_constant=_no_number
        )
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise Unreadable("not a JSON document") from error
    if not isinstance(document, dict):
        raise Unreadable("not a JSON object")
    return document


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object has the same key twice")
    return found


def _no_number(text: str) -> Never:
    raise ValueError("NaN and Infinity are no JSON")


# ---------------------------------------------------------------------------------------------- fields


def text(document: Mapping[str, Any], name: str) -> str:
    """A text that must be there and not be empty."""
    value = text_or_empty(document, name)
    if not value:
        raise Unreadable(f"{name} is missing")
    return value


def text_or_empty(document: Mapping[str, Any], name: str) -> str:
    """A text that may be empty, null or missing."""
    value = document.get(name)
    if value is None:
        return ""
    if not isinstance(value, str) or _UNWRITABLE.search(value):
        raise Unreadable(f"{name} is not a text")
    return value


def whole(document: Mapping[str, Any], name: str) -> int:
    """A whole positive number."""
    value = document.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= MAX_MINOR:
        raise Unreadable(f"{name} is not a positive number")
    return value


def inner(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    """An object inside the document."""
    value = document.get(name)
    if not isinstance(value, dict):
        raise Unreadable(f"{name} is not an object")
    return value


def objects(document: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """A list of objects inside the document."""
    value = document.get(name)
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise Unreadable(f"{name} is not a list of objects")
    return value


def currency(document: Mapping[str, Any]) -> str:
    """The currency of an amount. WeChat Pay leaves it out of refund notices; it then is the only one it takes at home."""
    return text_or_empty(document, "currency") or "CNY"


# ---------------------------------------------------------------------------------------------- times, texts


def instant(written: str) -> int | None:
    """Microseconds of an RFC 3339 time; None for anything else."""
    match = _RFC3339.fullmatch(written)
    if match is None:
        return None
    try:
        at = datetime.fromisoformat(match[1] + match[3].replace("Z", "+00:00"))
    except ValueError:
        return None
    whole_seconds = int((at - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds())
    return whole_seconds * SECOND + int((match[2] or ".0")[1:7].ljust(6, "0"))


def moment(at: int) -> str:
    """An instant as WeChat Pay writes it. Rounds down to the second, so an expiry is never later than ours."""
    return datetime.fromtimestamp(at // SECOND, BEIJING).isoformat(timespec="seconds")


def cut(words: str, most_bytes: int) -> str:
    """The text, cut to so many bytes of UTF-8 and never inside a character.

    Source: error texts of APIv3, which count the bytes of `description` (127) and `reason` (80).
    """
    return words.encode("utf-8")[:most_bytes].decode("utf-8", "ignore")


# ---------------------------------------------------------------------------------------------- records


@dataclass(frozen=True, slots=True)
class Trade:
    """A trade as answers and notices show it. Until it is paid it may have no amount and no number of WeChat Pay's."""

    mchid: str
    out_trade_no: str
    transaction_id: str
    state: str
    amount_minor: int | None
    currency: str
    paid_at: int | None
    description: str


@dataclass(frozen=True, slots=True)
class RefundRecord:
    """A refund as answers and notices show it. Answers name no merchant."""

    mchid: str
    out_trade_no: str
    out_refund_no: str
    refund_id: str
    state: str
    amount_minor: int
    currency: str
    refunded_at: int | None


def read_trade(document: Mapping[str, Any]) -> Trade:
    """The trade of a query's answer, a barcode payment's answer or a notice's resource."""
    amount = inner(document, "amount") if document.get("amount") is not None else {}
    return Trade(
        mchid=text(document, "mchid"),
        out_trade_no=text(document, "out_trade_no"),
        transaction_id=text_or_empty(document, "transaction_id"),
        state=text(document, "trade_state"),
        amount_minor=whole(amount, "total") if amount.get("total") is not None else None,
        currency=currency(amount),
        paid_at=instant(text_or_empty(document, "success_time")),
        description=text_or_empty(document, "trade_state_desc"),
    )


def read_refund(document: Mapping[str, Any]) -> RefundRecord:
    """The refund of an answer. Source: "Apply for a refund", "Query a refund"."""
    return _refund(document, state="status", mchid="")


def read_refund_notice(document: Mapping[str, Any]) -> RefundRecord:
    """The refund of a notice's resource, where the state is called `refund_status`. Source: "Refund notice"."""
    return _refund(document, state="refund_status", mchid=text(document, "mchid"))


def _refund(document: Mapping[str, Any], *, state: str, mchid: str) -> RefundRecord:
    amount = inner(document, "amount")
    return RefundRecord(
        mchid=mchid,
        out_trade_no=text(document, "out_trade_no"),
        out_refund_no=text(document, "out_refund_no"),
        refund_id=text(document, "refund_id"),
        state=text(document, state),
        amount_minor=whole(amount, "refund"),
        currency=currency(amount),
        refunded_at=instant(text_or_empty(document, "success_time")),
    )
