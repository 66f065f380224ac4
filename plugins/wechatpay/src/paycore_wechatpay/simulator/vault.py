"""The keys of the simulated WeChat Pay and of its merchants: real RSA, real certificates, made when they are first needed."""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from functools import cache
from math import gcd

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.x509.oid import NameOID

from paycore_wechatpay.signing import serial_of

BITS = 2048
EXPONENT = 65537
_SMALL = [
    number for number in range(3, 2000, 2) if all(number % divisor for divisor in range(3, int(number**0.5) + 1, 2))
]


class Vault:
    """Keys by their role. With a seed they are always the same; without one nobody has seen them before.

    The keys of a seed are known to everybody who has this file: they are for tests, never for an address that others reach.
    """

    def __init__(self, seed: str | None) -> None:
        self._is_seeded = seed is not None
        self._made: dict[str, RSAPrivateKey] = {}

    def key(self, role: str) -> RSAPrivateKey:
        """The RSA key of this role."""
        if self._is_seeded:
            return _repeatable_key(role)
        if role not in self._made:
            self._made[role] = rsa.generate_private_key(EXPONENT, BITS)
        return self._made[role]

    def certificate(self, role: str, *, name: str) -> x509.Certificate:
        """A certificate for the key of this role, with a serial number of 160 bits as WeChat Pay's have."""
        key = self.key(role)
        return _certificate(role, name, key, _fingerprint(key.public_key()))


def private_pem(key: RSAPrivateKey) -> str:
    """A key as the merchant platform's tool saves it: apiclient_key.pem."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode("ascii")


def public_pem(key: RSAPrivateKey) -> str:
    """A public key as the merchant platform hands it out: pub_key.pem."""
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode("ascii")
    )


def certificate_pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")


def serial(certificate: x509.Certificate) -> str:
    return serial_of(certificate)


def _fingerprint(key: RSAPublicKey) -> bytes:
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).digest()


_CERTIFICATES: dict[tuple[str, bytes], x509.Certificate] = {}


def _certificate(role: str, name: str, key: RSAPrivateKey, fingerprint: bytes) -> x509.Certificate:
    known = _CERTIFICATES.get((role, fingerprint))
    if known is not None:
        return known
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    since = datetime(2024, 1, 1, tzinfo=UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(int.from_bytes(b"\x51" + hashlib.sha256(fingerprint + role.encode()).digest()[:19], "big"))
        .not_valid_before(since)
        .not_valid_after(since + timedelta(days=20 * 365))
        .sign(key, hashes.SHA256())
    )
    _CERTIFICATES[role, fingerprint] = made
    return made


# ---------------------------------------------------------------------------------------------- keys that repeat


@cache
def _repeatable_key(role: str) -> RSAPrivateKey:
    """A key that follows from its role alone, so that every run signs the same bytes."""
    first, second = _prime(f"{role}|p"), _prime(f"{role}|q")
    if first == second or gcd(EXPONENT, (first - 1) * (second - 1)) != 1:
        return _repeatable_key(f"{role}'")
    private = pow(EXPONENT, -1, (first - 1) * (second - 1))
    numbers = rsa.RSAPrivateNumbers(
        p=first,
        q=second,
        d=private,
        dmp1=rsa.rsa_crt_dmp1(private, first),
        dmq1=rsa.rsa_crt_dmq1(private, second),
        iqmp=rsa.rsa_crt_iqmp(first, second),
        public_numbers=rsa.RSAPublicNumbers(EXPONENT, first * second),
    )
    return numbers.private_key()


def _prime(word: str) -> int:
    """The first probable prime at or after a number that follows from the word; its two highest bits are set."""
    bits = BITS // 2
    drawn = b"".join(hmac.digest(word.encode(), bytes([place]), "sha256") for place in range(bits // 256))
    number = int.from_bytes(drawn, "big") | 3 << (bits - 2) | 1
    while any(number % small == 0 for small in _SMALL) or not _is_prime(number):
        number += 2
    return number


def _is_prime(number: int) -> bool:
    """Miller and Rabin with the first twenty small bases: enough for a key that guards nothing."""
    odd, twos = number - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    return all(_passes(number, base, odd, twos) for base in (2, *_SMALL[:19]))


def _passes(number: int, base: int, odd: int, twos: int) -> bool:
    power = pow(base, odd, number)
    if power in (1, number - 1):
        return True
    for _ in range(twos - 1):
        power = power * power % number
        if power == number - 1:
            return True
    return False
