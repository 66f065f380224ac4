"""Requests and answers: what is signed, which host is asked, what an answer is worth, certificates, bills."""

from __future__ import annotations

import gzip
import hashlib
from typing import Any

import pytest

from paycore.channel import (
    AlreadyPaid,
    Closed,
    Declined,
    NotFound,
    Paid,
    PayerPaying,
    Ready,
    RefreshAsk,
    Refreshed,
    RefundNotFound,
    RefundProcessing,
    RefundRefused,
    RefundShort,
    Reply,
    Reversed,
    Secret,
    Silence,
    Statement,
    StatementAsk,
    StatementNotReady,
    Unknown,
    Waiting,
)
from paycore_bridge import Plan
from paycore_wechatpay import WechatPaySimulator, bills, certificates, signing, wire
from paycore_wechatpay.gateway import another_nonce
from paycore_wechatpay.simulator import Charge, Fault

from .support import BASE, DAY, HOUR, MINUTE, NOW, SECOND, World, open_channel, scripted

SILENCE = Silence("no answer")
REFUSED = Silence("no connection", was_sent=False)
BAD_GATEWAY = Reply(502, {}, b"<html>")


@pytest.fixture
def world() -> World:
    return World()


# ---------------------------------------------------------------------------------------------- requests


def test_a_request_carries_what_is_signed_and_no_more(world: World) -> None:
    request = next(world.channel.prepare(world.payment("app")))
    assert (request.method, request.url) == ("POST", f"{BASE}/v3/pay/transactions/app")
    assert wire.read(request.body) == {
        "appid": world.simulator.settings(BASE)["appid"],
        "mchid": "1900000109",
        "description": "Two tickets 两张票",
        "out_trade_no": "py0001",
        "time_expire": "2026-11-18T19:21:40+08:00",
        "notify_url": "https://shop.example/v1/notices/ac1",
        "amount": {"total": 12800, "currency": "CNY"},
    }
    assert request.headers["wechatpay-serial"].startswith("PUB_KEY_ID_")
    assert "authorization" in request.redact


def test_texts_are_cut_by_bytes_and_never_inside_a_character(world: World) -> None:
    request = next(world.channel.prepare(world.payment(subject="票" * 100)))
    assert wire.read(request.body)["description"] == "票" * 42
    request = next(world.channel.refund(world.refund(reason="退" * 50)))
    assert wire.read(request.body)["reason"] == "退" * 26


def test_a_barcode_payment_names_code_and_store_and_no_expiry(world: World) -> None:
    document = wire.read(next(world.channel.prepare(world.payment("codepay"))).body)
    assert document["payer"]["auth_code"].startswith("13")
    assert document["scene_info"] == {"store_info": {"out_id": "0001"}}
    assert not {"time_expire", "notify_url"} & document.keys()


def test_h5_names_the_payers_address_and_system(world: World) -> None:
    document = wire.read(next(world.channel.prepare(world.payment("h5"))).body)
    assert document["scene_info"] == {"payer_client_ip": "203.0.113.7", "h5_info": {"type": "iOS"}}
    finding, asked = scripted(world.channel.prepare(world.payment("h5", client={})))
    assert (type(finding), asked) == (Declined, [])


def test_methods_may_have_app_ids_of_their_own(world: World) -> None:
    own = {"appid_app": "wx1111111111", "appid_jsapi": "wx2222222222", "appid_mini_program": "wx3333333333"}
    channel = open_channel(dict(world.simulator.settings(BASE)) | own)
    for method, appid in zip(("app", "jsapi", "mini_program"), own.values(), strict=True):
        assert wire.read(next(channel.prepare(world.payment(method))).body)["appid"] == appid
    assert wire.read(next(channel.prepare(world.payment("native"))).body)["appid"] not in own.values()


# ---------------------------------------------------------------------------------------------- the backup


@pytest.mark.parametrize("trouble", [SILENCE, REFUSED, BAD_GATEWAY, Reply(503, {}, b""), Reply(504, {}, b"")])
def test_the_backup_is_asked_where_the_gateway_fails(world: World, trouble: Reply | Silence) -> None:
    world.pay_by_code()
    for verb in (world.channel.query, world.channel.close, world.channel.prepare):
        conversation = verb(world.payment())
        first = next(conversation)
        second = conversation.throw(trouble) if isinstance(trouble, Silence) else conversation.send(trouble)
        assert second.url == first.url.replace(BASE, f"{BASE}/api2")
        assert second.body == first.body, "the same number, the same content"
        assert second.headers["authorization"] != first.headers["authorization"]
        assert world.simulator.handle(second, world.now) is not None
    assert {call.is_at_backup for call in world.simulator.calls[1:]} == {True}


@pytest.mark.parametrize(("trouble", "asks"), [(SILENCE, 1), (BAD_GATEWAY, 1), (REFUSED, 2)])
def test_a_barcode_payment_that_may_have_been_heard_is_not_sent_again(
    world: World, trouble: Reply | Silence, asks: int
) -> None:
    troubles = [trouble] * 2
    try:
        finding, asked = scripted(world.channel.prepare(world.payment("codepay")), *troubles)
    except Silence as silence:
        was_sent, count = silence.was_sent, 2 if trouble is REFUSED else 1
    else:
        was_sent, count = isinstance(finding, Unknown), len(asked)
    assert (was_sent, count) == (trouble is not REFUSED, asks)


@pytest.mark.parametrize(
    ("first", "second", "was_sent"), [(SILENCE, REFUSED, True), (REFUSED, SILENCE, True), (REFUSED, REFUSED, False)]
)
def test_what_one_host_may_have_heard_was_sent(world: World, first: Silence, second: Silence, was_sent: bool) -> None:
    conversation = world.channel.refund(world.refund())
    next(conversation)
    conversation.throw(first)
    with pytest.raises(Silence) as raised:
        conversation.throw(second)
    assert raised.value.was_sent == was_sent


def test_the_real_gateway_has_its_backup_without_being_told(world: World) -> None:
    settings = {name: value for name, value in world.simulator.settings(BASE).items() if name != "backup_url"}
    conversation = open_channel(settings | {"base_url": "https://api.mch.weixin.qq.com"}).query(world.payment())
    assert next(conversation).url.startswith("https://api.mch.weixin.qq.com/v3/")
    assert conversation.throw(SILENCE).url.startswith("https://api2.mch.weixin.qq.com/v3/")
    elsewhere = open_channel(settings).query(world.payment())
    next(elsewhere)
    with pytest.raises(Silence):
        elsewhere.throw(SILENCE)


# ---------------------------------------------------------------------------------------------- answers


@pytest.mark.parametrize(
    "fault",
    [
        Fault.UNSIGNED,
        Fault.BADLY_SIGNED,
        Fault.UNKNOWN_SERIAL,
        Fault.TRUNCATED,
        Fault.EMPTY,
        Fault.OTHER_SUBJECT,
        Fault.EFFECT_THEN_ERROR,
    ],
)
def test_an_answer_that_proves_nothing_is_unknown(world: World, fault: Fault) -> None:
    world.pay_by_code()
    world.simulator.faults.plan(fault, "query")
    assert type(world.hold(world.channel.query(world.payment()))) is Unknown
    world.simulator.faults.plan(fault, "refund")
    assert type(world.hold(world.channel.refund(world.refund()))) is Unknown
    world.simulator.faults.plan(fault, "codepay")
    assert type(world.hold(world.channel.prepare(world.payment("codepay", "py0009")))) is Unknown


def test_a_refusal_is_a_hint_unless_it_is_signed(world: World) -> None:
    for signs in (True, False):
        world.simulator.signs_refusals = signs
        found = world.hold(world.channel.query(world.payment()))
        assert (type(found), found.authenticated) == (NotFound, signs)
        lost = world.hold(world.channel.query_refund(world.refund()))
        assert (type(lost), lost.authenticated) == (RefundNotFound, signs)
        refused = world.hold(world.channel.refund(world.refund()))
        assert (type(refused), refused.authenticated) == (RefundRefused, signs)


def test_an_old_spelling_of_trouble_is_trouble(world: World) -> None:
    world.simulator.faults.plan(Fault.OLD_SPELLING, times=2)
    assert type(world.hold(world.channel.prepare(world.payment()))) is Unknown
    assert world.simulator.calls == []


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"null", b"<html>", b'{"code":7}', b'{"message":"x"}', b"\xff"])
def test_a_refusal_without_a_code_is_unknown(world: World, body: bytes) -> None:
    for status in (400, 403, 404, 409, 429):
        finding, _ = scripted(world.channel.query(world.payment()), Reply(status, {}, body))
        assert type(finding) is Unknown


def test_a_code_to_scan_and_a_page_must_be_wechat_pays(world: World) -> None:
    for method, name, value in (
        ("native", "code_url", "https://evil.example/qr"),
        ("h5", "h5_url", "https://evil.example/h5?prepay_id=1"),
        ("h5", "h5_url", f"{BASE}.evil.example/h5?prepay_id=1"),
        ("app", "prepay_id", "no id\n"),
        ("app", "prepay_id", ""),
    ):
        conversation = world.channel.prepare(world.payment(method))
        request = next(conversation)
        with pytest.raises(StopIteration) as stop:
            conversation.send(genuinely(world, request.url, {name: value}))
        assert type(stop.value.value) is Unknown, value


def genuinely(world: World, url: str, document: dict[str, Any]) -> Reply:
    """Anything, signed by WeChat Pay."""
    merchant = world.simulator.merchants.find("1900000109")
    assert merchant is not None
    serial, key = world.simulator.merchants.signer(merchant, "PUB_KEY_ID_")
    body, timestamp = wire.write(document), str(world.now // SECOND)
    signature = signing.sign(key, signing.signed_text(timestamp, "n", body=body))
    words = (timestamp, "n", serial, signature)
    names = (signing.TIMESTAMP, signing.NONCE, signing.SERIAL, signing.SIGNATURE)
    return Reply(200, dict(zip(names, words, strict=True)), body)


# ---------------------------------------------------------------------------------------------- verbs


def test_paid_then_refunded_is_paid(world: World) -> None:
    world.pay_by_code()
    world.hold(world.channel.refund(world.refund(amount_minor=12800)))
    found = world.hold(world.channel.query(world.payment()))
    assert isinstance(found, Paid)
    assert found.amount_minor == 12800
    assert world.simulator.books.trades["py0001"].shown_state == "REFUND"


def test_closing(world: World) -> None:
    world.hold(world.channel.prepare(world.payment()))
    assert type(world.hold(world.channel.close(world.payment()))) is Closed
    assert type(world.hold(world.channel.close(world.payment()))) is Closed
    assert [call.name for call in world.simulator.calls] == ["order", "close", "query", "close", "query"]
    world.pay_by_code("py0002")
    assert type(world.hold(world.channel.close(world.payment(payment_id="py0002")))) is AlreadyPaid


def test_a_close_is_done_when_the_query_after_it_says_so(world: World) -> None:
    """204 names no order: the answer to another close would verify as well."""
    world.hold(world.channel.prepare(world.payment()))
    conversation = world.channel.close(world.payment())
    request = next(conversation)
    done = world.simulator.handle(request, world.now)
    assert done is not None
    assert (done.status, done.body) == (204, b"")
    assert conversation.send(done).method == "GET"
    assert conversation.throw(SILENCE).url.startswith(f"{BASE}/api2/"), "it asks the backup too"
    with pytest.raises(Silence):
        conversation.throw(SILENCE)


def test_after_its_expiry_an_order_is_open_at_wechat_pay_until_it_is_closed(world: World) -> None:
    world.hold(world.channel.prepare(world.payment()))
    world.now += HOUR
    assert type(world.hold(world.channel.query(world.payment()))) is Waiting
    assert type(world.hold(world.channel.close(world.payment()))) is Closed


def test_a_barcode_payment_is_paid_at_once_or_waits_for_a_password(world: World) -> None:
    assert isinstance(world.hold(world.channel.prepare(world.payment("codepay"))), Paid)
    world.simulator.books.next_charges += [Charge.PAYER_IS_PAYING, Charge.SHORT_OF_MONEY]
    assert type(world.hold(world.channel.prepare(world.payment("codepay", "py0002")))) is PayerPaying
    assert type(world.hold(world.channel.query(world.payment("codepay", "py0002")))) is PayerPaying
    assert type(world.hold(world.channel.prepare(world.payment("codepay", "py0003")))) is Declined
    assert world.simulator.decline("py0002", world.now)
    assert type(world.hold(world.channel.query(world.payment("codepay", "py0002")))) is Declined


def test_a_barcode_payment_that_failed_and_is_sent_again_fails_again(world: World) -> None:
    world.simulator.books.next_charges += [Charge.SHORT_OF_MONEY]
    ask = world.payment("codepay", "py0003")
    assert type(world.hold(world.channel.prepare(ask))) is Declined
    assert not isinstance(world.hold(world.channel.prepare(ask)), Paid)
    assert type(world.hold(world.channel.query(ask))) is Declined


def test_a_barcode_payment_is_reversed_after_15_seconds_and_asked_about_before(world: World) -> None:
    world.hold(world.channel.prepare(world.payment("codepay")))
    assert isinstance(world.hold(world.channel.close(world.payment("codepay"))), Paid)
    world.now += 15 * SECOND
    assert type(world.hold(world.channel.close(world.payment("codepay")))) is Reversed
    trade = world.simulator.trade("py0001")
    assert trade is not None
    assert trade.returned_minor == trade.paid_minor == 12800
    assert type(world.hold(world.channel.query(world.payment("codepay")))) is Reversed


def test_a_refund_is_accepted_and_then_done(world: World) -> None:
    world.pay_by_code()
    assert type(world.hold(world.channel.refund(world.refund()))) is RefundProcessing
    again = world.hold(world.channel.refund(world.refund()))
    assert type(again) is RefundProcessing, "even what is done already is only accepted by a send"
    done = world.hold(world.channel.query_refund(world.refund()))
    assert (done.authenticated, getattr(done, "amount_minor", 0)) == (True, 3000)
    assert dict(world.simulator.refunds("py0001")) == {"rf0001": 3000}


def test_no_money_and_too_many_calls_wait_under_the_same_number(world: World) -> None:
    world.pay_by_code()
    world.simulator.books.is_short_of_money = True
    short = world.hold(world.channel.refund(world.refund()))
    assert isinstance(short, RefundShort)
    assert short.failure.reason == "balance_short"
    world.simulator.books.is_short_of_money = False
    world.hold(world.channel.refund(world.refund()))
    soon = world.hold(world.channel.refund(world.refund("rf0002")))
    assert isinstance(soon, RefundShort)
    assert soon.failure.reason == "channel_busy"
    world.now += MINUTE
    assert type(world.hold(world.channel.refund(world.refund("rf0002")))) is RefundProcessing


def test_the_51st_refund_is_refused(world: World) -> None:
    world.pay_by_code()
    for number in range(50):
        assert type(world.hold(world.channel.refund(world.refund(f"rf00{number:02}", 1)))) is RefundProcessing
        world.now += MINUTE
    assert type(world.hold(world.channel.refund(world.refund("rf9999", 1)))) is RefundRefused


def test_two_nonces_of_a_conversation_are_two_texts() -> None:
    assert len({another_nonce("a" * 32, "device"), another_nonce("a" * 32, "file"), "a" * 32}) == 3


# ---------------------------------------------------------------------------------------------- certificates


def certificate_world() -> World:
    return World(WechatPaySimulator("tests", mode="certificates"))


def test_certificates_are_fetched_and_then_verify() -> None:
    world = certificate_world()
    settings = world.simulator.settings(BASE)
    assert "platform_certificates" not in settings
    assert type(world.hold(world.channel.prepare(world.payment()))) is Unknown, "nothing verifies yet"
    found = world.hold(world.channel.refresh(RefreshAsk(None, world.now, "a" * 32)))
    assert isinstance(found, Refreshed)
    world.channel = open_channel(settings, found.blob)
    assert isinstance(world.hold(world.channel.prepare(world.payment(payment_id="py0002"))), Ready)
    world.simulator.pay("py0002", world.now)
    assert world.deliver()[0].status == 204


def test_a_new_certificate_is_kept_beside_the_old_one() -> None:
    world = certificate_world()
    first = world.hold(world.channel.refresh(RefreshAsk(None, world.now, "a" * 32)))
    assert isinstance(first, Refreshed)
    channel = open_channel(world.simulator.settings(BASE), first.blob)
    fresh = world.simulator.next_settings(BASE)
    channel = open_channel(fresh, first.blob)
    second = world.hold(channel.refresh(RefreshAsk(first.blob, world.now, "b" * 32)))
    assert isinstance(second, Refreshed)
    kept = {signing.serial_of(one) for one in certificates.unpack(second.blob)}
    assert kept > {signing.serial_of(one) for one in certificates.unpack(first.blob)}
    world.channel = open_channel(fresh, second.blob)
    assert isinstance(world.hold(world.channel.prepare(world.payment())), Ready)


def test_an_ended_certificate_verifies_nothing_and_is_not_kept() -> None:
    world = certificate_world()
    found = world.hold(world.channel.refresh(RefreshAsk(None, world.now, "a" * 32)))
    assert isinstance(found, Refreshed)
    world.now += 20 * 365 * DAY
    world.channel = open_channel(world.simulator.settings(BASE), found.blob)
    assert type(world.hold(world.channel.prepare(world.payment(expires_at=world.now + HOUR)))) is Unknown
    assert isinstance(world.hold(world.channel.refresh(RefreshAsk(found.blob, world.now, "b" * 32))), Unknown)


def test_a_broken_answer_leaves_what_there_is() -> None:
    world = certificate_world()
    ask = RefreshAsk(None, world.now, "a" * 32)
    for fault in (Fault.UNSIGNED, Fault.BADLY_SIGNED, Fault.UNKNOWN_SERIAL, Fault.TRUNCATED, Fault.EMPTY):
        world.simulator.faults.plan(fault, "certificates")
        assert isinstance(world.hold(world.channel.refresh(ask)), Unknown)
    wrong = open_channel(dict(world.simulator.settings(BASE)) | {"apiv3_key": "x" * 32})
    assert isinstance(world.hold(wrong.refresh(ask)), Unknown), "sealed under another key"


def test_in_public_key_mode_nobody_is_asked() -> None:
    world = World(WechatPaySimulator("tests", mode="public_key"))
    world.sent.clear()
    assert isinstance(world.hold(world.channel.refresh(RefreshAsk(None, world.now, "a" * 32))), Refreshed)
    assert world.sent == []


def test_a_kept_text_that_is_none_of_ours_is_as_if_there_were_none() -> None:
    for text in ("", "{}", "[]", '{"v":2,"certificates":[]}', '{"v":1,"certificates":["x"]}', '{"v":1}'):
        assert certificates.unpack(Secret(text)) == ()


# ---------------------------------------------------------------------------------------------- bills

LATER = NOW + 2 * DAY
DAY_OF_NOW = "2026-11-18"


def bill(world: World, statement: str = bills.TRADE, now: int = LATER) -> Any:
    world.now = now
    return world.hold(world.channel.statement(StatementAsk(statement, DAY_OF_NOW, now, "c" * 32)))


def test_a_day_is_read_in_both_bills(world: World) -> None:
    world.pay_by_code()
    world.pay_by_code("py0002", amount_minor=1)
    world.hold(world.channel.refund(world.refund(amount_minor=1234)))
    trades, flows = bill(world), bill(world, bills.FUND_FLOW)
    assert isinstance(trades, Statement)
    assert isinstance(flows, Statement)
    moved = [(line.kind.value, line.amount.minor("CNY"), line.payment_id, line.refund_id) for line in trades.lines]
    assert moved == [
        ("payment", 12800, "py0001", ""),
        ("refund", -1234, "py0001", "rf0001"),
        ("payment", 1, "py0002", ""),
    ]
    assert [(line.kind.value, line.amount.minor("CNY")) for line in flows.lines] == [
        ("payment", 12800),
        ("fee", -77),
        ("refund", -1234),
        ("payment", 1),
    ]
    assert trades.lines[0].happened_at == NOW


def test_before_ten_it_is_not_ready_and_an_empty_day_is_certain_only_when_signed(world: World) -> None:
    assert isinstance(bill(world, now=NOW), StatementNotReady)
    empty = bill(world)
    assert isinstance(empty, Statement)
    assert empty.lines == ()
    world.simulator.signs_refusals = False
    assert isinstance(bill(world), StatementNotReady)


def test_a_bill_lies_at_the_gateway_and_is_the_one_that_was_announced(world: World) -> None:
    world.pay_by_code()
    ask = StatementAsk(bills.TRADE, DAY_OF_NOW, world.now, "c" * 32)
    for document in (
        {
            "hash_type": "SHA1",
            "hash_value": "0" * 40,
            "download_url": "https://evil.example/v3/billdownload/file?token=1",
        },
        {"hash_type": "SHA1", "hash_value": "0" * 40, "download_url": f"{BASE}.evil.example/v3/billdownload"},
        {"hash_type": "MD5", "hash_value": "0" * 32, "download_url": f"{BASE}/v3/billdownload/file?token=1"},
    ):
        conversation = world.channel.statement(ask)
        request = next(conversation)
        with pytest.raises(StopIteration) as stop:
            conversation.send(genuinely(world, request.url, document))
        assert isinstance(stop.value.value, Unknown)
    for fault in (Fault.TRUNCATED, Fault.EMPTY):
        world.simulator.faults.plan(fault, "download")
        assert isinstance(bill(world), Unknown)


def spoilt_bill(world: World) -> bytes:
    """The plain bytes of a genuine bill."""
    world.pay_by_code()
    world.hold(world.channel.refund(world.refund(amount_minor=1234)))
    bill(world)
    (packed,) = world.simulator._files.values()
    return gzip.decompress(packed)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("`128.00,`12.34", "`128.01,`12.34"),
        ("`2,`128.00", "`3,`128.00"),
        ("`12.34,`\r\n", "`12.35,`\r\n"),
        ("`0.70000", "`0.69999"),
        ("交易状态", "交易时间"),
        ("总交易单数", "总数"),
        ("`128.00,`0.00,`\r\n", "`1e2,`0.00,`\r\n"),
    ],
)
def test_a_bill_that_does_not_add_up_is_none(world: World, old: str, new: str) -> None:
    plain = spoilt_bill(world).decode("utf-8")
    assert old in plain
    with pytest.raises(bills.BadBill):
        bills.lines_of(bills.TRADE, plain.replace(old, new, 1).encode("utf-8"))


def test_a_bill_that_lost_a_row_or_its_end_is_none(world: World) -> None:
    plain = spoilt_bill(world)
    rows = plain.split(b"\r\n")
    for cut in (rows[:-2], rows[:-3], [*rows[:1], *rows[2:]], rows[1:], rows[:1]):
        with pytest.raises(bills.BadBill):
            bills.lines_of(bills.TRADE, b"\r\n".join(cut))


def test_a_file_is_whole_gzip_and_no_bomb() -> None:
    plain = b"x" * 1000
    packed, sha1 = gzip.compress(plain), hashlib.sha1(plain, usedforsecurity=False).hexdigest()
    assert bills.unpacked(packed, sha1=sha1.upper()) == plain
    assert bills.unpacked(plain, sha1=sha1) == plain, "unpacked on the way"
    for bad in (packed[:-1], packed + b"x", packed[1:], b"", packed + packed):
        with pytest.raises(bills.BadBill):
            bills.unpacked(bad, sha1=sha1)
    with pytest.raises(bills.BadBill):
        bills.unpacked(packed, sha1="0" * 40)


def test_a_bill_may_gain_and_lose_columns(world: World) -> None:
    """Columns are found by their names: SUCCESS bills have no refund block, and new ones appear at the end."""
    plain = spoilt_bill(world).decode("utf-8")
    grown = "\r\n".join(
        f"{line},新列" if place == 0 else f"{line},`7" if line.startswith("`") and place < 3 else line
        for place, line in enumerate(plain.split("\r\n"))
    )
    assert len(bills.lines_of(bills.TRADE, grown.encode("utf-8"))) == 2


# ---------------------------------------------------------------------------------------------- accounts


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("merchant_key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
        ("apiv3_key", "short"),
        ("wechatpay_public_key", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"),
        ("wechatpay_public_key", ""),
        ("wechatpay_public_key_id", ""),
        ("platform_certificates", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        ("merchant_serial", ""),
    ],
)
def test_settings_that_cannot_be_right_are_refused_without_repeating_them(world: World, name: str, value: str) -> None:
    with pytest.raises(ValueError, match=r"\w") as raised:
        open_channel(dict(world.simulator.settings(BASE)) | {name: value})
    assert "AAAA" not in str(raised.value)


def test_a_plan_ends_with_what_it_hands_out(world: World) -> None:
    for method, lifetime in (("app", 2 * HOUR), ("jsapi", 2 * HOUR), ("mini_program", 2 * HOUR), ("h5", 5 * MINUTE)):
        ask = world.payment(method, f"pay-{method}", expires_at=NOW + 3 * HOUR)
        finding = world.hold(world.channel.prepare(ask))
        assert isinstance(finding, Ready)
        assert Plan.from_json(finding.plan_json).expires_at == NOW + lifetime
    finding = world.hold(world.channel.prepare(world.payment("native", "py-native", expires_at=NOW + 3 * HOUR)))
    assert isinstance(finding, Ready)
    plan = Plan.from_json(finding.plan_json)
    assert (plan.expires_at, plan.steps[0].expires_at) == (NOW + 3 * HOUR, NOW + 2 * HOUR)
