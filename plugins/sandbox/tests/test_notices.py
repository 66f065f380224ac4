"""Notices and evidence: the genuine ones are read, everything else is refused whole."""

from __future__ import annotations

import base64
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paycore.channel import (
    AboutPayment,
    AboutRefund,
    EvidenceAsk,
    Forged,
    KeyState,
    NoticeCase,
    NoticeReply,
    Paid,
    RawNotice,
    Reference,
    RefundBounced,
    Refunded,
    RefundFailed,
)
from paycore_sandbox import SANDBOX, SandboxChannel, SandboxSimulator, signing
from paycore_sandbox.simulator import LADDER, NoticeFault, RefundEnd

from .support import BASE, MINUTE, NOTIFY, NOW, SECOND, TOKEN, World, account_of, open_channel, raw, version_of

SIGNED = [signing.SIGNATURE, signing.TIMESTAMP, signing.NONCE, signing.MERCHANT]


@pytest.fixture
def world() -> World:
    return World()


def one_notice(world: World) -> RawNotice:
    (notice,) = world.acknowledge_all()
    return notice


def test_a_payment_is_announced_and_read(world: World) -> None:
    world.pay_by_qr()
    notice = world.channel.read_notice(one_notice(world), NOW)
    (about,) = notice.findings
    assert isinstance(about, AboutPayment)
    assert about.payment_id == "py1"
    assert isinstance(about.finding, Paid)
    assert (about.finding.amount_minor, about.finding.merchant) == (12800, "SANDBOX")
    assert notice.acknowledge == NoticeReply(200, {"content-type": "application/json"}, b'{"ack":"ok"}')
    assert notice.notice_id


def test_a_refund_of_ours_is_announced_under_our_number(world: World) -> None:
    world.pay_by_qr()
    world.acknowledge_all()
    world.hold(world.channel.refund(world.refund()))
    (about,) = world.channel.read_notice(one_notice(world), NOW).findings
    assert isinstance(about, AboutRefund)
    assert (about.refund_id, about.payment_id, about.amount_minor) == ("rf1", None, 3000)
    assert isinstance(about.finding, Refunded)


@pytest.mark.parametrize(("end", "expected"), [(RefundEnd.FAILED, RefundFailed)])
def test_the_end_of_a_refund_is_announced(world: World, end: RefundEnd, expected: type) -> None:
    world.pay_by_qr()
    world.acknowledge_all()
    world.simulator.next_refunds(RefundEnd.PROCESSING)
    world.hold(world.channel.refund(world.refund()))
    assert world.acknowledge_all() == []
    world.simulator.end_refund("rf1", end, NOW)
    (about,) = world.channel.read_notice(one_notice(world), NOW).findings
    assert isinstance(about.finding, expected)


def test_a_bounce_may_be_announced(world: World) -> None:
    world.pay_by_qr()
    world.hold(world.channel.refund(world.refund()))
    world.acknowledge_all()
    world.simulator.bounce_refund("rf1", NOW)
    (about,) = world.channel.read_notice(one_notice(world), NOW).findings
    assert isinstance(about.finding, RefundBounced)


def test_a_refund_from_the_console_names_its_payment(world: World) -> None:
    world.pay_by_qr()
    world.acknowledge_all()
    number = world.simulator.refund_in_console("py1", NOW, amount_minor=500)
    (about,) = world.channel.read_notice(one_notice(world), NOW).findings
    assert isinstance(about, AboutRefund)
    assert (about.refund_id, about.payment_id, about.channel_refund_no) == (None, "py1", number)
    assert (about.amount_minor, about.currency, about.merchant) == (500, "CNY", "SANDBOX")


def test_a_purchase_and_its_return_are_named_by_the_token(world: World) -> None:
    world.simulator.purchase_notify_url = NOTIFY
    world.simulator.buy("gold.100", TOKEN, NOW, amount_minor=600)
    (bought,) = world.channel.read_notice(one_notice(world), NOW).findings
    assert isinstance(bought, AboutPayment)
    assert (bought.payment_id, bought.reference) == (None, Reference("token", TOKEN))
    number = world.simulator.refund_in_store(TOKEN, NOW)
    (returned,) = world.channel.read_notice(one_notice(world), NOW).findings
    assert isinstance(returned, AboutRefund)
    assert (returned.payment_id, returned.payment_reference) == (None, Reference("token", TOKEN))
    assert (returned.channel_refund_no, returned.amount_minor) == (number, 600)


# ---------------------------------------------------------------------------------------------- forgeries


def test_every_byte_counts(world: World) -> None:
    """No notice with one bit changed anywhere, in the body or in a signed header, is believed."""
    world.pay_by_qr()
    good = one_notice(world)
    world.channel.read_notice(good, NOW)
    changed = [replace(good, body=spoilt) for spoilt in one_bit_off(good.body)]
    for name in SIGNED:
        for spoilt in one_bit_off(good.headers[name].encode()):
            changed.append(replace(good, headers=dict(good.headers) | {name: spoilt.decode("latin-1")}))
    for notice in changed:
        with pytest.raises(Forged):
            world.channel.read_notice(notice, NOW)
    assert len(changed) == len(good.body) + sum(len(good.headers[name]) for name in SIGNED)


def one_bit_off(text: bytes) -> list[bytes]:
    chance = random.Random(7)
    return [text[:at] + bytes([text[at] ^ 1 << chance.randrange(8)]) + text[at + 1 :] for at in range(len(text))]


@pytest.mark.parametrize("name", SIGNED)
def test_a_missing_header_is_a_forgery(world: World, name: str) -> None:
    world.pay_by_qr()
    good = one_notice(world)
    with pytest.raises(Forged):
        world.channel.read_notice(replace(good, headers={k: v for k, v in good.headers.items() if k != name}), NOW)


@pytest.mark.parametrize("skew", [301 * SECOND, -301 * SECOND, 300 * SECOND, -300 * SECOND])
def test_a_notice_from_another_time_is_a_replay(world: World, skew: int) -> None:
    world.pay_by_qr()
    with pytest.raises(Forged):
        world.channel.read_notice(one_notice(world), NOW + skew)


@pytest.mark.parametrize("skew", [299 * SECOND, -299 * SECOND])
def test_clocks_may_differ_a_little(world: World, skew: int) -> None:
    world.pay_by_qr()
    world.channel.read_notice(one_notice(world), NOW + skew)


def test_a_get_or_a_huge_body_is_no_notice(world: World) -> None:
    world.pay_by_qr()
    good = one_notice(world)
    for bad in (replace(good, method="GET"), replace(good, body=b" " * 65537)):
        with pytest.raises(Forged):
            world.channel.read_notice(bad, NOW)


def test_an_answer_cannot_be_used_as_a_notice(world: World) -> None:
    """The channel's own signature over other words is not a notice."""
    world.pay_by_qr()
    good = one_notice(world)
    reply = world.overhear(world.channel.query(world.payment()))
    taken = replace(good, body=reply.body, headers=dict(good.headers) | dict(reply.headers))
    with pytest.raises(Forged):
        world.channel.read_notice(taken, NOW)


def test_another_spelling_of_a_good_signature_is_refused(world: World) -> None:
    world.pay_by_qr()
    good = one_notice(world)
    signature = good.headers[signing.SIGNATURE]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    last = signature[-3]
    twin = signature[:-3] + alphabet[alphabet.index(last) ^ 1] + "=="
    assert base64.b64decode(twin) == base64.b64decode(signature)
    for other in (twin, signature + "\n", " " + signature, signature.rstrip("=")):
        with pytest.raises(Forged):
            world.channel.read_notice(replace(good, headers=dict(good.headers) | {signing.SIGNATURE: other}), NOW)


def test_another_simulators_notice_is_a_forgery(world: World) -> None:
    stranger = World(SandboxSimulator("somebody else"))
    stranger.pay_by_qr()
    with pytest.raises(Forged):
        world.channel.read_notice(one_notice(stranger), NOW)


@given(st.binary(max_size=300), st.text(max_size=90), st.text(max_size=12), st.text(max_size=40))
def test_rubbish_is_refused_and_never_breaks(body: bytes, signature: str, timestamp: str, nonce: str) -> None:
    headers = {signing.SIGNATURE: signature, signing.TIMESTAMP: timestamp, signing.NONCE: nonce, signing.MERCHANT: "a"}
    with pytest.raises(Forged):
        RUBBISH.channel.read_notice(RawNotice("POST", "/", headers, body), NOW)
    with pytest.raises(Forged):
        RUBBISH.channel.read_notice(
            RawNotice("POST", "/", headers | {signing.TIMESTAMP: str(NOW // SECOND)}, body), NOW
        )


RUBBISH = World()
RETURNED = b'{"refund_no":"SR1","state":"SUCCESS","amount":"0.01","currency":"CNY"}'


def paid_body(spoilt: bytes) -> bytes:
    """A notice of a paid trade, but for these fields."""
    return (
        b'{"event":"trade","data":{"merchant":"SANDBOX","out_trade_no":"py1","trade_no":"x","state":"PAID",'
        b'"currency":"CNY",' + spoilt + b"}}"
    )


def test_what_the_spoilt_notices_are_made_of_is_good_otherwise(world: World) -> None:
    good = paid_body(b'"amount":"128.00","paid_at_ms":1,"refunds":[' + RETURNED + b"]")
    assert world.channel.read_notice(signed(world, good), NOW).findings


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b'{"event":"trade"}',
        b'{"event":"trade","data":[]}',
        b'{"event":"trade","data":{},"data":{}}',
        paid_body(b'"amount":"1e2","paid_at_ms":1'),
        paid_body(b'"amount":"128.000","paid_at_ms":1'),
        paid_body(b'"amount":"128","paid_at_ms":1'),
        paid_body(b'"amount":128.00,"paid_at_ms":1'),
        paid_body(b'"amount":12800,"paid_at_ms":1'),
        paid_body(b'"amount":"128.00","paid_at_ms":1').replace(b'"SANDBOX"', b'"\\u0000"'),
        paid_body(b'"amount":"128.00","paid_at_ms":1').replace(b'"SANDBOX"', b'"' + b"x" * 2049 + b'"'),
        paid_body(b'"amount":"128.00","paid_at_ms":1,"refunds":[' + b",".join([RETURNED] * 101) + b"]"),
        paid_body(b'"amount":"-128.00","paid_at_ms":1'),
        paid_body(b'"amount":"0.00","paid_at_ms":1'),
        paid_body(b'"amount":"128.00","paid_at_ms":true'),
        paid_body(b'"amount":"128.00","paid_at_ms":"1"'),
        paid_body(b'"amount":"128.00"'),
    ],
)
def test_a_signed_notice_that_cannot_be_read_is_not_believed(world: World, body: bytes) -> None:
    with pytest.raises(Forged):
        world.channel.read_notice(signed(world, body), NOW)


def test_a_signed_event_that_we_do_not_know_is_acknowledged_and_tells_nothing(world: World) -> None:
    notice = world.channel.read_notice(signed(world, b'{"event":"weather","data":{}}'), NOW)
    assert notice.findings == ()


def signed(world: World, body: bytes) -> RawNotice:
    """A notice with these bytes that the channel really signed."""
    timestamp = str(NOW // SECOND)
    words = ("sandbox-notice", "SANDBOX", timestamp, "SN1")
    headers = {
        signing.MERCHANT: "SANDBOX",
        signing.TIMESTAMP: timestamp,
        signing.NONCE: "SN1",
        signing.SIGNATURE: signing.sign(world.simulator._channel_key, *words, body=body),
    }
    return RawNotice("POST", "/", headers, body)


# ---------------------------------------------------------------------------------------------- faults and the ladder


def test_a_forged_notice_is_refused_and_tried_again(world: World) -> None:
    world.simulator.faults.plan_notice(NoticeFault.FORGED)
    world.pay_by_qr()
    (delivery,) = world.notices()
    with pytest.raises(Forged):
        world.channel.read_notice(raw(delivery.request), NOW)
    world.simulator.answered(delivery.key, SANDBOX.refusals[NoticeCase.FORGED], NOW)
    assert world.simulator.undelivered == 1


def test_a_notice_may_come_twice_late_or_never(world: World) -> None:
    world.simulator.faults.plan_notice(NoticeFault.DUPLICATE)
    world.simulator.faults.plan_notice(NoticeFault.LATE, delay=2 * MINUTE)
    world.simulator.faults.plan_notice(NoticeFault.LOST)
    for number in ("py1", "py2", "py3"):
        world.pay_by_qr(number)
    twins = world.acknowledge_all()
    assert [world.channel.read_notice(notice, NOW).findings for notice in twins] == [
        world.channel.read_notice(twins[0], NOW).findings
    ] * 2
    assert world.simulator.next_due() == NOW + 2 * MINUTE
    world.now += 2 * MINUTE
    (late,) = world.channel.read_notice(one_notice(world), world.now).findings
    assert isinstance(late, AboutPayment)
    assert late.payment_id == "py2"
    assert world.simulator.next_due() is None


def test_a_genuine_notice_may_carry_a_wrong_amount_or_another_merchant(world: World) -> None:
    world.simulator.faults.plan_notice(NoticeFault.WRONG_AMOUNT)
    world.simulator.faults.plan_notice(NoticeFault.WRONG_MERCHANT)
    world.pay_by_qr("py1")
    world.pay_by_qr("py2")
    findings = [world.channel.read_notice(notice, NOW).findings[0].finding for notice in world.acknowledge_all()]
    assert all(isinstance(finding, Paid) for finding in findings)
    assert [(f.amount_minor, f.merchant) for f in findings if isinstance(f, Paid)] == [
        (12801, "SANDBOX"),
        (12800, "SANDBOX-OTHER"),
    ]


@pytest.mark.parametrize(
    "answer",
    [None, NoticeReply(500), NoticeReply(200, {}, b"ok"), NoticeReply(204), NoticeReply(302, {}, b'{"ack":"ok"}')],
)
def test_anything_but_the_exact_acknowledgement_climbs_the_whole_ladder(
    world: World, answer: NoticeReply | None
) -> None:
    world.pay_by_qr()
    pauses = []
    while (due := world.simulator.next_due()) is not None:
        pauses.append(due - world.now)
        world.now = due
        for delivery in world.notices():
            world.simulator.answered(delivery.key, answer, world.now)
    assert tuple(pauses) == (0, *LADDER)
    assert sum(LADDER) == (24 * 60 + 4) * MINUTE


def test_a_delivery_whose_answer_never_comes_is_tried_again(world: World) -> None:
    world.pay_by_qr()
    assert len(world.notices()) == 1
    assert world.notices() == []
    world.now += 20 * SECOND
    assert world.notices() == []
    world.now += LADDER[0]
    assert len(world.notices()) == 1


def test_an_acknowledgement_that_comes_late_still_counts(world: World) -> None:
    world.pay_by_qr()
    (first,) = world.notices()
    world.now += MINUTE
    world.notices()
    world.simulator.answered(first.key, NoticeReply(200, {}, b'{"ack":"ok"}'), world.now)
    assert world.simulator.undelivered == 0


def test_every_delivery_is_signed_afresh(world: World) -> None:
    world.pay_by_qr()
    (first,) = world.notices()
    world.simulator.answered(first.key, None, NOW)
    world.now += 6 * 60 * MINUTE
    (again,) = world.notices()
    assert again.request.body == first.request.body
    world.channel.read_notice(raw(again.request), world.now)
    with pytest.raises(Forged):
        world.channel.read_notice(raw(first.request), world.now)


# ---------------------------------------------------------------------------------------------- keys


def test_notices_verify_under_any_version_and_calls_use_the_signing_one(world: World) -> None:
    old = version_of(world.simulator.settings(BASE), 1, KeyState.VERIFY_ONLY)
    world.simulator.rotate_channel_key()
    new = version_of(world.simulator.settings(BASE, key_version=2), 2)
    world.simulator.retire_key(key_version=1)
    rotated = SandboxChannel(account_of(new, old, signing=new))
    world.hold(rotated.prepare(world.payment()))
    world.simulator.pay("py1", NOW)
    rotated.read_notice(one_notice(world), NOW)
    with pytest.raises(ValueError, match="no key version"):
        world.hold(SandboxChannel(account_of(old)).query(world.payment()))


def test_old_notices_are_still_read_when_only_verifying_versions_are_left(world: World) -> None:
    world.pay_by_qr()
    old = version_of(world.simulator.settings(BASE), 1, KeyState.VERIFY_ONLY)
    assert SandboxChannel(account_of(old)).read_notice(one_notice(world), NOW).findings


def test_channel_of_another_merchant_reads_the_notice_and_the_core_sees_whose_it_is(world: World) -> None:
    world.pay_by_qr()
    other = open_channel(world.simulator, "SOMEBODY")
    (about,) = other.read_notice(one_notice(world), NOW).findings
    assert isinstance(about.finding, Paid)
    assert about.finding.merchant == "SANDBOX" != other.merchant


# ---------------------------------------------------------------------------------------------- evidence


def test_a_receipt_proves_a_purchase_and_asks_nothing(world: World) -> None:
    receipt = world.simulator.buy("gold.100", TOKEN, NOW, amount_minor=600, quantity=2)
    confirmed = world.hold(world.channel.confirm(EvidenceAsk(receipt, None, NOW, "n")))
    assert world.sent == []
    assert confirmed.may_finish
    (about,) = confirmed.findings
    assert isinstance(about, AboutPayment)
    assert about.reference == Reference("token", TOKEN)
    assert isinstance(about.finding, Paid)
    assert about.finding.purchase is not None
    assert (about.finding.purchase.quantity, about.finding.amount_minor) == (2, 600)
    assert about.finding.references == (Reference("transaction_id", about.finding.channel_trade_no),)


def test_no_changed_receipt_is_believed(world: World) -> None:
    receipt = world.simulator.buy("gold.100", TOKEN, NOW, amount_minor=600)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."
    chance = random.Random(7)
    for at in range(len(receipt)):
        other = chance.choice([char for char in alphabet if char != receipt[at]])
        with pytest.raises(Forged):
            world.hold(world.channel.confirm(EvidenceAsk(receipt[:at] + other + receipt[at + 1 :], None, NOW, "n")))


@pytest.mark.parametrize("evidence", ["", ".", "a.b", "é", "x" * 5000, "e30.e30", "\n"])
def test_rubbish_is_no_evidence(world: World, evidence: str) -> None:
    with pytest.raises(Forged):
        world.hold(world.channel.confirm(EvidenceAsk(evidence, None, NOW, "n")))


def test_a_merchants_order_is_no_receipt(world: World) -> None:
    """What the channel signs for another purpose cannot be handed in as a purchase."""
    key = world.simulator._channel_key
    forged = signing.seal(key, "sandbox-order", b'{"a":1}')
    with pytest.raises(Forged):
        world.hold(world.channel.confirm(EvidenceAsk(forged, None, NOW, "n")))
