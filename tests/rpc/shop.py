"""A whole server in the test's process: real database, engine and gRPC, a clock that stands still, the sandbox channel inline.

Two apps with their keys, each with an account at the sandbox; people who pay; an edge that forwards notices.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import grpc
import httpx2
from pydantic import SecretStr

from paycore.channel import ChannelVerb, Input, NoticeReply, OutgoingNotice, Text
from paycore.core.ids import Prefix, make_id
from paycore.engine.host import Host
from paycore.rpc.policy import Scope
from paycore.serving import Parts, Process, start
from paycore.settings import LimitSettings, Settings
from paycore.store import ApiKey, App, Store
from paycore.testing.clock import FakeClock, SeededIds
from paycore.testing.wires import FaultyCarrier, InlineCarrier
from paycore.v1 import (
    cashier_pb2,
    cashier_pb2_grpc,
    channel_pb2_grpc,
    common_pb2,
    money_pb2,
    notice_pb2,
    notice_pb2_grpc,
    order_pb2,
    order_pb2_grpc,
    payment_pb2,
    refund_pb2,
    refund_pb2_grpc,
)
from paycore_sandbox import SANDBOX, SandboxSimulator
from tests.rpc.browser import BrowserChannel

NOW = 1_795_000_000_000_000
SECOND = 1_000_000
GATE = "https://sandbox.example/gate"
CANARY = "c4n4ry-s3cr3t"
MAX_AMOUNT = 50_000_000
SHOP, RIVAL = make_id(Prefix.APP, NOW, 1), make_id(Prefix.APP, NOW, 2)
SHOP_KEY, RIVAL_KEY, NOTICE_KEY = ("pk_" + letter * 43 for letter in "srn")
STRICT = replace(
    SANDBOX,
    name="strict",
    refund_window_seconds=24 * 3600,
    refund_count=2,
    methods=tuple(
        replace(one, inputs=(Input("openid", Text("用户", "Payer"), r"o[a-z]{4,16}"),), least_sdks={"sandbox": "2.10"})
        for one in SANDBOX.methods
    ),
)
"""The sandbox once more, as a channel that wants to know the payer and takes two refunds within a day."""
ONE_WAY = replace(SANDBOX, name="oneway", verbs=SANDBOX.verbs - {ChannelVerb.REFUND, ChannelVerb.QUERY_REFUND})
"""The sandbox once more, as a channel that gives nothing back."""
_numbers = itertools.count(100_000)


def fresh(word: str = "request") -> str:
    """A text that was not used before, good as a request_id or as a number."""
    return f"{word}-{next(_numbers)}-{'x' * 8}"


def bearer(key: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {key}"),)


@dataclass
class Caller:
    """Somebody with a key or a token, and every service."""

    channel: Any
    key: str

    def __post_init__(self) -> None:
        self._stubs: dict[str, Any] = {}
        for kind in (
            order_pb2_grpc.OrderServiceStub,
            cashier_pb2_grpc.CashierServiceStub,
            refund_pb2_grpc.RefundServiceStub,
            channel_pb2_grpc.ChannelServiceStub,
            notice_pb2_grpc.NoticeServiceStub,
        ):
            self._stubs |= vars(kind(self.channel))

    def __getattr__(self, rpc: str) -> Any:
        """The RPC of this name, called with our credentials."""
        method = self._stubs[rpc]
        return lambda request, **more: method(request, metadata=bearer(self.key), **({"timeout": 20} | more))


@dataclass(eq=False, repr=False)
class Shop:
    process: Process
    store: Store
    clock: FakeClock
    simulator: SandboxSimulator
    wire: FaultyCarrier
    grpc: Any
    account_id: str
    rival_account_id: str

    def __post_init__(self) -> None:
        self.app = Caller(self.grpc, SHOP_KEY)
        self.rival = Caller(self.grpc, RIVAL_KEY)
        self.edge = Caller(self.grpc, NOTICE_KEY)

    def session(self, token: str) -> Caller:
        return Caller(self.grpc, token)

    # ------------------------------------------------------------------------------------ orders

    async def order(self, caller: Caller | None = None, **more: Any) -> order_pb2.Order:
        answer = await (caller or self.app).CreateOrder(an_order(**more))
        return answer.order  # type: ignore[no-any-return]

    async def begun(self, order: order_pb2.Order, method: str = "qr", **more: Any) -> payment_pb2.Payment:
        answer = await self.app.PayOrder(a_payment(order.order_id, method=method, **more))
        return answer.payment  # type: ignore[no-any-return]

    async def paid(self, amount_minor: int = 10_000, *, channel: str = "sandbox", **more: Any) -> order_pb2.Order:
        """An order that was paid by QR and whose notice came in."""
        order = await self.order(amount=money(amount_minor), **more)
        inputs = {"openid": "opayer"} if channel == "strict" else {}
        self.pay(await self.begun(order, channel=channel, inputs=inputs))
        await self.deliver()
        return await self.now(order.order_id)

    async def now(self, order_id: str) -> order_pb2.Order:
        answer = await self.app.GetOrder(order_pb2.GetOrderRequest(order_id=order_id))
        return answer.order  # type: ignore[no-any-return]

    async def closed(self) -> order_pb2.Order:
        order = await self.order()
        answer = await self.app.CloseOrder(a_close(order.order_id))
        assert answer.order.state == order_pb2.Order.STATE_CLOSED
        return answer.order  # type: ignore[no-any-return]

    # ------------------------------------------------------------------------------------ people

    def pay(self, payment: payment_pb2.Payment, *, amount_minor: int | None = None) -> None:
        """Scan the code and pay."""
        self.scan(payment)
        self.simulator.pay(payment.payment_id, self.clock.now(), amount_minor=amount_minor)

    def scan(self, payment: payment_pb2.Payment) -> None:
        content = json.loads(payment.action.steps[0].params_json)["content"]
        self.simulator.scan(content, self.clock.now())

    def buy(self, payment: payment_pb2.Payment, *, amount_minor: int) -> str:
        """Buy in the store, and return the signed receipt."""
        step = json.loads(payment.action.steps[0].params_json)
        return self.simulator.buy(
            step["product_id"], step["account_token"], self.clock.now(), amount_minor=amount_minor
        )

    async def deliver(self) -> list[notice_pb2.DeliverNoticeResponse]:
        """Bring every due notice in, as an edge does."""
        return [await self._bring(notice) for notice in self.simulator.due(self.clock.now())]

    async def _bring(self, notice: OutgoingNotice) -> notice_pb2.DeliverNoticeResponse:
        answer = await self.edge.DeliverNotice(a_notice(notice))
        headers = {header.name: header.value for header in answer.headers}
        reply = NoticeReply(answer.http_status, headers, answer.body)
        self.simulator.answered(notice.key, reply, self.clock.now())
        return answer  # type: ignore[no-any-return]

    async def open_session(self, order: order_pb2.Order, **client: Any) -> tuple[cashier_pb2.CashierSession, Caller]:
        answer = await self.app.CreateCashierSession(a_session(order.order_id, **client))
        return answer.session, self.session(answer.session_token)


# ---------------------------------------------------------------------------------------------- requests


def money(amount_minor: int, currency: str = "CNY") -> money_pb2.Money:
    return money_pb2.Money(amount_minor=amount_minor, currency_code=currency)


def an_order(**more: Any) -> order_pb2.CreateOrderRequest:
    usual: dict[str, Any] = {
        "merchant_order_no": fresh("order"),
        "amount": money(10_000),
        "subject": "a cup of tea",
        "request_id": fresh(),
    }
    return order_pb2.CreateOrderRequest(**(usual | more))


def a_payment(order_id: str, **more: Any) -> order_pb2.PayOrderRequest:
    usual: dict[str, Any] = {"order_id": order_id, "channel": "sandbox", "method": "qr", "request_id": fresh()}
    return order_pb2.PayOrderRequest(**(usual | more))


def a_close(order_id: str, **more: Any) -> order_pb2.CloseOrderRequest:
    return order_pb2.CloseOrderRequest(**({"order_id": order_id, "request_id": fresh()} | more))


def a_refund(order_id: str, amount_minor: int = 1_000, **more: Any) -> refund_pb2.CreateRefundRequest:
    usual: dict[str, Any] = {
        "order_id": order_id,
        "amount": money(amount_minor),
        "reason": "cold",
        "request_id": fresh(),
    }
    return refund_pb2.CreateRefundRequest(**(usual | more))


def a_session(order_id: str, **client: Any) -> cashier_pb2.CreateCashierSessionRequest:
    return cashier_pb2.CreateCashierSessionRequest(
        order_id=order_id, client=common_pb2.ClientContext(**({"face": "pc"} | client)), request_id=fresh()
    )


def a_notice(notice: OutgoingNotice) -> notice_pb2.DeliverNoticeRequest:
    url = urlsplit(notice.request.url)
    return notice_pb2.DeliverNoticeRequest(
        account_id=url.path.rpartition("/")[2],
        http_method=notice.request.method,
        path=url.path,
        headers=[notice_pb2.NoticeHeader(name=name, value=value) for name, value in notice.request.headers.items()],
        body=notice.request.body,
    )


# ---------------------------------------------------------------------------------------------- opening


@asynccontextmanager
async def open_shop(
    url: str, *, limits: dict[str, Any] | None = None, by_browser: bool = False, **more: Any
) -> AsyncIterator[Shop]:
    """A shop on a database that has its schema and nothing else."""
    store = Store.open(url, pool_size=2, check_durability=False)
    try:
        _found(store)
        clock, simulator = FakeClock(NOW), SandboxSimulator("tests")
        wire = FaultyCarrier(InlineCarrier(clock, {GATE: simulator}))
        if by_browser:
            more["http_listen"] = "127.0.0.1:0"
        async with served(url, clock, wire, limits=limits, **more) as process:
            settings, accounts = simulator.settings(GATE), process.engine.accounts
            account = await accounts.add(SHOP, "sandbox", "sandbox", settings)
            rival = await accounts.add(RIVAL, "sandbox", "sandbox", settings)
            for kind in (STRICT, ONE_WAY):
                await accounts.add(SHOP, kind.name, "sandbox", settings)
            async with asking(process, by_browser=by_browser) as channel:
                yield Shop(process, store, clock, simulator, wire, channel, account.account_id, rival.account_id)
    finally:
        store.close()


@asynccontextmanager
async def asking(process: Process, *, by_browser: bool) -> AsyncIterator[Any]:
    """A channel to the process: gRPC's, or one that speaks as browsers do."""
    if by_browser:
        async with httpx2.AsyncClient(trust_env=False) as http:
            yield BrowserChannel(process.base_url, http)
    else:
        async with grpc.aio.insecure_channel(process.target) as channel:
            yield channel


@asynccontextmanager
async def served(
    url: str, clock: FakeClock, wire: FaultyCarrier, *, seed: int = 1, limits: dict[str, Any] | None = None, **more: Any
) -> AsyncIterator[Process]:
    """One server process on a database that has its schema already."""
    settings = Settings(
        database_url=SecretStr(url),
        check_durability=False,
        grpc_listen="127.0.0.1:0",
        public_base_url="https://pay.example",
        master_key=SecretStr(base64.b64encode(CANARY.ljust(32, "-").encode()).decode()),
        limits=LimitSettings(**({"failed_rate": 1e6, "failed_burst": 1e6, "session_rate": 1e6} | (limits or {}))),
        **({"http_listen": ""} | more),
    )
    host = Host([SANDBOX, STRICT, ONE_WAY])
    process = await start(settings, Parts(clock=clock, ids=SeededIds(clock, seed), carrier=wire, host=host))
    try:
        yield process
    finally:
        await process.stop()


def _found(store: Store) -> None:
    scopes = tuple(sorted(Scope))
    with store.write() as unit:
        unit.put_app(
            App(
                SHOP,
                "shop",
                NOW,
                scopes=scopes,
                currencies=("CNY", "JPY", "USD"),
                max_amount_minor=MAX_AMOUNT,
                return_hosts=("shop.example",),
            )
        )
        unit.put_app(App(RIVAL, "rival", NOW, scopes=scopes))
        for number, (app_id, key) in enumerate([(SHOP, SHOP_KEY), (RIVAL, RIVAL_KEY), (SHOP, NOTICE_KEY)]):
            sha256 = hashlib.sha256(key.encode()).hexdigest()
            unit.put_key(ApiKey(f"key{number}", app_id, NOW, sha256=sha256, scopes=scopes))
