"""Certificate mode: serial numbers that Alipay wants to see, and the key inside Alipay's certificate.

The document "公钥证书方式" gives the rule: an SN is the MD5 of the issuer's name, printed as CN=..,OU=..,O=..,C=.., and the
serial number in decimal. Of the root bundle only certificates that are signed with RSA count; it also holds SM2 and ECC ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from paycore_alipay.signing import check_public_key

_RSA_SIGNATURES = "1.2.840.113549.1.1."
_END = "-----END CERTIFICATE-----"
_BEGIN = "-----BEGIN CERTIFICATE-----"


def app_cert_sn(pem: str) -> str:
    """The SN of the application's certificate. Raises ValueError."""
    return _sn(_one(pem, "the application's certificate"))


def root_cert_sn(bundle: str) -> str:
    """The SNs of the RSA roots in the bundle, joined with underscores. Raises ValueError when it holds none."""
    roots = [
        one
        for one in _all(bundle, "the root bundle")
        if one.signature_algorithm_oid.dotted_string.startswith(_RSA_SIGNATURES)
    ]
    if not roots:
        raise ValueError("the root bundle holds no certificate that is signed with RSA")
    return "_".join(_sn(one) for one in roots)


def alipay_cert(pem: str) -> tuple[str, RSAPublicKey]:
    """The SN of Alipay's own certificate and the key that verifies answers and notices. Raises ValueError."""
    certificate = _one(pem, "Alipay's certificate")
    key = certificate.public_key()
    if not isinstance(key, RSAPublicKey):
        raise ValueError("Alipay's certificate holds no RSA key")
    return _sn(certificate), check_public_key(key)


def check_issued(pem: str, bundle: str) -> None:
    """Raise ValueError unless a root of the bundle, or a certificate that comes with it, issued Alipay's certificate."""
    chain = _all(pem, "Alipay's certificate")
    issuers = [*chain[1:], *_all(bundle, "the root bundle")]
    certificate = chain[0]
    while not any(_is_issued(certificate, root) for root in _all(bundle, "the root bundle")):
        found = next((one for one in issuers if one != certificate and _is_issued(certificate, one)), None)
        if found is None:
            raise ValueError("Alipay's certificate does not lead to a root of the bundle")
        issuers.remove(found)
        certificate = found


def _is_issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except Exception:  # noqa: BLE001 - any reason is a reason not to trust it
        return False
    return True


def _one(pem: str, what: str) -> x509.Certificate:
    """The first certificate of a file: the one it is about; those after it are its issuers."""
    return _all(pem, what)[0]


def _all(pem: str, what: str) -> Sequence[x509.Certificate]:
    found = [_BEGIN + part.partition(_BEGIN)[2] + _END for part in pem.split(_END) if _BEGIN in part]
    if not found:
        raise ValueError(f"{what} is not in PEM")
    try:
        return [x509.load_pem_x509_certificate(one.encode()) for one in found]
    except ValueError:
        raise ValueError(f"{what} cannot be read") from None


def _sn(certificate: x509.Certificate) -> str:
    issuer = ",".join(f"{one.rfc4514_attribute_name}={one.value!s}" for one in reversed(list(certificate.issuer)))
    return hashlib.md5(f"{issuer}{certificate.serial_number}".encode(), usedforsecurity=False).hexdigest()
