"""The channels' side over HTTP: answers, black holes, and notices that come by themselves."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest

from paycore.channel import (
    AccountKeys,
    Environment,
    KeyState,
    KeyVersion,
    NoticeReply,
    PaymentAsk,
    RawNotice,
    Secret,
    Silence,
)
from paycore.core.order import OrderState
from paycore.engine import Engine
from paycore.engine.carrier import HttpCarrier
from paycore.engine.clock import SystemClock
from paycore.engine.host import Host
from paycore.store import Store
from paycore.testing.simulators import SimulatorServer
from tests.engine.world import World, until

TIMEOUT = 5.0


def sandbox_simulator() -> Any:
    kind = Host.load(required=["sandbox"]).kinds["sandbox"]
    assert kind.simulator is not None
    return kind.simulator()


@asynccontextmanager
async def serving(simulator: Any) -> AsyncIterator[SimulatorServer]:
    server = SimulatorServer({"sandbox": simulator}, SystemClock())
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def test_a_person_can_look_at_the_simulator_with_a_browser() -> None:
    simulator = sandbox_simulator()
    async with serving(simulator) as server, httpx2.AsyncClient(trust_env=False) as browser:
        simulator.settings(server.base_url("sandbox"))
        page = await browser.get(f"{server.base_url('sandbox')}/")
        assert page.status_code == 200
        assert "text/html" in page.headers["content-type"]
        assert (await browser.get(server.base_url("alipay"))).status_code == 404
        head = await browser.head(f"{server.base_url('sandbox')}/nothing")
        assert (head.status_code, head.content) == (404, b"")


async def test_nonsense_is_hung_up_on_and_the_server_goes_on() -> None:
    simulator = sandbox_simulator()
    async with serving(simulator) as server, httpx2.AsyncClient(trust_env=False) as browser:
        simulator.settings(server.base_url("sandbox"))
        port = int(server.base_url("x").split(":")[2].split("/")[0])
        for nonsense in (
            b"\x16\x03\x01 hello\r\n\r\n",
            b"GET\r\n\r\n",
            b"POST /sandbox HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
            b"POST /sandbox HTTP/1.1\r\ncontent-length: 99999999999\r\n\r\n",
            b"POST /sandbox HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            b"A" * 200_000,
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(nonsense)
                writer.write_eof()
                async with asyncio.timeout(TIMEOUT):
                    assert await reader.read() == b""
            except ConnectionResetError:
                pass
            finally:
                writer.close()
        assert (await browser.get(f"{server.base_url('sandbox')}/")).status_code == 200


async def test_a_black_hole_answers_nothing_until_the_caller_gives_up() -> None:
    from paycore_sandbox.simulator import Fault

    simulator = sandbox_simulator()
    async with serving(simulator) as server:
        carrier = HttpCarrier()
        channel = _channel(simulator.settings(server.base_url("sandbox")))
        simulator.faults.plan(Fault.EFFECT_THEN_SILENCE, "trades/query")
        request = next(channel.query(_ask()))
        with pytest.raises(Silence) as silence:
            await carrier.carry(request, seconds=0.3)
        assert silence.value.was_sent
        reply = await carrier.carry(request, seconds=TIMEOUT)
        assert reply.status == 404, "the next one is answered"
        await carrier.aclose()


class Face:
    """An HTTP face in front of an engine, as small as can be."""

    def __init__(self) -> None:
        self.engine: Engine | None = None
        self.replies: list[NoticeReply] = []

    async def visit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
        body = await reader.readexactly(int(headers["content-length"]))
        path = first.split(" ")[1]
        assert self.engine is not None
        reply = await self.engine.deliver_notice(path.rpartition("/")[2], RawNotice("POST", path, headers, body))
        self.replies.append(reply)
        writer.write(f"HTTP/1.1 {reply.status} X\r\ncontent-length: {len(reply.body)}\r\n\r\n".encode() + reply.body)
        await writer.drain()
        writer.close()


async def test_a_payment_over_http_from_its_code_to_its_notice(store: Store) -> None:
    """The engine with its real clock and wire, the channel's own HTTP server, and a notice that comes by itself."""
    simulator, clock, face, carrier = sandbox_simulator(), SystemClock(), Face(), HttpCarrier()
    door = await asyncio.start_server(face.visit, "127.0.0.1", 0)
    base_url = f"http://127.0.0.1:{door.sockets[0].getsockname()[1]}"
    world = World(store, Host.load(required=["sandbox"]), carrier, clock, base_url)  # type: ignore[arg-type]
    face.engine = world.engine
    async with serving(simulator) as server:
        await world.engine.start()
        await world.account("sandbox", simulator.settings(server.base_url("sandbox")))
        order = await world.order()
        payment = await world.paid(order, "sandbox")
        assert payment.plan_json
        simulator.pay(payment.payment_id, clock.now())
        server.look()
        async with asyncio.timeout(TIMEOUT):
            while (await world.stands(order)).state is not OrderState.PAID:
                await asyncio.sleep(0.02)
        await until(lambda: simulator.undelivered == 0)
        assert {reply.status for reply in face.replies} == {200}
        await world.engine.stop()
    await carrier.aclose()
    door.close()


def _channel(settings: Mapping[str, str]) -> Any:
    version = KeyVersion(1, KeyState.ACTIVE, dict(settings) | {"private_key": Secret(settings["private_key"])})
    kind = Host.load(required=["sandbox"]).kinds["sandbox"]
    return kind.open(AccountKeys("ac1", Environment.SANDBOX, (version,), version))


def _ask() -> PaymentAsk:
    now = SystemClock().now()
    return PaymentAsk(
        payment_id="py1",
        order_id="or1",
        method="qr",
        target="",
        amount_minor=1,
        currency="CNY",
        subject="x",
        created_at=now,
        expires_at=now + 60_000_000,
        now=now,
        nonce="0" * 32,
        notify_url="http://127.0.0.1:1/",
    )
