"""What is due is done: asked, closed, refunded; and whatever was heard is told with its evidence."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from paycore.channel import (
    ChannelVerb,
    Closed,
    Declined,
    Failure,
    Paid,
    PayerPaying,
    Ready,
    Reference,
    Refunded,
    RefundFailed,
    RefundNotFound,
    RefundProcessing,
    RefundRefused,
    Reply,
    Request,
    Reversed,
    Unknown,
    Waiting,
)
from paycore.core.order import AnomalyKind, OrderState, PaymentState, RefundState, Verb
from paycore.core.refusals import Reason, Refused
from paycore.store import Store, VersionState
from paycore.testing.wires import FaultyCarrier, ScriptedCarrier, WireFault
from tests.engine.channels import METHODS, PLAN, ScriptedChannel, closed, not_found, paid, raises, says, signs, waiting
from tests.engine.world import World, kept_simply, sandbox, scripted

SECOND = 1_000_000
MINUTE = 60 * SECOND


async def begun(store: Store, channel: ScriptedChannel, **kind: Any) -> tuple[World, Any]:
    """A world with one payment that waits to be paid."""
    world = scripted(store, channel, **kind)
    await world.account()
    order = await world.order()
    await world.pay(order)
    channel.asked.clear()
    return world, order


async def test_a_query_that_finds_the_money_pays_the_order(store: Store) -> None:
    world, order = await begun(store, ScriptedChannel(query_=paid))
    world.clock.advance(2)
    assert await world.do_due() == 1
    after = await world.stands(order)
    assert (after.state, after.payments[0].task) == (OrderState.PAID, None)
    assert any(line.startswith("QUERY") and '"amount_minor":10000' in line for line in world.evidence(order))


@pytest.mark.parametrize(
    "script",
    [
        waiting,
        not_found,
        says(Unknown("?")),
        says(PayerPaying()),
        raises(KeyError(), asks=1),
        says(None),
        says(Ready(PLAN)),
        says(Paid(10_000, "CNY", "M1", authenticated=False)),
        says(Declined(Failure("no_money"), authenticated=False)),
        says(Closed(authenticated=False)),
    ],
    ids=range(10),
)
async def test_not_knowing_leaves_the_state_and_the_task(store: Store, script: Any) -> None:
    world, order = await begun(store, ScriptedChannel(query_=script))
    world.clock.advance(2)
    assert await world.do_due() == 1
    [payment] = (await world.stands(order)).payments
    assert payment.state is PaymentState.PENDING
    assert payment.task is not None
    assert payment.task.verb is Verb.QUERY
    assert payment.task.due_at > world.clock.now()


@pytest.mark.parametrize(
    ("finding", "kind", "state"),
    [
        (Paid(9_999, "CNY", "M1"), AnomalyKind.AMOUNT_MISMATCH, PaymentState.SUCCEEDED),
        (Paid(10_000, "USD", "M1"), AnomalyKind.AMOUNT_MISMATCH, PaymentState.SUCCEEDED),
        (Paid(10_000, "CNY", "M2"), AnomalyKind.WRONG_ACCOUNT, PaymentState.PENDING),
    ],
)
async def test_money_that_is_not_what_was_asked_for_does_not_pay(
    store: Store, finding: Paid, kind: AnomalyKind, state: PaymentState
) -> None:
    world, order = await begun(store, ScriptedChannel(query_=says(finding)))
    world.clock.advance(2)
    await world.do_due()
    after = await world.stands(order)
    assert (after.state, after.payments[0].state) == (OrderState.PENDING, state)
    assert [anomaly.kind for anomaly in after.anomalies] == [kind]


# ---------------------------------------------------------------------------------------------- closing


async def test_an_order_that_nobody_paid_is_asked_about_and_closed_at_expiry(store: Store) -> None:
    channel = ScriptedChannel()
    world, order = await begun(store, channel)
    world.clock.set(order.expires_at)
    await world.do_due()
    after = await world.stands(order)
    assert (after.state, after.payments[0].state) == (OrderState.CLOSED, PaymentState.CLOSED)
    assert channel.verbs()[-2:] == ["query", "close"]


@pytest.mark.parametrize(
    ("said", "asked", "state"),
    [
        (says(Closed()), ["query"], OrderState.CLOSED),
        (says(Reversed()), ["query"], OrderState.CLOSED),
        (says(Declined(Failure("no_money"))), ["query"], OrderState.CLOSED),
        (paid, ["query"], OrderState.PAID),
        (says(PayerPaying()), ["query"], OrderState.CLOSING),
        (waiting, ["query", "close"], OrderState.CLOSED),
        (not_found, ["query", "close"], OrderState.CLOSED),
        (says(Unknown("?")), ["query", "close"], OrderState.CLOSED),
        (raises(KeyError(), asks=1), ["query", "close"], OrderState.CLOSED),
        (says(Closed(authenticated=False)), ["query", "close"], OrderState.CLOSED),
        (says(Paid(10_000, "CNY", "M1", authenticated=False)), ["query", "close"], OrderState.CLOSED),
    ],
    ids=range(11),
)
async def test_a_close_asks_first_and_closes_only_what_is_open(
    store: Store, said: Any, asked: list[str], state: OrderState
) -> None:
    channel = ScriptedChannel()
    world, order = await begun(store, channel)
    channel.query_ = said
    told = await world.engine.close_order(world.app_id, order.order_id, world.request())
    assert (channel.verbs(), told.order.state) == (asked, state)


@pytest.mark.parametrize(
    ("gives_back", "asked", "state"),
    [(True, ["query", "close"], OrderState.CLOSED), (False, ["query"], OrderState.CLOSING)],
    ids=["a close that gives back", "a close that does not"],
)
async def test_a_payer_who_never_confirms_is_called_off_at_expiry(
    store: Store, gives_back: bool, asked: list[str], state: OrderState
) -> None:
    """The channel may say "paying" of a scanned payer for ever. Where a close gives back it is safe whatever the payer does."""
    channel = ScriptedChannel(query_=says(PayerPaying()), close_=says(Reversed()))
    world, order = await begun(store, channel, methods=(replace(METHODS[0], close_reverses=gives_back),))
    await world.engine.close_order(world.app_id, order.order_id, world.request())
    assert (channel.verbs(), (await world.stands(order)).state) == (["query"], OrderState.CLOSING), "not before"
    channel.asked.clear()
    world.clock.set(order.expires_at)
    await world.do_due()
    assert (channel.verbs(), (await world.stands(order)).state) == (asked, state)


async def test_not_found_closes_nothing_before_the_margin_and_needs_no_close_after_it(store: Store) -> None:
    channel = ScriptedChannel(query_=not_found, close_=not_found)
    world, order = await begun(store, channel)
    world.clock.set(order.expires_at)
    await world.do_due()
    assert (await world.stands(order)).state is OrderState.CLOSING
    channel.asked.clear()
    world.clock.set(order.expires_at + MINUTE)
    await world.do_due()
    assert (await world.stands(order)).state is OrderState.CLOSED
    assert channel.verbs() == ["query"]


async def test_a_close_without_answer_is_asked_about_again(store: Store) -> None:
    channel = ScriptedChannel(close_=says(Unknown("?")))
    world, order = await begun(store, channel)
    told = await world.engine.close_order(world.app_id, order.order_id, world.request())
    assert told.order.state is OrderState.CLOSING
    [payment] = told.order.payments
    assert payment.close_unanswered_until is not None, "until its lease ends it may still take effect"
    channel.close_ = closed
    world.clock.advance(3)
    await world.do_due()
    assert (await world.stands(order)).state is OrderState.CLOSED


async def test_a_kind_without_close_is_only_asked(store: Store) -> None:
    verbs = frozenset(ChannelVerb) - {ChannelVerb.CLOSE}
    channel = ScriptedChannel()
    methods = tuple(one for one in METHODS if one.name != "code")
    world, order = await begun(store, channel, verbs=verbs, methods=methods)
    world.clock.set(order.expires_at)
    await world.do_due()
    assert (await world.stands(order)).state is OrderState.CLOSING
    channel.query_ = not_found
    world.clock.set(order.expires_at + MINUTE)
    await world.do_due()
    assert (await world.stands(order)).state is OrderState.CLOSED
    assert set(channel.verbs()) == {"query"}


async def test_a_kind_that_can_be_neither_asked_nor_closed_is_never_called_for_it(store: Store) -> None:
    verbs = frozenset({ChannelVerb.PREPARE, ChannelVerb.READ_NOTICE})
    channel = ScriptedChannel(prepare_=signs)
    methods = tuple(one for one in METHODS if one.name != "code")
    world, order = await begun(store, channel, verbs=verbs, methods=methods)
    for _ in range(6):
        world.clock.set(max(order.expires_at, world.clock.now() + 61 * SECOND))
        await world.do_due()
    assert channel.verbs() == []


async def test_a_prepare_whose_time_is_over_is_not_sent(store: Store) -> None:
    wire = FaultyCarrier(kept_simply())
    wire.plan(WireFault.LOST)
    channel = ScriptedChannel()
    world = scripted(store, channel, wire)
    await world.account()
    order = await world.order()
    await world.paid(order, method="qr")
    with store.write() as unit:  # a worker takes the prepare and sleeps through the order's time
        world.clock.advance(2)
        [due] = unit.claim_due(world.clock.now(), world.clock.now() + 30 * SECOND, 1)
    assert due.verb is Verb.PREPARE
    channel.asked.clear()
    world.clock.set(order.expires_at)
    await world.engine.verbs.do(due)
    assert "prepare" not in channel.verbs()
    assert (await world.stands(order)).payments[0].task.verb is Verb.CLOSE  # type: ignore[union-attr]


# ---------------------------------------------------------------------------------------------- leases


class Gated(ScriptedCarrier):
    """A wire on which answers wait for a gate to open."""

    def __init__(self) -> None:
        super().__init__([Reply(200, {}, b"ok")] * 20)
        self.gate = asyncio.Event()
        self.gate.set()

    async def carry(self, request: Request, *, seconds: float) -> Reply:
        await self.gate.wait()
        return await super().carry(request, seconds=seconds)


async def test_a_worker_past_its_lease_tells_what_it_learnt_and_moves_no_task(store: Store) -> None:
    wire = Gated()
    world = scripted(store, ScriptedChannel(query_=paid), wire)
    await world.account()
    order = await world.order()
    await world.pay(order)
    world.clock.advance(2)
    wire.gate.clear()
    with store.write() as unit:
        [first] = unit.claim_due(world.clock.now(), world.clock.now() + 30 * SECOND, 1)
    slow = asyncio.create_task(world.engine.verbs.do(first))
    await asyncio.sleep(0.05)
    world.clock.advance(31)
    with store.write() as unit:
        [second] = unit.claim_due(world.clock.now(), world.clock.now() + 30 * SECOND, 1)
    assert second.fence > first.fence
    wire.gate.set()
    await slow
    assert (await world.stands(order)).state is OrderState.PAID, "money is money, whoever says it"


async def test_a_lease_that_is_not_ours_does_nothing(store: Store) -> None:
    channel = ScriptedChannel(query_=paid)
    world, order = await begun(store, channel)
    world.clock.advance(2)
    with store.write() as unit:
        [due] = unit.claim_due(world.clock.now(), world.clock.now() + 30 * SECOND, 1)
    await world.engine.close_order(
        world.app_id, order.order_id, world.request(), deadline_at=world.clock.now()
    )  # which gives the payment another task
    await world.engine.verbs.do(due)
    assert channel.asked == []


async def test_what_was_heard_is_told_again_while_the_store_is_away(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, order = await begun(store, ScriptedChannel(query_=paid))
    tell, failures = world.engine.teller.tell, 2

    async def flaky(telling: Any) -> Any:
        nonlocal failures
        if failures:
            failures -= 1
            raise Refused(Reason.STORE_UNAVAILABLE, "The database cannot be reached at the moment.")
        return await tell(telling)

    monkeypatch.setattr(world.engine.teller, "tell", flaky)
    world.clock.advance(2)
    work = asyncio.create_task(world.do_due())
    while not work.done():
        await asyncio.sleep(0.01)
        world.clock.advance(0.5)
    assert await work == 1
    assert (await world.stands(order)).state is OrderState.PAID


async def test_a_reference_pays_one_payment_ever(each_store: Store) -> None:
    claimed = says(Paid(10_000, "CNY", "M1", references=(Reference("transaction", "T1"),)))
    world, first = await begun(each_store, ScriptedChannel(query_=claimed))
    second = await world.order()
    await world.pay(second)
    world.clock.advance(2)
    await world.do_due()
    states = sorted([(await world.stands(first)).state, (await world.stands(second)).state])
    assert states == [OrderState.PAID, OrderState.PENDING]


# ---------------------------------------------------------------------------------------------- accounts


async def test_an_account_that_cannot_sign_makes_its_tasks_wait_visibly(store: Store) -> None:
    world, order = await begun(store, ScriptedChannel(query_=paid))
    [payment] = (await world.stands(order)).payments
    with store.write() as unit:  # what `set_version_state` would refuse while a task is open
        [version] = unit.account_versions(payment.account_id)
        unit.put_account_version(type(version)(**_fields(version, state=VersionState.VERIFY_ONLY)))
    world.engine.accounts.forget()
    world.clock.advance(3)
    await world.do_due()
    after = await world.stands(order)
    assert [(one.kind, one.is_open) for one in after.anomalies] == [(AnomalyKind.ACCOUNT_UNUSABLE, True)]
    assert (after.state, after.payments[0].state) == (OrderState.PENDING, PaymentState.PENDING)
    with store.write() as unit:
        unit.put_account_version(type(version)(**_fields(version, state=VersionState.ACTIVE)))
    world.engine.accounts.forget()
    world.clock.advance(601)
    await world.do_due()
    after = await world.stands(order)
    assert after.state is OrderState.PAID
    assert not any(one.is_open for one in after.anomalies)


async def test_a_plugin_that_is_gone_makes_its_tasks_wait_visibly(store: Store) -> None:
    world, order = await begun(store, ScriptedChannel(query_=paid))
    kind = world.host.kinds.pop("scripted")
    world.engine.accounts.forget()
    for account_id in list(world.engine.accounts._known):
        del world.engine.accounts._known[account_id]
    world.clock.advance(3)
    await world.do_due()
    [anomaly] = (await world.stands(order)).anomalies
    assert (anomaly.kind, anomaly.detail) == (
        AnomalyKind.ACCOUNT_UNUSABLE,
        "The plugin of channel scripted is not loaded.",
    )
    world.host.kinds["scripted"] = kind
    world.clock.advance(601)
    await world.do_due()
    assert (await world.stands(order)).state is OrderState.PAID


def _fields(row: Any, **changes: Any) -> dict[str, Any]:
    return {name: getattr(row, name) for name in row.__dataclass_fields__} | changes


# ---------------------------------------------------------------------------------------------- refunds


async def paid_order(store: Store, channel: ScriptedChannel, wire: Any = None, **kind: Any) -> tuple[World, Any]:
    channel.query_ = paid
    world = scripted(store, channel, wire, **kind)
    await world.account()
    order = await world.order()
    await world.pay(order)
    world.clock.advance(2)
    await world.do_due()
    channel.asked.clear()
    return world, await world.stands(order)


@pytest.mark.parametrize(
    ("script", "state", "verb"),
    [
        (says(Refunded()), RefundState.SUCCEEDED, Verb.QUERY_REFUND),
        (says(RefundProcessing("R1")), RefundState.PROCESSING, Verb.QUERY_REFUND),
        (says(Unknown("?")), RefundState.UNKNOWN, Verb.QUERY_REFUND),
        (raises(KeyError(), asks=1), RefundState.UNKNOWN, Verb.QUERY_REFUND),
        (says(Waiting()), RefundState.UNKNOWN, Verb.QUERY_REFUND),
        (says(RefundRefused(Failure("no"))), RefundState.UNKNOWN, Verb.QUERY_REFUND),
    ],
    ids=range(6),
)
async def test_a_refund_is_sent_at_once_and_an_unknown_outcome_is_an_answer(
    store: Store, script: Any, state: RefundState, verb: Verb
) -> None:
    channel = ScriptedChannel(refund_=script)
    world, order = await paid_order(store, channel)
    refund = await world.refund(order, 3_000, reason="too big")
    assert (refund.state, refund.task.verb if refund.task else None) == (state, verb)
    [(_, ask)] = channel.asked
    assert (ask.refund_id, ask.amount_minor, ask.captured_minor, ask.reason) == (
        refund.refund_id,
        3_000,
        10_000,
        "too big",
    )


async def test_a_refund_that_never_left_us_is_sent_again_under_its_number(store: Store) -> None:
    wire = FaultyCarrier(kept_simply())
    channel = ScriptedChannel(refund_=says(Refunded()))
    world, order = await paid_order(store, channel, wire)
    wire.plan(WireFault.REFUSED)
    refund = await world.refund(order, 3_000)
    assert (refund.state, refund.sends) == (RefundState.PENDING, 0)
    world.clock.advance(3)
    await world.do_due()
    assert (await world.stands(order)).refunds[0].state is RefundState.SUCCEEDED
    assert {ask.refund_id for verb, ask in channel.asked} == {refund.refund_id}


async def test_refused_and_then_not_found_has_failed_and_frees_its_amount(store: Store) -> None:
    channel = ScriptedChannel(refund_=says(RefundRefused(Failure("no"))), query_refund_=says(RefundNotFound()))
    world, order = await paid_order(store, channel)
    await world.refund(order, 3_000)
    world.clock.advance(10)
    await world.do_due()
    after = await world.stands(order)
    assert (after.refunds[0].state, after.payments[0].balance_minor) == (RefundState.FAILED, 10_000)


async def test_a_refund_is_followed_to_its_end(store: Store) -> None:
    channel = ScriptedChannel(query_refund_=says(RefundFailed(Failure("closed_account"))))
    world, order = await paid_order(store, channel)
    await world.refund(order, 3_000)
    world.clock.advance(6)
    await world.do_due()
    refund = (await world.stands(order)).refunds[0]
    assert (refund.state, refund.failure) == (RefundState.FAILED, Failure("closed_account"))


async def test_sixty_four_refunds_at_once_never_exceed_what_was_paid(each_store: Store) -> None:
    world, order = await paid_order(each_store, ScriptedChannel(refund_=says(Refunded())))
    told = await asyncio.gather(*(world.refund(order, 300) for _ in range(64)), return_exceptions=True)
    done = [one for one in told if not isinstance(one, BaseException)]
    reasons = {one.reason for one in told if isinstance(one, Refused)}
    assert len(done) == 33
    assert reasons == {Reason.REFUND_EXCEEDS_BALANCE}
    after = await world.stands(order)
    assert sum(refund.amount_minor for refund in after.refunds) == 9_900


async def test_a_sync_asks_about_everything_and_a_retry_sends_again(store: Store) -> None:
    channel = ScriptedChannel(refund_=says(Unknown("?")), query_refund_=says(Unknown("?")))
    world, order = await paid_order(store, channel)
    refund = await world.refund(order, 3_000)
    channel.query_refund_ = says(Refunded())
    told = await world.engine.sync_refund(world.app_id, refund.refund_id)
    assert told.order.refunds[0].state is RefundState.SUCCEEDED
    assert told.subject_id == refund.refund_id


async def test_a_sync_of_an_order_brings_the_next_question_forward(store: Store) -> None:
    channel = ScriptedChannel()
    world, order = await begun(store, channel)
    channel.query_ = paid
    told = await world.engine.sync_order(world.app_id, order.order_id)
    assert told.order.state is OrderState.PAID


async def test_a_sync_of_a_silent_channel_changes_nothing(store: Store) -> None:
    channel = ScriptedChannel(query_=says(Unknown("?")))
    world, order = await begun(store, channel)
    before = await world.stands(order)
    told = await world.engine.sync_order(world.app_id, order.order_id)
    assert (told.order.state, told.order.version) == (before.state, before.version)
    assert channel.verbs() == ["query"]


# ---------------------------------------------------------------------------------------------- with the sandbox


async def test_the_sandbox_pays_refunds_and_closes(each_store: Store) -> None:
    box = await sandbox(each_store)
    world = box.world
    order = await world.order()
    payment = await world.paid(order, "sandbox")
    box.simulator.pay(payment.payment_id, world.clock.now())
    world.clock.advance(2)
    await world.do_due()
    order = await world.stands(order)
    assert order.state is OrderState.PAID
    refund = await world.refund(order, 4_000)
    world.clock.advance(10)
    await world.do_due()
    assert (await world.stands(order)).refund(refund.refund_id).state is RefundState.SUCCEEDED  # type: ignore[union-attr]
    unpaid = await world.order()
    forgotten = await world.paid(unpaid, "sandbox")
    world.clock.set(unpaid.expires_at)
    await world.do_due()
    assert (await world.stands(unpaid)).state is OrderState.CLOSED
    assert box.simulator.books.trades[forgotten.payment_id].state == "CLOSED"


@pytest.mark.parametrize(
    "fault", ["lost", "refused_by_proxy", "effect_then_silence", "effect_then_error", "unsigned", "badly_signed", "truncated", "empty", "other_subject", "rate_limited"]
)  # fmt: skip
async def test_no_fault_of_the_channel_makes_a_payment_lie(store: Store, fault: str) -> None:
    from paycore_sandbox.simulator import Fault

    box = await sandbox(store)
    world = box.world
    order = await world.order()
    box.simulator.faults.plan(Fault(fault), "trades")
    payment = await world.paid(order, "sandbox")
    assert payment.state in (PaymentState.UNKNOWN, PaymentState.CREATED)
    world.clock.advance(3)
    await world.do_due()
    [payment] = (await world.stands(order)).payments
    assert (payment.state, bool(payment.plan_json)) == (PaymentState.PENDING, True), "the same number, sent again"
    box.simulator.pay(payment.payment_id, world.clock.now())
    box.simulator.faults.plan(Fault(fault), "trades/query")
    for _ in range(3):
        world.clock.advance(20)
        await world.do_due()
    after = await world.stands(order)
    assert after.state is OrderState.PAID
    assert len(after.payments) == 1
