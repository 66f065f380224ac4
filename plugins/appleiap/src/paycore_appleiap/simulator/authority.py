"""A root and a chain with Apple's marks, and JWS signed by its leaf. The keys follow from a seed."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from paycore_appleiap.api import es256

LEAF_MARK = "1.2.840.113635.100.6.11.1"
INTERMEDIATE_MARK = "1.2.840.113635.100.6.2.1"
BEGIN = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
END = dt.datetime(2044, 1, 1, tzinfo=dt.UTC)


class Authority:
    """Three certificates, and what they sign. Each part can be made wrong on purpose."""

    def __init__(
        self,
        seed: str,
        *,
        leaf_mark: str = LEAF_MARK,
        intermediate_mark: str = INTERMEDIATE_MARK,
        leaf_end: dt.datetime = END,
    ) -> None:
        self._keys = [key_of(f"{seed}|{place}") for place in ("root", "intermediate", "leaf")]
        root, intermediate, leaf = self._keys
        self.root = _certificate("Simulated Root CA", root, "Simulated Root CA", root, is_authority=True)
        self.intermediate = _certificate(
            "Simulated Relations CA", intermediate, "Simulated Root CA", root, is_authority=True, mark=intermediate_mark
        )
        self.leaf = _certificate(
            "Simulated Receipt Signing", leaf, "Simulated Relations CA", intermediate, mark=leaf_mark, end=leaf_end
        )
        self.chain = [_text(one) for one in (self.leaf, self.intermediate, self.root)]

    @property
    def root_pem(self) -> str:
        return self.root.public_bytes(Encoding.PEM).decode()

    def sign(self, payload: Mapping[str, Any], header: Mapping[str, Any] | None = None) -> str:
        """A compact JWS by the leaf."""
        whole = {"alg": "ES256", "x5c": self.chain, **(header or {})}
        text = f"{part(whole)}.{part(payload)}"
        return f"{text}.{base64url(es256(self._keys[2], text.encode()))}"


def key_of(seed: str) -> ec.EllipticCurvePrivateKey:
    """A P-256 key that follows from a seed."""
    number = int.from_bytes(hashlib.sha512(seed.encode()).digest()) % (2**255) + 1
    return ec.derive_private_key(number, ec.SECP256R1())


def key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def part(document: Mapping[str, Any]) -> str:
    return base64url(json.dumps(document, separators=(",", ":")).encode())


def base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _text(certificate: x509.Certificate) -> str:
    return base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _certificate(
    subject: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    is_authority: bool = False,
    mark: str = "",
    end: dt.datetime = END,
) -> x509.Certificate:
    serial = int.from_bytes(hashlib.sha256(f"{subject}{key.private_numbers().private_value}".encode()).digest()[:15])
    usage = dict.fromkeys(
        "content_commitment key_encipherment data_encipherment key_agreement encipher_only decipher_only".split(), False
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(serial | 1)
        .not_valid_before(BEGIN)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=not is_authority, key_cert_sign=is_authority, crl_sign=is_authority, **usage
            ),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if mark:
        marked = x509.UnrecognizedExtension(x509.ObjectIdentifier(mark), b"\x05\x00")
        builder = builder.add_extension(marked, critical=False)
    return builder.sign(issuer_key, hashes.SHA256())
