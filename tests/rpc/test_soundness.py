"""The quick look against the judge: what it calls sound breaks no rule, and the requests that come most are called sound."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import protovalidate
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from paycore.rpc.soundness import OURS, Quick
from paycore.v1 import notice_pb2, order_pb2
from tests.protos.requests import KEY, LATER, ORDER, money, sound

quick, judge = Quick(), protovalidate.Validator()

ODD = st.sampled_from(
    ["\0", "\u200d", "\u202e", "\u2066", "\x7f", "\x85", "\u2028", "\xad", " ", "\n", "茶", "🍵", "a\u0301", "-", "_"]
)
TEXTS = st.one_of(
    st.lists(st.one_of(ODD, st.sampled_from("aZ09~!/.=")), max_size=40).map("".join),
    st.tuples(st.sampled_from(["a", "茶", "🍵", "\u200d"]), st.integers(0, 600)).map(lambda pair: pair[0] * pair[1]),
    st.sampled_from(
        ["", "CNY", "cny", ORDER, "or" + "0" * 25, KEY, "https://shop.example/x", "203.0.113.7", "order_0001\n"]
    ),
)
NUMBERS = st.one_of(
    st.sampled_from([0, 1, -1, 4, 5, 60, 61, 200, 201, 10**12, 10**12 + 1]), st.integers(-(2**31), 2**31 - 1)
)


def scalars(message: Message) -> Iterator[tuple[Message, Any]]:
    """Every single text and number of a request, at whatever depth, set or not."""
    for field in message.DESCRIPTOR.fields:
        held = field.message_type
        if held is None:
            if not field.is_repeated and field.cpp_type != FieldDescriptor.CPPTYPE_BOOL:
                yield message, field
        elif held.GetOptions().map_entry:
            continue
        elif field.is_repeated:
            for one in getattr(message, field.name):
                yield from scalars(one)
        elif message.HasField(field.name):
            yield from scalars(getattr(message, field.name))


def value_for(field: FieldDescriptor, draw: Any) -> Any:
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        text = draw(TEXTS)
        return text.encode() if field.type == FieldDescriptor.TYPE_BYTES else text
    number = draw(NUMBERS)
    if field.cpp_type in (FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_UINT64):
        return abs(number)
    return number if field.cpp_type == FieldDescriptor.CPPTYPE_INT64 else max(-(2**31), min(number, 2**31 - 1))


@given(st.data())
def test_what_the_quick_look_calls_sound_breaks_no_rule(data: st.DataObject) -> None:
    requests = sound()
    request = requests[data.draw(st.sampled_from(sorted(requests)))]
    fields: list[Any] = list(request.DESCRIPTOR.fields)
    for field in data.draw(st.permutations(fields))[: data.draw(st.integers(0, 6))]:
        request.ClearField(field.name)
    places = list(scalars(request))
    for holder, field in data.draw(st.permutations(places))[: data.draw(st.integers(0, 2))]:
        setattr(holder, field.name, value_for(field, data.draw))
    for field in request.DESCRIPTOR.fields:
        if field.name in ("metadata", "inputs") and data.draw(st.booleans()):
            getattr(request, field.name)[data.draw(TEXTS)] = data.draw(TEXTS)
    if quick.is_sound(request):
        assert judge.collect_violations(request) == []


def test_requests_that_come_most_need_no_judge() -> None:
    create = order_pb2.CreateOrderRequest(
        merchant_order_no="order_0001", amount=money(), subject="Tea 茶 🍵", metadata={"shop": "12"}, request_id=KEY
    )
    create.expire_time.CopyFrom(LATER)
    pay = order_pb2.PayOrderRequest(order_id=ORDER, channel="sandbox", method="qr", request_id=KEY)
    pay.client.face = pay.client.os = "android"
    for request in (create, pay, order_pb2.GetOrderRequest(order_id=ORDER), sound()["CreateRefundRequest"]):
        assert quick.is_sound(request)


@pytest.mark.parametrize("nanos", [-1, 10**9])
def test_an_instant_that_is_none_is_not_called_sound(nanos: int) -> None:
    request = order_pb2.CreateOrderRequest(
        merchant_order_no="order_0001", amount=money(), subject="Tea", request_id=KEY
    )
    request.expire_time.nanos = nanos
    assert not quick.is_sound(request)


def test_a_rule_that_only_the_judge_knows_is_left_to_it() -> None:
    assert notice_pb2.DESCRIPTOR.package == OURS
    assert not quick.is_sound(sound()["DeliverNoticeRequest"])
