"""Platform certificates: read from settings, from what was fetched before, and from an answer of WeChat Pay's.

Source: APIv3, "Get the platform certificates": each is sealed under the APIv3 key; a new one appears ten days before the old
one ends, and both sign during the last five.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from paycore.channel import Secret
from paycore_wechatpay import signing, wire
from paycore_wechatpay.wire import SECOND, Unreadable

PATH = "/v3/certificates"
MAX_KEPT = 8
_VERSION = 1


def read_pem(text: str) -> tuple[x509.Certificate, ...]:
    """The certificates of a PEM text, in its order. Raises ValueError."""
    if not text.strip():
        return ()
    try:
        found = tuple(x509.load_pem_x509_certificates(text.encode()))
    except ValueError:
        raise ValueError("the platform certificates are not PEM certificates") from None
    for certificate in found:
        signing.certificate_key(certificate)
    return found


def pack(certificates: Iterable[x509.Certificate]) -> Secret:
    """What is kept with the account until the next refresh."""
    pems = [one.public_bytes(Encoding.PEM).decode("ascii") for one in certificates]
    return Secret(json.dumps({"v": _VERSION, "certificates": pems}))


def unpack(blob: Secret | None) -> tuple[x509.Certificate, ...]:
    """What the last refresh kept. What is not of ours, or broken, is as if nothing had been fetched yet."""
    if blob is None:
        return ()
    try:
        kept = json.loads(blob.reveal())
        return read_pem("".join(kept["certificates"])) if kept["v"] == _VERSION else ()
    except (ValueError, KeyError, TypeError):
        return ()


def opened(document: Mapping[str, Any], apiv3: bytes) -> tuple[x509.Certificate, ...]:
    """The certificates of an answer, opened. Raises Unreadable for one that is not what its entry says it is."""
    found = tuple(_opened(entry, apiv3) for entry in wire.objects(document, "data"))
    if not found:
        raise Unreadable("the answer holds no certificate")
    return found


def _opened(entry: Mapping[str, Any], apiv3: bytes) -> x509.Certificate:
    sealed = wire.inner(entry, "encrypt_certificate")
    if wire.text(sealed, "algorithm") != "AEAD_AES_256_GCM":
        raise Unreadable("a certificate is sealed by another algorithm")
    try:
        pem = signing.decrypt(
            apiv3,
            nonce=wire.text(sealed, "nonce"),
            associated_data=wire.text_or_empty(sealed, "associated_data"),
            ciphertext=wire.text(sealed, "ciphertext"),
        )
        (certificate,) = read_pem(pem.decode("ascii"))
    except ValueError as error:
        raise Unreadable("a certificate does not open") from error
    if signing.serial_of(certificate) != wire.text(entry, "serial_no"):
        raise Unreadable("a certificate has another serial number than its entry")
    return certificate


def merged(old: Iterable[x509.Certificate], new: Iterable[x509.Certificate], now: int) -> tuple[x509.Certificate, ...]:
    """What to keep: the new ones first, then those of before that have not ended yet. Never empty while any lives."""
    kept: dict[str, x509.Certificate] = {}
    for certificate in (*new, *old):
        if int(certificate.not_valid_after_utc.timestamp()) * SECOND > now:
            kept.setdefault(signing.serial_of(certificate), certificate)
    return tuple(kept.values())[:MAX_KEPT]
