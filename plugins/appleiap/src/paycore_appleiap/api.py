"""The App Store Server API: what is asked, and how an answer is read. Source: the API's reference; hosts of 2026."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from paycore.channel import Environment, Malformed, Reply, Request, Secret
from paycore_appleiap.form import read_object

HOSTS = {
    Environment.PRODUCTION: "https://api.storekit.apple.com",
    Environment.SANDBOX: "https://api.storekit-sandbox.apple.com",
}
AUDIENCE = "appstoreconnect-v1"
LIFETIME_SECONDS = 300
SECOND = 1_000_000
NO_TRANSACTION = 4040010
"""The transaction id is not known. Every other 404 may know it later."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What signs the calls of one app."""

    issuer_id: str
    key_id: str
    bundle_id: str
    key: ec.EllipticCurvePrivateKey
    base_url: str

    @classmethod
    def of(cls, settings: Mapping[str, str | Secret], environment: Environment) -> ApiKey:
        """The key of these settings. Raises ValueError with a sentence."""
        secret = settings["private_key"]
        base_url = str(settings.get("base_url") or HOSTS[environment])
        return cls(
            issuer_id=str(settings["issuer_id"]),
            key_id=str(settings["key_id"]),
            bundle_id=str(settings["bundle_id"]),
            key=load_key(secret.reveal() if isinstance(secret, Secret) else secret),
            base_url=base_url.rstrip("/"),
        )

    def __repr__(self) -> str:
        return f"ApiKey({self.key_id!r})"

    def get(self, path: str, now: int, query: Mapping[str, str] | None = None) -> Request:
        """A question."""
        asked = {name: value for name, value in (query or {}).items() if value}
        return self._request("GET", f"{path}?{urlencode(asked)}" if asked else path, now, b"")

    def send(self, method: str, path: str, now: int, document: Mapping[str, Any] | None = None) -> Request:
        """Something to be done, with its document."""
        body = b"" if document is None else json.dumps(document, separators=(",", ":")).encode()
        return self._request(method, path, now, body)

    def _request(self, method: str, path: str, now: int, body: bytes) -> Request:
        headers = {"accept": "application/json", "authorization": f"Bearer {self.token(now)}"}
        if body:
            headers["content-type"] = "application/json"
        return Request(method, f"{self.base_url}{path}", headers, body)

    def token(self, now: int) -> str:
        """A fresh ES256 token: r and s side by side, as a JWT wants them."""
        at = now // SECOND
        claims = {
            "iss": self.issuer_id,
            "iat": at,
            "exp": at + LIFETIME_SECONDS,
            "aud": AUDIENCE,
            "bid": self.bundle_id,
        }
        text = f"{_part({'alg': 'ES256', 'kid': self.key_id, 'typ': 'JWT'})}.{_part(claims)}"
        return f"{text}.{_base64url(es256(self.key, text.encode()))}"


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of the API: its status, Apple's error code (0 where there is none), its document."""

    status: int
    code: int
    document: Mapping[str, Any]

    @property
    def is_good(self) -> bool:
        return self.status == 200 and bool(self.document)


def read(reply: Reply) -> Answer:
    """The answer, whatever it is."""
    try:
        document = read_object(reply.body.strip())
    except Malformed:
        document = {}
    code = document.get("errorCode")
    return Answer(reply.status, code if type(code) is int else 0, document)


def transaction_path(transaction_id: str) -> str:
    return f"/inApps/v1/transactions/{quote(transaction_id, safe='')}"


def load_key(pem: str) -> ec.EllipticCurvePrivateKey:
    """An API key (.p8). Raises ValueError."""
    try:
        key = load_pem_private_key(pem.encode(), None)
    except (ValueError, TypeError):
        raise ValueError("The API key is no private key in PEM.") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp256r1":
        raise ValueError("The API key is no P-256 key.")
    return key


def es256(key: ec.EllipticCurvePrivateKey, text: bytes) -> bytes:
    """An ES256 signature as JOSE writes it."""
    r, s = decode_dss_signature(key.sign(text, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def _part(document: Mapping[str, Any]) -> str:
    return _base64url(json.dumps(document, separators=(",", ":")).encode())


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
