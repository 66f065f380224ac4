"""A migrated store for every test of the engine: SQLite where the database does not matter, both where it does."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from paycore.store import Store
from tests.support import postgres


def migrate(url: str) -> None:
    store = Store.open(url, check_durability=False)
    store.migrate()
    store.close()


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to be copied."""
    path = tmp_path_factory.mktemp("engine") / "like.sqlite"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture
def store(migrated: Path, tmp_path: Path) -> Iterator[Store]:
    """A migrated SQLite."""
    path = tmp_path / "engine.sqlite"
    shutil.copyfile(migrated, path)
    opened = Store.open(f"sqlite:///{path}")
    yield opened
    opened.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def each_store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """A migrated database of each kind in turn."""
    if request.param == "sqlite":
        yield request.getfixturevalue("store")
        return
    server: postgres.Server = request.getfixturevalue("pg_server")
    with server.database(like=server.template("engine", migrate)) as url:
        opened = Store.open(url, check_durability=False)
        yield opened
        opened.close()
