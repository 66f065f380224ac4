"""Where apps, keys, certificates and sessions are looked up: in the database."""

from dataclasses import replace

from paycore.engine.clock import Clock
from paycore.engine.memory import Memory
from paycore.engine.sessions import Tokens
from paycore.rpc.auth import Principal, Proof, Shown
from paycore.store import ApiKey, App, KeyState, Unit


class StoredDirectory:
    """Apps and sessions as the database has them now."""

    def __init__(self, memory: Memory, tokens: Tokens, clock: Clock) -> None:
        self._memory = memory
        self._tokens = tokens
        self._clock = clock

    def session_id(self, token: str) -> str | None:
        return self._tokens.session_id(token)

    async def find(self, proof: Proof) -> Principal | None:
        return await self._memory.read(lambda unit: self._find(unit, proof))

    def _find(self, unit: Unit, proof: Proof) -> Principal | None:
        if proof.shown is Shown.SESSION:
            return _session(unit, proof)
        if proof.shown is Shown.KEY:
            found = unit.find_key(proof.text)
        else:
            found = unit.find_key_by_certificate(proof.text, proof.names)
        if found is None or not self._opens(found[0]):
            return None
        return _holder(proof, *found)

    def _opens(self, key: ApiKey) -> bool:
        is_in_time = key.expires_at is None or self._clock.now() < key.expires_at
        return key.state is KeyState.ACTIVE and is_in_time


def _holder(proof: Proof, key: ApiKey, app: App) -> Principal:
    """A key does what both it and its app may do. A certificate that stands beside a key lets nobody in alone."""
    who = _app(proof, app)
    if proof.shown is Shown.CERTIFICATE and key.sha256 is not None:
        return replace(who, needs_key=True)
    bound = key.cert_sha256 or key.cert_name or ""
    return replace(who, scopes=frozenset(key.scopes) & frozenset(app.scopes), certificate=bound)


def _session(unit: Unit, proof: Proof) -> Principal | None:
    session = unit.get_session(proof.text)
    app = None if session is None else unit.get_app(session.app_id)
    if session is None or app is None:
        return None
    ends = session.expires_at if session.revoked_at is None else min(session.expires_at, session.revoked_at)
    who = _app(proof, app)
    return replace(who, session_id=session.session_id, order_id=session.order_id, expires_at=ends)


def _app(proof: Proof, app: App) -> Principal:
    return Principal(app.app_id, proof, is_suspended=not app.is_active, rate_per_second=app.rate_per_second or None)
