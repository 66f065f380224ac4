"""Fixtures that hand a test its own database. A plugin of pytest; the conftest.py at the top loads it.

    empty         migrated
    pg_url        pg_ready       a PostgreSQL database
    sqlite_url    sqlite_ready   a SQLite file
    store_url     ready_url      both, one after the other: the test runs twice

Real ones, fresh for each test, in SQLAlchemy's form. Migrating is done once; the migrated ones are copies.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import postgres
from tests.support.loud import loudly_skip


@pytest.fixture(scope="session")
def pg_server() -> Iterator[postgres.Server]:
    """A PostgreSQL for this process's tests."""
    running = postgres.running()
    try:
        server = running.__enter__()
    except postgres.NoPostgres as problem:
        loudly_skip(str(problem))
    try:
        yield server
    finally:
        running.__exit__(None, None, None)


@pytest.fixture
def pg_url(pg_server: postgres.Server) -> Iterator[str]:
    """An empty PostgreSQL database."""
    with pg_server.database() as url:
        yield url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """An empty SQLite file. The file is made by whoever opens it first."""
    return f"sqlite:///{tmp_path / 'paycore.sqlite'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest) -> str:
    """An empty database of each kind in turn."""
    chosen = "sqlite_url" if request.param == "sqlite" else "pg_url"
    return str(request.getfixturevalue(chosen))


def migrate(url: str) -> None:
    from paycore.store import Store  # tests of the bridge and the client do without

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
def ready_url(request: pytest.FixtureRequest) -> str:
    """A migrated database of each kind in turn."""
    return str(request.getfixturevalue("sqlite_ready" if request.param == "sqlite" else "pg_ready"))
