"""CashierService as an app and a payer's client meet it: a real server on both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc
import pytest
import pytest_asyncio

from paycore.client.errors import Forbidden, from_rpc
from paycore.core.offers import Offer, OfferKind
from paycore.store import OfferState, StoredOffer
from paycore.v1 import cashier_pb2, common_pb2, order_pb2, payment_pb2, refund_pb2
from paycore.v1.cashier_pb2 import CashierOption as Option
from paycore.v1.cashier_pb2 import CashierSession as Session
from tests.rpc.shop import NOW, SHOP, Shop, a_session, fresh, money
from tests.rpc.test_bad_input_services import a_proof, a_report, store_payment, token_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

PENDING, PAID = order_pb2.Order.STATE_PENDING, order_pb2.Order.STATE_PAID
SUCCEEDED = payment_pb2.Payment.STATE_SUCCEEDED


def submitting(session: Session, method: str = "qr", **more: object) -> cashier_pb2.SubmitPaymentRequest:
    return cashier_pb2.SubmitPaymentRequest(
        session_id=session.session_id,
        channel="sandbox",
        method=method,
        request_id=fresh(),
        **more,  # type: ignore[arg-type]
    )


def option(session: Session, method: str, channel: str = "sandbox") -> Option:
    [found] = [one for one in session.options if (one.channel, one.method) == (channel, method)]
    return found


# ---------------------------------------------------------------------------------------------- sessions


async def test_a_session_shows_the_order_and_every_way_to_pay_it(market: Shop) -> None:
    order = await market.order(return_url="https://shop.example/back", description="hot")
    session, _ = await market.open_session(order, face="pc")
    assert (session.order_id, session.order_state, session.version) == (order.order_id, PENDING, 1)
    assert (session.subject, session.description, session.amount) == ("a cup of tea", "hot", money(10_000))
    assert session.return_url == "https://shop.example/back"
    assert session.order_expire_time == order.expire_time
    assert {one.channel for one in session.options} == {"sandbox", "strict", "oneway"}
    qr = option(session, "qr")
    assert (qr.availability, qr.scene, qr.amount) == (Option.AVAILABILITY_AVAILABLE, "qr", money(10_000))
    assert qr.display_name_zh
    assert qr.display_name_en
    assert not qr.HasField("reason")
    assert list(option(session, "qr", "strict").required_inputs) == ["openid"]


async def test_a_way_that_cannot_be_chosen_says_why(market: Shop) -> None:
    session, _ = await market.open_session(await market.order(), face="pc")
    app = option(session, "app")
    assert app.availability == Option.AVAILABILITY_UNAVAILABLE
    assert app.reason.code == "FACE_NOT_SUITED"
    assert app.reason.message_zh
    assert app.reason.message_en
    kinds = [one.availability for one in session.options]
    assert kinds == sorted(kinds), "what cannot be chosen comes last"
    assert [one.is_recommended for one in session.options].count(True) == 1
    assert session.options[0].is_recommended


async def test_a_phone_is_offered_the_app_first(market: Shop) -> None:
    session, _ = await market.open_session(await market.order(), face="ios", installed_apps=["sandbox"])
    assert option(session, "app").availability == Option.AVAILABILITY_AVAILABLE
    assert session.options[0].scene == "app"


async def test_the_same_request_gives_the_same_session_and_token(market: Shop) -> None:
    request = a_session((await market.order()).order_id)
    first = await market.app.CreateCashierSession(request)
    again = await market.app.CreateCashierSession(request)
    assert (again.session.session_id, again.session_token) == (first.session.session_id, first.session_token)
    request.request_id = fresh()
    other = await market.app.CreateCashierSession(request)
    assert other.session_token != first.session_token


async def test_a_session_is_read_by_its_token_and_by_the_app(market: Shop) -> None:
    session, visitor = await market.open_session(await market.order())
    request = cashier_pb2.GetCashierSessionRequest(session_id=session.session_id)
    assert (await visitor.GetCashierSession(request)).session == session
    assert (await market.app.GetCashierSession(request)).session == session


async def test_a_client_that_changed_is_offered_what_suits_it_now(market: Shop) -> None:
    session, visitor = await market.open_session(await market.order(), face="pc")
    request = cashier_pb2.GetCashierSessionRequest(
        session_id=session.session_id, client=common_pb2.ClientContext(face="ios")
    )
    now = (await visitor.GetCashierSession(request)).session
    assert option(now, "app").availability == Option.AVAILABILITY_AVAILABLE


async def test_a_session_lives_no_longer_than_its_order(market: Shop) -> None:
    order = await market.order()
    request = a_session(order.order_id)
    request.lifetime_seconds = 86_400
    session = (await market.app.CreateCashierSession(request)).session
    assert session.expire_time == order.expire_time


# ---------------------------------------------------------------------------------------------- paying


async def test_a_payer_chooses_pays_and_sees_it(market: Shop) -> None:
    session, visitor = await market.open_session(await market.order())
    answer = await visitor.SubmitPayment(submitting(session))
    assert (answer.order_state, answer.payment.state) == (PENDING, payment_pb2.Payment.STATE_PENDING)
    assert [step.kind for step in answer.payment.action.steps] == ["qr"]
    market.pay(answer.payment)
    await market.deliver()
    now = (await visitor.GetCashierSession(cashier_pb2.GetCashierSessionRequest(session_id=session.session_id))).session
    assert (now.order_state, now.payment.state) == (PAID, SUCCEEDED)
    assert now.version > answer.version
    assert all(one.availability == Option.AVAILABILITY_UNAVAILABLE for one in now.options)
    assert {one.reason.code for one in now.options} == {"ORDER_NOT_PAYABLE"}


async def test_submitting_twice_is_one_payment(market: Shop) -> None:
    session, visitor = await market.open_session(await market.order())
    request = submitting(session)
    first, again = await visitor.SubmitPayment(request), await visitor.SubmitPayment(request)
    assert first == again


async def test_the_session_s_client_shapes_the_action(market: Shop) -> None:
    session, visitor = await market.open_session(await market.order(), face="android")
    answer = await visitor.SubmitPayment(submitting(session, "app"))
    assert (answer.payment.action.steps[0].kind, answer.payment.action.steps[0].target) == ("sdk", "android")


async def test_choosing_otherwise_closes_the_first_choice(market: Shop) -> None:
    order = await market.order()
    session, visitor = await market.open_session(order)
    first = (await visitor.SubmitPayment(submitting(session))).payment
    market.scan(first)
    second = (await visitor.SubmitPayment(submitting(session, "redirect"))).payment
    assert second.payment_id != first.payment_id
    states = {one.payment_id: one.state for one in (await market.now(order.order_id)).payments}
    assert states == {
        first.payment_id: payment_pb2.Payment.STATE_CLOSED,
        second.payment_id: payment_pb2.Payment.STATE_PENDING,
    }


# ---------------------------------------------------------------------------------------------- hints


@pytest.mark.parametrize("outcome", cashier_pb2.ClientOutcome.values()[1:])
async def test_83_what_the_phone_claims_changes_nothing(market: Shop, outcome: int) -> None:
    session, visitor = await market.open_session(await market.order())
    payment = (await visitor.SubmitPayment(submitting(session))).payment
    market.scan(payment)
    request = a_report(payment.payment_id, outcome)
    request.raw_code, request.raw_text = "9000", "paid!"
    answer = await visitor.ReportClientResult(request)
    assert (answer.order_state, answer.payment.state) == (PENDING, payment_pb2.Payment.STATE_PENDING)


async def test_a_claim_makes_us_ask_at_once(market: Shop) -> None:
    session, visitor = await market.open_session(await market.order())
    payment = (await visitor.SubmitPayment(submitting(session))).payment
    market.pay(payment)
    answer = await visitor.ReportClientResult(a_report(payment.payment_id))
    assert (answer.order_state, answer.payment.state) == (PAID, SUCCEEDED)


# ---------------------------------------------------------------------------------------------- evidence


async def test_a_receipt_pays_and_may_be_finished(market: Shop) -> None:
    payment = await store_payment(market)
    _, visitor = await market.open_session(await market.now(payment.order_id))
    receipt = market.buy(payment, amount_minor=9_900)
    answer = await visitor.ConfirmPayment(a_proof(receipt, payment_id=payment.payment_id))
    assert (answer.order_id, answer.order_state, answer.may_finish) == (payment.order_id, PAID, True)
    assert (answer.payment.state, answer.payment.captured_minor) == (SUCCEEDED, 9_900)


async def test_91_the_same_receipt_again_changes_nothing(market: Shop) -> None:
    payment = await store_payment(market)
    receipt = market.buy(payment, amount_minor=10_000)
    first = await market.app.ConfirmPayment(a_proof(receipt, payment_id=payment.payment_id))
    again = await market.app.ConfirmPayment(a_proof(receipt, payment_id=payment.payment_id))
    assert again == first


async def test_an_app_may_hand_in_a_receipt_that_names_no_payment(market: Shop) -> None:
    payment = await store_payment(market)
    answer = await market.app.ConfirmPayment(a_proof(market.buy(payment, amount_minor=10_000)))
    assert (answer.order_id, answer.order_state) == (payment.order_id, PAID)
    assert answer.payment.payment_id == payment.payment_id


async def test_94_what_the_store_gave_back_never_pays(market: Shop) -> None:
    payment = await store_payment(market)
    receipt = market.buy(payment, amount_minor=10_000)
    market.simulator.purchase_notify_url = f"https://pay.example/v1/notices/{market.account_id}"
    market.simulator.refund_in_store(token_of(payment), market.clock.now())
    await market.deliver()  # the store tells of the refund, and the purchase's notice is still under way
    answer = await market.app.ConfirmPayment(a_proof(receipt, payment_id=payment.payment_id))
    assert answer.order_state == PENDING
    [refund] = (await market.now(payment.order_id)).refunds
    assert refund.origin == refund_pb2.Refund.ORIGIN_CHANNEL


# ---------------------------------------------------------------------------------------------- offers


@pytest_asyncio.fixture(loop_scope="module")
async def ten_off(market: Shop) -> AsyncIterator[None]:
    """Ten off for everybody who pays by the sandbox's QR, while a test lasts."""
    offer = Offer("of-ten", "立减十元", "Ten off", OfferKind.FIXED, "CNY", 1000, methods=("sandbox.qr",))
    offers = [StoredOffer(offer, SHOP, NOW, state) for state in (OfferState.ACTIVE, OfferState.PAUSED)]
    for stored, then in zip(offers, ("yield", "end"), strict=True):
        with market.store.write() as unit:
            unit.put_offer(stored)
        market.clock.advance(2)
        if then == "yield":
            yield


async def test_an_option_shows_its_offers_and_is_paid_at_that_price(market: Shop, ten_off: None) -> None:
    order = await market.order(merchant_payer_no="u-17")
    session, visitor = await market.open_session(order)
    qr = option(session, "qr")
    [ten] = qr.offers
    assert (ten.offer_id, ten.title_zh, ten.title_en, ten.discount) == ("of-ten", "立减十元", "Ten off", money(1000))
    assert (qr.amount, session.amount, option(session, "redirect").amount) == (
        money(9000),
        money(10_000),
        money(10_000),
    )
    assert not qr.is_last_used
    payment = (await visitor.SubmitPayment(submitting(session, quote_token=qr.quote_token))).payment
    assert (payment.amount, list(payment.offers)) == (money(9000), [ten])
    market.pay(payment)
    await market.deliver()
    now = await market.now(order.order_id)
    assert (now.state, now.amount, now.captured_minor, now.merchant_payer_no) == (PAID, money(10_000), 9000, "u-17")
    later, _ = await market.open_session(await market.order(merchant_payer_no="u-17"))
    assert [one.method for one in later.options if one.is_last_used] == ["qr"]


async def test_a_price_that_changed_is_refused_with_the_new_one(market: Shop, ten_off: None) -> None:
    session, visitor = await market.open_session(await market.order())
    shown = option(session, "redirect")
    with pytest.raises(grpc.aio.AioRpcError) as told:
        await visitor.SubmitPayment(submitting(session, quote_token=shown.quote_token))
    error = from_rpc(told.value)
    assert isinstance(error, Forbidden)
    assert (error.reason, error.metadata["amount_minor"]) == ("QUOTE_CHANGED", "9000")
    assert error.quote is not None
    assert (error.quote.method, error.quote.amount, error.quote.offers[0].offer_id) == ("qr", money(9000), "of-ten")
    answer = await visitor.SubmitPayment(submitting(session, quote_token=error.quote.quote_token))
    assert answer.payment.amount == money(9000)


async def test_what_cannot_be_chosen_has_no_quote(market: Shop) -> None:
    session, _ = await market.open_session(await market.order(), face="pc")
    assert not option(session, "app").quote_token
    assert option(session, "qr").quote_token
