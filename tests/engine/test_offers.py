"""Offers from the cashier to the books: what is shown, what is asked for, what is held, let go and never given twice."""

from __future__ import annotations

import asyncio
import sys
import textwrap
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from paycore.core.offers import Offer, OfferKind, Taken
from paycore.core.order import LineItem, Order, OrderState, Payment, PaymentState, RefundState
from paycore.core.refusals import Reason
from paycore.engine.cashier import Option
from paycore.engine.host import CRASHES, QUARANTINE, Host
from paycore.engine.offers import FRESH, QuoteChanged
from paycore.store import OfferState, Store, StoredOffer
from paycore.store.audit import audit
from paycore.testing.wires import WireFault
from tests.engine.channels import ScriptedChannel, signs
from tests.engine.world import Sandbox, World, reason_of, refused, sandbox, scripted

SECOND = 1_000_000


def put(world: World, offer_id: str = "of-1", state: OfferState = OfferState.ACTIVE, **terms: Any) -> None:
    """An offer of 10.00 off for everybody, unless told otherwise; it holds at once."""
    kind = OfferKind.PERCENT if "basis_points" in terms else OfferKind.FIXED
    amount = {} if kind is OfferKind.PERCENT else {"amount_minor": 1000}
    offer = Offer(offer_id, f"优惠{offer_id}", f"Offer {offer_id}", kind, "CNY", **{**amount, **terms})
    with world.store.write() as unit:
        unit.put_offer(StoredOffer(offer, world.app_id, world.clock.now(), state))
    world.clock.advance(FRESH / SECOND)


def taken(world: World, offer_id: str = "of-1") -> tuple[int, int]:
    with world.store.read() as unit:
        found = unit.offers_taken(world.app_id).get(offer_id, Taken())
    return found.amount_minor, found.count


def sound(world: World) -> None:
    with world.store.write() as unit:
        unit.number_feed(100_000)
    assert [str(one) for one in audit(world.store)] == []


async def option(world: World, order: Order, method: str = "qr", channel: str = "sandbox") -> Option:
    found = await world.engine.options(await world.stands(order), {})
    return next(one for one in found if (one.channel, one.method) == (channel, method))


@pytest.fixture
async def shop(store: Store) -> AsyncIterator[Sandbox]:
    """A sandbox whose books must be sound in the end."""
    box = await sandbox(store)
    yield box
    sound(box.world)


# ---------------------------------------------------------------------------------------------- shown and paid


async def test_the_cashier_shows_the_amount_after_offers_and_the_channel_is_asked_for_it(shop: Sandbox) -> None:
    world = shop.world
    put(world)
    put(world, "of-2", basis_points=1000, stacks=True)
    put(world, "of-3", amount_minor=5000, methods=("sandbox.app",))
    put(world, "of-4", OfferState.PAUSED, amount_minor=9000)
    order = await world.order()
    shown = await option(world, order)
    assert (shown.quote.amount_minor, [(one.offer_id, one.amount_minor) for one in shown.quote.offers]) == (
        8_100,
        [("of-1", 1000), ("of-2", 900)],
    )
    payment = await world.paid(order, "sandbox", quote_token=shown.quote.token)
    assert (payment.amount_minor, payment.offers) == (8_100, shown.quote.offers)
    assert shop.simulator.books.trades[payment.payment_id].amount_minor == 8_100
    shop.simulator.pay(payment.payment_id, world.clock.now())
    await shop.deliver()
    after = await world.stands(order)
    assert (after.state, after.amount_minor) == (OrderState.PAID, 10_000)
    assert after.effective is not None
    assert after.effective.captured_minor == 8_100
    assert (taken(world), taken(world, "of-2")) == ((1000, 1), (900, 1))


async def test_a_refund_returns_what_was_paid_and_the_offer_stays_used(shop: Sandbox) -> None:
    world = shop.world
    put(world, quota=1)
    order = await world.order()
    payment = await world.paid(order, "sandbox")
    shop.simulator.pay(payment.payment_id, world.clock.now())
    await shop.deliver()
    assert await reason_of(world.refund(order, 9_001)) is Reason.REFUND_EXCEEDS_BALANCE
    refund = await world.refund(order, 9_000)
    await shop.deliver()
    await world.do_due()
    told = (await world.stands(order)).refund(refund.refund_id)
    assert told is not None
    assert (told.state, told.amount_minor) == (RefundState.SUCCEEDED, 9_000)
    assert taken(world) == (1000, 1)


@pytest.mark.parametrize("least", [4999, 5000])
async def test_limits_hold_for_what_is_left_to_pay(store: Store, least: int) -> None:
    """An order that is too large for a method may fit it after its offer; the least is never gone below."""
    world = scripted(store, ScriptedChannel(prepare_=signs))
    await world.account()
    put(world, amount_minor=10_000 - least + 1)
    order = await world.order()
    shown = await option(world, order, channel="scripted")
    assert shown.is_available
    assert shown.quote.amount_minor == least - 1


async def test_a_store_sets_its_own_price(shop: Sandbox) -> None:
    world = shop.world
    put(world)
    items = (LineItem("tea.1", "Tea", 1, 10_000),)
    shown = await option(world, await world.order(items=items), "store")
    assert shown.is_available
    assert (shown.quote.amount_minor, shown.quote.offers) == (10_000, ())


# ---------------------------------------------------------------------------------------------- quotes


async def test_a_price_that_changed_is_told_with_the_new_one_and_nothing_is_begun(shop: Sandbox) -> None:
    world = shop.world
    put(world, ends_at=world.clock.now() + 10 * SECOND)
    order = await world.order()
    shown = await option(world, order)
    assert shown.quote.amount_minor == 9_000
    world.clock.advance(10)
    refusal = await refused(world.pay(order, "sandbox", quote_token=shown.quote.token))
    assert isinstance(refusal, QuoteChanged)
    assert (refusal.reason, refusal.quote.amount_minor, refusal.quote.offers) == (Reason.QUOTE_CHANGED, 10_000, ())
    assert (await world.stands(order)).payments == ()
    payment = await world.paid(order, "sandbox", quote_token=refusal.quote.token)
    assert payment.amount_minor == 10_000


async def test_a_better_price_is_another_price_too(shop: Sandbox) -> None:
    world = shop.world
    order = await world.order()
    shown = await option(world, order)
    put(world)
    assert await reason_of(world.pay(order, "sandbox", quote_token=shown.quote.token)) is Reason.QUOTE_CHANGED
    assert (await world.paid(order, "sandbox")).amount_minor == 9_000, (
        "nobody was shown anything: the price is what it is"
    )


@pytest.mark.parametrize("token", ["x", "", "A" * 43])
async def test_a_quote_is_of_one_order_and_one_method(shop: Sandbox, token: str) -> None:
    world = shop.world
    mine, other = await world.order(), await world.order()
    app, theirs = await option(world, mine, "app"), await option(world, other)
    for wrong in (app.quote.token, theirs.quote.token, token or theirs.quote.token):
        assert await reason_of(world.pay(mine, "sandbox", quote_token=wrong)) is Reason.QUOTE_CHANGED


async def test_tapping_twice_is_one_payment_at_one_price(shop: Sandbox) -> None:
    world = shop.world
    put(world, quota=1)
    order = await world.order()
    shown = await option(world, order)
    first = await world.paid(order, "sandbox", quote_token=shown.quote.token)
    again = await option(world, order)
    assert again.quote == shown.quote, "what this order holds is not taken from it"
    second = await world.paid(order, "sandbox", quote_token=shown.quote.token)
    assert second.payment_id == first.payment_id
    assert taken(world) == (1000, 1)
    world.clock.advance(FRESH / SECOND)
    gone = await option(world, await world.order())
    assert gone.quote.amount_minor == 10_000


async def test_another_price_for_the_same_choice_closes_the_older_attempt(shop: Sandbox) -> None:
    world = shop.world
    put(world, ends_at=world.clock.now() + 10 * SECOND)
    order = await world.order()
    first = await world.paid(order, "sandbox")
    world.clock.advance(10)
    second = await world.paid(order, "sandbox")
    after = await world.stands(order)
    assert [(one.payment_id, one.state, one.amount_minor) for one in after.payments] == [
        (first.payment_id, PaymentState.CLOSED, 9_000),
        (second.payment_id, PaymentState.PENDING, 10_000),
    ]
    assert taken(world) == (0, 0)


# ---------------------------------------------------------------------------------------------- held and let go


async def _decline(box: Sandbox, order: Order, payment: Payment) -> None:
    assert box.simulator.decline(payment.payment_id, box.world.clock.now())


async def _close(box: Sandbox, order: Order, payment: Payment) -> None:
    await box.world.engine.close_order(box.world.app_id, order.order_id, box.world.request())


async def _switch(box: Sandbox, order: Order, payment: Payment) -> None:
    with box.world.store.write() as unit:
        [stored] = unit.list_offers(box.world.app_id)
        unit.put_offer(StoredOffer(stored.offer, stored.app_id, stored.created_at, OfferState.PAUSED))
    box.world.clock.advance(FRESH / SECOND)
    await box.world.paid(order, "sandbox", "app")


@pytest.mark.parametrize("ends", [_decline, _close, _switch])
async def test_what_an_attempt_does_not_need_any_more_goes_back(shop: Sandbox, ends: Any) -> None:
    world = shop.world
    put(world, budget_minor=1000)
    order = await world.order()
    payment = await world.paid(order, "sandbox")
    assert taken(world) == (1000, 1)
    await ends(shop, order, payment)
    await shop.deliver()
    world.clock.advance(60)
    await world.do_due()
    assert taken(world) == (0, 0)


async def test_an_unknown_outcome_keeps_what_it_holds(shop: Sandbox) -> None:
    world = shop.world
    put(world, quota=1)
    order = await world.order()
    shop.wire.plan(WireFault.UNANSWERED, "/v1/trades")
    assert (await world.paid(order, "sandbox")).state is PaymentState.UNKNOWN
    assert taken(world) == (1000, 1)


async def test_late_money_takes_hold_again_whatever_the_budget_says_and_lets_go_when_it_is_given_back(
    shop: Sandbox,
) -> None:
    world = shop.world
    put(world, budget_minor=1000, quota=1)
    late = await world.order()
    payment = await world.paid(late, "sandbox")
    await _close(shop, late, payment)
    assert taken(world) == (0, 0)
    await world.paid(await world.order(), "sandbox")
    assert taken(world) == (1000, 1)
    shop.simulator.pay(payment.payment_id, world.clock.now(), even_if_over=True)
    await shop.deliver()
    assert taken(world) == (2000, 2), "real money at the lower price"
    sound(world)
    await world.do_due()
    world.clock.advance(10)
    await shop.deliver()
    await world.do_due()
    [refund] = (await world.stands(late)).refunds
    assert (refund.amount_minor, refund.state) == (9_000, RefundState.SUCCEEDED), "what was paid, not the debt"
    assert taken(world) == (1000, 1)


# ---------------------------------------------------------------------------------------------- the last of it


async def test_two_who_were_shown_the_last_of_it(shop: Sandbox) -> None:
    world = shop.world
    put(world, quota=1)
    one, other = await world.order(), await world.order()
    quotes = [(await option(world, order)).quote.token for order in (one, other)]
    assert (await world.paid(one, "sandbox", quote_token=quotes[0])).amount_minor == 9_000
    refusal = await refused(world.pay(other, "sandbox", quote_token=quotes[1]))
    assert isinstance(refusal, QuoteChanged)
    assert refusal.quote.amount_minor == 10_000
    assert (await world.paid(other, "sandbox", quote_token=refusal.quote.token)).amount_minor == 10_000


async def test_who_was_shown_nothing_pays_what_it_costs_then(shop: Sandbox) -> None:
    """The last of an offer is gone between our look and the commit: the price is reckoned anew."""
    world = shop.world
    put(world, quota=1)
    one, other = await world.order(), await world.order()
    await option(world, other)
    first, second = await asyncio.gather(world.paid(one, "sandbox"), world.paid(other, "sandbox"))
    assert sorted([first.amount_minor, second.amount_minor]) == [9_000, 10_000]
    assert taken(world) == (1000, 1)


@asynccontextmanager
async def _processes(store: Store, count: int) -> AsyncIterator[list[World]]:
    """So many engines on one database, as processes have them."""
    worlds = [scripted(store, ScriptedChannel(prepare_=signs)) for _ in range(count)]
    await worlds[0].account()
    yield worlds
    for world in worlds:
        await world.engine.teller.drain()


async def test_no_budget_is_overrun_however_many_ask_at_once(each_store: Store) -> None:
    """Forty payers, two processes, money for twelve of them; and two offers that everybody takes in one transaction."""
    async with _processes(each_store, 2) as worlds:
        put(worlds[0], "of-b", budget_minor=12_500)
        put(worlds[0], "of-a", amount_minor=500, stacks=True, quota=30)
        for world in worlds[1:]:
            world.clock.set(worlds[0].clock.now())
        orders = await asyncio.gather(*(worlds[0].order() for _ in range(40)))
        paid = await asyncio.gather(*(worlds[n % 2].paid(order) for n, order in enumerate(orders)))
        given = [given.offer_id for payment in paid for given in payment.offers]
        assert (given.count("of-b"), given.count("of-a")) == (12, 30)
        assert (taken(worlds[0], "of-b"), taken(worlds[0], "of-a")) == ((12_000, 12), (15_000, 30))
        sound(worlds[0])


# ---------------------------------------------------------------------------------------------- payers


async def test_a_first_purchase_is_one_even_if_two_are_begun(each_store: Store) -> None:
    async with _processes(each_store, 2) as worlds:
        world = worlds[0]
        put(world, is_first_time=True)
        worlds[1].clock.set(world.clock.now())
        orders = [await world.order(merchant_payer_no="u-1") for _ in range(2)]
        nameless, stranger = await world.order(), await world.order(merchant_payer_no="u-2")
        paid = await asyncio.gather(*(each.paid(order) for each, order in zip(worlds, orders, strict=True)))
        assert sorted(payment.amount_minor for payment in paid) == [9_000, 10_000]
        assert (await world.paid(nameless)).amount_minor == 10_000
        assert (await world.paid(stranger)).amount_minor == 9_000
        sound(world)


async def test_who_has_paid_is_not_new_and_who_gave_up_still_is(shop: Sandbox) -> None:
    world = shop.world
    put(world, is_first_time=True)
    given_up = await world.order(merchant_payer_no="u-1")
    await _close(shop, given_up, await world.paid(given_up, "sandbox"))
    order = await world.order(merchant_payer_no="u-1")
    payment = await world.paid(order, "sandbox")
    assert payment.amount_minor == 9_000
    shop.simulator.pay(payment.payment_id, world.clock.now())
    await shop.deliver()
    assert (await world.paid(await world.order(merchant_payer_no="u-1"), "sandbox")).amount_minor == 10_000


async def test_the_way_a_payer_paid_last_is_remembered_and_comes_before_its_equals(shop: Sandbox) -> None:
    world = shop.world
    before = await world.engine.options(await world.order(merchant_payer_no="u-1"), {})
    equals = [one.method for one in before if one.is_available]
    last = equals[-1]
    order = await world.order(merchant_payer_no="u-1")
    inputs = dict.fromkeys(next(one for one in before if one.method == last).required_inputs, "28" + "0" * 16)
    payment = await world.paid(order, "sandbox", last, inputs=inputs)
    if payment.state is not PaymentState.SUCCEEDED:
        shop.simulator.pay(payment.payment_id, world.clock.now())
        await shop.deliver()
    assert (await world.stands(order)).state is OrderState.PAID
    after = await world.engine.options(await world.order(merchant_payer_no="u-1"), {})
    assert [one.method for one in after if one.is_last_used] == [last]
    assert after[0].method == last
    others = await world.engine.options(await world.order(merchant_payer_no="u-2"), {})
    assert [one.method for one in others] == [one.method for one in before], "another payer's are as they were"


async def test_the_payer_is_part_of_what_an_order_is(shop: Sandbox) -> None:
    world = shop.world
    await world.order(merchant_order_no="T-1", merchant_payer_no="u-1")
    refusal = await refused(world.order(merchant_order_no="T-1", merchant_payer_no="u-2"))
    assert (refusal.reason, refusal.fields) == (Reason.ORDER_NO_CONFLICT, ("merchant_payer_no",))


# ---------------------------------------------------------------------------------------------- plugins

PLUGIN = """
    import time

    from paycore.channel import Offer, OfferKind, hookimpl

    @hookimpl
    def paycore_offers(ask):
        {body}
"""
GIVES = (
    """yield Offer("tea", "茶", "Tea", OfferKind.FIXED, ask.currency, amount_minor=ask.amount_minor // 10, quota=1)"""
)
BAD = {
    "raises": "raise RuntimeError('canary')",
    "is no list": "return 7",
    "gives rubbish": "return ['tea']",
    "gives nonsense": 'return [Offer("tea", "茶", "Tea", OfferKind.FIXED, ask.currency)]',
    "gives twins": 'return [Offer("tea", "茶", "Tea", OfferKind.FIXED, ask.currency, 1)] * 2',
    "gives without end": """n = 0
        while True:
            n += 1
            yield Offer(f"tea{n}", "茶", "Tea", OfferKind.FIXED, ask.currency, 1)""",
    "hangs": "time.sleep(2)",
}


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A host with the sandbox and a plugin of this body that makes offers."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def make(body: str) -> Host:
        (tmp_path / "plugin_tea.py").write_text(textwrap.dedent(PLUGIN.format(body=body)))
        return Host.load(entry_points=[EntryPoint("tea", "plugin_tea", "paycore.channels")])

    yield make
    sys.modules.pop("plugin_tea", None)


async def _with(store: Store, host: Host) -> World:
    kinds = scripted(store, ScriptedChannel(prepare_=signs)).host.kinds.values()
    for kind in kinds:
        host._adopt(kind)
    world = World(store, host, scripted(store, ScriptedChannel()).carrier)
    await world.account()
    return world


async def test_a_plugin_makes_offers_and_ours_are_the_budgets(store: Store, plugin: Any) -> None:
    world = await _with(store, plugin(GIVES))
    [report] = [one for one in world.host.reports if one.plugin == "tea"]
    assert (report.state, report.channels) == ("loaded", ())
    first, second = await world.paid(await world.order()), await world.paid(await world.order())
    assert [(one.offer_id, one.amount_minor) for one in first.offers] == [("tea.tea", 1000)]
    assert second.offers == ()
    assert taken(world, "tea.tea") == (1000, 1)
    sound(world)


@pytest.mark.parametrize("body", BAD.values(), ids=BAD)
async def test_a_plugin_that_fails_at_offers_costs_nobody_a_payment(store: Store, plugin: Any, body: str) -> None:
    world = await _with(store, plugin(body))
    payment = await world.paid(await world.order())
    assert (payment.amount_minor, payment.offers) == (10_000, ())
    assert world.host.last_problem("tea (offers)").startswith("paycore_offers: ")
    assert "canary" not in world.host.last_problem("tea (offers)")


async def test_a_plugin_that_fails_again_and_again_is_left_alone_for_a_while(store: Store, plugin: Any) -> None:
    world = await _with(store, plugin("raise RuntimeError"))
    order = await world.order()
    for _ in range(CRASHES):
        assert not world.host.is_quarantined("tea (offers)", world.clock.now())
        await world.engine.options(order, {})
    assert world.host.is_quarantined("tea (offers)", world.clock.now())
    assert (await option(world, order, channel="scripted")).is_available
    world.clock.advance(QUARANTINE / SECOND)
    assert not world.host.is_quarantined("tea (offers)", world.clock.now())
