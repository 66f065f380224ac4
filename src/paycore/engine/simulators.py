"""Serves channels' simulators over HTTP on this machine, and brings their notices to where they want them.

For demo, development and black-box tests. The simulators are sans-I/O; this is the only I/O that they have. Inside one
process `Postman` brings notices to a receiver without any HTTP.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from urllib.parse import urlsplit

import httpx2

from paycore.channel import MerchantConsole, NoticeReply, OutgoingNotice, RawNotice, Reply, Request, Simulator
from paycore.engine.clock import Clock

log = logging.getLogger("paycore.engine.simulators")

MAX_HEAD_BYTES = 64 * 1024
MAX_BODY_BYTES = 1024 * 1024
DELIVERY_SECONDS = 10.0
IDLE_SECONDS = 60.0
LONGEST_NAP_SECONDS = 5.0


def enter_notice_urls(simulators: Mapping[str, Simulator], urls: Mapping[str, str]) -> None:
    """Say in the console of every channel that has one where its merchant wants notices, as the merchant would."""
    for channel, simulator in simulators.items():
        if channel in urls and isinstance(simulator, MerchantConsole):
            simulator.enter_notice_url(urls[channel])


class BadRequest(Exception):
    """Bytes that are not an HTTP request which this small server reads."""


class SimulatorServer:
    """One small HTTP server for all simulators, each below `/<channel>`. Loopback only.

    A simulator that answers nothing leaves its caller hanging until the caller gives up.
    """

    def __init__(self, simulators: Mapping[str, Simulator], clock: Clock, *, port: int = 0) -> None:
        self._simulators = dict(simulators)
        self._clock = clock
        self._port = port
        self._server: asyncio.Server | None = None
        self._rounds: list[asyncio.Task[None]] = []
        self._visits: set[asyncio.Task[None]] = set()
        self._deliveries: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._client: httpx2.AsyncClient | None = None

    async def start(self) -> None:
        """Begin to listen and to deliver notices."""
        self._server = await asyncio.start_server(self._visit, "127.0.0.1", self._port, limit=MAX_HEAD_BYTES)
        self._port = self._server.sockets[0].getsockname()[1]
        self._client = httpx2.AsyncClient(trust_env=False, timeout=DELIVERY_SECONDS)
        self._rounds = [asyncio.create_task(self._deliver_due())]

    async def stop(self) -> None:
        """Hang up on everybody and deliver no more."""
        tasks = [*self._rounds, *self._visits, *self._deliveries]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
        if self._client is not None:
            await self._client.aclose()

    def base_url(self, channel: str) -> str:
        """Where this channel's simulator is reached; give it to `settings`."""
        return f"http://127.0.0.1:{self._port}/{channel}"

    def look(self) -> None:
        """Look for due notices now: something was done to a simulator from outside."""
        self._wake.set()

    # ------------------------------------------------------------------------------------ answering

    async def _visit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._visits.add(task)
        try:
            while await self._answer_one(reader, writer):
                pass
        except (BadRequest, asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError, TimeoutError):
            pass  # whoever called sent nonsense or went away
        except asyncio.CancelledError:
            pass  # we stop; asyncio's streams would complain about a task that was cancelled
        finally:
            self._visits.discard(task)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _answer_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request of a connection. False when there is none any more."""
        async with asyncio.timeout(IDLE_SECONDS):
            request = await _read_request(reader, self._port)
        if request is None:
            return False
        channel = urlsplit(request.url).path.split("/")[1]
        simulator = self._simulators.get(channel)
        reply = Reply(404, {}, b"") if simulator is None else simulator.handle(request, self._clock.now())
        self.look()
        if reply is None:
            await reader.read()  # a black hole: wait until the caller gives up
            return False
        writer.write(_as_bytes(reply, is_head=request.method == "HEAD"))
        await writer.drain()
        return request.headers.get("connection", "").lower() != "close"

    # ------------------------------------------------------------------------------------ notices

    async def _deliver_due(self) -> None:
        while True:
            self._wake.clear()
            now = self._clock.now()
            for simulator in self._simulators.values():
                for notice in simulator.due(now):
                    self._begin(simulator, notice)
            due = [at for simulator in self._simulators.values() if (at := simulator.next_due()) is not None]
            nap = LONGEST_NAP_SECONDS if not due else min(max((min(due) - now) / 1e6, 0.01), LONGEST_NAP_SECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(nap):
                    await self._wake.wait()

    def _begin(self, simulator: Simulator, notice: OutgoingNotice) -> None:
        task = asyncio.create_task(self._deliver(simulator, notice))
        self._deliveries.add(task)
        task.add_done_callback(self._deliveries.discard)

    async def _deliver(self, simulator: Simulator, notice: OutgoingNotice) -> None:
        assert self._client is not None
        request = notice.request
        reply: NoticeReply | None = None
        try:
            response = await self._client.request(
                request.method, request.url, headers=dict(request.headers), content=request.body
            )
            reply = NoticeReply(response.status_code, dict(response.headers), response.content)
        except httpx2.HTTPError as error:
            log.info("a notice was not delivered: %s", type(error).__name__)
        simulator.answered(notice.key, reply, self._clock.now())
        self.look()


async def _read_request(reader: asyncio.StreamReader, port: int) -> Request | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise BadRequest from None
        return None
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    words = first.split(" ")
    if len(words) != 3 or not words[1].startswith("/"):
        raise BadRequest
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    length = headers.get("content-length", "0")
    if "transfer-encoding" in headers or not length.isdecimal() or int(length) > MAX_BODY_BYTES:
        raise BadRequest
    body = await reader.readexactly(int(length))
    return Request(words[0], f"http://127.0.0.1:{port}{words[1]}", headers=headers, body=body)


def _as_bytes(reply: Reply, *, is_head: bool) -> bytes:
    try:
        phrase = HTTPStatus(reply.status).phrase
    except ValueError:
        phrase = "Unknown"
    lines = [f"HTTP/1.1 {reply.status} {phrase}", f"content-length: {len(reply.body)}"]
    lines += [f"{name}: {value}" for name, value in reply.headers.items() if name.lower() != "content-length"]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (b"" if is_head else reply.body)


# ---------------------------------------------------------------------------------------------- without HTTP


Receiver = Callable[[str, RawNotice], Awaitable[NoticeReply]]
"""Takes a notice for an account: `Engine.deliver_notice`."""


class Postman:
    """Brings due notices to a receiver inside the process, one after the other."""

    def __init__(self, simulators: Mapping[str, Simulator], clock: Clock, receiver: Receiver) -> None:
        self._simulators = simulators
        self._clock = clock
        self._receiver = receiver

    async def deliver(self) -> list[NoticeReply]:
        """Deliver everything that is due now and return the answers."""
        answers: list[NoticeReply] = []
        for simulator in self._simulators.values():
            for notice in simulator.due(self._clock.now()):
                request = notice.request
                parts = urlsplit(request.url)
                headers = {name.lower(): value for name, value in request.headers.items()}
                raw = RawNotice(request.method, parts.path, headers, request.body, parts.query)
                reply = await self._receiver(parts.path.rpartition("/")[2], raw)
                simulator.answered(notice.key, reply, self._clock.now())
                answers.append(reply)
        return answers
