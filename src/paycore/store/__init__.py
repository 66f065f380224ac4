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
    AccountRow,
    AccountVersionRow,
    ApiKeyRow,
    AppRow,
    AuditRow,
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
    SessionRow,
    StoredRequest,
)
from paycore.store.store import Store
from paycore.store.tables import AccountState, AppState, KeyState, VersionState
from paycore.store.unit import Unit

__all__ = [
    "AccountRow",
    "AccountState",
    "AccountVersionRow",
    "ApiKeyRow",
    "AppRow",
    "AppState",
    "AuditRow",
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
    "PageKey",
    "ReferenceKey",
    "RequestKey",
    "SessionRow",
    "StaleSchema",
    "Store",
    "StoreBroken",
    "StoreError",
    "StoreUnavailable",
    "StoredRequest",
    "Unit",
    "VersionState",
    "WeakDurability",
]
