"""NoticeService: any edge may forward a channel's notice, and is told byte for byte what to answer."""

from __future__ import annotations

import pytest

from paycore.v1 import anomaly_pb2, notice_pb2, order_pb2
from paycore_sandbox.simulator import NoticeFault
from tests.rpc.shop import Shop, a_notice

pytestmark = pytest.mark.asyncio(loop_scope="module")

PENDING, PAID = order_pb2.Order.STATE_PENDING, order_pb2.Order.STATE_PAID


async def due(shop: Shop) -> notice_pb2.DeliverNoticeRequest:
    [notice] = shop.simulator.due(shop.clock.now())
    return a_notice(notice)


async def a_paid_trade(shop: Shop) -> order_pb2.Order:
    order = await shop.order()
    shop.pay(await shop.begun(order))
    return order


async def test_a_notice_pays_and_is_acknowledged(market: Shop) -> None:
    order = await a_paid_trade(market)
    answer = await market.edge.DeliverNotice(await due(market))
    assert (answer.http_status, answer.body) == (200, b'{"ack":"ok"}')
    assert {header.name: header.value for header in answer.headers} == {"content-type": "application/json"}
    assert (await market.now(order.order_id)).state == PAID


async def test_the_same_notice_again_changes_nothing(market: Shop) -> None:
    order = await a_paid_trade(market)
    notice = await due(market)
    answers = [await market.edge.DeliverNotice(notice) for _ in range(3)]
    assert [answer.http_status for answer in answers] == [200, 200, 200]
    now = await market.now(order.order_id)
    assert (now.state, now.captured_minor, len(now.payments)) == (PAID, 10_000, 1)


async def test_names_of_headers_may_come_in_any_case(market: Shop) -> None:
    order = await a_paid_trade(market)
    notice = await due(market)
    for header in notice.headers:
        header.name = header.name.upper()
    assert (await market.edge.DeliverNotice(notice)).http_status == 200
    assert (await market.now(order.order_id)).state == PAID


def changed(notice: notice_pb2.DeliverNoticeRequest, how: str) -> notice_pb2.DeliverNoticeRequest:
    match how:
        case "body":
            notice.body = notice.body.replace(b"100.00", b"999.00")
        case "one byte more":
            notice.body += b" "
        case "no signature":
            del notice.headers[:]
        case "header twice":
            notice.headers.extend(list(notice.headers))
        case "method":
            notice.http_method = "GET"
        case "empty":
            notice.body = b""
    return notice


@pytest.mark.parametrize("how", ["body", "one byte more", "no signature", "header twice", "method", "empty"])
async def test_a_forged_notice_is_answered_in_the_channel_s_words_and_believed_in_nothing(
    market: Shop, how: str
) -> None:
    order = await a_paid_trade(market)
    answer = await market.edge.DeliverNotice(changed(await due(market), how))
    assert (answer.http_status, answer.body) == (401, b'{"ack":"forged"}')
    assert (await market.now(order.order_id)).state == PENDING


async def test_a_notice_at_another_s_address_is_not_believed(market: Shop) -> None:
    order = await a_paid_trade(market)
    notice = await due(market)
    notice.account_id = market.rival_account_id
    answer = await market.edge.DeliverNotice(notice)
    assert (answer.http_status, answer.body) == (403, b'{"ack":"wrong_account"}')
    assert (await market.now(order.order_id)).state == PENDING
    listed = await market.rival.ListAnomalies(order_pb2.ListAnomaliesRequest())
    assert anomaly_pb2.Anomaly.KIND_WRONG_ACCOUNT in {anomaly.kind for anomaly in listed.anomalies}
    assert all(not anomaly.order_id for anomaly in listed.anomalies)


async def test_a_genuine_notice_of_another_amount_is_held(market: Shop) -> None:
    order = await market.order()
    market.simulator.faults.plan_notice(NoticeFault.WRONG_AMOUNT, "trade")
    market.pay(await market.begun(order))
    assert (await market.edge.DeliverNotice(await due(market))).http_status == 200
    now = await market.now(order.order_id)
    assert now.state == PENDING
    assert [anomaly.kind for anomaly in now.open_anomalies] == [anomaly_pb2.Anomaly.KIND_AMOUNT_MISMATCH]
