"""`serve`, `migrate` and `call`, as processes: what a stranger meets in the first five minutes, and what refuses to start."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import create_engine, text

from paycore.store.migrate import head
from tests.cli.running import Outcome, command, environment, paycore

READY_SECONDS = 30.0
KEY = re.compile(r"pk_[\w-]{40,}")


class Running:
    """A server that a command started, and what it said."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self.process = process
        self.folder = folder

    @property
    def said(self) -> str:
        return (self.folder / "out").read_text()

    @property
    def target(self) -> str:
        return str(re.findall(r"gRPC at (\S+?),", self.said)[-1])

    @property
    def key(self) -> str:
        return str(KEY.findall(self.said)[-1])

    def call(self, *words: str, stdin: str = "") -> Outcome:
        """One call of a caller with the key that the server printed."""
        variables = {"PAYCORE_API_KEY": self.key, "PAYCORE_TARGET": self.target}
        return command("call", *words, stdin=stdin, variables=variables)

    def stop(self) -> int:
        """Ask it to leave, and wait."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(READY_SECONDS)


@contextmanager
def serving(folder: Path, *words: str, **variables: str) -> Iterator[Running]:
    """A server on ports that are free, gone afterwards whatever happens."""
    ports = ["--grpc-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0", "--simulator-port", "0"]
    with (folder / "out").open("w") as out, (folder / "err").open("w") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "paycore", "serve", *ports, *words],
            stdout=out,
            stderr=err,
            cwd=folder,
            env=environment(folder, **variables),
            text=True,
        )
    running = Running(process, folder)
    try:
        deadline = time.monotonic() + READY_SECONDS
        while "paycore is ready" not in running.said:
            assert process.poll() is None, (folder / "err").read_text()
            assert time.monotonic() < deadline, running.said
            time.sleep(0.05)
        yield running
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(tmp_path_factory.mktemp("dev"), "--dev", "--simulators") as running:
        yield running


def order(number: str) -> str:
    return json.dumps(
        {"merchant_order_no": number, "amount": {"currency_code": "CNY", "amount_minor": 1280}, "subject": "Tea"}
    )


# ---------------------------------------------------------------------------------------------- the first five minutes


def test_a_stranger_pays_an_order_with_two_commands(dev: Running) -> None:
    made = dev.call("CreateOrder", order("FIRST-1"))
    assert made.code == 0, made.err
    assert re.fullmatch(r"request_id [0-9a-f]{32}\n", made.err)
    order_id = made.json["order"]["order_id"]
    paid = dev.call(
        "OrderService.PayOrder", "-", stdin=json.dumps({"order_id": order_id, "channel": "sandbox", "method": "qr"})
    )
    [step] = paid.json["payment"]["action"]["steps"]
    page = json.loads(step["params_json"])["content"]
    press_pay(page)
    watched = dev.call("watchorder", json.dumps({"order_id": order_id, "resume_after": 1}))
    assert [line["event"]["kind"] for line in watched.lines[:-1]][-2:] == ["payment.succeeded", "order.paid"]
    assert watched.lines[-1]["end"] == {"reason": "END_REASON_FINAL"}
    one = dev.call("WatchOrder", json.dumps({"order_id": order_id}), "--messages", "1")
    assert len(one.lines) == 1
    assert one.lines[0]["snapshot"]["state"] == "STATE_PAID"


def press_pay(page: str) -> None:
    with httpx2.Client(trust_env=False) as browser:
        assert browser.post(page, data={"action": "pay"}).status_code == 200


def test_a_purchase_at_the_simulated_store_is_told_by_its_notice(dev: Running) -> None:
    """Apple knows its merchant's address from a console; whoever runs its simulator has entered it there."""
    item = {"product_id": "gold.100", "name": "Gold", "quantity": 1, "unit_amount_minor": 600}
    wanted = json.loads(order("STORE-1")) | {"amount": {"currency_code": "CNY", "amount_minor": 600}}
    order_id = dev.call("CreateOrder", json.dumps(wanted | {"line_items": [item]})).json["order"]["order_id"]
    ask = {"order_id": order_id, "channel": "appleiap", "method": "purchase", "client": {"face": "ios"}}
    begun = dev.call("PayOrder", json.dumps(ask))
    step = json.loads(begun.json["payment"]["action"]["steps"][0]["params_json"])
    [shop] = re.findall(r"Simulator of appleiap: (\S+)/ ", dev.said)
    form = {"product_id": step["product_id"], "account_token": step["account_token"], "quantity": "1"}
    with httpx2.Client(trust_env=False) as browser:
        assert browser.post(f"{shop}/buy", data=form | {"price": "6.00", "currency": "CNY"}).status_code == 303
    watched = dev.call("WatchOrder", json.dumps({"order_id": order_id, "resume_after": 1}))
    assert [line["event"]["kind"] for line in watched.lines[:-1]][-2:] == ["payment.succeeded", "order.paid"]


def test_a_request_may_lie_in_a_file(dev: Running, tmp_path: Path) -> None:
    file = tmp_path / "order.json"
    file.write_text(order("FILE-1"))
    assert dev.call("/paycore.v1.OrderService/CreateOrder", f"@{file}").json["order"]["subject"] == "Tea"
    missing = dev.call("CreateOrder", f"@{tmp_path}/none.json")
    assert (missing.code, missing.out) == (2, "")


def test_every_method_can_be_called_from_its_template(dev: Running) -> None:
    listed = command("call", "--list", "--json").json["methods"]
    assert len(listed) == 27
    for method in listed:
        template = command("call", f"{method['service']}.{method['method']}", "--template")
        assert set(template.json) <= set(method["request"])
        done = dev.call(
            f"{method['service']}.{method['method']}", template.out, "--messages", "1", "--seconds", "10", "--json"
        )
        assert done.code in (0, 1), (method, done.err)
        assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (["GetOrder", '{"order_id": "or01M87HQ442GQ4V85C4R5WWFF46"}'], 1, "ORDER_NOT_FOUND"),
        (["GetOrder", '{"order_id": "x"}'], 1, "BAD_ID"),
        (["GetOrder", '{"order": "x"}'], 2, "USAGE"),
        (["GetOrder", "not json"], 2, "USAGE"),
        (["GetOrdre", "{}"], 2, "USAGE"),
        (["GetOrder", "{}", "--target", "127.0.0.1:1"], 3, "UNAVAILABLE"),
        (["GetOrder", "{}", "--key-file", "none"], 2, "USAGE"),
    ],
)
def test_a_call_that_fails_says_why(dev: Running, words: list[str], code: int, reason: str) -> None:
    done = dev.call(*words, "--json")
    assert (done.code, done.out) == (code, "")
    assert (done.error["exit"], done.error["reason"]) == (code, reason)
    assert dev.key not in done.err


def test_a_key_that_does_not_hold_is_refused(dev: Running) -> None:
    variables = {"PAYCORE_API_KEY": "pk_" + "x" * 43, "PAYCORE_TARGET": dev.target}
    done = command("call", "ListOrders", "{}", "--json", variables=variables)
    assert done.code == 1
    assert done.error["reason"] == "CREDENTIALS_INVALID"


def test_the_key_is_printed_once_and_a_second_start_goes_on(tmp_path: Path) -> None:
    with serving(tmp_path, "--dev", "--simulators") as first:
        key = first.key
        order_id = first.call("CreateOrder", order("AGAIN-1")).json["order"]["order_id"]
        assert first.stop() == 0
    with serving(tmp_path, "--dev", "--simulators") as second:
        assert KEY.findall(second.said) == []
        variables = {"PAYCORE_API_KEY": key, "PAYCORE_TARGET": second.target}
        found = command("call", "GetOrder", json.dumps({"order_id": order_id}), variables=variables)
        assert found.json["order"]["merchant_order_no"] == "AGAIN-1"
        ask = json.dumps({"order_id": order_id, "channel": "sandbox", "method": "qr"})
        assert command("call", "PayOrder", ask, variables=variables).json["payment"]["is_action_ready"]
        assert second.stop() == 0
    assert (tmp_path / "paycore.db.key").stat().st_mode & 0o777 == 0o600


# ---------------------------------------------------------------------------------------------- what refuses to start


def make_old(url: str) -> None:
    """Let the database say that it stands at another migration."""
    command("migrate", variables={"PAYCORE_DATABASE_URL": url})
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    engine.dispose()


def test_an_old_schema_is_refused_and_migrate_is_named(store_url: str, tmp_path: Path) -> None:
    make_old(store_url)
    variables = {
        "PAYCORE_DATABASE_URL": store_url,
        "PAYCORE_MASTER_KEY_FILE": str(tmp_path / "key"),
        "PAYCORE_CHECK_DURABILITY": "false",
        "PAYCORE_GRPC_LISTEN": "127.0.0.1:0",
        "PAYCORE_HTTP_LISTEN": "127.0.0.1:0",
    }
    command("master-key", "make", variables=variables)
    looks = [
        ["serve", "--dev"],
        ["apps", "list"],
        ["orders", "list"],
        ["accounts", "list"],
        ["anomalies", "list"],
        ["audit"],
    ]
    done = [paycore("serve", "--json", home=tmp_path, variables=variables)]
    done += [command(*words, "--json", variables=variables) for words in looks]
    for one in done:
        assert (one.code, one.out) == (4, "")
        assert one.error["text"] == f"The database's schema is 0000 and {head()} is needed: run `paycore migrate`."


def test_an_empty_database_of_many_is_not_migrated_by_serve(pg_url: str, tmp_path: Path) -> None:
    variables = {
        "PAYCORE_DATABASE_URL": pg_url,
        "PAYCORE_MASTER_KEY_FILE": str(tmp_path / "key"),
        "PAYCORE_CHECK_DURABILITY": "false",
        "PAYCORE_GRPC_LISTEN": "127.0.0.1:0",
        "PAYCORE_HTTP_LISTEN": "127.0.0.1:0",
    }
    command("master-key", "make", variables=variables)
    done = paycore("serve", home=tmp_path, variables=variables)
    assert done.code == 4
    assert f"is empty and {head()} is needed: run `paycore migrate`" in done.err
    assert command("migrate", "--check", variables=variables).code == 1


def test_migrate_is_explicit_and_may_be_repeated(store_url: str, tmp_path: Path) -> None:
    variables = {"PAYCORE_DATABASE_URL": store_url}
    check = command("migrate", "--check", "--json", variables=variables)
    assert check.code in (1, 4)  # an SQLite file that is not there is not made only to be looked at
    assert not list(tmp_path.glob("*.sqlite"))
    assert command("migrate", "--json", variables=variables).json["before"] is None
    again = command("migrate", "--json", variables=variables).json
    assert again == {"before": head(), "after": head(), "head": head(), "is_current": True}
    assert command("migrate", "--check", variables=variables).code == 0


def test_a_port_that_is_taken_is_not_reachable_now(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        for words in (
            ["--grpc-listen", address, "--http-listen", "127.0.0.1:0"],
            ["--http-listen", address, "--grpc-listen", "127.0.0.1:0"],
        ):
            done = paycore("serve", *words, home=tmp_path)
            assert done.code == 3, done.err
            assert done.err.count("\n") == 1
            assert "paycore is ready" not in done.out


def test_plain_text_beyond_loopback_is_refused(tmp_path: Path) -> None:
    done = paycore("serve", "--grpc-listen", "0.0.0.0:0", "--http-listen", "127.0.0.1:0", home=tmp_path)
    assert done.code == 4
    assert "is not loopback" in done.err


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"PAYCORE_DATABASE_POOL_SIZE": "canary"}, "database_pool_size"),
        ({"PAYCORE_TLS_KEY": "key.pem"}, "tls_certificate and tls_key go together"),
        ({"PAYCORE_CONFIG": "none.toml"}, "cannot be read"),
        ({"PAYCORE_MASTER_KEY": "canary"}, "master key"),
    ],
)
def test_a_wrong_setting_is_named_and_not_repeated(variables: dict[str, str], says: str, tmp_path: Path) -> None:
    ports = ["--grpc-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"]
    done = paycore("serve", *ports, home=tmp_path, variables=variables)
    assert done.code == 4
    assert says in done.err
    assert "canary" not in done.err + done.out


def test_a_password_is_never_taken_from_the_command_line_or_shown(tmp_path: Path) -> None:
    url = "postgresql+psycopg://paycore:canary@127.0.0.1:1/none"
    refused = paycore("apps", "list", "--database", url, home=tmp_path)
    assert refused.code == 2
    variables = {"PAYCORE_DATABASE_URL": url}
    lost = [command(*words, variables=variables) for words in (["apps", "list"], ["migrate"], ["audit"])]
    assert [done.code for done in lost] == [3, 3, 3]
    assert all("canary" not in done.out + done.err for done in (refused, *lost))
