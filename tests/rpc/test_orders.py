"""OrderService as its callers meet it: a real server on both databases."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from paycore.v1 import anomaly_pb2, cashier_pb2, order_pb2, payment_pb2
from paycore_sandbox.simulator import Fault
from tests.rpc.shop import NOW, SECOND, SHOP, Shop, a_close, a_payment, an_order, fresh, money
from tests.rpc.small import refusal

pytestmark = pytest.mark.asyncio(loop_scope="module")

PENDING, PAID = order_pb2.Order.STATE_PENDING, order_pb2.Order.STATE_PAID
CLOSING, CLOSED = order_pb2.Order.STATE_CLOSING, order_pb2.Order.STATE_CLOSED
DAY = 24 * 3600


def at(seconds: float) -> Timestamp:
    """An instant so many seconds from the shop's beginning."""
    stamp = Timestamp()
    stamp.FromMicroseconds(NOW + int(seconds * SECOND))
    return stamp


# ---------------------------------------------------------------------------------------------- the whole way


async def test_an_order_is_made_paid_and_found(market: Shop) -> None:
    order = await market.order(metadata={"shelf": "7"}, description="hot", expire_time=at(600))
    assert (order.state, order.version, order.etag) == (PENDING, 1, '"1"')
    assert (order.app_id, dict(order.metadata), order.description) == (SHOP, {"shelf": "7"}, "hot")
    assert order.expire_time == at(600)
    payment = await market.begun(order)
    assert payment.state == payment_pb2.Payment.STATE_PENDING
    assert payment.is_action_ready
    assert [step.kind for step in payment.action.steps] == ["qr"]
    market.pay(payment)
    [answer] = await market.deliver()
    assert (answer.http_status, answer.body) == (200, b'{"ack":"ok"}')
    paid = await market.now(order.order_id)
    assert (paid.state, paid.captured_minor, paid.effective_payment_id) == (PAID, 10_000, payment.payment_id)
    found = await market.app.GetOrder(order_pb2.GetOrderRequest(merchant_order_no=order.merchant_order_no))
    assert found.order == paid


async def test_a_query_alone_pays_as_well(market: Shop) -> None:
    order = await market.order()
    market.pay(await market.begun(order))
    answer = await market.app.SyncOrder(order_pb2.SyncOrderRequest(order_id=order.order_id))
    assert answer.order.state == PAID


async def test_an_action_of_the_app_carries_the_signed_order(market: Shop) -> None:
    order = await market.order()
    request = a_payment(order.order_id, method="app")
    request.client.face = "ios"
    payment = (await market.app.PayOrder(request)).payment
    step = payment.action.steps[0]
    assert (step.kind, step.target) == ("sdk", "ios")
    assert step.params_json.startswith("{")


# ---------------------------------------------------------------------------------------------- sent twice


async def test_the_same_request_is_the_same_order_as_it_stands_now(market: Shop) -> None:
    request = an_order()
    first = (await market.app.CreateOrder(request)).order
    market.pay(await market.begun(first))
    await market.deliver()
    again = (await market.app.CreateOrder(request)).order
    assert (again.order_id, again.state) == (first.order_id, PAID)


async def test_the_same_number_under_another_key_is_the_same_order(market: Shop) -> None:
    request = an_order()
    first = (await market.app.CreateOrder(request)).order
    request.request_id = fresh()
    assert (await market.app.CreateOrder(request)).order.order_id == first.order_id


async def test_the_same_key_of_another_app_is_another_order(market: Shop) -> None:
    request = an_order()
    ours = (await market.app.CreateOrder(request)).order
    theirs = (await market.rival.CreateOrder(request)).order
    assert ours.order_id != theirs.order_id
    assert ours.app_id != theirs.app_id


async def test_fifty_identical_creates_give_one_order_and_fifty_equal_answers(shop: Shop) -> None:
    request = an_order()
    answers = await asyncio.gather(*(shop.app.CreateOrder(request) for _ in range(50)))
    assert len({answer.SerializeToString(deterministic=True) for answer in answers}) == 1
    listed = await shop.app.ListOrders(order_pb2.ListOrdersRequest())
    assert [order.order_id for order in listed.orders] == [answers[0].order.order_id]


async def test_unknown_fields_are_no_content(market: Shop) -> None:
    request = an_order()
    first = (await market.app.CreateOrder(request)).order
    newer = order_pb2.CreateOrderRequest.FromString(request.SerializeToString() + b"\xfa\x3e\x03new")
    assert (await market.app.CreateOrder(newer)).order.order_id == first.order_id


async def test_paying_twice_by_the_same_key_is_one_payment(market: Shop) -> None:
    order = await market.order()
    request = a_payment(order.order_id)
    first, again = (await market.app.PayOrder(request)).payment, (await market.app.PayOrder(request)).payment
    assert again == first
    assert len((await market.now(order.order_id)).payments) == 1


async def test_paying_twice_in_the_same_way_is_one_payment(market: Shop) -> None:
    order = await market.order()
    first, again = await market.begun(order), await market.begun(order)
    assert again.payment_id == first.payment_id


async def test_closing_twice_is_closing_once(market: Shop) -> None:
    order = await market.order()
    request = a_close(order.order_id)
    first = (await market.app.CloseOrder(request)).order
    assert (await market.app.CloseOrder(request)).order == first
    assert (await market.app.CloseOrder(a_close(order.order_id))).order == first
    assert first.state == CLOSED


# ---------------------------------------------------------------------------------------------- what a channel does


async def test_a_decline_is_an_answer(market: Shop) -> None:
    order = await market.order()
    payment = await market.begun(order)
    market.scan(payment)
    market.simulator.decline(payment.payment_id, market.clock.now())
    answer = await market.app.SyncOrder(order_pb2.SyncOrderRequest(order_id=order.order_id))
    [failed] = answer.order.payments
    assert failed.state == payment_pb2.Payment.STATE_FAILED
    assert failed.failure.message_zh
    assert failed.failure.message_en


async def test_silence_is_an_answer_with_an_unknown_payment(market: Shop) -> None:
    order = await market.order()
    market.simulator.faults.plan(Fault.EFFECT_THEN_SILENCE, "trades", times=1)
    payment = await market.begun(order)
    assert payment.state == payment_pb2.Payment.STATE_UNKNOWN
    assert not payment.is_action_ready


async def test_closing_what_was_paid_meanwhile_tells_that_it_is_paid(market: Shop) -> None:
    order = await market.order()
    market.pay(await market.begun(order))
    answer = await market.app.CloseOrder(a_close(order.order_id))
    assert answer.order.state == PAID


async def test_closing_at_a_channel_that_is_silent_goes_on_by_itself(market: Shop) -> None:
    order = await market.order()
    market.scan(await market.begun(order))
    market.simulator.faults.plan(Fault.LOST, times=2)
    answer = await market.app.CloseOrder(a_close(order.order_id))
    assert answer.order.state == CLOSING
    market.clock.advance(30)
    await until(market, order.order_id, CLOSED)


async def until(shop: Shop, order_id: str, state: order_pb2.Order.State.ValueType) -> order_pb2.Order:
    for _ in range(200):
        order = await shop.now(order_id)
        if order.state == state:
            return order
        await asyncio.sleep(0.02)
    raise AssertionError(f"the order does not become {order_pb2.Order.State.Name(state)}")


# ---------------------------------------------------------------------------------------------- etags


async def test_an_etag_that_still_holds_lets_the_order_be_paid_and_closed(market: Shop) -> None:
    order = await market.order()
    payment = await market.begun(order, etag=order.etag)
    assert payment.payment_id
    fresh_one = await market.order()
    closed = (await market.app.CloseOrder(a_close(fresh_one.order_id, etag=fresh_one.etag))).order
    assert closed.state == CLOSED


@pytest.mark.parametrize("etag", ['"99"', "1", "x", '"1" '])
async def test_another_etag_changes_nothing(market: Shop, etag: str) -> None:
    order = await market.order()
    for call in (
        market.app.PayOrder(a_payment(order.order_id, etag=etag)),
        market.app.CloseOrder(a_close(order.order_id, etag=etag)),
    ):
        told = await refusal(call)
        assert (told.code, told.reason, told.fields) == ("ABORTED", "ETAG_MISMATCH", ("etag",))
    assert (await market.now(order.order_id)).version == 1


# ---------------------------------------------------------------------------------------------- lists


async def test_orders_are_listed_newest_first_page_by_page(shop: Shop) -> None:
    made = []
    for _ in range(7):
        made.append((await shop.order()).order_id)
        shop.clock.advance(1)
    seen: list[str] = []
    token, pages = "", 0
    while True:
        page = await shop.app.ListOrders(order_pb2.ListOrdersRequest(page_size=3, page_token=token))
        seen += [order.order_id for order in page.orders]
        assert all(not order.payments for order in page.orders)
        token, pages = page.next_page_token, pages + 1
        if not token:
            break
        await shop.order()  # what is made meanwhile is not on the pages behind
    assert seen == made[::-1]
    assert pages == 3


async def test_a_list_shows_only_what_was_asked_for(shop: Shop) -> None:
    paid, closed, waiting = await shop.paid(), await shop.closed(), await shop.order()
    await shop.rival.CreateOrder(an_order())

    async def listed(**filters: object) -> set[str]:
        answer = await shop.app.ListOrders(order_pb2.ListOrdersRequest(**filters))  # type: ignore[arg-type]
        return {order.order_id for order in answer.orders}

    assert await listed() == {paid.order_id, closed.order_id, waiting.order_id}
    assert await listed(states=[PAID, CLOSED]) == {paid.order_id, closed.order_id}
    assert await listed(start_time=at(1)) == set()
    assert await listed(start_time=at(-31 * DAY), end_time=at(0)) == set()
    assert await listed(end_time=at(1)) == {paid.order_id, closed.order_id, waiting.order_id}


async def test_events_are_listed_from_one_without_a_gap(market: Shop) -> None:
    order = await market.paid()
    first = await market.app.ListOrderEvents(order_pb2.ListOrderEventsRequest(order_id=order.order_id, page_size=2))
    seen, token = list(first.events), first.next_page_token
    while token:
        page = await market.app.ListOrderEvents(
            order_pb2.ListOrderEventsRequest(order_id=order.order_id, page_size=2, page_token=token)
        )
        seen += page.events
        token = page.next_page_token
    assert [event.version for event in seen] == list(range(1, order.version + 1))
    assert [event.kind for event in seen if event.WhichOneof("changed") == "order"] == ["order.created", "order.paid"]
    behind = await market.app.ListOrderEvents(
        order_pb2.ListOrderEventsRequest(order_id=order.order_id, after_version=3)
    )
    assert [event.version for event in behind.events] == list(range(4, order.version + 1))


async def test_a_story_says_what_happened_and_how_we_know(market: Shop) -> None:
    order = await market.paid()
    story = await market.app.ExplainOrder(order_pb2.ExplainOrderRequest(order_id=order.order_id))
    assert story.order == order
    assert [entry.version for entry in story.entries if entry.version] == list(range(1, order.version + 1))
    assert any("verified" in entry.evidence for entry in story.entries)
    assert all(entry.what.endswith(".") for entry in story.entries)


# ---------------------------------------------------------------------------------------------- anomalies


async def test_a_second_payment_held_is_listed_and_given_back(shop: Shop) -> None:
    order = await shop.order(surplus_policy=order_pb2.SURPLUS_POLICY_HOLD)
    payment = await shop.begun(order)
    shop.scan(payment)
    closed = (await shop.app.CloseOrder(a_close(order.order_id))).order
    assert closed.state == CLOSED
    shop.simulator.pay(payment.payment_id, shop.clock.now(), even_if_over=True)
    await shop.deliver()
    listed = await shop.app.ListAnomalies(order_pb2.ListAnomaliesRequest(order_id=order.order_id))
    [anomaly] = listed.anomalies
    assert (anomaly.kind, anomaly.state) == (anomaly_pb2.Anomaly.KIND_LATE_PAYMENT, anomaly_pb2.Anomaly.STATE_OPEN)
    assert (anomaly.order_id, anomaly.amount) == (order.order_id, money(10_000))
    request = order_pb2.ResolveAnomalyRequest(
        anomaly_id=anomaly.anomaly_id, remedy=anomaly_pb2.REMEDY_REFUND, note="asked by phone", request_id=fresh()
    )
    done = await shop.app.ResolveAnomaly(request)
    assert (done.anomaly.remedy, done.anomaly.note) == (anomaly_pb2.REMEDY_REFUND, "asked by phone")
    assert [refund.amount for refund in done.order.refunds] == [money(10_000)]
    assert (await shop.app.ResolveAnomaly(request)).anomaly == done.anomaly
    request.request_id, request.remedy = fresh(), anomaly_pb2.REMEDY_RELEASE
    told = await refusal(shop.app.ResolveAnomaly(request))
    assert (told.code, told.reason) == ("FAILED_PRECONDITION", "ANOMALY_RESOLVED")
    open_ones = order_pb2.ListAnomaliesRequest(state=anomaly_pb2.Anomaly.STATE_OPEN)
    assert not (await shop.app.ListAnomalies(open_ones)).anomalies


async def test_a_purchase_that_names_nobody_is_claimed(shop: Shop) -> None:
    item = order_pb2.LineItem(product_id="tea.cup", name="cup", quantity=1, unit_amount_minor=10_000)
    order = await shop.order(line_items=[item])
    payment = await shop.begun(order, method="store")
    stranger = "0f8fad5b-d9cb-469f-a165-70867728950e"
    receipt = shop.simulator.buy("tea.cup", stranger, shop.clock.now(), amount_minor=9_900)
    proof = cashier_pb2.ConfirmPaymentRequest(channel="sandbox", evidence=receipt, request_id=fresh())
    assert (await refusal(shop.app.ConfirmPayment(proof))).reason == "EVIDENCE_MISMATCH"
    [orphan] = (await shop.app.ListAnomalies(order_pb2.ListAnomaliesRequest())).anomalies
    assert (orphan.order_id, orphan.amount) == ("", money(9_900))
    claim = order_pb2.ResolveAnomalyRequest(
        anomaly_id=orphan.anomaly_id,
        remedy=anomaly_pb2.REMEDY_ACCEPT,
        note="bought on an old phone",
        payment_id=payment.payment_id,
        request_id=fresh(),
    )
    done = await shop.app.ResolveAnomaly(claim)
    assert (done.order.order_id, done.order.state) == (order.order_id, PAID)
    assert (done.anomaly.order_id, done.anomaly.payment_id) == (order.order_id, payment.payment_id)
    assert await shop.app.ResolveAnomaly(claim) == done
    claim.payment_id, claim.request_id = "", fresh()
    assert (await refusal(shop.app.ResolveAnomaly(claim))).reason == "ANOMALY_RESOLVED"
    proof.request_id = fresh()
    assert (await shop.app.ConfirmPayment(proof)).may_finish
    told = await shop.app.ListOrderEvents(order_pb2.ListOrderEventsRequest(order_id=order.order_id))
    [event] = [one for one in told.events if one.kind == "order.paid"]
    assert event.cause == "PurchaseClaimed"


async def test_anomalies_are_listed_page_by_page(shop: Shop) -> None:
    for _ in range(3):
        order = await shop.order(surplus_policy=order_pb2.SURPLUS_POLICY_HOLD)
        shop.pay(await shop.begun(order), amount_minor=9_999)
        await shop.deliver()
        shop.clock.advance(1)
    first = await shop.app.ListAnomalies(order_pb2.ListAnomaliesRequest(page_size=2))
    rest = await shop.app.ListAnomalies(order_pb2.ListAnomaliesRequest(page_size=2, page_token=first.next_page_token))
    found = [*first.anomalies, *rest.anomalies]
    assert len({anomaly.anomaly_id for anomaly in found}) == 3
    assert {anomaly.kind for anomaly in found} == {anomaly_pb2.Anomaly.KIND_AMOUNT_MISMATCH}
    assert not rest.next_page_token
    assert not (await shop.rival.ListAnomalies(order_pb2.ListAnomaliesRequest())).anomalies


# ---------------------------------------------------------------------------------------------- time


async def test_an_order_that_nobody_pays_expires(market: Shop) -> None:
    order = await market.order(expire_time=at(600))
    market.clock.advance(601)
    closed = await until(market, order.order_id, CLOSED)
    assert closed.close_reason == order_pb2.Order.CLOSE_REASON_EXPIRED


async def test_a_deadline_of_a_millisecond_leaves_the_order_to_be_found(shop: Shop) -> None:
    request = an_order()
    with pytest.raises(grpc.aio.AioRpcError) as late:
        await shop.app.CreateOrder(request, timeout=0.0001)
    assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    order = (await shop.app.CreateOrder(request)).order
    listed = await shop.app.ListOrders(order_pb2.ListOrdersRequest())
    assert [one.order_id for one in listed.orders] == [order.order_id]
