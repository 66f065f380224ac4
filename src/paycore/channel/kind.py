"""A channel described as data, so that the cashier can decide without calling it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from paycore.channel.asks import (
    Confirmed,
    EvidenceAsk,
    Notice,
    NoticeReply,
    OperationAsk,
    OperationFinding,
    PaymentAsk,
    RawNotice,
    RefreshAsk,
    RefreshFinding,
    RefundAsk,
)
from paycore.channel.statement import StatementAsk, StatementFinding
from paycore.channel.talk import Conversation, Secret
from paycore.core.findings import PaymentFinding, RefundFinding
from paycore.core.terms import MINUTE, AfterUnknown, Price, Terms

if TYPE_CHECKING:
    from paycore.channel.simulator import Simulator
    from paycore_bridge import ChannelBridge


class ChannelVerb(StrEnum):
    """What a channel can do. A verb that is not declared is never called."""

    PREPARE = "prepare"
    QUERY = "query"
    CLOSE = "close"
    REFUND = "refund"
    QUERY_REFUND = "query_refund"
    READ_NOTICE = "read_notice"
    CONFIRM = "confirm"
    STATEMENT = "statement"
    REFRESH = "refresh"
    OPERATE = "operate"


class NoticeCase(StrEnum):
    """Why a notice is refused; a kind gives the exact bytes of each."""

    FORGED = "forged"
    """It does not verify."""
    WRONG_ACCOUNT = "wrong_account"
    """It verifies, but names another merchant."""
    NOT_NOW = "not_now"
    """We could not store it; the channel should send it again."""


class Environment(StrEnum):
    """Where an account's money is: real, or the channel's test world."""

    PRODUCTION = "production"
    SANDBOX = "sandbox"


class KeyState(StrEnum):
    """What a key version is for: ACTIVE signs and verifies; DRAINING takes no new payments; VERIFY_ONLY verifies old notices."""

    ACTIVE = "active"
    DRAINING = "draining"
    VERIFY_ONLY = "verify_only"


@dataclass(frozen=True, slots=True)
class Text:
    """Words for people, in the two languages of the house."""

    zh: str
    en: str


@dataclass(frozen=True, slots=True)
class Setting:
    """One thing that a merchant must give to open an account. A secret is encrypted at rest and shown as dots.

    Of the settings, `identity` marks the one that is the merchant's identity at the channel: it never changes over the
    life of an account.
    """

    name: str
    title: Text
    secret: bool = False
    required: bool = True
    identity: bool = False
    default: str = ""
    pattern: str = ""
    """A regular expression that the whole value must match; empty for none."""


@dataclass(frozen=True, slots=True)
class Input:
    """Something that a method needs of the payer or the client (openid, auth_code, product_id)."""

    name: str
    title: Text
    pattern: str = ""
    """A regular expression that the whole value must match; empty for any text up to 256 characters."""


@dataclass(frozen=True, slots=True)
class Limit:
    """The least and the most that a method takes of one currency, in minor units."""

    least_minor: int
    most_minor: int


@dataclass(frozen=True, slots=True)
class Method:
    """One way to pay through a channel, with the promises that the core's rules depend on.

    `scene` is app, qr, redirect, form, jsapi, mini_program, barcode or store. `faces` are the client faces it suits
    (android, ios, harmony, h5, in_wallet, mini_program, pc, tv, car); empty for any. `limits` is by currency: a currency
    that is not named is not taken. Expiry bounds are seconds from the moment of paying.
    """

    name: str
    scene: str
    title: Text
    step_kinds: tuple[str, ...]
    limits: Mapping[str, Limit]
    faces: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    inputs: tuple[Input, ...] = ()
    needs_app: str = ""
    """The app that should be installed on the payer's device; unknown never hides the method."""
    least_sdks: Mapping[str, str] = field(default_factory=dict)
    """The lowest version of each SDK in the caller's app that can run the steps, such as {"alipay": "15.8.0"}; a version that
    is not told never hides the method."""
    expiry_min_seconds: int = 60
    expiry_max_seconds: int = 15 * 24 * 3600
    price: Price = Price.EXACT
    after_unknown: AfterUnknown = AfterUnknown.REPEAT
    may_pay_at_prepare: bool = False
    close_reverses: bool = False


@dataclass(frozen=True, slots=True)
class KeyVersion:
    """One set of settings of an account: secrets are Secret, everything else is str."""

    version: int
    state: KeyState
    settings: Mapping[str, str | Secret]


@dataclass(frozen=True, slots=True)
class AccountKeys:
    """What `open` is given: one merchant identity and its key versions, newest first, the signing one named.

    `signing` is None when only verify-only versions are left: the channel must open all the same, to read notices.
    """

    account_id: str
    environment: Environment
    versions: tuple[KeyVersion, ...]
    signing: KeyVersion | None
    blob: Secret | None = None
    """What the last refresh fetched; None for a kind that has no refresh, and before the first one."""


@dataclass(frozen=True, slots=True)
class StatementKind:
    """One of the files in which a channel accounts for a day (trades, ledger). `ready_after_seconds` is when the channel
    has it, counted from the end of the day by `utc_offset_seconds`."""

    name: str
    title: Text
    utc_offset_seconds: int = 8 * 3600
    ready_after_seconds: int = 10 * 3600


@dataclass(frozen=True, slots=True)
class Operation:
    """Something that only this channel has, offered by name to operators and callers. It never moves money."""

    name: str
    title: Text
    inputs: tuple[Input, ...] = ()


class AnyChannel(Protocol):
    """What an open account has at least. What else is there is what its kind declares."""

    @property
    def merchant(self) -> str:
        """The merchant identity that must receive the money; the core compares findings with it."""

    def prepare(self, ask: PaymentAsk) -> Conversation[PaymentFinding]:
        """Make the payment payable: Ready with a plan; Declined; Paid where the method declares it may."""


class Channel(AnyChannel, Protocol):
    """An open account at a channel, with every verb there is. Only those that the kind declares are ever called.

    No method does I/O. Raising anything but Silence or Forged is the plugin's bug, and counts as not knowing.
    """

    def query(self, ask: PaymentAsk) -> Conversation[PaymentFinding]:
        """Ask how the payment stands."""

    def close(self, ask: PaymentAsk) -> Conversation[PaymentFinding]:
        """Make sure it cannot be paid any more: Closed, AlreadyPaid, Reversed, PayerPaying, NotFound or Unknown."""

    def refund(self, ask: RefundAsk) -> Conversation[RefundFinding]:
        """Send the refund under its one id."""

    def query_refund(self, ask: RefundAsk) -> Conversation[RefundFinding]:
        """Ask how the refund stands."""

    def read_notice(self, notice: RawNotice, now: int) -> Notice:
        """Verify raw bytes, trying the key versions in order, and say what they prove. Raises Forged."""

    def confirm(self, ask: EvidenceAsk) -> Conversation[Confirmed]:
        """Verify evidence that a client hands in. Raises Forged."""

    def statement(self, ask: StatementAsk) -> Conversation[StatementFinding]:
        """Fetch and read the channel's account of a day, whole or not at all."""

    def refresh(self, ask: RefreshAsk) -> Conversation[RefreshFinding]:
        """Fetch what grows old (certificates, tokens). It comes back in `AccountKeys.blob` when the account is opened anew."""

    def operate(self, ask: OperationAsk) -> Conversation[OperationFinding]:
        """Do one of the kind's named operations."""


API_VERSION = 1
"""The version of this API. A plugin made for another one is reported and not loaded.

What is added with a default keeps the version; what is renamed, removed or means something else raises it.
"""


@dataclass(frozen=True, slots=True)
class ChannelKind:
    """Everything that can be said of a channel without opening it.

    `open` gives the channel of one account; it parses keys (slow: the engine calls it off the event loop, once) and raises
    ValueError with a sentence without secrets when settings are wrong. `refusals` are the exact answers to notices that
    are not taken. `simulator` makes the channel's own side for tests, demo and development; one that can be given a `seed` (a
    text) has the same numbers again for the same seed, so that a world it plays in can be replayed.

    `verbs` says which verbs are offered; a verb that is not declared is not there. `statements`, `refresh_seconds` and
    `operations` belong to the verbs statement, refresh and operate, and are declared with them or not at all.
    """

    name: str
    title: Text
    methods: tuple[Method, ...]
    verbs: frozenset[ChannelVerb]
    settings: tuple[Setting, ...]
    open: Callable[[AccountKeys], AnyChannel]
    refusals: Mapping[NoticeCase, NoticeReply] = field(default_factory=dict)
    environments: tuple[Environment, ...] = (Environment.PRODUCTION, Environment.SANDBOX)
    refund_window_seconds: int | None = None
    refund_count: int | None = None
    refund_interval_seconds: int | None = None
    """The pause that the channel wants between two refunds of one payment; a refund that comes sooner waits for it."""
    margin_seconds: int = 60
    partial_refunds: bool = True
    """Whether a part of a payment may be refunded, and the rest later."""
    notice_window_seconds: int | None = None
    """How old a signed notice may be; None for a channel whose notices carry no time that could be checked."""
    signed_replies: bool = True
    """Whether the channel signs its successful answers. False for one where TLS alone vouches for them."""
    statements: tuple[StatementKind, ...] = ()
    refresh_seconds: int | None = None
    """How often what `refresh` fetches is fetched anew."""
    operations: tuple[Operation, ...] = ()
    api_version: int = API_VERSION
    version: str = "0"
    simulator: "Callable[..., Simulator] | None" = None
    bridge: "ChannelBridge | None" = None
    """What its SDKs take and answer, per target; sealed plans carry its result tables, and `paycore bridge lint` explains by it."""

    def method(self, name: str) -> Method | None:
        """The method of this name, if the channel has it."""
        return next((method for method in self.methods if method.name == name), None)

    def terms(self, method: Method) -> Terms:
        """The promises that a payment by this method keeps for life."""
        return Terms(
            price=method.price,
            after_unknown=method.after_unknown,
            can_query=ChannelVerb.QUERY in self.verbs,
            can_close=ChannelVerb.CLOSE in self.verbs,
            close_reverses=method.close_reverses,
            can_refund=ChannelVerb.REFUND in self.verbs,
            can_query_refund=ChannelVerb.QUERY_REFUND in self.verbs,
            partial_refunds=self.partial_refunds,
            refund_window=None if self.refund_window_seconds is None else self.refund_window_seconds * 1_000_000,
            refund_count=self.refund_count,
            refund_interval=None if self.refund_interval_seconds is None else self.refund_interval_seconds * 1_000_000,
            margin=max(MINUTE, self.margin_seconds * 1_000_000),
        )
