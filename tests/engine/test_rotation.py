"""Keys change while money is under way: notices and refunds of old payments go on with the account that took the money.

With the sandbox's real keys: a call that the wrong key signed is refused, a notice that no key verifies is forged.
"""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from paycore.channel import NoticeReply, OutgoingNotice, RawNotice
from paycore.core.order import AnomalyKind, Order, OrderState, PaymentState, RefundState
from paycore.core.refusals import Reason
from paycore.engine.accounts import BadSettings, WouldStrand
from paycore.store import AccountState, Store, VersionState
from paycore_sandbox.simulator import RefundEnd
from tests.engine.world import GATE, Sandbox, reason_of, sandbox

ACTIVE, DRAINING, VERIFY_ONLY = VersionState.ACTIVE, VersionState.DRAINING, VersionState.VERIFY_ONLY


async def rotate(at: Sandbox) -> None:
    """Both sides change their keys; the merchant's old one is taken no more."""
    fresh = at.simulator.next_settings(GATE)
    await at.world.engine.accounts.rotate(at.account_id, fresh)
    at.simulator.retire_key(key_version=1)


async def set_state(at: Sandbox, version: int, state: VersionState) -> None:
    await at.world.engine.accounts.set_version_state(at.account_id, version, state)


async def waiting(at: Sandbox) -> tuple[Order, str]:
    """An order whose code is shown."""
    order = await at.world.order()
    payment = await at.world.paid(order, "sandbox")
    return order, payment.payment_id


async def paid(at: Sandbox) -> Order:
    order, payment_id = await waiting(at)
    at.simulator.pay(payment_id, at.world.clock.now())
    await at.deliver()
    assert (await at.world.stands(order)).state is OrderState.PAID
    return order


def under_way(at: Sandbox) -> list[OutgoingNotice]:
    """Notices that have left the channel, signed as they were then, and not yet arrived."""
    return list(at.simulator.due(at.world.clock.now()))


async def arrive(at: Sandbox, notice: OutgoingNotice) -> NoticeReply:
    request = notice.request
    headers = {name.lower(): value for name, value in request.headers.items()}
    raw = RawNotice(request.method, urlsplit(request.url).path, headers, request.body)
    return await at.world.engine.deliver_notice(at.account_id, raw)


# ---------------------------------------------------------------------------------------------- after a rotation


async def test_a_notice_that_was_signed_before_the_rotation_pays_after_it(each_store: Store) -> None:
    at = await sandbox(each_store)
    order, payment_id = await waiting(at)
    at.simulator.pay(payment_id, at.world.clock.now())
    [notice] = under_way(at)
    await rotate(at)
    assert (await arrive(at, notice)).status == 200
    assert (await at.world.stands(order)).state is OrderState.PAID


async def test_an_old_payment_is_asked_about_with_the_new_key(each_store: Store) -> None:
    at = await sandbox(each_store)
    order, payment_id = await waiting(at)
    await rotate(at)
    at.simulator.pay(payment_id, at.world.clock.now())
    under_way(at)  # and lost
    at.world.clock.advance(10)
    await at.world.do_due()
    assert (await at.world.stands(order)).state is OrderState.PAID


async def test_an_old_payment_is_refunded_with_the_new_key_and_its_notice_read(each_store: Store) -> None:
    at = await sandbox(each_store)
    order = await paid(at)
    await rotate(at)
    refund = await at.world.refund(order, 3_000)
    assert refund.state is RefundState.SUCCEEDED
    at.simulator.refund_in_console(order_payment(await at.world.stands(order)), at.world.clock.now(), amount_minor=500)
    assert {reply.status for reply in await at.deliver()} == {200}
    after = await at.world.stands(order)
    assert sorted(one.amount_minor for one in after.refunds) == [500, 3_000]


def order_payment(order: Order) -> str:
    [payment] = order.payments
    return payment.payment_id


async def test_an_old_payment_is_closed_with_the_new_key(each_store: Store) -> None:
    at = await sandbox(each_store)
    order, payment_id = await waiting(at)
    await rotate(at)
    await at.world.engine.close_order(at.world.app_id, order.order_id, at.world.request("CloseOrder"))
    assert (await at.world.stands(order)).state is OrderState.CLOSED
    assert at.simulator.trade(payment_id).is_closed


async def test_keys_that_another_merchant_has_are_no_rotation(each_store: Store) -> None:
    at = await sandbox(each_store)
    with pytest.raises(BadSettings, match="another merchant"):
        await at.world.engine.accounts.rotate(at.account_id, at.simulator.other_settings(GATE))
    await paid(at)


async def test_an_old_key_that_is_not_kept_verifies_nothing(each_store: Store) -> None:
    """The other direction: without its version the old signature is a forgery."""
    at = await sandbox(each_store)
    order, payment_id = await waiting(at)
    at.simulator.pay(payment_id, at.world.clock.now())
    [notice] = under_way(at)
    elsewhere = await sandbox_of_other_keys(each_store, at)
    assert (await arrive(elsewhere, notice)).status == 401
    assert (await at.world.stands(order)).state is OrderState.PENDING


async def sandbox_of_other_keys(store: Store, at: Sandbox) -> Sandbox:
    """The same address, an account of another merchant there, whose keys are only the new ones."""
    at.simulator.rotate_channel_key()
    account_id = await at.world.account("sandbox", at.simulator.other_settings(GATE))
    return Sandbox(at.world, at.simulator, at.wire, at.inline, at.postman, account_id)


# ---------------------------------------------------------------------------------------------- draining


async def test_a_draining_account_takes_no_new_payment_and_brings_its_old_ones_to_an_end(each_store: Store) -> None:
    at = await sandbox(each_store)
    order, payment_id = await waiting(at)
    before = await paid(at)
    await set_state(at, 1, DRAINING)
    fresh = await at.world.order()
    assert await reason_of(at.world.pay(fresh, "sandbox")) is Reason.METHOD_UNAVAILABLE
    at.simulator.pay(payment_id, at.world.clock.now())
    assert {reply.status for reply in await at.deliver()} == {200}
    assert (await at.world.stands(order)).state is OrderState.PAID
    assert (await at.world.refund(before, 1_000)).state is RefundState.SUCCEEDED


async def test_new_money_goes_to_the_new_account_and_old_money_stays_with_the_old_one(each_store: Store) -> None:
    """Another merchant takes over: each payment is asked about, refunded and announced where it was taken."""
    at = await sandbox(each_store)
    old = await paid(at)
    open_order, open_payment = await waiting(at)
    second = await at.world.account("sandbox", at.simulator.other_settings(GATE))
    await set_state(at, 1, DRAINING)
    fresh = await at.world.order()
    payment = await at.world.paid(fresh, "sandbox")
    assert payment.account_id == second
    at.simulator.pay(payment.payment_id, at.world.clock.now())
    at.simulator.pay(open_payment, at.world.clock.now())
    assert {reply.status for reply in await at.deliver()} == {200}
    for order, account_id in ((fresh, second), (open_order, at.account_id), (old, at.account_id)):
        after = await at.world.stands(order)
        assert (after.state, after.payments[0].account_id) == (OrderState.PAID, account_id)
        refund = await at.world.refund(order, 1_000)
        assert refund.state is RefundState.SUCCEEDED


async def test_a_suspended_account_serves_what_it_has(each_store: Store) -> None:
    at = await sandbox(each_store)
    order, payment_id = await waiting(at)
    with each_store.write() as unit:
        account = unit.get_account(at.account_id)
        assert account is not None
        unit.put_account(replace(account, state=AccountState.SUSPENDED))
    at.world.engine.accounts.forget()
    assert await reason_of(at.world.pay(await at.world.order(), "sandbox")) is Reason.METHOD_UNAVAILABLE
    at.simulator.pay(payment_id, at.world.clock.now())
    await at.deliver()
    assert (await at.world.stands(order)).state is OrderState.PAID
    assert (await at.world.refund(order, 1_000)).state is RefundState.SUCCEEDED


# ---------------------------------------------------------------------------------------------- only verify-only left


async def test_nobody_takes_the_last_signer_while_a_payment_or_a_refund_needs_it(each_store: Store) -> None:
    at = await sandbox(each_store)
    order, payment_id = await waiting(at)
    for _ in range(2):
        with pytest.raises(WouldStrand):
            await set_state(at, 1, VERIFY_ONLY)
    at.simulator.pay(payment_id, at.world.clock.now())
    await at.deliver()
    at.simulator.next_refunds(RefundEnd.PROCESSING)
    await at.world.refund(order, 1_000)
    with pytest.raises(WouldStrand):
        await set_state(at, 1, VERIFY_ONLY)
    await rotate(at)
    with pytest.raises(WouldStrand):
        await set_state(at, 2, VERIFY_ONLY)
    await set_state(at, 1, DRAINING)
    await set_state(at, 2, VERIFY_ONLY)
    with pytest.raises(WouldStrand):
        await set_state(at, 1, VERIFY_ONLY)


async def test_keys_that_only_verify_still_read_notices(each_store: Store) -> None:
    """A late notice of a payment that nobody asks about any more: late money is real money."""
    at = await sandbox(each_store)
    order = await paid(at)
    await set_state(at, 1, VERIFY_ONLY)
    at.simulator.refund_in_console(order_payment(await at.world.stands(order)), at.world.clock.now(), amount_minor=700)
    assert {reply.status for reply in await at.deliver()} == {200}
    [refund] = (await at.world.stands(order)).refunds
    assert (refund.amount_minor, refund.state) == (700, RefundState.SUCCEEDED)
    assert await reason_of(at.world.pay(await at.world.order(), "sandbox")) is Reason.METHOD_UNAVAILABLE


async def test_a_refund_that_nobody_can_sign_waits_in_sight_until_somebody_can(each_store: Store) -> None:
    at = await sandbox(each_store)
    order = await paid(at)
    await set_state(at, 1, VERIFY_ONLY)
    refund = await at.world.refund(order, 2_000)
    for _ in range(5):
        at.world.clock.advance(700)
        await at.world.do_due()
    after = await at.world.stands(order)
    waits = after.refund(refund.refund_id)
    assert waits is not None
    assert (waits.is_reserving, waits.task is not None) == (True, True), "it keeps its money and its task"
    assert [one.kind for one in after.anomalies if one.is_open] == [AnomalyKind.ACCOUNT_UNUSABLE]
    await rotate(at)
    at.world.clock.advance(700)
    await at.world.do_due()
    after = await at.world.stands(order)
    done = after.refund(refund.refund_id)
    assert done is not None
    assert done.state is RefundState.SUCCEEDED
    assert not any(one.is_open for one in after.anomalies)


async def test_an_order_is_not_closed_because_nobody_can_ask(each_store: Store) -> None:
    """The keys are gone (an operator's hand in the database): the order stays open, and says why."""
    at = await sandbox(each_store)
    order, payment_id = await waiting(at)
    with each_store.write() as unit:
        [version] = unit.account_versions(at.account_id)
        unit.put_account_version(replace(version, state=VERIFY_ONLY))
    at.world.engine.accounts.forget()
    for _ in range(4):
        at.world.clock.advance(3 * 3600)
        await at.world.do_due()
    after = await at.world.stands(order)
    assert after.state is OrderState.CLOSING
    assert after.payments[0].state is PaymentState.PENDING
    assert [one.kind for one in after.anomalies if one.is_open] == [AnomalyKind.ACCOUNT_UNUSABLE]
    at.simulator.pay(payment_id, at.world.clock.now(), even_if_over=True)
    await at.deliver()
    assert (await at.world.stands(order)).state is OrderState.PAID, "and the money that came is believed"
