"""The bills that Alipay makes of a day, from its own books: ZIP, GBK, CRLF, as its merchants download them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from paycore_alipay import wire
from paycore_alipay.bills import LEDGER_COLUMNS, TRADE_COLUMNS
from paycore_alipay.simulator.books import Trade

FEE_PER_MILLE = 6


@dataclass(frozen=True, slots=True)
class _Move:
    """One movement of a day: a payment (positive) or a refund (negative)."""

    at: int
    trade: Trade
    amount_minor: int
    refund_no: str = ""


def make(bill_type: str, day: str, trades: Iterable[Trade], seller_id: str) -> bytes | None:
    """The file of this day, or None when nothing moved."""
    moves = sorted(_moves(day, trades), key=lambda move: (move.at, move.trade.trade_no))
    if not moves:
        return None
    title, columns = ("业务明细", TRADE_COLUMNS) if bill_type == "trade" else ("账务明细", LEDGER_COLUMNS)
    rows = [_trade_row(move) for move in moves] if bill_type == "trade" else _ledger_rows(moves)
    tail = _trade_totals(moves) if bill_type == "trade" else _ledger_totals(moves)
    account = f"{seller_id}0156"
    lines = [*_head(title, account, day), ",".join(columns), *rows, _mark(f"{title}列表结束"), *tail]
    files = {f"{account}_{day.replace('-', '')}_{title}.csv": [*lines, f"#导出时间：[{_date(day, 1)} 09:00:00]"]}
    if bill_type == "trade":
        files = {f"{account}_{day.replace('-', '')}_业务明细(汇总).csv": ["#支付宝业务汇总查询"], **files}
    return _zip(files)


def _moves(day: str, trades: Iterable[Trade]) -> Iterable[_Move]:
    begin = wire.read_time(f"{day} 00:00:00")
    end = begin + 24 * 3600 * wire.SECOND
    for trade in trades:
        if trade.paid_at is not None and begin <= trade.paid_at < end:
            yield _Move(trade.paid_at, trade, trade.taken_minor)
        for refund in trade.refunds:
            if refund.refunded_at is not None and begin <= refund.refunded_at < end:
                yield _Move(refund.refunded_at, trade, -refund.amount_minor, refund.out_request_no)


def _head(title: str, account: str, day: str) -> list[str]:
    span = f"#起始日期：[{_date(day, 0)} 00:00:00]   终止日期：[{_date(day, 1)} 00:00:00]"
    return [f"#支付宝{title}查询", f"#账号：[{account}]", span, _mark(f"{title}列表")]


def _date(day: str, later: int) -> str:
    text = wire.time(wire.read_time(f"{day} 00:00:00") + later * 24 * 3600 * wire.SECOND)
    return f"{text[:4]}年{text[5:7]}月{text[8:10]}日"


def _mark(title: str) -> str:
    return f"#{'-' * 41}{title}{'-' * 40}"


def _yuan(minor: int) -> str:
    return wire.money(minor)


def _fee(move: _Move) -> int:
    """0.6 % in the other direction, to the nearest fen."""
    whole = (abs(move.amount_minor) * FEE_PER_MILLE + 500) // 1000
    return -whole if move.amount_minor > 0 else whole


def _text(text: str) -> str:
    """A field of a bill: no comma, no quote, nothing that GBK lacks."""
    plain = "".join(" " if mark in ',"\r\n' else mark for mark in text)
    return plain.encode("gbk", "replace").decode("gbk")


def _trade_row(move: _Move) -> str:
    trade, amount = move.trade, _yuan(move.amount_minor)
    kind = "退款" if move.amount_minor < 0 else "交易"
    times = [wire.time(trade.created_at), wire.time(move.at)]
    nothing = ["0.00"] * 5
    fields = [f"{trade.trade_no}\t", f"{trade.out_trade_no}\t", kind, _text(trade.subject), *times, "", "", "", ""]
    fields += ["*三(138****0001)", amount, amount, *nothing, "", "0.00", "0.00", move.refund_no]
    return ",".join([*fields, _yuan(_fee(move)), "0.00", ""])


def _ledger_rows(moves: Sequence[_Move]) -> list[str]:
    rows, balance = [], 1_000_000
    for place, move in enumerate(moves, start=1):
        trade = move.trade
        balance += move.amount_minor
        income, expense = max(move.amount_minor, 0), min(move.amount_minor, 0)
        kind = "交易退款" if move.amount_minor < 0 else "在线支付"
        numbers = [f"5463244653{place:04d}\t", f"{trade.trade_no}\t", f"{trade.out_trade_no}\t"]
        sums = [_yuan(income), _yuan(expense), _yuan(balance)]
        rows.append(",".join([*numbers, _text(trade.subject), wire.time(move.at), "*三", *sums, "支付宝", kind, ""]))
    return rows


def _trade_totals(moves: Sequence[_Move]) -> list[str]:
    paid, back = _split(moves)
    return [
        f"#交易合计：{len(paid)}笔，商家实收共{_yuan(sum(paid))}元，商家优惠共0.00元",
        f"#退款合计：{len(back)}笔，商家实收退款共{_yuan(sum(back))}元，商家优惠退款共0.00元",
    ]


def _ledger_totals(moves: Sequence[_Move]) -> list[str]:
    paid, back = _split(moves)
    return [f"#支出合计：{len(back)}笔，共{_yuan(sum(back))}元", f"#收入合计：{len(paid)}笔，共{_yuan(sum(paid))}元"]


def _split(moves: Sequence[_Move]) -> tuple[list[int], list[int]]:
    amounts = [move.amount_minor for move in moves]
    return [one for one in amounts if one > 0], [one for one in amounts if one < 0]


class _GbkInfo(zipfile.ZipInfo):
    """A member whose name is GBK without the flag that says which charset it is in, as Alipay writes it."""

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:  # noqa: N802 - zipfile's own name
        return self.filename.encode("gbk"), self.flag_bits & ~0x800


def _zip(files: dict[str, list[str]]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, lines in files.items():
            text = "".join(f"{line}\r\n" for line in lines)
            archive.writestr(_GbkInfo(name), text.encode("gbk"), zipfile.ZIP_DEFLATED)
    return made.getvalue()
