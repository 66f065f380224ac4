"""What can go wrong with the store, in words that may travel: never a statement, a parameter or the database's own text."""

from __future__ import annotations

import re
import sqlite3
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from sqlalchemy import PrimaryKeyConstraint, UniqueConstraint, exc

from paycore.core.decide import Claim
from paycore.store.tables import METADATA

if TYPE_CHECKING:
    import psycopg


class StoreError(Exception):
    """The base of everything that the store raises. `code` is stable and safe to show."""

    def __init__(self, text: str, code: str = "") -> None:
        super().__init__(text)
        self.code = code


class StoreUnavailable(StoreError):
    """The store cannot be asked now. Whether the last commit happened is not known: telling again is safe."""

    def __init__(self, code: str = "") -> None:
        super().__init__("The store is not available.", code)


class Conflict(StoreError):
    """Somebody else was first, or a constraint forbids it. Nothing was stored; `constraint` says which."""

    def __init__(self, constraint: str) -> None:
        super().__init__("The store refused a change because of a constraint.", constraint)
        self.constraint = constraint

    @property
    def is_transient(self) -> bool:
        """Whether doing the very same again may succeed: a deadlock, a lock that was waited for too long."""
        return self.constraint in TRANSIENT.values()


class LostClaim(StoreError):
    """What was claimed is not to be had: a reference belongs to another payment, too little is left of an offer."""

    def __init__(self, claim: Claim) -> None:
        super().__init__("What was claimed is not to be had.", claim.kind)
        self.claim = claim


class StoreBroken(StoreError):
    """The store does not understand us: an old schema, or data that it cannot hold. A bug, or a missing migration."""

    def __init__(self, code: str) -> None:
        super().__init__("The store refused a statement.", code)


class WeakDurability(StoreError):
    """The database is set so that a commit may be lost."""

    def __init__(self, setting: str) -> None:
        super().__init__(
            f"The database's setting {setting} lets a commit be lost; set it, or say that this is meant.", setting
        )


class StaleSchema(StoreError):
    """The schema is not the one that this version needs."""

    def __init__(self, found: str | None, needed: str) -> None:
        super().__init__(f"The database's schema is {found or 'empty'} and {needed} is needed: run `paycore migrate`.")


TRANSIENT = {"40001": "serialization_failure", "40P01": "deadlock", "55P03": "lock_timeout"}
STALE_GUARD = "stale_guard"
"""The constraint that a Conflict names when a guarded update found its row changed."""

Errors = tuple[type[Exception], ...]


def driver_errors() -> Errors:
    """What the drivers and SQLAlchemy raise; everything of it is translated before it leaves the store.

    Asked when something was raised: psycopg is imported only by who speaks to PostgreSQL.
    """
    return (sqlite3.Error, exc.SQLAlchemyError, *_postgres_errors())


def statement_errors() -> Errors:
    """What a single statement may raise besides: values that no database holds (half a character, a number too large)."""
    return (*driver_errors(), ValueError, OverflowError)


def _postgres_errors() -> Errors:
    driver = sys.modules.get("psycopg")
    return () if driver is None else (driver.Error,)


def translated(error: BaseException) -> StoreError:
    """The store's word for a driver's error."""
    if isinstance(error, exc.TimeoutError):
        return StoreUnavailable("pool_timeout")
    if isinstance(error, exc.DBAPIError) and error.orig is not None:
        error = error.orig
    if isinstance(error, sqlite3.Error):
        return _of_sqlite(error)
    if isinstance(error, _postgres_errors()):
        return _of_postgres(error)  # type: ignore[arg-type] # it is a psycopg.Error
    return StoreBroken(type(error).__name__)


def _of_postgres(error: psycopg.Error) -> StoreError:
    code = error.sqlstate or ""
    if code in TRANSIENT:
        return Conflict(TRANSIENT[code])
    if code.startswith("23"):
        return Conflict(error.diag.constraint_name or code)
    if code.startswith(("22", "42", "0A")) or (not code and type(error).__name__ == "ProgrammingError"):
        return StoreBroken(code or "driver")
    return StoreUnavailable(code or "connection")


def _of_sqlite(error: sqlite3.Error) -> StoreError:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    kind = code & 0xFF  # the rest of a code says more
    if code == _WRONG_TYPE or kind in (sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_RANGE):
        return StoreBroken(name)
    if kind == sqlite3.SQLITE_CONSTRAINT:
        return Conflict(_constraint_of_sqlite(str(error), code))
    if kind in (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_MISUSE):
        return StoreBroken(name)
    return StoreUnavailable(name)


_WRONG_TYPE = sqlite3.SQLITE_CONSTRAINT | (12 << 8)
"""SQLITE_CONSTRAINT_DATATYPE, which the sqlite3 module does not name yet."""
_UNIQUE = re.compile(r"UNIQUE constraint failed: (.+)")
_CHECK = re.compile(r"CHECK constraint failed: (\w+)")


def _constraint_of_sqlite(text: str, code: int) -> str:
    """SQLite names a CHECK; for what is unique it lists the columns, from which the name follows."""
    if found := _CHECK.match(text):
        return found[1]
    if found := _UNIQUE.match(text):
        return _UNIQUES.get(found[1], found[1])
    return "foreign_key" if code == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY else "not_null"


def _uniques() -> Mapping[str, str]:
    named = {}
    for table in METADATA.tables.values():
        indexes = [index for index in table.indexes if index.unique]
        constraints = [rule for rule in table.constraints if isinstance(rule, UniqueConstraint | PrimaryKeyConstraint)]
        for rule in (*indexes, *constraints):
            named[", ".join(f"{table.name}.{column.name}" for column in rule.columns)] = str(rule.name)
    return named


_UNIQUES = _uniques()
