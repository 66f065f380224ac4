"""The channel's postman: brings its notices, sometimes twice at once, sometimes slowly, sometimes not at all."""

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from paycore.channel import NoticeReply, OutgoingNotice
from paycore.testing.simulation.calling import Broken, Caller, Refusal
from paycore.testing.simulation.options import Roads
from paycore.testing.simulation.timing import SECOND, true_now
from paycore.v1 import notice_pb2

if TYPE_CHECKING:
    from paycore.testing.simulation.world import World

PATIENCE_SECONDS = 20.0


class Post:
    """Delivers what the channel has to say."""

    def __init__(self, world: "World", edge: Caller) -> None:
        self._world = world
        self._edge = edge
        self.under_way = 0

    async def work(self) -> None:
        """Deliver for ever."""
        channel, counterpart = self._world.channel, self._world.counterpart
        while True:
            channel.happened.clear()
            for notice in counterpart.due(true_now()):
                self._send_out(notice)
            due_at = counterpart.next_due()
            seconds = None if due_at is None else max(due_at - true_now(), 1000) / SECOND
            try:
                async with asyncio.timeout(seconds):
                    await channel.happened.wait()
            except TimeoutError:
                continue

    def _send_out(self, notice: OutgoingNotice) -> None:
        world, options = self._world, self._world.options
        is_lost = options.roads is Roads.QUERIES or world.weather.strikes("notice: lost", options.notice_loss)
        if is_lost:
            world.counterpart.answered(notice, None, true_now())
            return
        for _ in range(2 if world.weather.strikes("notice: twice", options.notice_twice) else 1):
            world.begin(self._deliver(notice))
        forged = world.counterpart.forgery(notice)
        if forged is not None:
            world.begin(self._smuggle(forged))

    async def _deliver(self, notice: OutgoingNotice) -> None:
        """One delivery. The channel hears of the answer unless that is lost on its way back."""
        world = self._world
        self.under_way += 1
        try:
            await asyncio.sleep(world.weather.about(world.options.channel_seconds) + world.counterpart.lateness())
            reply = await self._answer(notice)
            if reply is not None and world.weather.strikes("notice: acknowledgement lost", world.options.caller_faults):
                reply = None
            world.counterpart.answered(notice, reply, true_now())
            world.channel.happened.set()
        finally:
            self.under_way -= 1

    async def _smuggle(self, forged: OutgoingNotice) -> None:
        """Somebody sends a forgery along. Whatever the answer is, it is not that of a notice that was taken."""
        self.under_way += 1
        try:
            await asyncio.sleep(self._world.weather.about(self._world.options.channel_seconds))
            await self._answer(forged)
        finally:
            self.under_way -= 1

    async def _answer(self, notice: OutgoingNotice) -> NoticeReply | None:
        try:
            answer = await self._edge.call("DeliverNotice", as_request(notice), seconds=PATIENCE_SECONDS)
        except (Broken, Refusal):
            return None
        headers = {header.name: header.value for header in answer.headers}
        return NoticeReply(answer.http_status, headers, answer.body)


def as_request(notice: OutgoingNotice) -> notice_pb2.DeliverNoticeRequest:
    """The notice as an edge forwards it."""
    path = urlsplit(notice.request.url).path
    return notice_pb2.DeliverNoticeRequest(
        account_id=path.rpartition("/")[2],
        http_method=notice.request.method,
        path=path,
        headers=[notice_pb2.NoticeHeader(name=name, value=value) for name, value in notice.request.headers.items()],
        body=notice.request.body,
    )
