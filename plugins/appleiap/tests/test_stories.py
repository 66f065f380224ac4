"""Whole lives against the simulated App Store, through the real engine, on both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from paycore.channel import OperationDone, RawNotice
from paycore.core.order import AnomalyKind, Order, OrderState, Origin, PaymentState, RefundOrigin, RefundState
from paycore.core.refusals import Reason
from paycore.store import Store
from paycore_appleiap.simulator import Authority, NoticeFault, Sale

from .support import DAY, HOUR, MINUTE, NOW, SECOND
from .world import APP, PRODUCT, Shop


@pytest.fixture
async def shop(ready_url: str) -> AsyncIterator[Shop]:
    store = Store.open(ready_url, check_durability=False)
    try:
        shop = await Shop.opened(store)
        yield shop
        await shop.engine.stop(0)
    finally:
        store.close()


async def bought(shop: Shop, **terms: object) -> tuple[Order, Sale]:
    """An order that a phone paid for, and we know it."""
    order = await shop.order()
    payment = await shop.pay(order)
    sale = shop.simulator.buy(payment.plan_json, shop.clock.now(), amount_minor=600)
    for name, value in terms.items():
        setattr(sale, name, value)
    order, may_finish = await shop.confirm(shop.simulator.signed(sale, shop.clock.now()), payment)
    assert (order.state, may_finish) == (OrderState.PAID, True)
    return order, sale


async def anomalies(shop: Shop) -> list[AnomalyKind]:
    with shop.store.read() as unit:
        return [one.anomaly.kind for one in unit.list_anomalies(app_id=APP, limit=50)]


# ---------------------------------------------------------------------------------------------- buying


async def test_a_phone_buys_and_the_proof_pays(shop: Shop) -> None:
    order = await shop.order(quantity=2)
    payment = await shop.pay(order)
    assert shop.simulator.calls == [], "Apple knows nothing of an order"
    evidence = shop.simulator.purchase(payment.plan_json, shop.clock.now(), amount_minor=199, currency="USD")
    order, may_finish = await shop.confirm(evidence, payment)
    assert (order.state, may_finish) == (OrderState.PAID, True)
    paid = order.payments[0]
    assert (paid.captured_minor, paid.captured_currency) == (199, "USD"), "the store's price, not the order's"


async def test_the_same_proof_again_is_the_same_answer(shop: Shop) -> None:
    order = await shop.order()
    payment = await shop.pay(order)
    evidence = shop.simulator.purchase(payment.plan_json, shop.clock.now(), amount_minor=600)
    first, _ = await shop.confirm(evidence, payment)
    again, may_finish = await shop.confirm(evidence, payment)
    assert (again.version, may_finish) == (first.version, True)


async def test_an_unfinished_transaction_finds_its_order_by_token(shop: Shop) -> None:
    order = await shop.order()
    payment = await shop.pay(order)
    evidence = shop.simulator.purchase(payment.plan_json, shop.clock.now(), amount_minor=600)
    found, may_finish = await shop.confirm(evidence)
    assert (found.order_id, found.state, may_finish) == (order.order_id, OrderState.PAID, True)


async def test_apples_notice_pays_without_the_phone(shop: Shop) -> None:
    order = await shop.order()
    payment = await shop.pay(order)
    sale = shop.simulator.buy(payment.plan_json, shop.clock.now(), amount_minor=600)
    shop.simulator.announce("ONE_TIME_CHARGE", sale, shop.clock.now())
    assert [reply.status for reply in await shop.deliver()] == [200]
    assert (await shop.stands(order)).state is OrderState.PAID


async def test_a_purchase_that_a_parent_approves_days_later_pays_the_closed_order(shop: Shop) -> None:
    order = await shop.order()
    payment = await shop.pay(order)
    pending = shop.simulator.ask_to_buy(payment.plan_json, shop.clock.now(), amount_minor=600)
    await shop.wait((payment.expires_at - NOW) // SECOND + 180)
    assert (await shop.stands(order)).state is OrderState.CLOSED
    shop.clock.advance((2 * DAY) // SECOND)
    sale = shop.simulator.approve(pending, shop.clock.now())
    order, may_finish = await shop.confirm(shop.simulator.signed(sale, shop.clock.now()))
    assert (order.state, may_finish) == (OrderState.PAID, True)
    assert [one for one in order.anomalies if one.is_open] == []


async def test_what_nobody_buys_is_closed_after_its_time(shop: Shop) -> None:
    order = await shop.order()
    payment = await shop.pay(order)
    await shop.wait((payment.expires_at - NOW) // SECOND + 180)
    order = await shop.stands(order)
    assert (order.state, order.payments[0].state) == (OrderState.CLOSED, PaymentState.CLOSED)
    assert shop.simulator.calls == []


# ---------------------------------------------------------------------------------------------- bad input, row by row


async def test_what_is_no_jws_is_malformed(shop: Shop) -> None:
    payment = await shop.pay(await shop.order())
    jws = shop.simulator.purchase(payment.plan_json, shop.clock.now(), amount_minor=600)
    for evidence in ("", "not a JWS", jws.rpartition(".")[0], f"{jws}.AAAA"):
        assert await shop.refused(evidence, payment) is Reason.EVIDENCE_MALFORMED


async def test_every_forged_chain_is_untrusted(shop: Shop) -> None:
    order = await shop.order()
    payment = await shop.pay(order)
    sale = shop.simulator.buy(payment.plan_json, shop.clock.now(), amount_minor=600)
    document = sale.document("Sandbox", shop.clock.now())
    for name, evidence in shop.simulator.forged(document).items():
        assert await shop.refused(evidence, payment) is Reason.EVIDENCE_UNTRUSTED, name
    assert (await shop.stands(order)).state is OrderState.PENDING


async def test_a_leaf_that_had_expired_is_untrusted(shop: Shop) -> None:
    from datetime import UTC, datetime

    payment = await shop.pay(await shop.order())
    sale = shop.simulator.buy(payment.plan_json, shop.clock.now(), amount_minor=600)
    expired = Authority("stories", leaf_end=datetime(2025, 1, 1, tzinfo=UTC))
    evidence = expired.sign(sale.document("Sandbox", shop.clock.now()))
    assert await shop.refused(evidence, payment) is Reason.EVIDENCE_UNTRUSTED


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"bundleId": "com.example.other"}, Reason.RECEIPT_WRONG_APP),
        ({"environment": "Production"}, Reason.RECEIPT_WRONG_ENV),
        ({"environment": "Xcode"}, Reason.RECEIPT_WRONG_ENV),
        ({"environment": "LocalTesting"}, Reason.RECEIPT_WRONG_ENV),
        ({"environment": None}, Reason.RECEIPT_WRONG_ENV),
        ({"signedDate": None}, Reason.EVIDENCE_UNTRUSTED),
    ],
    ids=str,
)
async def test_another_app_and_another_world_are_told_apart(
    shop: Shop, wrong: dict[str, object], reason: Reason
) -> None:
    payment = await shop.pay(await shop.order())
    sale = shop.simulator.buy(payment.plan_json, shop.clock.now(), amount_minor=600)
    document = {**sale.document("Sandbox", shop.clock.now()), **wrong}
    assert await shop.refused(shop.simulator.authority.sign(document), payment) is reason
    forged = shop.simulator.forger.sign({**document, "environment": "Production", "bundleId": "com.example.other"})
    assert await shop.refused(forged, payment) is Reason.EVIDENCE_UNTRUSTED, "a stranger learns nothing more"


async def test_one_transaction_pays_one_order(shop: Shop) -> None:
    _, sale = await bought(shop)
    other = await shop.order()
    payment = await shop.pay(other)
    evidence = shop.simulator.signed(sale, shop.clock.now())
    assert await shop.refused(evidence, payment) is Reason.EVIDENCE_USED
    sale.token = payment.token
    evidence = shop.simulator.signed(sale, shop.clock.now())
    assert await shop.refused(evidence, payment) is Reason.EVIDENCE_USED
    assert (await shop.stands(other)).state is OrderState.PENDING


async def test_another_orders_proof_pays_that_order_and_not_this_one(shop: Shop) -> None:
    first, second = await shop.order(), await shop.order()
    one, two = await shop.pay(first), await shop.pay(second)
    evidence = shop.simulator.purchase(one.plan_json, shop.clock.now(), amount_minor=600)
    assert await shop.refused(evidence, two) is Reason.RECEIPT_WRONG_ACCOUNT
    assert await shop.refused(evidence, two) is Reason.EVIDENCE_USED, "now it has paid the other one"
    assert (await shop.stands(first)).state is OrderState.PAID
    assert (await shop.stands(second)).state is OrderState.PENDING


@pytest.mark.parametrize("wrong", [{"product_id": "com.example.game.gold1"}, {"quantity": 2}], ids=str)
async def test_another_product_or_quantity_is_a_mismatch(shop: Shop, wrong: dict[str, object]) -> None:
    order = await shop.order()
    payment = await shop.pay(order)
    sale = shop.simulator.buy(payment.plan_json, shop.clock.now(), amount_minor=600)
    for name, value in wrong.items():
        setattr(sale, name, value)
    evidence = shop.simulator.signed(sale, shop.clock.now())
    assert await shop.refused(evidence, payment) is Reason.EVIDENCE_MISMATCH
    assert (await shop.stands(order)).state is OrderState.PENDING


async def test_a_free_trial_is_a_purchase_for_nothing(shop: Shop) -> None:
    order, sale = await bought(shop, price_milli=0, kind="Auto-Renewable Subscription")
    assert [(one.captured_minor, one.state) for one in order.payments] == [(0, PaymentState.SUCCEEDED)]
    for tell in (shop.simulator.refund, shop.simulator.reverse_refund):
        tell(sale, shop.clock.now())
        assert [reply.status for reply in await shop.deliver()] == [200]
    assert (await shop.stands(order)).refunds == ()
    shop.simulator.renew(sale, shop.clock.now())
    assert [reply.status for reply in await shop.deliver()] == [200]
    assert await anomalies(shop) == [AnomalyKind.ORPHAN_NOTICE], "a free period is no debt, and so no order"
    sale.price_milli = 15_000
    shop.simulator.renew(sale, shop.clock.now())
    await shop.deliver()
    with shop.store.read() as unit:
        assert len(unit.list_orders(app_id=APP, limit=10)) == 2, "the first period that costs something is one"


async def test_a_free_purchase_that_was_taken_away_pays_nothing(shop: Shop) -> None:
    order = await shop.order()
    payment = await shop.pay(order)
    sale = shop.simulator.buy(payment.plan_json, shop.clock.now(), amount_minor=0)
    shop.simulator.refund(sale, shop.clock.now())
    assert await shop.refused(shop.simulator.signed(sale, shop.clock.now()), payment) is Reason.EVIDENCE_MISMATCH
    assert (await shop.stands(order)).state is OrderState.PENDING


async def test_a_revoked_transaction_pays_nothing(shop: Shop) -> None:
    order = await shop.order()
    payment = await shop.pay(order)
    sale = shop.simulator.buy(payment.plan_json, shop.clock.now(), amount_minor=600)
    shop.simulator.refund(sale, shop.clock.now())
    evidence = shop.simulator.signed(sale, shop.clock.now())
    assert await shop.refused(evidence, payment) is Reason.RECEIPT_REVOKED
    order = await shop.stands(order)
    assert order.state is not OrderState.PAID
    [refund] = order.refunds
    assert (refund.origin, refund.state, refund.amount_minor) == (RefundOrigin.CHANNEL, RefundState.SUCCEEDED, 600)


async def test_an_unknown_token_waits_as_an_anomaly(shop: Shop) -> None:
    token = "00000000-0000-4000-8000-000000000005"
    sale = shop.simulator.sell("com.example.game.gold100", shop.clock.now(), amount_minor=600, token=token)
    evidence = shop.simulator.signed(sale, shop.clock.now())
    assert await shop.refused(evidence) is Reason.EVIDENCE_MISMATCH
    assert await shop.refused(evidence) is Reason.EVIDENCE_MISMATCH
    assert await anomalies(shop) == [AnomalyKind.ORPHAN_NOTICE]


async def test_a_purchase_with_a_stale_token_is_claimed_for_its_order(shop: Shop) -> None:
    order = await shop.order()
    payment = await shop.pay(order)
    token = "00000000-0000-4000-8000-000000000005"
    sale = shop.simulator.sell(PRODUCT, shop.clock.now(), amount_minor=600, token=token)
    evidence = shop.simulator.signed(sale, shop.clock.now())
    assert await shop.refused(evidence, payment) is Reason.RECEIPT_WRONG_ACCOUNT
    order = await shop.claim(payment)
    assert (order.state, order.payments[0].channel_trade_no) == (OrderState.PAID, sale.transaction_id)
    confirmed, may_finish = await shop.confirm(shop.simulator.signed(sale, shop.clock.now()))
    assert (confirmed.order_id, may_finish) == (order.order_id, True)
    shop.simulator.refund(sale, shop.clock.now())
    assert [reply.status for reply in await shop.deliver()] == [200]
    assert [one.amount_minor for one in (await shop.stands(order)).refunds] == [600]


async def test_an_offer_code_that_no_order_asked_for_becomes_an_order(shop: Shop) -> None:
    sale = shop.simulator.sell("com.example.game.vip", shop.clock.now(), amount_minor=1500)
    sale.kind = "Auto-Renewable Subscription"
    shop.simulator.announce("OFFER_REDEEMED", sale, shop.clock.now())
    await shop.deliver()
    order = await shop.claim()
    assert (order.state, order.origin, order.details.subject) == (OrderState.PAID, Origin.CHANNEL, sale.product_id)
    _, may_finish = await shop.confirm(shop.simulator.signed(sale, shop.clock.now()))
    assert may_finish
    shop.simulator.renew(sale, shop.clock.now())
    await shop.deliver()
    with shop.store.read() as unit:
        assert len(unit.list_orders(app_id=APP, limit=10)) == 2, "its next period finds it too"


async def test_buying_twice_under_one_token_hides_no_money(shop: Shop) -> None:
    order, sale = await bought(shop)
    again = shop.simulator.sell(PRODUCT, shop.clock.now(), amount_minor=600, token=sale.token)
    assert await shop.refused(shop.simulator.signed(again, shop.clock.now())) is Reason.EVIDENCE_USED
    assert await anomalies(shop) == [AnomalyKind.ORPHAN_NOTICE]
    claimed = await shop.claim()
    assert claimed.order_id != order.order_id
    assert (await shop.confirm(shop.simulator.signed(again, shop.clock.now())))[0].order_id == claimed.order_id
    assert (await shop.confirm(shop.simulator.signed(sale, shop.clock.now())))[0].order_id == order.order_id


async def test_an_old_proof_that_apple_cannot_be_asked_about_waits(shop: Shop) -> None:
    order = await shop.order()
    payment = await shop.pay(order)
    evidence = shop.simulator.purchase(payment.plan_json, shop.clock.now(), amount_minor=600)
    shop.clock.advance((11 * MINUTE) // SECOND)
    shop.simulator.failures.append((500, 5_000_001))
    assert await shop.refused(evidence, payment) is Reason.CONFLICT_RETRY
    order, may_finish = await shop.confirm(evidence, payment)
    assert (order.state, may_finish) == (OrderState.PAID, True)


# ---------------------------------------------------------------------------------------------- what Apple does by itself


async def test_apple_gives_back_and_takes_back(shop: Shop) -> None:
    order, sale = await bought(shop)
    shop.simulator.refund(sale, shop.clock.now())
    assert [reply.status for reply in await shop.deliver()] == [200]
    [refund] = (await shop.stands(order)).refunds
    assert (refund.origin, refund.state, refund.amount_minor) == (RefundOrigin.CHANNEL, RefundState.SUCCEEDED, 600)
    shop.simulator.reverse_refund(sale, shop.clock.now())
    await shop.deliver()
    order = await shop.stands(order)
    assert (order.state, order.refunds[0].state) == (OrderState.PAID, RefundState.REVERSED)
    assert order.payments[0].balance_minor == 600


async def test_a_part_of_a_subscription_is_given_back(shop: Shop) -> None:
    order, sale = await bought(shop)
    shop.simulator.refund(sale, shop.clock.now(), share_milli=50_000)
    await shop.deliver()
    assert [one.amount_minor for one in (await shop.stands(order)).refunds] == [300]


async def test_a_renewal_is_an_order_of_its_own(shop: Shop) -> None:
    first, sale = await bought(shop, kind="Auto-Renewable Subscription")
    shop.clock.advance((30 * DAY) // SECOND)
    shop.simulator.renew(sale, shop.clock.now())
    shop.simulator.plan_notice(NoticeFault.DUPLICATE)
    assert {reply.status for reply in await shop.deliver()} == {200}
    with shop.store.read() as unit:
        found = [one for one in unit.list_orders(app_id=APP, limit=10) if one.origin is Origin.CHANNEL]
    [renewed] = [await shop.stands(one) for one in found]
    assert (renewed.state, renewed.amount_minor, renewed.merchant_order_no) == (OrderState.PAID, 600, "")
    assert (await shop.stands(first)).version == first.version, "the first purchase is not told again"
    assert await anomalies(shop) == []


async def test_a_renewal_of_what_we_never_sold_is_an_anomaly(shop: Shop) -> None:
    sale = shop.simulator.sell("com.example.game.vip", shop.clock.now(), amount_minor=600)
    shop.simulator.renew(sale, shop.clock.now())
    assert [reply.status for reply in await shop.deliver()] == [200]
    assert await anomalies(shop) == [AnomalyKind.ORPHAN_NOTICE]


@pytest.mark.parametrize(
    "kind",
    "CONSUMPTION_REQUEST REVOKE REFUND_DECLINED DID_CHANGE_RENEWAL_PREF DID_CHANGE_RENEWAL_STATUS DID_FAIL_TO_RENEW "
    "EXPIRED GRACE_PERIOD_EXPIRED PRICE_INCREASE PRICE_CHANGE RENEWAL_EXTENDED SOMETHING_NEW".split(),
)
async def test_every_other_type_is_taken_and_moves_nothing(shop: Shop, kind: str) -> None:
    order, sale = await bought(shop)
    shop.simulator.announce(kind, sale, shop.clock.now())
    assert [reply.status for reply in await shop.deliver()] == [200]
    assert await shop.stands(order) == order
    with shop.store.read() as unit:
        told = [repr(one) for one in unit.evidence_of(order.order_id)]
    assert any(kind in one for one in told), "it is kept with its payment"


async def test_the_merchant_answers_a_consumption_request(shop: Shop) -> None:
    order, sale = await bought(shop)
    shop.simulator.ask_consumption(sale, shop.clock.now())
    await shop.deliver()
    inputs = {
        "customer_consented": "true",
        "sample_content_provided": "false",
        "delivery_status": "DELIVERED",
        "consumption_percentage": "50",
        "refund_preference": "DECLINE",
    }
    payment_id = order.payments[0].payment_id
    done = await shop.engine.operate(APP, order.order_id, payment_id, "consumption_information", inputs)
    assert done == OperationDone()
    assert shop.simulator.calls[-1].document["consumptionPercentage"] == 50_000


async def test_a_lost_notice_comes_again_and_a_forged_one_is_refused(shop: Shop) -> None:
    order, sale = await bought(shop)
    shop.simulator.plan_notice(NoticeFault.LOST)
    shop.simulator.plan_notice(NoticeFault.FORGED)
    shop.simulator.refund(sale, shop.clock.now())
    assert await shop.deliver() == []
    shop.clock.advance((HOUR) // SECOND)
    assert [reply.status for reply in await shop.deliver()] == [401]
    assert (await shop.stands(order)).refunds == ()
    shop.clock.advance((12 * HOUR) // SECOND)
    assert [reply.status for reply in await shop.deliver()] == [200]
    assert len((await shop.stands(order)).refunds) == 1


async def test_no_forged_notice_is_taken(shop: Shop) -> None:
    order, sale = await bought(shop)
    shop.simulator.refund(sale, shop.clock.now())
    [genuine] = shop.simulator.due(shop.clock.now())
    for name, forged in shop.simulator.forgeries(genuine.request, shop.clock.now()).items():
        raw = RawNotice("POST", "/", {}, forged.body)
        assert (await shop.engine.deliver_notice(shop.account_id, raw)).status == 401, name
    assert (await shop.stands(order)).refunds == ()


async def test_a_test_notification_is_answered(shop: Shop) -> None:
    order, _ = await bought(shop)
    payment_id = order.payments[0].payment_id
    done = await shop.engine.operate(APP, order.order_id, payment_id, "test_notification", {})
    assert isinstance(done, OperationDone)
    assert [reply.status for reply in await shop.deliver()] == [200]
