"""Remembers: orders with everything that hangs on them, on SQLite and on PostgreSQL alike.

Plain synchronous calls in two kinds of transaction, `Store.write()` and `Store.read()`, each giving a `Unit`.
"""

from paycore.store.errors import (
    Conflict,
    LostClaim,
    StaleSchema,
    StoreBroken,
    StoreError,
    StoreUnavailable,
    WeakDurability,
)
from paycore.store.records import (
    Account,
    AccountBlob,
    AccountVersion,
    ApiKey,
    App,
    AuditLine,
    Change,
    ChannelRefundKey,
    Due,
    Evidence,
    KeptEvidence,
    ListedAnomaly,
    ListedRefund,
    PageKey,
    ReferenceKey,
    RequestKey,
    Session,
    StoredOffer,
    StoredRequest,
)
from paycore.store.store import Store
from paycore.store.tables import AccountState, AppState, KeyState, OfferState, VersionState
from paycore.store.unit import Unit

__all__ = [
    "Account",
    "AccountBlob",
    "AccountState",
    "AccountVersion",
    "ApiKey",
    "App",
    "AppState",
    "AuditLine",
    "Change",
    "ChannelRefundKey",
    "Conflict",
    "Due",
    "Evidence",
    "KeptEvidence",
    "KeyState",
    "ListedAnomaly",
    "ListedRefund",
    "LostClaim",
    "OfferState",
    "PageKey",
    "ReferenceKey",
    "RequestKey",
    "Session",
    "StaleSchema",
    "Store",
    "StoreBroken",
    "StoreError",
    "StoreUnavailable",
    "StoredOffer",
    "StoredRequest",
    "Unit",
    "VersionState",
    "WeakDurability",
]
