"""`doctor` and `audit`: what they see, what they say, and how they end."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.sql import SQL, Identifier
from sqlalchemy import create_engine, make_url, text

from paycore_sandbox import SandboxSimulator
from tests.cli.running import command, environment, heed_interrupts
from tests.cli.shop import Shop
from tests.support import postgres


@pytest.fixture
def shop(store_url: str, tmp_path: Path) -> Shop:
    return Shop(store_url, tmp_path, SandboxSimulator("health"))


def plugins_of(shop: Shop) -> str:
    """What the diagnosis says of every plugin."""
    done = command("doctor", "--json", variables=shop.variables | {"PAYCORE_CHECK_DURABILITY": "false"})
    return "; ".join(finding["text"] for finding in done.json["findings"] if finding["what"] == "plugin")


def diagnosis(shop: Shop, **variables: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit code, and the worst finding of each kind."""
    weak = {
        "PAYCORE_CHECK_DURABILITY": "false",
        "PAYCORE_GRPC_LISTEN": "127.0.0.1:0",
        "PAYCORE_HTTP_LISTEN": "127.0.0.1:0",
    }
    done = command("doctor", "--json", variables=shop.variables | weak | variables)
    order = {"ok": 0, "warning": 1, "bad": 2}
    worst: dict[str, dict[str, Any]] = {}
    for finding in sorted(done.json["findings"], key=lambda one: order[one["state"]]):
        worst[finding["what"]] = finding
    assert done.json["is_fit"] == (done.code == 0)
    return done.code, worst


def test_a_fit_installation_is_fit(shop: Shop) -> None:
    shop.open()
    code, found = diagnosis(shop, PAYCORE_PUBLIC_BASE_URL="https://pay.example.com", PAYCORE_CHANNELS='["sandbox"]')
    assert code == 0
    assert {finding["state"] for finding in found.values()} == {"ok"}
    assert "gives sandbox" in plugins_of(shop)
    assert "key version 1 signs" in found["account"]["text"]


@pytest.mark.parametrize(
    ("variables", "what", "state", "says"),
    [
        ({"PAYCORE_DATABSE_URL": "x"}, "variables", "bad", "PAYCORE_DATABSE_URL"),
        ({"PAYCORE_DATABASE_POOL_SIZE": "0"}, "settings", "bad", "database_pool_size"),
        ({"PAYCORE_MASTER_KEY_FILE": "none"}, "master key", "bad", "does not exist"),
        ({"PAYCORE_GRPC_LISTEN": "0.0.0.0:0"}, "tls", "bad", "more than loopback"),
        ({"PAYCORE_GRPC_LISTEN": "here"}, "grpc", "bad", "host:port"),
        ({"PAYCORE_PUBLIC_BASE_URL": "http://pay.example.com"}, "notices", "bad", "not https"),
        ({"PAYCORE_PUBLIC_BASE_URL": ""}, "notices", "warning", "public_base_url is empty"),
        ({"PAYCORE_DATABASE_URL": "sqlite:///none.db"}, "database", "warning", "paycore migrate"),
        (
            {"PAYCORE_DATABASE_URL": "postgresql+psycopg://a:canary@127.0.0.1:1/b"},
            "database",
            "bad",
            "cannot be reached",
        ),
        ({"PAYCORE_CHANNELS": '["nothing"]'}, "plugins", "warning", "No channel is loaded"),
        ({"PAYCORE_CHANNELS_OFF": '["sandbox"]'}, "account", "bad", "is not loaded"),
    ],
)
def test_what_is_wrong_is_named(
    variables: dict[str, str], what: str, state: str, says: str, sqlite_url: str, tmp_path: Path
) -> None:
    shop = Shop(sqlite_url, tmp_path, SandboxSimulator("health"))
    shop.open()
    code, found = diagnosis(shop, **variables)
    assert found[what]["state"] == state, found
    assert says in found[what]["text"]
    assert code == (1 if "bad" in {finding["state"] for finding in found.values()} else 0)
    assert "canary" not in str(found)


def test_a_master_key_that_does_not_open_the_accounts_is_seen(shop: Shop, tmp_path: Path) -> None:
    shop.open()
    (tmp_path / "master.key").unlink()
    shop.json("master-key", "make")
    code, found = diagnosis(shop)
    assert code == 1
    assert found["account"]["state"] == "bad"


def test_a_certificate_is_looked_at(sqlite_url: str, tmp_path: Path) -> None:
    shop = Shop(sqlite_url, tmp_path, SandboxSimulator("health"))
    shop.open()
    (tmp_path / "a.pem").write_text("no certificate")
    pem = str(tmp_path / "a.pem")
    code, found = diagnosis(shop, PAYCORE_TLS_CERTIFICATE=pem, PAYCORE_TLS_KEY=pem)
    assert code == 1
    assert found["tls"]["text"] == "The certificate or its key cannot be read."


# ---------------------------------------------------------------------------------------------- audit


def tamper(shop: Shop, statement: str) -> None:
    """Change a row behind everybody's back."""
    engine = create_engine(shop.url)
    with engine.begin() as connection:
        assert connection.execute(text(statement)).rowcount == 1
    engine.dispose()


def test_right_books_are_right(shop: Shop) -> None:
    app_id, _, _ = shop.open()
    empty = shop.json("audit")
    assert (empty["is_clean"], empty["orders"], empty["violations"]) == (True, 0, [])
    shop.hear_paid(shop.open_payment(app_id, shop.order(app_id, "BOOKS-1").order_id))
    shop.order(app_id, "BOOKS-2")
    report = shop.json("audit")
    assert (report["is_clean"], report["orders"]) == (True, 2)
    assert "The books are right: 2 orders" in shop.run("audit").out


@pytest.mark.parametrize(
    ("statement", "rule"),
    [
        ("UPDATE payments SET captured_minor = captured_minor + 1", "fold"),
        ("UPDATE payments SET refunded_minor = 5", "sums"),
        ("UPDATE orders SET state = 'CLOSED', closed_at = 1, close_reason = 'EXPIRED'", "effective"),
        ("DELETE FROM events WHERE version = 2", "gapless"),
    ],
)
def test_a_row_that_was_tampered_with_is_found(shop: Shop, statement: str, rule: str) -> None:
    app_id, _, _ = shop.open()
    shop.hear_paid(shop.open_payment(app_id, shop.order(app_id, "TAMPER-1").order_id))
    tamper(shop, statement)
    done = shop.run("audit", "--json")
    assert done.code == 1
    assert not done.json["is_clean"]
    assert rule in {violation["rule"] for violation in done.json["violations"]}
    assert done.error["reason"] == "VIOLATION"
    told = shop.run("audit")
    assert told.code == 1
    assert f"✗ {rule}: " in told.out


@contextmanager
def watching(shop: Shop, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], Callable[[int], list[Any]]]]:
    """`audit --watch` beside the test, and its rounds so far, once there are so many."""
    out = tmp_path / "out"
    with out.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "paycore", "audit", "--watch", "0.2", "--json"],
            stdout=file,
            stderr=subprocess.PIPE,
            env=environment(tmp_path, **shop.variables),
            cwd=tmp_path,
            preexec_fn=heed_interrupts,
        )

    def rounds(least: int) -> list[Any]:
        deadline = time.monotonic() + 40
        while out.read_text().count("\n") < least and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return [json.loads(line) for line in out.read_text().splitlines()]

    try:
        yield process, rounds
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def watched_shop(sqlite_url: str, tmp_path: Path) -> Shop:
    shop = Shop(sqlite_url, tmp_path, SandboxSimulator("health"))
    app_id, _, _ = shop.open()
    shop.hear_paid(shop.open_payment(app_id, shop.order(app_id, "WATCH-1").order_id))
    return shop


def test_a_watch_goes_on_until_something_is_wrong(sqlite_url: str, tmp_path: Path) -> None:
    shop = watched_shop(sqlite_url, tmp_path)
    with watching(shop, tmp_path) as (process, rounds):
        rounds(2)
        tamper(shop, "UPDATE payments SET refunded_minor = 5")
        assert process.wait(30) == 1
        seen = rounds(3)
    assert [one["is_clean"] for one in seen[:-1]] == [True] * (len(seen) - 1)
    assert not seen[-1]["is_clean"]
    assert {one["rule"] for one in seen[-1]["violations"]} == {"sums", "fold"}


def test_a_watch_ends_quietly_at_ctrl_c(sqlite_url: str, tmp_path: Path) -> None:
    with watching(watched_shop(sqlite_url, tmp_path), tmp_path) as (process, rounds):
        assert rounds(1)[0]["is_clean"]
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()


def test_a_watch_outlives_a_database_that_is_away(pg_server: postgres.Server, tmp_path: Path) -> None:
    """Its connections are cut and no new one is let in; when the database is back it goes on looking."""
    with pg_server.database() as url:
        shop = watched_shop(url, tmp_path)
        name = str(make_url(url).database)
        with watching(shop, tmp_path) as (process, rounds):
            rounds(1)
            with psycopg.connect(postgres.plain(pg_server.url), autocommit=True) as admin:
                admin.execute(SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(Identifier(name)))
                admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
                seen = rounds(1)
                while seen[-1]["is_clean"]:
                    seen = rounds(len(seen) + 1)
                assert seen[-1] == {"time": seen[-1]["time"], "is_clean": None, "reason": "UNAVAILABLE"}
                admin.execute(SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(Identifier(name)))
            while not seen[-1]["is_clean"]:
                seen = rounds(len(seen) + 1)
            assert process.poll() is None
