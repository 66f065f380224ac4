"""A share of the spoilt input goes over real sockets, where gRPC and the HTTP server read it first."""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence

import grpc
import pytest
from grpc_health.v1 import health_pb2

from paycore.channel import OutgoingNotice
from paycore.testing.mutate import Mutator
from tests.fuzz.calls import Calls, Input
from tests.fuzz.corpus import grow
from tests.fuzz.house import SHOP_KEY, listening, open_house
from tests.fuzz.loopback import exchange, refused, serve_grpc, serve_http
from tests.fuzz.notices import STATUSES
from tests.fuzz.oracle import Watchman, expect
from tests.rpc.shop import an_order
from tests.rpc.small import bearer

CALLS, PAGES, LETTERS, GARBAGE = 500, 200, 600, 60
AT_ONCE = 20
PRINTABLE = re.compile(r"[!-~]([ -~]*[!-~])?", re.ASCII)
BAD_HTTP = STATUSES | {414, 501}


@pytest.mark.parametrize("seed", range(1000, 1003))
async def test_spoilt_calls_over_grpc(seed: int) -> None:
    async with open_house() as house, serve_grpc(house) as road:
        with listening() as ears:
            watchman = Watchman(house, ears)
            calls = Calls(await grow(house, random.Random(seed)), watchman, seed, road.send)
            for _ in range(CALLS):
                given = _sendable(calls)
                try:
                    with watchman:
                        await calls.judge(given)
                except AssertionError as wrong:
                    wrong.add_note(f"seed {seed}: {given}")
                    raise
            assert house.violations() == []


def _sendable(calls: Calls) -> Input:
    """A call whose headers a gRPC client agrees to send, and that arrive as they are."""
    while True:
        given = calls.draw()
        if all(PRINTABLE.fullmatch(one) for one in given.authorization):
            return given


async def test_spoilt_calls_of_the_standard_services() -> None:
    """Health and reflection read bytes too; they have the same guard."""
    mutator = Mutator("standard")
    asked = health_pb2.HealthCheckRequest(service="paycore.v1.OrderService").SerializeToString()
    async with open_house() as house, serve_grpc(house) as road:
        with listening() as ears:
            for _ in range(PAGES):
                try:
                    await road.channel.unary_unary("/grpc.health.v1.Health/Check")(
                        mutator.spoil_message(asked), timeout=10
                    )
                except grpc.aio.AioRpcError as error:
                    if error.code() is not grpc.StatusCode.NOT_FOUND:  # its word for a service that it does not know
                        refused(error)
                assert not ears.heard


async def test_spoilt_requests_over_http() -> None:
    """Whole requests as bytes: start line, headers, lengths and bodies, several at once."""
    async with open_house() as house, serve_http(house) as port:
        with listening() as ears:
            watchman, mutator, dice = Watchman(house, ears), Mutator("http"), random.Random("http")
            corpus = await grow(house, dice)
            whole = [_whole(notice) for notice in corpus.notices]
            drawn = [mutator.spoil(dice.choice(whole), whole) for _ in range(LETTERS)]
            forged = [raw for raw in drawn if not _may_be_genuine(corpus.notices, raw)]
            assert len(forged) > LETTERS / 2
            answers: Counter[int | None] = Counter()
            for batch in batched(forged, AT_ONCE):
                with watchman:
                    statuses = await _statuses(port, batch)
                    expect(200 not in statuses, f"one was believed of {batch!r}")
                    watchman.nothing_happened(f"one of {batch!r}")
                answers.update(statuses)
            assert answers[None] < len(forged) / 2, answers  # cut short: the server waits for the rest, then hangs up
            for batch in batched([raw for raw in drawn if raw not in forged], AT_ONCE):
                await _statuses(port, batch)
            assert _status(await exchange(port, whole[0])) == 200
            assert not ears.heard
            assert house.violations() == []


async def _statuses(port: int, batch: Sequence[bytes]) -> list[int | None]:
    """How these requests are answered; None where the server only hangs up."""
    answers = await asyncio.gather(*(exchange(port, raw) for raw in batch))
    found = [_status(answer) for answer in answers]
    for status, raw, answer in zip(found, batch, answers, strict=True):
        expect(status is None or status in BAD_HTTP, f"{raw!r} was answered with {answer!r}")
    return found


def batched(whole: Sequence[bytes], size: int) -> Iterator[Sequence[bytes]]:
    return (whole[place : place + size] for place in range(0, len(whole), size))


def _whole(notice: OutgoingNotice) -> bytes:
    """A notice as the bytes of a request."""
    path = "/v1/notices/" + notice.request.url.rpartition("/")[2]
    fields = {
        "host": "pay.example",
        "connection": "close",
        **notice.request.headers,
        "content-length": str(len(notice.request.body)),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + notice.request.body


def _status(answer: bytes) -> int | None:
    found = re.match(rb"HTTP/1\.1 (\d{3}) ", answer)
    return int(found[1]) if found else None


def _may_be_genuine(notices: list[OutgoingNotice], raw: bytes) -> bool:
    """Whether every byte that the channel signed is still somewhere in there. If not, it cannot be believed."""
    return any(
        notice.request.body in raw
        and all(value.encode() in raw for name, value in notice.request.headers.items() if name.startswith("sandbox-"))
        for notice in notices
    )


async def test_bytes_that_are_no_http2_harm_nobody() -> None:
    mutator, opening = Mutator("http2"), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5)
    async with open_house() as house, serve_grpc(house) as road:
        with listening() as ears:
            for _ in range(GARBAGE):
                await exchange(road.port, mutator.spoil(opening) + mutator.spoil(opening))
            assert not ears.heard
        stub = road.channel.unary_unary("/paycore.v1.OrderService/CreateOrder")
        assert await stub(an_order().SerializeToString(), metadata=bearer(SHOP_KEY), timeout=10)
