"""Whether Apple signed it. Apple's own library decides; it is slow to import and is imported when first used."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding

from paycore.channel import Environment, Forged, WrongApp, WrongEnvironment
from paycore_appleiap.form import Signed, take_apart

CHAIN = 3
"""Leaf, intermediate and root; Apple sends neither more nor fewer."""
UNSIGNED = ("Xcode", "LocalTesting")
"""The worlds of a developer's own machine, where anybody signs."""
COORDINATE = 32
"""Bytes of each of the two numbers of an ES256 signature."""


class Trust:
    """One app's trust: the roots that it was given, its bundle, its environment. Nothing is asked online.

    The root inside a JWS is never believed. Validity of the chain is judged at the document's own `signedDate`.
    """

    def __init__(self, roots: str, bundle_id: str, app_apple_id: str, environment: Environment) -> None:
        self._roots = roots_of(roots)
        self._bundle_id = bundle_id
        self._app_apple_id = int(app_apple_id) if app_apple_id else None
        self._environment = environment
        self._verifier: Any = None
        if environment is Environment.PRODUCTION and self._app_apple_id is None:
            raise ValueError("In production the app's Apple id has to be given.")

    def transaction(self, jws: str) -> Mapping[str, Any]:
        """What a signed transaction says. Raises Forged."""
        return self._verified(jws, lambda verifier: verifier.verify_and_decode_signed_transaction)

    def renewal(self, jws: str) -> Mapping[str, Any]:
        """What a signed renewal info says. Raises Forged."""
        return self._verified(jws, lambda verifier: verifier.verify_and_decode_renewal_info)

    def notification(self, jws: str) -> Mapping[str, Any]:
        """What a signed notification says; the documents inside of it are still to be verified. Raises Forged."""
        return self._verified(jws, lambda verifier: verifier.verify_and_decode_notification)

    def _verified(self, jws: str, verb: Callable[[Any], Callable[[str], object]]) -> Mapping[str, Any]:
        signed = take_apart(jws)
        _check_claims(signed)
        _check_signature(signed)
        try:
            verb(self._library())(jws)
        except Exception as error:  # noqa: BLE001 - whatever the library stumbles over does not verify
            raise _doubt(_why(error)) from None
        return signed.payload

    def _library(self) -> Any:
        if self._verifier is None:
            from appstoreserverlibrary.models.Environment import Environment as Theirs
            from appstoreserverlibrary.signed_data_verifier import SignedDataVerifier

            is_real = self._environment is Environment.PRODUCTION
            self._verifier = SignedDataVerifier(
                self._roots,
                False,  # online checks: they would ask OCSP servers from here
                Theirs.PRODUCTION if is_real else Theirs.SANDBOX,
                self._bundle_id,
                self._app_apple_id,
            )
        return self._verifier


def roots_of(pem: str) -> list[bytes]:
    """The certificates of a PEM text, as DER. Raises ValueError, with what is wrong: nobody sees it before a phone pays."""
    try:
        roots = x509.load_pem_x509_certificates(pem.encode())
    except ValueError:
        raise ValueError("The root certificates are not PEM certificates.") from None
    for root in roots:
        _check_root(root)
    return [one.public_bytes(Encoding.DER) for one in roots]


def _check_root(root: x509.Certificate) -> None:
    """A root signed itself and may sign others; an intermediate or a leaf of Apple's is the likeliest mistake."""
    name = root.subject.rfc4514_string()[:100]
    try:
        root.verify_directly_issued_by(root)
        constraints = root.extensions.get_extension_for_class(x509.BasicConstraints).value
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound, UnsupportedAlgorithm):
        raise ValueError(f"{name} is not a root certificate: it did not sign itself.") from None
    if not constraints.ca:
        raise ValueError(f"{name} is not a root certificate: it may sign no others.")


def _check_claims(signed: Signed) -> None:
    """What is checked before the library is asked. Without a time it would take this machine's."""
    if signed.payload.get("environment") in UNSIGNED:
        raise WrongEnvironment("it says itself that Apple did not sign it")
    chain, signed_at = signed.header.get("x5c"), signed.payload.get("signedDate")
    if signed.header.get("alg") != "ES256":
        raise Forged("Apple signs by ES256 alone")
    if not isinstance(chain, list) or len(chain) != CHAIN or not all(isinstance(one, str) for one in chain):
        raise Forged("Apple sends a chain of three certificates")
    if type(signed_at) is not int or not 0 < signed_at < 2**43:
        raise Forged("it does not say when it was signed")


def _check_signature(signed: Signed) -> None:
    """Refuse what the very leaf that it names did not sign. Cheap, so that a flood of forgeries builds no chains.

    It proves nothing yet: whoever forges may bring a leaf of his own. What passes here the library judges, all of it.
    """
    try:
        key = x509.load_der_x509_certificate(base64.b64decode(signed.header["x5c"][0], validate=True)).public_key()
    except Exception:  # noqa: BLE001 - a stranger's bytes, whatever the parser stumbles over
        raise Forged("its leaf is no certificate") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
        raise Forged("its leaf has no P-256 key")
    if len(signed.signature) != 2 * COORDINATE:
        raise Forged("its signature is not of ES256")
    r, s = signed.signature[:COORDINATE], signed.signature[COORDINATE:]
    try:
        der = encode_dss_signature(int.from_bytes(r), int.from_bytes(s))
        key.verify(der, signed.jws.rpartition(".")[0].encode(), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        raise Forged("its own leaf did not sign it") from None


def _doubt(why: str) -> Forged:
    """What the library's verdict means. It looks at bundle and environment last, when the signature is good."""
    if why == "INVALID_APP_IDENTIFIER":
        return WrongApp("it is another app's")
    if why == "INVALID_ENVIRONMENT":
        return WrongEnvironment("it is from another environment")
    return Forged(f"it does not verify: {why}")


def _why(error: Exception) -> str:
    status = getattr(error, "status", None)
    return str(getattr(status, "name", type(error).__name__))
