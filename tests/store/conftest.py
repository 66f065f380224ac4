"""A migrated database of each kind for every test of the store."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from paycore.store import Store


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
