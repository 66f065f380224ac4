"""Who may ask, and with what: apps, their keys, accounts at channels, cashier sessions, and what people did by hand."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import Select, func, insert, or_, select

from paycore.core.order import SurplusPolicy
from paycore.store.records import (
    Account,
    AccountBlob,
    AccountVersion,
    ApiKey,
    App,
    AuditLine,
    Session,
)
from paycore.store.rows import pack, unpack
from paycore.store.tables import (
    AccountBlobTable,
    AccountState,
    AccountTable,
    AccountVersionTable,
    ApiKeyTable,
    AppState,
    AppTable,
    AuditTable,
    KeyState,
    PageCodeTable,
    PaymentTable,
    RefundTable,
    SessionTable,
    VersionState,
    table,
)
from paycore.store.work import Work

_APPS, _KEYS, _ACCOUNTS = table(AppTable), table(ApiKeyTable), table(AccountTable)
_VERSIONS, _SESSIONS, _AUDIT = table(AccountVersionTable), table(SessionTable), table(AuditTable)
_BLOBS, _PAGE_CODES = table(AccountBlobTable), table(PageCodeTable)
_PAYMENTS, _REFUNDS = table(PaymentTable), table(RefundTable)


class Admin(Work):
    """Rows that people make; a handful of each, so one statement a row is enough. Every `put` stores a row, new or changed."""

    # ------------------------------------------------------------------------------------------ apps

    def put_app(self, app: App) -> None:
        """Store an app."""
        self._put(
            _APPS,
            {
                "app_id": app.app_id,
                "name": app.name,
                "state": app.state.value,
                "scopes": pack(app.scopes),
                "currencies": pack(app.currencies),
                "max_amount_minor": app.max_amount_minor,
                "return_hosts": pack(app.return_hosts),
                "bridge_audiences": pack(app.bridge_audiences),
                "rate_per_second": app.rate_per_second,
                "default_expiry_seconds": app.default_expiry_seconds,
                "surplus_policy": app.surplus_policy.value,
                "created_at": app.created_at,
            },
        )

    def get_app(self, app_id: str) -> App | None:
        """The app with this id."""
        rows = self._ask(select(_APPS).where(_APPS.c.app_id == app_id))
        return _app(rows[0]) if rows else None

    def list_apps(self) -> list[App]:
        """Every app, in the order in which they were made."""
        return [_app(row) for row in self._ask(select(_APPS).order_by(_APPS.c.created_at, _APPS.c.app_id))]

    # ------------------------------------------------------------------------------------------ keys

    def put_key(self, key: ApiKey) -> None:
        """Store a key. Raises Conflict when its hash or certificate is another key's."""
        self._put(
            _KEYS,
            {
                "key_id": key.key_id,
                "app_id": key.app_id,
                "sha256": key.sha256,
                "cert_sha256": key.cert_sha256,
                "cert_name": key.cert_name,
                "scopes": pack(key.scopes),
                "title": key.title,
                "state": key.state.value,
                "created_at": key.created_at,
                "expires_at": key.expires_at,
                "revoked_at": key.revoked_at,
            },
        )

    def get_key(self, key_id: str) -> ApiKey | None:
        """The key with this id."""
        rows = self._ask(select(_KEYS).where(_KEYS.c.key_id == key_id))
        return _key(rows[0]) if rows else None

    def find_key(self, sha256: str) -> tuple[ApiKey, App] | None:
        """The key with this hash, whatever its state, and whose it is."""
        return self._key_with_app(select(_KEYS).where(_KEYS.c.sha256 == sha256))

    def find_key_by_certificate(self, cert_sha256: str, names: Collection[str] = ()) -> tuple[ApiKey, App] | None:
        """The key that this client certificate stands for: by its own hash, else by one of its names."""
        k = _KEYS.c
        wanted = or_(k.cert_sha256 == cert_sha256, k.cert_name.in_(sorted(names)))
        return self._key_with_app(select(_KEYS).where(wanted).order_by(k.cert_sha256.is_(None), k.key_id))

    def _key_with_app(self, statement: Select[Any]) -> tuple[ApiKey, App] | None:
        rows = self._ask(statement.limit(1))
        if not rows:
            return None
        key = _key(rows[0])
        app = self.get_app(key.app_id)
        assert app is not None  # a foreign key sees to it
        return key, app

    def list_keys(self, app_id: str) -> list[ApiKey]:
        """An app's keys, revoked ones too."""
        mine = select(_KEYS).where(_KEYS.c.app_id == app_id).order_by(_KEYS.c.created_at, _KEYS.c.key_id)
        return [_key(row) for row in self._ask(mine)]

    # ------------------------------------------------------------------------------------------ accounts

    def put_account(self, account: Account) -> None:
        """Store an account. Raises Conflict when the app has another of this merchant there already."""
        self._put(
            _ACCOUNTS,
            {
                "account_id": account.account_id,
                "app_id": account.app_id,
                "channel": account.channel,
                "environment": account.environment,
                "merchant": account.merchant,
                "state": account.state.value,
                "title": account.title,
                "created_at": account.created_at,
            },
        )

    def get_account(self, account_id: str, *, lock: bool = False) -> Account | None:
        """The account with this id. Locked, whoever locks it too waits for the commit; so its versions change one by one."""
        mine = select(_ACCOUNTS).where(_ACCOUNTS.c.account_id == account_id)
        rows = self._ask(mine.with_for_update() if lock else mine)
        return _account(rows[0]) if rows else None

    def list_accounts(self, app_id: str | None = None, *, channel: str | None = None) -> list[Account]:
        """The accounts of an app (None: of all), in the order in which they were made."""
        a = _ACCOUNTS.c
        statement = select(_ACCOUNTS).order_by(a.created_at, a.account_id)
        if app_id is not None:
            statement = statement.where(a.app_id == app_id)
        if channel is not None:
            statement = statement.where(a.channel == channel)
        return [_account(row) for row in self._ask(statement)]

    def put_account_version(self, version: AccountVersion) -> None:
        """Store a version of an account's settings. Raises Conflict when another version is active already."""
        self._put(
            _VERSIONS,
            {
                "account_id": version.account_id,
                "version": version.version,
                "app_id": version.app_id,
                "state": version.state.value,
                "settings_cipher": version.settings_cipher,
                "created_at": version.created_at,
            },
        )

    def account_versions(self, account_id: str) -> list[AccountVersion]:
        """Every version of an account's settings, the newest first."""
        v = _VERSIONS.c
        mine = select(_VERSIONS).where(v.account_id == account_id).order_by(v.version.desc())
        return [_version(row) for row in self._ask(mine)]

    def put_account_blob(self, blob: AccountBlob) -> None:
        """Store what an account fetched, and when that is to be done again."""
        self._put(
            _BLOBS,
            {
                "account_id": blob.account_id,
                "app_id": blob.app_id,
                "blob_cipher": blob.blob_cipher,
                "refreshed_at": blob.refreshed_at,
                "due_at": blob.due_at,
                "failures": blob.failures,
            },
        )

    def get_account_blob(self, account_id: str) -> AccountBlob | None:
        """What an account fetched; None when it was never tried."""
        rows = self._ask(select(_BLOBS).where(_BLOBS.c.account_id == account_id))
        return _blob(rows[0]) if rows else None

    def accounts_to_refresh(self, channels: Collection[str], now: int) -> list[Account]:
        """The accounts of these channels whose fetched things are due, or were never fetched; suspended ones read notices too."""
        a, b = _ACCOUNTS.c, _BLOBS.c
        due = (
            select(_ACCOUNTS)
            .outerjoin(_BLOBS, b.account_id == a.account_id)
            .where(a.channel.in_(sorted(channels)), or_(b.account_id.is_(None), b.due_at <= now))
            .order_by(a.created_at, a.account_id)
        )
        return [_account(row) for row in self._ask(due)]

    def count_open_tasks(self, account_id: str) -> int:
        """How many payments and refunds wait for somebody who can sign for this account."""
        waiting = (
            select(func.count())
            .where(tasked.c.account_id == account_id, tasked.c.task_ready_at.is_not(None))
            .scalar_subquery()
            for tasked in (_PAYMENTS, _REFUNDS)
        )
        [(payments, refunds)] = self._ask(select(*waiting))
        return int(payments + refunds)

    # ------------------------------------------------------------------------------------------ sessions

    def put_session(self, session: Session) -> None:
        """Store a cashier session."""
        self._put(
            _SESSIONS,
            {
                "session_id": session.session_id,
                "app_id": session.app_id,
                "order_id": session.order_id,
                "client": pack(dict(session.client)),
                "expires_at": session.expires_at,
                "created_at": session.created_at,
                "revoked_at": session.revoked_at,
            },
        )

    def get_session(self, session_id: str) -> Session | None:
        """The session with this id, expired and revoked ones too."""
        rows = self._ask(select(_SESSIONS).where(_SESSIONS.c.session_id == session_id))
        return _session(rows[0]) if rows else None

    def use_page_code(self, session: Session, nonce: str, at: int) -> bool:
        """Use up a one-time code of a session's page; False when it was used before."""
        row = {"session_id": session.session_id, "nonce": nonce, "app_id": session.app_id, "used_at": at}
        return self._add(_PAGE_CODES, row)

    # ------------------------------------------------------------------------------------------ by hand

    def put_audit(self, line: AuditLine) -> None:
        """Keep who did what by hand. Lines are never changed."""
        self._do(
            insert(_AUDIT).values(
                at=line.at, who=line.who, what=line.what, subject=line.subject, app_id=line.app_id, detail=line.detail
            )
        )

    def list_audit(self, *, subject: str | None = None, limit: int = 100) -> list[AuditLine]:
        """What was done by hand, newest first: to one subject (None: to all)."""
        statement = select(_AUDIT).order_by(_AUDIT.c.number.desc()).limit(limit)
        if subject is not None:
            statement = statement.where(_AUDIT.c.subject == subject)
        return [
            AuditLine(row.at, row.who, row.what, row.subject, row.app_id, row.detail) for row in self._ask(statement)
        ]


# ---------------------------------------------------------------------------------------------- rows


def _app(row: Any) -> App:
    return App(
        app_id=row.app_id,
        name=row.name,
        created_at=row.created_at,
        state=AppState(row.state),
        scopes=tuple(unpack(row.scopes)),
        currencies=tuple(unpack(row.currencies)),
        max_amount_minor=row.max_amount_minor,
        return_hosts=tuple(unpack(row.return_hosts)),
        bridge_audiences=tuple(unpack(row.bridge_audiences)),
        rate_per_second=row.rate_per_second,
        default_expiry_seconds=row.default_expiry_seconds,
        surplus_policy=SurplusPolicy(row.surplus_policy),
    )


def _key(row: Any) -> ApiKey:
    return ApiKey(
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


def _account(row: Any) -> Account:
    return Account(
        account_id=row.account_id,
        app_id=row.app_id,
        channel=row.channel,
        environment=row.environment,
        merchant=row.merchant,
        created_at=row.created_at,
        state=AccountState(row.state),
        title=row.title,
    )


def _version(row: Any) -> AccountVersion:
    return AccountVersion(
        account_id=row.account_id,
        version=row.version,
        app_id=row.app_id,
        settings_cipher=bytes(row.settings_cipher),
        created_at=row.created_at,
        state=VersionState(row.state),
    )


def _blob(row: Any) -> AccountBlob:
    return AccountBlob(
        account_id=row.account_id,
        app_id=row.app_id,
        due_at=row.due_at,
        blob_cipher=None if row.blob_cipher is None else bytes(row.blob_cipher),
        refreshed_at=row.refreshed_at,
        failures=row.failures,
    )


def _session(row: Any) -> Session:
    return Session(
        session_id=row.session_id,
        app_id=row.app_id,
        order_id=row.order_id,
        expires_at=row.expires_at,
        created_at=row.created_at,
        client=unpack(row.client),
        revoked_at=row.revoked_at,
    )
