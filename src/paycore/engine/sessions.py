"""Cashier sessions: one client in front of one order, for a while, by a token that nothing in the database gives away."""

from collections.abc import Mapping
from typing import Any

from paycore.core.ids import Prefix
from paycore.core.order import Order
from paycore.core.paying import refuse_unpayable
from paycore.core.refusals import Reason, Refused
from paycore.core.terms import MINUTE, SECOND
from paycore.engine.desk import CallerRequest, Desk
from paycore.engine.keyring import Keyring
from paycore.engine.seals import Seals
from paycore.engine.tell import conflict
from paycore.store import Session, StoredRequest, Unit

LIFETIME = 30 * MINUTE
_PURPOSE = "cashier session tokens"
_CODE_PURPOSE = "cashier page codes"
_NONCE_LENGTH = 32
_ID_LENGTH = 28


class Tokens:
    """Session tokens: the session's id and an HMAC over it, in letters that survive a URL. The same session, the same token."""

    def __init__(self, keyring: Keyring) -> None:
        self._tokens = Seals(keyring, _PURPOSE)
        self._codes = Seals(keyring, _CODE_PURPOSE)

    def token(self, session_id: str) -> str:
        """The secret that opens this session."""
        return session_id + self._tokens.of(session_id)

    def session_id(self, token: str) -> str | None:
        """The session that a token names, if the token is ours. Takes the same time for every wrong one."""
        session_id = token[:_ID_LENGTH]
        return session_id if self._tokens.hold(session_id, token[_ID_LENGTH:]) else None

    def page_code(self, session_id: str, nonce: str) -> str:
        """A secret that opens this session's page once. It stands in a URL, where the token itself must not."""
        return nonce + self._codes.of(session_id + nonce)

    def nonce(self, session_id: str, code: str) -> str | None:
        """What makes a code of this session's page unlike all others, if the code is ours."""
        nonce = code[:_NONCE_LENGTH]
        return nonce if self._codes.hold(session_id + nonce, code[_NONCE_LENGTH:]) else None


class Sessions:
    """The use cases around cashier sessions."""

    def __init__(self, desk: Desk, tokens: Tokens) -> None:
        self._desk = desk
        self.tokens = tokens

    async def create(
        self,
        app_id: str,
        order_id: str,
        client: Mapping[str, Any],
        request: CallerRequest,
        *,
        lifetime_seconds: int = 0,
    ) -> tuple[Session, str, Order]:
        """Open a session for an order that can be paid. The same request gives the same session and the same token."""
        order = await self._desk.order_of(app_id, order_id)
        now = self._desk.clock.now()
        lifetime = lifetime_seconds * SECOND or LIFETIME
        session = Session(
            session_id=self._desk.ids.mint(Prefix.SESSION),
            app_id=app_id,
            order_id=order_id,
            expires_at=min(order.expires_at, now + lifetime),
            created_at=now,
            client=dict(client),
        )
        kept = await self._desk.memory.write(lambda unit: _keep(unit, session, request, order, now))
        return kept, self.tokens.token(kept.session_id), order

    async def find(self, session_id: str) -> Session | None:
        """The session of this id, whether it is still good or not."""
        return await self._desk.memory.read(lambda unit: unit.get_session(session_id))

    async def of_app(self, app_id: str, session_id: str) -> Session:
        """The app's session. Another app's answers like one that does not exist."""
        session = await self.find(session_id)
        if session is None or session.app_id != app_id:
            raise Refused(Reason.SESSION_NOT_FOUND, "There is no such session.", session_id=session_id)
        return session

    async def verify(self, token: str) -> Session:
        """The session that a token opens now. Raises Refused with SESSION_INVALID or SESSION_EXPIRED."""
        session_id = self.tokens.session_id(token)
        session = None if session_id is None else await self.find(session_id)
        if session is None:
            raise Refused(Reason.SESSION_INVALID, "The session token does not hold.")
        self._refuse_over(session)
        return session

    def page_code(self, session: Session) -> str:
        """A new one-time code for the session's page. Making one stores nothing; using one does."""
        return self.tokens.page_code(session.session_id, self._desk.ids.nonce())

    async def open_page(self, session_id: str, code: str) -> tuple[Session, str]:
        """Use a one-time code up: the session and its token. Raises Refused, SESSION_INVALID for a code that was used."""
        nonce = self.tokens.nonce(session_id, code)
        session = None if nonce is None else await self.find(session_id)
        if session is None or nonce is None:
            raise Refused(Reason.SESSION_INVALID, "The code does not hold.")
        self._refuse_over(session)
        now = self._desk.clock.now()
        if not await self._desk.memory.write(lambda unit: unit.use_page_code(session, nonce, now)):
            raise Refused(Reason.SESSION_INVALID, "The code was used.")
        return session, self.tokens.token(session_id)

    def _refuse_over(self, session: Session) -> None:
        if session.revoked_at is not None or self._desk.clock.now() >= session.expires_at:
            raise Refused(Reason.SESSION_EXPIRED, "The session is no longer good.")


def _keep(unit: Unit, session: Session, request: CallerRequest, order: Order, now: int) -> Session:
    """The session of this request: the one that it opened before, or this one."""
    stored = unit.find_requests([request.key]).get(request.key)
    if stored is not None:
        if stored.canonical != request.canonical:
            raise conflict(Reason.IDEMPOTENCY_CONFLICT, stored.canonical, request.canonical)
        kept = unit.get_session(stored.subject_id)
        assert kept is not None
        return kept
    try:
        refuse_unpayable(order, now)
    except Refused as refused:
        raise Refused(
            Reason.ORDER_NOT_PAYABLE, "The order cannot be paid any more.", why=refused.reason, order_id=order.order_id
        ) from None
    unit.put_requests([StoredRequest(request.key, request.canonical, order.order_id, session.session_id, now)])
    unit.put_session(session)
    return session
