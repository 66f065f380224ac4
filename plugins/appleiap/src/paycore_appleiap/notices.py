"""App Store Server Notifications V2. Source: "responseBodyV2DecodedPayload"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from paycore.channel import AboutPayment, Forged, Notice, NoticeReply, Paid, Reference, Unknown
from paycore_appleiap.form import read_object
from paycore_appleiap.reading import about, meaning
from paycore_appleiap.trust import Trust

ACKNOWLEDGE = NoticeReply(200, {"content-type": "text/plain"}, b"")
NOTIFICATION = "notification_uuid"

MONEY = frozenset({"ONE_TIME_CHARGE", "SUBSCRIBED", "DID_RENEW", "OFFER_REDEEMED", "REFUND", "REFUND_REVERSED"})
"""Types of which the transaction says everything."""
SILENT = frozenset({"TEST"})
"""Types that are about nothing: only the address was to be tried."""


def refusal(status: int) -> NoticeReply:
    """An answer after which Apple sends the notice again (1, 12, 24, 48 and 72 hours later, in production)."""
    return NoticeReply(status, {"content-type": "text/plain"}, b"")


def read_notice(body: bytes, trust: Trust) -> Notice:
    """Verify a notice and every document inside of it, and say what it proves. Raises Forged."""
    payload = read_object(body).get("signedPayload")
    if not isinstance(payload, str):
        raise Forged("there is no signed payload")
    notification = trust.notification(payload)
    kind, notice_id = notification.get("notificationType"), notification.get("notificationUUID")
    if not isinstance(kind, str) or not isinstance(notice_id, str) or not 0 < len(notice_id) <= 64:
        raise Forged("the notice names neither its type nor itself")
    data = notification.get("data")
    transaction = _inner(data, trust) if isinstance(data, Mapping) else None
    findings = _findings(kind, _word(notification.get("subtype")), notice_id, data, transaction)
    return Notice(findings, acknowledge=ACKNOWLEDGE, notice_id=notice_id)


def _inner(data: Mapping[str, Any], trust: Trust) -> Mapping[str, Any] | None:
    """The transaction inside, verified by itself; so is the renewal info. Raises Forged."""
    renewal, transaction = data.get("signedRenewalInfo"), data.get("signedTransactionInfo")
    if renewal is not None:
        trust.renewal(_text(renewal))
    return None if transaction is None else trust.transaction(_text(transaction))


def _findings(
    kind: str, subtype: str, notice_id: str, data: object, transaction: Mapping[str, Any] | None
) -> tuple[AboutPayment, ...]:
    """Money as the transaction tells it; what else a notice says is kept beside its payment, and moves nothing."""
    if kind in SILENT:
        return ()
    reason = _word(data.get("consumptionRequestReason")) if isinstance(data, Mapping) else ""
    note = Unknown(" ".join(word for word in ("Apple tells", kind[:64], subtype, reason) if word))
    if transaction is None:
        return (AboutPayment(note, reference=Reference(NOTIFICATION, notice_id)),)
    told = meaning(transaction, is_refund_reversed=kind == "REFUND_REVERSED")
    if not isinstance(told, Paid):
        return (about(transaction, note),)
    return (about(transaction, told),) if kind in MONEY else (about(transaction, told), about(transaction, note))


def _text(document: object) -> str:
    if not isinstance(document, str):
        raise Forged("a document inside is no JWS")
    return document


def _word(word: object) -> str:
    return word[:64] if isinstance(word, str) else ""
