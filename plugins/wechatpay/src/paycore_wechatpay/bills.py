"""WeChat Pay's bills of a day, read whole or not at all: the trade bill and the fund-flow bill.

Sources: "Apply for the trade bill", "Apply for the fund-flow bill", "Download the bill". A file is UTF-8 with a byte order
mark and CRLF. The header is plain; before every value stands one backtick, so a value may hold commas. The last two lines
are the totals with their own header. The hash is SHA-1 over the file before gzip. Columns come and go: they are found by
their names. Amounts are yuan with up to five decimals and a sign.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from paycore.channel import BillAmount, LineKind, StatementLine
from paycore_wechatpay.wire import BEIJING, SECOND

TRADE = "trade"
FUND_FLOW = "fund_flow"
PATHS: Mapping[str, str] = {
    TRADE: "/v3/bill/tradebill?bill_date={day}&bill_type=ALL&tar_type=GZIP",
    FUND_FLOW: "/v3/bill/fundflowbill?bill_date={day}&account_type=BASIC&tar_type=GZIP",
}
MAX_FILE_BYTES = 64 * 1024 * 1024
MAX_PLAIN_BYTES = 512 * 1024 * 1024

_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}", re.ASCII)
_GZIP_MAGIC = b"\x1f\x8b"
_GZIP = 16 + zlib.MAX_WBITS
_WIDE_BRACKETS = str.maketrans("（）", "()")
Row = dict[str, str]


class BadBill(ValueError):
    """The file is cut short, changed, or does not add up; nothing of it may be used."""


def unpacked(file: bytes, *, sha1: str) -> bytes:
    """The plain bytes of a downloaded file, which must be those that the signed answer announced. Raises BadBill.

    A file that a proxy or client has unpacked on the way is the same file: the hash is over what is inside.
    """
    plain = _inflated(file) if file.startswith(_GZIP_MAGIC) else file
    digest = hashlib.sha1(plain, usedforsecurity=False).hexdigest()
    if not hmac.compare_digest(digest.encode(), sha1.lower().encode()):
        raise BadBill("the file is not the one that was announced")
    return plain


def _inflated(file: bytes) -> bytes:
    inflater = zlib.decompressobj(_GZIP)
    try:
        plain = inflater.decompress(file, MAX_PLAIN_BYTES)
    except zlib.error:
        raise BadBill("the file is not gzip") from None
    if not inflater.eof or inflater.unused_data:
        raise BadBill("the file is cut short, endless, or has something behind its end")
    return plain


def lines_of(statement: str, plain: bytes) -> tuple[StatementLine, ...]:
    """The movements of a bill whose totals agree with its rows. Raises BadBill."""
    bill = _parsed(plain)
    reader = _READERS[statement]
    reader.check(bill)
    try:
        return tuple(reader.line(row) for row in bill.rows)
    except (KeyError, ValueError) as error:
        raise BadBill("a row of the bill cannot be read") from error


# ---------------------------------------------------------------------------------------------- the file


@dataclass(frozen=True, slots=True)
class Bill:
    """A bill taken apart: its rows and its totals, by the names of the columns."""

    rows: tuple[Row, ...]
    totals: Row


def _parsed(plain: bytes) -> Bill:
    try:
        text = plain.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadBill("the bill is not UTF-8") from None
    lines = [line for line in text.split("\r\n") if line]
    if len(lines) < 3 or lines[0].startswith("`") or lines[-2].startswith("`"):
        raise BadBill("the bill has no header or no totals")
    header, totals = _names(lines[0]), _names(lines[-2])
    return Bill(tuple(_row(header, line) for line in lines[1:-2]), _row(totals, lines[-1]))


def _names(line: str) -> list[str]:
    names = [name.strip().translate(_WIDE_BRACKETS) for name in line.split(",")]
    if len(set(names)) != len(names):
        raise BadBill("two columns of the bill have one name")
    return names


def _row(names: list[str], line: str) -> Row:
    if not line.startswith("`"):
        raise BadBill("a row of the bill does not begin as one")
    values = line[1:].split(",`")
    if len(values) != len(names):
        raise BadBill("a row of the bill has another number of values than the header")
    return dict(zip(names, values, strict=True))


def amount(text: str) -> BillAmount:
    """A signed amount of a bill. Raises ValueError for everything that is not a plain decimal."""
    return BillAmount.parse(text)


def counted(text: str) -> int:
    """A count, which fund-flow bills print as 3.0. Raises ValueError."""
    return BillAmount.parse(text).minor("JPY")


def _agrees(total: str, parts: Iterator[str]) -> bool:
    """Whether amounts add up exactly."""
    wanted = amount(total)
    found = [amount(part) for part in parts]
    scale = max([wanted.scale, *(one.scale for one in found)])
    return _scaled(wanted, scale) == sum(_scaled(one, scale) for one in found)


def _scaled(one: BillAmount, scale: int) -> int:
    return int(one.digits * 10 ** (scale - one.scale))


def happened_at(text: str) -> int:
    """Microseconds of a time in a bill, which is Beijing time. Raises ValueError."""
    if _TIME.fullmatch(text) is None:
        raise ValueError("not a time of a bill")
    return int(datetime.fromisoformat(text).replace(tzinfo=BEIJING).timestamp()) * SECOND


def ready_at(day: str) -> int:
    """When the bill of a day is there at the latest: at 10:00 of the next. Raises BadBill for what is no day."""
    try:
        return happened_at(f"{day} 00:00:00") + 34 * 3600 * SECOND
    except ValueError:
        raise BadBill("not a day") from None


# ---------------------------------------------------------------------------------------------- the trade bill

_TRADE_SUMS = {
    "应结订单总金额": "应结订单金额",
    "退款总金额": "退款金额",
    "充值券退款总金额": "充值券退款金额",
    "手续费总金额": "手续费",
    "订单总金额": "订单金额",
    "申请退款总金额": "申请退款金额",
}


def _check_trades(bill: Bill) -> None:
    try:
        if counted(bill.totals["总交易单数"]) != len(bill.rows):
            raise BadBill("the bill has another number of rows than its total says")
        for total, column in _TRADE_SUMS.items():
            if total in bill.totals and not _agrees(bill.totals[total], (row[column] for row in bill.rows)):
                raise BadBill(f"the bill's rows do not add up to its {total}")
    except (KeyError, ValueError) as error:
        raise error if isinstance(error, BadBill) else BadBill("the totals of the bill cannot be read") from error


def _trade_line(row: Row) -> StatementLine:
    """A payment by the amount of its order, or a refund by the amount that was applied for: what our books have too."""
    is_payment = row["交易状态"] == "SUCCESS"
    moved = amount(row["订单金额"] if is_payment else row["申请退款金额"])
    return StatementLine(
        kind=LineKind.PAYMENT if is_payment else LineKind.REFUND,
        amount=moved if is_payment else _negative(moved),
        currency=row["货币种类"],
        payment_id=row["商户订单号"],
        refund_id="" if is_payment else _number(row["商户退款单号"]),
        channel_trade_no=row["微信订单号"],
        channel_refund_no="" if is_payment else _number(row["微信退款单号"]),
        fee=amount(row["手续费"]),
        happened_at=happened_at(row["交易时间"]),
        columns=row,
    )


def _negative(one: BillAmount) -> BillAmount:
    return BillAmount(-one.digits, one.scale)


def _number(text: str) -> str:
    """A number of a row; 0 stands where there is none."""
    return "" if text == "0" else text


# ---------------------------------------------------------------------------------------------- the fund-flow bill

_FLOW_KINDS = {"交易": LineKind.PAYMENT, "退款": LineKind.REFUND, "扣除交易手续费": LineKind.FEE}


def _check_flows(bill: Bill) -> None:
    income = [row for row in bill.rows if row.get("收支类型") == "收入"]
    expense = [row for row in bill.rows if row.get("收支类型") == "支出"]
    counts = {"资金流水总笔数": len(bill.rows), "收入笔数": len(income), "支出笔数": len(expense)}
    sums = {"收入金额": income, "支出金额": expense}
    try:
        is_whole = len(income) + len(expense) == len(bill.rows)
        is_whole = is_whole and all(counted(bill.totals[name]) == count for name, count in counts.items())
        is_whole = is_whole and all(
            _agrees(bill.totals[name], (row["收支金额(元)"] for row in rows)) for name, rows in sums.items()
        )
    except (KeyError, ValueError) as error:
        raise BadBill("the totals of the bill cannot be read") from error
    if not is_whole:
        raise BadBill("the bill's rows do not add up to its totals")


def _flow_line(row: Row) -> StatementLine:
    kind = _FLOW_KINDS.get(row["业务类型"], LineKind.OTHER)
    moved = amount(row["收支金额(元)"])
    voucher, channel_no = row["业务凭证号"], row["微信支付业务单号"]
    is_refund = kind is LineKind.REFUND
    return StatementLine(
        kind=kind,
        amount=moved if row["收支类型"] == "收入" else _negative(moved),
        currency="CNY",
        payment_id=voucher if kind in (LineKind.PAYMENT, LineKind.FEE) else "",
        refund_id=voucher if is_refund else "",
        channel_trade_no="" if is_refund else channel_no,
        channel_refund_no=channel_no if is_refund else "",
        happened_at=happened_at(row["记账时间"]),
        columns=row,
    )


@dataclass(frozen=True, slots=True)
class _Reader:
    """How one sort of bill is checked and read."""

    check: Callable[[Bill], None]
    line: Callable[[Row], StatementLine]


_READERS: Mapping[str, _Reader] = {
    TRADE: _Reader(_check_trades, _trade_line),
    FUND_FLOW: _Reader(_check_flows, _flow_line),
}
