"""What goes in and out of the store beside the snapshot itself. Frozen values; nothing here knows SQL."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from paycore.core.decide import Claim
from paycore.core.events import Event
from paycore.core.offers import Offer
from paycore.core.order import Anomaly, Order, Refund, SurplusPolicy, Verb
from paycore.store.tables import AccountState, AppState, KeyState, OfferState, VersionState

Subject = Literal["orders", "payments", "refunds"]
"""The tables whose rows carry tasks."""


# ---------------------------------------------------------------------------------------------- telling


class RequestKey(NamedTuple):
    """What makes a request the same one: whose, which method, and the caller's id for it."""

    app_id: str
    rpc: str
    request_id: str


@dataclass(frozen=True, slots=True)
class StoredRequest:
    """A request that was answered. `canonical` is its content as canonical JSON in UTF-8."""

    key: RequestKey
    canonical: bytes
    order_id: str
    subject_id: str
    at: int


@dataclass(frozen=True, slots=True)
class Change:
    """One order from how it was loaded (None: it is new) to how it is to be saved."""

    before: Order | None
    after: Order
    events: tuple[Event, ...] = ()
    claims: tuple[Claim, ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """Something that we were told about an order. Identical ones (order, digest) are counted, not kept twice."""

    order_id: str
    subject_id: str
    via: str
    digest: str
    at: int
    content: str
    """The finding as JSON, redacted."""
    verified: bool


@dataclass(frozen=True, slots=True)
class KeptEvidence:
    """Evidence with how often it came, first and last. `evidence.at` is when it came first."""

    evidence: Evidence
    count: int
    last_at: int


class ReferenceKey(NamedTuple):
    """What else identifies a payment at its channel."""

    channel: str
    environment: str
    kind: str
    value: str


class ChannelRefundKey(NamedTuple):
    """A refund by the channel's own number."""

    channel: str
    environment: str
    channel_refund_no: str


@dataclass(frozen=True, slots=True)
class Due:
    """A task that was taken by a lease. Whoever holds `fence` may move it until `leased_until`."""

    table: Subject
    subject_id: str
    order_id: str
    app_id: str
    account_id: str | None
    verb: Verb
    tries: int
    fence: int
    leased_until: int


# ---------------------------------------------------------------------------------------------- reading


@dataclass(frozen=True, slots=True)
class ListedRefund:
    """A refund with the order that it belongs to."""

    order_id: str
    refund: Refund


@dataclass(frozen=True, slots=True)
class ListedAnomaly:
    """An anomaly with what it belongs to. Without an order it is an orphan, told `seen` times."""

    app_id: str
    order_id: str | None
    account_id: str
    anomaly: Anomaly
    seen: int


PageKey = tuple[int, str]
"""Where a page ended: the instant and the id of its last row."""


# ---------------------------------------------------------------------------------------------- who may ask


@dataclass(frozen=True, slots=True)
class App:
    """A business that calls us, and its limits."""

    app_id: str
    name: str
    created_at: int
    state: AppState = AppState.ACTIVE
    scopes: tuple[str, ...] = ()
    currencies: tuple[str, ...] = ()
    """The currencies that it may use; none listed means every one."""
    max_amount_minor: int = 0
    """The largest amount of one order; 0 means no limit of its own."""
    return_hosts: tuple[str, ...] = ()
    bridge_audiences: tuple[str, ...] = ()
    """The apps and pages that may use its sealed plans, such as ios:com.example.shop; none listed means that none is sealed."""
    rate_per_second: int = 0
    """Requests a second; 0 means no limit of its own."""
    default_expiry_seconds: int = 1800
    surplus_policy: SurplusPolicy = SurplusPolicy.AUTO_REFUND

    @property
    def is_active(self) -> bool:
        return self.state is AppState.ACTIVE


@dataclass(frozen=True, slots=True)
class ApiKey:
    """How an app proves who it is. A key itself is never stored, only its SHA-256 in hex."""

    key_id: str
    app_id: str
    created_at: int
    sha256: str | None = None
    cert_sha256: str | None = None
    """The SHA-256 of a client certificate, in hex."""
    cert_name: str | None = None
    """A name (SAN) that a client certificate may carry instead."""
    scopes: tuple[str, ...] = ()
    title: str = ""
    state: KeyState = KeyState.ACTIVE
    expires_at: int | None = None
    revoked_at: int | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """One merchant identity of an app at one channel."""

    account_id: str
    app_id: str
    channel: str
    environment: str
    merchant: str
    created_at: int
    state: AccountState = AccountState.ACTIVE
    title: str = ""


@dataclass(frozen=True, slots=True)
class AccountVersion:
    """The settings and keys of an account at one time, sealed by the keyring."""

    account_id: str
    version: int
    app_id: str
    settings_cipher: bytes = field(repr=False)
    created_at: int
    state: VersionState = VersionState.ACTIVE


@dataclass(frozen=True, slots=True)
class AccountBlob:
    """What an account's channel fetched and keeps, sealed; `failures` counts the refreshes that failed since."""

    account_id: str
    app_id: str
    due_at: int
    blob_cipher: bytes | None = field(default=None, repr=False)
    refreshed_at: int | None = None
    failures: int = 0


@dataclass(frozen=True, slots=True)
class Session:
    """A cashier session: one client, one order, for a while."""

    session_id: str
    app_id: str
    order_id: str
    expires_at: int
    created_at: int
    client: Mapping[str, Any] = field(default_factory=dict)
    revoked_at: int | None = None


@dataclass(frozen=True, slots=True)
class StoredOffer:
    """An offer of an app's."""

    offer: Offer
    app_id: str
    created_at: int
    state: OfferState = OfferState.ACTIVE


@dataclass(frozen=True, slots=True)
class AuditLine:
    """Something that a person did by hand."""

    at: int
    who: str
    what: str
    subject: str
    app_id: str = ""
    detail: str = ""
