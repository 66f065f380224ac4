"""The channel's own side, sans-I/O too: what a plugin ships so that demo, tests and storms need no network peer.

A host may serve it over HTTP on a laptop, or run it inline in a simulation; the simulator does not know which.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from paycore.channel.asks import NoticeReply
from paycore.channel.talk import Reply, Request

if TYPE_CHECKING:
    from paycore_bridge import Target


@dataclass(frozen=True, slots=True)
class OutgoingNotice:
    """A callback that the channel wants to deliver now. `key` names it when its answer is handed back."""

    key: str
    request: Request


class Simulator(Protocol):
    """A channel in miniature, with its own books and its own keys. Times are microseconds, passed in."""

    def settings(self, base_url: str) -> Mapping[str, str]:
        """The account settings of a merchant of this simulated channel, reachable at this URL. Secrets are plain text."""

    def handle(self, request: Request, now: int) -> Reply | None:
        """Answer a request, the merchant's or a person's browser's. None is a black hole: the caller gets no answer."""

    def due(self, now: int) -> Sequence[OutgoingNotice]:
        """The notices to deliver now; each is taken as being delivered until its answer is handed back."""

    def answered(self, key: str, reply: NoticeReply | None, now: int) -> None:
        """How a delivery went; None when nothing came back. The retry ladder goes on from here."""

    def next_due(self) -> int | None:
        """When `due` will next have something, or None."""

    def pay(self, payment_id: str, now: int, *, amount_minor: int | None = None) -> None:
        """Pay a trade as its payer would (scan and confirm). Raises LookupError when there is no such trade."""


@runtime_checkable
class PayerPhone(Protocol):
    """What a simulator may offer besides: the payer's phone. `paycore demo` shows what the SDK on it says, where there is one."""

    def run_on_phone(self, plan_json: str, device: "Target", now: int) -> str:
        """Run a plan as an app on this device with the channel's SDK does, and let the payer pay.

        Returns the SDK's raw code, which is a hint and never a result; a plan that the SDK rejects gives the SDK's code for that.
        """


@runtime_checkable
class MerchantConsole(Protocol):
    """What a simulator may offer besides: the console in which a merchant says where notices go.

    For a channel that is told so there and in no request. Whoever runs the simulator enters the account's address.
    """

    def enter_notice_url(self, url: str) -> None:
        """From now on the first merchant's notices go there."""


@dataclass(frozen=True, slots=True)
class TradeSeen:
    """A trade as the channel's own books have it."""

    amount_minor: int
    """What the merchant asked for."""
    currency: str
    paid_minor: int
    """What was taken; 0 while nobody has paid."""
    returned_minor: int
    """What went back."""
    is_closed: bool
    """Closed unpaid."""


# ---------------------------------------------------------------------------------------------- for whole worlds


@runtime_checkable
class PayerInputs(Protocol):
    """What a simulator may offer besides: payers who hand something in before they pay (an openid, the digits of a barcode)."""

    def hand_in(self, method: str, number: int) -> Mapping[str, str]:
        """What the payer of this number hands in for a method; empty for a method that needs nothing."""


class ScanAnswer(StrEnum):
    """What happens when a payer's code is scanned."""

    PAYS = "pays"
    HAS_TO_CONFIRM = "has_to_confirm"
    """The payer is asked first; `pay` is how they confirm."""
    IS_REFUSED = "is_refused"


@runtime_checkable
class Scanner(Protocol):
    """What a simulator may offer besides: codes that do not pay at once."""

    def next_scan(self, answer: ScanAnswer | None) -> None:
        """Let the next code that is scanned be answered so; None: as usual, whatever was asked for before."""


@runtime_checkable
class LateMoney(Protocol):
    """What a simulator may offer besides: money that was under way while its trade came to an end."""

    def pay_late(self, payment_id: str, now: int, *, amount_minor: int | None = None) -> None:
        """Pay a trade although it is over. Raises LookupError when there is none, ValueError when it is paid already."""


class RefundCourse(StrEnum):
    """How a refund goes at the channel."""

    DONE = "done"
    UNDER_WAY = "under_way"
    FAILED = "failed"
    """It was taken, and its money does not move."""
    STUCK = "stuck"
    """Somebody at the merchant has to see to it."""


@runtime_checkable
class RefundDesk(Protocol):
    """What a simulator may offer besides: refunds that take their time, or go wrong."""

    def refunds_take(self, delay: int | None) -> None:
        """From now on a refund is carried out so many microseconds after it was taken; None: not before it is ended."""

    def next_refund(self, course: RefundCourse | None) -> None:
        """Let the next refund that is taken go so, where the channel has such a course; None: as usual, whatever was asked for."""

    def end_refunds(self, now: int) -> None:
        """Carry out every refund that is under way."""

    def refund_course(self, refund_id: str) -> RefundCourse | None:
        """How our refund of this id stands in the books; None when the channel does not have it."""


@runtime_checkable
class Storefront(Protocol):
    """What the simulator of a store may offer besides. A store knows a payment by its token."""

    def sale(self, token: str) -> TradeSeen | None:
        """What was bought under this token; None while nothing was."""

    def announce_sale(self, token: str, now: int) -> None:
        """Tell the merchant of the sale by a notice."""

    def give_back(self, token: str, now: int) -> None:
        """The store gives all of it back, by its own decision, and says so."""

    def take_back(self, token: str, now: int) -> None:
        """What was given back is taken back, and the store says so."""


# ---------------------------------------------------------------------------------------------- for the conformance kit


class Lie(StrEnum):
    """What a channel's genuine, properly signed word about a trade may have wrong."""

    AMOUNT = "amount"
    CURRENCY = "currency"
    MERCHANT = "merchant"


@runtime_checkable
class KitSimulator(Simulator, Protocol):
    """What the conformance kit (and the demo) needs of a simulator beyond playing the channel.

    Everything here happens on the channel's side, by the channel's own keys. Payments are named by the id that we sent.
    """

    def other_settings(self, base_url: str) -> Mapping[str, str]:
        """The account settings of a second merchant of this channel."""

    def next_settings(self, base_url: str) -> Mapping[str, str]:
        """The first merchant's settings after its keys were changed. What was signed before still verifies with the old ones."""

    def accept(self, plan_json: str, now: int) -> str:
        """Do what the payer's device does with a plan (scan, open the app, follow the page), up to where it could pay.

        Returns the payment's id. Raises ValueError or Forged for a plan that the channel's own SDK would reject.
        """

    def decline(self, payment_id: str, now: int) -> bool:
        """The payer's bank says no. False for a channel where that leaves the trade waiting."""

    def misreport(self, payment_id: str, lie: Lie, now: int) -> bool:
        """From now on tell this about the trade, in answers and in a fresh notice, genuinely signed.

        False where this channel's words do not name such a thing at all. An amount is always named.
        """

    def trade(self, payment_id: str) -> TradeSeen | None:
        """The trade in the channel's books; None when it never heard of it."""

    def refunds(self, payment_id: str) -> Mapping[str, int]:
        """The refunds of a trade in the channel's books, done or under way: our refund id and what each is for."""

    def refund_in_console(self, payment_id: str, now: int, *, amount_minor: int) -> str:
        """Somebody at the merchant refunds in the channel's console; returns the channel's refund number."""

    def forgeries(self, genuine: Request, now: int) -> Mapping[str, Request]:
        """Notices like this one that only somebody who knows the protocol could forge, each by its name.

        At least "key" (signed by a key that is not the channel's) and, for a kind with a notice window, "stale" (signed
        by the channel's key over a time outside of it). Every weaker algorithm that the channel or its SDKs ever knew,
        signed by the channel's own key where that can be, is one more.
        """

    def purchase(self, plan_json: str, now: int, *, amount_minor: int) -> str:
        """Buy in the store as the device does with this plan; returns the evidence that a client would hand in.

        Only for kinds with a method whose price the store sets; others raise ValueError.
        """
