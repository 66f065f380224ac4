"""What lies in the database: one SQLModel class a table, the same on SQLite and PostgreSQL.

Rows are only rows: nothing is validated here (SQLModel does not do that for tables). The belt is in the constraints:
whatever the code above believes, an amount is positive, a state is one of ours, and an order is paid by one payment.

Texts that are keys compare byte by byte on both databases. Times are microseconds UTC in a bigint. What has structure
but is never searched (details, terms, a plan) is JSON text.
"""

from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TextClause,
    UniqueConstraint,
    text,
)
from sqlmodel import Field, SQLModel

from paycore.core.order import (
    AnomalyKind,
    AnomalyState,
    CloseReason,
    OrderState,
    Origin,
    PaymentState,
    RefundOrigin,
    RefundState,
    Remedy,
    SurplusPolicy,
    Verb,
)

KEY = Text().with_variant(Text(collation="C"), "postgresql")
TEXT = Text()
WHOLE = BigInteger().with_variant(Integer(), "sqlite")
FLAG = Boolean().with_variant(Integer(), "sqlite")
BYTES = LargeBinary()

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
"""Every constraint has a name that we know: the store tells by it what was lost."""


class Base(SQLModel):
    """The base of every table: our own metadata, so that nobody else's tables get into it."""

    metadata = MetaData(naming_convention=NAMES)


def table(row: type[SQLModel]) -> Table:
    """The table of a class, for statements."""
    found = row.__table__  # type: ignore[attr-defined]
    assert isinstance(found, Table)
    return found


# ---------------------------------------------------------------------------------------------- kinds of columns


def key(before: str | None = None, *, primary: bool = False) -> Any:
    """A text that is compared: an id, a number of somebody's, a state. `before` is what older rows have, as with `words`."""
    return Field(sa_column=Column(KEY, primary_key=primary, nullable=False, server_default=_older(before)))


def maybe_key() -> Any:
    return Field(default=None, sa_column=Column(KEY, nullable=True))


def words(before: str | None = None) -> Any:
    """A text that is only kept. `before` is what rows have that were made before there was this column."""
    return Field(sa_column=Column(TEXT, nullable=False, server_default=_older(before)))


def _older(before: str | None) -> TextClause | None:
    return None if before is None else text(f"'{before}'")


def maybe_words() -> Any:
    return Field(default=None, sa_column=Column(TEXT, nullable=True))


def whole(*, primary: bool = False) -> Any:
    return Field(sa_column=Column(WHOLE, primary_key=primary, nullable=False, autoincrement=False))


def maybe_whole() -> Any:
    return Field(default=None, sa_column=Column(WHOLE, nullable=True))


def flag() -> Any:
    return Field(sa_column=Column(FLAG, nullable=False))


def raw() -> Any:
    return Field(sa_column=Column(BYTES, nullable=False))


def maybe_raw() -> Any:
    return Field(default=None, sa_column=Column(BYTES, nullable=True))


# ---------------------------------------------------------------------------------------------- constraints


def one_of(column: str, values: type[StrEnum], *, name: str = "") -> CheckConstraint:
    """The column holds one of the words of an enum. (A null passes, as in every CHECK.)"""
    listed = ", ".join(f"'{value.value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=name or column)


def positive(column: str) -> CheckConstraint:
    return CheckConstraint(f"{column} > 0", name=f"{column}_positive")


def not_negative(*columns: str) -> list[CheckConstraint]:
    return [CheckConstraint(f"{column} >= 0", name=f"{column}_not_negative") for column in columns]


def currency(column: str = "currency") -> CheckConstraint:
    return CheckConstraint(f"length({column}) = 3", name=column)


def task_is_whole() -> list[CheckConstraint]:
    """A task is there with all its parts or not at all."""
    return [
        one_of("task_verb", Verb),
        CheckConstraint(
            "(task_verb IS NULL) = (task_due_at IS NULL) AND (task_verb IS NULL) = (task_ready_at IS NULL)",
            name="task_whole",
        ),
        *not_negative("task_tries", "fence"),
    ]


def some(index: str, table_name: str, *columns: str, where: str, unique: bool = False) -> Index:
    """An index over the rows that a condition picks."""
    kind = "uq" if unique else "ix"
    condition = text(where)
    return Index(
        f"{kind}_{table_name}_{index}", *columns, unique=unique, sqlite_where=condition, postgresql_where=condition
    )


def strict(*parts: Any) -> tuple[Any, ...]:
    """Table arguments with SQLite's STRICT: a text cannot slip into a column of numbers."""
    return (*parts, {"sqlite_strict": True})


def belongs(column: str, parent: str, parent_column: str) -> ForeignKeyConstraint:
    return ForeignKeyConstraint([column], [f"{parent}.{parent_column}"])


# ---------------------------------------------------------------------------------------------- the snapshot


class OrderTable(Base, table=True):
    """A debt. `task_ready_at` is when its task may next be taken: when it is due, or when its lease ends."""

    __tablename__ = "orders"
    __table_args__ = strict(
        positive("amount_minor"),
        positive("version"),
        currency(),
        one_of("origin", Origin),
        one_of("state", OrderState),
        one_of("close_reason", CloseReason),
        one_of("surplus_policy", SurplusPolicy),
        *task_is_whole(),
        some(
            "merchant_order_no",
            "orders",
            "app_id",
            "merchant_order_no",
            where="merchant_order_no <> ''",
            unique=True,
        ),
        Index("ix_orders_listing", "app_id", "created_at", "order_id"),
        some("payer", "orders", "app_id", "merchant_payer_no", "paid_at", where="merchant_payer_no <> ''"),
        some("task", "orders", "task_ready_at", where="task_ready_at IS NOT NULL"),
    )

    order_id: str = key(primary=True)
    app_id: str = key()
    merchant_order_no: str = key()
    merchant_payer_no: str = key("")
    origin: str = key()
    amount_minor: int = whole()
    currency: str = key()
    details: str = words()
    surplus_policy: str = key()
    expires_at: int = whole()
    created_at: int = whole()
    state: str = key()
    close_reason: str | None = maybe_key()
    paid_at: int | None = maybe_whole()
    closed_at: int | None = maybe_whole()
    version: int = whole()
    updated_at: int = whole()
    task_verb: str | None = maybe_key()
    task_due_at: int | None = maybe_whole()
    task_tries: int = whole()
    task_leased_until: int | None = maybe_whole()
    task_ready_at: int | None = maybe_whole()
    fence: int = whole()


class PaymentTable(Base, table=True):
    """One attempt. `number` is its place within its order, from 1."""

    __tablename__ = "payments"
    __table_args__ = strict(
        positive("amount_minor"),
        positive("number"),
        positive("quantity"),
        currency(),
        one_of("state", PaymentState),
        *not_negative("captured_minor", "refunding_minor", "refunded_minor", "sends"),
        CheckConstraint("NOT is_effective OR state = 'SUCCEEDED'", name="effective_succeeded"),
        *task_is_whole(),
        belongs("order_id", "orders", "order_id"),
        UniqueConstraint("order_id", "number"),
        some("effective", "payments", "order_id", where="is_effective", unique=True),
        some("task", "payments", "task_ready_at", where="task_ready_at IS NOT NULL"),
        some("trade_no", "payments", "channel_trade_no", where="channel_trade_no <> ''"),
    )

    payment_id: str = key(primary=True)
    order_id: str = key()
    app_id: str = key()
    number: int = whole()
    channel: str = key()
    method: str = key()
    account_id: str = key()
    environment: str = key()
    merchant: str = key()
    amount_minor: int = whole()
    currency: str = key()
    terms: str = words()
    created_at: int = whole()
    expires_at: int = whole()
    target: str = key()
    inputs: str = words()
    client: str = words()
    product_id: str = key()
    quantity: int = whole()
    token: str = key()
    offers: str = words("[]")
    state: str = key()
    is_effective: bool = flag()
    is_superseded: bool = flag()
    is_kept: bool = flag()
    is_switching: bool = flag()
    is_reversed: bool = flag()
    captured_minor: int = whole()
    captured_currency: str = key()
    refunding_minor: int = whole()
    refunded_minor: int = whole()
    channel_trade_no: str = key()
    plan_json: str = words()
    plan_expires_at: int | None = maybe_whole()
    failure: str | None = maybe_words()
    paid_at: int | None = maybe_whole()
    sends: int = whole()
    close_unanswered_until: int | None = maybe_whole()
    watch_until: int | None = maybe_whole()
    updated_at: int = whole()
    task_verb: str | None = maybe_key()
    task_due_at: int | None = maybe_whole()
    task_tries: int = whole()
    task_leased_until: int | None = maybe_whole()
    task_ready_at: int | None = maybe_whole()
    fence: int = whole()


class RefundTable(Base, table=True):
    """Money on its way back. `number` is its place within its order, from 1; `account_id` is its payment's."""

    __tablename__ = "refunds"
    __table_args__ = strict(
        positive("amount_minor"),
        positive("number"),
        currency(),
        one_of("origin", RefundOrigin),
        one_of("state", RefundState),
        *not_negative("sends", "answered", "looks"),
        *task_is_whole(),
        belongs("order_id", "orders", "order_id"),
        belongs("payment_id", "payments", "payment_id"),
        UniqueConstraint("order_id", "number"),
        some(
            "merchant_refund_no",
            "refunds",
            "order_id",
            "merchant_refund_no",
            where="merchant_refund_no <> ''",
            unique=True,
        ),
        Index("ix_refunds_payment", "payment_id"),
        some("number", "refunds", "app_id", "merchant_refund_no", where="merchant_refund_no <> ''"),
        Index("ix_refunds_listing", "app_id", "created_at", "refund_id"),
        some("task", "refunds", "task_ready_at", where="task_ready_at IS NOT NULL"),
        some("channel_refund_no", "refunds", "channel_refund_no", where="channel_refund_no <> ''"),
    )

    refund_id: str = key(primary=True)
    order_id: str = key()
    app_id: str = key()
    payment_id: str = key()
    account_id: str = key()
    number: int = whole()
    amount_minor: int = whole()
    currency: str = key()
    origin: str = key()
    merchant_refund_no: str = key()
    reason: str = words()
    created_at: int = whole()
    state: str = key()
    channel_refund_no: str = key()
    failure: str | None = maybe_words()
    refunded_at: int | None = maybe_whole()
    sends: int = whole()
    answered: int = whole()
    refused_at: int | None = maybe_whole()
    looks: int = whole()
    updated_at: int = whole()
    task_verb: str | None = maybe_key()
    task_due_at: int | None = maybe_whole()
    task_tries: int = whole()
    task_leased_until: int | None = maybe_whole()
    task_ready_at: int | None = maybe_whole()
    fence: int = whole()


class AnomalyTable(Base, table=True):
    """Something about money that needs a remedy. Without an order it is an orphan: evidence that belongs to nobody yet.

    `seen` and `last_seen_at` say how often an orphan was told, and when last.
    """

    __tablename__ = "anomalies"
    __table_args__ = strict(
        one_of("kind", AnomalyKind),
        one_of("state", AnomalyState),
        one_of("remedy", Remedy),
        positive("seen"),
        belongs("order_id", "orders", "order_id"),
        Index("ix_anomalies_order", "order_id", "number"),
        Index("ix_anomalies_listing", "app_id", "opened_at", "anomaly_id"),
    )

    anomaly_id: str = key(primary=True)
    order_id: str | None = maybe_key()
    app_id: str = key()
    account_id: str = key()
    number: int = whole()
    kind: str = key()
    opened_at: int = whole()
    state: str = key()
    payment_id: str = key()
    refund_id: str = key()
    amount_minor: int = whole()
    currency: str = key()
    detail: str = words()
    resolved_at: int | None = maybe_whole()
    remedy: str | None = maybe_key()
    note: str = words()
    seen: int = whole()
    last_seen_at: int = whole()


# ---------------------------------------------------------------------------------------------- what was announced


class EventTable(Base, table=True):
    """One numbered change. `feed_seq` is its place in its app's feed, 1..n without a gap, given once it is committed."""

    __tablename__ = "events"
    __table_args__ = strict(
        positive("version"),
        positive("feed_seq"),
        belongs("order_id", "orders", "order_id"),
        some("feed", "events", "app_id", "feed_seq", where="feed_seq IS NOT NULL", unique=True),
        some("unnumbered", "events", "order_id", "version", where="feed_seq IS NULL"),
    )

    order_id: str = key(primary=True)
    version: int = whole(primary=True)
    app_id: str = key()
    at: int = whole()
    kind: str = key()
    subject: str = key()
    subject_id: str = key()
    cause: str = key()
    figures: str = words()
    feed_seq: int | None = maybe_whole()


class FeedTable(Base, table=True):
    """How far an app's feed is numbered."""

    __tablename__ = "feeds"
    __table_args__ = strict(*not_negative("last_seq"))

    app_id: str = key(primary=True)
    last_seq: int = whole()


class RequestTable(Base, table=True):
    """A request that was answered: asking again with its id gets the same object, as long as the order is kept."""

    __tablename__ = "requests"
    __table_args__ = strict()

    app_id: str = key(primary=True)
    rpc: str = key(primary=True)
    request_id: str = key(primary=True)
    canonical: str = words()
    order_id: str = key()
    subject_id: str = key()
    created_at: int = whole()


class ReferenceTable(Base, table=True):
    """Something else that identifies a payment at its channel. Belongs to one payment, ever."""

    __tablename__ = "channel_references"
    __table_args__ = strict(
        belongs("payment_id", "payments", "payment_id"),
        Index("ix_channel_references_payment", "payment_id"),
    )

    channel: str = key(primary=True)
    environment: str = key(primary=True)
    kind: str = key(primary=True)
    value: str = key(primary=True)
    payment_id: str = key()
    created_at: int = whole()


class EvidenceTable(Base, table=True):
    """What we were told about an order. The same thing told again is counted, not kept twice."""

    __tablename__ = "evidence"
    __table_args__ = strict(positive("count"), belongs("order_id", "orders", "order_id"))

    order_id: str = key(primary=True)
    digest: str = key(primary=True)
    app_id: str = key()
    subject_id: str = key()
    via: str = key()
    content: str = words()
    is_verified: bool = flag()
    count: int = whole()
    first_at: int = whole()
    last_at: int = whole()


class UnclaimedPurchaseTable(Base, table=True):
    """What a store told of a purchase that named no payment of ours: each different word once, beside its anomaly."""

    __tablename__ = "unclaimed_purchases"
    __table_args__ = strict(belongs("anomaly_id", "anomalies", "anomaly_id"))

    anomaly_id: str = key(primary=True)
    digest: str = key(primary=True)
    app_id: str = key()
    content: str = words()
    at: int = whole()


class LeaseTable(Base, table=True):
    """Something that one process does for all, until its lease ends."""

    __tablename__ = "leases"
    __table_args__ = strict()

    name: str = key(primary=True)
    owner: str = key()
    leased_until: int = whole()


# ---------------------------------------------------------------------------------------------- who may ask


class AppState(StrEnum):
    """Whether an app is served."""

    ACTIVE = "ACTIVE"
    SUSPENDED = "SUSPENDED"


class KeyState(StrEnum):
    """Whether a key opens anything."""

    ACTIVE = "ACTIVE"
    REVOKED = "REVOKED"


class AccountState(StrEnum):
    """Whether an account takes new payments."""

    ACTIVE = "ACTIVE"
    SUSPENDED = "SUSPENDED"


class VersionState(StrEnum):
    """What a version of an account's keys is still used for."""

    ACTIVE = "ACTIVE"
    DRAINING = "DRAINING"
    VERIFY_ONLY = "VERIFY_ONLY"


class AppTable(Base, table=True):
    """A business that calls us, with its limits. Lists are JSON text."""

    __tablename__ = "apps"
    __table_args__ = strict(
        one_of("state", AppState),
        one_of("surplus_policy", SurplusPolicy),
        positive("default_expiry_seconds"),
        *not_negative("max_amount_minor", "rate_per_second"),
    )

    app_id: str = key(primary=True)
    name: str = words()
    state: str = key()
    scopes: str = words()
    currencies: str = words()
    max_amount_minor: int = whole()
    return_hosts: str = words()
    rate_per_second: int = whole()
    default_expiry_seconds: int = whole()
    surplus_policy: str = key()
    created_at: int = whole()
    bridge_audiences: str = words("[]")


class ApiKeyTable(Base, table=True):
    """A way for an app to prove who it is: the SHA-256 of a key, or a client certificate."""

    __tablename__ = "api_keys"
    __table_args__ = strict(
        one_of("state", KeyState),
        belongs("app_id", "apps", "app_id"),
        UniqueConstraint("sha256"),
        UniqueConstraint("cert_sha256"),
        UniqueConstraint("cert_name"),
        Index("ix_api_keys_app", "app_id"),
    )

    key_id: str = key(primary=True)
    app_id: str = key()
    sha256: str | None = maybe_key()
    cert_sha256: str | None = maybe_key()
    cert_name: str | None = maybe_key()
    scopes: str = words()
    title: str = words()
    state: str = key()
    created_at: int = whole()
    expires_at: int | None = maybe_whole()
    revoked_at: int | None = maybe_whole()


class AccountTable(Base, table=True):
    """One merchant identity at one channel. Never changes but for its state, title and order among its app's."""

    __tablename__ = "accounts"
    __table_args__ = strict(
        one_of("state", AccountState),
        belongs("app_id", "apps", "app_id"),
        UniqueConstraint("app_id", "channel", "environment", "merchant"),
    )

    account_id: str = key(primary=True)
    app_id: str = key()
    channel: str = key()
    environment: str = key()
    merchant: str = key()
    state: str = key()
    title: str = words()
    created_at: int = whole()


class AccountVersionTable(Base, table=True):
    """The keys of an account at one time, sealed. At most one version is active."""

    __tablename__ = "account_versions"
    __table_args__ = strict(
        one_of("state", VersionState),
        positive("version"),
        belongs("account_id", "accounts", "account_id"),
        some("active", "account_versions", "account_id", where="state = 'ACTIVE'", unique=True),
    )

    account_id: str = key(primary=True)
    version: int = whole(primary=True)
    app_id: str = key()
    state: str = key()
    settings_cipher: bytes = raw()
    created_at: int = whole()


class AccountBlobTable(Base, table=True):
    """What an account's channel fetched and keeps (certificates, tokens), sealed, and when it is to be fetched anew."""

    __tablename__ = "account_blobs"
    __table_args__ = strict(*not_negative("failures"), belongs("account_id", "accounts", "account_id"))

    account_id: str = key(primary=True)
    app_id: str = key()
    blob_cipher: bytes | None = maybe_raw()
    refreshed_at: int | None = maybe_whole()
    due_at: int = whole()
    failures: int = whole()


class SessionTable(Base, table=True):
    """A cashier session: one client, one order, for a while."""

    __tablename__ = "sessions"
    __table_args__ = strict(
        belongs("order_id", "orders", "order_id"),
        Index("ix_sessions_order", "order_id"),
        Index("ix_sessions_expiry", "expires_at"),
    )

    session_id: str = key(primary=True)
    app_id: str = key()
    order_id: str = key()
    client: str = words()
    expires_at: int = whole()
    created_at: int = whole()
    revoked_at: int | None = maybe_whole()


class PageCodeTable(Base, table=True):
    """A one-time code that opened a session's page. A code that is not here was never used."""

    __tablename__ = "page_codes"
    __table_args__ = strict(belongs("session_id", "sessions", "session_id"))

    session_id: str = key(primary=True)
    nonce: str = key(primary=True)
    app_id: str = key()
    used_at: int = whole()


class OfferState(StrEnum):
    """Whether an offer is given."""

    ACTIVE = "ACTIVE"
    PAUSED = "PAUSED"


class OfferTable(Base, table=True):
    """An offer of an app. Its terms are JSON text; what payments hold of it is counted beside it."""

    __tablename__ = "offers"
    __table_args__ = strict(
        one_of("state", OfferState),
        belongs("app_id", "apps", "app_id"),
        Index("ix_offers_app", "app_id", "created_at"),
    )

    offer_id: str = key(primary=True)
    app_id: str = key()
    state: str = key()
    terms: str = words()
    created_at: int = whole()


class OfferCountTable(Base, table=True):
    """What payments hold of an offer, whoever makes it. Late money may bring it over the offer's budget, so none is here."""

    __tablename__ = "offer_counts"
    __table_args__ = strict(*not_negative("taken_minor", "taken_count"))

    app_id: str = key(primary=True)
    offer_id: str = key(primary=True)
    taken_minor: int = whole()
    taken_count: int = whole()


class OfferUseTable(Base, table=True):
    """What one offer gave to one payment. `first_payer_no` names the payer while this is their one first-time offer."""

    __tablename__ = "offer_uses"
    __table_args__ = strict(
        positive("amount_minor"),
        belongs("payment_id", "payments", "payment_id"),
        some("first", "offer_uses", "app_id", "first_payer_no", where="first_payer_no <> ''", unique=True),
    )

    payment_id: str = key(primary=True)
    offer_id: str = key(primary=True)
    app_id: str = key()
    order_id: str = key()
    first_payer_no: str = key()
    amount_minor: int = whole()
    is_held: bool = flag()


class AuditTable(Base, table=True):
    """Who did what by hand. `number` orders the lines; nothing is ever changed or removed."""

    __tablename__ = "audit_log"
    __table_args__ = strict(Index("ix_audit_log_subject", "subject"))

    number: int = Field(sa_column=Column(WHOLE, primary_key=True, autoincrement=True))
    at: int = whole()
    who: str = words()
    what: str = key()
    subject: str = key()
    app_id: str = key()
    detail: str = words()


METADATA = Base.metadata
