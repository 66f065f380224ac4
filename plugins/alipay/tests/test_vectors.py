"""The cases that official and common SDKs produced or were asked about: our signatures, our judgement, our reading."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from paycore.channel import (
    AboutPayment,
    AlreadyPaid,
    BillAmount,
    Closed,
    Conversation,
    Declined,
    Environment,
    Forged,
    LineKind,
    NotFound,
    Paid,
    PayerPaying,
    PaymentFinding,
    RawNotice,
    Ready,
    Refunded,
    RefundFailed,
    RefundFinding,
    RefundNotFound,
    RefundRefused,
    RefundShort,
    Reply,
    Reversed,
    Secret,
    Statement,
    StatementAsk,
    Unknown,
    Waiting,
)
from paycore_alipay import bills, certificates, reading, signing, wire
from paycore_alipay.channel import AlipayChannel
from paycore_alipay.wire import Answer, Unreadable

from .support import (
    KEYS,
    NOW,
    PAYMENT,
    converse,
    open_with,
    payment,
    refund,
    vector_certificates,
    vector_settings,
    vectors,
)

REQUESTS = vectors("alipay_request_sign")
ANSWERS = vectors("alipay_response_verify")
NOTICES = vectors("alipay_notify")
BILLS = vectors("alipay_bill")
STATES = vectors("state_map")
MERCHANT = "2021000100000001/2088102100000001"


def named(cases: list[dict[str, Any]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in cases])


@pytest.fixture(scope="module")
def channel() -> AlipayChannel:
    """The merchant of the vectors, at production."""
    return open_with(vector_settings(), Environment.PRODUCTION)


# ---------------------------------------------------------------------------------------------- requests


@named(REQUESTS["vectors"])
def test_a_request_is_signed_as_the_sdks_sign_it(case: dict[str, Any]) -> None:
    key = signing.read_private_key(Secret(KEYS["rsa"][case["app_key"]]["pkcs1_b64"]))
    text = signing.request_text(case["params"])
    assert text == case["sign_string"]
    assert signing.sign(key, text.encode()) == case["sign"]


@named([case for case in REQUESTS["vectors"] if "order_str" in case or "url" in case or "query_string" in case])
def test_what_the_sdks_write_is_read_as_what_was_signed(case: dict[str, Any]) -> None:
    written = case.get("order_str") or case.get("query_string") or case["url"].partition("?")[2]
    read = wire.texts(wire.read_form(written.encode()))
    assert read == case["params"] | {"sign": case["sign"]}
    assert wire.texts(wire.read_form(wire.write_form(read).encode())) == read


@named(REQUESTS["low_level"])
def test_the_rule_itself(case: dict[str, Any]) -> None:
    key = signing.read_private_key(Secret(KEYS["rsa"]["alipay_app"]["pkcs8_pem"]))
    text = signing.request_text(case["params"])
    assert text == case["sign_string"]
    content = text.encode(case.get("charset", "utf-8"))
    assert signing.sign(key, content) == case["sign_rsa2"]
    assert not signing.verify([key.public_key()], case.get("sign_rsa1_legacy", ""), content)


def test_empty_parameters_are_not_signed() -> None:
    assert signing.request_text({"b": "", "a": "1", "sign": "x"}) == "a=1"


# ---------------------------------------------------------------------------------------------- certificates


def test_serial_numbers_are_those_of_the_sdks() -> None:
    expected = vectors("alipay_cert_sn")["expected"]
    certs = KEYS["certs"]
    assert certificates.app_cert_sn(certs["alipay_app_cert"]) == expected["app_cert_sn"]
    assert certificates.root_cert_sn(certs["alipay_root_cert"]) == expected["alipay_root_cert_sn"]
    sn, key = certificates.alipay_cert(certs["alipay_public_cert"])
    assert sn == expected["alipay_cert_sn"]
    assert key == signing.read_public_key(expected["alipay_public_key_b64"])


# ---------------------------------------------------------------------------------------------- answers


def read(channel: AlipayChannel, case: dict[str, Any]) -> Answer:
    """The answer as the channel takes it."""
    method = case["response_key"].removesuffix("_response").replace("_", ".")
    return channel._read(case["raw"].encode(), method)


@named(ANSWERS["cases"])
def test_an_answer_is_believed_or_not(channel: AlipayChannel, case: dict[str, Any]) -> None:
    if case["expect"] == "reject":
        with pytest.raises(Unreadable):
            read(channel, case)
        return
    answer = read(channel, case)
    assert answer.is_signed
    envelope = wire.open_envelope(
        case["raw"].encode(), case["response_key"].removesuffix("_response").replace("_", ".")
    )
    assert envelope.content == case["signed_content"]


UNIFIED: dict[str, type | tuple[type, ...]] = {
    "PAID": Paid,
    "PENDING": (Waiting, Ready),
    "NOT_FOUND_AT_CHANNEL": NotFound,
    "UNKNOWN": Unknown,
    "REFUND_SUCCEEDED": Refunded,
    "REFUND_UNKNOWN": Unknown,
}


@named([case for case in ANSWERS["cases"] if (case["expect_business"] or {}).get("unified")])
def test_an_answer_is_read_as_what_it_says(channel: AlipayChannel, case: dict[str, Any]) -> None:
    number = read(channel, case).document.get("out_trade_no", PAYMENT)
    ask = payment("barcode" if "pay_response" in case["response_key"] else "qr", number)
    verbs: dict[str, Conversation[Any]] = {
        "alipay_trade_query_response": channel.query(ask),
        "alipay_trade_pay_response": channel.prepare(ask),
        "alipay_trade_refund_response": channel.refund(refund(payment=ask)),
    }
    found = converse(verbs[case["response_key"]], Reply(200, {}, case["raw"].encode()))
    assert isinstance(found, UNIFIED[case["expect_business"]["unified"]])
    if isinstance(found, Paid):
        assert (found.amount_minor, found.currency) == (case["expect_business"]["paid_minor"], "CNY")


# ---------------------------------------------------------------------------------------------- notices


def notice(body: str | bytes) -> RawNotice:
    return RawNotice("POST", "/v1/notices/ac1", {}, body if isinstance(body, bytes) else body.encode())


@named(NOTICES["cases"])
@pytest.mark.parametrize("settings", [vector_settings(), vector_certificates()], ids=["key", "certificates"])
def test_a_notice_is_taken_or_not(case: dict[str, Any], settings: dict[str, str]) -> None:
    channel = open_with(settings)
    if case["expect"] == "reject":
        with pytest.raises(Forged):
            channel.read_notice(notice(case["body"]), NOW)
        return
    if settings.get("alipay_public_key") is None:  # the certificate holds the same key
        assert signing.verify(channel._alipay_keys(), *signature_of(case["body"]))
    business = case.get("business") or {}
    taken = channel.read_notice(notice(case["body"]), NOW)
    [about] = taken.findings
    assert isinstance(about, AboutPayment)
    assert (taken.acknowledge.status, taken.acknowledge.body) == (200, b"success")
    expected = {"PAID": Paid, "PENDING": Waiting, "CLOSED": Closed, "REJECT_MISMATCH": Paid}
    assert isinstance(about.finding, expected[business["unified"]] if business else object)
    if isinstance(about.finding, Paid):
        assert (about.finding.merchant == MERCHANT) is (business.get("unified") != "REJECT_MISMATCH")
        assert about.finding.amount_minor == business.get("paid_minor", about.finding.amount_minor)


def signature_of(body: str) -> tuple[str, bytes]:
    pairs = wire.read_form(body.encode())
    return dict(pairs)[b"sign"].decode(), signing.notice_bytes(pairs)


# ---------------------------------------------------------------------------------------------- what a phone hands back


def test_a_signed_result_of_the_sdk_verifies_and_is_a_hint_all_the_same(channel: AlipayChannel) -> None:
    from paycore_alipay import outcome_of

    hints = {
        "PROCESSING_CONFIRM": "success_claimed",
        "UNKNOWN_QUERY": ("processing", "unknown"),
        "USER_CANCELLED": "cancelled",
        "CLIENT_FAILED": "failed",
    }
    for case in vectors("alipay_sync_result")["cases"]:
        result = case["client_result"]
        assert outcome_of(result["resultStatus"]) in hints[case["unified_hint"]]
        if case["expect_signature"] == "accept":
            assert channel._read(result["result"].encode(), "alipay.trade.app.pay").is_done


# ---------------------------------------------------------------------------------------------- money


def test_money_on_the_wire() -> None:
    amounts = vectors("amounts")
    for minor, text in amounts["to_yuan"]:
        assert wire.money(minor) == text
        assert wire.money_of({"a": text}, "a") == minor
    for text in (
        *amounts["from_yuan_reject"],
        "88.880",
        "-8.88",
        "1_000",
        " 12 ",
        "+5",
        "01.00",
        ".5",
        "5.",
        "0.00",
        "１２",
    ):
        with pytest.raises(Unreadable):
            wire.money_of({"a": text}, "a")


def test_money_of_a_bill_is_exact() -> None:
    for text in (*vectors("amounts")["fee_decimal_yuan_keep_exact"], "-8.88", "-0.00600"):
        assert str(BillAmount.parse(text)) == text


# ---------------------------------------------------------------------------------------------- bills


def bill(field: str, name: str, day: str = "2026-11-21", merchant: str = MERCHANT) -> Statement:
    return bills.read(base64.b64decode(BILLS[field]), StatementAsk(name, day, NOW, ""), merchant=merchant)


def test_a_bill_of_trades() -> None:
    lines = bill("zip_base64", "trade").lines
    expected = BILLS["expected"]
    for kind, wanted in ((LineKind.PAYMENT, expected["payments"]), (LineKind.REFUND, expected["refunds"])):
        found = [
            {
                "channel_trade_no": line.channel_trade_no,
                "out_trade_no": line.payment_id,
                **({"out_refund_no": line.refund_id} if kind is LineKind.REFUND else {}),
                "amount_minor": line.amount.minor("CNY"),
                "received_minor": BillAmount.parse(line.columns["商家实收（元）"]).minor("CNY"),
                "fee_minor": line.fee.minor("CNY") if line.fee else None,
                "finished": f"{wire.time(line.happened_at or 0).replace(' ', 'T')}+08:00",
            }
            for line in lines
            if line.kind is kind
        ]
        assert found == wanted


def test_a_bill_of_an_empty_day() -> None:
    assert bill("empty_day_zip_base64", "trade").lines == ()


def test_a_bill_of_the_ledger() -> None:
    lines = bill("signcustomer_zip_base64", "ledger").lines
    assert [(line.kind, line.amount.minor("CNY"), line.payment_id) for line in lines] == [
        (LineKind.PAYMENT, 8888, "PC202611210001"),
        (LineKind.REFUND, -888, "PC202611210001"),
    ]


def test_a_bill_of_another_day_or_merchant_is_none() -> None:
    with pytest.raises(Unreadable):
        bill("zip_base64", "trade", day="2026-11-20")
    with pytest.raises(Unreadable):
        bill("zip_base64", "trade", merchant="2021000100000001/2088102100000002")


# ---------------------------------------------------------------------------------------------- the table of states

OUTCOMES: dict[str, type | tuple[type, ...]] = {
    "PENDING": (Waiting, Ready),
    "PAID": Paid,
    "PAID?": AlreadyPaid,
    "CLOSED_OR_REFUNDED": Closed,
    "NOT_FOUND": NotFound,
    "UNKNOWN": Unknown,
    "RETRY_LATER": Unknown,
    "REJECTED": Declined,
    "CLOSED": Closed,
    "CLOSED_LOCALLY": NotFound,
    "REFUNDED": Reversed,
    "REFUND_SUCCEEDED": Refunded,
    "REFUND_UNKNOWN": Unknown,
    "REFUND_RETRY_LATER": RefundShort,
    "REFUND_FAILED": (RefundRefused, RefundFailed),
    "REFUND_NOT_DONE": RefundNotFound,
}
QUERIED_INSTEAD = {"ACQ.CONTEXT_INCONSISTENT"}
"""The table says: rejected, and query first. Unknown makes the core do so."""


def signed(method: str, document: dict[str, str]) -> Reply:
    """An answer signed by Alipay's key of the vectors."""
    text = wire.write_json(document)
    key = signing.read_private_key(Secret(KEYS["rsa"]["alipay_platform"]["pkcs8_b64"]))
    body = f'{{"{method.replace(".", "_")}_response":{text},"sign":"{signing.sign(key, text.encode())}"}}'
    return Reply(200, {}, body.encode())


ABOUT = {"out_trade_no": PAYMENT, "trade_no": "2026112222001481070500000001"}
PAID_AT = {"total_amount": "128.00", "gmt_payment": "2026-11-23 03:31:02"}


def told(channel: AlipayChannel, case: dict[str, Any]) -> PaymentFinding | RefundFinding:
    """What the verb of a row concludes from the row's answer."""
    operation, given = case["operation"], case["input"]
    if "http" in given:
        return converse(channel.query(payment()), Reply(given["http"], {}, b"<h1>Bad Gateway</h1>"))
    paid = PAID_AT if given["code"] == "10000" and given.get("trade_status") != "TRADE_CLOSED" else {}
    if operation == "close":
        after = signed("alipay.trade.query", {"code": "10000", "trade_status": "TRADE_SUCCESS", **ABOUT, **PAID_AT})
        needs_more = given.get("sub_code", "") in reading.NOT_PAYABLE_STATES
        answer = signed("alipay.trade.close", ABOUT | given)
        return converse(channel.close(payment()), answer, *([after] if needs_more else []))
    if operation == "cancel":
        before = signed("alipay.trade.query", {"code": "40004", "sub_code": "ACQ.TRADE_NOT_EXIST"})
        return converse(channel.close(payment("barcode")), before, signed("alipay.trade.cancel", ABOUT | given))
    if operation == "refund":
        return converse(channel.refund(refund()), signed("alipay.trade.refund", ABOUT | given))
    if operation == "refund_query":
        about = ABOUT | {"out_request_no": refund().refund_id, "refund_amount": "30.00"}
        return converse(channel.query_refund(refund()), signed("alipay.trade.fastpay.refund.query", about | given))
    if operation == "query":
        return converse(channel.query(payment()), signed("alipay.trade.query", ABOUT | paid | given))
    return converse(channel.prepare(payment("barcode")), signed("alipay.trade.pay", ABOUT | paid | given))


@pytest.mark.parametrize(
    "case", [pytest.param(one, id=f"{one['operation']} {'_'.join(map(str, one['input'].values()))}") for one in STATES]
)
def test_the_table_of_states(channel: AlipayChannel, case: dict[str, Any]) -> None:
    found = told(channel, case)
    if case["outcome"] == "QUERY":
        assert isinstance(found, Paid)
    elif case["input"].get("sub_code") in QUERIED_INSTEAD:
        assert isinstance(found, Unknown)
    else:
        assert isinstance(found, OUTCOMES[case["outcome"]])


def test_a_trade_that_is_refunded_in_full_is_not_one_that_nobody_paid(channel: AlipayChannel) -> None:
    answer = {"code": "10000", "trade_status": "TRADE_CLOSED", "total_amount": "128.00", **ABOUT}
    assert isinstance(converse(channel.query(payment()), signed("alipay.trade.query", answer)), Closed)
    paid = converse(
        channel.query(payment()), signed("alipay.trade.query", answer | {"send_pay_date": "2026-11-23 03:31:02"})
    )
    assert isinstance(paid, Paid)
    assert [(one.amount_minor, one.is_sum) for one in paid.refunds] == [(12800, True)]


def test_a_payer_who_is_at_it_cannot_be_closed(channel: AlipayChannel) -> None:
    refusal = signed("alipay.trade.close", {"code": "40004", "sub_code": "ACQ.TRADE_STATUS_ERROR"})
    waiting = signed("alipay.trade.query", {"code": "10000", "trade_status": "WAIT_BUYER_PAY", **ABOUT})
    assert isinstance(converse(channel.close(payment()), refusal, waiting), PayerPaying)
