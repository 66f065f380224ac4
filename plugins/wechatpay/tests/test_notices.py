"""Notices: raw bytes first, then the window, the serial, the seal; the exact acknowledgements; the ladder."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from typing import Any

import pytest

from paycore.channel import (
    AboutPayment,
    AboutRefund,
    Forged,
    KeyState,
    Notice,
    NoticeCase,
    NoticeReply,
    Paid,
    RawNotice,
    Refunded,
    RefundFailed,
    RefundStuck,
)
from paycore.testing.mutate import spoilt_notices
from paycore_wechatpay import WECHATPAY, WechatPaySimulator, signing, wire
from paycore_wechatpay.simulator import LADDER, NoticeFault, RefundEnd

from .spoiling import COVERED, Spoiler
from .support import BASE, MINUTE, SECOND, World, account_of, open_channel, raw, version_of

MUTANTS = int(os.environ.get("WECHATPAY_MUTANTS", "3000"))
"""How many mutants the reader is given: 100,000 of them were, once."""


@pytest.fixture
def world() -> World:
    return World()


def paid_notice(world: World) -> RawNotice:
    world.pay_by_code()
    (notice,) = world.notices()
    return raw(notice.request)


def resealed(world: World, notice: RawNotice, **changes: Any) -> RawNotice:
    """The notice with another document, signed by WeChat Pay's own key all the same."""
    document = wire.read(notice.body)
    resource = document["resource"] | changes.pop("resource", {})
    body = changes.pop("body", None) or wire.write(document | {"resource": resource} | changes)
    merchant = world.simulator.merchants.find("1900000109")
    assert merchant is not None
    serial, key = world.simulator.merchants.signer(merchant, "")
    timestamp = str(world.now // SECOND)
    signature = signing.sign(key, signing.signed_text(timestamp, "nonce", body=body))
    words = {
        signing.SIGNATURE_TYPE: signing.SCHEME,
        signing.TIMESTAMP: timestamp,
        signing.NONCE: "nonce",
        signing.SERIAL: serial,
        signing.SIGNATURE: signature,
    }
    return replace(notice, headers=words, body=body)


def read(world: World, notice: RawNotice) -> Notice:
    return world.channel.read_notice(notice, world.now)


# ---------------------------------------------------------------------------------------------- what is refused


def test_every_byte_and_every_character_counts(world: World) -> None:
    genuine = paid_notice(world)
    believed, count = [], 0
    for name, notice in spoilt_notices(genuine, headers=COVERED):
        count += 1
        with contextlib.suppress(Forged):
            believed.append((name, read(world, notice)))
    assert believed == []
    assert count > len(genuine.body)


def test_no_mutant_of_a_notice_is_believed(world: World) -> None:
    spoiler = Spoiler(paid_notice(world), 7)
    for _ in range(MUTANTS):
        with pytest.raises(Forged):
            read(world, spoiler.next())


def test_the_window_is_less_than_300_seconds_either_way(world: World) -> None:
    notice = paid_notice(world)
    for seconds in (-299, 0, 299):
        assert world.channel.read_notice(notice, world.now + seconds * SECOND).findings
    for seconds in (-300, 300, 86_400):
        with pytest.raises(Forged):
            world.channel.read_notice(notice, world.now + seconds * SECOND)


@pytest.mark.parametrize(
    "timestamp", ["", "179500000", "１７９５００００００", "+795000000", "1795000000.0", "17950000000"]
)
def test_a_timestamp_is_ten_ascii_digits(world: World, timestamp: str) -> None:
    notice = paid_notice(world)
    with pytest.raises(Forged):
        read(world, replace(notice, headers={**notice.headers, signing.TIMESTAMP: timestamp}))


@pytest.mark.parametrize("signature", ["", "!", "Ａ", "AAAA", "A" * 344, f"{signing.PROBE}AAAA"])
def test_what_is_no_signature_is_refused(world: World, signature: str) -> None:
    notice = paid_notice(world)
    with pytest.raises(Forged):
        read(world, replace(notice, headers={**notice.headers, signing.SIGNATURE: signature}))


def test_a_signature_has_one_spelling(world: World) -> None:
    notice = paid_notice(world)
    signature = notice.headers[signing.SIGNATURE]
    for other in (f" {signature}", f"{signature}\n", signature.rstrip("="), f"{signature}="):
        with pytest.raises(Forged):
            read(world, replace(notice, headers={**notice.headers, signing.SIGNATURE: other}))


def test_probe_traffic_is_refused_and_comes_back(world: World) -> None:
    world.simulator.faults.plan_notice(NoticeFault.PROBE)
    notice = paid_notice(world)
    assert notice.headers[signing.SIGNATURE].startswith("WECHATPAY/SIGNTEST/")
    with pytest.raises(Forged, match="probe"):
        read(world, notice)


def test_only_a_post_is_a_notice(world: World) -> None:
    notice = paid_notice(world)
    for method in ("GET", "PUT", "HEAD"):
        with pytest.raises(Forged):
            read(world, replace(notice, method=method))


def test_a_notice_names_the_one_signature_type(world: World) -> None:
    notice = paid_notice(world)
    for name in ("WECHATPAY2-SM2-WITH-SM3", "WECHATPAY2-SHA1-RSA2048", "RSA", ""):
        with pytest.raises(Forged):
            read(world, replace(notice, headers={**notice.headers, signing.SIGNATURE_TYPE: name}))
    bare = {name: value for name, value in notice.headers.items() if name != signing.SIGNATURE_TYPE}
    with pytest.raises(Forged):
        read(world, replace(notice, headers=bare))


def test_reading_a_notice_asks_nobody_whatever_its_serial(world: World) -> None:
    notice = paid_notice(world)
    for number in range(1000):
        with pytest.raises(Forged):
            read(world, replace(notice, headers={**notice.headers, signing.SERIAL: f"PUB_KEY_ID_{number:032d}"}))
    assert [call.name for call in world.simulator.calls] == ["order"]


# ---------------------------------------------------------------------------------------------- genuine, and unreadable

CANNOT_BE_OPENED: dict[str, dict[str, Any]] = {
    "another key": {"resource": {"ciphertext": "A" * 64}},
    "no base64": {"resource": {"ciphertext": "!!!"}},
    "a nonce of another length": {"resource": {"nonce": "short"}},
    "other associated data": {"resource": {"associated_data": "refund"}},
    "another algorithm": {"resource": {"algorithm": "AEAD_SM4_GCM"}},
    "another original type": {"resource": {"original_type": "refund"}},
    "another resource type": {"resource_type": "plain"},
    "no event": {"event_type": 7},
    "not JSON": {"body": b"not json"},
    "twice the same key": {"body": b'{"id":"1","id":"2"}'},
    "endless depth": {"body": b"[" * 50_000},
    "endless number": {"body": b'{"id":' + b"9" * 10_000 + b"}"},
    "not a number": {"body": b'{"id":NaN}'},
    "a byte order mark": {"body": b"\xef\xbb\xbf{}"},
    "UTF-16": {"body": '{"id":"1"}'.encode("utf-16")},
}


@pytest.mark.parametrize("name", CANNOT_BE_OPENED)
def test_what_cannot_be_opened_tells_nothing_and_is_answered_400(world: World, name: str) -> None:
    answer = read(world, resealed(world, paid_notice(world), **dict(CANNOT_BE_OPENED[name])))
    assert answer.findings == ()
    assert (answer.acknowledge.status, wire.read(answer.acknowledge.body)["code"]) == (400, "FAIL")


def test_an_event_that_is_none_of_ours_is_acknowledged(world: World) -> None:
    answer = read(world, resealed(world, paid_notice(world), event_type="COUPON.USE"))
    assert (answer.findings, answer.acknowledge) == ((), NoticeReply(204))


def test_every_refusal_has_its_words() -> None:
    assert {case: reply.status for case, reply in WECHATPAY.refusals.items()} == {
        NoticeCase.FORGED: 401,
        NoticeCase.WRONG_ACCOUNT: 403,
        NoticeCase.NOT_NOW: 503,
    }
    for reply in WECHATPAY.refusals.values():
        assert wire.read(reply.body).keys() == {"code", "message"}


# ---------------------------------------------------------------------------------------------- what they tell


def test_a_payment_is_told_by_the_amount_of_the_order(world: World) -> None:
    """What the payer gave is less where a coupon paid a part."""
    world.hold(world.channel.prepare(world.payment()))
    world.simulator.pay("py0001", world.now, coupon_minor=800)
    (notice,) = world.notices()
    (about,) = read(world, raw(notice.request)).findings
    assert isinstance(about, AboutPayment)
    assert isinstance(about.finding, Paid)
    assert (about.finding.amount_minor, about.finding.paid_at) == (12800, world.now)


@pytest.mark.parametrize(
    ("end", "kind"),
    [(RefundEnd.SUCCESS, Refunded), (RefundEnd.CLOSED, RefundFailed), (RefundEnd.ABNORMAL, RefundStuck)],
)
def test_a_refund_is_told(world: World, end: RefundEnd, kind: type) -> None:
    world.pay_by_code()
    world.deliver()
    world.simulator.next_refunds(end)
    world.hold(world.channel.refund(world.refund()))
    world.simulator.end_refund("rf0001", end, world.now)
    (notice,) = world.notices()[:1]
    (about,) = read(world, raw(notice.request)).findings
    assert isinstance(about, AboutRefund)
    assert type(about.finding) is kind
    assert (about.refund_id, about.payment_id, about.amount_minor, about.merchant) == (
        "rf0001",
        "py0001",
        3000,
        "1900000109",
    )


def test_a_refund_of_the_console_is_told_under_the_channels_number(world: World) -> None:
    world.pay_by_code()
    world.deliver()
    number = world.simulator.refund_in_console("py0001", world.now, amount_minor=700)
    (notice,) = world.notices()
    (about,) = read(world, raw(notice.request)).findings
    assert isinstance(about, AboutRefund)
    assert (about.refund_id, about.payment_id, about.channel_refund_no) == (None, "py0001", number)
    assert about.amount_minor == 700


def test_wrong_money_and_wrong_merchants_are_told_as_they_are(world: World) -> None:
    for number, fault in enumerate((NoticeFault.WRONG_AMOUNT, NoticeFault.WRONG_MERCHANT)):
        world.simulator.faults.plan_notice(fault)
        world.pay_by_code(f"py000{number}")
        (notice,) = world.notices()
        (about,) = read(world, raw(notice.request)).findings
        assert isinstance(about.finding, Paid)
        assert (about.finding.amount_minor, about.finding.merchant) != (12800, world.channel.merchant)


def test_an_open_key_version_that_only_verifies_reads_notices(world: World) -> None:
    settings = world.simulator.settings(BASE)
    notice = paid_notice(world)
    fresh = version_of(world.simulator.next_settings(BASE), 2)
    old = version_of(settings, 1, KeyState.VERIFY_ONLY)
    world.channel = type(world.channel)(account_of(fresh, old, signing=fresh))
    assert read(world, notice).findings, "signed and sealed for the keys before"
    world.pay_by_code("py0002")
    (again,) = [one for one in world.notices() if raw(one.request).body != notice.body]
    assert read(world, raw(again.request)).findings, "signed and sealed for the new ones"


def test_during_a_migration_both_kinds_of_signature_count() -> None:
    world = World(WechatPaySimulator("tests", mode="both"))
    serials = set()
    for number in range(2):
        world.pay_by_code(f"py000{number}")
    for _ in range(2):
        for notice in world.notices():
            serials.add(notice.request.headers[signing.SERIAL].startswith("PUB_KEY_ID_"))
            assert read(world, raw(notice.request)).findings
            world.simulator.answered(notice.key, NoticeReply(503), world.now)
        world.now += 15 * SECOND
    assert serials == {True, False}


def test_a_sandbox_of_another_seed_has_other_keys(world: World) -> None:
    other = World(WechatPaySimulator(mode="public_key"))
    notice = paid_notice(other)
    assert open_channel(other.simulator.settings(BASE)).read_notice(notice, other.now).findings
    with pytest.raises(Forged):
        read(world, notice)


# ---------------------------------------------------------------------------------------------- the ladder


def test_a_refused_notice_climbs_the_real_ladder(world: World) -> None:
    world.pay_by_code()
    begun, deliveries = world.now, []
    while world.simulator.undelivered:
        due_at = world.simulator.next_due()
        assert due_at is not None
        world.now = max(world.now, due_at)
        for notice in world.notices():
            deliveries.append((world.now - begun) // SECOND)
            assert read(world, raw(notice.request)).findings, "each delivery is signed afresh"
            world.simulator.answered(notice.key, NoticeReply(401), world.now)
    assert len(deliveries) == 16
    assert deliveries[-1] == sum(LADDER) // SECOND == 24 * 3600 + 4 * 60


@pytest.mark.parametrize(("status", "left"), [(200, 0), (204, 0), (202, 1), (400, 1), (401, 1), (500, 1)])
def test_only_200_and_204_acknowledge(world: World, status: int, left: int) -> None:
    world.pay_by_code()
    (notice,) = world.notices()
    world.simulator.answered(notice.key, NoticeReply(status), world.now)
    assert world.simulator.undelivered == left


def test_an_answer_after_five_seconds_is_none(world: World) -> None:
    world.pay_by_code()
    world.notices()
    world.now += 4 * SECOND
    assert world.notices() == []
    world.now += MINUTE
    assert len(world.notices()) == 1
