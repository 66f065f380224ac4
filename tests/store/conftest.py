"""A migrated database of each kind for every test of the store."""

from __future__ import annotations

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
def sqlite_like(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to be copied."""
    path = tmp_path_factory.mktemp("like") / "like.sqlite"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite_ready(sqlite_like: Path, tmp_path: Path) -> str:
    """The URL of a migrated SQLite file."""
    path = tmp_path / "ready.sqlite"
    shutil.copyfile(sqlite_like, path)
    return f"sqlite:///{path}"


@pytest.fixture
def pg_ready(pg_server: postgres.Server) -> Iterator[str]:
    """The URL of a migrated PostgreSQL database."""
    with pg_server.database(like=pg_server.template("store", migrate)) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    """A migrated database of each kind in turn."""
    return str(request.getfixturevalue("sqlite_ready" if request.param == "sqlite" else "pg_ready"))


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
