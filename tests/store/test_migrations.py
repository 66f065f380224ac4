"""The migrations make exactly the tables that the code believes in, on both databases."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.util import CommandError
from sqlalchemy import Connection, inspect

from paycore.store import StaleSchema, Store, StoreBroken
from paycore.store.migrate import head, metadata_options, script_directory
from paycore.store.tables import METADATA
from tests.store.made import Told
from tests.store.test_belt import in_threads


@pytest.fixture
def empty(store_url: str) -> Iterator[Store]:
    """A store on a database that nothing was ever done to."""
    opened = Store.open(store_url, check_durability=False)
    yield opened
    opened.close()


def connection_of(store: Store) -> Connection:
    return store._writer.connect()


def shape(connection: Connection) -> dict[str, set[str]]:
    """Everything that defines the tables, as the database itself tells it."""
    if connection.dialect.name == "sqlite":
        rows = connection.exec_driver_sql(
            "SELECT tbl_name, coalesce(sql, name) FROM sqlite_master WHERE tbl_name NOT LIKE 'alembic%%'"
        ).all()
    else:
        rows = connection.exec_driver_sql(
            """
            SELECT conrelid::regclass::text, conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
            WHERE connamespace = 'public'::regnamespace
            UNION ALL
            SELECT tablename, indexdef FROM pg_indexes WHERE schemaname = 'public'
            UNION ALL
            SELECT table_name, column_name || ' ' || data_type || ' ' || is_nullable || ' '
                || coalesce(collation_name, '') || coalesce(column_default, '')
            FROM information_schema.columns WHERE table_schema = 'public'
            """
        ).all()
    found: dict[str, set[str]] = {}
    for table, text in rows:
        if table != "alembic_version":
            found.setdefault(table, set()).update(_parts(text))
    return found


def _parts(text: str) -> set[str]:
    """A statement's columns and constraints in any order: a migration may append what a table class has in the middle.

    What SQLite adds to a table later stands on the last line of its text.
    """
    lines = re.split(r"\n|, (?=\w+ (?:TEXT|INTEGER|BLOB)\b)|(?=\) STRICT)", text)
    return {re.sub(r"\s+", " ", part).strip(" ,") for part in lines} - {""}


def test_migrations_make_what_the_metadata_says(empty: Store) -> None:
    empty.migrate()
    with connection_of(empty) as connection:
        context = MigrationContext.configure(connection, opts=metadata_options())
        assert compare_metadata(context, METADATA) == []
        migrated = shape(connection)
    empty.migrate("base")
    with connection_of(empty) as connection, connection.begin():
        METADATA.create_all(connection)
        assert shape(connection) == migrated
        assert set(migrated) == set(METADATA.tables)


def test_a_difference_would_be_seen(empty: Store) -> None:
    """The comparison above can fail: it sees a CHECK that is missing, which Alembic's own does not."""
    empty.migrate()
    with connection_of(empty) as connection, connection.begin():
        whole = shape(connection)
        connection.exec_driver_sql("DROP INDEX ix_orders_task")
        if empty.dialect == "postgresql":
            connection.exec_driver_sql("ALTER TABLE orders DROP CONSTRAINT ck_orders_currency")
        assert shape(connection) != whole
        connection.get_transaction().rollback()  # type: ignore[union-attr]


def test_the_newest_file_is_the_head_of_one_line() -> None:
    scripts = script_directory()
    assert scripts.get_heads() == [head()]
    line = [script.revision for script in scripts.walk_revisions()]
    assert line == sorted(line, reverse=True)


def test_an_unknown_migration_is_refused(empty: Store) -> None:
    empty.migrate()
    with pytest.raises(CommandError):
        empty.migrate("9999")
    assert empty.is_current()


def test_a_server_on_sqlite_imports_neither_alembic_nor_psycopg(tmp_path: Path) -> None:
    code = (
        "import sys; from paycore.store import Store\n"
        "store = Store.open(sys.argv[1]); store.is_current(), store.is_fresh(), store.head()\n"
        "sys.exit('alembic' in sys.modules or 'psycopg' in sys.modules)"
    )
    asked = [sys.executable, "-c", code, f"sqlite:///{tmp_path / 'new.sqlite'}"]
    assert subprocess.run(asked, check=False, timeout=50).returncode == 0


def test_up_down_and_up_again(empty: Store) -> None:
    assert empty.is_fresh()
    assert empty.revision() is None
    empty.migrate()
    assert (empty.revision(), empty.is_current(), empty.is_fresh()) == (empty.head(), True, False)
    Told().save(empty)
    empty.migrate("base")
    assert (empty.revision(), empty.is_current()) == (None, False)
    with connection_of(empty) as connection:
        assert inspect(connection).get_table_names() == ["alembic_version"]
    empty.migrate()
    empty.migrate()
    Told().save(empty)
    empty.require_current()


def test_an_old_schema_is_named_with_what_to_do(empty: Store) -> None:
    with pytest.raises(StaleSchema, match="paycore migrate"):
        empty.require_current()


def test_an_unmigrated_store_says_so_in_its_own_words(empty: Store) -> None:
    with pytest.raises(StoreBroken):
        Told().save(empty)


def test_several_processes_may_migrate_at_once(store_url: str) -> None:
    def migrate() -> None:
        store = Store.open(store_url, check_durability=False)
        store.migrate()
        store.require_current()
        store.close()

    in_threads(migrate, 4)


def test_a_failed_migration_leaves_nothing(empty: Store) -> None:
    """Both databases migrate in one transaction: what is half done is not there."""
    with connection_of(empty) as connection, connection.begin():
        connection.exec_driver_sql("CREATE TABLE refunds (it INTEGER)")
    with pytest.raises(StoreBroken):
        empty.migrate()
    with connection_of(empty) as connection:
        assert set(inspect(connection).get_table_names()) == {"refunds"}
