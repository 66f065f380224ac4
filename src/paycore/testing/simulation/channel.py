"""The channel, behind a network that loses, delays and repeats. Its own books, which are the truth about money, are its counterpart's.

A request that has left is on its way whoever dies: it may take effect long after its sender has given up, or is gone.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from paycore.channel import Reply, Request, Silence
from paycore.testing.simulation.counterpart import AFTER, BEFORE, SPOILT, Call, Counterpart
from paycore.testing.simulation.loop import SimLoop
from paycore.testing.simulation.options import Options, Roads
from paycore.testing.simulation.processes import Process, outside
from paycore.testing.simulation.weather import Weather

LEASE_SECONDS = 30.0
SHARES = ((BEFORE, 0.25), (AFTER, 0.35), (SPOILT, 0.15))
"""Which part of what goes wrong with calls goes wrong where."""


class ChannelSide:
    """The way to the channel of one world, and the way back."""

    def __init__(self, options: Options, weather: Weather, counterpart: Counterpart) -> None:
        self._options = options
        self._weather = weather
        self._counterpart = counterpart
        self.happened = asyncio.Event()
        """Set whenever there may be something to announce."""
        self.left: Counter[str] = Counter()
        """How often a number left for the channel to make a trade or a refund, whatever became of it."""
        self.under_way = 0
        """Requests of ours that have left and are not answered yet."""

    # ------------------------------------------------------------------------------------ calls

    async def carry(self, process: Process, request: Request, seconds: float) -> Reply:
        """The answer to a process's request, or Silence after at most so many seconds."""
        call, options = self._counterpart.understand(request), self._options
        if self._weather.strikes("channel: no connection", options.network_faults / 4):
            await asyncio.sleep(0.01)
            raise Silence("connection refused", was_sent=False)
        if call.makes:
            self.left[call.subject] += 1
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

    def _arrive(self, call: Call, request: Request, answer: asyncio.Future[Reply], back: float) -> None:
        """The request reaches the channel, which does what it does."""
        if call.asks and self._options.roads is Roads.NOTICES:
            reply: Reply | None = Reply(503, {"content-type": "text/html"}, b"<h1>503 Service Unavailable</h1>")
            self._note(f"{call.name} {call.subject}: the road is closed")
        else:
            reply = self._handled(call, request)
        if reply is not None:
            given = reply
            self._later(back, lambda: None if answer.done() else answer.set_result(given))

    def _handled(self, call: Call, request: Request) -> Reply | None:
        trouble = self._trouble(call)
        with self.happening():
            reply = self._counterpart.answer(call, request, trouble)
        said = "nothing" if reply is None else _in_short(reply)
        self._note(f"{call.name} {call.subject}: {trouble or 'arrives'}, answered {said}")
        return reply

    def _note(self, line: str) -> None:
        loop = asyncio.get_running_loop()
        if isinstance(loop, SimLoop):
            loop.trace.note(loop.time(), "channel", line)

    def _trouble(self, call: Call) -> Any | None:
        """What goes wrong with a call that has arrived."""
        if call.asks and self._weather.strikes("channel: stale read", self._options.stale_reads):
            return self._counterpart.stale
        for where, share in SHARES:
            if self._weather.strikes(f"channel: {where}", self._options.network_faults * share):
                return self._weather.dice.choice(self._counterpart.troubles[where])
        return None

    # ------------------------------------------------------------------------------------ what happens there

    @contextmanager
    def happening(self) -> Iterator[None]:
        """While something happens in the books: what it leads to may go wrong, and there may be something to announce."""
        try:
            with self._counterpart.mishaps():
                yield
        finally:
            self.happened.set()

    def settle(self) -> None:
        """The weather clears at the channel too."""
        self._counterpart.settle()
        self.happened.set()


def _in_short(reply: Reply) -> str:
    """An answer in a word or two."""
    try:
        document = json.loads(reply.body)
    except ValueError:
        return str(reply.status)
    words = document if isinstance(document, dict) else {}
    return f"{reply.status} {words.get('state') or words.get('code', '')}"
