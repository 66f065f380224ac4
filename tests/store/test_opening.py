"""How a database is opened, what is refused, and what happens when it goes away."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from paycore.store import Conflict, Store, StoreError, StoreUnavailable, WeakDurability
from tests.store.made import Told, loaded, stored
from tests.support import postgres


def setting(store: Store, question: str) -> object:
    with store.write() as unit:
        return unit._connection.exec_driver_sql(question).scalar_one()


# ---------------------------------------------------------------------------------------------- settings


def test_sqlite_is_set_to_keep_what_it_acknowledged(sqlite_ready: str) -> None:
    store = Store.open(sqlite_ready)
    for question, answer in {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "busy_timeout": 5000,
    }.items():
        assert setting(store, f"PRAGMA {question}") == answer, question
    store.close()


def test_postgres_is_given_time_outs_and_a_name(pg_ready: str) -> None:
    store = Store.open(pg_ready, check_durability=False, name="paycore test")
    for question, answer in {
        "statement_timeout": "5s",
        "lock_timeout": "2s",
        "idle_in_transaction_session_timeout": "10s",
        "application_name": "paycore test",
        "transaction_isolation": "read committed",
    }.items():
        assert setting(store, f"SHOW {question}") == answer, question
    with store.read() as unit:
        assert unit._connection.exec_driver_sql("SHOW transaction_isolation").scalar_one() == "repeatable read"
        assert unit._connection.exec_driver_sql("SHOW transaction_read_only").scalar_one() == "on"
    store.close()


def test_a_postgres_that_may_forget_is_refused_unless_that_is_meant(pg_ready: str) -> None:
    name = make_url(pg_ready).database
    with psycopg.connect(postgres.plain(make_url(pg_ready)), autocommit=True) as connection:
        weak = connection.execute("SHOW fsync").fetchone() == ("off",)
        connection.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    try:
        with pytest.raises(WeakDurability) as refused:
            Store.open(pg_ready)
        assert refused.value.code == ("fsync" if weak else "synchronous_commit")
        Store.open(pg_ready, check_durability=False).close()
    finally:
        with psycopg.connect(postgres.plain(make_url(pg_ready)), autocommit=True) as connection:
            connection.execute(f"ALTER DATABASE {name} RESET synchronous_commit")


@pytest.mark.parametrize("url", ["mysql://localhost/x", "oracle://x", "sqlserver"])
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(ValueError):
        Store.open(url)


def test_an_old_sqlite_is_refused_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sqlite3.sqlite_version_info", (3, 34, 1))
    with pytest.raises(ValueError, match=r"SQLite 3\.38 or newer is needed"):
        Store.open("sqlite://")


def test_no_password_is_shown(pg_ready: str) -> None:
    url = make_url(pg_ready).set(password="canary-7f3a").render_as_string(hide_password=False)
    store = Store.open(url, check_durability=False)
    assert "canary" not in store.url_without_secrets
    assert store.url_without_secrets.startswith("postgresql://")
    store.close()


def test_memory_is_one_database_for_all_threads() -> None:
    store = Store.open("sqlite://")
    store.migrate()
    orders: list[Told] = []

    def save() -> None:
        orders.extend(stored(store, 3))

    threads = [threading.Thread(target=save) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(orders) == 12
    for told in orders:
        assert loaded(store, told.now.order_id) == told.now
    store.close()


def test_a_reader_sees_one_moment(store: Store) -> None:
    [told] = stored(store)
    with store.read() as unit:
        before = unit.load([told.now.order_id])
        told.asks().save(store)
        assert unit.load([told.now.order_id]) == before
    assert loaded(store, told.now.order_id) == told.now


def test_a_reader_changes_nothing_on_postgres(pg_store: Store) -> None:
    with pytest.raises(StoreError), pg_store.read() as unit:
        unit.save([Told().change()])


# ---------------------------------------------------------------------------------------------- gone


def test_a_server_that_goes_away_is_unavailable_and_comes_back(pg_ready: str) -> None:
    """Every connection is cut, as a restart does: one unit of each kind fails, the next ones work."""
    store = Store.open(pg_ready, check_durability=False)
    [told] = stored(store)
    with contextlib.ExitStack() as many:
        for _ in range(3):
            many.enter_context(store.write())
            many.enter_context(store.read())
    cut_everybody(pg_ready)
    with pytest.raises(StoreUnavailable):
        stored(store)
    with pytest.raises(StoreUnavailable):
        loaded(store, told.now.order_id)
    with contextlib.ExitStack() as many:
        for _ in range(3):
            assert many.enter_context(store.write()).load([told.now.order_id], lock=False)
            assert many.enter_context(store.read()).load([told.now.order_id])
    store.close()


def test_a_unit_whose_server_goes_away_says_so(pg_ready: str) -> None:
    store = Store.open(pg_ready, check_durability=False)
    told = Told()

    def save_nowhere() -> None:
        with store.write() as unit:
            cut_everybody(pg_ready)
            unit.save([told.change()])

    with pytest.raises(StoreUnavailable):
        save_nowhere()
    with store.read() as unit:
        assert unit.load([told.now.order_id]) == {}
    store.close()


def cut_everybody(url: str) -> None:
    with psycopg.connect(postgres.plain(make_url(url)), autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def test_nobody_there_is_unavailable() -> None:
    with pytest.raises(StoreUnavailable):
        Store.open(f"postgresql://nobody@127.0.0.1:{postgres.free_port()}/nothing")


def test_a_lock_that_is_held_too_long_may_be_tried_again(pg_ready: str) -> None:
    short = make_url(pg_ready).update_query_dict({"options": "-c lock_timeout=50"})
    store = Store.open(short.render_as_string(hide_password=False), check_durability=False)
    [told] = stored(store)
    with store.write() as holder:
        holder.load([told.now.order_id], lock=True)
        with pytest.raises(Conflict) as lost, store.write() as unit:
            unit.load([told.now.order_id], lock=True)
    assert lost.value.is_transient
    store.close()


def test_more_units_than_connections_is_unavailable_not_a_hang(pg_ready: str) -> None:
    store = Store.open(pg_ready, pool_size=2, check_durability=False)
    store._writer.pool._timeout = 0.05  # type: ignore[attr-defined]
    with store.write(), pytest.raises(StoreUnavailable), store.write():
        pass
    store.close()


def test_a_full_disk_is_unavailable_and_loses_nothing(sqlite_ready: str) -> None:
    store = Store.open(sqlite_ready)
    kept = stored(store, 3)
    pages = setting(store, "PRAGMA page_count")
    setting(store, f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreUnavailable) as full:
        stored(store, 500)
    assert full.value.code == "SQLITE_FULL"
    assert [loaded(store, told.now.order_id) for told in kept] == [told.now for told in kept]
    store.close()


def test_a_file_that_is_no_database_is_unavailable(tmp_path: Path) -> None:
    path = tmp_path / "text.sqlite"
    path.write_text("this is a letter, not a database\n" * 200)
    with pytest.raises(StoreUnavailable):
        Store.open(f"sqlite:///{path}").revision()


# ---------------------------------------------------------------------------------------------- several processes

WRITER = """
import sys
from paycore.store import Store
from tests.store.made import Told
store = Store.open(sys.argv[1], check_durability=False)
for _ in range(int(sys.argv[2])):
    told = Told(number="")
    told.asks()
    with store.write() as unit:
        unit.save([told.change()])
        unit.number_feed(100)
    print(told.now.order_id, flush=True)
store.close()
"""


def process(url: str, count: int) -> subprocess.Popen[str]:
    # each process mints its own ids: the numbers begin at its pid
    code = "import os, itertools; from tests.store import made; made._numbers = itertools.count(os.getpid() << 20)\n"
    return subprocess.Popen(
        [sys.executable, "-c", code + WRITER, url, str(count)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


def test_two_processes_share_one_database(url: str) -> None:
    writers = [process(url, 40) for _ in range(2)]
    written = [line for writer in writers for line in writer.communicate(timeout=50)[0].split()]
    assert [writer.returncode for writer in writers] == [0, 0]
    assert len(set(written)) == 80
    store = Store.open(url, check_durability=False)
    with store.write() as unit:
        unit.number_feed(1000)
    with store.read() as unit:
        assert set(unit.load(written)) == set(written)
        app_id = next(iter(unit.load(written).values())).app_id
        assert [seq for seq, _ in unit.feed(app_id, 0, 1000)] == list(range(1, 161))
    store.close()


def test_what_was_acknowledged_survives_a_kill(url: str) -> None:
    writer = process(url, 100_000)
    assert writer.stdout is not None
    acknowledged = [writer.stdout.readline().strip() for _ in range(20)]
    writer.send_signal(signal.SIGKILL)
    rest = writer.communicate(timeout=20)[0].split("\n")
    acknowledged += rest[:-1]  # the last line may have been cut
    store = Store.open(url, check_durability=False)
    with store.read() as unit:
        found = unit.load(acknowledged)
    assert set(found) == set(acknowledged)
    assert all(order.version == 2 and len(order.payments) == 1 for order in found.values())
    store.close()
