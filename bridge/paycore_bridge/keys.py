"""The keys that sign envelopes: P-256, named by their RFC 7638 thumbprint, published as a JWK set, rotated by time.

Times are integer microseconds UTC. This module needs `cryptography`; the rest of the package does not.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from paycore_bridge.canonical import BadJson, canonical_json, parse_json

_CURVE = ec.SECP256R1()
_HASH = hashes.SHA256()
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_BASE64URL = re.compile(r"[A-Za-z0-9_-]*")
MAX_KEYS = 16


class BadKey(ValueError):
    """This is not a key or key set that envelopes are signed or verified with. The text never repeats the key."""


def to_base64url(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def from_base64url(text: str) -> bytes:
    """The bytes of the one spelling that base64url has of them; ValueError for padding, spaces or stray bits."""
    if _BASE64URL.fullmatch(text) is None:
        raise ValueError("not base64url")
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error as error:
        raise ValueError("not base64url") from error
    if to_base64url(data) != text:
        raise ValueError("not the one spelling")
    return data


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """The public half, as an app has it."""

    kid: str
    _key: ec.EllipticCurvePublicKey

    @classmethod
    def from_jwk(cls, jwk: Mapping[str, Any]) -> VerifyingKey:
        """The key of a public JWK. Its name must be its thumbprint, so that no set can give one name to two keys."""
        x, y = _coordinate(jwk, "x"), _coordinate(jwk, "y")
        try:
            key = ec.EllipticCurvePublicNumbers(x, y, _CURVE).public_key()
        except ValueError as error:
            raise BadKey("the point of the key is not on its curve") from error
        made = cls(_thumbprint(key), key)
        if jwk.get("kid", made.kid) != made.kid:
            raise BadKey("the key's name is not its thumbprint")
        return made

    def as_jwk(self) -> dict[str, str]:
        """The key as it is published."""
        return {**_jwk(self._key), "alg": "ES256", "kid": self.kid, "use": "sig"}

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Whether this is the key's signature of the data: 64 bytes, r and s, both in range."""
        if len(signature) != 64:
            return False
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        if not (0 < r < _ORDER and 0 < s < _ORDER):
            return False
        try:
            self._key.verify(encode_dss_signature(r, s), data, ec.ECDSA(_HASH))
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True, repr=False)
class SigningKey:
    """The private half. It prints as its name only."""

    kid: str
    _key: ec.EllipticCurvePrivateKey

    @classmethod
    def make(cls) -> SigningKey:
        """A new key."""
        return cls._of(ec.generate_private_key(_CURVE))

    @classmethod
    def derived(cls, seed: bytes) -> SigningKey:
        """The key that follows from a secret of 32 bytes or more: every server that has the secret has the key."""
        if len(seed) < 32:
            raise BadKey("a key follows from 32 bytes or more")
        return cls._of(ec.derive_private_key(int.from_bytes(seed, "big") % (_ORDER - 1) + 1, _CURVE))

    @classmethod
    def from_jwk(cls, jwk: Mapping[str, Any]) -> SigningKey:
        """The key of a private JWK. Raises BadKey, also where the public half does not belong to it."""
        public = VerifyingKey.from_jwk(jwk)
        secret = _coordinate(jwk, "d")
        try:
            key = ec.derive_private_key(secret, _CURVE)
        except ValueError as error:
            raise BadKey("the secret of the key is out of range") from error
        made = cls._of(key)
        if made.kid != public.kid:
            raise BadKey("the public half does not belong to the secret")
        return made

    @classmethod
    def from_text(cls, text: str) -> SigningKey:
        """The key of a private JWK as JSON text, as an operator keeps it in a file or a secret store."""
        try:
            jwk = parse_json(text)
        except BadJson as error:
            raise BadKey("the key is not a JSON text") from error
        if not isinstance(jwk, dict):
            raise BadKey("the key is not a JWK")
        return cls.from_jwk(jwk)

    @classmethod
    def _of(cls, key: ec.EllipticCurvePrivateKey) -> SigningKey:
        return cls(_thumbprint(key.public_key()), key)

    @property
    def public(self) -> VerifyingKey:
        """The half that is published."""
        return VerifyingKey(self.kid, self._key.public_key())

    def sign(self, data: bytes) -> bytes:
        """The signature as JWS wants it: r and s, 32 bytes each. The same data gives the same bytes (RFC 6979)."""
        r, s = decode_dss_signature(self._key.sign(data, ec.ECDSA(_HASH, deterministic_signing=True)))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def secret_text(self) -> str:
        """The private JWK as JSON text: for the place where secrets are kept, and for no other."""
        secret = self._key.private_numbers().private_value.to_bytes(32, "big")
        return canonical_json(self.public.as_jwk() | {"d": to_base64url(secret)})

    def __repr__(self) -> str:
        return f"SigningKey({self.kid})"


@dataclass(frozen=True, slots=True)
class KeySet:
    """The public keys that an app trusts, by name."""

    keys: tuple[VerifyingKey, ...]

    @classmethod
    def of(cls, *keys: VerifyingKey | SigningKey) -> KeySet:
        """A set of these keys."""
        return cls(tuple(key.public if isinstance(key, SigningKey) else key for key in keys))

    @classmethod
    def from_text(cls, text: str) -> KeySet:
        """The set of a published JWKS. Keys of other kinds are passed over; a broken P-256 key refuses the set."""
        try:
            plain = parse_json(text)
        except BadJson as error:
            raise BadKey("the key set is not a JSON text") from error
        listed = plain.get("keys") if isinstance(plain, dict) else None
        if not isinstance(listed, list) or len(listed) > MAX_KEYS:
            raise BadKey(f"the key set has no list of at most {MAX_KEYS} keys")
        ours = [one for one in listed if isinstance(one, dict) and (one.get("kty"), one.get("crv")) == ("EC", "P-256")]
        return cls(tuple(VerifyingKey.from_jwk(one) for one in ours if one.get("use", "sig") == "sig"))

    def find(self, kid: str) -> VerifyingKey | None:
        """The key of this name, or None."""
        return next((key for key in self.keys if key.kid == kid), None)

    def to_json(self) -> str:
        """The set as it is published."""
        return canonical_json({"keys": [key.as_jwk() for key in self.keys]})


@dataclass(frozen=True, slots=True)
class RingKey:
    """A key with its times: published from the first on, signing from `signs_from`, gone at `leaves_at`."""

    key: SigningKey
    signs_from: int
    leaves_at: int | None = None


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The server's keys. The youngest whose time has come signs; all that have not left are published.

    Rotating: add a key with `signs_from` a day ahead, so that apps which cache the set know it before it signs; give
    the old one `leaves_at` once the last envelope it signed has expired. Nothing has to happen at an exact moment.
    """

    entries: tuple[RingKey, ...]

    @classmethod
    def of(cls, *entries: RingKey) -> KeyRing:
        """A ring of these keys. Raises BadKey for the same key twice, or a key that leaves before it signs."""
        if len({entry.key.kid for entry in entries}) != len(entries):
            raise BadKey("the ring holds the same key twice")
        if any(entry.leaves_at is not None and entry.leaves_at <= entry.signs_from for entry in entries):
            raise BadKey("a key of the ring leaves before it signs")
        return cls(entries)

    def signing(self, now: int) -> SigningKey | None:
        """The key that signs at this instant; None when none may, and then no envelope is made."""
        able = [entry for entry in self._alive(now) if entry.signs_from <= now]
        return max(able, key=lambda entry: entry.signs_from).key if able else None

    def published(self, now: int) -> KeySet:
        """What apps may trust at this instant, the signing key first and the coming ones with it."""
        ordered = sorted(self._alive(now), key=lambda entry: (entry.signs_from > now, -entry.signs_from))
        return KeySet.of(*(entry.key for entry in ordered))

    def _alive(self, now: int) -> Iterable[RingKey]:
        return [entry for entry in self.entries if entry.leaves_at is None or now < entry.leaves_at]


def _jwk(key: ec.EllipticCurvePublicKey) -> dict[str, str]:
    numbers = key.public_numbers()
    x, y = (to_base64url(part.to_bytes(32, "big")) for part in (numbers.x, numbers.y))
    return {"crv": "P-256", "kty": "EC", "x": x, "y": y}


def _thumbprint(key: ec.EllipticCurvePublicKey) -> str:
    return to_base64url(hashlib.sha256(canonical_json(_jwk(key)).encode()).digest())


def _coordinate(jwk: Mapping[str, Any], name: str) -> int:
    """One number of a JWK: exactly 32 bytes."""
    if (jwk.get("kty"), jwk.get("crv")) != ("EC", "P-256"):
        raise BadKey("the key is not on the curve P-256")
    text = jwk.get(name)
    try:
        data = from_base64url(text) if isinstance(text, str) else b""
    except ValueError as error:
        raise BadKey(f"{name} of the key is not base64url") from error
    if len(data) != 32:
        raise BadKey(f"{name} of the key is not 32 bytes long")
    return int.from_bytes(data, "big")
