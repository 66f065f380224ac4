"""A migrated PostgreSQL and a loom on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.interleavings.scenes import put_app
from tests.interleavings.weave import Loom


@pytest.fixture
def loom(pg_ready: str) -> Iterator[Loom]:
    """Three stores on a PostgreSQL database of this test's own."""
    woven = Loom(pg_ready)
    put_app(woven.stores[0])
    yield woven
    woven.close()
