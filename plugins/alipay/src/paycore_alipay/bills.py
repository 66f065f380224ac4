"""Alipay's bills of a day: a ZIP of GBK files whose frame, end mark, counts and totals all have to agree.

Source: "alipay.data.dataservice.bill.downloadurl.query" and "账单字段说明". Amounts are signed yuan with up to five decimals, so
they have a parser of their own (`BillAmount`); the wire's money has at most two and no sign.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from paycore.channel import BillAmount, LineKind, Statement, StatementAsk, StatementLine
from paycore_alipay import wire
from paycore_alipay.wire import Unreadable

BILL_TYPES = {"trade": "trade", "ledger": "signcustomer"}
"""Our names of the two bills, and Alipay's."""
NO_BILL = frozenset({"isp.bill_not_exist", "BILL_NOT_EXIST", "NO_BILL_DATA", "isp.no_bill_data"})
"""Said for a day without a movement, and for one whose bill is not made yet."""

MAX_FILE_BYTES = 64 * 1024 * 1024
MAX_CONTENT_BYTES = 512 * 1024 * 1024
MOST_MEMBERS = 16
READY_AFTER_SECONDS = 10 * 3600
"""Alipay makes the bill of a day by ten in the morning after it."""

_SCALE = 8


# ---------------------------------------------------------------------------------------------- asking


def ready_at(day: str) -> int:
    """When Alipay has the bill of this day. Raises Unreadable for what is no day."""
    return wire.read_time(f"{day} 00:00:00") + (24 * 3600 + READY_AFTER_SECONDS) * wire.SECOND


def download_url(url: str, gateway: str) -> str:
    """The address of a file, which is fetched over TLS; or from the gateway itself, where that is a loopback simulator."""
    parts, ours = urlsplit(url), urlsplit(gateway)
    is_gateway = (parts.scheme, parts.netloc) == (ours.scheme, ours.netloc)
    if not url.isascii() or not parts.hostname or parts.username or not (parts.scheme == "https" or is_gateway):
        raise Unreadable("the address of the bill is not one to fetch from")
    return url


def empty(ask: StatementAsk, *, merchant: str) -> Statement:
    """The bill of a day without a movement."""
    return Statement(ask.statement, ask.day, merchant, ())


# ---------------------------------------------------------------------------------------------- the file


def read(body: bytes, ask: StatementAsk, *, merchant: str) -> Statement:
    """The bill in a file that was fetched. Raises Unreadable for one that is cut short, another's, or does not add up."""
    form = _FORMS[ask.statement]
    bill = _frame(_member(body, form.ending).splitlines(), form)
    _check_head(bill.head, ask, seller_id=merchant.rpartition("/")[2])
    rows = [_row(bill.columns, fields) for fields in csv.reader(bill.rows)]
    form.check(rows, "\n".join(bill.tail))
    return Statement(ask.statement, ask.day, merchant, tuple(form.line(row) for row in rows))


@dataclass(frozen=True, slots=True)
class _Bill:
    head: Sequence[str]
    columns: Sequence[str]
    rows: Sequence[str]
    tail: Sequence[str]


def _member(body: bytes, ending: str) -> str:
    """The text of the file in the ZIP whose name ends so. Names are GBK, without the flag that would say otherwise."""
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            infos = archive.infolist()
            wanted = [info for info in infos if _name_of(info).endswith(ending)]
            if len(infos) > MOST_MEMBERS or len(wanted) != 1 or wanted[0].file_size > MAX_CONTENT_BYTES:
                raise Unreadable("the file does not hold the bill")
            return archive.read(wanted[0]).decode("gbk")
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError, UnicodeError):
        raise Unreadable("the file is not a ZIP of a bill") from None


def _name_of(info: zipfile.ZipInfo) -> str:
    if info.flag_bits & 0x800:
        return info.filename
    return info.filename.encode("cp437").decode("gbk")


def _frame(lines: Sequence[str], form: _Form) -> _Bill:
    """The parts of a bill: `#` lines, the header, the rows, an end mark, `#` lines with the totals."""
    begins = [at for at, line in enumerate(lines) if _is_mark(line, f"{form.title}列表")]
    ends = [at for at, line in enumerate(lines) if _is_mark(line, f"{form.title}列表结束")]
    if len(begins) != 1 or len(ends) != 1 or ends[0] < begins[0] + 2:
        raise Unreadable("the bill has no begin or no end")
    begin, end = begins[0], ends[0]
    head, tail = lines[:begin], [line for line in lines[end + 1 :] if line]
    if not all(line.startswith("#") for line in (*head, *tail)):
        raise Unreadable("the bill's frame is broken")
    columns = [name.strip() for name in next(csv.reader([lines[begin + 1]]))]
    if not set(form.needed) <= set(columns) or len(set(columns)) != len(columns):
        raise Unreadable("the bill lacks columns")
    return _Bill(head, columns, lines[begin + 2 : end], tail)


def _is_mark(line: str, title: str) -> bool:
    return line.startswith("#-") and line.strip("#-") == title


def _row(columns: Sequence[str], fields: Sequence[str]) -> dict[str, str]:
    """A row by its columns; fields may end in a TAB, which keeps spreadsheets from rounding numbers."""
    if len(fields) != len(columns):
        raise Unreadable("a row of the bill has another number of fields than the bill has columns")
    return dict(zip(columns, (field.strip() for field in fields), strict=True))


_ACCOUNT = re.compile(r"#账号：\[([0-9]{16,32})\]")
_FROM = re.compile(r"起始日期：\[([0-9]{4})年([0-9]{2})月([0-9]{2})日 00:00:00\]")


def _check_head(head: Sequence[str], ask: StatementAsk, *, seller_id: str) -> None:
    text = "\n".join(head)
    account, begin = _ACCOUNT.search(text), _FROM.search(text)
    if account is None or not account[1].startswith(seller_id):
        raise Unreadable("the bill is another merchant's")
    if begin is None or "-".join(begin.groups()) != ask.day:
        raise Unreadable("the bill is of another day")


# ---------------------------------------------------------------------------------------------- amounts


def _amount(row: Mapping[str, str], name: str) -> BillAmount:
    try:
        return BillAmount.parse(row[name])
    except ValueError:
        raise Unreadable("a row of the bill has no amount where one is due") from None


def _sum(amounts: Iterable[BillAmount]) -> int:
    """The exact sum, in units of the finest scale that a bill may have."""
    return sum(amount.digits * 10 ** (_SCALE - amount.scale) for amount in amounts)


def _check_total(tail: str, pattern: str, amounts: Sequence[BillAmount]) -> None:
    """The line of the frame that counts and adds up these rows."""
    found = re.search(pattern, tail)
    try:
        agrees = found is not None and (int(found[1]), _sum([BillAmount.parse(found[2])])) == (
            len(amounts),
            _sum(amounts),
        )
    except ValueError:
        agrees = False
    if not agrees:
        raise Unreadable("the totals of the bill do not agree with its rows")


_TOTAL = r"([0-9]{1,9})笔，%s共(-?[0-9.]{1,24})元"


# ---------------------------------------------------------------------------------------------- the two bills


def _trade_line(row: dict[str, str]) -> StatementLine:
    """业务明细: what payers paid and got back, by the price of the order; what the merchant got of it is in the columns."""
    return StatementLine(
        kind={"交易": LineKind.PAYMENT, "退款": LineKind.REFUND}.get(row["业务类型"], LineKind.OTHER),
        amount=_amount(row, "订单金额（元）"),
        currency=wire.CURRENCY,
        payment_id=row["商户订单号"],
        refund_id=row["退款批次号/请求号"] if row["业务类型"] == "退款" else "",
        channel_trade_no=row["支付宝交易号"],
        fee=_amount(row, "服务费（元）"),
        happened_at=wire.read_time(row["完成时间"]),
        columns=row,
    )


def _check_trades(rows: Sequence[dict[str, str]], tail: str) -> None:
    for kind, label, what in (("交易", "交易合计", "商家实收"), ("退款", "退款合计", "商家实收退款")):
        amounts = [_amount(row, "商家实收（元）") for row in rows if row["业务类型"] == kind]
        _check_total(tail, f"#{label}：" + _TOTAL % what, amounts)


_LEDGER_KINDS = {
    **dict.fromkeys(("在线支付", "交易付款", "当面付"), LineKind.PAYMENT),
    **dict.fromkeys(("交易退款", "退款（交易退款）"), LineKind.REFUND),
    **dict.fromkeys(("收费", "服务费", "交易服务费"), LineKind.FEE),
}


def _ledger_line(row: dict[str, str]) -> StatementLine:
    """账务明细: what came into the merchant's balance (positive) and what left it (negative)."""
    income, expense = _amount(row, "收入金额（+元）"), _amount(row, "支出金额（-元）")
    return StatementLine(
        kind=_LEDGER_KINDS.get(row["业务类型"], LineKind.OTHER),
        amount=income if income.digits else expense,
        currency=wire.CURRENCY,
        payment_id=row["商户订单号"],
        channel_trade_no=row["业务流水号"],
        channel_refund_no="",
        happened_at=wire.read_time(row["发生时间"]),
        columns=row,
    )


def _check_ledger(rows: Sequence[dict[str, str]], tail: str) -> None:
    for label, name in (("支出合计", "支出金额（-元）"), ("收入合计", "收入金额（+元）")):
        amounts = [amount for row in rows if (amount := _amount(row, name)).digits]
        _check_total(tail, f"#{label}：" + _TOTAL % "", amounts)


@dataclass(frozen=True, slots=True)
class _Form:
    """What one of the bills looks like, and how it is read."""

    title: str
    ending: str
    needed: Sequence[str]
    line: Callable[[dict[str, str]], StatementLine]
    check: Callable[[Sequence[dict[str, str]], str], None]


TRADE_COLUMNS = (
    "支付宝交易号,商户订单号,业务类型,商品名称,创建时间,完成时间,门店编号,门店名称,操作员,终端号,对方账户,订单金额（元）,商家实收（元）,"
    "支付宝红包（元）,集分宝（元）,支付宝优惠（元）,商家优惠（元）,券核销金额（元）,券名称,商家红包消费金额（元）,卡消费金额（元）,"
    "退款批次号/请求号,服务费（元）,分润（元）,备注"
).split(",")
LEDGER_COLUMNS = (
    "账务流水号,业务流水号,商户订单号,商品名称,发生时间,对方账号,收入金额（+元）,支出金额（-元）,账户余额（元）,交易渠道,业务类型,备注"
).split(",")

_FORMS = {
    "trade": _Form(
        title="业务明细",
        ending="_业务明细.csv",
        needed=(
            *("支付宝交易号", "商户订单号", "业务类型", "完成时间", "订单金额（元）", "商家实收（元）"),
            *("退款批次号/请求号", "服务费（元）"),
        ),
        line=_trade_line,
        check=_check_trades,
    ),
    "ledger": _Form(
        title="账务明细",
        ending="_账务明细.csv",
        needed=("业务流水号", "商户订单号", "发生时间", "收入金额（+元）", "支出金额（-元）", "业务类型"),
        line=_ledger_line,
        check=_check_ledger,
    ),
}
