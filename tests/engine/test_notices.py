"""Notices: verified, stored, then acknowledged with the channel's own bytes; whatever comes in, nothing is raised."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from paycore.channel import (
    AboutPayment,
    AboutRefund,
    ChannelVerb,
    Closed,
    Failure,
    Forged,
    Notice,
    NoticeCase,
    NoticeReply,
    Paid,
    RawNotice,
    Ready,
    Reference,
    RefundBounced,
    Refunded,
    RefundFailed,
    Waiting,
)
from paycore.core.order import AnomalyKind, OrderState, PaymentState, RefundOrigin, RefundState
from paycore.engine.host import CRASHES
from paycore.engine.notices import MAX_BODY_BYTES, NO_SUCH_ACCOUNT
from paycore.store import App, ListedAnomaly, Store
from paycore.testing.wires import WireFault
from tests.engine.channels import ACK, PLAN, REFUSALS, ScriptedChannel, says
from tests.engine.world import World, sandbox, scripted

RAW = RawNotice("POST", "/v1/notices/x", {"content-type": "text/plain"}, b"paid")


def reads(*findings: Any, notice_id: str = "N1") -> Any:
    return lambda notice, now: Notice(tuple(findings), ACK, notice_id)


async def waiting_payment(store: Store, channel: ScriptedChannel, **kind: Any) -> tuple[World, Any, Any]:
    world = scripted(store, channel, **kind)
    await world.account()
    order = await world.order()
    return world, order, await world.paid(order)


def orphans(world: World) -> list[ListedAnomaly]:
    with world.store.read() as unit:
        return [one for one in unit.list_anomalies(None) if one.order_id is None]


async def test_a_notice_pays_the_order_and_is_acknowledged_with_the_channels_bytes(each_store: Store) -> None:
    channel = ScriptedChannel()
    world, order, payment = await waiting_payment(each_store, channel)
    channel.read_ = reads(AboutPayment(Paid(10_000, "CNY", "M1"), payment_id=payment.payment_id))
    assert await world.engine.deliver_notice(payment.account_id, RAW) == ACK
    assert (await world.stands(order)).state is OrderState.PAID
    [heard] = [line for line in world.evidence(order) if line.startswith("NOTICE")]
    assert '"notice_id":"N1"' in heard
    assert channel.asked[-1] == ("read_notice", RAW), "the bytes as they came"


async def test_the_same_notice_a_hundred_times_changes_nothing_the_second_time(store: Store) -> None:
    channel = ScriptedChannel()
    world, order, payment = await waiting_payment(store, channel)
    channel.read_ = reads(AboutPayment(Paid(10_000, "CNY", "M1"), payment_id=payment.payment_id))
    replies = await asyncio.gather(*(world.engine.deliver_notice(payment.account_id, RAW) for _ in range(100)))
    assert set(map(id, replies)) == {id(ACK)}
    version = (await world.stands(order)).version
    await world.engine.deliver_notice(payment.account_id, RAW)
    assert (await world.stands(order)).version == version
    assert len(world.evidence(order)) == 2, "one from the prepare, and the notice once"


@pytest.mark.parametrize(
    ("read", "case"),
    [
        (lambda notice, now: (_ for _ in ()).throw(Forged("no")), NoticeCase.FORGED),
        (lambda notice, now: (_ for _ in ()).throw(KeyError("canary")), NoticeCase.NOT_NOW),
        (lambda notice, now: None, NoticeCase.NOT_NOW),
        (lambda notice, now: "success", NoticeCase.NOT_NOW),
        (lambda notice, now: Notice((), "success"), NoticeCase.NOT_NOW),  # type: ignore[arg-type]
        (lambda notice, now: Notice((), NoticeReply(200, {}, "text")), NoticeCase.NOT_NOW),  # type: ignore[arg-type]
        (lambda notice, now: Notice((), NoticeReply(200, {"a": "b\r\nx: y"})), NoticeCase.NOT_NOW),
        (lambda notice, now: Notice(["paid"], ACK), NoticeCase.NOT_NOW),  # type: ignore[arg-type]
        (lambda notice, now: Notice(("paid",), ACK), NoticeCase.NOT_NOW),  # type: ignore[arg-type]
        (reads(AboutPayment(Paid(10_000, "CNY", "M1"))), NoticeCase.NOT_NOW),
        (reads(AboutPayment(Waiting(), payment_id="p", reference=Reference("a", "b"))), NoticeCase.NOT_NOW),
        (reads(AboutPayment("PAID", payment_id="p")), NoticeCase.NOT_NOW),  # type: ignore[arg-type]
        (reads(AboutPayment(Refunded(), payment_id="p")), NoticeCase.NOT_NOW),  # type: ignore[arg-type]
        (reads(AboutRefund(Paid(1, "CNY", "M1"), refund_id="r")), NoticeCase.NOT_NOW),  # type: ignore[arg-type]
    ],
    ids=range(14),
)
async def test_what_does_not_verify_or_cannot_be_read_is_refused_in_the_channels_words(
    store: Store, read: Any, case: NoticeCase
) -> None:
    channel = ScriptedChannel(read_=read)
    world, order, payment = await waiting_payment(store, channel)
    before = (await world.stands(order)).version
    for _ in range(CRASHES + 1):
        assert await world.engine.deliver_notice(payment.account_id, RAW) == REFUSALS[case]
    assert (await world.stands(order)).version == before
    assert not world.host.is_quarantined("scripted", world.clock.now()), "strangers cannot close a channel"
    assert orphans(world) == []


async def test_an_address_that_is_no_accounts_is_answered_without_a_word(store: Store) -> None:
    world = scripted(store, ScriptedChannel())
    for account_id in ("ac" + "0" * 26, "", "'; DROP TABLE orders; --", "\0", "\ud800", "ä" * 5000):
        assert await world.engine.deliver_notice(account_id, RAW) is NO_SUCH_ACCOUNT


async def test_a_body_that_is_too_large_is_not_read(store: Store) -> None:
    channel = ScriptedChannel()
    world, _, payment = await waiting_payment(store, channel)
    channel.asked.clear()
    large = replace(RAW, body=b"x" * (MAX_BODY_BYTES + 1))
    assert (await world.engine.deliver_notice(payment.account_id, large)).status == 413
    assert channel.asked == []


async def test_a_kind_that_reads_no_notices_takes_none(store: Store) -> None:
    channel = ScriptedChannel()
    verbs = frozenset(ChannelVerb) - {ChannelVerb.READ_NOTICE}
    world, _, payment = await waiting_payment(store, channel, verbs=verbs)
    channel.asked.clear()
    assert (await world.engine.deliver_notice(payment.account_id, RAW)).status == 405
    assert channel.asked == []


# ---------------------------------------------------------------------------------------------- whose it is


async def test_a_notice_about_nothing_that_we_know_is_kept_and_acknowledged(each_store: Store) -> None:
    channel = ScriptedChannel()
    world, _, payment = await waiting_payment(each_store, channel)
    channel.read_ = reads(AboutPayment(Paid(777, "CNY", "M1"), payment_id="py" + "0" * 26))
    for _ in range(3):
        assert await world.engine.deliver_notice(payment.account_id, RAW) == ACK
    [orphan] = orphans(world)
    assert (orphan.anomaly.kind, orphan.app_id, orphan.account_id) == (
        AnomalyKind.ORPHAN_NOTICE,
        world.app_id,
        payment.account_id,
    )
    assert (orphan.anomaly.amount_minor, orphan.anomaly.currency, orphan.seen) == (777, "CNY", 3)


async def test_another_merchants_money_is_refused_kept_and_never_attached(each_store: Store) -> None:
    channel = ScriptedChannel()
    world, order, payment = await waiting_payment(each_store, channel)
    channel.read_ = reads(AboutPayment(Paid(10_000, "CNY", "M2"), payment_id=payment.payment_id))
    for _ in range(2):
        reply = await world.engine.deliver_notice(payment.account_id, RAW)
        assert reply == REFUSALS[NoticeCase.WRONG_ACCOUNT]
    after = await world.stands(order)
    assert (after.state, after.payments[0].state) == (OrderState.PENDING, PaymentState.PENDING)
    assert [one.kind for one in after.anomalies] == [AnomalyKind.WRONG_ACCOUNT]


async def test_one_apps_keys_cannot_speak_about_anothers_money(each_store: Store) -> None:
    """A tenant whose account verifies its own forgeries names somebody else's payment, merchant and amount."""
    channel = ScriptedChannel()
    world, order, payment = await waiting_payment(each_store, channel)
    mallory = App("ap" + "0" * 25 + "9", "mallory", world.clock.now())
    world.put_app(mallory)
    hers = await world.account(app_id=mallory.app_id)
    channel.read_ = reads(AboutPayment(Paid(10_000, "CNY", "M1"), payment_id=payment.payment_id))
    assert await world.engine.deliver_notice(hers, RAW) == REFUSALS[NoticeCase.WRONG_ACCOUNT]
    after = await world.stands(order)
    assert (after.state, after.anomalies) == (OrderState.PENDING, ())
    [orphan] = orphans(world)
    assert (orphan.anomaly.kind, orphan.app_id) == (AnomalyKind.WRONG_ACCOUNT, mallory.app_id)


async def test_a_payment_may_be_named_by_a_reference(each_store: Store) -> None:
    reference = Reference("prepay_id", "P-1")
    channel = ScriptedChannel(prepare_=says(Ready(PLAN, references=(reference,))))
    world, order, payment = await waiting_payment(each_store, channel)
    channel.read_ = reads(AboutPayment(Paid(10_000, "CNY", "M1"), reference=reference))
    assert await world.engine.deliver_notice(payment.account_id, RAW) == ACK
    assert (await world.stands(order)).state is OrderState.PAID
    channel.read_ = reads(AboutPayment(Paid(10_000, "CNY", "M1"), reference=Reference("prepay_id", "P-2")))
    assert await world.engine.deliver_notice(payment.account_id, RAW) == ACK
    assert [one.anomaly.kind for one in orphans(world)] == [AnomalyKind.ORPHAN_NOTICE]


async def test_a_reference_that_pays_another_payment_pays_no_second_one(each_store: Store) -> None:
    channel = ScriptedChannel()
    world, first, payment = await waiting_payment(each_store, channel)
    second = await world.order()
    other = await world.paid(second)
    money = Paid(10_000, "CNY", "M1", references=(Reference("transaction", "T1"),))
    for one in (payment, other):
        channel.read_ = reads(AboutPayment(money, payment_id=one.payment_id))
        assert await world.engine.deliver_notice(payment.account_id, RAW) == ACK
    assert (await world.stands(first)).state is OrderState.PAID
    assert (await world.stands(second)).state is OrderState.PENDING
    [orphan] = orphans(world)
    assert "reference" in orphan.anomaly.detail


async def test_a_batch_of_findings_is_told_whole(store: Store) -> None:
    channel = ScriptedChannel()
    world, first, payment = await waiting_payment(store, channel)
    second = await world.order()
    other = await world.paid(second)
    channel.read_ = reads(
        AboutPayment(Paid(10_000, "CNY", "M1"), payment_id=payment.payment_id),
        AboutPayment(Closed(), payment_id=other.payment_id),
        AboutPayment(Waiting(), payment_id="py" + "0" * 26),
    )
    assert await world.engine.deliver_notice(payment.account_id, RAW) == ACK
    assert (await world.stands(first)).state is OrderState.PAID
    assert (await world.stands(second)).payments[0].state is PaymentState.CLOSED
    assert len(orphans(world)) == 1


async def test_a_notice_that_says_nothing_is_acknowledged(store: Store) -> None:
    channel = ScriptedChannel(read_=reads())
    world, _, payment = await waiting_payment(store, channel)
    assert await world.engine.deliver_notice(payment.account_id, RAW) == ACK


# ---------------------------------------------------------------------------------------------- refunds


async def test_refund_notices_end_our_refunds_and_record_the_channels_own(each_store: Store) -> None:
    channel = ScriptedChannel()
    world, order, payment = await waiting_payment(each_store, channel)
    channel.read_ = reads(AboutPayment(Paid(10_000, "CNY", "M1"), payment_id=payment.payment_id))
    await world.engine.deliver_notice(payment.account_id, RAW)
    ours = await world.refund(order, 3_000)
    channel.read_ = reads(
        AboutRefund(Refunded(3_000, "R1"), refund_id=ours.refund_id, merchant="M1"),
        AboutRefund(Refunded(), payment_id=payment.payment_id, channel_refund_no="R2", amount_minor=500, merchant="M1"),
    )
    assert await world.engine.deliver_notice(payment.account_id, RAW) == ACK
    after = await world.stands(order)
    assert [(one.origin, one.state, one.amount_minor) for one in after.refunds] == [
        (RefundOrigin.MERCHANT, RefundState.SUCCEEDED, 3_000),
        (RefundOrigin.CHANNEL, RefundState.SUCCEEDED, 500),
    ]
    channel.read_ = reads(AboutRefund(RefundBounced("R2"), channel_refund_no="R2"))
    assert await world.engine.deliver_notice(payment.account_id, RAW) == ACK
    assert (await world.stands(order)).refunds[1].state is RefundState.REVERSED


async def test_a_refund_notice_for_another_merchant_or_of_nothing_is_kept_apart(store: Store) -> None:
    channel = ScriptedChannel()
    world, order, payment = await waiting_payment(store, channel)
    channel.read_ = reads(AboutPayment(Paid(10_000, "CNY", "M1"), payment_id=payment.payment_id))
    await world.engine.deliver_notice(payment.account_id, RAW)
    ours = await world.refund(order, 3_000)
    channel.read_ = reads(AboutRefund(Refunded(3_000), refund_id=ours.refund_id, merchant="M2"))
    assert await world.engine.deliver_notice(payment.account_id, RAW) == REFUSALS[NoticeCase.WRONG_ACCOUNT]
    channel.read_ = reads(AboutRefund(RefundFailed(Failure("x")), refund_id="rf" + "0" * 26))
    assert await world.engine.deliver_notice(payment.account_id, RAW) == ACK
    assert (await world.stands(order)).refunds[0].state is RefundState.PROCESSING
    assert {one.anomaly.kind for one in orphans(world)} == {AnomalyKind.WRONG_ACCOUNT, AnomalyKind.ORPHAN_NOTICE}


# ---------------------------------------------------------------------------------------------- when it cannot be stored


async def test_what_cannot_be_stored_is_not_acknowledged(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    from paycore.store import StoreUnavailable

    channel = ScriptedChannel()
    world, order, payment = await waiting_payment(store, channel)
    channel.read_ = reads(AboutPayment(Paid(10_000, "CNY", "M1"), payment_id=payment.payment_id))

    def away() -> Any:
        raise StoreUnavailable("connection")

    for door in ("write", "read"):
        with monkeypatch.context() as patched:
            patched.setattr(store, door, away)
            world.clock.advance(10)  # what is known of the account is old, and cannot be looked at
            reply = await world.engine.deliver_notice(payment.account_id, RAW)
            assert reply == REFUSALS[NoticeCase.NOT_NOW]
    assert (await world.stands(order)).state is OrderState.PENDING
    assert await world.engine.deliver_notice(payment.account_id, RAW) == ACK
    assert (await world.stands(order)).state is OrderState.PAID


async def test_with_the_store_away_and_the_account_unknown_it_is_sent_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from paycore.store import StoreUnavailable

    world = scripted(store, ScriptedChannel())

    def away() -> Any:
        raise StoreUnavailable("connection")

    monkeypatch.setattr(store, "read", away)
    assert (await world.engine.deliver_notice("ac" + "0" * 26, RAW)).status == 503


async def test_our_own_bugs_are_not_acknowledged_either(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    channel = ScriptedChannel()
    world, _, payment = await waiting_payment(store, channel)
    channel.read_ = reads(AboutPayment(Paid(10_000, "CNY", "M1"), payment_id=payment.payment_id))

    async def broken(telling: Any) -> Any:
        raise AssertionError("a bug")

    monkeypatch.setattr(world.engine.teller, "tell", broken)
    assert await world.engine.deliver_notice(payment.account_id, RAW) == REFUSALS[NoticeCase.NOT_NOW]


# ---------------------------------------------------------------------------------------------- with the sandbox


async def test_the_sandboxs_notices_pay_and_are_acknowledged(each_store: Store) -> None:
    box = await sandbox(each_store)
    world = box.world
    order = await world.order()
    payment = await world.paid(order, "sandbox")
    box.simulator.pay(payment.payment_id, world.clock.now())
    assert [reply.status for reply in await box.deliver()] == [200]
    assert box.simulator.undelivered == 0
    order = await world.stands(order)
    assert order.state is OrderState.PAID
    await world.refund(order, 10_000)
    world.clock.advance(5)
    await box.deliver()
    assert (await world.stands(order)).refunds[0].state is RefundState.SUCCEEDED


@pytest.mark.parametrize(
    ("fault", "status", "state", "kinds"),
    [
        ("forged", 401, OrderState.PENDING, []),
        ("wrong_amount", 200, OrderState.PENDING, [AnomalyKind.AMOUNT_MISMATCH]),
        ("wrong_merchant", 403, OrderState.PENDING, [AnomalyKind.WRONG_ACCOUNT]),
        ("duplicate", 200, OrderState.PAID, []),
    ],
)
async def test_bad_notices_of_the_sandbox(
    store: Store, fault: str, status: int, state: OrderState, kinds: list[AnomalyKind]
) -> None:
    from paycore_sandbox.simulator import NoticeFault

    box = await sandbox(store)
    order = await box.world.order()
    payment = await box.world.paid(order, "sandbox")
    box.simulator.faults.plan_notice(NoticeFault(fault))
    box.simulator.pay(payment.payment_id, box.world.clock.now())
    assert {reply.status for reply in await box.deliver()} == {status}
    after = await box.world.stands(order)
    assert (after.state, [one.kind for one in after.anomalies]) == (state, kinds)


async def test_late_money_is_given_back(store: Store) -> None:
    box = await sandbox(store)
    world = box.world
    order = await world.order()
    payment = await world.paid(order, "sandbox")
    told = await world.engine.close_order(world.app_id, order.order_id, world.request())
    assert told.order.state is OrderState.CLOSED
    box.simulator.pay(payment.payment_id, world.clock.now(), even_if_over=True)
    await box.deliver()
    await world.do_due()
    world.clock.advance(10)
    await box.deliver()
    await world.do_due()
    after = await world.stands(order)
    assert after.state is OrderState.CLOSED
    assert [(one.origin, one.state, one.amount_minor) for one in after.refunds] == [
        (RefundOrigin.POLICY, RefundState.SUCCEEDED, 10_000)
    ]
    assert not any(one.is_open for one in after.anomalies)
    assert box.wire.inner is box.inline


async def test_a_notice_before_the_prepares_answer_pays_all_the_same(store: Store) -> None:
    box = await sandbox(store)
    world = box.world
    order = await world.order()
    box.wire.plan(WireFault.UNANSWERED, "/v1/trades")
    payment = await world.paid(order, "sandbox")
    assert payment.state is PaymentState.UNKNOWN
    box.simulator.pay(payment.payment_id, world.clock.now())
    assert [reply.status for reply in await box.deliver()] == [200]
    assert (await world.stands(order)).state is OrderState.PAID
