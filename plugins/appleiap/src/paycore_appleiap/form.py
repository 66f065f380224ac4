"""The form of what Apple sends: compact JWS and JSON, read strictly. Nothing here is believed yet."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from paycore.channel import Malformed

MAX_JWS = 128 * 1024


@dataclass(frozen=True, slots=True)
class Signed:
    """A JWS taken apart: what its header and payload say, before anybody has verified them."""

    jws: str
    header: Mapping[str, Any]
    payload: Mapping[str, Any]
    signature: bytes


def take_apart(jws: str) -> Signed:
    """The parts of a compact JWS. Raises Malformed for anything that is not one, in the one way of writing it."""
    parts = jws.split(".") if len(jws) <= MAX_JWS else []
    if len(parts) != 3:
        raise Malformed("a JWS has three parts")
    header, payload, signature = (_decoded(part) for part in parts)
    if not signature:
        raise Malformed("a JWS has a signature")
    return Signed(jws, read_object(header), read_object(payload), signature)


def read_object(text: bytes) -> dict[str, Any]:
    """A JSON object in which no name stands twice. Raises Malformed."""
    if not (text.startswith(b"{") and text.endswith(b"}")):
        raise Malformed("it is no JSON object")
    try:
        found = json.loads(text, object_pairs_hook=_once, parse_constant=_refused)
    except (ValueError, RecursionError):
        raise Malformed("it cannot be read as JSON") from None
    return dict(found)


def _decoded(part: str) -> bytes:
    """Base64url without padding; of several ways to write the same bytes only the canonical one is taken."""
    try:
        raw = base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise Malformed("a part of the JWS is no base64url") from None
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != part:
        raise Malformed("a part of the JWS is not written canonically")
    return raw


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _refused(constant: str) -> Any:
    raise ValueError(f"{constant} is no number")
