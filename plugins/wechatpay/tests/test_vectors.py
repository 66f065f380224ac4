"""Given cases: signatures, verification, decryption, payloads and bills as the SDKs of WeChat Pay make and read them."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from cryptography import x509

from paycore.channel import (
    AboutPayment,
    AboutRefund,
    Forged,
    LineKind,
    Paid,
    RawNotice,
    Refunded,
    RefundFailed,
    RefundStuck,
    Reply,
    Secret,
    Unknown,
    Waiting,
)
from paycore_bridge import Target
from paycore_wechatpay import bills, certificates, gateway, plans, signing, wire
from paycore_wechatpay.keys import Keyring
from paycore_wechatpay.plans import Prepaid

from .support import SECOND, World, account_of, open_channel, scripted, vector_settings, vectors, version_of

MERCHANT = signing.read_private_key(Secret(vectors("keys")["private"]["wechat_merchant"]))


def named(name: str) -> Any:
    return [pytest.param(case, id=case["id"]) for case in vectors(name)]


@pytest.mark.parametrize("case", named("authorization"))
def test_a_request_is_signed_as_every_sdk_signs_it(case: dict[str, str]) -> None:
    body = case["body"].encode()
    message = signing.signed_text(
        case["method"], case["canonical_url"], case["timestamp"], case["nonce_str"], body=body
    )
    assert message.decode() == case["message"]
    header = signing.authorization(
        MERCHANT,
        mchid=case["mchid"],
        serial=case["serial_no"],
        method=case["method"],
        path=case["canonical_url"],
        timestamp=case["timestamp"],
        nonce=case["nonce_str"],
        body=body,
    )
    assert attributes(header) == attributes(case["authorization"])


def attributes(header: str) -> tuple[str, frozenset[str]]:
    """A header whose attributes may stand in any order."""
    scheme, _, rest = header.partition(" ")
    return scheme, frozenset(rest.split(","))


@pytest.mark.parametrize("case", named("client_payload"))
def test_a_payload_is_signed_as_every_sdk_signs_it(case: dict[str, Any]) -> None:
    given = case["payload"]
    prepaid = Prepaid(
        key=MERCHANT,
        appid=vectors("keys")["ids"]["wechat_appid"],
        mchid=vectors("keys")["ids"]["wechat_mchid"],
        prepay_id=case["prepay_id"],
        nonce=case["nonce"],
        now=int(case["timestamp"]) * SECOND,
        expires_at=2**60,
    )
    if case["id"] == "app":
        assert prepaid.signature(prepaid.prepay_id) == case["sign"]
        ours = plans.pay_req(prepaid, case["sign"], Target.ANDROID)
        renamed = {"packagevalue": "package"}
        assert {renamed.get(name.lower(), name.lower()): value for name, value in ours.items()} == given
    else:
        assert {"appId": prepaid.appid, **plans.script_arguments(prepaid)} == given


@pytest.mark.parametrize("case", named("response_verify"))
def test_an_answer_counts_as_far_as_it_proves(case: dict[str, Any]) -> None:
    version = version_of(vector_settings())
    ring = Keyring.of(account_of(version, signing=version))
    reply = Reply(case["status"], lower(case["headers"]), case["body"].encode())
    answer = gateway.read(ring.verifiers, reply, case["now"] * SECOND)
    assert answer.is_signed == (case["expect"] == "accept")
    assert bool(answer.code) == (case["expect"] == "error")
    with pytest.raises(wire.Unreadable):
        gateway.read(ring.verifiers, Reply(200, {}, reply.body), case["now"] * SECOND)
    if answer.is_signed:
        with pytest.raises(wire.Unreadable):
            gateway.read(ring.verifiers, Reply(200, reply.headers, reply.body + b" "), case["now"] * SECOND)
        with pytest.raises(wire.Unreadable):
            gateway.read(ring.verifiers, reply, (case["now"] + 300) * SECOND)


def lower(headers: dict[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def test_a_trade_is_read_from_its_query() -> None:
    found = {case["id"]: case for case in vectors("response_verify")}
    channel = open_channel(vector_settings())
    ask = World().payment(payment_id="PC202611220002", now=1_795_375_803 * SECOND)
    for name, kind in (("query_success", Paid), ("query_notpay", Waiting)):
        case = found[name]
        finding, _ = scripted(channel.query(ask), Reply(200, lower(case["headers"]), case["body"].encode()))
        assert isinstance(finding, kind)
        if isinstance(finding, Paid):
            assert (finding.amount_minor, finding.currency, finding.merchant) == (8888, "CNY", "1900000109")
            assert finding.paid_at == 1_795_347_062 * SECOND


@pytest.mark.parametrize("case", named("notify"))
def test_a_notice_is_read_or_refused(case: dict[str, Any]) -> None:
    channel = open_channel(vector_settings())
    notice = RawNotice("POST", "/v1/notices/ac1", lower(case["headers"]), case["body"].encode())
    now = case["now"] * SECOND
    if case["expect"] == "reject":
        try:
            read = channel.read_notice(notice, now)
        except Forged:
            return
        assert (read.findings, read.acknowledge.status) == ((), 400)
        assert case["id"] == "associated_data_swapped"  # genuinely signed, and cannot be opened
        return
    read = channel.read_notice(notice, now)
    assert (read.acknowledge.status, read.acknowledge.body) == (204, b"")
    assert read.notice_id.startswith("EV-")
    (about,) = read.findings
    expect_notice(case, about)
    for shift in (300, -300):
        with pytest.raises(Forged):
            channel.read_notice(notice, now + shift * SECOND)


def expect_notice(case: dict[str, Any], about: object) -> None:
    """What a genuine notice of the vectors tells."""
    plain, unified = case["plaintext"], (case["business"] or {"unified": "PAID"})["unified"]
    if isinstance(about, AboutRefund):
        kinds = {"REFUND_SUCCEEDED": Refunded, "REFUND_NEEDS_ATTENTION": RefundStuck, "REFUND_FAILED": RefundFailed}
        assert isinstance(about.finding, kinds[unified])
        assert (about.refund_id, about.payment_id) == (plain["out_refund_no"], plain["out_trade_no"])
        assert (about.amount_minor, about.currency, about.merchant) == (888, "CNY", plain["mchid"])
        return
    assert isinstance(about, AboutPayment)
    assert about.payment_id == plain["out_trade_no"]
    if unified == "UNKNOWN_QUERY":
        assert isinstance(about.finding, Unknown)
        return
    assert isinstance(about.finding, Paid)
    assert (about.finding.amount_minor, about.finding.merchant) == (8888, plain["mchid"])
    assert (about.finding.merchant != "1900000109") == (unified == "REJECT_MISMATCH")


def test_platform_certificates_are_opened() -> None:
    case, keys = vectors("certificates"), vectors("keys")
    found = certificates.opened(wire.read(case["body"].encode()), keys["secrets"]["wechat_apiv3_key"].encode())
    wanted = {name: x509.load_pem_x509_certificate(keys["certs"][of].encode()) for name, of in case["expected"].items()}
    assert {signing.serial_of(one): one for one in found} == wanted
    with pytest.raises(wire.Unreadable):
        certificates.opened(wire.read(case["body"].encode()), keys["secrets"]["wechat_apiv3_key_wrong"].encode())


# ---------------------------------------------------------------------------------------------- bills


def test_a_trade_bill_is_read() -> None:
    case = vectors("bills")["trade"]
    plain = bills.unpacked(base64.b64decode(case["gzip"]), sha1=case["hash"]["hash_value"])
    lines = bills.lines_of(bills.TRADE, plain)
    payments = [line for line in lines if line.kind is LineKind.PAYMENT]
    for line, wanted in zip(payments, case["expected"]["payments"], strict=True):
        assert (line.channel_trade_no, line.payment_id) == (wanted["transaction_id"], wanted["out_trade_no"])
        assert line.amount.minor("CNY") == wanted["amount_minor"]
        assert str(line.fee) == wanted["fee_yuan"]
        assert bills.amount(line.columns["应结订单金额"]).minor("CNY") == wanted["settle_minor"]
    (refund,) = (line for line in lines if line.kind is LineKind.REFUND)
    (wanted,) = case["expected"]["refunds"]
    assert (refund.channel_refund_no, refund.refund_id) == (wanted["refund_id"], wanted["out_refund_no"])
    assert refund.payment_id == wanted["out_trade_no"]
    assert refund.amount.minor("CNY") == -wanted["apply_minor"]
    assert refund.columns["退款状态"] == wanted["status"]
    assert refund.columns["商品名称"] == "云音乐会员, 1 个月", "a value may hold a comma"


def test_a_fund_flow_bill_is_read() -> None:
    case = vectors("bills")["fund_flow"]
    plain = bills.unpacked(base64.b64decode(case["gzip"]), sha1=case["hash"]["hash_value"])
    lines = bills.lines_of(bills.FUND_FLOW, plain)
    moved = [line.amount.minor(line.currency) for line in lines]
    assert len(moved) == case["expected"]["rows"]
    assert sum(one for one in moved if one > 0) == case["expected"]["income_minor"]
    assert -sum(one for one in moved if one < 0) == case["expected"]["expense_minor"]
    assert [line.kind for line in lines] == [LineKind.PAYMENT, LineKind.FEE, LineKind.REFUND]


@pytest.mark.parametrize("text", vectors("amounts")["from_yuan_reject"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        bills.amount(text).minor("CNY")


@pytest.mark.parametrize(("text", "minor"), vectors("amounts")["from_yuan_ok"])
def test_amounts_of_a_bill_are_exact(text: str, minor: int) -> None:
    assert bills.amount(text).minor("CNY") == minor


@pytest.mark.parametrize("text", vectors("amounts")["fee_decimal_yuan_keep_exact"])
def test_a_fee_is_kept_to_its_last_digit(text: str) -> None:
    assert str(bills.amount(text)) == text
