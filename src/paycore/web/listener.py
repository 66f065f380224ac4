"""Uvicorn inside our loop: our signals, our sockets, and patience with nobody who sends a header byte by byte."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from paycore.web.app import MOST_HEADER_BYTES

HEADER_SECONDS: Final = 10.0
MOST_AT_ONCE: Final = 1_000


class _Impatient(H11Protocol):
    """Closes a connection whose next request has not fully arrived (its header, that is) within some seconds."""

    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop_waiting()
        elif self._waiting is None:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._waiting = self.loop.call_later(HEADER_SECONDS, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listens = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listens.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the process's signals alone: gRPC is served in the same loop and they are for both."""
        yield


@dataclass(slots=True)
class HttpServer:
    """Serves an application on one address of this process. The port may be taken before there is an application."""

    address: str
    shares_port: bool = False
    certificate: Path | None = None
    key: Path | None = None
    port: int = 0
    _held: socket.socket | None = None
    _server: _Server | None = None
    _task: "asyncio.Task[None] | None" = None

    def bind(self) -> int:
        """Take the port and return it. Raises OSError when the address cannot be had."""
        if self._held is None:
            self._held = bind(self.address, shares_port=self.shares_port)
            self.port = self._held.getsockname()[1]
        return self.port

    @property
    def base_url(self) -> str:
        """What this machine reaches it by."""
        scheme = "http" if self.certificate is None else "https"
        return f"{scheme}://{self.address.rpartition(':')[0]}:{self.port}"

    async def start(self, app: ASGIApp) -> int:
        """Listen, and return the port. Raises OSError when the address cannot be had."""
        self.bind()
        assert self._held is not None
        server = self._server = _Server(self._config(app))
        self._task = asyncio.create_task(server.serve(sockets=[self._held]), name="http")
        listens = asyncio.create_task(server.listens.wait())
        await asyncio.wait((listens, self._task), return_when=asyncio.FIRST_COMPLETED)
        listens.cancel()
        if self._task.done():
            await self._task
        return self.port

    async def stop(self, grace_seconds: float) -> None:
        """Take no more connections, let what is at work finish, and close."""
        if self._held is not None and self._server is None:
            self._held.close()
        if self._server is None or self._task is None:
            return
        self._server.config.timeout_graceful_shutdown = max(1, round(grace_seconds))
        self._server.should_exit = True
        await self._task
        self._server = self._task = None

    def _config(self, app: ASGIApp) -> uvicorn.Config:
        tls: dict[str, Any] = {}
        if self.certificate is not None:
            tls = {"ssl_certfile": str(self.certificate), "ssl_keyfile": str(self.key)}
        return uvicorn.Config(
            app,
            http=_Impatient,
            ws="none",
            lifespan="off",
            loop="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=MOST_AT_ONCE,
            h11_max_incomplete_event_size=MOST_HEADER_BYTES + 1024,
            timeout_keep_alive=15,
            **tls,
        )


def bind(address: str, *, shares_port: bool) -> socket.socket:
    """A listening socket for `host:port`; port 0 takes any that is free."""
    host, _, port = address.rpartition(":")
    found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, where = found[0]
    held = socket.socket(family, kind, protocol)
    try:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shares_port:
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(where)
        held.setblocking(False)
    except OSError:
        held.close()
        raise
    return held
