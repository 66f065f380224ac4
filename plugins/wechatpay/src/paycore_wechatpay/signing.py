"""RSA over exact texts, and AES-256-GCM. Source: WeChat Pay APIv3, "Signature generation", "Signature verification",
"Decrypting certificates and notifications".

    request   METHOD path-with-query timestamp nonce body    SHA256withRSA by the merchant's key
    answer    timestamp nonce body                           by WeChat Pay's key, named in Wechatpay-Serial
    notice    timestamp nonce body                           the same
    app       appid timestamp nonce prepay_id                by the merchant's key, for the phone
    jsapi     appid timestamp nonce prepay_id=...            the same

Each line is followed by a line feed, the last one too.
"""

from __future__ import annotations

import base64
import binascii
import re

from cryptography import x509
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from paycore.channel import Secret

SCHEME = "WECHATPAY2-SHA256-RSA2048"
WINDOW_SECONDS = 300
SECOND = 1_000_000
PROBE = "WECHATPAY/SIGNTEST/"
"""What the signature of deliberate probe traffic begins with; a merchant that takes such a notice fails the probe."""

TIMESTAMP = "wechatpay-timestamp"
NONCE = "wechatpay-nonce"
SIGNATURE = "wechatpay-signature"
SERIAL = "wechatpay-serial"
SIGNATURE_TYPE = "wechatpay-signature-type"

LEAST_KEY_BITS = 2048
_SECONDS = re.compile(r"[1-9][0-9]{9}", re.ASCII)
_LINE = re.compile(r"[!-~]{1,128}", re.ASCII)


class Undecipherable(ValueError):
    """A ciphertext that this key does not open as it was sealed."""


# ---------------------------------------------------------------------------------------------- keys


def read_private_key(secret: Secret) -> RSAPrivateKey:
    """The merchant's key from its PEM. Raises ValueError without repeating the text."""
    try:
        key = serialization.load_pem_private_key(secret.reveal().encode(), password=None)
    except (ValueError, TypeError):
        raise ValueError("the merchant's private key is not a PEM private key") from None
    if not isinstance(key, RSAPrivateKey) or key.key_size < LEAST_KEY_BITS:
        raise ValueError("the merchant's private key is not an RSA key of 2048 bits")
    return key


def read_public_key(text: str) -> RSAPublicKey:
    """WeChat Pay's public key from its PEM. Raises ValueError."""
    try:
        key = serialization.load_pem_public_key(text.encode())
    except (ValueError, TypeError):
        raise ValueError("the WeChat Pay public key is not a PEM public key") from None
    return _strong(key, "the WeChat Pay public key")


def certificate_key(certificate: x509.Certificate) -> RSAPublicKey:
    """The key that a certificate carries. Raises ValueError."""
    return _strong(certificate.public_key(), "the key of a platform certificate")


def _strong(key: object, what: str) -> RSAPublicKey:
    if not isinstance(key, RSAPublicKey) or key.key_size < LEAST_KEY_BITS:
        raise ValueError(f"{what} is not an RSA key of 2048 bits")
    return key


def serial_of(certificate: x509.Certificate) -> str:
    """A certificate's serial number as WeChat Pay writes it: upper-case hex."""
    return f"{certificate.serial_number:X}".rjust(40, "0")


# ---------------------------------------------------------------------------------------------- signatures


def signed_text(*lines: str, body: bytes | None = None) -> bytes:
    """The exact bytes that are signed: every line, and the body as the last one, with its line feed."""
    head = "".join(f"{line}\n" for line in lines).encode()
    return head if body is None else head + body + b"\n"


def sign(key: RSAPrivateKey, message: bytes) -> str:
    """SHA256withRSA, PKCS #1 v1.5, in base64."""
    return base64.b64encode(key.sign(message, PKCS1v15(), hashes.SHA256())).decode("ascii")


def verify(key: RSAPublicKey, signature: str, message: bytes) -> bool:
    """Whether this key made this signature. One signature has one text: other spellings of its base64 are refused."""
    try:
        raw = base64.b64decode(signature, validate=True)
        if base64.b64encode(raw).decode("ascii") != signature:
            return False
        key.verify(raw, message, PKCS1v15(), hashes.SHA256())
    except (binascii.Error, ValueError, InvalidSignature):
        return False
    return True


def is_fresh(timestamp: str, now: int) -> bool:
    """Whether a timestamp (ten digits, seconds) lies less than 300 s from now (microseconds).

    Source: "Signature verification": refuse what is 5 minutes away from the clock.
    """
    return _SECONDS.fullmatch(timestamp) is not None and abs(int(timestamp) - now // SECOND) < WINDOW_SECONDS


def is_line(text: str) -> bool:
    """Whether a nonce or serial is one short line of printable ASCII, so that no text can be read as another."""
    return _LINE.fullmatch(text) is not None


def authorization(
    key: RSAPrivateKey, *, mchid: str, serial: str, method: str, path: str, timestamp: str, nonce: str, body: bytes
) -> str:
    """The Authorization header of a request. `path` is the path with its query, exactly as it is sent."""
    signature = sign(key, signed_text(method, path, timestamp, nonce, body=body))
    return (
        f'{SCHEME} mchid="{mchid}",nonce_str="{nonce}",timestamp="{timestamp}",'
        f'serial_no="{serial}",signature="{signature}"'
    )


# ---------------------------------------------------------------------------------------------- ciphertexts


def decrypt(key: bytes, *, nonce: str, associated_data: str, ciphertext: str) -> bytes:
    """What AEAD_AES_256_GCM sealed under the APIv3 key. The tag is the last 16 bytes. Raises Undecipherable."""
    try:
        sealed = base64.b64decode(ciphertext, validate=True)
        if len(nonce.encode()) != 12:
            raise Undecipherable("the nonce of a ciphertext is not 12 bytes long")
        return AESGCM(key).decrypt(nonce.encode(), sealed, associated_data.encode() or None)
    except (InvalidTag, binascii.Error, ValueError):
        raise Undecipherable("the APIv3 key does not open the ciphertext") from None


def encrypt(key: bytes, plain: bytes, *, nonce: str, associated_data: str) -> str:
    """Seal under the APIv3 key: what WeChat Pay does, and its simulator."""
    sealed = AESGCM(key).encrypt(nonce.encode(), plain, associated_data.encode() or None)
    return base64.b64encode(sealed).decode("ascii")
