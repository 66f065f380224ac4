"""Keys and certificates of a simulated Alipay: real, thrown away with the process, made once for each role."""

from __future__ import annotations

import base64
import datetime
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

_FROM = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
_UNTIL = datetime.datetime(2050, 1, 1, tzinfo=datetime.UTC)
_Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@cache
def key_of(role: str) -> rsa.RSAPrivateKey:
    """The key of a role ("alipay 1", "app 2021.. 1"). Every simulator of the process shares it; no two processes do."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def private_text(key: rsa.RSAPrivateKey) -> str:
    """The key as Alipay's key tool writes it: bare base64 of PKCS#8."""
    form = serialization.PrivateFormat.PKCS8
    raw = key.private_bytes(serialization.Encoding.DER, form, serialization.NoEncryption())
    return base64.b64encode(raw).decode("ascii")


def public_text(key: rsa.RSAPrivateKey) -> str:
    """The public half as Alipay's console shows it: bare base64."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return base64.b64encode(key.public_key().public_bytes(serialization.Encoding.DER, form)).decode("ascii")


# ---------------------------------------------------------------------------------------------- certificates


def _name(common: str) -> x509.Name:
    """A name in the order that Alipay's certificates have: the country first."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "CN"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Simulated Alipay"),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "Certification Authority"),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )


def _certificate(subject: str, key: _Key, issuer: str, issuer_key: _Key, *, number: int, is_ca: bool) -> str:
    built = (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(number)
        .not_valid_before(_FROM)
        .not_valid_after(_UNTIL)
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .sign(issuer_key, hashes.SHA256())
    )
    return built.public_bytes(serialization.Encoding.PEM).decode("ascii")


_ROOT = "Simulated Alipay Root R1"


@cache
def root_bundle() -> str:
    """Several roots, as the real bundle has them: RSA ones, and one on a curve that no SN counts."""
    curve = ec.generate_private_key(ec.SECP256R1())
    rsa_1, rsa_2 = key_of("root 1"), key_of("root 2")
    return "".join(
        (
            _certificate(_ROOT, rsa_1, _ROOT, rsa_1, number=1, is_ca=True),
            _certificate("Simulated Alipay Root E1", curve, "Simulated Alipay Root E1", curve, number=2, is_ca=True),
            _certificate("Simulated Alipay Root R2", rsa_2, "Simulated Alipay Root R2", rsa_2, number=3, is_ca=True),
        )
    )


@cache
def certificate_of(role: str) -> str:
    """The certificate of a role's key, issued by the first root."""
    number = int.from_bytes(role.encode()[-15:])
    return _certificate(role, key_of(role), _ROOT, key_of("root 1"), number=number, is_ca=False)
