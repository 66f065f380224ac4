"""The servers under measurement, each a process of its own on free loopback ports. Only what was started here is ended."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

from bench.sandbox import Wallet
from bench.wire import CallFailed, Line
from tests.walks.processes import free_ports
from tests.walks.town import Town, found

HOUSE = Path(__file__).resolve().parent.parent
START_SECONDS = 30.0
CHECK = "/grpc.health.v1.Health/Check"
SERVING = b"\x08\x01"


class DidNotStart(Exception):
    """A server ended, or was not ready in time; the text is the end of what it said."""


class Process:
    """A server's process on a port of its own, and how long it took to be ready."""

    def __init__(self, arguments: list[str], log: Path, environment: Mapping[str, str], address: str) -> None:
        self.address = address
        self.seconds_to_start = 0.0
        self._log = log
        self._began = time.perf_counter()
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PAYCORE_")}
        with log.open("ab") as out:
            self._popen = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=HOUSE,
                env={**inherited, **environment},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    async def ready(self) -> None:
        """Wait until it says that it serves. Raises DidNotStart."""
        try:
            async with asyncio.timeout(START_SECONDS):
                while not await self._is_serving():
                    await asyncio.sleep(0.005)
        except TimeoutError:
            raise DidNotStart(self._log.read_text(errors="replace")[-3000:]) from None
        self.seconds_to_start = time.perf_counter() - self._began

    async def _is_serving(self) -> bool:
        if self._popen.poll() is not None:
            raise DidNotStart(self._log.read_text(errors="replace")[-3000:])
        try:
            line = await Line.open(self.address)
        except OSError:
            return False
        try:
            return await line.ask(CHECK, b"") == SERVING
        except CallFailed:
            return False
        finally:
            line.close()

    @property
    def cpu_seconds(self) -> float:
        """The processor time that it has used, on all cores."""
        fields = Path(f"/proc/{self._popen.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def rss_bytes(self) -> int:
        """The memory that it holds now."""
        text = Path(f"/proc/{self._popen.pid}/statm").read_text()
        return int(text.split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def stop(self) -> None:
        """End it: politely, then not."""
        if self._popen.poll() is None:
            self._popen.send_signal(signal.SIGTERM)
            try:
                self._popen.wait(8)
            except subprocess.TimeoutExpired:
                self._popen.kill()
                self._popen.wait()


@asynccontextmanager
async def running(process: Process) -> AsyncIterator[Process]:
    """The process once it is ready; ended afterwards."""
    try:
        await process.ready()
        yield process
    finally:
        process.stop()


# ---------------------------------------------------------------------------------------------- the yardsticks


def echo(folder: Path) -> Process:
    """The bare echo."""
    return _baseline(folder, "echo")


def orm(folder: Path, url: str, settings: Mapping[str, str]) -> Process:
    """One ORM session for each request."""
    packed = base64.b64encode(json.dumps(dict(settings)).encode()).decode()
    return _baseline(folder, "orm", "--url", url, "--settings", packed)


def _baseline(folder: Path, *arguments: str) -> Process:
    (port,) = free_ports(1)
    words = ["-m", "bench.baselines", *arguments, "--port", str(port)]
    return Process(words, folder / "log", {}, f"127.0.0.1:{port}")


# ---------------------------------------------------------------------------------------------- paycore


@dataclass
class Paycore:
    """A server of paycore with what its callers need."""

    process: Process
    http: str
    key: str
    notice_key: str
    account_id: str

    async def outcomes(self, method: str) -> dict[str, float]:
        """How many calls of a method ended with which code, by the server's own count."""
        async with httpx2.AsyncClient(trust_env=False) as browser:
            page = (await browser.get(f"{self.http}/metrics")).text
        found = re.findall(rf'grpc_server_handled_total{{[^}}]*grpc_method="{method}"[^}}]*}} (\S+)', page)
        codes = re.findall(rf'grpc_server_handled_total{{(?=[^}}]*grpc_method="{method}")[^}}]*grpc_code="(\w+)"', page)
        return dict(zip(codes, map(float, found), strict=True))


async def paycore(folder: Path, url: str, account: Mapping[str, str] | None = None, *, stamps: bool = False) -> Paycore:
    """paycore on an empty database, with one app and one account at the sandbox channel."""
    town = await found(url, folder, account or Wallet().settings, {"PAYCORE_LOG_LEVEL": "warning"})
    return again(town, stamps=stamps)


def again(town: Town, *, stamps: bool = False) -> Paycore:
    """paycore on a database that is there already."""
    port, http_port = free_ports(2)
    environment = {
        **town.settings,
        "PAYCORE_GRPC_LISTEN": f"127.0.0.1:{port}",
        "PAYCORE_HTTP_LISTEN": f"127.0.0.1:{http_port}",
    }
    words = ["-m", "bench.paycore_server", *(["--stamp"] if stamps else []), "serve"]
    process = Process(words, town.folder / "log", environment, f"127.0.0.1:{port}")
    return Paycore(process, f"http://127.0.0.1:{http_port}", town.key, town.notice_key, town.account_id)
