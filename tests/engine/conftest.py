"""A migrated store for every test of the engine: SQLite in memory where the database does not matter, both where it does."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from paycore.store import Store
from tests.support import postgres


def migrate(url: str) -> None:
    store = Store.open(url, check_durability=False)
    store.migrate()
    store.close()


@pytest.fixture
def store() -> Iterator[Store]:
    """SQLite in memory, migrated."""
    opened = Store.open("sqlite://")
    opened.migrate()
    yield opened
    opened.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def each_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A migrated database of each kind in turn."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'engine.sqlite'}"
        migrate(url)
        opened = Store.open(url)
        yield opened
        opened.close()
        return
    server: postgres.Server = request.getfixturevalue("pg_server")
    with server.database(like=server.template("engine", migrate)) as url:
        opened = Store.open(url, check_durability=False)
        yield opened
        opened.close()
