"""Purchases that a store told of and that named no payment of ours: kept, and claimed by a person."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from paycore.channel import (
    AboutPayment,
    ChannelRefund,
    Confirmed,
    Conversation,
    Notice,
    Paid,
    PaymentAsk,
    PaymentFinding,
    Price,
    RawNotice,
    Ready,
    Reference,
    StorePurchase,
)
from paycore.core.order import (
    AnomalyKind,
    AnomalyState,
    LineItem,
    Order,
    OrderState,
    Origin,
    PaymentState,
    RefundState,
    Remedy,
)
from paycore.core.refusals import Reason
from paycore.store import ListedAnomaly, Store
from paycore.store.audit import audit
from tests.engine.channels import ACK, METHODS, PLAN, ScriptedChannel, says
from tests.engine.world import SCRIPTED, World, reason_of, scripted

AT_THE_STORE = replace(METHODS[0], name="store", scene="store", price=Price.STORE, step_kinds=("store_purchase",))
ITEM = (LineItem("gold.100", "100 gold", 1, 10_000),)
NOTE = "the phone lost its token"


def tells_the_token(ask: PaymentAsk) -> Conversation[PaymentFinding]:
    yield from ()
    return Ready(PLAN, references=(Reference("token", ask.token),))


class AtTheStore:
    """A world with one account at a store, and what that store tells."""

    def __init__(self, store: Store) -> None:
        self.channel = ScriptedChannel(prepare_=tells_the_token)
        self.world: World = scripted(store, self.channel, methods=(AT_THE_STORE,))

    async def opened(self) -> AtTheStore:
        self.account_id = await self.world.account()
        return self

    async def waiting(self, **item: Any) -> tuple[Order, Any]:
        order = await self.world.order(items=(replace(ITEM[0], **item),))
        return order, await self.world.paid(order, method="store")

    def sold(self, number: str = "T1", token: str = "nobody's", **more: Any) -> AboutPayment:
        """A purchase as the store tells it, named by its token."""
        paid = Paid(
            9_900,
            "CNY",
            "M1",
            channel_trade_no=number,
            purchase=StorePurchase("gold.100", 1, token),
            references=(Reference("tx", number),),
        )
        return AboutPayment(replace(paid, **more), reference=Reference("token", token))

    async def notice(self, about: AboutPayment) -> None:
        self.channel.read_ = lambda notice, now: Notice((about,), ACK)
        raw = RawNotice("POST", "/", {}, repr(about).encode())
        assert await self.world.engine.deliver_notice(self.account_id, raw) == ACK

    async def brought(self, about: AboutPayment, payment: Any = None) -> tuple[Order, bool]:
        """A phone hands it in."""
        self.channel.confirm_ = says(Confirmed((about,), may_finish=True), asks=0)
        named = payment.payment_id if payment is not None else ""
        told, may_finish = await self.world.engine.confirm(self.world.app_id, "scripted", "jws", payment_id=named)
        return told.order, may_finish

    async def orphans(self) -> list[ListedAnomaly]:
        found = await self.world.engine.list_anomalies(self.world.app_id)
        return [one for one in found if one.order_id is None]

    async def orphan(self) -> ListedAnomaly:
        [only] = await self.orphans()
        return only

    async def claim(self, listed: ListedAnomaly, payment: Any = None, **more: Any) -> Any:
        named = payment.payment_id if payment is not None else ""
        request = more.pop("request", None) or self.world.request("ResolveAnomaly")
        remedy, note = more.pop("remedy", Remedy.ACCEPT), more.pop("note", NOTE)
        return await self.world.engine.resolve_anomaly(
            self.world.app_id, listed.anomaly.anomaly_id, remedy, note, request, payment_id=named
        )


@pytest.fixture
async def at(each_store: Store) -> AtTheStore:
    return await AtTheStore(each_store).opened()


async def test_a_purchase_is_claimed_for_the_order_that_it_was_made_for(at: AtTheStore) -> None:
    order, payment = await at.waiting()
    assert await reason_of(at.brought(at.sold())) is Reason.EVIDENCE_MISMATCH
    listed = await at.orphan()
    assert listed.anomaly.detail.startswith("A client brought it")
    done = await at.claim(listed, payment)
    assert (done.order.order_id, done.order.state) == (order.order_id, OrderState.PAID)
    assert done.order.payments[0].captured_minor == 9_900
    assert (done.anomaly.state, done.anomaly.remedy, done.anomaly.note, done.anomaly.payment_id) == (
        AnomalyState.RESOLVED,
        Remedy.ACCEPT,
        NOTE,
        payment.payment_id,
    )
    assert (await at.orphan()).anomaly == done.anomaly
    [kept] = [line for line in at.world.evidence(order) if line.startswith("CLAIM")]
    assert listed.anomaly.anomaly_id in kept
    with at.world.store.write() as unit:
        unit.number_feed(1000)
    assert list(audit(at.world.store)) == []


async def test_the_phone_may_finish_what_was_claimed(at: AtTheStore) -> None:
    order, payment = await at.waiting()
    await at.notice(at.sold())
    done = await at.claim(await at.orphan(), payment)
    for named in (None, payment):
        after, may_finish = await at.brought(at.sold(), named)
        assert (after.order_id, after.version, may_finish) == (order.order_id, done.order.version, True)


async def test_a_purchase_that_is_nobodys_becomes_an_order_of_its_own(at: AtTheStore) -> None:
    await at.notice(at.sold())
    listed, request = await at.orphan(), at.world.request("ResolveAnomaly")
    done = await at.claim(listed, request=request)
    assert (done.order.origin, done.order.state, done.order.merchant_order_no) == (Origin.CHANNEL, OrderState.PAID, "")
    assert (done.order.amount_minor, done.order.details.subject) == (9_900, "gold.100")
    again = await at.claim(listed, request=request)
    assert (again.order, again.anomaly) == (await at.world.stands(done.order), done.anomaly)
    with at.world.store.read() as unit:
        assert len(unit.list_orders(at.world.app_id)) == 1
    await at.notice(at.sold(refunds=(ChannelRefund(9_900, "T1"),)))
    [refund] = (await at.world.stands(done.order)).refunds
    assert refund.amount_minor == 9_900, "what the store does later finds the order"


async def test_what_was_sold_for_nothing_pays_a_payment_and_is_no_order_of_its_own(at: AtTheStore) -> None:
    _, payment = await at.waiting()
    await at.notice(at.sold(amount_minor=0))
    listed = await at.orphan()
    assert await reason_of(at.claim(listed)) is Reason.REMEDY_UNSUPPORTED
    done = await at.claim(listed, payment)
    assert (done.order.state, done.order.payments[0].captured_minor) == (OrderState.PAID, 0)
    assert (await at.brought(at.sold(amount_minor=0)))[1]
    with at.world.store.write() as unit:
        unit.number_feed(1000)
    assert list(audit(at.world.store)) == []


async def test_a_closed_order_is_paid_by_its_claim(at: AtTheStore) -> None:
    order, payment = await at.waiting()
    request = at.world.request("CloseOrder")
    await at.world.engine.close_order(at.world.app_id, order.order_id, request)
    await at.notice(at.sold())
    done = await at.claim(await at.orphan(), payment)
    assert done.order.payments[0].state is PaymentState.SUCCEEDED
    assert done.order.state is OrderState.PAID


async def test_all_that_was_told_of_it_is_told_in_whatever_order_it_came(at: AtTheStore) -> None:
    """Apple gave the money back before anybody claimed it, and an older notice came after that."""
    _, payment = await at.waiting()
    await at.notice(at.sold(refunds=(ChannelRefund(9_900, "T1"),)))
    await at.notice(at.sold())
    assert (await at.orphan()).seen == 2
    done = await at.claim(await at.orphan(), payment)
    assert done.order.state is OrderState.PENDING
    [refund] = done.order.refunds
    assert (refund.amount_minor, done.order.payments[0].balance_minor) == (9_900, 0)


async def test_what_was_given_back_and_taken_back_is_kept(at: AtTheStore) -> None:
    _, payment = await at.waiting()
    for refunds in ((ChannelRefund(9_900, "T1", reversed=True),), (), (ChannelRefund(9_900, "T1"),)):
        await at.notice(at.sold(refunds=refunds))
    done = await at.claim(await at.orphan(), payment)
    assert (done.order.state, done.order.payments[0].balance_minor) == (OrderState.PAID, 9_900)
    assert [one.state for one in done.order.refunds] == [RefundState.REVERSED]


async def test_a_second_purchase_under_one_token_is_kept_and_can_be_claimed(at: AtTheStore) -> None:
    first, payment = await at.waiting()
    await at.brought(at.sold("T1", payment.token), payment)
    again = at.sold("T2", payment.token)
    assert await reason_of(at.brought(again, payment)) is Reason.EVIDENCE_USED
    await at.notice(again)
    listed = await at.orphan()
    assert listed.seen == 2
    assert await reason_of(at.claim(listed, payment)) is Reason.EVIDENCE_USED
    done = await at.claim(listed)
    assert done.order.order_id != first.order_id
    assert done.order.state is OrderState.PAID
    assert (await at.brought(again))[0].order_id == done.order.order_id


async def test_purchases_that_share_a_token_are_told_apart(at: AtTheStore) -> None:
    for number in ("T1", "T2"):
        await at.notice(at.sold(number, "one for every purchase"))
    assert len(await at.orphans()) == 2


async def test_one_purchase_pays_one_order_whoever_claims_it(at: AtTheStore) -> None:
    (_, one), (_, two), (_, three) = await at.waiting(), await at.waiting(), await at.waiting()
    await at.notice(at.sold())
    listed = await at.orphan()
    claims = (at.claim(listed, one), at.claim(listed, two, note="no, mine"))
    done = await asyncio.gather(*claims, return_exceptions=True)
    assert len([claim for claim in done if isinstance(claim, Exception)]) == 1
    with at.world.store.read() as unit:
        paid = [order for order in unit.list_orders(at.world.app_id) if order.state is OrderState.PAID]
    assert len(paid) == 1
    assert await reason_of(at.claim(listed, three)) is Reason.ANOMALY_RESOLVED


async def test_a_request_id_of_something_else_claims_nothing(at: AtTheStore) -> None:
    _, payment = await at.waiting()
    await at.notice(at.sold("T1"))
    first, request = await at.orphan(), at.world.request("ResolveAnomaly", content=b'{"note":"a"}')
    await at.claim(first, payment, request=request)
    await at.notice(at.sold("T2"))
    [second] = [one for one in await at.orphans() if one.anomaly.is_open]
    other = replace(request, canonical=b'{"note":"b"}')
    assert await reason_of(at.claim(second, request=other)) is Reason.IDEMPOTENCY_CONFLICT
    with at.world.store.read() as unit:
        assert len(unit.list_orders(at.world.app_id)) == 1


async def test_what_is_no_fitting_claim_changes_nothing(at: AtTheStore) -> None:
    _, payment = await at.waiting(product_id="gold.500")
    await at.notice(at.sold())
    listed = await at.orphan()
    assert await reason_of(at.claim(listed, payment)) is Reason.EVIDENCE_MISMATCH
    elsewhere = await at.world.account(settings={**SCRIPTED, "merchant": "M2"})
    other = await at.world.order(items=ITEM)
    there = await at.world.paid(other, method="store", account_id=elsewhere)
    assert await reason_of(at.claim(listed, there)) is Reason.EVIDENCE_MISMATCH
    unknown = replace(payment, payment_id="py" + "0" * 26)
    assert await reason_of(at.claim(listed, unknown)) is Reason.PAYMENT_NOT_FOUND
    assert await reason_of(at.claim(listed, payment, remedy=Remedy.RELEASE)) is Reason.REMEDY_UNSUPPORTED
    assert await reason_of(at.claim(listed, payment, remedy=Remedy.REFUND)) is Reason.REMEDY_UNSUPPORTED
    assert (await at.orphan()).anomaly == listed.anomaly
    put_aside = await at.claim(listed, remedy=Remedy.RELEASE)
    assert (put_aside.order, put_aside.anomaly.payment_id) == (None, "")


async def test_only_a_purchase_can_be_claimed(at: AtTheStore) -> None:
    _, payment = await at.waiting()
    await at.notice(AboutPayment(Paid(9_900, "CNY", "M1"), payment_id="py" + "0" * 26))
    listed = await at.orphan()
    assert listed.anomaly.kind is AnomalyKind.ORPHAN_NOTICE
    assert await reason_of(at.claim(listed, payment)) is Reason.REMEDY_UNSUPPORTED
    done = await at.claim(listed)
    assert (done.order, done.anomaly.remedy) == (None, Remedy.ACCEPT)


async def test_an_anomaly_of_an_order_names_its_own_payment(at: AtTheStore) -> None:
    _, payment = await at.waiting()
    other = replace(at.sold("T1", payment.token), payment_id=payment.payment_id, reference=None)
    assert isinstance(other.finding, Paid)
    wrong = replace(other, finding=replace(other.finding, purchase=StorePurchase("gold.1", 1, payment.token)))
    await at.notice(wrong)
    [held] = await at.world.engine.list_anomalies(at.world.app_id)
    assert held.order_id is not None
    assert await reason_of(at.claim(held, payment)) is Reason.REMEDY_UNSUPPORTED
