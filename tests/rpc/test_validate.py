"""A crowd is refused for being one: nobody looks at each of its members, which takes a second for a request of 60 KB."""

from __future__ import annotations

from typing import Any

import protovalidate
import pytest
from google.protobuf.message import Message

from paycore.core.refusals import Reason
from paycore.rpc.refusals import Invalid
from paycore.rpc.validate import Validator
from paycore.v1 import cashier_pb2, notice_pb2, order_pb2, refund_pb2
from tests.protos.requests import client, sound

BAD = 77
validator = Validator()


def crowded() -> dict[str, tuple[Message, str]]:
    """Requests whose lists have far too many parts, every one of them wrong in itself; and where the crowd stands."""
    requests: dict[str, Any] = sound()
    session = cashier_pb2.CreateCashierSessionRequest(order_id="x", client=client(), request_id="x")
    session.client.installed_apps.extend(["\0"] * 20_000)
    talkative = cashier_pb2.CreateCashierSessionRequest(order_id="x", client=client(), request_id="x")
    for number in range(6_000):
        talkative.client.sdk_versions[f"\0{number}"] = "\0"
    return {
        "states of orders": (order_pb2.ListOrdersRequest(states=[BAD] * 60_000), "states"),  # type: ignore[list-item]
        "states of refunds": (refund_pb2.ListRefundsRequest(states=[BAD] * 60_000), "states"),  # type: ignore[list-item]
        "kinds": (order_pb2.ListAnomaliesRequest(kinds=[BAD] * 60_000), "kinds"),  # type: ignore[list-item]
        "items": (_with(requests["CreateOrderRequest"], "line_items", 20_000), "line_items"),
        "headers": (_with(notice_pb2.DeliverNoticeRequest(), "headers", 100_000), "headers"),
        "apps": (session, "client.installed_apps"),
        "versions": (talkative, "client.sdk_versions"),
    }


def _with(request: Any, name: str, count: int) -> Message:
    for _ in range(count):
        getattr(request, name).add()
    made: Message = request
    return made


@pytest.mark.parametrize("name", crowded())
def test_a_crowd_is_all_that_is_said(name: str) -> None:
    request, place = crowded()[name]
    with pytest.raises(Invalid) as refused:
        validator.check(request)
    assert refused.value.reason is Reason.OUT_OF_BOUNDS
    assert [wrong.field for wrong in refused.value.violations] == [place]


def test_the_rules_are_compiled_once_for_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every pipeline has a validator of its own; what takes long is made for the first one only."""
    monkeypatch.setattr(protovalidate, "Validator", lambda: pytest.fail("the rules are compiled again"))
    with pytest.raises(Invalid):
        Validator().check(order_pb2.CreateOrderRequest())
