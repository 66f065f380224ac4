"""Orders: what an app may ask for, sameness, closing, anomalies, and the story that is told of them."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from paycore.channel import AboutPayment, Failure, Notice, Paid, RawNotice, Refunded, RefundStuck
from paycore.core.order import AnomalyState, Details, LineItem, OrderState, RefundState, Remedy, SurplusPolicy
from paycore.core.refusals import Reason
from paycore.engine.orders import OrderDraft
from paycore.store import App, Store
from tests.engine.channels import ACK, ScriptedChannel, paid, says
from tests.engine.world import World, reason_of, refused, scripted

SECOND = 1_000_000
DAY = 24 * 3600 * SECOND
RAW = RawNotice("POST", "/", {}, b"")
OTHER = "ap" + "0" * 25 + "2"


@pytest.mark.parametrize(
    ("changes", "reason", "fields"),
    [
        ({"amount_minor": 0}, Reason.AMOUNT_NOT_POSITIVE, ("amount",)),
        ({"amount_minor": -1}, Reason.AMOUNT_NOT_POSITIVE, ("amount",)),
        ({"amount_minor": -(2**63)}, Reason.AMOUNT_NOT_POSITIVE, ("amount",)),
        ({"amount_minor": 10**12 + 1}, Reason.AMOUNT_TOO_LARGE, ("amount",)),
        ({"amount_minor": 2**70}, Reason.AMOUNT_TOO_LARGE, ("amount",)),
        ({"currency": "cny"}, Reason.CURRENCY_UNSUPPORTED, ("amount.currency_code",)),
        ({"currency": "RMB"}, Reason.CURRENCY_UNSUPPORTED, ("amount.currency_code",)),
        ({"currency": "XXX"}, Reason.CURRENCY_UNSUPPORTED, ("amount.currency_code",)),
        ({"currency": "ＣＮＹ"}, Reason.CURRENCY_UNSUPPORTED, ("amount.currency_code",)),
        ({"currency": ""}, Reason.CURRENCY_UNSUPPORTED, ("amount.currency_code",)),
        ({"items": (LineItem("a", "A", 2, 5_001),)}, Reason.AMOUNT_MISMATCH, ("line_items",)),
        ({"expires_in": 0}, Reason.BAD_EXPIRY, ("expire_time",)),
        ({"expires_in": -DAY}, Reason.BAD_EXPIRY, ("expire_time",)),
        ({"expires_in": 60 * SECOND - 1}, Reason.BAD_EXPIRY, ("expire_time",)),
        ({"expires_in": 15 * DAY + 1}, Reason.BAD_EXPIRY, ("expire_time",)),
    ],
)
async def test_an_order_that_may_not_be_is_refused(
    store: Store, changes: dict[str, Any], reason: Reason, fields: tuple[str, ...]
) -> None:
    world = scripted(store, ScriptedChannel())
    if "expires_in" in changes:
        changes = {"expires_at": world.clock.now() + changes["expires_in"]}
    refusal = await refused(world.order(**changes))
    assert (refusal.reason, refusal.fields) == (reason, fields)


@pytest.mark.parametrize(
    "changes",
    [
        {"amount_minor": 1},
        {"amount_minor": 10**12},
        {"currency": "JPY"},
        {"currency": "KWD"},
        {"items": (LineItem("a", "A", 2, 5_000),)},
        {"return_url": "https://shop.example/back?x=1#y"},
        {"surplus_policy": SurplusPolicy.HOLD},
    ],
)
async def test_an_order_that_may_be_is_stored(store: Store, changes: dict[str, Any]) -> None:
    world = scripted(store, ScriptedChannel())
    order = await world.order(**changes)
    assert (await world.stands(order)) == order
    assert order.expires_at == world.clock.now() + 1800 * SECOND


@pytest.mark.parametrize(
    "url",
    [
        "http://shop.example/",
        "javascript:alert(1)",
        "https://evil.example/",
        "https://shop.example.evil.example/",
        "https://shop.example@evil.example/",
        "https://user:pw@shop.example/",
        "https://shop.example:8443/",
        "https://shop.example./",
        "https://sub.shop.example/",
        "https:/shop.example/",
        "https://shop.example\\@evil.example/",
        "//shop.example/",
        "https://",
        "https://[::1/",
        "https://shop.example:x/",
        "data:text/html,x",
        "ＨTTPS://shop.example/",
    ],
)
async def test_a_return_url_leads_to_a_listed_host_or_nowhere(store: Store, url: str) -> None:
    world = scripted(store, ScriptedChannel())
    assert await reason_of(world.order(return_url=url)) is Reason.RETURN_URL_FORBIDDEN


async def test_an_apps_own_limits_hold(store: Store) -> None:
    world = scripted(store, ScriptedChannel())
    app = App(
        world.app_id,
        "shop",
        world.clock.now(),
        currencies=("CNY",),
        max_amount_minor=10_000,
        default_expiry_seconds=120,
        surplus_policy=SurplusPolicy.HOLD,
    )
    world.put_app(app)
    order = await world.order()
    assert (order.surplus_policy, order.expires_at) == (SurplusPolicy.HOLD, world.clock.now() + 120 * SECOND)
    assert await reason_of(world.order(amount_minor=10_001)) is Reason.AMOUNT_TOO_LARGE
    assert await reason_of(world.order(currency="USD")) is Reason.CURRENCY_NOT_ENABLED
    assert await reason_of(world.order(return_url="https://shop.example/")) is Reason.RETURN_URL_FORBIDDEN
    world.put_app(replace(app, max_amount_minor=20_000))
    assert (await world.order(amount_minor=20_000)).amount_minor == 20_000


async def test_fifty_equal_asks_are_one_order(each_store: Store) -> None:
    world = scripted(each_store, ScriptedChannel())
    draft = OrderDraft(10_000, "CNY", Details("Two tickets"), "NO-1")
    request = world.request("CreateOrder", content=b'{"amount":1}')
    told = await asyncio.gather(*(world.engine.create_order(world.app_id, draft, request) for _ in range(50)))
    assert len({one.order.order_id for one in told}) == 1
    by_number = await world.engine.create_order(world.app_id, draft, world.request())
    assert by_number.order.order_id == told[0].order.order_id
    found = await world.engine.find_order(world.app_id, "NO-1")
    assert found.order_id == told[0].order.order_id
    other = replace(draft, amount_minor=20_000)
    assert await reason_of(world.engine.create_order(world.app_id, other, world.request())) is Reason.ORDER_NO_CONFLICT
    changed = replace(request, canonical=b'{"amount":2}')
    refusal = await refused(world.engine.create_order(world.app_id, draft, changed))
    assert (refusal.reason, refusal.fields) == (Reason.IDEMPOTENCY_CONFLICT, ("amount",))


async def test_a_replay_is_answered_even_if_the_limits_have_changed_since(store: Store) -> None:
    world = scripted(store, ScriptedChannel())
    draft = OrderDraft(10_000, "CNY", Details("Two tickets"), expires_at=world.clock.now() + 90 * SECOND)
    request = world.request()
    first = await world.engine.create_order(world.app_id, draft, request)
    world.clock.advance(60)
    again = await world.engine.create_order(world.app_id, draft, request)
    assert again.order.order_id == first.order.order_id
    assert await reason_of(world.engine.create_order(world.app_id, draft, world.request())) is Reason.BAD_EXPIRY


async def test_another_apps_things_are_not_there(store: Store) -> None:
    world = scripted(store, ScriptedChannel(query_=paid))
    await world.account()
    world.put_app(App(OTHER, "other", world.clock.now()))
    order = await world.order(merchant_order_no="NO-1")
    await world.pay(order)
    world.clock.advance(2)
    await world.do_due()
    refund = await world.refund(order, 1_000, merchant_refund_no="RF-1")
    engine, missing = world.engine, "or" + "0" * 26
    for order_id in (order.order_id, missing):
        for work in (
            engine.get_order(OTHER, order_id),
            engine.list_events(OTHER, order_id, after=0, limit=9),
            engine.explain(OTHER, order_id),
            engine.sync_order(OTHER, order_id),
            engine.close_order(OTHER, order_id, None),
            engine.close_order(OTHER, order_id, None, etag='"1"'),
        ):
            refusal = await refused(work)
            assert (refusal.reason, refusal.text) == (Reason.ORDER_NOT_FOUND, "There is no such order.")
    assert await reason_of(engine.find_order(OTHER, "NO-1")) is Reason.ORDER_NOT_FOUND
    assert await reason_of(engine.get_refund(OTHER, refund.refund_id)) is Reason.REFUND_NOT_FOUND
    assert await reason_of(engine.find_refund(OTHER, "RF-1")) is Reason.REFUND_NOT_FOUND
    assert await reason_of(engine.sync_refund(OTHER, refund.refund_id)) is Reason.REFUND_NOT_FOUND
    assert await reason_of(engine.retry_refund(OTHER, refund.refund_id, None)) is Reason.REFUND_NOT_FOUND
    assert await engine.list_orders(OTHER) == []
    assert await engine.list_refunds(OTHER) == []
    assert (await engine.find_refund(world.app_id, "RF-1"))[1] == refund.refund_id


# ---------------------------------------------------------------------------------------------- closing


async def test_closing_tells_the_outcome(store: Store) -> None:
    channel = ScriptedChannel()
    world = scripted(store, channel)
    await world.account()
    untouched = await world.order()
    told = await world.engine.close_order(world.app_id, untouched.order_id, world.request())
    assert told.order.state is OrderState.CLOSED
    order = await world.order()
    await world.pay(order)
    request = world.request()
    told = await world.engine.close_order(world.app_id, order.order_id, request)
    assert told.order.state is OrderState.CLOSED
    assert (await world.engine.close_order(world.app_id, order.order_id, request)).is_replay
    assert (await world.engine.close_order(world.app_id, order.order_id, world.request())).order.state is (
        OrderState.CLOSED
    )


async def test_closing_what_was_paid_meanwhile_says_paid(store: Store) -> None:
    channel = ScriptedChannel(query_=paid)
    world = scripted(store, channel)
    await world.account()
    order = await world.order()
    await world.pay(order)
    told = await world.engine.close_order(world.app_id, order.order_id, world.request())
    assert told.order.state is OrderState.PAID
    again = world.engine.close_order(world.app_id, order.order_id, world.request())
    assert await reason_of(again) is Reason.ORDER_ALREADY_PAID


async def test_an_etag_that_is_old_is_refused_unless_the_request_is_a_replay(store: Store) -> None:
    world = scripted(store, ScriptedChannel())
    await world.account()
    order = await world.order()
    etag = f'"{order.version}"'
    await world.pay(order)
    stale = world.engine.close_order(world.app_id, order.order_id, world.request(), etag=etag)
    assert await reason_of(stale) is Reason.ETAG_MISMATCH
    current, request = f'"{(await world.stands(order)).version}"', world.request()
    await world.engine.close_order(world.app_id, order.order_id, request, etag=current)
    assert (await world.engine.close_order(world.app_id, order.order_id, request, etag=current)).is_replay


# ---------------------------------------------------------------------------------------------- anomalies


async def held(store: Store) -> tuple[World, Any, Any]:
    """An order with money of a wrong amount."""
    channel = ScriptedChannel(query_=says(Paid(9_000, "CNY", "M1")))
    world = scripted(store, channel)
    await world.account()
    order = await world.order()
    await world.pay(order)
    world.clock.advance(2)
    await world.do_due()
    [anomaly] = (await world.stands(order)).anomalies
    return world, order, anomaly


@pytest.mark.parametrize(
    ("remedy", "state"),
    [
        (Remedy.ACCEPT, OrderState.PAID),
        (Remedy.RELEASE, OrderState.PENDING),
        (Remedy.REFUND, OrderState.PENDING),
    ],
)
async def test_a_person_decides_about_held_money(store: Store, remedy: Remedy, state: OrderState) -> None:
    world, order, anomaly = await held(store)
    done = await world.engine.resolve_anomaly(
        world.app_id, anomaly.anomaly_id, remedy, "spoke to them", world.request()
    )
    assert done.order is not None
    assert (done.order.state, done.anomaly.anomaly_id) == (state, anomaly.anomaly_id)
    if remedy is Remedy.REFUND:
        await world.do_due()
        [refund] = (await world.stands(order)).refunds
        assert (refund.amount_minor, refund.state) == (9_000, RefundState.PROCESSING)
        return
    assert (done.anomaly.state, done.anomaly.note) == (AnomalyState.RESOLVED, "spoke to them")
    again = world.engine.resolve_anomaly(world.app_id, anomaly.anomaly_id, remedy, "again", world.request())
    assert await reason_of(again) is Reason.ANOMALY_RESOLVED


async def test_another_apps_anomaly_is_not_there(store: Store) -> None:
    world, _, anomaly = await held(store)
    resolve = world.engine.resolve_anomaly
    for app_id, anomaly_id in ((OTHER, anomaly.anomaly_id), (world.app_id, "an" + "0" * 26)):
        work = resolve(app_id, anomaly_id, Remedy.ACCEPT, "x", world.request(app_id=app_id))
        assert await reason_of(work) is Reason.ANOMALY_NOT_FOUND


async def test_an_orphan_is_put_aside_by_a_person(each_store: Store) -> None:
    channel = ScriptedChannel()
    world = scripted(each_store, channel)
    account_id = await world.account()
    orphaned = AboutPayment(Paid(777, "CNY", "M1"), payment_id="py" + "0" * 26)
    channel.read_ = lambda notice, now: Notice((orphaned,), ACK)
    await world.engine.deliver_notice(account_id, RAW)
    [listed] = await world.engine.list_anomalies(world.app_id)
    anomaly_id, resolve = listed.anomaly.anomaly_id, world.engine.resolve_anomaly
    refund = resolve(world.app_id, anomaly_id, Remedy.REFUND, "x", world.request())
    assert await reason_of(refund) is Reason.REMEDY_UNSUPPORTED
    done = await resolve(world.app_id, anomaly_id, Remedy.RELEASE, "a test of theirs", world.request())
    assert (done.order, done.anomaly.state, done.anomaly.note) == (None, AnomalyState.RESOLVED, "a test of theirs")
    [listed] = await world.engine.list_anomalies(world.app_id)
    assert listed.anomaly == done.anomaly
    assert await world.engine.list_anomalies(world.app_id, states=(AnomalyState.OPEN,)) == []
    again = resolve(world.app_id, anomaly_id, Remedy.ACCEPT, "other", world.request())
    assert await reason_of(again) is Reason.ANOMALY_RESOLVED


async def test_a_stuck_refund_is_sent_again_by_a_person(store: Store) -> None:
    channel = ScriptedChannel(query_=paid, refund_=says(RefundStuck(Failure("card_gone"))))
    world = scripted(store, channel)
    await world.account()
    order = await world.order()
    await world.pay(order)
    world.clock.advance(2)
    await world.do_due()
    refund = await world.refund(order, 1_000)
    assert refund.state is RefundState.ABNORMAL
    channel.refund_ = says(Refunded())
    told = await world.engine.retry_refund(world.app_id, refund.refund_id, world.request())
    assert told.order.refunds[0].state is RefundState.SUCCEEDED
    done = world.engine.retry_refund(world.app_id, refund.refund_id, world.request())
    assert await reason_of(done) is Reason.REFUND_NOT_RETRYABLE


# ---------------------------------------------------------------------------------------------- the story


async def test_a_story_tells_what_happened_who_said_so_and_what_comes_next(store: Store) -> None:
    channel = ScriptedChannel()
    world = scripted(store, channel)
    await world.account()
    order = await world.order(12_345)
    payment = await world.paid(order)
    await world.engine.report_client(world.app_id, payment.payment_id, "success_claimed", raw_code="9000")
    story = await world.engine.explain(world.app_id, order.order_id)
    assert any("Asks the channel about payment" in step for step in story.next_steps)
    assert any("expires at" in step for step in story.next_steps)
    channel.query_ = paid
    world.clock.advance(3)
    await world.do_due()
    await world.refund(order, 345)
    story = await world.engine.explain(world.app_id, order.order_id)
    told = "\n".join(f"{line.who}: {line.what} [{line.evidence}]" for line in story.lines)
    assert [line.at for line in story.lines] == sorted(line.at for line in story.lines)
    for words in (
        "the app: The order for CNY 123.45 was made",
        f"the payer: Payment {payment.payment_id} for CNY 123.45 began by scripted.qr.",
        "the payer's client: Claimed about",
        "9000",
        f"scripted: Payment {payment.payment_id} succeeded: CNY 123.45 was taken, and it pays the order.",
        "The order is paid by payment",
        "Refund rf",
        "CNY 3.45",
        "query, verified",
    ):
        assert words in told, words
    versions = [line.version for line in story.lines if line.version]
    assert versions == list(range(1, story.order.version + 1)), "every event is told, in order"
    assert "plan" not in told.lower()


async def test_a_story_knows_who_closed_the_order(store: Store) -> None:
    world = scripted(store, ScriptedChannel())
    await world.account()
    asked, expired = await world.order(), await world.order()
    await world.engine.close_order(world.app_id, asked.order_id, world.request())
    world.clock.set(expired.expires_at)
    await world.do_due()
    for order, who in ((asked, "the app"), (expired, "the clock")):
        story = await world.engine.explain(world.app_id, order.order_id)
        assert [line.who for line in story.lines if line.what.startswith("The order is closed")] == [who]
        assert story.next_steps == ()


async def test_every_kind_of_event_has_a_sentence(store: Store) -> None:
    world, order, anomaly = await held(store)
    await world.engine.resolve_anomaly(world.app_id, anomaly.anomaly_id, Remedy.RELEASE, "fine", world.request())
    await world.engine.close_order(world.app_id, order.order_id, world.request())
    story = await world.engine.explain(world.app_id, order.order_id)
    for line in story.lines:
        assert line.what.endswith((".", ".\n")), line
        assert "None" not in line.what, line


async def test_lists_and_pages(store: Store) -> None:
    world = scripted(store, ScriptedChannel())
    made = []
    for _ in range(5):
        made.append(await world.order())
        world.clock.advance(1)
    listed = await world.engine.list_orders(world.app_id, limit=3)
    assert [one.order_id for one in listed] == [one.order_id for one in reversed(made)][:3]
    rest = await world.engine.list_orders(world.app_id, after_key=(listed[-1].created_at, listed[-1].order_id), limit=3)
    assert [one.order_id for one in rest] == [made[1].order_id, made[0].order_id]
    events = await world.engine.list_events(world.app_id, made[0].order_id, after=0, limit=10)
    assert [event.kind for event in events] == ["order.created"]
