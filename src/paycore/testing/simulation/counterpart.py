"""Who is at the other end of the wire: one channel with its plugin, its books and its people, in a world's own words.

A world knows no channel. It asks its counterpart what a request of ours means, what comes back when something goes wrong
under way, what a notice has told us, and what payers and clerks can do there. `counterparts` has one for the sandbox, and one
for every other plugin that ships a simulator which keeps the conformance kit's protocol.
"""

import random
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from paycore.channel import ChannelKind, NoticeReply, OutgoingNotice, Reply, Request
from paycore.testing.simulation.options import Options
from paycore.testing.simulation.rows import PaymentRow
from paycore.testing.simulation.truth import Truth
from paycore.testing.simulation.weather import Weather
from paycore.v1 import common_pb2, notice_pb2

GATE = "https://channel.example/gate"
BEFORE, AFTER, SPOILT = "before effect", "after effect", "spoilt"


class NotPossible(Exception):
    """The channel lets nobody do this, or has never heard of it."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request of ours, as the channel understands it."""

    name: str
    subject: str
    """The number that it is about, for the trace."""
    row_id: str | None
    """The payment or refund of ours that it is about; None for a call that is about neither."""
    asks: bool
    """Whether it only asks."""
    makes: bool
    """Whether it may make a trade or a refund, and so counts as a send of it."""
    lasting: Mapping[str, Any] = field(default_factory=dict)
    """What must be the same whenever this is sent again."""


@dataclass(frozen=True, slots=True)
class Told:
    """One thing that a notice says of money."""

    state: str
    """PAID, or how a refund stands: SUCCESS, BOUNCED."""
    payment_id: str = ""
    token: str = ""
    """What a store knows the payment by."""
    refund_id: str = ""
    channel_refund_no: str = ""
    is_foreign: bool = False
    """Whether it is about another merchant's money."""


class Street(Protocol):
    """What people at the channel do: payers with their devices, clerks in its console. Raises NotPossible."""

    def product(self, dice: random.Random, number: int) -> str:
        """The product that the order of this number is about; empty for one that no store sells."""

    def method(self, dice: random.Random, product: str) -> str:
        """The way to pay that somebody chooses."""

    def client(self, method: str) -> common_pb2.ClientContext:
        """A client that can use this method."""

    def cashier(self) -> common_pb2.ClientContext:
        """A client that opens a cashier."""

    def inputs(self, method: str) -> Mapping[str, str]:
        """What the payer hands in for it, fresh each time."""

    def knows(self, payment: PaymentRow) -> bool:
        """Whether there is something that could be paid."""

    def asked_minor(self, payment: PaymentRow) -> int:
        """What the payer is asked for."""

    def is_over(self, payment: PaymentRow) -> bool:
        """Whether it ended unpaid."""

    def enter(self, payment: PaymentRow, plan_json: str) -> None:
        """Let the payer's device do what its plan says, however old that is."""

    def pay(self, payment: PaymentRow, *, amount_minor: int, is_elsewhere: bool, even_if_over: bool) -> None:
        """Pay it; to another merchant, or although it is over, where the channel has such a thing."""

    def begin_paying(self, payment: PaymentRow) -> None:
        """The payer begins, and goes no further."""

    def decline(self, payment: PaymentRow) -> None:
        """The payer's bank says no."""

    def stop_paying(self, payment: PaymentRow) -> None:
        """The payer puts the phone away."""

    def buy(self, payment: PaymentRow, product: str, plan_json: str, *, amount_minor: int) -> str:
        """Buy in the store; returns the evidence that the app is handed."""

    def hands_in_after(self, dice: random.Random) -> Sequence[float]:
        """How many seconds after a purchase the phone hands in its evidence, each time; never, if there are none."""

    def unfinished(self) -> Mapping[str, str]:
        """The evidence that phones hold on to until somebody wants it, by the payments that it is about."""

    def left_minor(self, payment: PaymentRow) -> int:
        """How much of it a console, or a store, could still give back; 0 where it could not."""

    def refund_in_console(self, payment: PaymentRow, amount_minor: int) -> None:
        """Somebody there gives so much of it back, past us; a store gives back all."""

    def may_bounce(self, payments: Sequence[PaymentRow]) -> str:
        """A refund of these that was done and can come back; empty when there is none."""

    def bounce(self, number: str) -> None:
        """It comes back, and a notice says so."""


class Counterpart(Protocol):
    """The channel's side of one world."""

    @property
    def kind(self) -> ChannelKind:
        """The plugin's kind, as the servers load it."""

    @property
    def truth(self) -> Truth:
        """Its books."""

    @property
    def street(self) -> Street:
        """Its people."""

    @property
    def troubles(self) -> Mapping[str, Sequence[Any]]:
        """What may go wrong with a call: BEFORE and AFTER its effect, or SPOILT on its way back."""

    @property
    def ladder_seconds(self) -> float:
        """How much longer than an hour it may wait before it brings a notice again."""

    @property
    def stale(self) -> Any:
        """The trouble with which a question is answered as if it were some time ago."""

    def settings(self) -> Mapping[str, str]:
        """What the shop fills in to have its account."""

    def opened(self, notify_url: str) -> None:
        """The shop has its account, and listens there."""

    def understand(self, request: Request) -> Call:
        """What a request of ours is."""

    def answer(self, call: Call, request: Request, trouble: Any | None) -> Reply | None:
        """Do what the request asks for and answer it, as well as the trouble allows; None for silence."""

    def mishaps(self) -> AbstractContextManager[None]:
        """While something happens in the books: what it leads to may go wrong."""

    def settle(self) -> None:
        """The weather clears at the channel too: what it was slow about it does now."""

    def due(self, now: int) -> Sequence[OutgoingNotice]:
        """The notices to deliver now."""

    def answered(self, notice: OutgoingNotice, reply: NoticeReply | None, now: int) -> None:
        """How a delivery went; None when nothing came back."""

    def next_due(self) -> int | None:
        """When there will be something to deliver again, or something else happens at the channel by itself."""

    @property
    def undelivered(self) -> int:
        """Notices that were sent out, and that nobody has acknowledged yet."""

    def lateness(self) -> float:
        """For how many seconds the next delivery is held up."""

    def forgery(self, notice: OutgoingNotice) -> OutgoingNotice | None:
        """A forged notice that somebody sends along with this one, or none."""

    def is_acknowledged(self, request: notice_pb2.DeliverNoticeRequest, response: Any) -> bool:
        """Whether this answer to a notice says that it was taken."""

    def told(self, request: notice_pb2.DeliverNoticeRequest) -> Sequence[Told]:
        """What a notice that was taken says."""


class Maker(Protocol):
    """Makes the counterpart of a world."""

    def fitted(self, options: Options) -> Options:
        """The world of these options, without what this channel does not have."""

    def __call__(self, options: Options, weather: Weather) -> Counterpart: ...
