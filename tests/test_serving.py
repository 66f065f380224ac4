"""A whole server: what it takes to start, that money arrives over its two faces, and how it leaves."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import socket
import sqlite3
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
import httpx2
import psycopg
import pytest
from pydantic import SecretStr
from sqlalchemy import make_url

from paycore.channel import OutgoingNotice
from paycore.engine.host import PluginRequired
from paycore.engine.keyring import NoMasterKey
from paycore.rpc.server import PlaintextRefused
from paycore.serving import start
from paycore.settings import Settings
from paycore.store import AppState, StaleSchema, Store
from paycore.testing.clock import FakeClock
from paycore.testing.server import RunningServer, running_server
from paycore.v1 import common_pb2, money_pb2, order_pb2, order_pb2_grpc
from tests.rpc.small import bearer, refusal
from tests.support import postgres

CANARY = "canary-4a7e-b1d0-93c2"
REQUEST_ID = "request-0123456789"


def an_order(number: int = 1) -> order_pb2.CreateOrderRequest:
    return order_pb2.CreateOrderRequest(
        merchant_order_no=f"order-{number:06}",
        amount=money_pb2.Money(currency_code="CNY", amount_minor=1200),
        subject="Tea",
        request_id=f"{REQUEST_ID}-{number}",
    )


@dataclass
class Caller:
    """An app with its key."""

    channel: grpc.aio.Channel
    key: str

    def __getattr__(self, rpc: str) -> Any:
        call = getattr(order_pb2_grpc.OrderServiceStub(self.channel), rpc)
        return lambda request, **more: call(request, metadata=bearer(self.key), **({"timeout": 20} | more))


@asynccontextmanager
async def calling(target: str, key: str) -> AsyncIterator[Caller]:
    async with grpc.aio.insecure_channel(target) as channel:
        yield Caller(channel, key)


async def begun(app: Any, number: int = 1) -> Any:
    """An order with a QR payment that waits for its payer."""
    order = (await app.CreateOrder(an_order(number))).order
    return await app.PayOrder(
        order_pb2.PayOrderRequest(
            order_id=order.order_id, channel="sandbox", method="qr", request_id=f"{REQUEST_ID}-pay-{number}"
        )
    )


# ---------------------------------------------------------------------------------------------- money over both faces


async def test_an_order_is_paid_by_a_notice_that_comes_over_http(store_url: str) -> None:
    async with running_server(store_url) as server, calling(server.target, server.api_key) as app:
        paying = await begun(app)
        stream = app.WatchOrder(order_pb2.WatchOrderRequest(order_id=paying.order.order_id))
        assert (await stream.read()).snapshot.state == order_pb2.Order.STATE_PENDING
        server.pay(paying.payment.payment_id)
        last = None
        while (message := await stream.read()) is not grpc.aio.EOF:
            last = message
        assert last is not None
        assert last.end.reason == common_pb2.END_REASON_FINAL
        order = (await app.GetOrder(order_pb2.GetOrderRequest(order_id=paying.order.order_id))).order
        assert order.state == order_pb2.Order.STATE_PAID
        async with httpx2.AsyncClient() as client:
            page = (await client.get(f"{server.base_url}/metrics")).text
        assert 'grpc_server_handled_total{grpc_code="OK",grpc_method="PayOrder"' in page
        assert "paycore_facts_total " in page


@pytest.mark.parametrize(
    "account",
    ["ac01KQ0000000000000000000000", "ac", "x" * 500, "..%2f..%2fetc", "%00", "ac01KQ00000000000000000000;--"],
)
async def test_112_an_address_that_is_no_accounts(account: str) -> None:
    async with running_server() as server, httpx2.AsyncClient() as client:
        got = await client.post(f"{server.base_url}/v1/notices/{account}", content=b"{}")
        assert (got.status_code, got.content) == (404, b"") or (got.status_code, got.text) == (404, "Not Found")


@dataclass
class Held:
    """A server with a payment that was paid, and the channel's genuine notice of it, not yet delivered."""

    server: RunningServer
    app: Any
    order_id: str
    notice: OutgoingNotice

    async def bring(self, client: httpx2.AsyncClient, **changed: Any) -> httpx2.Response:
        request = self.notice.request
        given: dict[str, Any] = {
            "headers": dict(request.headers),
            "content": request.body,
            "url": request.url,
        } | changed
        return await client.request(request.method, given.pop("url"), **given)

    async def state(self) -> int:
        order = (await self.app.GetOrder(order_pb2.GetOrderRequest(order_id=self.order_id))).order
        return int(order.state)


@pytest.fixture
async def held() -> AsyncIterator[Held]:
    clock = FakeClock()
    async with running_server(clock=clock) as server, calling(server.target, server.api_key) as app:
        paying = await begun(app)
        server.simulator.pay(paying.payment.payment_id, clock.now())
        [notice] = server.simulator.due(clock.now())
        yield Held(server, app, paying.order.order_id, notice)


def spoilt(headers: dict[str, str], change: Any) -> dict[str, str]:
    """The same headers with the signature changed."""
    name = next(name for name in headers if "sign" in name.lower())
    changed = change(headers[name])
    return {
        **{key: value for key, value in headers.items() if key != name},
        **({} if changed is None else {name: changed}),
    }


@pytest.mark.parametrize(
    "change",
    [
        lambda request: {"headers": spoilt(dict(request.headers), lambda _: None)},
        lambda request: {"headers": spoilt(dict(request.headers), lambda _: "")},
        lambda request: {"headers": spoilt(dict(request.headers), lambda text: text + "!!")},
        lambda request: {"headers": spoilt(dict(request.headers), lambda text: text[:-4] + "AAAA")},
        lambda request: {"headers": spoilt(dict(request.headers), lambda text: "e" + text)},
        lambda request: {"content": request.body + b" "},
        lambda request: {"content": request.body.replace(b"1200", b"1201", 1) + b""},
        lambda _: {"content": b""},
        lambda _: {"content": b"[" * 60_000},
        lambda _: {"content": b'{"a": NaN, "a": 1}'},
        lambda _: {"content": "\ufeff{}".encode("utf-16")},
    ],
)
async def test_113_to_118_a_notice_that_does_not_verify_changes_nothing(held: Held, change: Any) -> None:
    changed = change(held.notice.request)
    if changed.get("content") == held.notice.request.body:
        changed["content"] = b"x" + held.notice.request.body
    async with httpx2.AsyncClient() as client:
        got = await held.bring(client, **changed)
        assert 400 <= got.status_code < 500
        assert got.content != (await held.bring(client)).content
    assert await held.state() == order_pb2.Order.STATE_PAID


async def test_120_a_notice_that_comes_twice_is_acknowledged_twice(held: Held) -> None:
    async with httpx2.AsyncClient() as client:
        assert await held.state() == order_pb2.Order.STATE_PENDING
        first, second = await held.bring(client), await held.bring(client)
    assert (first.status_code, first.content) == (second.status_code, second.content)
    assert first.status_code == 200
    assert await held.state() == order_pb2.Order.STATE_PAID


# ---------------------------------------------------------------------------------------------- time and trouble


@contextmanager
def nobody_writes(url: str) -> Iterator[None]:
    """The database while somebody else is writing and nobody can make an order."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield
            connection.execute("ROLLBACK")
        return
    with psycopg.connect(postgres.plain(make_url(url))) as connection:
        connection.execute("LOCK TABLE orders IN EXCLUSIVE MODE")
        yield
        connection.rollback()


async def test_27_what_a_call_did_before_its_deadline_is_found_by_its_request_id(store_url: str) -> None:
    async with running_server(store_url) as server, calling(server.target, server.api_key) as app:
        await app.CreateOrder(an_order(0))
        codes = set()
        with nobody_writes(store_url):  # no server is so quick that it answers while nobody can write
            for number in range(1, 20):
                with pytest.raises(grpc.aio.AioRpcError) as late:
                    await app.CreateOrder(an_order(number), timeout=0.001)
                assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        for number in range(20, 40):
            try:
                await app.CreateOrder(an_order(number), timeout=0.001)
                codes.add("OK")
            except grpc.aio.AioRpcError as error:
                codes.add(error.code().name)
        assert codes <= {"OK", "DEADLINE_EXCEEDED"}
        ids = set()
        for number in range(1, 40):
            ids.add((await app.CreateOrder(an_order(number))).order.order_id)
            ids.add((await app.CreateOrder(an_order(number))).order.order_id)
        assert len(ids) == 39


async def test_24_an_app_that_is_suspended_is_refused_within_seconds(store_url: str) -> None:
    async with running_server(store_url) as server, calling(server.target, server.api_key) as app:
        await app.CreateOrder(an_order())
        suspended = replace(server.app, state=AppState.SUSPENDED)
        await server.engine.memory.write(lambda unit: unit.put_app(suspended))
        server.process.authenticator.forget()
        refused = await refusal(app.CreateOrder(an_order()))
        assert (refused.code, refused.reason) == ("PERMISSION_DENIED", "APP_SUSPENDED")


async def test_30_while_the_database_is_gone_callers_are_asked_to_come_again() -> None:
    with (
        postgres.running() as pg,
        suppress(psycopg.OperationalError),
        pg.database() as url,
    ):  # nobody is left to drop it
        async with running_server(url, database_pool_size=2) as server, calling(server.target, server.api_key) as app:
            order = (await app.CreateOrder(an_order())).order
            pg.kill()
            for call in (
                app.CreateOrder(an_order(2)),
                app.GetOrder(order_pb2.GetOrderRequest(order_id=order.order_id)),
            ):
                refused = await refusal(call)
                assert (refused.code, refused.reason) == ("UNAVAILABLE", "STORE_UNAVAILABLE")
                assert refused.retry_seconds is not None
                assert "psycopg" not in refused.text
            async with httpx2.AsyncClient() as client:
                ready = await client.get(f"{server.base_url}/readyz")
                assert (ready.status_code, ready.json()["ready"]) == (503, False)
                assert (await client.get(f"{server.base_url}/livez")).status_code == 200
                got = await client.post(f"{server.base_url}/v1/notices/{server.accounts['sandbox'].account_id}")
                assert got.status_code >= 500


# ---------------------------------------------------------------------------------------------- what it takes to start


def settings(folder: Path, **more: Any) -> Settings:
    usual: dict[str, Any] = {
        "database_url": SecretStr(f"sqlite:///{folder / 'paycore.db'}"),
        "grpc_listen": "127.0.0.1:0",
        "http_listen": "127.0.0.1:0",
    }
    return Settings(**(usual | more))


@pytest.mark.parametrize(
    ("more", "kind"),
    [
        ({"grpc_listen": "0.0.0.0:0"}, PlaintextRefused),
        ({"http_listen": "0.0.0.0:0"}, PlaintextRefused),
        ({"channels": ("sandbox", "nobody")}, PluginRequired),
        ({"master_key": SecretStr("c2hvcnQ=")}, NoMasterKey),
        ({"master_key_file": Path("/nonexistent/key")}, NoMasterKey),
    ],
)
async def test_what_keeps_a_server_from_starting(tmp_path: Path, more: dict[str, Any], kind: type[Exception]) -> None:
    with pytest.raises(kind):
        await start(settings(tmp_path, **more))


async def test_an_empty_postgresql_is_for_paycore_migrate(pg_url: str, tmp_path: Path) -> None:
    with pytest.raises(StaleSchema):
        await start(settings(tmp_path, database_url=SecretStr(pg_url), check_durability=False))


async def test_a_database_of_many_processes_needs_a_master_key(pg_url: str, tmp_path: Path) -> None:
    store = Store.open(pg_url, check_durability=False)
    store.migrate()
    store.close()
    with pytest.raises(NoMasterKey):
        await start(settings(tmp_path, database_url=SecretStr(pg_url), check_durability=False))


@pytest.mark.parametrize("which", ["grpc_listen", "http_listen"])
async def test_a_port_that_is_taken_is_said_and_everything_else_given_back(tmp_path: Path, which: str) -> None:
    other = "http_listen" if which == "grpc_listen" else "grpc_listen"
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as free:
        addresses = {
            which: f"127.0.0.1:{taken.getsockname()[1]}",
            other: f"127.0.0.1:{free.getsockname()[1]}",
        }
        free.close()
        with pytest.raises(OSError, match=r"free|in use"):
            await start(settings(tmp_path, **addresses))
        process = await start(settings(tmp_path, **{other: addresses[other]}))
        await process.stop()


async def test_a_fresh_sqlite_file_gets_its_tables_and_its_key(tmp_path: Path) -> None:
    for _ in range(2):
        process = await start(settings(tmp_path))
        await process.stop()
    assert (tmp_path / "paycore.db.key").stat().st_mode & 0o077 == 0


async def test_several_processes_may_share_a_port(tmp_path: Path) -> None:
    first = await start(settings(tmp_path, share_port=True))
    shared = {"grpc_listen": first.target, "http_listen": first.base_url.removeprefix("http://")}
    second = await start(settings(tmp_path, share_port=True, **shared))
    assert (second.target, second.base_url) == (first.target, first.base_url)
    await first.stop()
    await second.stop()


async def test_reflection_is_off_unless_asked_for(tmp_path: Path) -> None:
    path = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    for asked, code in ((False, grpc.StatusCode.UNIMPLEMENTED), (True, grpc.StatusCode.OK)):
        process = await start(settings(tmp_path, reflection=asked))
        async with grpc.aio.insecure_channel(process.target) as channel:
            call: Any = channel.stream_stream(path)()
            await call.done_writing()
            assert await call.code() is code
        await process.stop()


# ---------------------------------------------------------------------------------------------- how it leaves

PROGRAM = """
import sys
from paycore import serving
from paycore.settings import load
serving.run(load(), lambda line: print(line, flush=True))
"""


@asynccontextmanager
async def process_of(folder: Path, **more: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """`serving.run` as a process of its own; and where it listens."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PAYCORE_")} | {
        "PAYCORE_DATABASE_URL": f"sqlite:///{folder / 'paycore.db'}",
        "PAYCORE_GRPC_LISTEN": "127.0.0.1:0",
        "PAYCORE_HTTP_LISTEN": "127.0.0.1:0",
        "PAYCORE_LOG_LEVEL": "debug",
        **more,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PROGRAM,
        env=environment,
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            while b"paycore is ready" not in (line := await process.stdout.readline()):
                assert line, "the server ended before it was ready"
        yield process, line.split(b"gRPC at ")[1].split(b",")[0].decode().strip()
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def known_key(folder: Path) -> str:
    """An app in a new database, and its key."""
    from paycore.cli.apps import add_app

    store = Store.open(f"sqlite:///{folder / 'paycore.db'}")
    store.migrate()
    with store.write() as unit:
        _, key = add_app(unit, "shop")
    store.close()
    return str(key)


async def test_29_sigterm_ends_streams_with_a_reason_and_the_process_with_zero(tmp_path: Path) -> None:
    key = known_key(tmp_path)
    async with process_of(tmp_path, PAYCORE_LEAVE_SECONDS="0.5") as (process, target), calling(target, key) as app:
        order = (await app.CreateOrder(an_order())).order
        stream = app.WatchOrder(order_pb2.WatchOrderRequest(order_id=order.order_id), timeout=30)
        assert (await stream.read()).WhichOneof("message") == "snapshot"
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(10):
            message = await stream.read()
            assert message.end.reason == common_pb2.END_REASON_DRAINING
            assert await stream.read() is grpc.aio.EOF
            refused = await refusal(app.GetOrder(order_pb2.GetOrderRequest(order_id=order.order_id), timeout=5))
            assert refused.code == "UNAVAILABLE"
            assert refused.reason in {"SHUTTING_DOWN", ""}  # none once the connection is gone too
            assert await process.wait() == 0


async def test_a_second_signal_leaves_at_once(tmp_path: Path) -> None:
    async with process_of(tmp_path, PAYCORE_LEAVE_SECONDS="60") as (process, _):
        process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.3)
        assert process.returncode is None
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(15):
            assert await process.wait() == 0


async def test_no_secret_of_the_configuration_is_ever_written(tmp_path: Path) -> None:
    key = known_key(tmp_path)
    master = base64.b64encode(CANARY.ljust(32, "-").encode()).decode()
    forms = [CANARY, master, master.rstrip("="), CANARY.encode().hex(), key]
    async with process_of(tmp_path, PAYCORE_MASTER_KEY=master) as (process, target):
        async with calling(target, key) as app, grpc.aio.insecure_channel(target) as channel:
            await app.CreateOrder(an_order())
            for bad in (key + "x", key[:-1], f"{key} {CANARY}"):
                call: Any = channel.unary_unary("/paycore.v1.OrderService/GetOrder")
                refused = await refusal(call(b"\xff" + CANARY.encode(), metadata=bearer(bad)))
                assert not any(form in repr(refused) for form in forms)
        process.send_signal(signal.SIGTERM)
        assert process.stdout is not None
        async with asyncio.timeout(20):
            written = (await process.stdout.read()).decode()
        assert not any(form in written for form in forms)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    for path in files:
        content = path.read_bytes()
        assert not any(form.encode() in content for form in forms), path.name
