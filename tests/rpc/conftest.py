"""A shop for each module's table of bad inputs, and one for each test that needs its own; on both databases."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.rpc.shop import Shop, open_shop
from tests.support import postgres
from tests.support.databases import migrate


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["sqlite", "postgresql", "browser"])
async def market(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shop]:
    """One shop for the whole module; its tests run on the module's loop and leave each other's orders alone.

    On SQLite it is asked once over gRPC and once as browsers ask: the answers must be the same.
    """
    if request.param != "postgresql":
        path = tmp_path_factory.mktemp("market") / "paycore.sqlite"
        shutil.copyfile(request.getfixturevalue("sqlite_like"), path)
        async with open_shop(f"sqlite:///{path}", by_browser=request.param == "browser") as shop:
            yield shop
        return
    server: postgres.Server = request.getfixturevalue("pg_server")
    with server.database(like=server.template("store", migrate)) as url:
        async with open_shop(url) as shop:
            yield shop


@pytest_asyncio.fixture(loop_scope="module")
async def shop(ready_url: str) -> AsyncIterator[Shop]:
    """A shop of the test's own."""
    async with open_shop(ready_url) as shop:
        yield shop
