"""A real server on loopback that says what a test tells it to say, and remembers what it was asked."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import grpc.aio
from google.protobuf.any_pb2 import Any as Packed
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from paycore.v1 import (
    cashier_pb2,
    cashier_pb2_grpc,
    common_pb2,
    order_pb2,
    order_pb2_grpc,
    refund_pb2,
    refund_pb2_grpc,
)

KEY = "pk_test_0123456789"


class Refusal:
    """An error as the server sends it."""

    def __init__(self, code: grpc.StatusCode, reason: str = "", *, retry_after_seconds: float | None = None) -> None:
        self.code = code
        self.reason = reason
        self.retry_after_seconds = retry_after_seconds

    async def send(self, context: Any) -> None:
        trailing = rpc_status.to_status(self.status()).trailing_metadata if self.reason else ()
        await context.abort(self.code, "refused", trailing)

    def status(self) -> status_pb2.Status:
        status = status_pb2.Status(code=self.code.value[0], message="refused")
        details: list[Any] = [
            error_details_pb2.ErrorInfo(reason=self.reason, domain="paycore", metadata={"order_id": "or1"})
        ]
        if self.code is grpc.StatusCode.INVALID_ARGUMENT:
            wrong = error_details_pb2.BadRequest.FieldViolation(
                field="amount.amount_minor", description="must be positive", reason=self.reason
            )
            details.append(error_details_pb2.BadRequest(field_violations=[wrong]))
        if self.retry_after_seconds is not None:
            retry = error_details_pb2.RetryInfo()
            retry.retry_delay.FromMilliseconds(int(self.retry_after_seconds * 1000))
            details.append(retry)
        for detail in details:
            packed = Packed()
            packed.Pack(detail)
            status.details.append(packed)
        return status


class Hang:
    """Says nothing more, and does not hang up."""


class Cut:
    """Hangs up with OK and without a last word."""


Line = Any
"""A message to send, a Refusal to end with, Hang or Cut."""


class Script:
    """What the server says: one list of lines for each stream that is opened, one outcome for each unary call."""

    def __init__(self, *streams: list[Line], unary: list[Any] | None = None) -> None:
        self.streams = list(streams)
        self.unary = list(unary or [])
        self.asked: list[Any] = []
        self.metadata: list[dict[str, str | bytes]] = []
        self.peers: list[str] = []
        self.was_asked = asyncio.Event()

    @property
    def resumes(self) -> list[int | None]:
        """Where each stream was asked to go on."""
        return [request.resume_after if request.HasField("resume_after") else None for request in self.asked]

    def hear(self, request: Any, context: Any) -> None:
        self.was_asked.set()
        self.asked.append(request)
        self.peers.append(context.peer())
        self.metadata.append(dict(context.invocation_metadata()))

    async def say(self, request: Any, context: Any) -> AsyncIterator[Any]:
        self.hear(request, context)
        lines = self.streams.pop(0) if self.streams else [Refusal(grpc.StatusCode.NOT_FOUND, "ORDER_NOT_FOUND")]
        for line in lines:
            if isinstance(line, Refusal):
                await line.send(context)
            elif isinstance(line, Hang):
                await asyncio.sleep(30)
            elif isinstance(line, Cut):
                return
            else:
                yield line

    async def answer(self, request: Any, context: Any) -> Any:
        self.hear(request, context)
        outcome = self.unary.pop(0)
        if isinstance(outcome, Refusal):
            await outcome.send(context)
        return outcome


def servicer(base: Any, **methods: Any) -> Any:
    """A servicer of the stubs with these methods; the others stay unimplemented."""
    return type(base.__name__, (base,), {name: staticmethod(method) for name, method in methods.items()})()


@contextlib.asynccontextmanager
async def serving(script: Script, port: int = 0) -> AsyncIterator[int]:
    """The port of a server that follows the script."""
    server = grpc.aio.server()
    orders = {"WatchOrder": script.say, "WatchOrders": script.say, "CreateOrder": script.answer}
    order_pb2_grpc.add_OrderServiceServicer_to_server(servicer(order_pb2_grpc.OrderServiceServicer, **orders), server)
    refund_pb2_grpc.add_RefundServiceServicer_to_server(
        servicer(refund_pb2_grpc.RefundServiceServicer, WatchRefund=script.say), server
    )
    cashier_pb2_grpc.add_CashierServiceServicer_to_server(
        servicer(cashier_pb2_grpc.CashierServiceServicer, WatchCashierSession=script.say), server
    )
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield port
    finally:
        await server.stop(None)


# ---------------------------------------------------------------------------------------------- lines


def snapshot(version: int) -> order_pb2.WatchOrderResponse:
    return order_pb2.WatchOrderResponse(version=version, snapshot=order_pb2.Order(order_id="or1", version=version))


def resync(version: int) -> order_pb2.WatchOrderResponse:
    return order_pb2.WatchOrderResponse(version=version, resync=order_pb2.Order(order_id="or1", version=version))


def event(version: int) -> order_pb2.WatchOrderResponse:
    return order_pb2.WatchOrderResponse(version=version, event=order_pb2.OrderEvent(order_id="or1", version=version))


def beat(version: int) -> order_pb2.WatchOrderResponse:
    return order_pb2.WatchOrderResponse(version=version, heartbeat=common_pb2.Heartbeat())


def end(
    version: int, reason: common_pb2.EndReason.ValueType = common_pb2.END_REASON_FINAL
) -> order_pb2.WatchOrderResponse:
    return order_pb2.WatchOrderResponse(version=version, end=common_pb2.StreamEnd(reason=reason))


def fed(cursor: int) -> order_pb2.WatchOrdersResponse:
    return order_pb2.WatchOrdersResponse(cursor=cursor, event=order_pb2.OrderEvent(order_id="or1"))


def refund(version: int) -> refund_pb2.WatchRefundResponse:
    return refund_pb2.WatchRefundResponse(version=version, refund=refund_pb2.Refund(refund_id="rf1"))


def session(version: int) -> cashier_pb2.WatchCashierSessionResponse:
    return cashier_pb2.WatchCashierSessionResponse(
        version=version, session=cashier_pb2.CashierSession(session_id="cs1", version=version)
    )


def ended(kind: Callable[..., Any], version: int) -> Any:
    """The last message of another kind of stream."""
    return kind(version=version, end=common_pb2.StreamEnd(reason=common_pb2.END_REASON_FINAL))
