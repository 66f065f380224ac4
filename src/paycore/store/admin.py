"""Who may ask, and with what: apps, their keys, accounts at channels, cashier sessions, and what people did by hand."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import Select, func, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from paycore.core.order import SurplusPolicy
from paycore.store.errors import Conflict
from paycore.store.records import (
    AccountRow,
    AccountVersionRow,
    ApiKeyRow,
    AppRow,
    AuditRow,
    SessionRow,
)
from paycore.store.rows import pack, unpack
from paycore.store.tables import (
    AccountState,
    AccountTable,
    AccountVersionTable,
    ApiKeyTable,
    AppState,
    AppTable,
    AuditTable,
    KeyState,
    PaymentTable,
    RefundTable,
    SessionTable,
    VersionState,
    table,
)
from paycore.store.work import Work

_APPS, _KEYS, _ACCOUNTS = table(AppTable), table(ApiKeyTable), table(AccountTable)
_VERSIONS, _SESSIONS, _AUDIT = table(AccountVersionTable), table(SessionTable), table(AuditTable)
_PAYMENTS, _REFUNDS = table(PaymentTable), table(RefundTable)


class Admin(Work):
    """Rows that people make; a handful of each, so one statement a row is enough."""

    # ------------------------------------------------------------------------------------------ apps

    def put_app(self, app: AppRow, now: int) -> None:
        """Store an app, new or changed."""
        values = {
            "name": app.name,
            "state": app.state.value,
            "scopes": pack(app.scopes),
            "currencies": pack(app.currencies),
            "max_amount_minor": app.max_amount_minor,
            "return_hosts": pack(app.return_hosts),
            "rate_per_second": app.rate_per_second,
            "default_expiry_seconds": app.default_expiry_seconds,
            "surplus_policy": app.surplus_policy.value,
            "updated_at": now,
        }
        kind: Any = sqlite if self.dialect == "sqlite" else postgresql
        statement = kind.insert(_APPS).values(app_id=app.app_id, created_at=app.created_at, **values)
        self._do(statement.on_conflict_do_update(index_elements=["app_id"], set_=values))

    def get_app(self, app_id: str) -> AppRow | None:
        """The app with this id."""
        rows = self._ask(select(_APPS).where(_APPS.c.app_id == app_id))
        return _app(rows[0]) if rows else None

    def list_apps(self) -> list[AppRow]:
        """Every app, in the order in which they were made."""
        return [_app(row) for row in self._ask(select(_APPS).order_by(_APPS.c.created_at, _APPS.c.app_id))]

    # ------------------------------------------------------------------------------------------ keys

    def put_key(self, key: ApiKeyRow) -> None:
        """Store a new key. Raises Conflict when its hash or certificate is known already."""
        self._do(
            insert(_KEYS).values(
                key_id=key.key_id,
                app_id=key.app_id,
                sha256=key.sha256,
                cert_sha256=key.cert_sha256,
                cert_name=key.cert_name,
                scopes=pack(key.scopes),
                title=key.title,
                state=key.state.value,
                created_at=key.created_at,
                updated_at=key.created_at,
                expires_at=key.expires_at,
                revoked_at=key.revoked_at,
            )
        )

    def get_key(self, key_id: str) -> ApiKeyRow | None:
        """The key with this id."""
        rows = self._ask(select(_KEYS).where(_KEYS.c.key_id == key_id))
        return _key(rows[0]) if rows else None

    def find_key(self, sha256: str) -> tuple[ApiKeyRow, AppRow] | None:
        """The key with this hash, whatever its state, and whose it is."""
        return self._key_with_app(select(_KEYS).where(_KEYS.c.sha256 == sha256))

    def find_key_by_certificate(self, cert_sha256: str, names: Collection[str] = ()) -> tuple[ApiKeyRow, AppRow] | None:
        """The key that this client certificate stands for: by its own hash, else by one of its names."""
        by_name = _KEYS.c.cert_name.in_(sorted(names))
        wanted = or_(_KEYS.c.cert_sha256 == cert_sha256, by_name)
        return self._key_with_app(select(_KEYS).where(wanted).order_by(_KEYS.c.cert_sha256.is_(None), _KEYS.c.key_id))

    def _key_with_app(self, statement: Select[Any]) -> tuple[ApiKeyRow, AppRow] | None:
        rows = self._ask(statement.limit(1))
        if not rows:
            return None
        key = _key(rows[0])
        app = self.get_app(key.app_id)
        assert app is not None  # a foreign key sees to it
        return key, app

    def list_keys(self, app_id: str) -> list[ApiKeyRow]:
        """An app's keys, revoked ones too."""
        mine = select(_KEYS).where(_KEYS.c.app_id == app_id).order_by(_KEYS.c.created_at, _KEYS.c.key_id)
        return [_key(row) for row in self._ask(mine)]

    def revoke_key(self, key_id: str, now: int) -> bool:
        """Make a key open nothing any more; whether it did until now."""
        active = (_KEYS.c.key_id == key_id) & (_KEYS.c.state == KeyState.ACTIVE.value)
        return (
            self._do(update(_KEYS).where(active).values(state=KeyState.REVOKED.value, revoked_at=now, updated_at=now))
            == 1
        )

    # ------------------------------------------------------------------------------------------ accounts

    def put_account(self, account: AccountRow) -> None:
        """Store a new account. Raises Conflict when the app has this merchant identity already."""
        self._do(
            insert(_ACCOUNTS).values(
                account_id=account.account_id,
                app_id=account.app_id,
                channel=account.channel,
                environment=account.environment,
                merchant=account.merchant,
                state=account.state.value,
                title=account.title,
                created_at=account.created_at,
                updated_at=account.created_at,
            )
        )

    def get_account(self, account_id: str) -> AccountRow | None:
        """The account with this id."""
        rows = self._ask(select(_ACCOUNTS).where(_ACCOUNTS.c.account_id == account_id))
        return _account(rows[0]) if rows else None

    def list_accounts(self, app_id: str | None = None, *, channel: str | None = None) -> list[AccountRow]:
        """The accounts of an app (None: of all), in the order in which they were made."""
        a = _ACCOUNTS.c
        statement = select(_ACCOUNTS).order_by(a.created_at, a.account_id)
        if app_id is not None:
            statement = statement.where(a.app_id == app_id)
        if channel is not None:
            statement = statement.where(a.channel == channel)
        return [_account(row) for row in self._ask(statement)]

    def set_account_state(self, account_id: str, state: AccountState, now: int) -> bool:
        """Let an account take new payments, or not; whether there is such an account."""
        wanted = update(_ACCOUNTS).where(_ACCOUNTS.c.account_id == account_id)
        return self._do(wanted.values(state=state.value, updated_at=now)) == 1

    def put_account_version(self, version: AccountVersionRow) -> None:
        """Store a new version of an account's settings. An active one turns the active one before it to draining."""
        if version.state is VersionState.ACTIVE:
            v = _VERSIONS.c
            before = (v.account_id == version.account_id) & (v.state == VersionState.ACTIVE.value)
            self._do(
                update(_VERSIONS).where(before).values(state=VersionState.DRAINING.value, updated_at=version.created_at)
            )
        self._do(
            insert(_VERSIONS).values(
                account_id=version.account_id,
                version=version.version,
                app_id=version.app_id,
                state=version.state.value,
                settings_cipher=version.settings_cipher,
                created_at=version.created_at,
                updated_at=version.created_at,
            )
        )

    def account_versions(self, account_ids: Collection[str] | None = None) -> list[AccountVersionRow]:
        """The versions of these accounts (None: of all), newest first within each."""
        v = _VERSIONS.c
        statement = select(_VERSIONS).order_by(v.account_id, v.version.desc())
        if account_ids is not None:
            statement = statement.where(v.account_id.in_(sorted(account_ids)))
        return [_version(row) for row in self._ask(statement)]

    def set_version_state(self, account_id: str, version: int, state: VersionState, now: int) -> bool:
        """Say what a version is still used for; whether there is such a version."""
        v = _VERSIONS.c
        wanted = update(_VERSIONS).where((v.account_id == account_id) & (v.version == version))
        return self._do(wanted.values(state=state.value, updated_at=now)) == 1

    def rewrap_version(self, account_id: str, version: int, *, old: bytes, new: bytes, now: int) -> None:
        """Put the same settings under a new seal. Raises Conflict when they were sealed anew meanwhile."""
        v = _VERSIONS.c
        same = (v.account_id == account_id) & (v.version == version) & (v.settings_cipher == old)
        if self._do(update(_VERSIONS).where(same).values(settings_cipher=new, updated_at=now)) != 1:
            raise Conflict("account_versions_settings_cipher")

    def open_tasks_of(self, account_id: str) -> int:
        """How many tasks are waiting for somebody who can sign for this account."""
        waiting = [
            self._ask(
                select(func.count()).where(tasked.c.account_id == account_id, tasked.c.task_ready_at.is_not(None))
            )[0][0]
            for tasked in (_PAYMENTS, _REFUNDS)
        ]
        return sum(waiting)

    # ------------------------------------------------------------------------------------------ sessions

    def put_session(self, session: SessionRow) -> None:
        """Store a new cashier session."""
        self._do(
            insert(_SESSIONS).values(
                session_id=session.session_id,
                app_id=session.app_id,
                order_id=session.order_id,
                client=pack(dict(session.client)),
                expires_at=session.expires_at,
                created_at=session.created_at,
                updated_at=session.created_at,
                revoked_at=session.revoked_at,
            )
        )

    def get_session(self, session_id: str) -> SessionRow | None:
        """The session with this id, expired and revoked ones too."""
        rows = self._ask(select(_SESSIONS).where(_SESSIONS.c.session_id == session_id))
        return _session(rows[0]) if rows else None

    def revoke_session(self, session_id: str, now: int) -> bool:
        """End a session before its time; whether it was still open."""
        s = _SESSIONS.c
        wanted = (s.session_id == session_id) & s.revoked_at.is_(None)
        return self._do(update(_SESSIONS).where(wanted).values(revoked_at=now, updated_at=now)) == 1

    # ------------------------------------------------------------------------------------------ by hand

    def write_audit(self, line: AuditRow) -> None:
        """Keep who did what by hand."""
        self._do(
            insert(_AUDIT).values(
                at=line.at, who=line.who, what=line.what, subject=line.subject, app_id=line.app_id, detail=line.detail
            )
        )

    def list_audit(self, *, subject: str | None = None, limit: int = 100) -> list[AuditRow]:
        """What was done by hand, newest first: to one subject (None: to all)."""
        statement = select(_AUDIT).order_by(_AUDIT.c.number.desc()).limit(limit)
        if subject is not None:
            statement = statement.where(_AUDIT.c.subject == subject)
        return [
            AuditRow(row.at, row.who, row.what, row.subject, row.app_id, row.detail) for row in self._ask(statement)
        ]


# ---------------------------------------------------------------------------------------------- rows


def _app(row: Any) -> AppRow:
    return AppRow(
        app_id=row.app_id,
        name=row.name,
        created_at=row.created_at,
        state=AppState(row.state),
        scopes=tuple(unpack(row.scopes)),
        currencies=tuple(unpack(row.currencies)),
        max_amount_minor=row.max_amount_minor,
        return_hosts=tuple(unpack(row.return_hosts)),
        rate_per_second=row.rate_per_second,
        default_expiry_seconds=row.default_expiry_seconds,
        surplus_policy=SurplusPolicy(row.surplus_policy),
    )


def _key(row: Any) -> ApiKeyRow:
    return ApiKeyRow(
        key_id=row.key_id,
        app_id=row.app_id,
        created_at=row.created_at,
        sha256=row.sha256,
        cert_sha256=row.cert_sha256,
        cert_name=row.cert_name,
        scopes=tuple(unpack(row.scopes)),
        title=row.title,
        state=KeyState(row.state),
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
    )


def _account(row: Any) -> AccountRow:
    return AccountRow(
        account_id=row.account_id,
        app_id=row.app_id,
        channel=row.channel,
        environment=row.environment,
        merchant=row.merchant,
        created_at=row.created_at,
        state=AccountState(row.state),
        title=row.title,
    )


def _version(row: Any) -> AccountVersionRow:
    return AccountVersionRow(
        account_id=row.account_id,
        version=row.version,
        app_id=row.app_id,
        settings_cipher=bytes(row.settings_cipher),
        created_at=row.created_at,
        state=VersionState(row.state),
    )


def _session(row: Any) -> SessionRow:
    return SessionRow(
        session_id=row.session_id,
        app_id=row.app_id,
        order_id=row.order_id,
        expires_at=row.expires_at,
        created_at=row.created_at,
        client=unpack(row.client),
        revoked_at=row.revoked_at,
    )
