"""How the two databases are opened, and what must be true of them before a payment may depend on them."""

import sqlite3
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Connection, Engine, QueuePool, StaticPool, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError

from paycore.store.errors import WeakDurability

if TYPE_CHECKING:
    import psycopg

OLDEST_SQLITE = (3, 38)
"""The first with STRICT tables, RETURNING and JSON in every build."""
BUSY_SECONDS = 5.0
"""How long a writer waits for another process's write on one SQLite file."""
CONNECT_SECONDS = 5
POOL_SECONDS = 2.0
"""How long a transaction waits for a connection before the store counts as unavailable."""

PG_OPTIONS = {
    "statement_timeout": "5000",
    "lock_timeout": "2000",
    "idle_in_transaction_session_timeout": "10000",
    "client_encoding": "UTF8",
    "timezone": "UTC",
    "jit": "off",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}
"""Times are milliseconds: a call that hangs must not keep its locks. Short statements gain nothing from compiling.

Everything that the store asks is asked by a key. Left alone, the planner reads the whole table while it is small, and a
connection that prepared its statement then goes on doing so when it is large. The audit, which does read everything,
turns these on again for itself.
"""
PG_KEEPALIVE = {
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
"""A server that is gone without a word is noticed after about 15 seconds."""


def read_url(url: str) -> URL:
    """The URL with the driver that we speak. Raises ValueError for a database that we do not know, or that is too old."""
    try:
        read = make_url(url)
    except ArgumentError:
        raise ValueError("that is no database URL") from None
    kind = read.get_backend_name()
    if kind == "sqlite":
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            needed = ".".join(map(str, OLDEST_SQLITE))
            raise ValueError(f"SQLite {needed} or newer is needed; this Python has {sqlite3.sqlite_version}")
        return read.set(drivername="sqlite+pysqlite")
    if kind in ("postgresql", "postgres"):
        return read.set(drivername="postgresql+psycopg")
    raise ValueError("the database URL begins with sqlite:// or postgresql://")


def is_memory(url: URL) -> bool:
    """Whether this SQLite lives in memory: one connection that everybody shares."""
    return url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:")


# ---------------------------------------------------------------------------------------------- SQLite


def open_sqlite(url: URL, *, size: int, begin: str) -> Engine:
    """An engine whose transactions begin as told: BEGIN IMMEDIATE takes the write lock at once and waits for it.

    A transaction that began lazily and wants to write later fails at once when another wrote meanwhile, and no time-out
    helps.
    """
    shared: dict[str, Any] = (
        {"poolclass": StaticPool}
        if is_memory(url)
        else {"poolclass": QueuePool, "pool_size": size, "max_overflow": 0, "pool_timeout": BUSY_SECONDS}
    )
    engine = create_engine(
        url,
        hide_parameters=True,
        connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False, "cached_statements": 256},
        **shared,
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _beginner(begin))
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves
    for setting in (
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
        f"busy_timeout = {int(BUSY_SECONDS * 1000)}",
        "temp_store = MEMORY",
        "wal_autocheckpoint = 4000",
        "cache_size = -32768",
        "trusted_schema = OFF",
    ):
        connection.execute(f"PRAGMA {setting}").close()


def _beginner(begin: str) -> Callable[[Connection], None]:
    def say_begin(connection: Connection) -> None:
        driver: Any = connection.connection.dbapi_connection
        driver.execute(begin)

    return say_begin


# ---------------------------------------------------------------------------------------------- PostgreSQL


def open_postgres(url: URL, *, size: int, name: str, reads_only: bool) -> Engine:
    """An engine with time-outs on everything. Reads see one moment (REPEATABLE READ), writes the latest (READ COMMITTED)."""
    chosen = dict(url.query)
    options = " ".join(f"-c {setting}={value}" for setting, value in PG_OPTIONS.items())
    given = chosen.pop("options", "")
    engine = create_engine(
        url.set(query=chosen),
        hide_parameters=True,
        poolclass=QueuePool,
        pool_size=size,
        max_overflow=0,
        pool_timeout=POOL_SECONDS,
        connect_args={
            "connect_timeout": CONNECT_SECONDS,
            "application_name": name,
            "options": f"{options} {given if isinstance(given, str) else ' '.join(given)}".strip(),
            **PG_KEEPALIVE,
        },
    )
    event.listen(engine, "connect", _prepare_reader if reads_only else _prepare_writer)
    return engine


def _prepare_writer(connection: "psycopg.Connection[Any]", _record: object) -> None:
    from psycopg import IsolationLevel

    connection.isolation_level = IsolationLevel.READ_COMMITTED
    connection.prepare_threshold = 2


def _prepare_reader(connection: "psycopg.Connection[Any]", _record: object) -> None:
    from psycopg import IsolationLevel

    connection.isolation_level = IsolationLevel.REPEATABLE_READ
    connection.read_only = True
    connection.prepare_threshold = 2


def refuse_weak(connection: Connection) -> None:
    """Raise WeakDurability when this PostgreSQL may lose what it has acknowledged."""
    for setting, lost in (("fsync", ("off",)), ("full_page_writes", ("off",)), ("synchronous_commit", ("off",))):
        if connection.exec_driver_sql(f"SHOW {setting}").scalar_one() in lost:
            raise WeakDurability(setting)
