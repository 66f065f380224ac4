"""Documents that Apple's own libraries agree on, and the meanings that an author of an integration gives them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from paycore.channel import (
    AboutPayment,
    ChannelRefund,
    Confirmed,
    EvidenceAsk,
    Forged,
    Malformed,
    NotFound,
    OperationAsk,
    OperationDone,
    OperationRefused,
    Paid,
    Reference,
    Silence,
    StorePurchase,
    Unknown,
)
from paycore.testing.mutate import every_letter
from paycore_appleiap.form import take_apart

from .support import NOW, answer, case, notice_of, open_channel, payment, scripted, vector_settings, vectors

TRANSACTIONS = [one for one in vectors("jws")["cases"] if one["kind"] == "transaction"]
NOTIFICATIONS = [one for one in vectors("jws")["cases"] if one["kind"] == "notification"]
TOKEN = "7e3fb20b-4cdb-47cc-936d-99d65f608138"


def channel_of(one: Any) -> Any:
    return open_channel(vector_settings(), one["verifier"]["environment"].lower())


def confirmed(one: Any, now: int = NOW) -> Confirmed:
    ask = EvidenceAsk(one["jws"], payment(), now, "0" * 32)
    found: Confirmed = scripted(channel_of(one).confirm(ask))[0]
    return found


def paid_in(case_id: str) -> tuple[AboutPayment, Paid]:
    [about] = confirmed(case(case_id)).findings
    assert isinstance(about, AboutPayment)
    assert isinstance(about.finding, Paid)
    return about, about.finding


@pytest.mark.parametrize("one", TRANSACTIONS, ids=lambda one: one["id"])
def test_a_signed_transaction_is_believed_or_not(one: Any) -> None:
    if one["expect"] == "accept":
        assert isinstance(confirmed(one), Confirmed)
    else:
        with pytest.raises(Forged):
            confirmed(one)


@pytest.mark.parametrize("one", NOTIFICATIONS, ids=lambda one: one["id"])
def test_a_notification_is_believed_or_not(one: Any) -> None:
    if one["expect"] == "accept":
        notice = channel_of(one).read_notice(notice_of(one["jws"]), NOW)
        assert notice.acknowledge.status == 200
        assert notice.notice_id == one["payload"]["notificationUUID"]
    else:
        with pytest.raises(Forged):
            channel_of(one).read_notice(notice_of(one["jws"]), NOW)


def test_price_currency_and_what_was_bought_are_the_transactions() -> None:
    about, paid = paid_in("tx_consumable")
    assert (paid.amount_minor, paid.currency, paid.merchant) == (600, "CNY", "com.example.musicapp")
    assert paid.purchase == StorePurchase("com.example.musicapp.coins60", 1, TOKEN)
    assert paid.references == (Reference("transaction_id", "2000000900000001"),)
    assert about.reference == Reference("app_account_token", TOKEN)
    assert (paid.paid_at, paid.refunds) == (1795375800000 * 1000, ())


def test_what_apple_gave_back_goes_along() -> None:
    assert paid_in("tx_refunded")[1].refunds == (ChannelRefund(600, "2000000900000001"),)
    assert paid_in("tx_refund_prorated")[1].refunds == (ChannelRefund(300, "2000000900000001"),)


def test_the_family_paid_nothing() -> None:
    assert confirmed(case("tx_family_revoke")) == Confirmed(())


def test_a_purchase_outside_of_the_app_names_its_transaction() -> None:
    about, paid = paid_in("tx_no_app_account_token")
    assert about.reference == Reference("transaction_id", "2000000900000001")
    assert paid.purchase == StorePurchase("com.example.musicapp.coins60", 1, "")


def test_a_renewal_is_not_the_first_purchase_told_twice() -> None:
    about, _ = paid_in("tx_subscription_renewal")
    assert about.reference == Reference("transaction_id", "2000000900000010")
    assert about.renews == Reference("transaction_id", "2000000900000009")


@pytest.mark.parametrize("entry", vectors("state_map"), ids=lambda entry: f"{entry['operation']} {entry['input']}")
def test_the_meaning_of_every_outcome(entry: Any) -> None:
    """The given table: the vocabulary is its author's, the findings are ours."""
    operation, given, outcome = entry["operation"], entry["input"], entry["outcome"]
    if operation == "get_transaction_info":
        ask = payment(channel_trade_no="2000000900000001")
        reply = answer(given["http"], {"errorCode": given["errorCode"]} if given["errorCode"] else None)
        found = scripted(open_channel(vector_settings()).query(ask), reply)[0]
        assert isinstance(found, NotFound if outcome == "NOT_FOUND" else Unknown)
    elif operation == "notify":
        _is_told(given["notificationType"], outcome)
    elif operation == "refund":
        assert not hasattr(open_channel(vector_settings()), "refund")
    else:
        assert (operation, outcome) in {("confirm", "PAID"), ("confirm", "REFUNDED"), ("confirm", "REJECTED")}


def _is_told(kind: str, outcome: str) -> None:
    known = [one for one in NOTIFICATIONS if one["payload"] and one["payload"]["notificationType"] == kind]
    known = known or [case("n_unknown_type")]
    for one in known:
        findings = channel_of(one).read_notice(notice_of(one["jws"]), NOW).findings
        paid = [about.finding for about in findings if isinstance(about.finding, Paid)]
        gone = [refund for found in paid for refund in found.refunds]
        if outcome in ("PAID", "PAID_NEW_ORDER"):
            assert paid
            assert not gone
        if outcome == "REFUNDED":
            assert [refund.reversed for refund in gone] == [False]
        if outcome == "PAID_AGAIN":
            assert [refund.reversed for refund in gone] == [True]
        if outcome in ("NO_CHANGE", "ENTITLEMENT_REVOKED"):
            assert not gone


# ---------------------------------------------------------------------------------------------- form


@pytest.mark.parametrize("parts", ["", "a", "a.b", "a.b.c.d", "not a jws", "é.é.é", "e30.e30.", "." * 3, "[].e30.AA"])
def test_what_is_no_jws_is_malformed(parts: str) -> None:
    with pytest.raises(Malformed):
        scripted(open_channel(vector_settings()).confirm(EvidenceAsk(parts, None, NOW, "0" * 32)))


def test_two_and_four_parts_of_a_genuine_one_are_malformed() -> None:
    jws = case("tx_consumable")["jws"]
    for spoilt in (jws.rpartition(".")[0], f"{jws}.AAAA", jws + "=", f" {jws}", jws + "\n"):
        with pytest.raises(Malformed):
            confirmed({**case("tx_consumable"), "jws": spoilt})


def test_every_letter_of_it_counts() -> None:
    one = case("tx_consumable")
    for spoilt in every_letter(one["jws"]):
        with pytest.raises(Forged):
            confirmed({**one, "jws": spoilt})


def test_a_name_that_stands_twice_is_refused() -> None:
    jws = case("n_test")["jws"]
    raw = notice_of(jws)
    for body in (raw.body[:-1] + b',"signedPayload":"x"}', b"[" * 20_000, b"", b"{}", b'{"signedPayload":1}'):
        with pytest.raises(Forged):
            open_channel(vector_settings()).read_notice(replace(raw, body=body), NOW)


# ---------------------------------------------------------------------------------------------- the server API


def api_case(case_id: str) -> Any:
    return next(one for one in vectors("server_api")["cases"] if one["id"] == case_id)


def reply_of(one: Any) -> Any:
    return answer(one["response"]["status"], one["response"]["body"])


def is_asked_like(request: Any, one: Any) -> None:
    """The request is the official client's, and its token says the same and verifies."""
    wanted = one["request"]
    assert (request.method, request.url.partition("?")[0]) == (wanted["method"], wanted["url"])
    said = take_apart(request.headers["authorization"].removeprefix("Bearer "))
    assert dict(said.header) == wanted["jwt_header"]
    claims = {name: value for name, value in wanted["jwt_claims"].items() if name != "exp"}
    assert {name: said.payload[name] for name in claims} == claims
    assert said.payload["exp"] == NOW // 1_000_000 + 300
    import jwt

    key = vectors("jws")["keys"]["api_key_public_spki"]
    options: Any = {"verify_exp": False, "verify_iat": False}
    jwt.decode(said.jws, key, algorithms=["ES256"], audience="appstoreconnect-v1", options=options)


def test_a_transaction_is_looked_up_as_the_official_client_does() -> None:
    one = api_case("get_transaction_info")
    ask = payment(channel_trade_no="2000000900000001")
    found, [request] = scripted(open_channel(vector_settings()).query(ask), reply_of(one))
    is_asked_like(request, one)
    assert isinstance(found, Paid)
    assert found.amount_minor == 600


@pytest.mark.parametrize(
    ("name", "case_id", "inputs"),
    [
        ("transaction_history", "history_v2_page1", {"revision": ""}),
        ("refund_history", "refund_history_v2", {"revision": ""}),
        ("test_notification", "request_test_notification", {}),
        (
            "consumption_information",
            "send_consumption_v2",
            {
                "customer_consented": "true",
                "sample_content_provided": "false",
                "delivery_status": "DELIVERED",
                "consumption_percentage": "50",
                "refund_preference": "GRANT_PRORATED",
            },
        ),
    ],
)
def test_an_operation_asks_as_the_official_client_does(name: str, case_id: str, inputs: dict[str, str]) -> None:
    one = api_case(case_id)
    ask = OperationAsk(name, payment(channel_trade_no="2000000900000001"), inputs, NOW, "0" * 32)
    found, [request] = scripted(open_channel(vector_settings()).operate(ask), reply_of(one))
    is_asked_like(request, one)
    assert isinstance(found, OperationDone), found
    if one["request"]["json"]:
        import json

        assert json.loads(request.body) == one["request"]["json"]


def test_nothing_is_told_about_a_customer_who_did_not_consent() -> None:
    inputs = {"customer_consented": "false"}
    ask = OperationAsk("consumption_information", payment(channel_trade_no="1"), inputs, NOW, "0" * 32)
    found, asked = scripted(open_channel(vector_settings()).operate(ask))
    assert isinstance(found, OperationRefused)
    assert asked == []


def test_an_old_proof_is_asked_about_again() -> None:
    """It was genuine when it was signed; since then Apple may have given the money back."""
    one = case("tx_consumable")
    later = EvidenceAsk(one["jws"], payment(), NOW + 3600 * 1_000_000, "0" * 32)
    refunded = answer(200, {"signedTransactionInfo": case("tx_refunded")["jws"]})
    found, asked = scripted(open_channel(vector_settings()).confirm(later), refunded)
    assert len(asked) == 1
    assert found.findings[0].finding.refunds  # type: ignore[union-attr]
    with pytest.raises(Silence):
        scripted(open_channel(vector_settings()).confirm(later), answer(500, {"errorCode": 5000001}))
