"""Fixtures that hand a test its own database. A plugin of pytest; the conftest.py at the top loads it.

    pg_url       an empty PostgreSQL database
    sqlite_url   an empty SQLite file
    store_url    both, one after the other: the test runs twice

Real ones, fresh for each test, in SQLAlchemy's form.
"""

from __future__ import annotations

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
