"""Any plugin at the other end: its own simulator, with real keys and signatures, asked by the conformance kit's protocol.

What the wire does to calls and answers is done here; what only the channel itself can do (a refund that takes its time, a code
that has to be confirmed, a store that gives back) is done where its simulator offers it: `paycore.channel` has a small
protocol for each such ability.
"""

import inspect
import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from enum import StrEnum
from http import HTTPStatus
from typing import Any

from paycore.channel import (
    AboutPayment,
    AboutRefund,
    ChannelKind,
    ChannelVerb,
    KitSimulator,
    MerchantConsole,
    Method,
    NoticeReply,
    OutgoingNotice,
    Paid,
    PayerInputs,
    Price,
    RefundBounced,
    RefundCourse,
    RefundDesk,
    Refunded,
    Reply,
    Request,
    ScanAnswer,
    Scanner,
    Storefront,
)
from paycore.testing.simulation.counterpart import AFTER, BEFORE, GATE, SPOILT, Call, Told
from paycore.testing.simulation.counterparts.listening import Listener
from paycore.testing.simulation.counterparts.plugged_books import PluggedTruth
from paycore.testing.simulation.counterparts.plugged_street import PluggedStreet
from paycore.testing.simulation.options import Options, Roads
from paycore.testing.simulation.timing import SECOND, true_now
from paycore.testing.simulation.weather import Weather
from paycore.v1 import notice_pb2

LAG = 20 * SECOND
"""How far a replica that answers a question may lag."""
LATEST_SECONDS = 200.0
"""How late a delivery is at most: a notice that is older than some minutes may be refused, and comes again by its ladder."""
BAD_COURSES = (RefundCourse.FAILED, RefundCourse.STUCK, RefundCourse.UNDER_WAY)
LONGEST_PAUSE_SECONDS = 24 * 3600.0
"""No channel that we know waits longer before it brings a notice again (the App Store, at the end of its ladder)."""
STORE_SECONDS = 1200.0
"""How long it is rough in a world with a store: phones keep what they bought, and come with it when it is old."""
FORGED_KEY = "key"
"""The forgery that every simulator knows: by a key that is not the channel's."""
UNSURE_SCANS = 0.4
"""How often a code that is scanned does not pay at once."""


class Trouble(StrEnum):
    """What the way to the channel and back does to a call."""

    LOST = "lost"
    TURNED_AWAY = "turned away by a proxy"
    SILENCE = "effect, then silence"
    BROKEN = "effect, then a proxy's page"
    TORN = "torn"
    EMPTY = "empty"
    ALTERED = "altered"
    MIXED_UP = "the answer to another call"
    EARLIER = "an earlier answer"


class NotPlayable(LookupError):
    """The plugin's simulator offers no way to pay that a world could use."""


class PluggedMaker:
    """Makes counterparts of one plugin."""

    def __init__(self, kind: ChannelKind) -> None:
        self._kind = kind
        make = kind.simulator
        assert make is not None, "a kind without a simulator is not played with"
        self._make = make
        self._is_repeatable = "seed" in inspect.signature(make).parameters

    def fitted(self, options: Options) -> Options:
        """No money goes to others here. A store's purchase ends by a query or by nothing, so it needs a world that answers them."""
        is_store = all(method.price is Price.STORE for method in self._kind.methods)
        needs_both = is_store or not self._kind.verbs >= {ChannelVerb.QUERY, ChannelVerb.CLOSE, ChannelVerb.READ_NOTICE}
        roads = Roads.BOTH if needs_both and options.roads is Roads.NOTICES else options.roads
        return replace(
            options,
            roads=roads,
            hidden_trades=False,
            forged_notices=0.0,
            forged_beside=3 * options.forged_notices,
            bad_refund_ends=2 * options.bad_refund_ends,
            pays_other_merchants=0.0,
            rough_seconds=STORE_SECONDS if is_store else options.rough_seconds,
        )

    def __call__(self, options: Options, weather: Weather) -> "Plugged":
        made = self._make(seed=f"world {options.seed}") if self._is_repeatable else self._make()
        if not isinstance(made, KitSimulator):
            raise NotPlayable(f"the simulator of {self._kind.name} does not keep the conformance kit's protocol")
        return Plugged(self._kind, made, options, weather)


class Plugged:
    """A plugin's channel in one world."""

    def __init__(self, kind: ChannelKind, simulator: KitSimulator, options: Options, weather: Weather) -> None:
        self._options = options
        self._weather = weather
        self._simulator = simulator
        self._listener = Listener()
        self.kind = replace(kind, open=self._listener.around(kind.open))
        self.troubles: Mapping[str, Sequence[Trouble]] = {
            BEFORE: (Trouble.LOST, Trouble.TURNED_AWAY),
            AFTER: (Trouble.SILENCE, Trouble.BROKEN),
            SPOILT: (Trouble.TORN, Trouble.EMPTY, Trouble.ALTERED, Trouble.MIXED_UP),
        }
        self.ladder_seconds = LONGEST_PAUSE_SECONDS
        self.stale = Trouble.EARLIER
        methods = [method for method in kind.methods if _is_usable(method, simulator, options)]
        if not methods:
            raise NotPlayable(f"the simulator of {kind.name} has no payer for any method of it")
        self.street = PluggedStreet(methods, simulator, self._listener)
        self.truth = PluggedTruth(kind, simulator, self._listener, self.street)
        self._scanned = frozenset(method.name for method in methods if method.may_pay_at_prepare)
        self._said: dict[str, list[tuple[int, str, Reply]]] = {}
        """What was answered lately, by the name of the call: when, about what, how."""
        self._waiting: set[str] = set()
        self._forged: set[bytes] = set()
        self._numbers = itertools.count(1)

    def settings(self) -> Mapping[str, str]:
        return self._simulator.settings(GATE)

    def opened(self, notify_url: str) -> None:
        if isinstance(self._simulator, MerchantConsole):
            self._simulator.enter_notice_url(notify_url)
        if isinstance(self._simulator, RefundDesk):
            seconds = self._options.refund_seconds
            self._simulator.refunds_take(None if seconds is None else round(seconds * SECOND))

    # ------------------------------------------------------------------------------------ calls

    def understand(self, request: Request) -> Call:
        return self._listener.understand(request)

    def answer(self, call: Call, request: Request, trouble: Trouble | None) -> Reply | None:
        if trouble is Trouble.LOST:
            return None
        if trouble is Trouble.TURNED_AWAY:
            return Reply(503, {"content-type": "text/html"}, b"<h1>503 Service Unavailable</h1>")
        now = true_now()
        with self._scanning(call), self._refunding(call):
            reply = self._simulator.handle(request, now)
        if reply is None or trouble is Trouble.SILENCE:
            return None
        if trouble is Trouble.BROKEN:
            return Reply(502, {"content-type": "text/html"}, b"<h1>502 Bad Gateway</h1>")
        before = self._said.setdefault(call.name, [])
        before[:] = [said for said in before if now - said[0] <= LAG]
        given = _spoilt(trouble, call, reply, before)
        before.append((now, call.subject, reply))
        return given

    @contextmanager
    def _scanning(self, call: Call) -> Iterator[None]:
        """A payer whose code is scanned may have to confirm, or may have no money."""
        simulator, weather = self._simulator, self._weather
        is_scan = call.makes and call.lasting.get("method") in self._scanned
        if not is_scan or not isinstance(simulator, Scanner) or not weather.strikes("payer: unsure", UNSURE_SCANS):
            yield
            return
        answer = weather.dice.choice([ScanAnswer.HAS_TO_CONFIRM, ScanAnswer.IS_REFUSED])
        if answer is ScanAnswer.IS_REFUSED:
            self.truth.refused.add(call.subject)
        simulator.next_scan(answer)
        yield
        simulator.next_scan(None)

    @contextmanager
    def _refunding(self, call: Call) -> Iterator[None]:
        """A refund that begins now may go badly."""
        desk, weather, rate = self._simulator, self._weather, self._options.bad_refund_ends
        is_refund = call.makes and call.name == ChannelVerb.REFUND
        if not is_refund or not isinstance(desk, RefundDesk) or not weather.strikes("channel: refund ends badly", rate):
            yield
            return
        desk.next_refund(weather.dice.choice(BAD_COURSES))
        yield
        desk.next_refund(None)

    def mishaps(self) -> AbstractContextManager[None]:
        """What goes wrong goes wrong at a call, or under way."""
        return nullcontext()

    def settle(self) -> None:
        """Refunds that are under way are carried out."""
        if isinstance(self._simulator, RefundDesk):
            self._simulator.refunds_take(0)
            self._simulator.end_refunds(true_now())

    # ------------------------------------------------------------------------------------ notices

    def due(self, now: int) -> Sequence[OutgoingNotice]:
        going = self._simulator.due(now)
        self._waiting.update(notice.key for notice in going)
        return going

    def answered(self, notice: OutgoingNotice, reply: NoticeReply | None, now: int) -> None:
        self._simulator.answered(notice.key, reply, now)
        if reply is not None and self._is_taken(reply.status, reply.body):
            self._waiting.discard(notice.key)

    def next_due(self) -> int | None:
        return self._simulator.next_due()

    @property
    def undelivered(self) -> int:
        """Of those whose ladder has ended nothing is heard any more."""
        return len(self._waiting) if self._simulator.next_due() is not None else 0

    def lateness(self) -> float:
        options = self._options
        if not self._weather.strikes("notice: late", options.notice_late):
            return 0.0
        return self._weather.dice.uniform(0, min(options.late_seconds, LATEST_SECONDS))

    def forgery(self, notice: OutgoingNotice) -> OutgoingNotice | None:
        if not self._weather.strikes("notice: forged beside it", self._options.forged_beside):
            return None
        forgeries = self._simulator.forgeries(notice.request, true_now())
        is_timed = self.kind.notice_window_seconds is not None  # a wrong time may be right when it arrives
        names = [FORGED_KEY] if is_timed else sorted(forgeries)
        forged = forgeries[self._weather.dice.choice(names)]
        self._forged.add(_mark(forged.headers, forged.body))
        return OutgoingNotice(f"{notice.key} forged {next(self._numbers)}", forged)

    def is_acknowledged(self, request: notice_pb2.DeliverNoticeRequest, response: Any) -> bool:
        return self._is_taken(response.http_status, response.body)

    def _is_taken(self, status: int, body: bytes) -> bool:
        refusals = {(refusal.status, refusal.body) for refusal in self.kind.refusals.values()}
        return 200 <= status < 300 and (status, body) not in refusals

    def told(self, request: notice_pb2.DeliverNoticeRequest) -> Sequence[Told]:
        headers = {header.name: header.value for header in request.headers}
        if _mark(headers, request.body) in self._forged:
            return [Told("", is_foreign=True)]
        return [told for about in self._listener.findings(request.body) for told in _told(about)]


def _is_usable(method: Method, simulator: KitSimulator, options: Options) -> bool:
    """Whether the simulator has a payer for a method, and the world the roads that it needs."""
    if method.price is Price.STORE:
        return isinstance(simulator, Storefront)
    if options.roads is Roads.NOTICES and method.close_reverses:
        return False  # what became of it is told by no notice
    return not method.inputs or isinstance(simulator, PayerInputs)


def _spoilt(trouble: Trouble | None, call: Call, reply: Reply, before: list[tuple[int, str, Reply]]) -> Reply:
    """The answer as it arrives: this one with something wrong with it, or another one that was genuine once."""
    match trouble:
        case Trouble.EARLIER:
            return next((said for _, subject, said in before if subject == call.subject), reply)
        case Trouble.MIXED_UP:  # refusals name nobody; what keeps those with their calls is TLS
            others = (said for _, subject, said in reversed(before) if subject != call.subject)
            return next((said for said in others if said.status < HTTPStatus.BAD_REQUEST), reply)
        case Trouble.TORN:
            return replace(reply, body=reply.body[: len(reply.body) // 2])
        case Trouble.EMPTY:
            return replace(reply, body=b"")
        case Trouble.ALTERED:
            half = len(reply.body) // 2
            return replace(reply, body=reply.body[:half] + b"0" + reply.body[half + 1 :])
    return reply


def _mark(headers: Mapping[str, str], body: bytes) -> bytes:
    """What tells a delivery from every other one."""
    return b"\n".join([*(f"{name.lower()}: {value}".encode() for name, value in sorted(headers.items())), body])


def _told(about: AboutPayment | AboutRefund) -> Iterator[Told]:
    """What one finding of a notice says of money."""
    finding: Any = about.finding
    if isinstance(about, AboutPayment) and isinstance(finding, Paid):
        token = about.reference.value if about.reference is not None else ""
        yield Told("PAID", payment_id=about.payment_id or "", token=token)
        for refund in finding.refunds:
            if not refund.is_sum:  # a sum names none of its refunds
                state = "BOUNCED" if refund.reversed else "SUCCESS"
                number = refund.channel_refund_no
                yield Told(state, refund_id=refund.refund_id or "", channel_refund_no=number)
    if isinstance(about, AboutRefund) and isinstance(finding, Refunded | RefundBounced):
        state = "BOUNCED" if isinstance(finding, RefundBounced) else "SUCCESS"
        number = about.channel_refund_no or finding.channel_refund_no
        yield Told(state, refund_id=about.refund_id or "", channel_refund_no=number)
