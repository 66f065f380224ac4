"""Whether Apple signed it. Apple's own library decides; it is slow to import and is imported when first used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from paycore.channel import Environment, Forged
from paycore_appleiap.form import Signed, take_apart

CHAIN = 3
"""Leaf, intermediate and root; Apple sends neither more nor fewer."""


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
        try:
            verb(self._library())(jws)
        except Exception as error:  # noqa: BLE001 - whatever the library stumbles over does not verify
            raise Forged(f"it does not verify: {_why(error)}") from None
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
    """The certificates of a PEM text, as DER. Raises ValueError."""
    try:
        return [one.public_bytes(Encoding.DER) for one in x509.load_pem_x509_certificates(pem.encode())]
    except ValueError:
        raise ValueError("The root certificates are not PEM certificates.") from None


def _check_claims(signed: Signed) -> None:
    """What is checked before the library is asked. Without a time it would take this machine's."""
    chain, signed_at = signed.header.get("x5c"), signed.payload.get("signedDate")
    if signed.header.get("alg") != "ES256":
        raise Forged("Apple signs by ES256 alone")
    if not isinstance(chain, list) or len(chain) != CHAIN or not all(isinstance(one, str) for one in chain):
        raise Forged("Apple sends a chain of three certificates")
    if type(signed_at) is not int or not 0 < signed_at < 2**43:
        raise Forged("it does not say when it was signed")


def _why(error: Exception) -> str:
    status = getattr(error, "status", None)
    return str(getattr(status, "name", type(error).__name__))
