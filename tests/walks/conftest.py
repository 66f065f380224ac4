"""What every walk stands on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.walks.walk import Walk, open_walk


@pytest.fixture
async def walk(store_url: str, tmp_path: Path) -> AsyncIterator[Walk]:
    """A server and its street, on each database in turn. When the story is told, the audit must be clean."""
    async with open_walk(store_url, tmp_path) as opened:
        yield opened
