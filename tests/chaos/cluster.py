"""A PostgreSQL of its own that may be killed, all of it, and comes up again on the same data."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy.engine import URL

from tests.support import postgres

NAME = "paycore"
UP_SECONDS = 60.0
AGAIN_SECONDS = 0.2


class Cluster:
    """One cluster's data, and whatever process serves them now. Only its own processes are ever touched."""

    def __init__(
        self, room: Path, binaries: Path, owner: postgres.Owner | None, settings: Mapping[str, str] | None = None
    ) -> None:
        self._binaries = binaries
        self._owner = owner
        self._data = room / "data"
        self._log = room / "server.log"
        self._settings = [word for name, value in (settings or {}).items() for word in ("-c", f"{name}={value}")]
        self._process: subprocess.Popen[bytes] | None = None
        [self.port] = lasting_ports(1)

    @property
    def admin_url(self) -> URL:
        """The database that is always there."""
        return URL.create(
            "postgresql+psycopg", username="paycore", host="127.0.0.1", port=self.port, database="postgres"
        )

    def url(self, port: int | None = None) -> str:
        """The database of the run, through another port if one is given."""
        url = self.admin_url.set(database=NAME, port=port or self.port)
        return url.render_as_string(hide_password=False)

    @property
    def pid(self) -> int:
        """The postmaster's."""
        assert self._process is not None
        return self._process.pid

    async def make(self) -> None:
        """Make the data and the database, and leave the server running."""
        log = self._log.parent / "initdb.log"
        made = postgres.launch(
            [str(self._binaries / "initdb"), *postgres.INITDB, "-D", str(self._data)], self._owner, log=log
        )
        if await asyncio.to_thread(made.wait, 120) != 0:
            raise postgres.NoPostgres(f"PostgreSQL: initdb failed: {postgres.tail(log)}")
        await self.start()
        await asyncio.to_thread(self.run, f"CREATE DATABASE {NAME} TEMPLATE template0")

    async def start(self) -> None:
        """Start it and wait until it takes connections, however long it recovers and old memory lingers."""
        async with asyncio.timeout(UP_SECONDS):
            while not await self._is_up_after_launch():
                await asyncio.sleep(AGAIN_SECONDS)

    async def _is_up_after_launch(self) -> bool:
        command = [str(self._binaries / "postgres"), "-D", str(self._data)]
        command += [*postgres.settings(self.port, durable=True), *self._settings]
        self._process = self._launch(command)
        server = postgres.Server(self.admin_url, self._process, self._data)
        return await asyncio.to_thread(postgres.is_up, server)

    def _launch(self, command: list[str]) -> subprocess.Popen[bytes]:
        """As the owner, and to die with this thread. setpriv sees to both where there is one: no fork beside gRPC's threads."""
        setpriv = shutil.which("setpriv")
        user: dict[str, Any] = {}
        if setpriv:
            command = [setpriv, *self._identity(), "--pdeathsig", "QUIT", *command]
        elif self._owner:
            user = {"user": self._owner.uid, "group": self._owner.gid, "extra_groups": []}
        with self._log.open("ab") as out:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
                cwd="/",
                **user,
            )

    def _identity(self) -> list[str]:
        owner = self._owner
        return [f"--reuid={owner.uid}", f"--regid={owner.gid}", "--clear-groups"] if owner else []

    def kill(self) -> None:
        """kill -9 of the postmaster and of every process that it has begun."""
        if self._process is None or self._process.poll() is not None:
            return
        children = list(children_of(self._process.pid))
        self._process.kill()
        _signal(children, signal.SIGKILL)
        self._process.wait(30)

    def write_nothing_by_itself(self) -> None:
        """Let whoever writes in the background stand still until the kill: on disk is what commits wait for, and no more."""
        writers = "'walwriter', 'background writer', 'checkpointer'"
        _signal(
            [pid for (pid,) in self.run(f"SELECT pid FROM pg_stat_activity WHERE backend_type IN ({writers})")],
            signal.SIGSTOP,
        )

    async def freeze(self, seconds: float) -> None:
        """Let all its processes but the first stand still, as on a disk that hangs, and then go on."""
        frozen = list(children_of(self.pid))
        try:
            _signal(frozen, signal.SIGSTOP)
            await asyncio.sleep(seconds)
        finally:
            _signal(frozen, signal.SIGCONT)

    def stop(self) -> None:
        """At once; the data go with it."""
        if self._process is not None:
            postgres.stop(postgres.Server(self.admin_url, self._process, self._data))

    def run(self, statement: str) -> list[Any]:
        """Run one statement as the superuser, beside all proxies."""
        url = postgres.plain(self.admin_url)
        with psycopg.connect(url, autocommit=True, connect_timeout=10) as connection:
            cursor = connection.execute(statement)
            return list(cursor) if cursor.description else []

    def terminate_some(self, most: int) -> int:
        """End a few backends of the database from the server's side, as an administrator might; how many."""
        ended = self.run(
            "SELECT pg_terminate_backend(pid) FROM (SELECT pid FROM pg_stat_activity"
            f" WHERE datname = '{NAME}' ORDER BY random() LIMIT {int(most)}) AS unlucky"
        )
        return len(ended)

    def said(self) -> str:
        """The end of what the server wrote."""
        return postgres.tail(self._log)


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def children_of(pid: int) -> Iterator[int]:
    """The processes that a process has begun, as Linux lists them."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[1]) == pid:
                yield int(stat.parent.name)


def lasting_ports(count: int) -> list[int]:
    """Free ports that no outgoing connection is given by chance while whoever listens there is dead for a moment."""
    with contextlib.ExitStack() as stack:
        found: list[int] = []
        while len(found) < count:
            probe = stack.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", random.randrange(20_000, 32_000)))
                found.append(int(probe.getsockname()[1]))
        return found


@contextlib.contextmanager
def a_cluster(settings: Mapping[str, str] | None = None) -> Iterator[Cluster]:
    """A cluster that is not made yet; gone afterwards. Raises NoPostgres where there are no binaries."""
    owner = postgres.unprivileged_owner()
    with postgres.room_for(owner) as room:
        binaries = postgres.reachable(postgres.find_binaries(), owner, room)
        cluster = Cluster(room, binaries, owner, settings)
        try:
            yield cluster
        finally:
            cluster.stop()
