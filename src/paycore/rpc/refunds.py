"""RefundService: gives money back and follows it to its end."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from paycore.core.order import Order
from paycore.core.refusals import Reason, Refused
from paycore.rpc.orders import list_range, order_id_of
from paycore.rpc.pages import Pages
from paycore.rpc.pipeline import Call
from paycore.rpc.translate import REFUND_STATES, asked, refund_draft, refund_message, words
from paycore.rpc.watch import RefundSource, Source, Watches, ends_when_final, resume_after
from paycore.v1 import refund_pb2


@dataclass(frozen=True, slots=True)
class RefundService:
    """The functions behind RefundService."""

    pages: Pages
    watches: Watches

    async def create_refund(
        self, call: Call, request: refund_pb2.CreateRefundRequest
    ) -> refund_pb2.CreateRefundResponse:
        order_id = await order_id_of(call, request)
        told = await call.engine.create_refund(
            call.app_id, order_id, refund_draft(request), asked(call, request), deadline_at=call.deadline_at
        )
        return refund_pb2.CreateRefundResponse(refund=_shown(told.order, told.subject_id))

    async def get_refund(self, call: Call, request: refund_pb2.GetRefundRequest) -> refund_pb2.GetRefundResponse:
        if request.WhichOneof("refund") == "refund_id":
            order, refund_id = await call.engine.get_refund(call.app_id, request.refund_id), request.refund_id
        else:
            order, refund_id = await call.engine.find_refund(call.app_id, request.merchant_refund_no)
        return refund_pb2.GetRefundResponse(refund=_shown(order, refund_id))

    async def list_refunds(self, call: Call, request: refund_pb2.ListRefundsRequest) -> refund_pb2.ListRefundsResponse:
        start, end, after = list_range(self.pages, call, request, is_bounded=not request.order_id)
        size = self.pages.size(request)
        found = await call.engine.list_refunds(
            call.app_id,
            order_id=request.order_id or None,
            states=words(REFUND_STATES, request.states),
            created_from=start,
            created_to=end,
            after_key=after,
            limit=size + 1,
        )
        shown = found[:size]
        response = refund_pb2.ListRefundsResponse(
            refunds=[refund_message(listed.order_id, listed.refund) for listed in shown]
        )
        if len(found) > size:
            last = shown[-1].refund
            mark = [start, end, last.created_at, last.refund_id]
            response.next_page_token = self.pages.token(call.app_id, request, mark)
        return response

    async def sync_refund(self, call: Call, request: refund_pb2.SyncRefundRequest) -> refund_pb2.SyncRefundResponse:
        told = await call.engine.sync_refund(call.app_id, request.refund_id, deadline_at=call.deadline_at)
        return refund_pb2.SyncRefundResponse(refund=_shown(told.order, request.refund_id))

    async def retry_refund(self, call: Call, request: refund_pb2.RetryRefundRequest) -> refund_pb2.RetryRefundResponse:
        told = await call.engine.retry_refund(
            call.app_id, request.refund_id, asked(call, request), deadline_at=call.deadline_at
        )
        return refund_pb2.RetryRefundResponse(refund=_shown(told.order, request.refund_id))

    def watch_refund(self, call: Call, request: refund_pb2.WatchRefundRequest) -> AsyncIterator[Any]:
        return self.watches.stream(
            call,
            self._opened(call, request),
            heartbeat_seconds=request.heartbeat_seconds,
            ends_when_final=ends_when_final(request),
        )

    @asynccontextmanager
    async def _opened(self, call: Call, request: refund_pb2.WatchRefundRequest) -> AsyncIterator[Source]:
        order = await call.engine.get_refund(call.app_id, request.refund_id)
        make = partial(RefundSource, refund_id=request.refund_id)
        async with self.watches.of_order(call, order.order_id, resume_after(request), make) as source:
            yield source


def _shown(order: Order, refund_id: str) -> refund_pb2.Refund:
    refund = order.refund(refund_id)
    if refund is None:
        raise Refused(Reason.REFUND_NOT_FOUND, "There is no such refund.")
    return refund_message(order.order_id, refund)
