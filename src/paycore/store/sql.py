"""The statements of the hot path: one statement for many rows, in the words of each database, made once from the tables.

A batch must cost a fixed number of statements and next to no Python for each row. SQLite gets `executemany`; PostgreSQL
gets all rows as one JSON array in one parameter, which it unpacks itself (measured for 100 rows: 2 us of our CPU a row
against 18 with psycopg's executemany and 28 with a long VALUES). Either way the text never changes with the number of
rows, so both databases keep their prepared statement. Lists of keys travel in the same way on both.

What is not hot (listings, apps, accounts) is plain SQLAlchemy Core in `reading` and `admin`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Boolean, Integer, LargeBinary, Table

Dialect = Literal["sqlite", "postgresql"]


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement as each database says it."""

    sqlite: str
    postgresql: str

    def of(self, dialect: Dialect) -> str:
        return self.sqlite if dialect == "sqlite" else self.postgresql


def same(text: str) -> Statement:
    """A statement that both databases understand; parameters are written `?`."""
    return Statement(text, text.replace("?", "%s"))


def columns_of(table: Table) -> tuple[str, ...]:
    """The names of a table's columns, in order."""
    return tuple(column.name for column in table.columns)


def _type(table: Table, column: str) -> str:
    kind = table.c[column].type
    if isinstance(kind, LargeBinary):
        raise TypeError(f"{table.name}.{column}: bytes do not travel as JSON")
    return "boolean" if isinstance(kind, Boolean) else "bigint" if isinstance(kind, Integer) else "text"


def _unpacked(table: Table, column: str, place: int) -> str:
    """A value of a JSON row on PostgreSQL."""
    kind = _type(table, column)
    return f"k->>{place}" if kind == "text" else f"(k->>{place})::{kind}"


def insert(table: Table, columns: Sequence[str] = (), tail: str = "") -> Statement:
    """Insert rows, each with its values in the order of the columns (all of them by default)."""
    columns = columns or columns_of(table)
    into = f"INSERT INTO {table.name} ({', '.join(columns)})"
    marks = ", ".join("?" * len(columns))
    values = ", ".join(_unpacked(table, column, place) for place, column in enumerate(columns))
    return Statement(
        f"{into} VALUES ({marks}) {tail}",
        f"{into} SELECT {values} FROM jsonb_array_elements(%s::jsonb) AS k {tail}",
    )


def update(table: Table, moving: Sequence[str], guards: Sequence[str]) -> Statement:
    """Update rows, each with its moving values followed by its guards: its key, and what it must still be."""
    sets = ", ".join(f"{column} = ?" for column in moving)
    where = " AND ".join(f"{column} = ?" for column in guards)
    unpacked = ", ".join(f"{column} = {_unpacked(table, column, place)}" for place, column in enumerate(moving))
    met = " AND ".join(
        f"t.{column} = {_unpacked(table, column, place)}" for place, column in enumerate(guards, start=len(moving))
    )
    return Statement(
        f"UPDATE {table.name} SET {sets} WHERE {where}",
        f"UPDATE {table.name} AS t SET {unpacked} FROM jsonb_array_elements(%s::jsonb) AS k WHERE {met}",
    )


def among(column: str) -> Statement:
    """The condition that a column is one of a JSON array's texts."""
    return Statement(
        f"{column} IN (SELECT value FROM json_each(?))",
        f"{column} = ANY(ARRAY(SELECT jsonb_array_elements_text(%s::jsonb)))",
    )


def select_among(table: Table, column: str, *, columns: Sequence[str] = (), tail: str = "") -> Statement:
    """Select the rows whose column is one of a JSON array's texts."""
    chosen = f"SELECT {', '.join(columns or columns_of(table))} FROM {table.name} WHERE "
    condition = among(column)
    return Statement(f"{chosen}{condition.sqlite} {tail}", f"{chosen}{condition.postgresql} {tail}")


def locking(statement: Statement) -> Statement:
    """The same rows, locked until the end of the transaction. SQLite has one writer: there the transaction is the lock."""
    return Statement(statement.sqlite, f"{statement.postgresql} FOR UPDATE")


def select_keyed(
    source: str,
    keys: Sequence[tuple[str, str]],
    columns: Sequence[str],
    *,
    condition: str = "",
    tail: str = "",
) -> Statement:
    """Select what belongs to each of many composite keys, which travel as a JSON array of arrays.

    `keys` pairs what a key's part must equal with the part's type; `{n}` in the condition is the key's n-th part.
    """
    sqlite_parts = [f"json_extract(k.value, '$[{place}]')" for place in range(8)]
    parts = [f"(k.value->>{place})" for place in range(8)]
    chosen = ", ".join(columns)
    met = " AND ".join(f"{what} = {{{place}}}" for place, (what, _) in enumerate(keys))
    where = f"{met} AND {condition}" if condition else met
    typed = [f"{parts[place]}::{kind}" if kind != "text" else parts[place] for place, (_, kind) in enumerate(keys)]
    typed += [f"{part}::bigint" for part in parts[len(keys) :]]
    return Statement(
        f"SELECT {chosen} FROM json_each(?) AS k CROSS JOIN {source} WHERE {where.format(*sqlite_parts)} {tail}",
        f"SELECT {chosen} FROM jsonb_array_elements(%s::jsonb) AS k(value) JOIN {source} "
        f"ON {where.format(*typed)} {tail}",
    )
