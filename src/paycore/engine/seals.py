"""Seals: what we said, given to others to hold, and known again without being kept."""

import base64
import hashlib
import hmac

from paycore.engine.keyring import Keyring


class Seals:
    """Seals of one purpose. They are made with the current master key; those of older keys are known as well."""

    def __init__(self, keyring: Keyring, purpose: str) -> None:
        self._keys = keyring.derive_all(purpose)

    def of(self, text: str) -> str:
        """The seal of a text, in letters that survive a URL. The same text, the same seal."""
        return _seal(self._keys[0], text)

    def hold(self, text: str, seal: str) -> bool:
        """Whether this is our seal of the text. Takes the same time for every wrong one."""
        given = seal.encode("utf-8", "replace")
        is_ours = False
        for key in self._keys:
            is_ours |= hmac.compare_digest(_seal(key, text).encode(), given)
        return is_ours


def _seal(key: bytes, text: str) -> str:
    digest = hmac.new(key, text.encode("utf-8", "replace"), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")
