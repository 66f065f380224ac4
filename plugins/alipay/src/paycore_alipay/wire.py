"""Alipay's documents: forms, answers, times and money. Reading is strict and decides nothing.

A document either has the shape that Alipay describes, or it is `Unreadable` and nothing of it may be used.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Never
from urllib.parse import quote_plus

from paycore.channel import format_major, parse_major

CHARSET = "utf-8"
CURRENCY = "CNY"
SECOND = 1_000_000
LONGEST_TEXT = 2048
MOST_PARAMETERS = 200

BEIJING = timezone(timedelta(hours=8))
"""Every time on Alipay's wire is UTC+8, wherever the host stands."""


class Unreadable(Exception):
    """A document has not the agreed shape; nothing of it may be used."""


# ---------------------------------------------------------------------------------------------- forms


def write_form(parameters: Mapping[str, str]) -> str:
    """Parameters as application/x-www-form-urlencoded, a space as +, each value encoded once."""
    return "&".join(f"{quote_plus(name, safe='')}={quote_plus(value, safe='')}" for name, value in parameters.items())


_RAW = re.compile(rb"[!-%'-~]*", re.ASCII)
_ESCAPE = re.compile(rb"%([0-9A-F]{2})|\+")
_NAME = re.compile(rb"[A-Za-z0-9_.-]{1,64}", re.ASCII)


def read_form(body: bytes) -> list[tuple[bytes, bytes]]:
    """The parameters of a form, decoded once to bytes, empty values kept.

    There is one spelling of each form: an escape in small letters, a bare space, an empty pair or the same name twice is
    unreadable. Otherwise a body could be changed and still verify, or mean one thing to us and another to the next reader.
    """
    pairs = [_read_pair(pair) for pair in body.split(b"&")] if body else []
    if not pairs or len(pairs) > MOST_PARAMETERS:
        raise Unreadable("not a form")
    if len({name for name, _ in pairs}) != len(pairs):
        raise Unreadable("the form has the same parameter twice")
    return pairs


def _read_pair(pair: bytes) -> tuple[bytes, bytes]:
    name, equals, value = pair.partition(b"=")
    name = _unquote(name)
    if not equals or _NAME.fullmatch(name) is None:
        raise Unreadable("not a form")
    return name, _unquote(value)


def _unquote(text: bytes) -> bytes:
    escapes = text.count(b"%")
    if _RAW.fullmatch(text) is None or len(_ESCAPE.findall(text)) != escapes + text.count(b"+"):
        raise Unreadable("the form is not encoded as forms are")
    return _ESCAPE.sub(lambda found: bytes.fromhex(found[1].decode()) if found[1] else b" ", text)


_CHARSETS = {"utf-8": "utf-8", "utf8": "utf-8", "gbk": "gbk", "gb2312": "gbk", "gb18030": "gb18030"}


def texts(pairs: list[tuple[bytes, bytes]]) -> dict[str, str]:
    """The parameters as texts in the charset that the form itself declares."""
    declared = dict(pairs).get(b"charset", CHARSET.encode()).decode("latin-1").lower()
    charset = _CHARSETS.get(declared)
    if charset is None:
        raise Unreadable("the form declares a charset that is not used")
    try:
        return {name.decode("ascii"): value.decode(charset) for name, value in pairs}
    except UnicodeDecodeError:
        raise Unreadable("the form is not in the charset that it declares") from None


# ---------------------------------------------------------------------------------------------- JSON


def write_json(document: Mapping[str, Any]) -> str:
    """The `biz_content` of a document. Whatever its spacing: this very text is both signed and sent."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Unreadable("an object has the same key twice")
    return found


def _no_constant(text: str) -> Never:
    raise Unreadable("NaN and Infinity are no JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_int=str, parse_float=str, parse_constant=_no_constant)
"""Numbers stay the text that they were: nothing is rounded, and nobody makes us convert five thousand digits."""
_SPACE = re.compile(r"[ \t\n\r]*")


@dataclass(frozen=True, slots=True)
class Member:
    """One member of an object: its value, and the exact text of it."""

    value: Any
    text: str


def members(text: str) -> dict[str, Member]:
    """The members of the one object that this text is, found by a JSON scanner. The same key twice is unreadable."""
    found: dict[str, Member] = {}
    at = _expect(text, 0, "{")
    while True:
        name, at = _scan(text, at)
        if not isinstance(name, str) or name in found:
            raise Unreadable("not an object, or one with the same key twice")
        begin = _expect(text, at, ":")
        value, at = _scan(text, begin)
        found[name] = Member(value, text[begin:at])
        at = _skip(text, at)
        if text[at : at + 1] == "}":
            break
        at = _expect(text, at, ",")
    if _skip(text, at + 1) != len(text):
        raise Unreadable("something follows the answer")
    return found


def _scan(text: str, at: int) -> tuple[Any, int]:
    try:
        return _DECODER.raw_decode(text, at)
    except (ValueError, RecursionError):
        raise Unreadable("not a JSON document") from None


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _expect(text: str, at: int, mark: str) -> int:
    """The place after a mark and the spaces around it."""
    at = _skip(text, at)
    if text[at : at + 1] != mark:
        raise Unreadable("not a JSON object")
    return _skip(text, at + 1)


# ---------------------------------------------------------------------------------------------- fields


def text_of(document: Mapping[str, Any], name: str) -> str:
    """A text that may be empty or missing; a text that could not be kept is unreadable."""
    value = document.get(name, "")
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > LONGEST_TEXT or "\0" in value:
        raise Unreadable(f"{name} is not a text")
    return value


_NUMBER = re.compile(r"[0-9A-Za-z_.:*|-]{1,64}", re.ASCII)


def number_of(document: Mapping[str, Any], name: str) -> str:
    """A number of a trade, a refund or a merchant: letters, digits and a few marks. Empty when it is missing."""
    value = text_of(document, name)
    if value and _NUMBER.fullmatch(value) is None:
        raise Unreadable(f"{name} is not a number of Alipay's")
    return value


def money(amount_minor: int) -> str:
    """An amount as the wire has it: yuan with two decimals."""
    return format_major(amount_minor, CURRENCY)


def money_of(document: Mapping[str, Any], name: str, currency: str = CURRENCY) -> int:
    """Minor units of an amount that must be there and be positive; only plain decimals of the currency are read."""
    try:
        minor = parse_major(text_of(document, name), currency)
    except ValueError:
        raise Unreadable(f"{name} is not money") from None
    if minor <= 0:
        raise Unreadable(f"{name} is not money")
    return minor


_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?", re.ASCII)


def time(at: int) -> str:
    """An instant as the wire has it, in Beijing, to the second. Rounds down, so an expiry is never later than ours."""
    return datetime.fromtimestamp(at // SECOND, tz=BEIJING).strftime("%Y-%m-%d %H:%M:%S")


def read_time(text: str) -> int:
    """The instant (microseconds) of a time on the wire. Raises Unreadable."""
    if _TIME.fullmatch(text) is None:
        raise Unreadable("not a time of Alipay's")
    form = "%Y-%m-%d %H:%M:%S.%f" if "." in text else "%Y-%m-%d %H:%M:%S"
    try:
        moment = datetime.strptime(text, form).replace(tzinfo=BEIJING)
    except ValueError:
        raise Unreadable("not a time of Alipay's") from None
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * SECOND + since.microseconds


def time_of(document: Mapping[str, Any], name: str) -> int | None:
    """The instant in a field; None when it is missing."""
    text = text_of(document, name)
    return read_time(text) if text else None


# ---------------------------------------------------------------------------------------------- answers


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of the gateway. `is_signed` says whether Alipay vouches for it; only then may it be believed."""

    code: str
    sub_code: str
    document: Mapping[str, Any]
    is_signed: bool

    @property
    def is_done(self) -> bool:
        """Whether the call was carried out. What it did, only the document's other fields can say."""
        return self.code == "10000" and self.is_signed

    @property
    def word(self) -> str:
        """The code for people and for tables: the finer one where there is one."""
        return self.sub_code or self.code


@dataclass(frozen=True, slots=True)
class Envelope:
    """An answer before anybody believed it: the signed text, its signature, and the SN of the certificate that goes with it."""

    content: str
    document: Mapping[str, Any]
    signature: str
    cert_sn: str


def open_envelope(body: bytes, method: str) -> Envelope:
    """Find the object that answers this method, and the exact text of it that the signature covers."""
    try:
        found = members(body.decode(CHARSET))
    except UnicodeDecodeError:
        raise Unreadable("the answer is not in UTF-8") from None
    object_ = found.get(f"{method.replace('.', '_')}_response") or found.get("error_response")
    if object_ is None or not isinstance(object_.value, dict):
        raise Unreadable("the answer answers something else")
    around: dict[str, Any] = {name: found[name].value for name in ("sign", "alipay_cert_sn") if name in found}
    return Envelope(object_.text, object_.value, text_of(around, "sign"), text_of(around, "alipay_cert_sn"))


_CODE = re.compile(r"[0-9]{1,8}", re.ASCII)
_SUB_CODE = re.compile(r"[A-Za-z0-9_.:-]{0,96}", re.ASCII)


def answer_of(envelope: Envelope, *, is_signed: bool) -> Answer:
    """The answer inside an envelope whose signature has been looked at."""
    code, sub_code = text_of(envelope.document, "code"), text_of(envelope.document, "sub_code")
    if _CODE.fullmatch(code) is None or _SUB_CODE.fullmatch(sub_code) is None:
        raise Unreadable("the answer has no code")
    return Answer(code, sub_code, envelope.document, is_signed)
