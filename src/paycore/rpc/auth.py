"""Who is asking: an app by its key or its certificate, or one cashier session by its token.

Only digests of keys are known here and in the database. What was found is kept for a few seconds, so that a key costs one
read in that time; what a key may do, and whether it still holds, is therefore at most that old.
"""

import asyncio
import hashlib
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from paycore.core.refusals import Reason, Refused
from paycore.rpc.policy import Policy

KEY_PREFIX: Final = "pk_"
FRESH_SECONDS: Final = 3.0
MOST_KNOWN: Final = 20_000
_BEARER = re.compile(r"[Bb]earer ([!-~]{1,4096})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Certificate:
    """A client certificate that the transport verified: its SHA-256 in lower hex, and its URI and DNS names."""

    sha256: str
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a call shows of itself: every authorization header, the address it came from, a client certificate."""

    authorization: tuple[str, ...]
    address: str = ""
    certificate: Certificate | None = None


class Shown(StrEnum):
    """What a caller is known by."""

    KEY = "key"
    CERTIFICATE = "certificate"
    SESSION = "session"


@dataclass(frozen=True, slots=True)
class Proof:
    """What was shown, without a secret in it: a key's SHA-256 in hex, a certificate's, or the id of a session whose token held."""

    shown: Shown
    text: str
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is let in: an app with what its key may do, or one of the app's cashier sessions.

    `certificate` is the digest or name of the only client certificate that its key may be shown with; empty for any.
    `needs_key` says of a certificate that it lets nobody in without the key it belongs to.
    """

    app_id: str
    proof: Proof
    scopes: frozenset[str] = frozenset()
    is_suspended: bool = False
    rate_per_second: float | None = None
    certificate: str = ""
    needs_key: bool = False
    session_id: str = ""
    order_id: str = ""
    expires_at: int | None = None

    @property
    def is_session(self) -> bool:
        return bool(self.session_id)


class Directory(Protocol):
    """Where apps, keys and sessions are looked up."""

    def session_id(self, token: str) -> str | None:
        """The session that a token names, if the token is ours. Reads nothing; takes the same time for every wrong one."""

    async def find(self, proof: Proof) -> Principal | None:
        """Whom the proof belongs to; None if to nobody, or if it was revoked. An expired session is found, to be told so."""


class Authenticator:
    """Lets calls in, or refuses them in words that say nothing about why a credential does not hold."""

    def __init__(
        self,
        directory: Directory,
        *,
        now: Callable[[], int],
        monotonic: Callable[[], float] = time.monotonic,
        fresh_seconds: float = FRESH_SECONDS,
    ) -> None:
        self._directory = directory
        self._now = now
        self._known = Known(directory, monotonic, fresh_seconds)

    def recall(self, credentials: Credentials, policy: Policy) -> Principal | None:
        """The same as `admit` where nobody need be asked: a key alone that let somebody in a moment ago. None where one must."""
        shown = credentials.authorization
        if len(shown) != 1 or credentials.certificate is not None:
            return None
        token = _BEARER.fullmatch(shown[0])
        if token is None or not token[1].startswith(KEY_PREFIX):
            return None
        who = self._known.recall(Proof(Shown.KEY, digest_of(token[1])))
        return None if who is None or who.certificate else self._allowed(who, policy)

    async def admit(self, credentials: Credentials, policy: Policy) -> Principal:
        """The one who is asking, if it may ask this."""
        return self._allowed(await self._who(credentials), policy)

    def has_met(self, credentials: Credentials) -> bool:
        """Whether these let somebody in of late. It asks nobody, and says nothing about whether they still hold."""
        try:
            token = _bearer(credentials.authorization)
        except Refused:
            return False
        if token is None:
            shown = credentials.certificate
            return shown is not None and self._known.has_met(Proof(Shown.CERTIFICATE, shown.sha256, shown.names))
        if token.startswith(KEY_PREFIX):
            return self._known.has_met(Proof(Shown.KEY, digest_of(token)))
        return self._directory.session_id(token) is not None

    async def still_holds(self, principal: Principal, policy: Policy) -> bool:
        """Whether whoever was let in would be let in again."""
        who = await self._known.find(principal.proof)
        if who is None or who.certificate != principal.certificate:
            return False
        try:
            self._allowed(who, policy)
        except Refused:
            return False
        return True

    def forget(self) -> None:
        """Look everybody up anew from now on; call it when an app, a key or a session was changed."""
        self._known.forget()

    def _allowed(self, who: Principal, policy: Policy) -> Principal:
        if who.expires_at is not None and self._now() >= who.expires_at:
            raise Refused(Reason.SESSION_EXPIRED, "The session is no longer good.")
        if who.is_suspended:
            raise Refused(Reason.APP_SUSPENDED, "The app is suspended.")
        if who.is_session and not policy.takes_session:
            raise Refused(Reason.SCOPE_MISSING, "A session's token does not allow this method.")
        if not who.is_session and policy.scope not in who.scopes:
            raise Refused(Reason.SCOPE_MISSING, "The credentials do not allow this method.", scope=policy.scope)
        return who

    async def _who(self, credentials: Credentials) -> Principal:
        token = _bearer(credentials.authorization)
        if token is None:
            return await self._by_certificate(credentials.certificate)
        if token.startswith(KEY_PREFIX):
            return await self._by_key(token, credentials.certificate)
        return await self._by_session(token)

    async def _by_key(self, token: str, certificate: Certificate | None) -> Principal:
        who = await self._known.find(Proof(Shown.KEY, digest_of(token)))
        if who is None:
            raise Refused(Reason.CREDENTIALS_INVALID, "The credentials do not hold.")
        if who.certificate or certificate is not None:
            await self._match(who, certificate)
        return who

    async def _match(self, who: Principal, certificate: Certificate | None) -> None:
        """A key that is bound to a certificate needs it; a certificate of another app spoils any key."""
        if certificate is None:
            raise _mismatch()
        if who.certificate and who.certificate not in (certificate.sha256, *certificate.names):
            raise _mismatch()
        owner = await self._owner(certificate)
        if owner is not None and owner.app_id != who.app_id:
            raise _mismatch()

    async def _by_certificate(self, certificate: Certificate | None) -> Principal:
        if certificate is None:
            raise Refused(Reason.CREDENTIALS_MISSING, "The call carries no credentials.")
        who = await self._owner(certificate)
        if who is None:
            raise Refused(Reason.CREDENTIALS_INVALID, "The credentials do not hold.")
        if who.needs_key:
            raise Refused(Reason.CREDENTIALS_MISSING, "The certificate needs its key beside it.")
        return who

    async def _owner(self, certificate: Certificate) -> Principal | None:
        return await self._known.find(Proof(Shown.CERTIFICATE, certificate.sha256, certificate.names))

    async def _by_session(self, token: str) -> Principal:
        session_id = self._directory.session_id(token)
        who = None if session_id is None else await self._known.find(Proof(Shown.SESSION, session_id))
        if who is None:
            raise Refused(Reason.SESSION_INVALID, "The session token does not hold.")
        return who


class Known:
    """What the directory said in the last seconds. Callers that ask for the same at once share one look."""

    def __init__(self, directory: Directory, monotonic: Callable[[], float], fresh_seconds: float) -> None:
        self._directory = directory
        self._monotonic = monotonic
        self._fresh_seconds = fresh_seconds
        self._said: OrderedDict[Proof, tuple[float, Principal | None]] = OrderedDict()
        self._looking: dict[Proof, asyncio.Task[Principal | None]] = {}

    async def find(self, proof: Proof) -> Principal | None:
        """Whom the proof belongs to, as it was at most a few seconds ago."""
        said = self._said.get(proof)
        if said is not None and self._monotonic() < said[0]:
            return said[1]
        task = self._looking.get(proof)
        if task is None:
            task = self._looking[proof] = asyncio.create_task(self._look(proof))
            task.add_done_callback(lambda _: self._looking.pop(proof, None))
        return await asyncio.shield(task)

    def recall(self, proof: Proof) -> Principal | None:
        """Whom the proof belongs to, if that was asked in the last seconds; None if not, or if it is nobody."""
        said = self._said.get(proof)
        return said[1] if said is not None and self._monotonic() < said[0] else None

    def has_met(self, proof: Proof) -> bool:
        """Whether the last answer was somebody, however long ago."""
        said = self._said.get(proof)
        return said is not None and said[1] is not None

    def forget(self) -> None:
        """Trust no answer from before now."""
        self._said = OrderedDict((proof, (0.0, who)) for proof, (_, who) in self._said.items())
        self._looking.clear()

    async def _look(self, proof: Proof) -> Principal | None:
        principal = await self._directory.find(proof)
        self._said[proof] = (self._monotonic() + self._fresh_seconds, principal)
        self._said.move_to_end(proof)
        if len(self._said) > MOST_KNOWN:
            self._said.popitem(last=False)
        return principal


def digest_of(key: str) -> str:
    """What the database knows of an API key."""
    return hashlib.sha256(key.encode()).hexdigest()


def _bearer(authorization: tuple[str, ...]) -> str | None:
    """The one token that is shown; None without an authorization header. Anything else does not hold."""
    if not authorization:
        return None
    token = _BEARER.fullmatch(authorization[0])
    if len(authorization) > 1 or token is None:
        raise Refused(Reason.CREDENTIALS_INVALID, "The credentials do not hold.")
    return token[1]


def _mismatch() -> Refused:
    return Refused(Reason.CREDENTIALS_MISMATCH, "The client certificate belongs to another app than the key.")
