"""Compact JWS with ES256 and nothing else: no other algorithm, no key from the header, one spelling of every part."""

from __future__ import annotations

from paycore_bridge.canonical import BadJson, canonical_json, parse_json
from paycore_bridge.keys import KeySet, SigningKey, from_base64url, to_base64url

ALGORITHM = "ES256"
MAX_BYTES = 64 * 1024


class BadSignature(ValueError):
    """These bytes are not signed by a key we trust; the text says what is wrong, for the log."""


def sign(payload: bytes, *, key: SigningKey, typ: str) -> str:
    """The payload under the key's signature. Payload, key and type alike give the same text."""
    header = canonical_json({"alg": ALGORITHM, "kid": key.kid, "typ": typ}).encode()
    signed = f"{to_base64url(header)}.{to_base64url(payload)}"
    return f"{signed}.{to_base64url(key.sign(signed.encode('ascii')))}"


def verify(text: str, *, keys: KeySet, typ: str) -> bytes:
    """The payload, once its signature is proved. Nothing of the payload is looked at before that.

    The header must hold exactly alg, kid and typ. Only its kid is used, to choose among keys that are trusted already.
    """
    if len(text) > MAX_BYTES:
        raise BadSignature(f"longer than {MAX_BYTES} characters")
    parts = text.split(".")
    if len(parts) != 3:
        raise BadSignature("not three parts")
    try:
        header, payload, signature = (from_base64url(part) for part in parts)
    except ValueError as error:
        raise BadSignature("a part is not base64url") from error
    key = keys.find(_kid(header, typ))
    if key is None:
        raise BadSignature("the key is not trusted")
    if not key.verifies(signature, f"{parts[0]}.{parts[1]}".encode("ascii")):
        raise BadSignature("the signature does not belong to these bytes")
    return payload


def _kid(header: bytes, typ: str) -> str:
    """The key that the header names, if the header says what ours say and nothing more."""
    try:
        said = parse_json(header.decode("utf-8"))
    except (BadJson, UnicodeDecodeError) as error:
        raise BadSignature("the header is not a JSON text") from error
    if not isinstance(said, dict) or said.keys() != {"alg", "kid", "typ"}:
        raise BadSignature("the header holds other fields than alg, kid and typ")
    if said["alg"] != ALGORITHM:
        raise BadSignature(f"the algorithm is not {ALGORITHM}")
    if said["typ"] != typ:
        raise BadSignature("the type is another one")
    kid = said["kid"]
    if not isinstance(kid, str):
        raise BadSignature("the key's name is not text")
    return kid
