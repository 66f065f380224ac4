"""The servers under measurement, each a process of its own on free loopback ports. Only what was started here is ended."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HOUSE = Path(__file__).resolve().parent.parent
START_SECONDS = 30.0


class DidNotStart(Exception):
    """A server ended or kept silent instead of saying where it listens."""


class Process:
    """A server's process. It prints one line of JSON when it is ready."""

    def __init__(self, arguments: list[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
        self._log = log.open("ab")
        began = time.perf_counter()
        self._popen = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=HOUSE,
            env={**os.environ, **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=self._log,
            start_new_session=True,
        )
        self.said = self._first_line(log)
        self.seconds_to_start = time.perf_counter() - began

    def _first_line(self, log: Path) -> dict[str, Any]:
        assert self._popen.stdout is not None
        line = self._popen.stdout.readline()
        if not line:
            self.stop()
            raise DidNotStart(log.read_text(errors="replace")[-2000:])
        said: dict[str, Any] = json.loads(line)
        return said

    @property
    def address(self) -> str:
        return str(self.said["grpc"])

    @property
    def rss_bytes(self) -> int:
        """The memory that it holds now."""
        text = Path(f"/proc/{self._popen.pid}/statm").read_text()
        return int(text.split()[1]) * os.sysconf("SC_PAGE_SIZE")

    @property
    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self._popen.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        """End it: politely, then not."""
        if self._popen.poll() is None:
            self._popen.send_signal(signal.SIGTERM)
            try:
                self._popen.wait(8)
            except subprocess.TimeoutExpired:
                self._popen.kill()
                self._popen.wait()
        if self._popen.stdout is not None:
            self._popen.stdout.close()
        self._log.close()


@contextmanager
def running(process: Process) -> Iterator[Process]:
    try:
        yield process
    finally:
        process.stop()


def echo(folder: Path) -> Process:
    """The bare echo."""
    return Process(["-m", "bench.baselines", "echo"], folder / "echo.log")


def orm(folder: Path, url: str, settings: Mapping[str, str]) -> Process:
    """One ORM session for each request."""
    packed = base64.b64encode(json.dumps(dict(settings)).encode()).decode()
    return Process(["-m", "bench.baselines", "orm", "--url", url, "--settings", packed], folder / "orm.log")
