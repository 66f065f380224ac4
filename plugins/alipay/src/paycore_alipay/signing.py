"""RSA2 (RSASSA-PKCS1-v1_5 with SHA-256) over sorted parameters, both ways; no other algorithm, whatever a message asks for.

Alipay's documents "自行实现签名" (signing) and "自行实现验签" (verifying) give the rules. What is signed:

    request   every parameter but `sign` that has a value, by name in byte order, as k=v joined with &, not URL-encoded
    notice    every parameter but `sign` and `sign_type`, empty ones too, form-decoded once, joined in the same way
    answer    the exact text of the answer's object, as it was sent
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from paycore.channel import Secret

SIGN_TYPE = "RSA2"
LEAST_KEY_BITS = 2048

_ARMOUR = re.compile(r"-----(?:BEGIN|END) [A-Z0-9 ]{1,40}-----")
_PADDING = padding.PKCS1v15()
_HASH = hashes.SHA256()


# ---------------------------------------------------------------------------------------------- keys


def read_private_key(secret: Secret) -> RSAPrivateKey:
    """The application's private key: PKCS#1 or PKCS#8, PEM or bare base64, as merchants paste it.

    Raises ValueError with a sentence that repeats nothing of it.
    """
    der = _der(secret.reveal(), "the private key")
    try:
        key = serialization.load_der_private_key(der, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("the private key is neither PKCS#1 nor PKCS#8, or it is encrypted") from None
    if not isinstance(key, RSAPrivateKey) or key.key_size < LEAST_KEY_BITS:
        raise ValueError(f"the private key is not an RSA key of {LEAST_KEY_BITS} bits or more")
    return key


def read_public_key(text: str) -> RSAPublicKey:
    """Alipay's public key: PEM or bare base64. Raises ValueError with a sentence."""
    try:
        key = serialization.load_der_public_key(_der(text, "Alipay's public key"))
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("Alipay's public key cannot be read") from None
    if not isinstance(key, RSAPublicKey):
        raise ValueError("Alipay's public key is not an RSA key")
    return check_public_key(key)


def check_public_key(key: RSAPublicKey) -> RSAPublicKey:
    """The same key. Raises ValueError for one that is too short to trust."""
    if key.key_size < LEAST_KEY_BITS:
        raise ValueError(f"Alipay's public key has fewer than {LEAST_KEY_BITS} bits")
    return key


def _der(text: str, what: str) -> bytes:
    """The bytes inside PEM armour or bare base64."""
    bare = "".join(_ARMOUR.sub("", text).split())
    try:
        return base64.b64decode(bare, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"{what} is neither PEM nor base64") from None


# ---------------------------------------------------------------------------------------------- what is signed


def request_text(parameters: Mapping[str, str]) -> str:
    """What a request's signature covers: every parameter with a value, `sign_type` too, `sign` never."""
    return "&".join(f"{name}={value}" for name, value in sorted(parameters.items()) if value and name != "sign")


def notice_bytes(parameters: Iterable[tuple[bytes, bytes]]) -> bytes:
    """What a notice's signature covers: the decoded bytes of every parameter but `sign` and `sign_type`.

    The bytes are joined before anybody interprets them: the declared charset plays no part in it.
    """
    return b"&".join(name + b"=" + value for name, value in sorted(parameters) if name not in (b"sign", b"sign_type"))


def sign(key: RSAPrivateKey, content: bytes) -> str:
    """The signature over these bytes, in base64."""
    return base64.b64encode(key.sign(content, _PADDING, _HASH)).decode("ascii")


def verify(keys: Iterable[RSAPublicKey], signature: str, content: bytes) -> bool:
    """Whether one of these keys made this signature. It has one spelling: any other base64 of the same bytes is refused."""
    try:
        raw = base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        return False
    if base64.b64encode(raw).decode("ascii") != signature:
        return False
    return any(_is_by(key, raw, content) for key in keys)


def _is_by(key: RSAPublicKey, signature: bytes, content: bytes) -> bool:
    try:
        key.verify(signature, content, _PADDING, _HASH)
    except InvalidSignature:
        return False
    return True
