"""The sandbox channel as a process of its own, which nothing kills: its books are the truth that ours are compared with.

The parent speaks to it in lines of JSON. It ends when the parent does.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from paycore.engine.clock import SystemClock
from paycore.testing.simulators import SimulatorServer
from paycore_sandbox import SandboxSimulator, wire
from paycore_sandbox.simulator import Fault, NoticeFault, NotPayable
from tests.chaos.checks import Books, ChannelRefund, Send, Trade

CHANNEL = "sandbox"
SECOND = 1_000_000
LADDER = tuple(seconds * SECOND for seconds in (1, 1, 2, 2, 3, 5, 5, *[8] * 60))
"""A day of notices in some minutes."""
ROOT = Path(__file__).resolve().parents[2]
ANSWER_SECONDS = 30.0


class Channel:
    """The channel's process as its parent sees it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._one_at_a_time = asyncio.Lock()
        self.port = 0

    @classmethod
    async def begin(cls, log: Path) -> Channel:
        """Start it and wait until it listens."""
        with log.open("ab") as out:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "tests.chaos.channel"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=out,
                cwd=ROOT,
                env={name: value for name, value in os.environ.items() if not name.startswith("PAYCORE_")},
                limit=64 * 1024 * 1024,
            )
        channel = cls(process)
        channel.port = (await channel._read())["port"]
        return channel

    async def ask(self, do: str, **more: Any) -> Any:
        """Have something done there, and return what it says about it."""
        assert self._process.stdin is not None
        async with self._one_at_a_time:
            self._process.stdin.write(json.dumps({"do": do, **more}).encode() + b"\n")
            await self._process.stdin.drain()
            return await self._read()

    async def books(self) -> Books:
        """Everything that it knows."""
        told = await self.ask("books")
        return Books(
            trades={one["payment_id"]: Trade(**one) for one in told["trades"]},
            refunds={one["number"]: ChannelRefund(**one) for one in told["refunds"]},
            sends=[Send(**one) for one in told["sends"]],
            undelivered=told["undelivered"],
        )

    async def end(self) -> None:
        """Let it go."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), 10)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    async def _read(self) -> Any:
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), ANSWER_SECONDS)
        assert line, "the channel's process has ended"
        return json.loads(line)


# ---------------------------------------------------------------------------------------------- inside the process


class Desk:
    """Does what the parent asks."""

    def __init__(self) -> None:
        self.clock = SystemClock()
        self.simulator = SandboxSimulator(ladder=LADDER)
        self.host = SimulatorServer({CHANNEL: self.simulator}, self.clock)

    def do(self, asked: Mapping[str, Any]) -> Any:
        more = {name: value for name, value in asked.items() if name != "do"}
        return getattr(self, f"_{asked['do']}")(**more)

    def _settings(self, base_url: str) -> Mapping[str, str]:
        return self.simulator.settings(base_url)

    def _pay(self, kind: str, params: dict[str, Any], *, even_if_over: bool) -> str:
        """Do the payment's first step as a phone would, and pay. What it says is empty when it was paid."""
        now = self.clock.now()
        try:
            if kind == "sdk":
                payment_id = self.simulator.open_app(params["arguments"]["orderString"], now)
            else:
                payment_id = self.simulator.scan(params["content"] if kind == "qr" else params["url"], now)
            with self._telling_of_late_money(payment_id, now):
                self.simulator.pay(payment_id, now, even_if_over=even_if_over)
        except (NotPayable, LookupError) as problem:
            return str(problem) or "it cannot be paid"
        self.host.look()
        return ""

    @contextlib.contextmanager
    def _telling_of_late_money(self, payment_id: str, now: int) -> Iterator[None]:
        """Let no fault lose the notice of money for a trade that is over: without it we look for it after five minutes."""
        faults, trade = self.simulator.faults, self.simulator.books.trades[payment_id]
        trade.tick(now)
        planned = faults._notices
        if trade.state in ("CLOSED", "DECLINED"):
            faults._notices = [one for one in planned if one.fault is not NoticeFault.LOST]
        try:
            yield
        finally:
            faults._notices = planned

    def _fault(self, fault: str, call: str, times: int) -> None:
        self.simulator.faults.plan(Fault(fault), call, times=times)

    def _notice_fault(self, fault: str, times: int, delay_seconds: int) -> None:
        self.simulator.faults.plan_notice(NoticeFault(fault), times=times, delay=delay_seconds * SECOND)

    def _slow_refunds(self, seconds: float) -> None:
        self.simulator.books.refund_delay = round(seconds * SECOND)

    def _clear(self) -> None:
        self.simulator.faults.clear()
        self.simulator.books.refund_delay = 0

    def _books(self) -> Any:
        books = self.simulator.books
        return {
            "trades": [
                {
                    "payment_id": one.out_trade_no,
                    "state": one.state,
                    "taken_minor": one.taken_minor if one.state == "PAID" else 0,
                }
                for one in books.trades.values()
            ],
            "refunds": [
                {
                    "number": number,
                    "payment_id": one.out_trade_no,
                    "amount_minor": one.amount_minor,
                    "state": one.state,
                }
                for number, one in books.refunds.items()
            ],
            "sends": [
                {
                    "number": call.subject,
                    "payment_id": wire.text(call.document, "out_trade_no"),
                    "amount_minor": wire.amount(call.document)[0],
                }
                for call in self.simulator.calls
                if call.name == "refunds"
            ],
            "undelivered": self.simulator.undelivered,
        }


async def main() -> None:
    desk = Desk()
    await desk.host.start()
    port = int(desk.host.base_url(CHANNEL).rpartition(":")[2].partition("/")[0])
    print(json.dumps({"port": port}), flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps(desk.do(json.loads(line))), flush=True)
    await desk.host.stop()


if __name__ == "__main__":
    asyncio.run(main())
