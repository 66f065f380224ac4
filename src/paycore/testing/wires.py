"""Wires without a network: a channel's simulator inline, scripted answers, and everything that goes wrong under way."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from paycore.channel import Reply, Request, Silence, Simulator
from paycore.engine.carrier import Carrier
from paycore.engine.clock import Clock


class InlineCarrier:
    """Carries requests straight into simulators, each reachable below its base URL.

    An address that no simulator has is like a refused connection: nothing was sent. A simulator that answers nothing is
    silence after sending.
    """

    def __init__(self, clock: Clock, simulators: Mapping[str, Simulator] | None = None) -> None:
        self._clock = clock
        self._simulators: dict[str, Simulator] = {}
        self.carried: list[Request] = []
        """Every request that reached a simulator, in order."""
        for base_url, simulator in (simulators or {}).items():
            self.add(base_url, simulator)

    def add(self, base_url: str, simulator: Simulator) -> None:
        """Make a simulator reachable."""
        self._simulators[base_url.rstrip("/")] = simulator

    async def carry(self, request: Request, *, seconds: float) -> Reply:
        """The simulator's answer, at once. Raises Silence."""
        simulator = self._at(request.url)
        if simulator is None:
            raise Silence("connection refused", was_sent=False)
        await asyncio.sleep(0)  # an answer never comes in the same breath
        self.carried.append(request)
        reply = simulator.handle(request, self._clock.now())
        if reply is None:
            raise Silence("no answer")
        return reply

    def _at(self, url: str) -> Simulator | None:
        bases = [base for base in self._simulators if url == base or url.startswith(f"{base}/")]
        return self._simulators[max(bases, key=len)] if bases else None


class WireFault(StrEnum):
    """What the network does to one request."""

    REFUSED = "refused"
    """No connection: not one byte leaves."""
    LOST = "lost"
    """It leaves and never arrives."""
    UNANSWERED = "unanswered"
    """It arrives, and the answer is lost."""
    GARBLED = "garbled"
    """It arrives, and the answer is a proxy's page."""
    HANGS = "hangs"
    """It leaves, and nothing at all comes back until the caller gives up."""


@dataclass(slots=True)
class _Planned:
    fault: WireFault
    word: str
    times: int


@dataclass(slots=True)
class FaultyCarrier:
    """Another carrier with a bad network in front of it. Nothing goes wrong that was not asked for."""

    inner: Carrier
    _planned: list[_Planned] = field(default_factory=list)

    def plan(self, fault: WireFault, word: str = "", *, times: int = 1) -> None:
        """Let this happen to the next requests whose URL contains this word."""
        self._planned.append(_Planned(fault, word, times))

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        self._planned.clear()

    async def carry(self, request: Request, *, seconds: float) -> Reply:
        """The inner carrier's answer, or the trouble that was planned for it."""
        fault = self._take(request)
        if fault is WireFault.REFUSED:
            raise Silence("connection refused", was_sent=False)
        if fault is WireFault.LOST:
            raise Silence("no answer")
        if fault is WireFault.HANGS:
            await asyncio.sleep(seconds)
            raise Silence("no answer in time")
        reply = await self.inner.carry(request, seconds=seconds)
        if fault is WireFault.UNANSWERED:
            raise Silence("the connection broke")
        if fault is WireFault.GARBLED:
            return Reply(502, {"content-type": "text/html"}, b"<h1>502 Bad Gateway</h1>")
        return reply

    def _take(self, request: Request) -> WireFault | None:
        for planned in self._planned:
            if planned.times > 0 and planned.word in request.url:
                planned.times -= 1
                return planned.fault
        return None


Line = Reply | Silence | Callable[[Request], Reply]
"""What a script answers: a reply, silence, or whatever a function makes of the request."""


class ScriptedCarrier:
    """Answers from a script, in order. A request that the script does not expect is silence after sending."""

    def __init__(self, lines: Iterable[Line] = ()) -> None:
        self._lines = list(lines)
        self.carried: list[Request] = []

    def say(self, *lines: Line) -> None:
        """Add lines to the script."""
        self._lines += lines

    async def carry(self, request: Request, *, seconds: float) -> Reply:
        """The script's next line."""
        self.carried.append(request)
        await asyncio.sleep(0)
        line = self._lines.pop(0) if self._lines else Silence("the script is over")
        if isinstance(line, Silence):
            raise line
        return line if isinstance(line, Reply) else line(request)
