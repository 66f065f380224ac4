"""`doctor` and `audit`: what they see, what they say, and how they end."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from paycore_sandbox import SandboxSimulator
from tests.cli.running import command, environment
from tests.cli.shop import Shop


@pytest.fixture
def shop(store_url: str, tmp_path: Path) -> Shop:
    return Shop(store_url, tmp_path, SandboxSimulator("health"))


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
    code, found = diagnosis(shop, PAYCORE_PUBLIC_BASE_URL="https://pay.example.com")
    assert code == 0
    assert {finding["state"] for finding in found.values()} == {"ok"}
    assert "gives sandbox" in found["plugin"]["text"]
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


def test_a_watch_goes_on_until_something_is_wrong(sqlite_url: str, tmp_path: Path) -> None:
    shop = Shop(sqlite_url, tmp_path, SandboxSimulator("health"))
    app_id, _, _ = shop.open()
    shop.hear_paid(shop.open_payment(app_id, shop.order(app_id, "WATCH-1").order_id))
    out = tmp_path / "out"
    with out.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "paycore", "audit", "--watch", "0.2", "--json"],
            stdout=file,
            stderr=subprocess.DEVNULL,
            env=environment(tmp_path, **shop.variables),
            cwd=tmp_path,
        )
    try:
        deadline = time.monotonic() + 30
        while len(out.read_text().splitlines()) < 2:
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.05)
        tamper(shop, "UPDATE payments SET refunded_minor = 5")
        assert process.wait(30) == 1
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    rounds = [json.loads(line) for line in out.read_text().splitlines()]
    assert [one["is_clean"] for one in rounds[:-1]] == [True] * (len(rounds) - 1)
    assert not rounds[-1]["is_clean"]
