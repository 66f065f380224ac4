"""The hand that writes: runs statements inside one transaction and translates whatever the driver complains about."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.sql import Executable

from paycore.store.errors import statement_errors, translated
from paycore.store.rows import Values, pack
from paycore.store.sql import Dialect, Statement

FETCH = 200
"""How many rows a stream takes from the driver at once."""


class Work:
    """What every part of a unit stands on. Hot statements go to the driver as they are, the others through SQLAlchemy.

    Only this room has statements, so only this room calls what is here.
    """

    def __init__(self, connection: Connection, dialect: Dialect) -> None:
        self._connection = connection
        self._cursor: DBAPICursor = connection.connection.cursor()
        self.dialect: Dialect = dialect

    def close(self) -> None:
        """Let go of what a half-read statement still holds."""
        self._cursor.close()

    def rows(self, statement: Statement, *parameters: Any) -> list[Values]:
        """The rows that a statement gives."""
        try:
            self._cursor.execute(statement.of(self.dialect), parameters)
            return list(self._cursor.fetchall())
        except statement_errors() as error:
            raise translated(error) from None

    def stream(self, statement: Statement, *parameters: Any) -> Iterator[Values]:
        """The rows that a statement gives, as they come. Nothing else may be asked of the unit meanwhile."""
        try:
            self._cursor.execute(statement.of(self.dialect), parameters)
            while rows := self._cursor.fetchmany(FETCH):
                yield from rows
        except statement_errors() as error:
            raise translated(error) from None

    def keyed(self, statement: Statement, keys: Iterable[Any]) -> list[Values]:
        """The rows that belong to many keys; nothing is asked when there are none."""
        wanted = list(keys)
        return self.rows(statement, pack(wanted)) if wanted else []

    def _change(self, statement: Statement, *parameters: Any) -> int:
        """How many rows one statement changed."""
        try:
            self._cursor.execute(statement.of(self.dialect), parameters)
            return int(self._cursor.rowcount)
        except statement_errors() as error:
            raise translated(error) from None

    def _change_many(self, statement: Statement, rows: Sequence[Values]) -> int:
        """How many rows were changed for many rows of values; nothing is said when there are none."""
        if not rows:
            return 0
        try:
            if self.dialect == "sqlite":
                self._cursor.executemany(statement.sqlite, rows)
            else:
                self._cursor.execute(statement.postgresql, (pack(rows),))
            return int(self._cursor.rowcount)
        except statement_errors() as error:
            raise translated(error) from None

    def _ask(self, statement: Executable, parameters: Any = None) -> list[Any]:
        """The rows of a SQLAlchemy statement."""
        try:
            return list(self._connection.execute(statement, parameters).all())
        except statement_errors() as error:
            raise translated(error) from None

    def _do(self, statement: Executable, parameters: Any = None) -> int:
        """How many rows a SQLAlchemy statement changed."""
        try:
            return int(self._connection.execute(statement, parameters).rowcount)
        except statement_errors() as error:
            raise translated(error) from None

    def _put(self, target: Table, values: dict[str, Any]) -> None:
        """Insert a row, or change the one with its key; when it was made stays."""
        kind: Any = sqlite if self.dialect == "sqlite" else postgresql
        keys = [column.name for column in target.primary_key]
        changed = {name: value for name, value in values.items() if name not in keys and name != "created_at"}
        self._do(kind.insert(target).values(values).on_conflict_do_update(index_elements=keys, set_=changed))

    def _add(self, target: Table, values: dict[str, Any]) -> bool:
        """Insert a row; False when there is one with its key already."""
        kind: Any = sqlite if self.dialect == "sqlite" else postgresql
        return self._do(kind.insert(target).values(values).on_conflict_do_nothing()) == 1
