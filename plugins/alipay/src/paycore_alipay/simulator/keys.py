"""Keys and certificates of a simulated Alipay: real, made when they are first needed, thrown away with the simulator."""

from __future__ import annotations

import base64
import datetime as dt
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from paycore_alipay.certificates import app_cert_sn, root_cert_sn

_FROM = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
_UNTIL = dt.datetime(2050, 1, 1, tzinfo=dt.UTC)
_Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


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


_ROOT, _OTHER_ROOT, _CURVE_ROOT = "Simulated Alipay Root R1", "Simulated Alipay Root R2", "Simulated Alipay Root E1"


class KeyRing:
    """The keys of one simulated Alipay, each by its role ("alipay 9021...", "app 9021... 1", "forger").

    A storm of many simulators may share one ring: making a key takes tens of milliseconds.
    """

    def __init__(self) -> None:
        self._keys: dict[str, rsa.RSAPrivateKey] = {}
        self._certificates: dict[str, str] = {}
        self._sns: dict[str, str] = {}

    def key(self, role: str) -> rsa.RSAPrivateKey:
        """The key of a role."""
        if role not in self._keys:
            self._keys[role] = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        return self._keys[role]

    def certificate(self, role: str) -> str:
        """The certificate of a role's key, issued by the first root."""
        if role not in self._certificates:
            number, issuer = int.from_bytes(role.encode()[-15:], "big"), self.key("root 1")
            self._certificates[role] = _certificate(role, self.key(role), _ROOT, issuer, number=number, is_ca=False)
        return self._certificates[role]

    def root_bundle(self) -> str:
        """Several roots, as the real bundle has them: RSA ones, and one on a curve that no SN counts."""
        if "roots" not in self._certificates:
            curve, first, second = ec.generate_private_key(ec.SECP256R1()), self.key("root 1"), self.key("root 2")
            self._certificates["roots"] = "".join(
                (
                    _certificate(_ROOT, first, _ROOT, first, number=1, is_ca=True),
                    _certificate(_CURVE_ROOT, curve, _CURVE_ROOT, curve, number=2, is_ca=True),
                    _certificate(_OTHER_ROOT, second, _OTHER_ROOT, second, number=3, is_ca=True),
                )
            )
        return self._certificates["roots"]

    def sn(self, role: str) -> str:
        """The SN of a role's certificate."""
        if role not in self._sns:
            self._sns[role] = app_cert_sn(self.certificate(role))
        return self._sns[role]

    def root_sn(self) -> str:
        """The SNs of the roots."""
        if "roots" not in self._sns:
            self._sns["roots"] = root_cert_sn(self.root_bundle())
        return self._sns["roots"]


@cache
def shared_ring() -> KeyRing:
    """The one ring of all simulators that are to be the same again."""
    return KeyRing()
