"""The channel: its own books, which are the truth about money, behind a network that loses, delays and repeats.

A request that has left is on its way whoever dies: it may take effect long after its sender has given up, or is gone.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from paycore.channel import Reply, Request, Silence
from paycore.testing.simulation.loop import SimLoop
from paycore.testing.simulation.options import Options, Roads
from paycore.testing.simulation.processes import Process, outside
from paycore.testing.simulation.timing import SECOND, true_now
from paycore.testing.simulation.weather import Weather
from paycore_sandbox.simulator import LADDER, Fault, NoticeFault, RefundEnd, SandboxSimulator

GATE = "https://sandbox.example/gate"
LEASE_SECONDS = 30.0
QUERIES = frozenset({"trades/query", "refunds/query", "purchases/query"})
CREATING = frozenset({"trades", "refunds"})
BEFORE = (Fault.LOST, Fault.REFUSED_BY_PROXY, Fault.RATE_LIMITED)
AFTER = (Fault.EFFECT_THEN_SILENCE, Fault.EFFECT_THEN_SILENCE, Fault.EFFECT_THEN_ERROR, Fault.EFFECT_THEN_ERROR)
SPOILT = (Fault.UNSIGNED, Fault.BADLY_SIGNED, Fault.TRUNCATED, Fault.EMPTY, Fault.OTHER_SUBJECT)


class ChannelSide:
    """The sandbox channel of one world."""

    def __init__(self, options: Options, weather: Weather) -> None:
        self._options = options
        self._weather = weather
        self.simulator = SandboxSimulator(f"world {options.seed}", ladder=LADDER)
        self.simulator.books.hides_until_entered = options.hidden_trades
        self.books = self.simulator.books
        self.happened = asyncio.Event()
        """Set whenever there may be something to announce."""
        self.left: Counter[str] = Counter()
        """How often a number left for the channel to make a trade or a refund, whatever became of it."""
        self.under_way = 0
        """Requests of ours that have left and are not answered yet."""

    # ------------------------------------------------------------------------------------ calls

    async def carry(self, process: Process, request: Request, seconds: float) -> Reply:
        """The answer to a process's request, or Silence after at most so many seconds."""
        call, options = urlsplit(request.url).path.rpartition("/v1/")[2], self._options
        if self._weather.strikes("channel: no connection", options.network_faults / 4):
            await asyncio.sleep(0.01)
            raise Silence("connection refused", was_sent=False)
        if call in CREATING:
            self.left[_subject(request)] += 1
        there, back = self._delays()
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._later(there, lambda: self._arrive(call, request, answer, back))
        if self._weather.strikes("killed after a send", options.edge_kills):
            process.fuse = self._weather.dice.randrange(3)
        try:
            async with asyncio.timeout(seconds):
                return await answer
        except TimeoutError:
            raise Silence("no answer in time") from None

    def _delays(self) -> tuple[float, float]:
        """How long a request is on its way, and its answer."""
        usual = self._options.channel_seconds / 2
        there, back = self._weather.about(usual), self._weather.about(usual)
        if self._weather.strikes("channel: slow", self._options.slow_calls):
            slow = self._weather.dice.uniform(5.0, 3 * LEASE_SECONDS)
            there, back = (slow, back) if self._weather.dice.random() < 0.5 else (there, slow)
        return there, back

    def _later(self, seconds: float, do: Callable[[], None]) -> None:
        self.under_way += 1

        def then() -> None:
            self.under_way -= 1
            do()

        asyncio.get_running_loop().call_later(seconds, then, context=outside())

    def _arrive(self, call: str, request: Request, answer: asyncio.Future[Reply], back: float) -> None:
        """The request reaches the channel, which does what it does."""
        if call in QUERIES and self._options.roads is Roads.NOTICES:
            reply: Reply | None = Reply(503, {"content-type": "text/html"}, b"<h1>503 Service Unavailable</h1>")
            self._note(f"{call} {_subject(request)}: the road is closed")
        else:
            reply = self._handled(call, request)
        if reply is not None:
            given = reply
            self._later(back, lambda: None if answer.done() else answer.set_result(given))

    def _handled(self, call: str, request: Request) -> Reply | None:
        fault = self._fault(call)
        with self.happening():
            if fault is not None:
                self.simulator.faults.plan(fault)
            reply = self.simulator.handle(request, true_now())
        said = "nothing" if reply is None else _in_short(reply)
        self._note(f"{call} {_subject(request)}: {fault or 'arrives'}, answered {said}")
        return reply

    def _note(self, line: str) -> None:
        loop = asyncio.get_running_loop()
        if isinstance(loop, SimLoop):
            loop.trace.note(loop.time(), "channel", line)

    def _fault(self, call: str) -> Fault | None:
        """What goes wrong with a call that has arrived."""
        rate, dice = self._options.network_faults, self._weather.dice
        if call in QUERIES and self._weather.strikes("channel: stale read", self._options.stale_reads):
            return Fault.STALE
        for kind, share, faults in (
            ("before effect", 0.25, BEFORE),
            ("after effect", 0.35, AFTER),
            ("spoilt", 0.15, SPOILT),
        ):
            if self._weather.strikes(f"channel: {kind}", rate * share):
                return dice.choice(faults)
        return None

    # ------------------------------------------------------------------------------------ what is announced

    @contextmanager
    def happening(self) -> Iterator[None]:
        """While something happens in the books: its notices may be lost, late, forged or told twice."""
        faults, options, dice = self.simulator.faults, self._options, self._weather.dice
        if self._weather.strikes("notice: late", options.notice_late):
            faults.plan_notice(NoticeFault.LATE, delay=round(dice.uniform(0, options.late_seconds) * SECOND))
        elif self._weather.strikes("notice: forged", options.forged_notices):
            faults.plan_notice(dice.choice([NoticeFault.FORGED, NoticeFault.WRONG_MERCHANT]))
        if self._weather.strikes("channel: refund ends badly", options.bad_refund_ends):
            self.books.next_refund_ends[:] = [dice.choice([RefundEnd.FAILED, RefundEnd.STUCK, RefundEnd.PROCESSING])]
        try:
            yield
        finally:
            faults.clear()
            self.books.next_refund_ends.clear()
            self.happened.set()

    def settle(self) -> None:
        """The weather clears at the channel too: payers put their phones away, and what it was slow about it does."""
        now, options = true_now(), self._options
        self.books.is_short_of_money = False
        self.books.refund_delay = 0
        for payment_id in list(self.books.trades):
            self.simulator.stop_paying(payment_id, now)
        for number, refund in list(self.books.refunds.items()):
            if refund.state == "PROCESSING" and refund.ends_at is None:
                end = (
                    RefundEnd.FAILED
                    if options.bad_refund_ends and self._weather.dice.random() < 0.3
                    else RefundEnd.SUCCESS
                )
                self.simulator.end_refund(number, end, now)
        self.happened.set()


def _subject(request: Request) -> str:
    """The number that a request is about, for the trace."""
    document = json.loads(request.body or b"{}")
    return str(document.get("out_refund_no") or document.get("out_trade_no") or document.get("account_token", ""))


def _in_short(reply: Reply) -> str:
    """An answer in a word or two."""
    try:
        document = json.loads(reply.body)
    except ValueError:
        return str(reply.status)
    return f"{reply.status} {document.get('state') or document.get('code', '')}"
