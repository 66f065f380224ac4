"""Servers as they run in production: `paycore serve` as processes of their own, which a test may kill at any moment."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

READY_SECONDS = 30.0
LEAVE_SECONDS = 30.0


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on now. Held together, so that they differ."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


class Server:
    """One server's process, always on the same ports, started and ended as often as the test likes."""

    def __init__(self, settings: Mapping[str, str], log: Path) -> None:
        self.grpc_port, self.http_port = free_ports(2)
        self.log = log
        self._settings = dict(settings)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.grpc_port}"

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def rss_bytes(self) -> int:
        """The memory that it holds now."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def said(self) -> str:
        """Everything that it wrote so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def spawn(self) -> None:
        """Start it, without waiting until it is ready."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PAYCORE_")}
        environment |= {
            "PAYCORE_GRPC_LISTEN": self.address,
            "PAYCORE_HTTP_LISTEN": f"127.0.0.1:{self.http_port}",
            **self._settings,
        }
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "paycore", "serve"],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=self.log.parent,
            )

    async def start(self) -> None:
        """Start it and wait until it is ready for calls."""
        self.spawn()
        await self.ready()

    async def ready(self) -> None:
        """Wait until it is ready for calls. Raises AssertionError with what it said when it is not."""
        async with grpc.aio.insecure_channel(self.address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            try:
                async with asyncio.timeout(READY_SECONDS):
                    while not await self._is_serving(health_pb2_grpc.HealthStub(channel)):
                        await asyncio.sleep(0.03)
            except TimeoutError:
                raise AssertionError(f"the server did not become ready:\n{self.said()[-3000:]}") from None

    async def _is_serving(self, health: health_pb2_grpc.HealthStub) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"the server ended with {self._process.returncode}:\n{self.said()[-3000:]}")
        try:
            answer = await health.Check(health_pb2.HealthCheckRequest(), timeout=2, wait_for_ready=False)
        except grpc.aio.AioRpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    def kill(self) -> None:
        """kill -9: it gets no chance to do anything more."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(LEAVE_SECONDS)

    def ask_to_leave(self) -> None:
        """SIGTERM."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)

    async def leave(self) -> int:
        """Ask it to leave, wait until it has, and return its exit code."""
        self.ask_to_leave()
        return await self.gone()

    async def gone(self) -> int:
        """Wait until it has ended; its exit code."""
        assert self._process is not None
        return await asyncio.to_thread(self._process.wait, LEAVE_SECONDS)
