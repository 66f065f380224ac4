"""Two servers to measure against, each run as its own process: `python -m bench.baselines echo|orm ...`.

`echo` decodes a CreateOrder request, encodes it again and does nothing else: the most that grpc.aio gives.
`orm` does the four steps of an order's life as they are usually written: handlers over SQLModel, one session and one
transaction for each request, in a pool of threads, watchers woken in process. It makes the same promises about these
steps (durable, idempotent by request_id, locked rows, verified notices) and leaves out what would only make it slower:
API keys, limits, validation, other states, anomalies.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import secrets
import signal
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

import grpc
import grpc.aio
import sqlalchemy as sa
from grpc_health.v1 import health_pb2, health_pb2_grpc
from sqlmodel import Field, Session, SQLModel, select

from bench.sandbox import ACCOUNT_ID, now_micros, open_channel
from paycore.channel import Paid, PaymentAsk, RawNotice, Ready
from paycore.core.ids import Prefix, make_id
from paycore.v1 import notice_pb2, notice_pb2_grpc, order_pb2, order_pb2_grpc, payment_pb2

T = TypeVar("T")

THREADS = 8
OPTIONS = [
    ("grpc.so_reuseport", 0),
    ("grpc.server.max_pending_requests", 100_000),
    ("grpc.server.max_pending_requests_hard_limit", 200_000),
    ("grpc.max_concurrent_streams", 20_000),
]


# ---------------------------------------------------------------------------------------------- the echo


class Echo(grpc.GenericRpcHandler):
    """Says back what it was told, decoded and encoded once; a stream says it once and then keeps quiet."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        decode, encode = order_pb2.CreateOrderRequest.FromString, order_pb2.CreateOrderRequest.SerializeToString
        if "Watch" in (handler_call_details.method or ""):
            return grpc.unary_stream_rpc_method_handler(self._stay, decode, encode)
        return grpc.unary_unary_rpc_method_handler(self._echo, decode, encode)

    async def _echo(self, request: Any, context: Any) -> Any:
        return request

    async def _stay(self, request: Any, context: Any) -> AsyncIterator[Any]:
        yield request
        await asyncio.Event().wait()


# ---------------------------------------------------------------------------------------------- one session a request


class OrderRow(SQLModel, table=True):
    __tablename__ = "baseline_orders"
    order_id: str = Field(primary_key=True)
    merchant_order_no: str = Field(unique=True)
    state: str
    amount_minor: int = Field(sa_type=sa.BigInteger)
    currency: str
    subject: str
    version: int
    created_at: int = Field(sa_type=sa.BigInteger)
    expires_at: int = Field(sa_type=sa.BigInteger)


class PaymentRow(SQLModel, table=True):
    __tablename__ = "baseline_payments"
    payment_id: str = Field(primary_key=True)
    order_id: str = Field(foreign_key="baseline_orders.order_id", index=True)
    state: str
    amount_minor: int = Field(sa_type=sa.BigInteger)
    captured_minor: int = Field(default=0, sa_type=sa.BigInteger)
    channel_trade_no: str = ""
    plan: str = ""


class EventRow(SQLModel, table=True):
    __tablename__ = "baseline_events"
    order_id: str = Field(primary_key=True)
    version: int = Field(primary_key=True)
    kind: str
    state: str
    at: int = Field(sa_type=sa.BigInteger)


class RequestRow(SQLModel, table=True):
    __tablename__ = "baseline_requests"
    request_id: str = Field(primary_key=True)
    subject_id: str


class NoticeRow(SQLModel, table=True):
    __tablename__ = "baseline_notices"
    notice_id: str = Field(primary_key=True)
    payment_id: str
    body: str


def mint(prefix: Prefix) -> str:
    return make_id(prefix, now_micros(), secrets.randbits(80))


class Shop:
    """The use cases, each one session and one commit."""

    def __init__(self, url: str, channel: Any) -> None:
        self._engine = sa.create_engine(url, pool_size=THREADS, max_overflow=0)
        self._is_sqlite = url.startswith("sqlite")
        self._channel = channel
        self._one_writer = threading.Lock()
        if self._is_sqlite:
            sa.event.listen(self._engine, "connect", _prepare_sqlite)
            sa.event.listen(self._engine, "begin", _begin_sqlite)
        SQLModel.metadata.create_all(self._engine)

    @contextmanager
    def _writing(self) -> Iterator[Session]:
        """A session that writes. On SQLite writers queue here: left to its own waiting they would be far slower."""
        with (
            self._one_writer if self._is_sqlite else nullcontext(),
            Session(self._engine, expire_on_commit=False) as session,
        ):
            session.connection(execution_options={"is_writing": True})
            yield session

    def create(self, request: order_pb2.CreateOrderRequest) -> order_pb2.CreateOrderResponse:
        with self._writing() as session:
            known = session.get(RequestRow, request.request_id)
            if known is not None:
                return order_pb2.CreateOrderResponse(order=self._order(session, known.subject_id))
            now = now_micros()
            order = OrderRow(
                order_id=mint(Prefix.ORDER),
                merchant_order_no=request.merchant_order_no,
                state="PENDING",
                amount_minor=request.amount.amount_minor,
                currency=request.amount.currency_code,
                subject=request.subject,
                version=1,
                created_at=now,
                expires_at=now + 1_800_000_000,
            )
            session.add(order)
            session.add(RequestRow(request_id=request.request_id, subject_id=order.order_id))
            session.add(EventRow(order_id=order.order_id, version=1, kind="order.created", state="PENDING", at=now))
            session.commit()
            return order_pb2.CreateOrderResponse(order=_message(order))

    def pay(self, request: order_pb2.PayOrderRequest) -> order_pb2.PayOrderResponse:
        with self._writing() as session:
            known = session.get(RequestRow, request.request_id)
            if known is not None:
                payment = session.get(PaymentRow, known.subject_id)
                assert payment is not None
                return order_pb2.PayOrderResponse(
                    payment=_payment(payment), order=self._order(session, request.order_id)
                )
            order = session.get(OrderRow, request.order_id, with_for_update=True)
            assert order is not None
            assert order.state == "PENDING"
            payment = PaymentRow(
                payment_id=mint(Prefix.PAYMENT),
                order_id=order.order_id,
                state="PENDING",
                amount_minor=order.amount_minor,
            )
            payment.plan = self._prepare(order, payment.payment_id, request.client.os)
            order.version += 1
            session.add(payment)
            session.add(order)
            session.add(RequestRow(request_id=request.request_id, subject_id=payment.payment_id))
            session.add(_event(order, "payment.pending"))
            session.commit()
            return order_pb2.PayOrderResponse(payment=_payment(payment), order=_message(order))

    def _prepare(self, order: OrderRow, payment_id: str, target: str) -> str:
        """Sign the order for the wallet; this channel's app method asks nobody."""
        now = now_micros()
        ask = PaymentAsk(
            payment_id=payment_id,
            order_id=order.order_id,
            method="app",
            target=target,
            amount_minor=order.amount_minor,
            currency=order.currency,
            subject=order.subject,
            created_at=now,
            expires_at=order.expires_at,
            now=now,
            nonce="0" * 32,
            notify_url=f"http://127.0.0.1/v1/notices/{ACCOUNT_ID}",
        )
        try:
            next(self._channel.prepare(ask))
        except StopIteration as end:
            ready: Ready = end.value
            return ready.plan_json
        raise AssertionError("the app method of the sandbox asks nobody")

    def hear(self, request: notice_pb2.DeliverNoticeRequest) -> tuple[notice_pb2.DeliverNoticeResponse, str]:
        headers = {header.name: header.value for header in request.headers}
        notice = self._channel.read_notice(
            RawNotice(request.http_method, request.path, headers, bytes(request.body)), now_micros()
        )
        about = notice.findings[0]
        assert isinstance(about.finding, Paid)
        with self._writing() as session:
            order_id = self._settle(session, about.payment_id, about.finding, notice.notice_id, request.body)
        answer = notice_pb2.DeliverNoticeResponse(http_status=notice.acknowledge.status, body=notice.acknowledge.body)
        return answer, order_id

    def _settle(self, session: Session, payment_id: str, paid: Paid, notice_id: str, body: bytes) -> str:
        payment = session.get(PaymentRow, payment_id)
        assert payment is not None
        order = session.get(OrderRow, payment.order_id, with_for_update=True)
        assert order is not None
        if session.get(NoticeRow, notice_id) is None:
            session.add(NoticeRow(notice_id=notice_id, payment_id=payment_id, body=body.decode()))
        if payment.state == "PENDING":
            assert paid.amount_minor == payment.amount_minor
            payment.state, payment.captured_minor = "SUCCEEDED", paid.amount_minor
            order.version += 1
            session.add(_event(order, "payment.succeeded"))
            order.state = "PAID"
            order.version += 1
            session.add(_event(order, "order.paid"))
            session.add(payment)
            session.add(order)
        session.commit()
        return order.order_id

    def look(self, order_id: str) -> order_pb2.Order:
        with Session(self._engine) as session:
            return self._order(session, order_id)

    def events_after(self, order_id: str, version: int) -> list[order_pb2.OrderEvent]:
        with Session(self._engine) as session:
            rows = session.exec(
                select(EventRow)
                .where(EventRow.order_id == order_id, EventRow.version > version)
                .order_by(sa.column("version"))
            ).all()
            return [_event_message(row) for row in rows]

    def _order(self, session: Session, order_id: str) -> order_pb2.Order:
        order = session.get(OrderRow, order_id)
        assert order is not None
        return _message(order)


def _prepare_sqlite(connection: Any, record: Any) -> None:
    connection.isolation_level = None
    connection.execute("PRAGMA busy_timeout=10000")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")


def _begin_sqlite(connection: sa.Connection) -> None:
    is_writing = connection.get_execution_options().get("is_writing")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writing else "BEGIN")


def _event(order: OrderRow, kind: str) -> EventRow:
    return EventRow(order_id=order.order_id, version=order.version, kind=kind, state=order.state, at=now_micros())


def _message(row: OrderRow) -> order_pb2.Order:
    order = order_pb2.Order(
        order_id=row.order_id,
        merchant_order_no=row.merchant_order_no,
        state=order_pb2.Order.State.Value(f"STATE_{row.state}"),
        subject=row.subject,
        version=row.version,
    )
    order.amount.amount_minor, order.amount.currency_code = row.amount_minor, row.currency
    order.create_time.FromMicroseconds(row.created_at)
    order.expire_time.FromMicroseconds(row.expires_at)
    return order


def _payment(row: PaymentRow) -> payment_pb2.Payment:
    payment = payment_pb2.Payment(
        payment_id=row.payment_id,
        order_id=row.order_id,
        channel="sandbox",
        method="app",
        state=payment_pb2.Payment.State.Value(f"STATE_{row.state}"),
        captured_minor=row.captured_minor,
        is_action_ready=True,
    )
    for step in json.loads(row.plan)["steps"]:
        payment.action.steps.add(kind=step["kind"], target=step["target"], params_json=step["params_json"])
    return payment


def _event_message(row: EventRow) -> order_pb2.OrderEvent:
    event = order_pb2.OrderEvent(order_id=row.order_id, version=row.version, kind=row.kind)
    event.order.state = order_pb2.Order.State.Value(f"STATE_{row.state}")
    event.event_time.FromMicroseconds(row.at)
    return event


class OrmServicer(order_pb2_grpc.OrderServiceServicer, notice_pb2_grpc.NoticeServiceServicer):
    """The shop behind gRPC: each request in a thread, watchers woken in this process."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._threads = ThreadPoolExecutor(THREADS)
        self._news: dict[str, asyncio.Event] = defaultdict(asyncio.Event)

    async def _run(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    async def CreateOrder(self, request: Any, context: Any) -> Any:
        return await self._run(self._shop.create, request)

    async def PayOrder(self, request: Any, context: Any) -> Any:
        answer = await self._run(self._shop.pay, request)
        self._wake(request.order_id)
        return answer

    async def DeliverNotice(self, request: Any, context: Any) -> Any:
        answer, order_id = await self._run(self._shop.hear, request)
        self._wake(order_id)
        return answer

    async def WatchOrder(self, request: Any, context: Any) -> AsyncIterator[Any]:
        news = self._news[request.order_id]
        order = await self._run(self._shop.look, request.order_id)
        version = order.version
        yield order_pb2.WatchOrderResponse(version=version, snapshot=order)
        while True:
            await news.wait()
            news = self._news[request.order_id]
            for event in await self._run(self._shop.events_after, request.order_id, version):
                version = event.version
                yield order_pb2.WatchOrderResponse(version=version, event=event)

    def _wake(self, order_id: str) -> None:
        waiting = self._news.pop(order_id, None)
        if waiting is not None:
            waiting.set()


# ---------------------------------------------------------------------------------------------- as a process


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]
    """Says that it serves, once it does."""

    async def Check(self, request: Any, context: Any) -> Any:
        return health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)


async def serve(port: int, add: Callable[[grpc.aio.Server], None]) -> None:
    """Serve until SIGTERM."""
    server = grpc.aio.server(options=OPTIONS)
    health_pb2_grpc.add_HealthServicer_to_server(Health(), server)
    add(server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    await server.stop(0)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("which", choices=["echo", "orm"])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--url", default="")
    parser.add_argument("--settings", default="", help="the account's settings: JSON, in base64")
    asked = parser.parse_args()
    if asked.which == "echo":
        asyncio.run(serve(asked.port, lambda server: server.add_generic_rpc_handlers((Echo(),))))
        return
    shop = Shop(asked.url, open_channel(json.loads(base64.b64decode(asked.settings))))
    servicer = OrmServicer(shop)  # type: ignore[abstract]  # the other RPCs stay unimplemented

    def add(server: grpc.aio.Server) -> None:
        order_pb2_grpc.add_OrderServiceServicer_to_server(servicer, server)
        notice_pb2_grpc.add_NoticeServiceServicer_to_server(servicer, server)

    asyncio.run(serve(asked.port, add))


if __name__ == "__main__":
    main()
