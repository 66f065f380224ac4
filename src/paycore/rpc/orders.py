"""OrderService: makes orders, has them paid, closes them, and tells everything that happens to them."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from paycore.core.order import Order
from paycore.core.refusals import Reason, Refused
from paycore.rpc.pages import Pages
from paycore.rpc.pipeline import Call
from paycore.rpc.translate import (
    ANOMALY_KINDS,
    ANOMALY_STATES,
    ORDER_STATES,
    REMEDIES,
    anomaly_message,
    asked,
    choice,
    client_data,
    event_message,
    maybe_micros,
    order_draft,
    order_message,
    payment_message,
    timeline,
    word,
    words,
)
from paycore.rpc.watch import OrderSource, Watches, ends_when_final, resume_after
from paycore.v1 import order_pb2, payment_pb2

DAY = 24 * 3600 * 1_000_000
LONGEST_RANGE = 31 * DAY


@dataclass(frozen=True, slots=True)
class OrderService:
    """The functions behind OrderService."""

    pages: Pages
    watches: Watches

    async def create_order(self, call: Call, request: order_pb2.CreateOrderRequest) -> order_pb2.CreateOrderResponse:
        told = await call.engine.create_order(call.app_id, order_draft(request), asked(call, request))
        return order_pb2.CreateOrderResponse(order=order_message(told.order))

    async def get_order(self, call: Call, request: order_pb2.GetOrderRequest) -> order_pb2.GetOrderResponse:
        order_id = await order_id_of(call, request)
        order = await call.engine.get_order(call.app_id, order_id)
        return order_pb2.GetOrderResponse(order=order_message(order))

    async def list_orders(self, call: Call, request: order_pb2.ListOrdersRequest) -> order_pb2.ListOrdersResponse:
        start, end, after = list_range(self.pages, call, request)
        size = self.pages.size(request)
        orders = await call.engine.list_orders(
            call.app_id,
            states=words(ORDER_STATES, request.states),
            created_from=start,
            created_to=end,
            after_key=after,
            limit=size + 1,
        )
        shown = orders[:size]
        response = order_pb2.ListOrdersResponse(orders=[order_message(order, with_rows=False) for order in shown])
        if len(orders) > size:
            mark = [start, end, shown[-1].created_at, shown[-1].order_id]
            response.next_page_token = self.pages.token(call.app_id, request, mark)
        return response

    async def pay_order(self, call: Call, request: order_pb2.PayOrderRequest) -> order_pb2.PayOrderResponse:
        told = await call.engine.pay(
            call.app_id,
            request.order_id,
            choice(request, client_data(request.client), request.account_id),
            asked(call, request),
            etag=request.etag,
            deadline_at=call.deadline_at,
        )
        payment = told.order.payment(told.subject_id)
        response = order_pb2.PayOrderResponse(
            payment=payment_message(told.order, payment) if payment else None, order=order_message(told.order)
        )
        await seal_action(call, told.order, response.payment)
        return response

    async def sync_order(self, call: Call, request: order_pb2.SyncOrderRequest) -> order_pb2.SyncOrderResponse:
        told = await call.engine.sync_order(call.app_id, request.order_id, deadline_at=call.deadline_at)
        return order_pb2.SyncOrderResponse(order=order_message(told.order))

    async def close_order(self, call: Call, request: order_pb2.CloseOrderRequest) -> order_pb2.CloseOrderResponse:
        told = await call.engine.close_order(
            call.app_id,
            request.order_id,
            asked(call, request),
            etag=request.etag,
            deadline_at=call.deadline_at,
        )
        return order_pb2.CloseOrderResponse(order=order_message(told.order))

    async def list_order_events(
        self, call: Call, request: order_pb2.ListOrderEventsRequest
    ) -> order_pb2.ListOrderEventsResponse:
        order = await call.engine.get_order(call.app_id, request.order_id)
        mark = self.pages.mark(call.app_id, request)
        after = int(mark[0]) if mark else request.after_version
        size = self.pages.size(request)
        events = await call.engine.list_events(call.app_id, order.order_id, after=after, limit=size + 1)
        shown = events[:size]
        response = order_pb2.ListOrderEventsResponse(events=[event_message(event) for event in shown])
        if len(events) > size:
            response.next_page_token = self.pages.token(call.app_id, request, [shown[-1].version])
        return response

    async def explain_order(self, call: Call, request: order_pb2.ExplainOrderRequest) -> order_pb2.ExplainOrderResponse:
        story = await call.engine.explain(call.app_id, request.order_id)
        return order_pb2.ExplainOrderResponse(
            order=order_message(story.order), entries=timeline(story.lines), next_steps=story.next_steps
        )

    def watch_order(self, call: Call, request: order_pb2.WatchOrderRequest) -> AsyncIterator[Any]:
        opening = self.watches.of_order(call, request.order_id, resume_after(request), OrderSource)
        return self.watches.stream(
            call, opening, heartbeat_seconds=request.heartbeat_seconds, ends_when_final=ends_when_final(request)
        )

    def watch_orders(self, call: Call, request: order_pb2.WatchOrdersRequest) -> AsyncIterator[Any]:
        opening = self.watches.of_feed(call, resume_after(request))
        return self.watches.stream(call, opening, heartbeat_seconds=request.heartbeat_seconds, ends_when_final=False)

    async def list_anomalies(
        self, call: Call, request: order_pb2.ListAnomaliesRequest
    ) -> order_pb2.ListAnomaliesResponse:
        mark, size = self.pages.mark(call.app_id, request), self.pages.size(request)
        state = word(ANOMALY_STATES, request.state)
        found = await call.engine.list_anomalies(
            call.app_id,
            order_id=request.order_id or None,
            states=(state,) if state else (),
            kinds=words(ANOMALY_KINDS, request.kinds),
            after_key=(int(mark[0]), str(mark[1])) if mark else None,
            limit=size + 1,
        )
        shown = found[:size]
        response = order_pb2.ListAnomaliesResponse(
            anomalies=[anomaly_message(listed.order_id or "", listed.anomaly) for listed in shown]
        )
        if len(found) > size:
            last = shown[-1].anomaly
            response.next_page_token = self.pages.token(call.app_id, request, [last.opened_at, last.anomaly_id])
        return response

    async def resolve_anomaly(
        self, call: Call, request: order_pb2.ResolveAnomalyRequest
    ) -> order_pb2.ResolveAnomalyResponse:
        remedy = word(REMEDIES, request.remedy)
        assert remedy is not None  # the proto's rules refuse the unspecified one
        done = await call.engine.resolve_anomaly(
            call.app_id,
            request.anomaly_id,
            remedy,
            request.note,
            asked(call, request),
            payment_id=request.payment_id,
        )
        return order_pb2.ResolveAnomalyResponse(
            anomaly=anomaly_message(done.order.order_id if done.order else "", done.anomaly),
            order=order_message(done.order) if done.order else None,
        )


async def seal_action(call: Call, order: Order, shown: payment_pb2.Payment) -> None:
    """Put the sealed plan into an answer that a device is about to act upon. Streams carry none: it is good once, for minutes."""
    if shown.is_action_ready:
        shown.action.envelope = await call.engine.seal(order, shown.payment_id)


async def order_id_of(call: Call, request: Any) -> str:
    """Our id of the order that a request names by our id or by the caller's number. Raises ORDER_NOT_FOUND."""
    if request.WhichOneof("order") == "order_id":
        return str(request.order_id)
    found = await call.engine.find_order(call.app_id, request.merchant_order_no)
    return found.order_id


def list_range(
    pages: Pages, call: Call, request: Any, *, is_bounded: bool = True
) -> tuple[int, int, tuple[int, str] | None]:
    """From when to when a list looks, and behind which row it goes on. Raises BAD_RANGE.

    What was left out is settled by the first page and stays as it was for the pages after it. A list that something
    else bounds looks back to the beginning unless it is told otherwise.
    """
    mark = pages.mark(call.app_id, request)
    if mark is not None:
        start, end, at, row_id = mark
        return int(start), int(end), (int(at), str(row_id))
    start, end = maybe_micros(request, "start_time"), maybe_micros(request, "end_time")
    if end is None:
        now = call.now() + 1  # what was made this very microsecond is seen
        end = now if start is None else max(min(now, start + LONGEST_RANGE), start + 1)
    if start is None:
        start = max(end - LONGEST_RANGE, 0) if is_bounded else 0
    elif not start < end <= start + LONGEST_RANGE:
        raise Refused(
            Reason.BAD_RANGE,
            "start_time must lie before end_time and at most 31 days before it.",
            fields=("start_time", "end_time"),
        )
    return start, end, None
