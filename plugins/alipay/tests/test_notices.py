"""What comes in from Alipay, and from those who would like to be Alipay."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paycore.channel import (
    AboutPayment,
    ChannelRefund,
    Closed,
    Forged,
    KeyState,
    Notice,
    Paid,
    RawNotice,
    Unknown,
    Waiting,
)
from paycore_alipay import signing, wire
from paycore_alipay.channel import MAX_NOTICE_BYTES, AlipayChannel
from paycore_alipay.simulator import MERCHANTS, NoticeFault

from .support import BASE, NOW, PAYMENT, REFUND, SECOND, World, account_of, open_with, raw, refund, version_of

MERCHANT = f"{MERCHANTS[0].app_id}/{MERCHANTS[0].seller_id}"


def said(notice: Notice) -> Any:
    """The one finding of a notice."""
    [about] = notice.findings
    assert isinstance(about, AboutPayment)
    assert about.payment_id == PAYMENT
    return about.finding


def genuine(
    world: World, changes: dict[str, str], *, without: tuple[str, ...] = (), charset: str = "utf-8"
) -> RawNotice:
    """A notice of Alipay's with other words in it, signed by Alipay's own key."""
    base = {
        "app_id": MERCHANTS[0].app_id,
        "seller_id": MERCHANTS[0].seller_id,
        "charset": charset,
        "notify_id": "2026112200222193103081070500000001",
        "notify_type": "trade_status_sync",
        "out_trade_no": PAYMENT,
        "trade_no": "2026112222001481070500000001",
        "trade_status": "TRADE_SUCCESS",
        "total_amount": "128.00",
        "gmt_payment": "2026-11-23 03:30:03",
    }
    words = {name: value for name, value in (base | changes).items() if name not in without}
    pairs = [(name.encode(), value.encode(charset)) for name, value in words.items()]
    key = world.simulator._alipay_key(MERCHANTS[0])
    pairs += [(b"sign_type", b"RSA2"), (b"sign", signing.sign(key, signing.notice_bytes(pairs)).encode())]
    return posted(b"&".join(name + b"=" + escaped(value) for name, value in pairs))


def escaped(value: bytes) -> bytes:
    return "".join(chr(one) if chr(one).isalnum() and one < 128 else f"%{one:02X}" for one in value).encode()


def posted(body: bytes) -> RawNotice:
    return RawNotice("POST", "/v1/notices/ac1", {"content-type": "application/x-www-form-urlencoded"}, body)


@pytest.fixture
def paid(world: World) -> RawNotice:
    """The notice of a payment, as the simulator sends it."""
    ready: Any = world.hold(world.channel.prepare(world.payment()))
    world.simulator.accept(ready.plan_json, world.now)
    world.simulator.pay(PAYMENT, world.now)
    [notice] = world.notices()
    return raw(notice.request)


# ---------------------------------------------------------------------------------------------- what they say


def test_a_payment(world: World, paid: RawNotice) -> None:
    taken = world.channel.read_notice(paid, world.now)
    trade_no = world.simulator.books.trades[PAYMENT].trade_no
    assert said(taken) == Paid(12800, "CNY", MERCHANT, channel_trade_no=trade_no, paid_at=NOW)
    assert (taken.acknowledge.status, taken.acknowledge.body) == (200, b"success")
    assert len(taken.acknowledge.body) == 7


@pytest.mark.parametrize(
    ("changes", "finding"),
    [
        ({"trade_status": "WAIT_BUYER_PAY"}, Waiting),
        ({"trade_status": "TRADE_FINISHED"}, Paid),
        ({"trade_status": "TRADE_SOMETHING"}, Unknown),
        ({"total_amount": "1e2"}, Unknown),
        ({"total_amount": "100.001"}, Unknown),
        ({"total_amount": "NaN"}, Unknown),
        ({"total_amount": "1_000"}, Unknown),
        ({"total_amount": " 12 "}, Unknown),
        ({"total_amount": "+5"}, Unknown),
        ({"total_amount": "１２８"}, Unknown),
        ({"total_amount": ""}, Unknown),
        ({"total_amount": "0.00"}, Unknown),
        ({"total_amount": "-128.00"}, Unknown),
        ({"gmt_payment": "2026-11-23T03:30:03"}, Unknown),
        ({"gmt_payment": "2026-02-30 03:30:03"}, Unknown),
        ({"refund_fee": "-1.00", "out_biz_no": REFUND}, Unknown),
        ({"trans_currency": "BTC"}, Unknown),
        ({"trade_no": "x" * 65}, Unknown),
    ],
)
def test_a_genuine_notice_is_acknowledged_and_believed_only_as_far_as_it_can_be_read(
    world: World, changes: dict[str, str], finding: type
) -> None:
    taken = world.channel.read_notice(genuine(world, changes), NOW)
    assert isinstance(said(taken), finding)
    assert taken.acknowledge.body == b"success"


def test_closed_unpaid_and_refunded_in_full_are_told_apart(world: World) -> None:
    closed = genuine(
        world, {"trade_status": "TRADE_CLOSED", "gmt_close": "2026-11-23 04:00:00"}, without=("gmt_payment",)
    )
    assert said(world.channel.read_notice(closed, NOW)) == Closed()
    returned = genuine(world, {"trade_status": "TRADE_CLOSED"})
    found = said(world.channel.read_notice(returned, NOW))
    assert found.refunds == (ChannelRefund(12800, "", is_sum=True),)


def test_a_refund_of_ours_is_told_by_its_number(world: World) -> None:
    told = genuine(world, {"refund_fee": "30.00", "out_biz_no": REFUND, "gmt_refund": "2026-11-23 04:00:00.123"})
    found = said(world.channel.read_notice(told, NOW))
    assert found.refunds == (ChannelRefund(3000, REFUND, refund_id=REFUND, is_sum=True),)


def test_a_refund_of_the_console_is_told_by_alipays_number(world: World) -> None:
    world.pay()
    number = world.simulator.refund_in_console(PAYMENT, world.now, amount_minor=500)
    [told] = world.acknowledge_all()
    found = said(world.channel.read_notice(told, NOW))
    assert found.refunds == (ChannelRefund(500, number, refund_id=None, is_sum=True),)
    assert found.amount_minor == 12800


def test_a_zero_refund_fee_is_no_refund(world: World) -> None:
    assert said(world.channel.read_notice(genuine(world, {"refund_fee": "0.00"}), NOW)).refunds == ()


def test_a_notice_of_something_else_is_acknowledged_and_says_nothing(world: World) -> None:
    for changes in ({"notify_type": "open_app_auth_notify"}, {"out_trade_no": ""}):
        assert world.channel.read_notice(genuine(world, changes), NOW).findings == ()


def test_empty_values_are_part_of_what_is_signed(world: World) -> None:
    assert isinstance(said(world.channel.read_notice(genuine(world, {"body": "", "point_amount": ""}), NOW)), Paid)


def test_a_notice_in_gbk_is_read_in_gbk(world: World) -> None:
    told = genuine(world, {"subject": "云音乐会员 1 个月"}, charset="gbk")
    assert isinstance(said(world.channel.read_notice(told, NOW)), Paid)
    undecodable = genuine(world, {"subject": "é", "charset": "gbk"}, charset="latin-1")
    with pytest.raises(Forged):
        world.channel.read_notice(undecodable, NOW)


def test_times_are_beijings_whatever_the_host_thinks(
    world: World, paid: RawNotice, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    for zone in ("UTC", "America/New_York", "Asia/Shanghai"):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        assert said(world.channel.read_notice(paid, world.now)).paid_at == NOW
        assert wire.time(NOW) == "2026-11-23 03:30:03"
    monkeypatch.undo()
    time.tzset()


# ---------------------------------------------------------------------------------------------- whose money


def test_a_success_for_another_merchant_names_that_merchant(world: World) -> None:
    for changes in ({"app_id": MERCHANTS[1].app_id}, {"seller_id": MERCHANTS[1].seller_id}):
        found = said(world.channel.read_notice(genuine(world, changes), NOW))
        assert found.merchant != world.channel.merchant


@pytest.mark.parametrize("status", ["WAIT_BUYER_PAY", "TRADE_CLOSED"])
def test_anything_else_about_another_merchant_is_refused(world: World, status: str) -> None:
    told = genuine(world, {"trade_status": status, "seller_id": MERCHANTS[1].seller_id}, without=("gmt_payment",))
    with pytest.raises(Forged):
        world.channel.read_notice(told, NOW)


# ---------------------------------------------------------------------------------------------- who is not Alipay


def test_every_byte_of_a_notice_counts(world: World, paid: RawNotice) -> None:
    """Each byte is changed to its neighbours, to another case, to what means the same in a form, and left out."""
    for place, byte in enumerate(paid.body):
        for other in {byte ^ 1, byte ^ 0x20, byte ^ 0x80, *b" +%&="} - {byte}:
            changed = paid.body[:place] + bytes([other]) + paid.body[place + 1 :]
            with pytest.raises(Forged):
                world.channel.read_notice(posted(changed), world.now)
        with pytest.raises(Forged):
            world.channel.read_notice(posted(paid.body[:place] + paid.body[place + 1 :]), world.now)


def test_what_means_the_same_in_a_form_is_refused_too(world: World, paid: RawNotice) -> None:
    spellings = (
        paid.body.replace(b"%3A", b"%3a", 1),
        paid.body.replace(b"+", b"%20", 1).replace(b"%20", b" ", 1),
        paid.body + b"&",
        b"&" + paid.body,
        paid.body.replace(b"&", b"&&", 1),
        paid.body + b"&sign_type=RSA2",
        paid.body + b"&total_amount=0.01",
        b"total_amount=0.01&" + paid.body,
        paid.body.replace(b"total_amount", b"%74otal_amount", 1) + b"&total_amount=0.01",
        paid.body.replace(b"sign=", b"sign=%20", 1),
        paid.body + b"\r\n",
    )
    for body in spellings:
        with pytest.raises(Forged):
            world.channel.read_notice(posted(body), world.now)


def is_taken(world: World, notice: RawNotice) -> bool:
    try:
        world.channel.read_notice(notice, world.now)
    except Forged:
        return False
    return True


def test_the_forgeries_of_the_simulator(world: World) -> None:
    world.pay()
    world.simulator.refund_in_console(PAYMENT, world.now, amount_minor=500)
    [notice] = world.notices()
    assert world.channel.read_notice(raw(notice.request), world.now).findings
    for name, forged in world.simulator.forgeries(notice.request, world.now).items():
        assert not is_taken(world, raw(forged)), name


def test_a_forged_notice_of_the_simulator_is_refused(world: World) -> None:
    world.simulator.faults.plan_notice(NoticeFault.FORGED)
    ready: Any = world.hold(world.channel.prepare(world.payment()))
    world.simulator.accept(ready.plan_json, world.now)
    world.simulator.pay(PAYMENT, world.now)
    [notice] = world.notices()
    with pytest.raises(Forged):
        world.channel.read_notice(raw(notice.request), world.now)


def test_only_a_post_of_a_decent_size_is_read(world: World, paid: RawNotice) -> None:
    for method in ("GET", "PUT", "HEAD"):
        with pytest.raises(Forged):
            world.channel.read_notice(RawNotice(method, paid.path, paid.headers, paid.body), world.now)
    with pytest.raises(Forged):
        world.channel.read_notice(posted(paid.body + b"&x=" + b"y" * MAX_NOTICE_BYTES), world.now)
    with pytest.raises(Forged):
        world.channel.read_notice(posted(b"&".join(b"a%d=" % at for at in range(300))), world.now)


RUBBISH = World().channel


@given(st.one_of(st.binary(max_size=400), st.text(max_size=200).map(str.encode)))
@settings(max_examples=300, deadline=None)
def test_rubbish_is_forged_and_nothing_worse(body: bytes) -> None:
    with pytest.raises(Forged):
        RUBBISH.read_notice(posted(body), NOW)


@given(st.text(max_size=40), st.text(max_size=40))
@settings(max_examples=200, deadline=None)
def test_a_signature_of_any_letters_is_refused(signature: str, sign_type: str) -> None:
    form = wire.write_form({"out_trade_no": PAYMENT, "sign": signature, "sign_type": sign_type or "RSA2"})
    with pytest.raises(Forged):
        RUBBISH.read_notice(posted(form.encode()), NOW)


def test_many_mutations_of_a_notice(world: World, paid: RawNotice) -> None:
    """Three thousand seeded mutations of several bytes each: none is taken."""
    chance = random.Random(7)
    for _ in range(3000):
        body = bytearray(paid.body)
        for _ in range(chance.randint(1, 4)):
            place = chance.randrange(len(body))
            body[place] = chance.choice([chance.randrange(256), chance.choice(b"0123456789ABCDEFabcdef%+&=")])
        if bytes(body) == paid.body:
            continue
        with pytest.raises(Forged):
            world.channel.read_notice(posted(bytes(body)), world.now)


# ---------------------------------------------------------------------------------------------- keys that change


def test_old_notices_verify_by_old_versions(world: World) -> None:
    """Alipay's own key changed: the newer version holds the new one, the older still reads what was signed before."""
    paid = genuine(world, {})
    old = version_of(world.simulator.settings(BASE), 1, KeyState.VERIFY_ONLY)
    newer = World().simulator.settings(BASE)
    new = version_of(newer, 2)
    both = AlipayChannel(account_of(new, old, signing=new))
    assert isinstance(said(both.read_notice(paid, NOW)), Paid)
    with pytest.raises(Forged):
        open_with(newer).read_notice(paid, NOW)


def test_an_account_that_only_verifies_reads_notices_and_says_nothing(world: World) -> None:
    paid = genuine(world, {})
    old = version_of(world.simulator.settings(BASE), 1, KeyState.VERIFY_ONLY)
    deaf = AlipayChannel(account_of(old))
    assert isinstance(said(deaf.read_notice(paid, NOW)), Paid)
    with pytest.raises(ValueError, match="no key version that signs"):
        next(deaf.query(world.payment()))


def test_a_replay_says_the_same(world: World, paid: RawNotice) -> None:
    assert world.channel.read_notice(paid, world.now) == world.channel.read_notice(paid, world.now + 60 * SECOND)


def test_a_notice_about_our_refund_and_one_of_the_console(world: World) -> None:
    """The sums are Alipay's; which parts of them are ours is the core's to say."""
    world.pay()
    world.hold(world.channel.refund(refund(amount_minor=1000)))
    world.simulator.refund_in_console(PAYMENT, world.now, amount_minor=500)
    told = [said(world.channel.read_notice(one, world.now)).refunds[0] for one in world.acknowledge_all()]
    assert [(one.amount_minor, one.refund_id) for one in told] == [(1000, REFUND), (1500, None)]
