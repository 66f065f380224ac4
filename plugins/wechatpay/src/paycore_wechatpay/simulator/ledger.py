"""The bills of a day, written from the books as WeChat Pay writes them. Source: "Apply for the trade bill", "... fund-flow bill"."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from paycore.channel import format_major
from paycore_wechatpay import bills, wire
from paycore_wechatpay.bills import FUND_FLOW, TRADE
from paycore_wechatpay.simulator.books import DAY, TRADE_TYPES, Books, Refund, Trade

_TRADE_COLUMNS = (
    "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,应结订单金额,"
    "代金券金额,微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,商户数据包,手续费,费率,订单金额,申请退款金额,费率备注"
)
_TRADE_TOTALS = "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额"
_FLOW_COLUMNS = "记账时间,微信支付业务单号,资金流水单号,业务名称,业务类型,收支类型,收支金额(元),账户结余(元),资金变更提交申请人,备注,业务凭证号"
_FLOW_TOTALS = "资金流水总笔数,收入笔数,收入金额,支出笔数,支出金额"


@dataclass(frozen=True, slots=True)
class Moved:
    """Something that happened to money on a day."""

    at: int
    trade: Trade
    refund: Refund | None = None


@dataclass(frozen=True, slots=True)
class File:
    """A bill: packed, and the hash of what is inside."""

    packed: bytes
    sha1: str


def bill_of(books: Books, statement: str, day: str, mchid: str) -> File | None:
    """The bill of a day; None when nothing moved. Raises ValueError for what is no day."""
    begin = bills.happened_at(f"{day} 00:00:00")
    moved = sorted((one for one in _movements(books, mchid) if begin <= one.at < begin + DAY), key=lambda one: one.at)
    if not moved:
        return None
    text = _trade_bill(moved) if statement == TRADE else _flow_bill(moved)
    plain = b"\xef\xbb\xbf" + text.encode("utf-8")
    return File(gzip.compress(plain, mtime=0), hashlib.sha1(plain, usedforsecurity=False).hexdigest())


STATEMENTS = {"tradebill": TRADE, "fundflowbill": FUND_FLOW}


def _movements(books: Books, mchid: str) -> Iterator[Moved]:
    for trade in books.trades.values():
        if trade.mchid == mchid and trade.paid_at is not None:
            yield Moved(trade.paid_at, trade)
            yield from (Moved(one.created_at, trade, one) for one in trade.refunds if one.counts)


def _yuan(amount_minor: int) -> str:
    return format_major(amount_minor, "CNY")


def _fee(amount_minor: int) -> int:
    """0.6 %, rounded to the fen."""
    return (amount_minor * 6 + 500) // 1000


def _row(values: Iterable[str]) -> str:
    return ",".join(f"`{value}" for value in values)


def _time(at: int) -> str:
    return wire.moment(at)[:19].replace("T", " ")


# ---------------------------------------------------------------------------------------------- trades


def _trade_bill(moved: list[Moved]) -> str:
    payments = sum(one.trade.taken_minor for one in moved if one.refund is None)
    refunds = sum(one.refund.amount_minor for one in moved if one.refund is not None)
    fees = sum(_fee(one.trade.taken_minor) if one.refund is None else -_fee(one.refund.amount_minor) for one in moved)
    totals = (
        str(len(moved)),
        _yuan(payments),
        _yuan(refunds),
        "0.00",
        f"{_yuan(fees)}000",
        _yuan(payments),
        _yuan(refunds),
    )
    return "\r\n".join([_TRADE_COLUMNS, *map(_trade_row, moved), _TRADE_TOTALS, _row(totals), ""])


def _trade_row(moved: Moved) -> str:
    trade, refund = moved.trade, moved.refund
    paid, back = (trade.taken_minor, 0) if refund is None else (0, refund.amount_minor)
    return _row(
        (
            _time(moved.at),
            trade.order.appid,
            trade.mchid,
            "0",
            "",
            trade.transaction_id,
            trade.out_trade_no,
            trade.order.openid,
            TRADE_TYPES[trade.order.method],
            "SUCCESS" if refund is None else "REFUND",
            "OTHERS",
            trade.order.currency,
            _yuan(paid),
            "0.00",
            refund.refund_id if refund else "0",
            refund.out_refund_no if refund else "0",
            _yuan(back),
            "0.00",
            "ORIGINAL" if refund else "",
            refund.state if refund else "",
            trade.order.description,
            "",
            f"{_yuan(_fee(paid) - _fee(back))}000",
            "0.60%",
            _yuan(paid),
            _yuan(back),
            "",
        )
    )


# ---------------------------------------------------------------------------------------------- fund flow


def _flow_bill(moved: list[Moved]) -> str:
    flows = [flow for one in moved for flow in _flows(one)]
    income = [amount for is_in, amount, _ in flows if is_in]
    expense = [amount for is_in, amount, _ in flows if not is_in]
    counts = (f"{len(flows)}.0", f"{len(income)}.0", _yuan(sum(income)), f"{len(expense)}.0", _yuan(sum(expense)))
    rows = [row for _, _, row in flows]
    return "\r\n".join([_FLOW_COLUMNS, *rows, _FLOW_TOTALS, _row(counts), ""])


def _flows(moved: Moved) -> Iterator[tuple[bool, int, str]]:
    """What an account sees of a movement: whether money came in, how much, and the row."""
    trade, refund = moved.trade, moved.refund
    if refund is not None:
        yield _flow(moved, refund.refund_id, "退款", "退款", False, refund.amount_minor, refund.out_refund_no)
        return
    yield _flow(moved, trade.transaction_id, "交易", "交易", True, trade.taken_minor, trade.out_trade_no)
    if fee := _fee(trade.taken_minor):
        yield _flow(moved, trade.transaction_id, "交易", "扣除交易手续费", False, fee, trade.out_trade_no)


def _flow(
    moved: Moved, number: str, name: str, kind: str, is_in: bool, amount: int, voucher: str
) -> tuple[bool, int, str]:
    direction = "收入" if is_in else "支出"
    values = (
        _time(moved.at),
        number,
        f"{moved.trade.mchid}{number[-16:]}",
        name,
        kind,
        direction,
        _yuan(amount),
        "0.00",
        "system",
        "",
        voucher,
    )
    return is_in, amount, _row(values)
