"""What the mutations start from: a house in which something has happened, and sound requests, notices and texts about it."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from paycore.channel import OutgoingNotice
from paycore.v1 import cashier_pb2, channel_pb2, common_pb2, order_pb2, payment_pb2, refund_pb2
from paycore_sandbox.simulator import RefundEnd
from tests.fuzz.house import NOW, House
from tests.protos.requests import sound
from tests.rpc.shop import a_close, a_notice, a_payment, a_refund, a_session, an_order, money

CANARY = "c4n4ryT3xt"
"""Stands in the texts that callers send; no refusal repeats it."""
TEA = order_pb2.LineItem(product_id="tea.cup", name="cup", quantity=1, unit_amount_minor=10_000)
SPARE_KEYS = 400


@dataclass
class Corpus:
    """Everything sound that there is in this house."""

    house: House
    ids: dict[str, list[str]] = field(default_factory=dict)
    """By the name of the field that takes them."""
    requests: dict[str, list[Message]] = field(default_factory=dict)
    """By the name of the RPC."""
    notices: list[OutgoingNotice] = field(default_factory=list)
    """Genuine, and not delivered: whichever is believed changes something."""
    receipts: list[str] = field(default_factory=list)
    sessions: list[tuple[str, str]] = field(default_factory=list)
    """A session's id and its token."""
    page_tokens: list[tuple[Message, str]] = field(default_factory=list)
    """A list's request, and the token that its answer gave."""
    numbers: int = 0

    def fresh_key(self) -> str:
        self.numbers += 1
        return f"fuzz-request-{self.numbers:06}"


async def grow(house: House, dice: random.Random) -> Corpus:
    """Let things happen in the house, and collect what can be said about them."""
    corpus = Corpus(house)
    orders, payments, refunds = await _live(corpus)
    anomalies = (await house.ask(order_pb2.ListAnomaliesRequest())).anomalies
    corpus.ids = {
        "order_id": [order.order_id for order in orders],
        "payment_id": [payment.payment_id for payment in payments],
        "refund_id": [refund.refund_id for refund in refunds],
        "session_id": [session for session, _ in corpus.sessions],
        "anomaly_id": [anomaly.anomaly_id for anomaly in anomalies],
        "account_id": [house.account_id],
        "merchant_order_no": [order.merchant_order_no for order in orders],
        "evidence": corpus.receipts,
        "channel": ["sandbox", "sandbox", "sandbox", "strict", "oneway"],
        "method": ["qr", "app", "redirect", "store"],
    }
    corpus.requests = _requests(corpus, dice)
    await _pages(corpus)
    return corpus


# ---------------------------------------------------------------------------------------------- what happens


async def _live(corpus: Corpus) -> tuple[list[Any], list[payment_pb2.Payment], list[Any]]:
    """Orders in every state, refunds of every fate, a store purchase, sessions, notices that wait to be delivered."""
    house, orders, payments, refunds = corpus.house, [], [], []
    for number, wish in enumerate(("paid", "paid", "odd", "waiting", "fresh", "closed", "scanned", "scanned", "store")):
        more: dict[str, Any] = {"merchant_order_no": f"order-{number:06}", "metadata": {"note": CANARY}}
        more |= {"line_items": [TEA]} if wish == "store" else {}
        more |= {"surplus_policy": order_pb2.SURPLUS_POLICY_HOLD} if wish == "odd" else {}
        order = (await house.ask(an_order(request_id=corpus.fresh_key(), subject=f"tea {CANARY}", **more))).order
        orders.append(order)
        if wish in ("fresh", "waiting"):
            await _session(corpus, order)
        if wish == "closed":
            await house.ask(a_close(order.order_id, request_id=corpus.fresh_key()))
        if wish in ("fresh", "closed"):
            continue
        payment = await _pay(corpus, order, "store" if wish == "store" else "qr")
        payments.append(payment)
        if wish == "store":
            corpus.receipts.append(_buy(house, payment))
        elif wish != "waiting":
            house.simulator.pay(payment.payment_id, NOW, amount_minor=7 if wish == "odd" else None)
        if wish in ("paid", "odd"):
            await _deliver(house)
    for ends in (None, RefundEnd.PROCESSING, RefundEnd.STUCK, RefundEnd.FAILED):
        if ends is not None:
            house.simulator.next_refunds(ends)
        ask = a_refund(orders[0].order_id, 100, request_id=corpus.fresh_key(), reason=CANARY)
        refunds.append((await house.ask(ask)).refund)
    corpus.notices = list(house.simulator.due(NOW))
    return orders, payments, refunds


async def _session(corpus: Corpus, order: Any) -> None:
    ask = a_session(order.order_id)
    ask.request_id = corpus.fresh_key()
    opened = await corpus.house.ask(ask)
    corpus.sessions.append((opened.session.session_id, opened.session_token))


async def _pay(corpus: Corpus, order: Any, method: str) -> payment_pb2.Payment:
    answer = await corpus.house.ask(a_payment(order.order_id, method=method, request_id=corpus.fresh_key()))
    payment: payment_pb2.Payment = answer.payment
    if method == "qr":
        content = json.loads(payment.action.steps[0].params_json)["content"]
        corpus.house.simulator.scan(content, NOW)
    return payment


def _buy(house: House, payment: payment_pb2.Payment) -> str:
    step = json.loads(payment.action.steps[0].params_json)
    return house.simulator.buy(step["product_id"], step["account_token"], NOW, amount_minor=10_000)


async def _deliver(house: House) -> None:
    for notice in house.simulator.due(NOW):
        answer = await house.ask(a_notice(notice))
        assert answer.http_status == 200, answer


# ---------------------------------------------------------------------------------------------- what can be said


def _requests(corpus: Corpus, dice: random.Random) -> dict[str, list[Message]]:
    """Sound requests of every RPC, about what there is."""
    usual = {name.removesuffix("Request"): request for name, request in sound().items()}
    assert usual.keys() == corpus.house.methods.keys(), "every RPC has a sound request in tests/protos/requests.py"
    found = {rpc: [_about(corpus, request, dice) for _ in range(12)] for rpc, request in usual.items()}
    found["DeliverNotice"] = [a_notice(notice) for notice in corpus.notices]
    found["CreateOrder"] += [an_order(line_items=[TEA], request_id=corpus.fresh_key()) for _ in range(3)]
    plain: list[Message] = [
        order_pb2.ListOrdersRequest(),
        order_pb2.ListAnomaliesRequest(),
        refund_pb2.ListRefundsRequest(),
        channel_pb2.ListChannelsRequest(),
        order_pb2.WatchOrdersRequest(),
        order_pb2.WatchOrderRequest(order_id=corpus.ids["order_id"][0]),
        refund_pb2.WatchRefundRequest(refund_id=corpus.ids["refund_id"][0]),
        cashier_pb2.ConfirmPaymentRequest(
            channel="sandbox", evidence=corpus.receipts[0], request_id=corpus.fresh_key()
        ),
    ]
    for request in plain:
        found[type(request).__name__.removesuffix("Request")].append(request)
    return found


def _about(corpus: Corpus, request: Message, dice: random.Random) -> Message:
    """A copy of a request that names what there is, at times with less in it."""
    made = type(request)()
    made.CopyFrom(request)
    for name, values in corpus.ids.items():
        held = made.DESCRIPTOR.fields_by_name.get(name)
        if held is not None and getattr(made, name) and values:
            setattr(made, name, dice.choice(values))
    _adapt(corpus, made, dice)
    return made


def _adapt(corpus: Corpus, made: Any, dice: random.Random) -> None:
    """Let a request be accepted more often than its model: what need not be said is left out, what is said fits."""
    fields: dict[str, FieldDescriptor] = made.DESCRIPTOR.fields_by_name
    if "request_id" in fields:
        made.request_id = corpus.fresh_key()
    if "amount" in fields:
        made.amount.CopyFrom(money(dice.choice((1, 50, 10_000)), "CNY"))
    if "client" in fields and made.HasField("client"):
        made.client.CopyFrom(common_pb2.ClientContext(face=dice.choice(("pc", "android", "h5")), user_agent=CANARY))
    for name in ("line_items", "expire_time", "account_id", "etag", "page_token", "start_time", "end_time", "inputs"):
        if name in fields and dice.random() < 0.8:
            made.ClearField(name)
    if isinstance(made, order_pb2.CreateOrderRequest):
        made.merchant_order_no = corpus.fresh_key().removeprefix("fuzz-")
        made.ClearField("expire_time")
        made.ClearField("line_items")
    for name in ("resume_after", "payment_id", "after_version"):
        if name in fields and dice.random() < 0.5 and not isinstance(made, cashier_pb2.ReportClientResultRequest):
            made.ClearField(name)


async def _pages(corpus: Corpus) -> None:
    """Lists that go on, and the tokens that go on with them."""
    first: list[Any] = [
        order_pb2.ListOrdersRequest(page_size=2),
        order_pb2.ListOrderEventsRequest(order_id=corpus.ids["order_id"][0], page_size=2),
        refund_pb2.ListRefundsRequest(page_size=1),
        channel_pb2.ListChannelsRequest(page_size=1),
        order_pb2.ListAnomaliesRequest(page_size=1),
    ]
    for request in first:
        token = (await corpus.house.ask(request)).next_page_token
        if token:
            corpus.page_tokens.append((request, token))
            longer = type(request)()
            longer.CopyFrom(request)
            longer.page_token = token
            corpus.requests[type(request).__name__.removesuffix("Request")].append(longer)
