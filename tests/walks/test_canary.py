"""Secrets planted in the configuration of a whole walk appear in nothing that anybody may read."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import sqlite3
from collections.abc import Awaitable, Iterable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import grpc
import grpc.aio
import httpx2
import psycopg
import pytest
from sqlalchemy.engine import make_url

from paycore.client import AsyncClient, PaycoreError
from paycore.v1 import order_pb2, order_pb2_grpc
from tests.support.postgres import plain
from tests.walks.processes import Server
from tests.walks.street import Street, open_street
from tests.walks.town import Town, open_town

MOST_SECONDS = 90


class Ears:
    """Everything that was said during the walk, by whom."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, bytes]] = []

    def hear(self, where: str, what: bytes | str) -> None:
        self.heard.append((where, what.encode() if isinstance(what, str) else what))

    async def try_(self, where: str, ask: Awaitable[Any]) -> None:
        """Make a call and keep what comes back, refusals with all their details."""
        try:
            answer = await ask
        except PaycoreError as refused:
            cause = refused.__cause__
            assert isinstance(cause, grpc.aio.AioRpcError)
            self.hear(where, f"{refused!r} {refused} {cause.debug_error_string()}")
            for _, value in (*cause.initial_metadata(), *cause.trailing_metadata()):
                self.hear(where, value)
        else:
            self.hear(where, str(answer))
            self.hear(where, answer.SerializeToString())


def forms_of(secret: str) -> Iterable[bytes]:
    """A secret as it is, and as it looks when somebody wraps it."""
    raw = secret.encode()
    yield raw
    yield quote(secret, safe="").encode()
    yield raw.hex().encode()
    yield base64.b64encode(raw).rstrip(b"=")
    yield base64.urlsafe_b64encode(raw).rstrip(b"=")
    yield json.dumps(secret)[1:-1].encode()


@pytest.mark.timeout(MOST_SECONDS)
async def test_no_secret_is_ever_said(store_url: str, tmp_path: Path) -> None:
    ears = Ears()
    password, master = f"canary-{secrets.token_hex(12)}", base64.b64encode(secrets.token_bytes(32)).decode()
    url = make_url(store_url)
    if url.get_backend_name() == "postgresql":
        store_url = url.set(password=password).render_as_string(hide_password=False)
    settings = {"PAYCORE_MASTER_KEY": master, "PAYCORE_LOG_LEVEL": "debug", "PAYCORE_REFLECTION": "true"}
    async with open_street() as street, open_town(store_url, street, tmp_path, settings) as town:
        canaries = {
            "the database's password": password,
            "the master key": master,
            "the master key's bytes": base64.b64decode(master).hex(),
            "the app's key": town.key,
            "the key for notices": town.notice_key,
            "the merchant's private key": street.settings["private_key"],
        }
        server = town.server()
        await server.start()
        async with AsyncClient(server.address, town.key) as client:
            order = await walk(client, street, ears)
        await misuse(server, town, street, ears)
        await browse(server, town, ears)
        await operate(town, order, password, street.settings["private_key"], ears)
        ears.hear("the process's arguments", Path(f"/proc/{server.pid}/cmdline").read_bytes())
        await server.leave()
        ears.hear("the server's log", server.said())
        for where, what in at_rest(store_url):
            ears.hear(where, what)
    expect_silence(ears, canaries)


def expect_silence(ears: Ears, canaries: Mapping[str, str]) -> None:
    assert len(ears.heard) > 40, "the walk heard too little to prove anything"
    found = sorted(
        {
            f"{name} in {where}"
            for name, secret in canaries.items()
            for form in forms_of(secret)
            for where, what in ears.heard
            if form in what
        }
    )
    assert not found


# ---------------------------------------------------------------------------------------------- the walk


async def walk(client: AsyncClient, street: Street, ears: Ears) -> order_pb2.Order:
    """An order is paid, watched, refunded and explained."""
    order = await client.create_order(merchant_order_no="CANARY-1", amount_minor=900, currency="CNY", subject="Tea")
    ears.hear("CreateOrder", str(order))
    paying = await client.pay_order(order.order_id, channel="sandbox", method="qr")
    ears.hear("PayOrder", str(paying))
    street.pay(paying.payment)
    async with asyncio.timeout(20), aclosing(client.watch_order(order.order_id)) as stream:
        async for seen in stream:
            ears.hear("WatchOrder", str(seen))
            if order_pb2.Order.STATE_PAID in (seen.snapshot.state, seen.event.order.state):
                break
    await ears.try_("CreateRefund", client.create_refund(order.order_id, amount_minor=400, currency="CNY"))
    await ears.try_("GetOrder", client.get_order(order.order_id))
    await ears.try_("ListOrders", client.list_orders())
    await ears.try_("ListOrderEvents", client.list_order_events(order.order_id))
    await ears.try_("ExplainOrder", client.explain_order(order.order_id))
    await ears.try_("ListAnomalies", client.list_anomalies())
    await ears.try_("ListChannels", client.list_channels())
    await ears.try_("GetChannel", client.get_channel("sandbox"))
    return order


async def misuse(server: Server, town: Town, street: Street, ears: Ears) -> None:
    """Callers who do everything wrong, some with a secret where it does not belong."""
    private_key = street.settings["private_key"]
    async with AsyncClient(server.address, town.key) as client:
        for text in (town.key, private_key):
            await ears.try_("a secret as an id", client.get_order(text))
            await ears.try_("a secret as a number", client.get_order(merchant_order_no=text))
            await ears.try_("a secret as a channel", client.get_channel(text[:64]))
        await ears.try_("an unknown order", client.get_order("or" + "0" * 26))
        await ears.try_("a forged receipt", client.confirm_payment(channel="sandbox", evidence=private_key))
    async with AsyncClient(server.address, town.key[:-1] + "x") as stranger:
        await ears.try_("a wrong key", stranger.list_orders())
    async with AsyncClient(server.address, town.notice_key) as edge:
        await ears.try_("a missing scope", edge.list_orders())
        await ears.try_(
            "a forged notice",
            edge.deliver_notice(
                town.account_id, http_method="POST", path="/", headers=[("x", private_key)], body=b"{}"
            ),
        )
    async with grpc.aio.insecure_channel(server.address) as channel:
        stub = order_pb2_grpc.OrderServiceStub(channel)
        for metadata in ((), (("authorization", f"Basic {town.key}"),)):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await stub.ListOrders(order_pb2.ListOrdersRequest(), metadata=metadata)
            ears.hear("no credentials", str(refused.value.debug_error_string()))


async def browse(server: Server, town: Town, ears: Ears) -> None:
    """Everything that HTTP shows."""
    async with httpx2.AsyncClient(base_url=server.http, trust_env=False) as browser:
        for path in ("/", "/livez", "/readyz", "/metrics", "/docs", f"/v1/notices/{town.account_id}", "/v1/notices/x"):
            answer = await browser.get(path)
            ears.hear(f"GET {path}", f"{answer.status_code} {answer.headers} {answer.text}")
        for account in (town.account_id, "ac" + "0" * 26, town.key):
            answer = await browser.post(f"/v1/notices/{account}", content=b'{"a":"\xff"}')
            ears.hear("POST a forged notice", f"{answer.status_code} {answer.headers} {answer.text}")


async def operate(town: Town, order: order_pb2.Order, password: str, private_key: str, ears: Ears) -> None:
    """Everything that an operator can look at, and some mistakes."""
    (town.folder / "wrong.json").write_text(json.dumps({"private_key": private_key, "base_url": 7}))
    known: list[tuple[str, ...]] = [
        ("apps", "show", "shop"),
        ("accounts", "list"),
        ("accounts", "show", town.account_id),
        ("channels", "show", "sandbox"),
        ("orders", "list"),
        ("orders", "show", order.order_id),
        ("orders", "explain", order.order_id),
        ("anomalies", "list"),
        ("doctor",),
        ("audit",),
    ]
    mistakes: list[tuple[str, ...]] = [
        ("accounts", "add", "sandbox", "--app", "shop", "--settings", "wrong.json"),
        ("apps", "list", "--database", f"postgresql+psycopg://x:{password}@127.0.0.1:1/lost"),
        ("call", "OrderService.GetOrder", json.dumps({"order_id": town.key})),
    ]
    done = await asyncio.to_thread(town.commands, *known, *((*words, "--json") for words in known), *mistakes)
    assert done.stdout.count("exit code 0") >= 2 * len(known) - 2, done.stdout + done.stderr
    ears.hear("the command line", f"{done.stdout}\n{done.stderr}")
    town.settings["PAYCORE_DATABASE_URL"] = f"postgresql+psycopg://paycore:{password}@127.0.0.1:1/lost"
    lost = await asyncio.to_thread(town.commands, ("apps", "list"), ("doctor",), ("migrate",), ("serve",))
    ears.hear("the command line without a database", f"{lost.stdout}\n{lost.stderr}")


# ---------------------------------------------------------------------------------------------- at rest


def at_rest(url: str) -> Iterable[tuple[str, bytes]]:
    """Everything that lies in the database."""
    read = make_url(url)
    if read.get_backend_name() == "sqlite":
        assert read.database
        with sqlite3.connect(read.database) as connection:
            yield "the database", "\n".join(connection.iterdump()).encode()
        yield from ((file.name, file.read_bytes()) for file in Path(read.database).parent.glob("*.sqlite*"))
        return
    with psycopg.connect(plain(read)) as connection:
        names = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        for (name,) in names:
            with connection.cursor().copy(f'COPY public."{name}" TO STDOUT') as copy:
                yield f"table {name}", b"".join(bytes(chunk) for chunk in copy)
