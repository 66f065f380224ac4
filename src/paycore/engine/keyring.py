"""Secrets at rest: each is sealed under a key of its own, which is sealed under the master key.

A sealed record begins with its form and the id of the master key that opens it. Both layers are bound to where the
record belongs, so one that is copied to another account, app or version does not open there. Rotation of the master key
reseals the small keys only; the old key stays in the ring until the last record is rewrapped.
"""

import base64
import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

FORM = b"PC1"
KEY_BYTES = 32
_ID_BYTES = 8
_NONCE_BYTES = 12
_WRAPPED_BYTES = KEY_BYTES + 16
_HEAD_BYTES = len(FORM) + _ID_BYTES + _NONCE_BYTES + _WRAPPED_BYTES + _NONCE_BYTES


class NoMasterKey(Exception):
    """There is no usable master key; the text says what to do, and holds no secret."""


class CannotUnseal(Exception):
    """A record does not open: made under a key that is not in the ring, changed, or moved from where it belongs."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a sealed record belongs."""

    app_id: str
    channel: str
    account_id: str
    version: int

    @property
    def associated(self) -> bytes:
        """The place as the bytes that both layers are bound to."""
        return f"{self.app_id}|{self.channel}|{self.account_id}|{self.version}".encode()


class Keyring:
    """The master key that seals, and older ones that still open."""

    def __init__(self, current: bytes, *older: bytes) -> None:
        for key in (current, *older):
            if len(key) != KEY_BYTES:
                raise NoMasterKey(f"A master key has {KEY_BYTES} bytes.")
        self._current = current
        self._keys = {_id_of(key): key for key in (*reversed(older), current)}

    def __repr__(self) -> str:
        return f"Keyring({self.key_id}, and {len(self._keys) - 1} older)"

    @property
    def key_id(self) -> str:
        """The name of the master key that seals; it tells nothing of the key."""
        return _id_of(self._current).hex()

    def seal(self, plain: bytes, place: Place) -> bytes:
        """The record, readable only here and only at this place."""
        key = secrets.token_bytes(KEY_BYTES)
        return self._head(key, place) + _encrypt(key, plain, place)

    def unseal(self, sealed: bytes, place: Place) -> bytes:
        """The plain record. Raises CannotUnseal."""
        key = self._record_key(sealed, place)
        return _decrypt(key, sealed[len(FORM) + _ID_BYTES + _NONCE_BYTES + _WRAPPED_BYTES :], place)

    def rewrap(self, sealed: bytes, place: Place) -> bytes:
        """The same record under the current master key. Raises CannotUnseal."""
        key = self._record_key(sealed, place)
        return self._head(key, place) + sealed[len(FORM) + _ID_BYTES + _NONCE_BYTES + _WRAPPED_BYTES :]

    def is_current(self, sealed: bytes) -> bool:
        """Whether the record is sealed under the current master key."""
        return sealed.startswith(FORM + _id_of(self._current))

    def derive(self, purpose: str) -> bytes:
        """A key for one purpose of the server (session tokens, page tokens), the same on every server of this ring."""
        return _derive(self._current, purpose)

    def derive_all(self, purpose: str) -> tuple[bytes, ...]:
        """The keys for a purpose under every master key of the ring, the current one first: what checking has to try."""
        older = [key for key in self._keys.values() if key != self._current]
        return (_derive(self._current, purpose), *(_derive(key, purpose) for key in reversed(older)))

    def _head(self, key: bytes, place: Place) -> bytes:
        return FORM + _id_of(self._current) + _encrypt(self._current, key, place)

    def _record_key(self, sealed: bytes, place: Place) -> bytes:
        if len(sealed) < _HEAD_BYTES or not sealed.startswith(FORM):
            raise CannotUnseal("The record is not a sealed one.")
        start = len(FORM) + _ID_BYTES
        master = self._keys.get(sealed[len(FORM) : start])
        if master is None:
            raise CannotUnseal("The record was sealed under a master key that this server does not have.")
        return _decrypt(master, sealed[start : start + _NONCE_BYTES + _WRAPPED_BYTES], place)


def _id_of(key: bytes) -> bytes:
    return hashlib.sha256(b"paycore master key id\n" + key).digest()[:_ID_BYTES]


def _derive(key: bytes, purpose: str) -> bytes:
    return hmac.new(key, b"paycore derived key\n" + purpose.encode(), hashlib.sha256).digest()


def _encrypt(key: bytes, plain: bytes, place: Place) -> bytes:
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, plain, place.associated)


def _decrypt(key: bytes, sealed: bytes, place: Place) -> bytes:
    try:
        return AESGCM(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], place.associated)
    except InvalidTag:
        raise CannotUnseal("The record was changed, or belongs to another place.") from None


# ---------------------------------------------------------------------------------------------- where master keys come from


def open_keyring(*, text: str | None = None, path: Path | None = None, make_if_missing: bool = False) -> Keyring:
    """The ring from a text (an environment variable) or from a file, the text winning.

    Both hold keys in base64, one a line or separated by commas, the current one first. A file must be readable by its
    owner alone. With `make_if_missing` (development, the first start) a missing file is made. Raises NoMasterKey.
    """
    if text:
        return Keyring(*parse_keys(text))
    if path is None:
        raise NoMasterKey("No master key is configured.")
    if make_if_missing and not path.exists():
        make_key_file(path)
    return Keyring(*read_key_file(path))


def parse_keys(text: str) -> list[bytes]:
    """The keys of a text, the current one first. Raises NoMasterKey without repeating any of it."""
    words = [word for word in text.replace(",", "\n").split() if word]
    try:
        keys = [base64.b64decode(word, validate=True) for word in words]
    except ValueError:
        raise NoMasterKey("A master key is not base64.") from None
    if not keys:
        raise NoMasterKey("There is no master key in what was given.")
    if any(len(key) != KEY_BYTES for key in keys):
        raise NoMasterKey(f"A master key has {KEY_BYTES} bytes.")
    return keys


def read_key_file(path: Path) -> list[bytes]:
    """The keys of a file, the current one first. Raises NoMasterKey when it is missing or others can read it."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            raise NoMasterKey(f"The master key file may be readable by its owner alone (mode 0600, not {mode:04o}).")
        return parse_keys(path.read_text("ascii"))
    except FileNotFoundError:
        raise NoMasterKey("The master key file does not exist.") from None
    except (OSError, UnicodeDecodeError):
        raise NoMasterKey("The master key file cannot be read.") from None


def make_key_file(path: Path) -> None:
    """Make a new master key in a file of its owner's alone. A file that exists already is left as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = _beside(path)
    _write(beside, [secrets.token_bytes(KEY_BYTES)])
    try:
        path.hardlink_to(beside)  # whole or not at all, and never over another process's key
    except FileExistsError:
        return
    finally:
        beside.unlink()


def add_key(path: Path) -> str:
    """Put a new current key into the file, the others behind it, and return its name. Rewrap the records after this."""
    keys = [secrets.token_bytes(KEY_BYTES), *read_key_file(path)]
    _replace(path, keys)
    return _id_of(keys[0]).hex()


def drop_older_keys(path: Path) -> int:
    """Leave only the current key in the file and return how many went. Only after every record was rewrapped."""
    keys = read_key_file(path)
    _replace(path, keys[:1])
    return len(keys) - 1


def _replace(path: Path, keys: Sequence[bytes]) -> None:
    beside = _beside(path)
    _write(beside, keys)
    beside.replace(path)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}")


def _write(path: Path, keys: Sequence[bytes]) -> None:
    text = "".join(f"{base64.b64encode(key).decode()}\n" for key in keys)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
