"""Watchers that trust nobody: they read the raw streams of either server, resume behind what they saw, and note every oddity."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing

import grpc
import grpc.aio

from paycore.client import AsyncClient
from paycore.client.connect import OPTIONS
from paycore.v1 import common_pb2, order_pb2, order_pb2_grpc, payment_pb2, refund_pb2
from tests.chaos.asking import text_of, word
from tests.chaos.checks import FeedEntry, Watched

HEARTBEAT_SECONDS = 5
SILENCE_SECONDS = 12.5
AGAIN_SECONDS = (0.05, 0.7)


class Gates:
    """Connections to the servers for reading streams, and the key to show."""

    def __init__(self, targets: Sequence[str], key: str, rng: random.Random) -> None:
        channels = [grpc.aio.insecure_channel(target, options=OPTIONS) for target in targets]
        self._channels = channels
        self._stubs = [order_pb2_grpc.OrderServiceStub(channel) for channel in channels]
        self._metadata = (("authorization", f"Bearer {key}"),)
        self.rng = rng
        self.figures: Counter[str] = Counter()

    def watch(
        self, request: order_pb2.WatchOrderRequest
    ) -> grpc.aio.UnaryStreamCall[order_pb2.WatchOrderRequest, order_pb2.WatchOrderResponse]:
        """Open a stream at either server."""
        self.figures["streams opened"] += 1
        return self.rng.choice(self._stubs).WatchOrder(request, metadata=self._metadata)

    async def close(self) -> None:
        for channel in self._channels:
            await channel.close()


class Watcher:
    """Follows one order from its first version on, and knows how it stands."""

    def __init__(self, gates: Gates, order_id: str) -> None:
        self.order_id = order_id
        self.oddities: list[str] = []
        self.order_state = ""
        self.payments: dict[str, str] = {}
        self.refunds: dict[str, str] = {}
        self.seen: list[tuple[int, str]] = []
        self._gates = gates
        self._moved = asyncio.Condition()

    @property
    def version(self) -> int:
        """The last version that it saw."""
        return self.seen[-1][0] if self.seen else 0

    def report(self) -> Watched:
        return Watched(self.order_id, tuple(self.seen))

    async def until_paid_or_closed(self) -> str:
        """Wait until the order has come to an end, and say which."""
        async with self._moved:
            await self._moved.wait_for(lambda: self.order_state in ("PAID", "CLOSED"))
        return self.order_state

    async def until_refunded(self, refund_ids: Sequence[str]) -> None:
        """Wait until these refunds have gone through."""
        async with self._moved:
            await self._moved.wait_for(lambda: all(self.refunds.get(one) == "SUCCEEDED" for one in refund_ids))

    async def until_version(self, version: int) -> None:
        """Wait until it has seen so much."""
        async with self._moved:
            await self._moved.wait_for(lambda: self.version >= version)

    async def follow(self) -> None:
        """Follow until cancelled, over every broken connection and dead server."""
        while True:
            await self._read_one_stream()
            await asyncio.sleep(self._gates.rng.uniform(*AGAIN_SECONDS))

    async def _read_one_stream(self) -> None:
        request = order_pb2.WatchOrderRequest(
            order_id=self.order_id,
            resume_after=self.version,
            heartbeat_seconds=HEARTBEAT_SECONDS,
            end_policy=common_pb2.END_POLICY_NEVER,
        )
        call = self._gates.watch(request)
        try:
            while True:
                async with asyncio.timeout(SILENCE_SECONDS):
                    message = await call.read()
                if not isinstance(message, order_pb2.WatchOrderResponse):
                    return  # the end
                await self._take(message)
        except TimeoutError:
            self._gates.figures["streams gone silent"] += 1
        except grpc.aio.AioRpcError as error:
            self._gates.figures[f"streams broken: {error.code().name}"] += 1
            if error.code() in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.OUT_OF_RANGE):
                self.oddities.append(f"the stream of {self.order_id} after {self.version} said {error.details()}")
        finally:
            call.cancel()

    async def _take(self, message: order_pb2.WatchOrderResponse) -> None:
        """Believe an event only if it is the very next one."""
        kind = message.WhichOneof("message")
        if kind == "event":
            event = message.event
            if not message.version == event.version == self.version + 1 or event.order_id != self.order_id:
                self.oddities.append(f"{self.order_id}: {event.version} came after {self.version}")
            self.seen.append((event.version, text_of(event)))
            async with self._moved:
                self._learn(event)
                self._moved.notify_all()
        elif kind in ("heartbeat", "end"):
            if message.version != self.version:
                self.oddities.append(f"{self.order_id}: a {kind} at {message.version} came after {self.version}")
        else:
            self.oddities.append(f"{self.order_id}: a {kind} came where only events were asked for")

    def _learn(self, event: order_pb2.OrderEvent) -> None:
        changed = event.WhichOneof("changed")
        if changed == "order":
            self.order_state = word(order_pb2.Order.State, event.order.state)
        elif changed == "payment":
            self.payments[event.payment.payment_id] = word(payment_pb2.Payment.State, event.payment.state)
        elif changed == "refund":
            self.refunds[event.refund.refund_id] = word(refund_pb2.Refund.State, event.refund.state)


class FeedReader:
    """Reads the app's feed by the client, from the first event of all, and keeps its place."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self.entries: list[FeedEntry] = []

    async def follow(self) -> None:
        """Read until cancelled."""
        stream = self._client.watch_orders(resume_after=0, heartbeat_seconds=HEARTBEAT_SECONDS)
        async with aclosing(stream):
            async for message in stream:
                self.entries.append(FeedEntry(message.cursor, message.event.order_id, message.event.version))
