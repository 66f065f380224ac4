"""The store: one database, opened, and its transactions."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import Self

from sqlalchemy import URL, Connection, Engine

from paycore.store import connect, migrate
from paycore.store.errors import StaleSchema, driver_errors, translated
from paycore.store.sql import Dialect
from paycore.store.unit import Unit


class Store:
    """A database that remembers. Plain and synchronous: call it in a worker thread, one unit at a time in each."""

    def __init__(self, url: URL, writer: Engine, reader: Engine) -> None:
        self._url = url
        self._writer = writer
        self._reader = reader
        self.dialect: Dialect = "sqlite" if url.get_backend_name() == "sqlite" else "postgresql"
        self._one_at_a_time = threading.RLock() if connect.is_memory(url) else contextlib.nullcontext()

    @classmethod
    def open(cls, url: str, *, pool_size: int = 8, check_durability: bool = True, name: str = "") -> Self:
        """Open a database: "sqlite:///path", "sqlite://" (in memory, gone at close) or "postgresql://...".

        Nothing is migrated. PostgreSQL is asked at once whether it keeps what it acknowledges, and WeakDurability
        raised if not; `check_durability=False` says that this is meant. SQLite is always set to keep it. `name` tells
        the server's administrator who this is.
        """
        read = connect.read_url(url)
        if connect.is_memory(read):
            engine = connect.open_sqlite(read, size=1, begin="BEGIN IMMEDIATE")
            return cls(read, engine, engine)
        if read.get_backend_name() == "sqlite":
            return cls(
                read,
                connect.open_sqlite(read, size=1, begin="BEGIN IMMEDIATE"),
                connect.open_sqlite(read, size=max(pool_size - 1, 1), begin="BEGIN"),
            )
        name = name or f"paycore {os.getpid()}"
        writers = max(pool_size // 2, 1)
        store = cls(
            read,
            connect.open_postgres(read, size=writers, name=name, reads_only=False),
            connect.open_postgres(read, size=max(pool_size - writers, 1), name=name, reads_only=True),
        )
        if check_durability:
            store._refuse_weak()
        return store

    @property
    def url_without_secrets(self) -> str:
        """Where the database is, without a password, for people and logs."""
        return self._url.set(drivername=self.dialect, query={}).render_as_string(hide_password=True)

    def close(self) -> None:
        """Give up every connection."""
        self._writer.dispose()
        self._reader.dispose()

    # ------------------------------------------------------------------------------------------ transactions

    @contextlib.contextmanager
    def write(self) -> Iterator[Unit]:
        """One transaction that may change something: committed at the end, given up on any exception.

        SQLite takes the write lock at once, so its units follow one another. When StoreUnavailable comes out, whether
        it was committed is not known.
        """
        with self._one_at_a_time, _transaction(self._writer) as connection, self._unit(connection) as unit:
            yield unit

    @contextlib.contextmanager
    def read(self) -> Iterator[Unit]:
        """One transaction that sees one moment and changes nothing."""
        with self._one_at_a_time, _transaction(self._reader) as connection, self._unit(connection) as unit:
            yield unit

    def _unit(self, connection: Connection) -> contextlib.closing[Unit]:
        return contextlib.closing(Unit(connection, self.dialect))

    def _refuse_weak(self) -> None:
        try:
            with _transaction(self._writer) as connection:
                connect.refuse_weak(connection)
        except BaseException:
            self.close()
            raise

    # ------------------------------------------------------------------------------------------ schema

    def revision(self) -> str | None:
        """The migration that the database stands at; None before the first one."""
        with self._one_at_a_time, _transaction(self._reader) as connection:
            return migrate.revision(connection)

    def head(self) -> str:
        """The migration that this version of paycore needs."""
        return migrate.head()

    def is_fresh(self) -> bool:
        """Whether nothing was ever stored here: no migration, no table."""
        with self._one_at_a_time, _transaction(self._reader) as connection:
            return migrate.is_empty(connection)

    def is_current(self) -> bool:
        """Whether the schema is the one that this version needs."""
        return self.revision() == self.head()

    def require_current(self) -> None:
        """Raise StaleSchema unless the schema is the one that this version needs."""
        found = self.revision()
        if found != self.head():
            raise StaleSchema(found, self.head())

    def migrate(self, to: str = "head") -> None:
        """Bring the schema to a migration, in one transaction. Two processes that try at once follow one another."""
        with self._one_at_a_time, _transaction(self._writer) as connection:
            migrate.run(connection, to)


@contextlib.contextmanager
def _transaction(engine: Engine) -> Iterator[Connection]:
    """A connection inside a transaction. What the driver raises comes out as the store's own word.

    A connection that turns out to be lost takes all older ones of its pool with it: after a restart of the server one
    unit fails, not one for each connection.
    """
    try:
        with engine.connect() as connection, connection.begin():
            yield connection
    except driver_errors() as error:
        raise translated(error) from None
