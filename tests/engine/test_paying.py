"""Beginning a payment: whatever the channel does, the answer is the order as it stands."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from paycore.channel import (
    AlreadyPaid,
    ChannelVerb,
    Conversation,
    Declined,
    Failure,
    Paid,
    PayerPaying,
    PaymentAsk,
    PaymentFinding,
    Price,
    Ready,
    Reply,
    Request,
    Silence,
    Unknown,
    Waiting,
)
from paycore.core.order import LineItem, OrderState, PaymentState, Verb
from paycore.core.refusals import Reason
from paycore.engine.asking import token_of
from paycore.engine.cashier import Choice
from paycore.engine.desk import LEASE
from paycore.engine.host import CRASHES
from paycore.engine.tell import Told
from paycore.engine.verbs import SLACK
from paycore.store import Store, VersionState
from paycore.testing.wires import FaultyCarrier, ScriptedCarrier, WireFault
from tests.engine.channels import (
    METHODS,
    PLAN,
    ScriptedChannel,
    closed,
    not_found,
    paid,
    raises,
    says,
    signs,
)
from tests.engine.world import kept_simply, reason_of, refused, sandbox, scripted

SECOND = 1_000_000
STORE = replace(METHODS[0], name="store", scene="store", step_kinds=("store_purchase",))


async def test_a_payment_is_ready_in_one_call(store: Store) -> None:
    channel = ScriptedChannel()
    world = scripted(store, channel)
    await world.account()
    order = await world.order()
    payment = await world.paid(order)
    assert (payment.state, payment.plan_json, payment.sends) == (PaymentState.PENDING, PLAN, 1)
    assert payment.task is not None
    assert (payment.task.verb, payment.task.leased_until) == (Verb.QUERY, None)
    [(_, ask)] = channel.asked
    assert ask == PaymentAsk(
        payment_id=payment.payment_id,
        order_id=order.order_id,
        method="qr",
        target="",
        amount_minor=10_000,
        currency="CNY",
        subject="Two tickets",
        created_at=world.clock.now(),
        expires_at=order.expires_at,
        now=world.clock.now(),
        nonce=ask.nonce,
        notify_url=f"https://pay.example/v1/notices/{payment.account_id}",
    )
    assert len(ask.nonce) == 32


async def test_a_prepare_that_only_signs_is_one_commit(store: Store) -> None:
    world = scripted(store, ScriptedChannel(prepare_=signs))
    await world.account()
    order = await world.order()
    before = world.engine.teller.meter.batches
    payment = await world.paid(order)
    assert (payment.state, payment.plan_json) == (PaymentState.PENDING, PLAN)
    assert world.engine.teller.meter.batches - before == 1
    assert world.carrier.carried == []  # type: ignore[attr-defined]


async def test_our_number_is_stored_before_the_first_byte_leaves(store: Store) -> None:
    seen: list[Any] = []

    class Looking(ScriptedCarrier):
        async def carry(self, request: Request, *, seconds: float) -> Any:
            with store.read() as unit:
                seen.append(unit.load([order.order_id])[order.order_id].payments)
            return await super().carry(request, seconds=seconds)

    wire = Looking([Silence("lost")])
    world = scripted(store, ScriptedChannel(), wire)
    await world.account()
    order = await world.order()
    payment = await world.paid(order)
    [[stored]] = seen
    assert (stored.payment_id, stored.state, stored.sends) == (payment.payment_id, PaymentState.CREATED, 1)


async def test_a_silent_channel_is_an_answer_and_not_an_error(store: Store) -> None:
    world = scripted(store, ScriptedChannel(), ScriptedCarrier())
    await world.account()
    order = await world.order()
    payment = await world.paid(order)
    assert payment.state is PaymentState.UNKNOWN
    assert payment.task is not None
    assert payment.task.verb is Verb.PREPARE, "the same number is sent again"
    assert any("Unknown" in line for line in world.evidence(order))


async def test_a_conversation_that_began_late_still_ends_before_its_lease(store: Store) -> None:
    given: list[float] = []

    class Watching(ScriptedCarrier):
        async def carry(self, request: Request, *, seconds: float) -> Reply:
            given.append(seconds)
            return await super().carry(request, seconds=seconds)

    def thinks(ask: PaymentAsk) -> Conversation[PaymentFinding]:
        world.clock.advance(4)
        yield Request("POST", "https://channel.example/prepare")
        return Ready(PLAN)

    world = scripted(store, ScriptedChannel(prepare_=thinks), Watching([Silence("lost")]))
    await world.account()
    began = world.clock.now()
    await world.paid(await world.order())
    [seconds] = given
    assert world.clock.now() + seconds * SECOND <= began + LEASE - SLACK


async def test_what_never_left_us_was_never_sent(store: Store) -> None:
    wire = FaultyCarrier(kept_simply())
    wire.plan(WireFault.REFUSED)
    world = scripted(store, ScriptedChannel(), wire)
    await world.account()
    order = await world.order()
    payment = await world.paid(order)
    assert (payment.state, payment.sends) == (PaymentState.CREATED, 0)
    world.clock.advance(3)
    assert await world.do_due() == 1
    assert (await world.stands(order)).payments[0].plan_json == PLAN


@pytest.mark.parametrize(
    ("script", "state"),
    [
        (says(Declined(Failure("no_money"))), PaymentState.FAILED),
        (says(Declined(Failure("no_money")), asks=0), PaymentState.FAILED),
        (says(Unknown("who knows")), PaymentState.UNKNOWN),
        (says(Declined(Failure("no_money"), authenticated=False)), PaymentState.UNKNOWN),
        (raises(KeyError()), PaymentState.UNKNOWN),
        (raises(KeyError(), asks=1), PaymentState.UNKNOWN),
        (says("rubbish"), PaymentState.UNKNOWN),
        (says(Paid("1", "CNY", "M1")), PaymentState.UNKNOWN),  # type: ignore[arg-type]
    ],
)
async def test_what_prepare_says_is_what_the_payment_is(store: Store, script: Any, state: PaymentState) -> None:
    world = scripted(store, ScriptedChannel(prepare_=script))
    await world.account()
    order = await world.order()
    payment = await world.paid(order)
    assert payment.state is state
    assert (await world.stands(order)).state is OrderState.PENDING


async def test_a_prepare_that_may_not_say_paid_is_asked_about_and_not_believed(store: Store) -> None:
    world = scripted(store, ScriptedChannel(prepare_=paid, query_=paid))
    await world.account()
    order = await world.order()
    payment = await world.paid(order)
    assert payment.state is not PaymentState.SUCCEEDED
    world.clock.advance(1)
    await world.do_due()
    assert (await world.stands(order)).state is OrderState.PAID


async def test_a_barcode_may_be_paid_at_once(store: Store) -> None:
    world = scripted(store, ScriptedChannel(prepare_=paid))
    await world.account()
    order = await world.order()
    payment = await world.paid(order, method="code", inputs={"auth_code": "1" * 18})
    assert payment.state is PaymentState.SUCCEEDED
    assert (await world.stands(order)).state is OrderState.PAID


async def test_a_caller_with_no_time_leaves_it_to_the_clock(store: Store) -> None:
    channel = ScriptedChannel()
    world = scripted(store, channel)
    await world.account()
    order = await world.order()
    payment = await world.paid(order, deadline_at=world.clock.now() + 1000)
    assert (payment.state, payment.sends, channel.asked) == (PaymentState.CREATED, 0, [])
    assert await world.do_due() == 1
    assert (await world.stands(order)).payments[0].state is PaymentState.PENDING


async def test_a_caller_that_stops_waiting_stops_nothing(store: Store) -> None:
    started, gate = asyncio.Event(), asyncio.Event()

    class Slow(ScriptedCarrier):
        async def carry(self, request: Request, *, seconds: float) -> Any:
            started.set()
            await gate.wait()
            return await super().carry(request, seconds=seconds)

    wire = Slow([Reply(200, {}, b"")])
    world = scripted(store, ScriptedChannel(), wire)
    await world.account()
    order = await world.order()
    call = asyncio.create_task(world.pay(order))
    await started.wait()
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    gate.set()
    await world.engine.stop()
    with store.read() as unit:
        [payment] = unit.load([order.order_id])[order.order_id].payments
    assert payment.plan_json == PLAN


async def test_an_impatient_caller_gets_the_order_as_it_stands(store: Store) -> None:
    wire = FaultyCarrier(kept_simply())
    wire.plan(WireFault.HANGS)
    world = scripted(store, ScriptedChannel(), wire)
    await world.account()
    order = await world.order()
    began = asyncio.get_running_loop().time()
    payment = await world.paid(order, deadline_at=world.clock.now() + SECOND // 2)
    assert asyncio.get_running_loop().time() - began < 2
    assert payment.state is PaymentState.CREATED
    assert payment.task is not None
    assert payment.task.leased_until is not None
    await world.engine.stop(0.1)


# ---------------------------------------------------------------------------------------------- choosing


@pytest.mark.parametrize(
    ("choice", "order", "reason", "details"),
    [
        ({"channel": "alipay"}, {}, Reason.METHOD_UNKNOWN, {}),
        ({"method": "telepathy"}, {}, Reason.METHOD_UNKNOWN, {}),
        ({"account_id": "ac" + "0" * 26}, {}, Reason.ACCOUNT_NOT_FOUND, {}),
        ({"method": "jsapi"}, {}, Reason.PAYER_REQUIRED, {"input": "openid"}),
        ({"method": "jsapi", "inputs": {"openid": "a b"}}, {}, Reason.PAYER_REQUIRED, {"input": "openid"}),
        ({"method": "jsapi", "inputs": {"openid": "abcd\n"}}, {}, Reason.PAYER_REQUIRED, {"input": "openid"}),
        ({"method": "code"}, {}, Reason.INPUT_REQUIRED, {"input": "auth_code"}),
        ({"method": "app", "client": {"face": "h5"}}, {}, Reason.METHOD_UNAVAILABLE, {"why": "FACE_NOT_SUITED"}),
        ({"method": "app", "client": {"os": "symbian"}}, {}, Reason.BRIDGE_UNSUPPORTED, {}),
        (
            {"method": "app", "client": {"sdk_versions": {"wallet": "2.9.9"}}},
            {},
            Reason.BRIDGE_UNSUPPORTED,
            {"sdk": "wallet", "least": "2.10"},
        ),
        ({"method": "app"}, {"amount_minor": 99}, Reason.METHOD_UNAVAILABLE, {"why": "AMOUNT_TOO_SMALL"}),
        ({}, {"amount_minor": 1_000_001}, Reason.METHOD_UNAVAILABLE, {"why": "AMOUNT_TOO_LARGE"}),
        ({}, {"currency": "USD"}, Reason.METHOD_UNAVAILABLE, {"why": "CURRENCY_NOT_TAKEN"}),
    ],
)
async def test_a_choice_that_cannot_be_made_is_refused_with_its_reason(
    store: Store, choice: dict[str, Any], order: dict[str, Any], reason: Reason, details: dict[str, str]
) -> None:
    world = scripted(store, ScriptedChannel())
    await world.account()
    refusal = await refused(world.pay(await world.order(**order), **choice))
    assert refusal.reason is reason
    assert details.items() <= refusal.details.items()


async def test_another_apps_order_and_account_are_not_there(store: Store) -> None:
    world = scripted(store, ScriptedChannel())
    account_id = await world.account()
    order = await world.order()
    other = replace(await world.engine.apps.get(world.app_id), app_id="ap" + "0" * 25 + "2")
    world.put_app(other)
    unknown = await refused(world.pay(replace(order, order_id="or" + "0" * 26)))
    foreign = await refused(world.pay(order, app_id=other.app_id))
    assert (foreign.reason, foreign.text) == (unknown.reason, unknown.text)
    theirs = await world.order(app_id=other.app_id)
    assert await reason_of(world.pay(theirs, app_id=other.app_id)) is Reason.METHOD_UNAVAILABLE, "no account there"
    named = world.pay(theirs, app_id=other.app_id, account_id=account_id)
    assert await reason_of(named) is Reason.ACCOUNT_NOT_FOUND


async def test_the_target_follows_from_the_client(store: Store) -> None:
    channel = ScriptedChannel()
    world = scripted(store, channel)
    await world.account()
    for client, target in (({"face": "android"}, "android"), ({"os": "iOS"}, "ios"), ({}, "")):
        payment = await world.paid(await world.order(), method="app", client=client)
        assert payment.target == target
    assert channel.asked[0][1].client == {"face": "android"}


async def test_only_what_the_method_asks_for_is_kept_of_the_inputs(store: Store) -> None:
    world = scripted(store, ScriptedChannel())
    await world.account()
    inputs = {"openid": "oABC123", "price": "1"}
    payment = await world.paid(await world.order(), method="jsapi", inputs=inputs)
    assert payment.inputs == {"openid": "oABC123"}


async def test_an_order_that_is_over_says_so(store: Store) -> None:
    world = scripted(store, ScriptedChannel(prepare_=paid))
    await world.account()
    order = await world.order()
    await world.paid(order, method="code", inputs={"auth_code": "1" * 18})
    assert await reason_of(world.pay(order)) is Reason.ORDER_ALREADY_PAID
    late = await world.order()
    world.clock.set(late.expires_at + 1)
    assert await reason_of(world.pay(late)) is Reason.ORDER_EXPIRED


async def test_expiry_is_clamped_and_too_little_time_is_no_time(store: Store) -> None:
    world = scripted(store, ScriptedChannel())
    await world.account()
    order = await world.order()
    code = await world.paid(order, method="code", inputs={"auth_code": "1" * 18})
    assert code.expires_at == world.clock.now() + 600 * SECOND
    other = await world.order()
    world.clock.set(other.expires_at - 60 * SECOND)
    assert (await world.paid(other)).expires_at == other.expires_at, "a minute is enough"
    third = await world.order(expires_at=world.clock.now() + 61 * SECOND)
    world.clock.advance(1.5)
    assert await reason_of(world.pay(third)) is Reason.ORDER_EXPIRED


async def test_a_quarantined_channel_takes_no_new_payment(store: Store) -> None:
    channel = ScriptedChannel(prepare_=raises(KeyError()))
    world = scripted(store, channel)
    await world.account()
    for _ in range(CRASHES):
        await world.pay(await world.order())
    refusal = await refused(world.pay(await world.order()))
    assert (refusal.reason, refusal.details["why"]) == (Reason.METHOD_UNAVAILABLE, "CHANNEL_RESTING")
    world.clock.advance(61)
    channel.prepare_ = signs
    await world.pay(await world.order())
    assert not world.host.is_shaky("scripted")


async def test_a_draining_account_takes_no_new_payment_and_serves_the_old(store: Store) -> None:
    world = scripted(store, ScriptedChannel(query_=paid))
    account_id = await world.account()
    order = await world.order()
    await world.pay(order)
    await world.engine.accounts.set_version_state(account_id, 1, VersionState.DRAINING)
    refusal = await refused(world.pay(await world.order()))
    assert (refusal.reason, refusal.details["why"]) == (Reason.METHOD_UNAVAILABLE, "ACCOUNT_UNUSABLE")
    world.clock.advance(3)
    await world.do_due()
    assert (await world.stands(order)).state is OrderState.PAID


async def test_a_store_purchase_names_product_quantity_and_token(store: Store) -> None:
    channel = ScriptedChannel(prepare_=signs)
    world = scripted(store, channel, methods=(replace(STORE, price=Price.STORE),))
    await world.account()
    order = await world.order(items=(LineItem("gold.100", "Gold", 2, 5_000),))
    payment = await world.paid(order, method="store")
    assert (payment.product_id, payment.quantity, payment.token) == ("gold.100", 2, token_of(payment.payment_id))
    assert channel.asked[-1][1].token == payment.token
    two = (LineItem("gold.100", "Gold", 1, 5_000), LineItem("gold.200", "Gold", 1, 5_000))
    for items in ((), two):
        refusal = await refused(world.pay(await world.order(items=items), method="store"))
        assert (refusal.reason, refusal.details["why"]) == (Reason.METHOD_UNAVAILABLE, "ITEMS_NOT_SUITED")


# ---------------------------------------------------------------------------------------------- asking twice


async def test_the_same_choice_twice_is_the_same_payment(store: Store) -> None:
    channel = ScriptedChannel()
    world = scripted(store, channel)
    await world.account()
    order = await world.order()
    first, second = await world.paid(order), await world.paid(order)
    assert first.payment_id == second.payment_id
    assert channel.verbs() == ["prepare"]


async def test_the_same_request_is_the_same_payment_whatever_happened_since(store: Store) -> None:
    channel = ScriptedChannel(prepare_=says(Ready(PLAN), asks=1), query_=paid)
    world = scripted(store, channel)
    await world.account()
    order = await world.order()
    request = world.request("PayOrder", "the-same-request-1", b'{"channel":"scripted"}')
    first = await world.pay(order, request=request)
    world.clock.advance(3)
    await world.do_due()
    again = await world.pay(order, request=request)
    assert again.is_replay
    assert again.subject_id == first.subject_id
    assert again.order.state is OrderState.PAID, "as it stands now"
    other = replace(request, canonical=b'{"channel":"alipay"}')
    refusal = await refused(world.pay(order, request=other))
    assert (refusal.reason, refusal.fields) == (Reason.IDEMPOTENCY_CONFLICT, ("channel",))


async def test_a_replay_is_answered_even_if_the_method_is_gone(store: Store) -> None:
    world = scripted(store, ScriptedChannel())
    account_id = await world.account()
    order = await world.order()
    request = world.request()
    first = await world.pay(order, request=request)
    await world.engine.accounts.set_version_state(account_id, 1, VersionState.DRAINING)
    assert (await world.pay(order, request=request)).subject_id == first.subject_id
    assert await reason_of(world.pay(order, request=world.request())) is Reason.METHOD_UNAVAILABLE


async def test_twenty_payers_at_once_have_one_payment(each_store: Store) -> None:
    channel = ScriptedChannel()
    world = scripted(each_store, channel)
    await world.account()
    order = await world.order()
    told = await asyncio.gather(*(world.pay(order) for _ in range(20)))
    assert len({one.subject_id for one in told}) == 1
    assert {one.order.payments[0].plan_json for one in told} == {PLAN}, "and all of them its action"
    assert len((await world.stands(order)).payments) == 1
    assert len(world.carrier.carried) == 1, "the channel heard of it once"  # type: ignore[attr-defined]


# ---------------------------------------------------------------------------------------------- changing one's mind


async def test_the_older_attempt_is_asked_about_and_closed_first(store: Store) -> None:
    channel = ScriptedChannel()
    world = scripted(store, channel)
    await world.account()
    order = await world.order()
    first = await world.paid(order)
    second = await world.paid(order, method="app", client={"face": "ios"})
    assert channel.verbs() == ["prepare", "query", "close", "prepare"]
    states = [payment.state for payment in (await world.stands(order)).payments]
    assert states == [PaymentState.CLOSED, PaymentState.PENDING]
    assert first.payment_id != second.payment_id


async def test_an_etag_allows_the_switch_that_its_caller_asks_for(store: Store) -> None:
    world = scripted(store, ScriptedChannel())
    await world.account()
    order = await world.order()
    await world.pay(order)
    known, request = await world.stands(order), world.request()
    choice = Choice("scripted", "app", client={"face": "ios"})

    async def switch() -> Told:
        etag = f'"{known.version}"'
        return await world.engine.pay(world.app_id, order.order_id, choice, request, etag=etag)

    told = await switch()
    assert [payment.state for payment in told.order.payments] == [PaymentState.CLOSED, PaymentState.PENDING]
    assert (await switch()).is_replay


async def test_a_request_that_comes_late_again_does_not_undo_the_switch(store: Store) -> None:
    world = scripted(store, ScriptedChannel())
    await world.account()
    order, request = await world.order(), world.request()
    first = await world.pay(order, request=request)
    second = await world.paid(order, method="app", client={"face": "ios"})
    again = await world.pay(order, request=request)
    assert (again.subject_id, again.is_replay) == (first.subject_id, True)
    assert (await world.stands(order)).payment(second.payment_id) == second


async def test_an_attempt_that_the_channel_does_not_know_is_superseded(store: Store) -> None:
    channel = ScriptedChannel(query_=not_found, close_=not_found)
    world = scripted(store, channel)
    await world.account()
    order = await world.order()
    await world.paid(order)
    await world.paid(order, method="app", client={"face": "ios"})
    old, new = (await world.stands(order)).payments
    assert (old.is_superseded, old.is_open, new.state) == (True, True, PaymentState.PENDING)


@pytest.mark.parametrize(
    "wire",
    [
        {"query_": says(PayerPaying())},
        {"query_": says(Unknown("?")), "close_": says(Unknown("?"))},
        {"query_": says(Waiting()), "close_": says(PayerPaying())},
        {"query_": raises(KeyError(), asks=1), "close_": raises(KeyError(), asks=1)},
    ],
    ids=["paying", "silent", "paying when closed", "broken"],
)
async def test_an_attempt_that_cannot_be_closed_is_in_progress_and_may_be_asked_again(
    store: Store, wire: dict[str, Any]
) -> None:
    channel = ScriptedChannel(**wire)
    world = scripted(store, channel)
    await world.account()
    order = await world.order()
    first = await world.paid(order)
    refusal = await refused(world.pay(order, method="app", client={"face": "ios"}))
    assert refusal.reason is Reason.PAYMENT_IN_PROGRESS
    assert refusal.retry_after_seconds
    assert refusal.details["payment_id"] == first.payment_id
    channel.query_, channel.close_ = says(Waiting()), closed
    world.clock.advance(2)
    again = await world.paid(order, method="app", client={"face": "ios"})
    assert again.state is PaymentState.PENDING, "the next ask tries again"


async def test_a_switch_that_finds_the_money_pays_the_order(store: Store) -> None:
    world = scripted(store, ScriptedChannel(query_=paid))
    await world.account()
    order = await world.order()
    await world.paid(order)
    assert await reason_of(world.pay(order, method="app", client={"face": "ios"})) is Reason.ORDER_ALREADY_PAID
    assert (await world.stands(order)).state is OrderState.PAID


async def test_a_close_that_says_paid_makes_a_query_due(store: Store) -> None:
    channel = ScriptedChannel(close_=says(AlreadyPaid()))
    world = scripted(store, channel)
    await world.account()
    order = await world.order()
    await world.paid(order)
    assert await reason_of(world.pay(order, method="app", client={"face": "ios"})) is Reason.PAYMENT_IN_PROGRESS
    channel.query_ = paid
    world.clock.advance(1.1)
    await world.do_due()
    assert (await world.stands(order)).state is OrderState.PAID


async def test_a_kind_without_close_lets_the_payer_go_on(store: Store) -> None:
    verbs = frozenset(ChannelVerb) - {ChannelVerb.CLOSE}
    methods = tuple(method for method in METHODS if method.name != "code")
    world = scripted(store, ScriptedChannel(), verbs=verbs, methods=methods)
    await world.account()
    order = await world.order()
    await world.paid(order)
    second = await world.paid(order, method="app", client={"face": "ios"})
    assert second.state is PaymentState.PENDING
    assert (await world.stands(order)).payments[0].is_superseded


async def test_an_action_that_is_no_longer_valid_is_replaced(store: Store) -> None:
    def short(ask: PaymentAsk) -> Conversation[PaymentFinding]:
        yield Request("POST", "https://channel.example/prepare")
        return Ready(PLAN, expires_at=ask.now + 60 * SECOND)

    world = scripted(store, ScriptedChannel(prepare_=short))
    await world.account()
    order = await world.order()
    first = await world.paid(order)
    world.clock.advance(61)
    second = await world.paid(order)
    assert first.payment_id != second.payment_id
    assert (await world.stands(order)).payment(first.payment_id).state is PaymentState.CLOSED  # type: ignore[union-attr]


# ---------------------------------------------------------------------------------------------- with the sandbox


async def test_every_method_of_the_sandbox_gets_its_action(store: Store) -> None:
    box = await sandbox(store)
    world = box.world
    for method, client in (("qr", {}), ("redirect", {"face": "pc"}), ("app", {"face": "android"})):
        payment = await world.paid(await world.order(), "sandbox", method, client=client)
        assert (payment.state, bool(payment.plan_json)) == (PaymentState.PENDING, True), method
    order = await world.order(items=(LineItem("gold.100", "Gold", 1, 10_000),))
    purchase = await world.paid(order, "sandbox", "store")
    assert purchase.token in purchase.plan_json


async def test_one_payment_of_two_accounts_goes_where_it_was_asked(store: Store) -> None:
    world = scripted(store, ScriptedChannel())
    first = await world.account()
    world.clock.advance(1)
    second = await world.account(settings={"merchant": "M2", "key": "k2"})
    assert (await world.paid(await world.order())).account_id == first
    payment = await world.paid(await world.order(), account_id=second)
    assert (payment.account_id, payment.merchant) == (second, "M2")
