"""The load: closed loops, a paced stream of calls, whole lives of orders, and crowds of watchers."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from time import perf_counter

from bench.sandbox import Wallet
from bench.wire import CallFailed, Ended, Line
from paycore.v1 import order_pb2

ORDERS = "/paycore.v1.OrderService"
NOTICES = "/paycore.v1.NoticeService"
RUN = secrets.token_hex(4)
"""What makes the numbers of this run different from those of another on the same database."""
_numbers = itertools.count(1)


@dataclass
class Figures:
    """What a load showed. A call that failed makes the whole load worthless: there is no figure then."""

    seconds: float
    latencies: list[float] = field(repr=False)

    @property
    def per_second(self) -> float:
        return len(self.latencies) / self.seconds

    def at(self, part: float) -> float:
        """The latency in seconds that this part of the calls did not exceed."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


# ---------------------------------------------------------------------------------------------- messages


STAMP = "0" * 18
"""Stands in a request where a number belongs that nobody used before."""


def new_order() -> bytes:
    """A CreateOrder request, with numbers that nobody used before."""
    return same_order().replace(STAMP.encode(), f"{RUN}{next(_numbers):010d}".encode())


@cache
def same_order() -> bytes:
    """A CreateOrder request with the stamp for its numbers."""
    number = STAMP
    request = order_pb2.CreateOrderRequest(
        merchant_order_no=f"B-{number}", subject="Jasmine tea, two tins", request_id=f"bench-{number}"
    )
    request.amount.currency_code, request.amount.amount_minor = "CNY", 12_800
    request.metadata["shelf"] = "A-17"
    return request.SerializeToString()


def new_payment(order_id: str) -> bytes:
    request = order_pb2.PayOrderRequest(
        order_id=order_id, channel="sandbox", method="app", request_id=f"bench-{RUN}-{next(_numbers):010d}"
    )
    request.client.face = request.client.os = "android"
    return request.SerializeToString()


def watch(order_id: str) -> bytes:
    return order_pb2.WatchOrderRequest(order_id=order_id, heartbeat_seconds=60).SerializeToString()


async def create(line: Line) -> str:
    """Create an order and return its id."""
    answer = await line.ask(f"{ORDERS}/CreateOrder", new_order())
    return order_pb2.CreateOrderResponse.FromString(answer).order.order_id


# ---------------------------------------------------------------------------------------------- loops


async def closed_loop(line: Line, path: str, body: Callable[[], bytes], *, seconds: float, at_once: int) -> Figures:
    """Ask as fast as answers come, so many calls at once, for so long."""
    latencies: list[float] = []
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    began = perf_counter()
    ends, under_way = began + seconds, 0

    def go() -> None:
        nonlocal under_way
        under_way += 1
        sent = perf_counter()

        def ended(how: Ended) -> None:
            nonlocal under_way
            under_way -= 1
            now = perf_counter()
            latencies.append(now - sent)
            if not how.is_ok:
                fail(done, path, how)
            elif now < ends:
                go()
            elif not under_way and not done.done():
                done.set_result(None)

        line.send(path, body(), ended)

    for _ in range(at_once):
        go()
    async with asyncio.timeout(seconds + 20):
        await done
    return Figures(perf_counter() - began, latencies)


async def paced(line: Line, path: str, body: Callable[[], bytes], *, per_second: float, seconds: float) -> Figures:
    """Ask at a steady rate whatever the answers do. A late send counts against the server: latency begins when it was due."""
    latencies: list[float] = []
    calls = int(per_second * seconds)
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    began = perf_counter()

    def go(due: float) -> None:
        def ended(how: Ended) -> None:
            latencies.append(perf_counter() - due)
            if not how.is_ok:
                fail(done, path, how)
            elif len(latencies) == calls and not done.done():
                done.set_result(None)

        line.send(path, body(), ended)

    for turn in range(calls):
        due = began + turn / per_second
        await asyncio.sleep(max(0.0, due - perf_counter()))
        go(due)
    async with asyncio.timeout(20):
        await done
    return Figures(perf_counter() - began, latencies)


def fail(done: asyncio.Future[None], path: str, how: Ended) -> None:
    if not done.done():
        done.set_exception(CallFailed(f"{path} ended with {how}"))


# ---------------------------------------------------------------------------------------------- lives


async def lives(
    line: Line, wallet: Wallet, account_id: str, *, seconds: float, at_once: int, notice_line: Line | None = None
) -> Figures:
    """Whole lives of orders: create, watch, pay, the channel's notice, PAID on the stream. So many at once, for so long."""
    latencies: list[float] = []
    began = perf_counter()

    async def one_after_another() -> None:
        while perf_counter() < began + seconds:
            born = perf_counter()
            await live(line, wallet, account_id, notice_line or line)
            latencies.append(perf_counter() - born)

    async with asyncio.timeout(seconds + 30), asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(one_after_another())
    return Figures(perf_counter() - began, latencies)


async def live(line: Line, wallet: Wallet, account_id: str, notice_line: Line) -> None:
    """One life. Raises CallFailed when a step fails, TimeoutError when PAID does not come."""
    order_id = await create(line)
    paid = Watcher(line, order_id)
    asked = await line.ask(f"{ORDERS}/PayOrder", new_payment(order_id))
    payment = order_pb2.PayOrderResponse.FromString(asked).payment
    await notice_line.ask(f"{NOTICES}/DeliverNotice", wallet.pay(payment, account_id))
    async with asyncio.timeout(10):
        await paid.is_paid
    paid.leave()


class Watcher:
    """One WatchOrder stream: when its first message came, and when it said that the order is paid."""

    def __init__(self, line: Line, order_id: str) -> None:
        loop = asyncio.get_running_loop()
        self.first: asyncio.Future[float] = loop.create_future()
        self.news: asyncio.Future[float] = loop.create_future()
        self.is_paid: asyncio.Future[float] = loop.create_future()
        self.order_id = order_id
        self._cancel = line.send(f"{ORDERS}/WatchOrder", watch(order_id), self._ended, self._hear)

    def leave(self) -> None:
        self._cancel()

    def _hear(self, body: bytes) -> None:
        now = perf_counter()
        if not self.first.done():
            self.first.set_result(now)
        elif not self.news.done():
            self.news.set_result(now)
        if self.is_paid.done():
            return
        message = order_pb2.WatchOrderResponse.FromString(body)
        if order_pb2.Order.STATE_PAID in (message.event.order.state, message.snapshot.state):
            self.is_paid.set_result(now)

    def _ended(self, how: Ended) -> None:
        for future in (self.first, self.news, self.is_paid):
            if not future.done():
                future.set_exception(CallFailed(f"WatchOrder ended with {how}"))
                future.exception()  # whoever waits for it is told; nobody else has to


async def crowd(lines: Sequence[Line], orders: Sequence[str], count: int) -> tuple[list[Watcher], float]:
    """Open so many streams at the same instant; returns them, and after how many seconds the last one had its snapshot."""
    began = perf_counter()
    pairs = zip(itertools.cycle(lines), itertools.cycle(orders), range(count), strict=False)
    watchers = [Watcher(line, order) for line, order, _ in pairs]
    async with asyncio.timeout(60):
        firsts = await asyncio.gather(*(watcher.first for watcher in watchers))
    return watchers, max(firsts) - began
