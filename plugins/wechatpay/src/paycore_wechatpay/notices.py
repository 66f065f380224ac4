"""WeChat Pay's notices: verified as raw bytes, opened with the APIv3 key, read.

Sources: "Payment notice", "Refund notice", "Signature verification", "Receiving notices". A payment is announced only when
it succeeded; there is no notice of closing. An answer is due within 5 seconds: 200 or 204 without a body, or 4xx/5xx with a
code and a message.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from paycore.channel import About, Forged, Notice, NoticeReply, RawNotice
from paycore_wechatpay import reading, signing, wire
from paycore_wechatpay.keys import Keyring
from paycore_wechatpay.wire import Unreadable

MAX_NOTICE_BYTES = 64 * 1024
ACKNOWLEDGE = NoticeReply(204)


def refusal(status: int, message: str) -> NoticeReply:
    """What tells WeChat Pay that a notice was not taken."""
    body = json.dumps({"code": "FAIL", "message": message}, separators=(",", ":")).encode()
    return NoticeReply(status, {"content-type": "application/json"}, body)


CANNOT_BE_OPENED = refusal(400, "the resource cannot be decrypted or read")


def read(ring: Keyring, notice: RawNotice, now: int) -> Notice:
    """What a notice says. Raises Forged unless WeChat Pay signed exactly these bytes within the last five minutes.

    A notice that is WeChat Pay's and cannot be opened or read tells nothing and is answered with 400.
    """
    _prove(ring, notice, now)
    try:
        document = wire.read(notice.body)
        notice_id = wire.text_or_empty(document, "id")[:128]
        return Notice(_findings(ring, document), acknowledge=ACKNOWLEDGE, notice_id=notice_id)
    except (Unreadable, signing.Undecipherable):
        return Notice((), acknowledge=CANNOT_BE_OPENED)


def _prove(ring: Keyring, notice: RawNotice, now: int) -> None:
    if notice.method != "POST" or len(notice.body) > MAX_NOTICE_BYTES:
        raise Forged("not a notice of WeChat Pay's")
    if notice.headers.get(signing.SIGNATURE, "").startswith(signing.PROBE):
        raise Forged("a probe: WeChat Pay looks whether signatures are verified")
    if notice.headers.get(signing.SIGNATURE_TYPE) != signing.SCHEME:
        raise Forged("the notice does not say that it has the signature which we know")
    if not ring.verifiers.prove(notice.headers, notice.body, now):
        raise Forged("the notice does not verify")


def _findings(ring: Keyring, document: Mapping[str, Any]) -> tuple[About, ...]:
    """What the event tells. An event that is none of ours tells nothing, and is acknowledged all the same."""
    event = wire.text(document, "event_type")
    known = _EVENTS.get(event)
    if known is None:
        return ()
    original_type, about = known
    if wire.text(document, "resource_type") != "encrypt-resource":
        raise Unreadable("the resource is of another type")
    return (about(_resource(ring, wire.inner(document, "resource"), original_type)),)


def _resource(ring: Keyring, resource: Mapping[str, Any], original_type: str) -> dict[str, Any]:
    """The document inside a notice. The algorithm is ours to know, never the notice's to choose."""
    if wire.text(resource, "algorithm") != "AEAD_AES_256_GCM":
        raise Unreadable("the resource is sealed by another algorithm")
    if resource.get("original_type", original_type) != original_type:
        raise Unreadable("the resource is not what the event says")
    plain = ring.open_sealed(
        nonce=wire.text(resource, "nonce"),
        associated_data=wire.text_or_empty(resource, "associated_data"),
        ciphertext=wire.text(resource, "ciphertext"),
    )
    return wire.read(plain)


def _about_trade(document: dict[str, Any]) -> About:
    return reading.about_trade(wire.read_trade(document))


def _about_refund(document: dict[str, Any]) -> About:
    return reading.about_refund(wire.read_refund_notice(document))


_EVENTS: Mapping[str, tuple[str, Callable[[dict[str, Any]], About]]] = {
    "TRANSACTION.SUCCESS": ("transaction", _about_trade),
    "REFUND.SUCCESS": ("refund", _about_refund),
    "REFUND.ABNORMAL": ("refund", _about_refund),
    "REFUND.CLOSED": ("refund", _about_refund),
}
