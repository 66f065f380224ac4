"""A migrated database of each kind for every test of the store."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url

from paycore.store import Store
from paycore.store.tables import METADATA
from tests.support import postgres
from tests.support.databases import migrate


@pytest.fixture(scope="session")
def pg_shared(pg_server: postgres.Server) -> Iterator[str]:
    """A migrated PostgreSQL database that these tests use in turn: emptying it is quicker than making one."""
    with pg_server.database() as url:
        migrate(url)
        yield url


@pytest.fixture
def pg_ready(pg_shared: str) -> Iterator[str]:
    """The URL of a migrated, empty PostgreSQL database."""
    yield pg_shared
    with psycopg.connect(postgres.plain(make_url(pg_shared))) as connection:
        for table in reversed(METADATA.sorted_tables):
            connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table.name)))


@pytest.fixture
def url(ready_url: str) -> str:
    """A migrated database of each kind in turn."""
    return ready_url


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """A store on a migrated database of each kind in turn."""
    opened = Store.open(url, check_durability=False)
    yield opened
    opened.close()


@pytest.fixture
def pg_store(pg_ready: str) -> Iterator[Store]:
    """A store on PostgreSQL, for what only it has."""
    opened = Store.open(pg_ready, check_durability=False)
    yield opened
    opened.close()
