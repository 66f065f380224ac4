"""Pages: where a list goes on, as a token that only this server can make and that fits one question only."""

import base64
import binascii
import hashlib
import hmac
import json
from typing import Any

from google.protobuf.message import Message

from paycore.core.refusals import Reason, Refused
from paycore.rpc.translate import canonical

DEFAULT_SIZE = 50
MAC_BYTES = 16
_NOT_CONTENT = frozenset({"page_size", "page_token"})

Mark = list[Any]
"""Where a page ended, as JSON values: enough to find the next one, whatever was added meanwhile."""


class Pages:
    """Makes page tokens with the first of the server's own keys, and reads those of any of them.

    A token is bound to the app, the method and the filters; the size of the page may change on the way.
    """

    def __init__(self, keys: tuple[bytes, ...]) -> None:
        self._keys = keys

    def size(self, request: Any) -> int:
        """How many rows to return; the proto's rules have bounded it already."""
        return request.page_size or DEFAULT_SIZE

    def mark(self, app_id: str, request: Any) -> Mark | None:
        """Where the page before this one ended; None for the first page. Raises Refused for a token that is not ours.

        A token has one spelling: base64 that a lax reader would take for the same bytes is not ours.
        """
        if not request.page_token:
            return None
        try:
            sealed = base64.b64decode(request.page_token.encode(), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise _forged() from None
        if base64.urlsafe_b64encode(sealed).decode() != request.page_token:
            raise _forged()
        mac, content = sealed[:MAC_BYTES], sealed[MAC_BYTES:]
        told = _told(app_id, request, content)
        if not any(hmac.compare_digest(mac, _mac(key, told)) for key in self._keys):
            raise _forged()
        mark: Mark = json.loads(content)
        return mark

    def token(self, app_id: str, request: Message, mark: Mark) -> str:
        """The token that makes the next page begin behind this mark."""
        content = json.dumps(mark, separators=(",", ":")).encode()
        mac = _mac(self._keys[0], _told(app_id, request, content))
        return base64.urlsafe_b64encode(mac + content).decode()


def _told(app_id: str, request: Message, content: bytes) -> bytes:
    """Everything that a token is bound to, without two ways to read it."""
    question = canonical(request, without=_NOT_CONTENT)
    parts = (b"page", app_id.encode(), request.DESCRIPTOR.full_name.encode(), question, content)
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def _mac(key: bytes, told: bytes) -> bytes:
    return hmac.digest(key, told, hashlib.sha256)[:MAC_BYTES]


def _forged() -> Refused:
    return Refused(Reason.BAD_PAGE_TOKEN, "The page_token was not given for this question.", fields=("page_token",))
