"""Alipay's account of a day, fetched and read whole or not at all."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable

import pytest

from paycore.channel import LineKind, Reply, Statement, StatementFinding, StatementNotReady, Unknown
from paycore.engine.soundness import check_statement
from paycore_alipay import bills
from paycore_alipay.simulator import Fault
from paycore_alipay.wire import Unreadable

from .support import BASE, DAY, MINUTE, NOW, PAYMENT, REFUND, World

TODAY = "2026-11-23"
"""The day of NOW in Beijing; in Greenwich it is still the 22nd."""


@pytest.fixture
def moved(world: World) -> World:
    """A day on which 128.00 were paid, 30.00 went back and somebody refunded 5.00 in the console; and the next afternoon."""
    world.pay(subject='Tickets, "two" 张')
    world.hold(world.channel.refund(world.refund()))
    world.simulator.refund_in_console(PAYMENT, world.now, amount_minor=500)
    world.now += DAY
    world.now += 12 * 60 * MINUTE
    return world


def statement(
    world: World, name: str, day: str = TODAY, spoil: Callable[[Reply], Reply] = lambda one: one
) -> StatementFinding:
    return check_statement(world.hold(world.channel.statement(world.statement(name, day)), spoil))


def lines(found: StatementFinding) -> list[tuple[LineKind, int, str]]:
    assert isinstance(found, Statement), found
    return [(line.kind, line.amount.minor(line.currency), line.payment_id) for line in found.lines]


@pytest.mark.parametrize("name", ["trade", "ledger"])
def test_a_day(moved: World, name: str) -> None:
    assert lines(statement(moved, name)) == [
        (LineKind.PAYMENT, 12800, PAYMENT),
        (LineKind.REFUND, -3000, PAYMENT),
        (LineKind.REFUND, -500, PAYMENT),
    ]


def test_a_line_says_whose_refund_it_is_and_what_it_cost(moved: World) -> None:
    found = statement(moved, "trade")
    assert isinstance(found, Statement)
    payment, ours, theirs = found.lines
    assert (ours.refund_id, theirs.refund_id.isdigit()) == (REFUND, True)
    assert payment.fee is not None
    assert (str(payment.fee), payment.happened_at) == ("-0.77", NOW)
    assert payment.columns["商品名称"] == "Tickets   two  张"


def test_a_day_without_a_movement(moved: World) -> None:
    for name in ("trade", "ledger"):
        assert lines(statement(moved, name, "2026-11-01")) == []


def test_a_day_that_is_not_over_or_not_made_yet(moved: World) -> None:
    assert isinstance(statement(moved, "trade", "2026-11-24"), StatementNotReady)
    moved.now += DAY
    assert lines(statement(moved, "trade", "2026-11-24")) == []


def test_the_address_is_used_at_once_and_read_in_full(moved: World) -> None:
    statement(moved, "trade")
    fetch = moved.sent[-1]
    assert (fetch.method, fetch.max_reply_bytes) == ("GET", bills.MAX_FILE_BYTES)
    moved.now += MINUTE
    assert moved.simulator.handle(fetch, moved.now) == Reply(403, {"content-type": "text/plain"}, b"expired")


@pytest.mark.parametrize("fault", [Fault.UNSIGNED, Fault.BADLY_SIGNED, Fault.SYSTEM_ERROR, Fault.TRUNCATED])
def test_a_doubtful_answer_fetches_nothing(moved: World, fault: Fault) -> None:
    moved.sent.clear()
    moved.simulator.faults.plan(fault)
    assert isinstance(statement(moved, "trade"), Unknown)
    assert len(moved.sent) == 1


# ---------------------------------------------------------------------------------------------- files that are none


def rewritten(change: Callable[[str], str]) -> Callable[[Reply], Reply]:
    """The bill's own file with its text changed; everything else as it was."""

    def spoil(reply: Reply) -> Reply:
        if not reply.body.startswith(b"PK"):
            return reply
        made = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(reply.body)) as old, zipfile.ZipFile(made, "w") as new:
            for info in old.infolist():
                text = old.read(info).decode("gbk")
                name = info.filename.encode("cp437").decode("gbk")
                new.writestr(name, (change(text) if "汇总" not in name else text).encode("gbk"))
        return Reply(reply.status, reply.headers, made.getvalue())

    return spoil


def without(word: str) -> Callable[[str], str]:
    return lambda text: "".join(line for line in text.splitlines(keepends=True) if word not in line)


@pytest.mark.parametrize("name", ["trade", "ledger"])
def test_a_file_in_utf8_named_zip_is_read_too(moved: World, name: str) -> None:
    assert lines(statement(moved, name, spoil=rewritten(lambda text: text)))


@pytest.mark.parametrize("name", ["trade", "ledger"])
@pytest.mark.parametrize(
    "change",
    [
        without("列表结束"),
        without("合计"),
        without("#账号"),
        without("起始日期"),
        without("商户订单号"),
        without("30.00"),
        lambda text: text.replace(",128.00", ",128.01"),
        lambda text: text.replace("-30.00", "+30.00"),
        lambda text: text.replace("-30.00", "-30.000000001"),
        lambda text: text.replace("-30.00", "-3e1"),
        lambda text: text.replace("1笔", "2笔"),
        lambda text: text.replace("2088721000000001", "2088721000000002"),
        lambda text: text.replace("11月23日", "11月22日"),
        lambda text: text.replace("03:30:03", "03:30"),
        lambda text: text + "123,456\r\n",
        lambda text: text + text,
        lambda text: text[: len(text) // 2],
        lambda text: "",
    ],
)
def test_a_file_that_does_not_add_up_is_none(moved: World, name: str, change: Callable[[str], str]) -> None:
    assert isinstance(statement(moved, name, spoil=rewritten(change)), Unknown)


def at(body: bytes) -> int:
    """A place amid the compressed rows of the second file."""
    return body.rindex(b"PK\x03\x04") + 120


@pytest.mark.parametrize(
    "spoil",
    [
        lambda body: body[: len(body) // 2],
        lambda body: body[:-30],
        lambda body: b"",
        lambda body: b"PK\x03\x04" + b"\0" * 100,
        lambda body: b"<html>busy</html>",
        lambda body: body.replace(b"\xd2\xb5\xce\xf1", b"\xd5\xcb\xce\xf1"),
        lambda body: body[: at(body)] + bytes([body[at(body)] ^ 255]) + body[at(body) + 1 :],
    ],
)
def test_what_is_no_bill_is_none(moved: World, spoil: Callable[[bytes], bytes]) -> None:
    def spoilt(reply: Reply) -> Reply:
        return Reply(reply.status, reply.headers, spoil(reply.body)) if reply.body.startswith(b"PK") else reply

    assert isinstance(statement(moved, "trade", spoil=spoilt), Unknown)


def test_an_error_of_the_bill_server_is_none(moved: World) -> None:
    def broken(reply: Reply) -> Reply:
        return Reply(502, {}, b"") if reply.body.startswith(b"PK") else reply

    assert isinstance(statement(moved, "trade", spoil=broken), Unknown)


@pytest.mark.parametrize(
    "url",
    [
        "http://dwbillcenter.alipay.com/downloadBillFile.resource",
        "file:///etc/passwd",
        "ftp://x/y",
        "//x/y",
        "https://user@x/y",
        "https:///y",
        "https://例子/y",
        "",
    ],
)
def test_a_file_is_fetched_from_nowhere_else(url: str) -> None:
    with pytest.raises(Unreadable):
        bills.download_url(url, f"{BASE}/gateway.do")
    assert bills.download_url("https://dwbillcenter.alipay.com/x?y=1", f"{BASE}/gateway.do")
    assert bills.download_url("http://127.0.0.1:8901/bill/1", "http://127.0.0.1:8901/alipay/gateway.do")
