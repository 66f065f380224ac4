"""A migrated PostgreSQL and a loom on it."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from paycore.store.tables import METADATA
from tests.interleavings.scenes import put_app
from tests.interleavings.weave import Loom
from tests.support import postgres
from tests.support.databases import migrate


@pytest.fixture(scope="session")
def shared_loom(pg_server: postgres.Server) -> Iterator[Loom]:
    """Three stores on a PostgreSQL that these tests use in turn."""
    with pg_server.database() as url:
        migrate(url)
        woven = Loom(url)
        yield woven
        woven.close()


@pytest.fixture
def loom(shared_loom: Loom) -> Iterator[Loom]:
    """Three stores on an empty database. Emptying one is quicker than making one."""
    put_app(shared_loom.stores[0])
    yield shared_loom
    with psycopg.connect(shared_loom.url) as connection:
        for table in reversed(METADATA.sorted_tables):
            connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table.name)))


@pytest.fixture
def own_loom(pg_ready: str) -> Iterator[Loom]:
    """Three stores on a database that this test may harm."""
    woven = Loom(pg_ready)
    put_app(woven.stores[0])
    yield woven
    woven.close()
