"""Ed25519 over exact bytes, both ways. What is signed always begins with its purpose, so no text serves two.

    request   sandbox-request  METHOD path-below-the-gateway merchant timestamp nonce  body
    reply     sandbox-reply    status nonce-of-the-request timestamp  body
    notice    sandbox-notice   merchant timestamp notice-id  body
    order     sandbox-order    document        (what an app hands to the wallet)
    purchase  sandbox-purchase document        (what the store hands to an app)

Each word is followed by a line feed, the body is appended as it is.
"""

from __future__ import annotations

import base64
import binascii
import re

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from paycore.channel import Forged, Secret

WINDOW_SECONDS = 300
SECOND = 1_000_000

MERCHANT = "sandbox-merchant"
TIMESTAMP = "sandbox-timestamp"
NONCE = "sandbox-nonce"
SIGNATURE = "sandbox-signature"

_SECONDS = re.compile(r"[1-9][0-9]{9}", re.ASCII)


def read_private_key(secret: Secret) -> Ed25519PrivateKey:
    """The signing key of a setting: 32 bytes in base64. Raises ValueError without repeating the text."""
    return Ed25519PrivateKey.from_private_bytes(_key_bytes(secret.reveal(), "the private key"))


def read_public_key(text: str) -> Ed25519PublicKey:
    """The verifying key of a setting: 32 bytes in base64. Raises ValueError without repeating the text."""
    return Ed25519PublicKey.from_public_bytes(_key_bytes(text, "the public key"))


def _key_bytes(text: str, what: str) -> bytes:
    try:
        raw = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"{what} is not base64") from None
    if len(raw) != 32:
        raise ValueError(f"{what} is not 32 bytes long")
    return raw


def signed_bytes(*words: str, body: bytes) -> bytes:
    """What is signed. Raises Forged for a word that could be taken for two."""
    if any("\n" in word for word in words):
        raise Forged("a signed word holds a line feed")
    return "".join(f"{word}\n" for word in words).encode() + body


def sign(key: Ed25519PrivateKey, *words: str, body: bytes) -> str:
    """The signature over these words and this body, in base64."""
    return base64.b64encode(key.sign(signed_bytes(*words, body=body))).decode("ascii")


def verify(key: Ed25519PublicKey, signature: str, *words: str, body: bytes) -> bool:
    """Whether this key made this signature. One signature has one text: other spellings of its base64 are refused."""
    try:
        raw = base64.b64decode(signature, validate=True)
        if base64.b64encode(raw).decode("ascii") != signature:
            return False
        key.verify(raw, signed_bytes(*words, body=body))
    except (binascii.Error, ValueError, InvalidSignature, Forged):
        return False
    return True


def is_fresh(timestamp: str, now: int) -> bool:
    """Whether a timestamp (ten digits, seconds) lies within five minutes of now (microseconds)."""
    return _SECONDS.fullmatch(timestamp) is not None and abs(int(timestamp) - now // SECOND) < WINDOW_SECONDS


def seal(key: Ed25519PrivateKey, purpose: str, document: bytes) -> str:
    """A document and its signature as one text that survives every transport: base64url, a dot, base64url."""
    return f"{_url64(document)}.{_url64(key.sign(signed_bytes(purpose, body=document)))}"


def unseal(key: Ed25519PublicKey, purpose: str, text: str) -> bytes:
    """The document inside a sealed text. Raises Forged unless this key sealed exactly this text for this purpose."""
    head, dot, tail = text.partition(".")
    try:
        document, signature = _from_url64(head), _from_url64(tail)
    except ValueError:
        raise Forged("not a sealed text") from None
    if not dot or f"{_url64(document)}.{_url64(signature)}" != text:
        raise Forged("not a sealed text")
    try:
        key.verify(signature, signed_bytes(purpose, body=document))
    except InvalidSignature:
        raise Forged("a sealed text does not verify") from None
    return document


def _url64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode("ascii").rstrip("=")


def _from_url64(text: str) -> bytes:
    if not re.fullmatch(r"[A-Za-z0-9_-]*", text, re.ASCII):
        raise ValueError("not base64url")
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
