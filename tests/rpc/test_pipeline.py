"""The pipeline itself: what may be served at all, what is counted, and how streams end."""

from __future__ import annotations

import asyncio
import importlib
import pkgutil
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import ServiceDescriptor

import paycore.v1
from paycore.rpc.grpc_face import address_of
from paycore.rpc.pipeline import methods_of
from paycore.rpc.policy import POLICIES
from paycore.v1 import common_pb2, order_pb2
from paycore.web.figures import Figures
from tests.rpc.small import DESCRIPTORS, House, Services, refusal, small_house
from tests.rpc.test_bad_input_common import CREATE, GET, WATCH, ask, first, request_of, until

WATCHING = order_pb2.WatchOrderResponse(version=1, heartbeat=common_pb2.Heartbeat())


def declared_services() -> list[ServiceDescriptor]:
    """Every service that any proto of ours declares."""
    names = [module.name for module in pkgutil.iter_modules(paycore.v1.__path__) if module.name.endswith("_pb2")]
    files = [importlib.import_module(f"paycore.v1.{name}").DESCRIPTOR for name in names]
    return [service for file in files for service in file.services_by_name.values()]


def test_every_rpc_of_every_service_has_a_policy_and_no_policy_is_for_nothing() -> None:
    declared = {rpc.full_name for service in declared_services() for rpc in service.methods}
    assert declared == set(POLICIES)


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_an_rpc_without_a_policy_keeps_the_server_from_starting(name: str) -> None:
    fewer = {each: policy for each, policy in POLICIES.items() if each != name}
    with pytest.raises(LookupError, match=f"{name} has no policy"):
        methods_of(DESCRIPTORS, Services().all(), fewer)


def test_an_rpc_without_a_function_keeps_the_server_from_starting() -> None:
    services = Services().all()
    services["paycore.v1.RefundService"] = SimpleNamespace()
    with pytest.raises(LookupError, match="has no function create_refund"):
        methods_of(DESCRIPTORS, services)
    del services["paycore.v1.RefundService"]
    with pytest.raises(LookupError, match="has no function"):
        methods_of(DESCRIPTORS, services)


async def test_two_thousand_streams_opened_at_once_all_begin() -> None:
    async with small_house() as house:
        hold = asyncio.Event()

        async def held(_call: Any, _request: Any) -> AsyncIterator[Any]:
            yield WATCHING
            await hold.wait()

        house.services.put("WatchOrder", held)
        body = request_of(WATCH).SerializeToString()
        streams = [house.stream(WATCH, body) for _ in range(2000)]
        messages = await asyncio.wait_for(asyncio.gather(*(first(stream) for stream in streams)), 50)
        assert len(messages) == 2000
        assert house.pipeline.limits.streams == 2000
        assert await house.raw(GET, request_of(GET).SerializeToString()) == b""
        hold.set()
        ends = await asyncio.wait_for(asyncio.gather(*(stream.read() for stream in streams)), 50)
        assert all(end is grpc.aio.EOF for end in ends)
        await until(lambda: house.pipeline.limits.streams == 0)


async def test_67_a_stream_that_nobody_reads_is_ended_and_may_be_resumed() -> None:
    async with small_house(slow_seconds=0.3) as house:
        closed = asyncio.Event()

        async def endless(_call: Any, _request: Any) -> AsyncIterator[Any]:
            message = order_pb2.WatchOrderResponse(version=1)
            message.snapshot.description = "x" * 50_000
            try:
                while True:
                    yield message
            finally:
                closed.set()

        house.services.put("WatchOrder", endless)
        stream = house.stream(WATCH, request_of(WATCH).SerializeToString())
        await first(stream)
        await asyncio.wait_for(closed.wait(), 20)
        await until(lambda: house.pipeline.limits.streams == 0)

        async def drained() -> None:
            while await stream.read() is not grpc.aio.EOF:
                pass

        said = await refusal(drained())
        assert (said.code, said.reason) == ("RESOURCE_EXHAUSTED", "SLOW_CONSUMER")
        assert said.retry_seconds is not None


async def test_a_client_that_leaves_closes_its_stream() -> None:
    async with small_house() as house:
        closed = asyncio.Event()

        async def held(call: Any, _request: Any) -> AsyncIterator[Any]:
            with call.watching("o1"):
                try:
                    yield WATCHING
                    await asyncio.Event().wait()
                finally:
                    closed.set()

        house.services.put("WatchOrder", held)
        stream = house.stream(WATCH, request_of(WATCH).SerializeToString())
        await first(stream)
        stream.cancel()
        await asyncio.wait_for(closed.wait(), 5)
        await until(lambda: not house.pipeline.limits._streams)


async def test_a_stream_may_ask_whether_its_credentials_still_hold() -> None:
    async with small_house() as house:
        answers: asyncio.Queue[bool] = asyncio.Queue()
        go = asyncio.Event()

        async def asks(call: Any, _request: Any) -> AsyncIterator[Any]:
            answers.put_nowait(await call.credentials_hold())
            yield WATCHING
            await go.wait()
            answers.put_nowait(await call.credentials_hold())

        house.services.put("WatchOrder", asks)
        stream = house.stream(WATCH, request_of(WATCH).SerializeToString())
        await first(stream)
        house.people.known.clear()
        go.set()
        assert await stream.read() is grpc.aio.EOF
        assert [answers.get_nowait(), answers.get_nowait()] == [True, False]


def metric(page: bytes, name: str, **labels: str) -> float:
    for line in page.decode().splitlines():
        if line.startswith(name) and all(f'{key}="{value}"' in line for key, value in labels.items()):
            return float(line.rpartition(" ")[2])
    return 0.0


async def counted(house: House, page: Any, **expected: float) -> None:
    """Wait until the calls of these codes were counted: an answer is sent a little before it is counted."""
    await until(
        lambda: all(metric(page()[1], "grpc_server_handled_total", grpc_code=code) == n for code, n in expected.items())
    )


async def test_every_call_is_counted_by_its_code() -> None:
    async with small_house() as house:
        page = Figures(
            house.methods, house.pipeline.limits, lambda: {"paycore_tasks_at_work": 7, "paycore_facts_total": 3}
        ).page
        await house.raw(GET, request_of(GET).SerializeToString())
        await house.raw(GET, request_of(GET).SerializeToString())
        await ask(house, CREATE, b"\xff")
        await ask(house, CREATE, b"", ())
        assert [message async for message in house.stream(WATCH, request_of(WATCH).SerializeToString())]
        await counted(house, page, INVALID_ARGUMENT=1, UNAUTHENTICATED=1)
        content_type, text = page()
        assert content_type.startswith("text/plain")
        assert metric(text, "grpc_server_handled_total", grpc_method="GetOrder", grpc_code="OK") == 2
        assert metric(text, "grpc_server_handling_seconds_count", grpc_method="GetOrder") == 2
        assert metric(text, "grpc_server_handling_seconds_bucket", grpc_method="GetOrder", le="+Inf") == 2
        assert metric(text, "grpc_server_msg_sent_total", grpc_method="WatchOrder") == 1
        assert metric(text, "paycore_tasks_at_work") == 7
        assert metric(text, "paycore_facts_total") == 3
        assert metric(text, "paycore_streams_open") == 0


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:192.0.2.1:5000", "192.0.2.1"),
        ("ipv6:%5B2001:db8::1%5D:5000", "2001:db8::1"),
        ("ipv6:[::1]:5000", "::1"),
        ("unix:", ""),
        ("unix:/run/paycore.sock", ""),
        ("", ""),
    ],
)
def test_the_address_of_a_peer(peer: str, address: str) -> None:
    assert address_of(peer) == address
