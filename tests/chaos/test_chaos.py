"""Two servers, a PostgreSQL, a channel and a town of people; for two minutes everything breaks, and nothing is lost."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from paycore.client import AsyncClient
from tests.chaos import checks, journal
from tests.chaos.asking import Desk, order_of
from tests.chaos.channel import Channel
from tests.chaos.cluster import Cluster, a_cluster, children_of
from tests.chaos.journal import Journal
from tests.chaos.run import Plan, run
from tests.support import postgres
from tests.support.loud import loudly_skip
from tests.walks.town import found

MINUTES = 2.0


@pytest.fixture
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A PostgreSQL that is not made yet, with the settings that the test asks for."""
    room = a_cluster(getattr(request, "param", None))
    try:
        opened = room.__enter__()
    except postgres.NoPostgres as problem:
        loudly_skip(str(problem))
    try:
        yield opened
    finally:
        room.__exit__(None, None, None)


@pytest.mark.slow
@pytest.mark.timeout(1200)
async def test_nothing_acknowledged_is_lost_while_everything_breaks(cluster: Cluster, tmp_path: Path) -> None:
    plan = Plan(MINUTES, seed=random.SystemRandom().randrange(2**32))
    outcome = await run(plan, tmp_path, cluster)
    print(outcome)
    assert not outcome.problems, str(outcome)
    figures = outcome.figures
    assert figures["SIGKILLs"] >= plan.kills
    assert figures["of which of PostgreSQL"] >= plan.kills_of_database
    assert figures["cuts at COMMIT"] >= plan.cuts
    assert figures["orders paid"] > 50
    assert figures["acknowledged writes"] > 200
    assert figures["retries"] > 0


FORGETFUL = {"synchronous_commit": "off"}


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("cluster", "forgets"), [({}, False), (FORGETFUL, True)], ids=["durable", "forgetful"], indirect=["cluster"]
)
async def test_a_database_that_forgets_is_found_out(cluster: Cluster, tmp_path: Path, forgets: bool) -> None:
    """The journal against the database after one kill: what is acknowledged and lost is said, and nothing else."""
    await cluster.make()
    channel = await Channel.begin(tmp_path / "channel.log")
    account = await channel.ask("settings", base_url=f"http://127.0.0.1:{channel.port}/sandbox")
    town = await found(cluster.url(), tmp_path, account, {"PAYCORE_CHECK_DURABILITY": "false"})
    server = town.server()
    try:
        await server.start()
        async with AsyncClient(server.address, town.key) as client:
            with Journal(tmp_path / "journal.jsonl") as written:
                desk = Desk([client], written, random.Random(1))
                if forgets:
                    await asyncio.to_thread(cluster.write_nothing_by_itself)
                await asyncio.gather(*(an_order(desk) for _ in range(40)))
            cluster.kill()
            await cluster.start()
            await server.ready()
            lines = journal.read(written.path)
            page = await client.list_orders(page_size=100)
            orders = {one.order_id: await order_of(client, one.order_id) for one in page.orders}
        lost = list(checks.lost_writes(lines, orders))
        assert bool(lost) is forgets, f"{len(lost)} of {len(lines)} lines: {lost[:3]}"
    finally:
        server.kill()
        await channel.end()


async def an_order(desk: Desk) -> None:
    await desk.ask(
        "create_order",
        uuid.uuid4().hex,
        merchant_order_no=f"C-{uuid.uuid4().hex[:24]}",
        amount_minor=100,
        currency="CNY",
        subject="Tea",
    )


@pytest.mark.timeout(120)
async def test_a_killed_cluster_is_quite_dead_and_rises_with_its_data(cluster: Cluster) -> None:
    await cluster.make()
    cluster.run("CREATE TABLE words (word text)")
    cluster.run("INSERT INTO words VALUES ('kept')")
    assert cluster.run("SHOW fsync") == [("on",)]
    assert cluster.run("SHOW synchronous_commit") == [("on",)]
    assert cluster.run("SHOW full_page_writes") == [("on",)]
    pid = cluster.pid
    assert list(children_of(pid)), "its processes are not seen"
    cluster.kill()
    assert not list(children_of(pid))
    await cluster.start()
    assert cluster.pid != pid
    assert cluster.run("SELECT word FROM words") == [("kept",)]
