"""Whatever is sent, sound or not, no call ever ends as a bug of ours."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from paycore.core.ids import Prefix, make_id
from paycore.rpc.services import DESCRIPTORS
from tests.rpc.shop import NOW, Shop, a_refund, bearer, fresh
from tests.rpc.small import said
from tests.rpc.test_bad_input_services import is_silent

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROUNDS, OF_STREAMS = 40, 12
RPCS = [rpc for service in DESCRIPTORS for rpc in service.methods]
OURS_TO_BLAME = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS}
TEXTS = ["", "x", "sandbox", "qr", "app", "store", "CNY", "USD", "JPY", "0", "-1", "\u202e", "\0", "é" * 40, "x" * 600]
NUMBERS = [0, 1, -1, 2, 50, 100, 10_000, 10_001, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63), 1_795_000_000]
PREFIXES = {
    "order_id": Prefix.ORDER,
    "payment_id": Prefix.PAYMENT,
    "refund_id": Prefix.REFUND,
    "session_id": Prefix.SESSION,
    "anomaly_id": Prefix.ANOMALY,
    "account_id": Prefix.ACCOUNT,
}


class Monkey:
    """Fills messages with what might be in them, and with what must not."""

    def __init__(self, seed: str, ids: dict[str, list[str]]) -> None:
        self._dice = random.Random(seed)
        self._ids = ids

    def message(self, kind: Any, depth: int = 0) -> Any:
        made = GetMessageClass(kind)()
        for field in kind.fields:
            if self._dice.random() < (0.85 if depth == 0 else 0.6):
                self._fill(made, field, depth)
        return made

    def _fill(self, made: Message, field: FieldDescriptor, depth: int) -> None:
        held = field.message_type
        if held is not None and held.GetOptions().map_entry:
            for _ in range(self._dice.choice([1, 1, 3, 25])):
                getattr(made, field.name)[self._text("key")] = self._text("value")
        elif field.is_repeated:
            parts = [self._value(field, depth) for _ in range(self._dice.choice([1, 2, 5]))]
            getattr(made, field.name).extend(parts)
        elif held is not None:
            getattr(made, field.name).CopyFrom(self._value(field, depth))
        else:
            setattr(made, field.name, self._value(field, depth))

    def _value(self, field: FieldDescriptor, depth: int) -> Any:
        if field.message_type is not None:
            return self.message(field.message_type, depth + 1)
        if field.enum_type is not None:
            return self._dice.choice([*[value.number for value in field.enum_type.values], 77, -1])
        if field.type == field.TYPE_STRING:
            return self._text(field.name)
        if field.type == field.TYPE_BYTES:
            return self._dice.randbytes(self._dice.choice([0, 1, 400]))
        if field.type == field.TYPE_BOOL:
            return self._dice.random() < 0.5
        number = self._dice.choice(NUMBERS)
        return max(min(number, 2**31 - 1), -(2**31)) if field.type == field.TYPE_INT32 else number

    def _text(self, name: str) -> str:
        if self._dice.random() < 0.2:
            return self._dice.choice(TEXTS)
        if name in PREFIXES:
            unknown = make_id(PREFIXES[name], NOW, self._dice.getrandbits(80))
            return self._dice.choice([*self._ids.get(name, []), unknown])
        usual = {
            "request_id": fresh(),
            "merchant_order_no": self._dice.choice([*self._ids["merchant_order_no"], fresh("order")]),
            "merchant_refund_no": fresh("refund"),
            "currency_code": "CNY",
            "channel": "sandbox",
            "method": self._dice.choice(["qr", "app", "redirect", "store"]),
            "face": self._dice.choice(["pc", "ios", "h5", "nothing"]),
            "client_ip": "192.0.2.9",
            "return_url": "https://shop.example/back",
            "http_method": "POST",
            "path": "/v1/notices/x?y=z",
        }
        return usual.get(name, f"some {name}")


async def belongings(shop: Shop) -> dict[str, list[str]]:
    """Ids that lead somewhere."""
    paid, waiting = await shop.paid(), await shop.order()
    session, _ = await shop.open_session(waiting)
    refund = (await shop.app.CreateRefund(a_refund(paid.order_id, 10))).refund
    return {
        "order_id": [paid.order_id, waiting.order_id],
        "payment_id": [paid.effective_payment_id],
        "refund_id": [refund.refund_id],
        "session_id": [session.session_id],
        "account_id": [shop.account_id],
        "merchant_order_no": [paid.merchant_order_no, waiting.merchant_order_no],
    }


async def ended(shop: Shop, rpc: Any, request: Any) -> grpc.aio.AioRpcError | None:
    """How a call ends; a stream is read for a moment."""
    path = f"/{rpc.containing_service.full_name}/{rpc.name}"
    words = type(request).SerializeToString, GetMessageClass(rpc.output_type).FromString
    metadata = bearer(shop.app.key)
    try:
        if not rpc.server_streaming:
            await shop.grpc.unary_unary(path, *words)(request, metadata=metadata, timeout=30)
            return None
        stream: Any = shop.grpc.unary_stream(path, *words)(request, metadata=metadata)
        try:
            await asyncio.wait_for(stream.read(), 0.3)
        finally:
            stream.cancel()
    except grpc.aio.AioRpcError as error:
        return error
    except TimeoutError:
        return None
    return None


@pytest.mark.parametrize("rpc", RPCS, ids=lambda rpc: rpc.name)
async def test_no_request_is_a_bug_of_ours(market: Shop, rpc: Any) -> None:
    ids = await belongings(market)
    for number in range(OF_STREAMS if rpc.server_streaming else ROUNDS):
        request = Monkey(f"{rpc.name} {number}", ids).message(rpc.input_type)
        error = await ended(market, rpc, request)
        if error is not None:
            assert error.code() not in OURS_TO_BLAME, (request, said(error))
            assert is_silent(said(error)), said(error)
