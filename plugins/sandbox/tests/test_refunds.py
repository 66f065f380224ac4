"""Refunds: what the channel says about money on its way back, and what that is taken for."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from paycore.channel import (
    RefundBounced,
    Refunded,
    RefundFailed,
    RefundFinding,
    RefundNotFound,
    RefundProcessing,
    RefundRefused,
    RefundShort,
    RefundStuck,
    Silence,
    Unknown,
)
from paycore_sandbox.simulator import Fault, RefundEnd

from .support import MINUTE, NOW, SECOND, TOKEN, World


@pytest.fixture
def world() -> World:
    world = World()
    world.pay_by_qr()
    return world


def send(world: World, refund_id: str = "rf1", amount_minor: int = 3000) -> RefundFinding:
    return world.hold(world.channel.refund(world.refund(refund_id, amount_minor)))


def ask(world: World, refund_id: str = "rf1") -> RefundFinding:
    return world.hold(world.channel.query_refund(world.refund(refund_id)))


# How the refund ends; what its send concludes, what a query concludes.
ENDS: list[tuple[RefundEnd, type[RefundFinding]]] = [
    (RefundEnd.SUCCESS, Refunded),
    (RefundEnd.PROCESSING, RefundProcessing),
    (RefundEnd.FAILED, RefundFailed),
    (RefundEnd.STUCK, RefundStuck),
]


@pytest.mark.parametrize(("end", "expected"), ENDS)
def test_sending_and_asking_conclude_the_same(world: World, end: RefundEnd, expected: type[RefundFinding]) -> None:
    world.simulator.next_refunds(end)
    assert isinstance(send(world), expected)
    assert isinstance(ask(world), expected)
    assert isinstance(send(world), expected)
    assert len(world.simulator.books.refunds) == 1


def test_refunded_tells_how_much_and_when(world: World) -> None:
    finding = send(world)
    assert isinstance(finding, Refunded)
    assert (finding.amount_minor, finding.refunded_at) == (3000, NOW)
    assert finding.channel_refund_no == world.simulator.books.refunds["rf1"].refund_no


REFUSED: list[tuple[str, Callable[[World], object], int, type[RefundFinding]]] = [
    ("more than was paid", lambda world: None, 12801, RefundRefused),
    ("more than is left", lambda world: send(world, "rf0", 9801), 3000, RefundRefused),
    ("trade gone", lambda world: world.simulator.books.trades.clear(), 3000, RefundRefused),
    ("merchant is short", lambda world: setattr(world.simulator.books, "is_short_of_money", True), 3000, RefundShort),
    ("key retired", lambda world: world.simulator.retire_key(), 3000, RefundRefused),
    ("same id, other amount", lambda world: send(world, "rf1", 1), 3000, Unknown),
]


@pytest.mark.parametrize(
    ("arrange", "amount_minor", "expected"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
def test_a_refused_send_concludes(
    world: World, arrange: Callable[[World], object], amount_minor: int, expected: type[RefundFinding]
) -> None:
    arrange(world)
    assert isinstance(send(world, "rf1", amount_minor), expected)


def test_an_unpaid_trade_gives_nothing_back(world: World) -> None:
    world.hold(world.channel.prepare(world.payment(payment_id="py2")))
    finding = world.hold(world.channel.refund(world.refund(payment=world.payment(payment_id="py2"))))
    assert isinstance(finding, RefundRefused)
    assert finding.failure.channel_code == "TRADE_NOT_PAID"


def test_an_unknown_refund_is_not_found(world: World) -> None:
    assert isinstance(ask(world), RefundNotFound)


def test_a_failed_refund_gives_its_amount_back_to_the_trade(world: World) -> None:
    world.simulator.next_refunds(RefundEnd.FAILED)
    send(world, "rf1", 12800)
    assert isinstance(send(world, "rf2", 12800), Refunded)


def test_a_send_without_answer_is_sent_again_under_its_number(world: World) -> None:
    world.simulator.faults.plan(Fault.EFFECT_THEN_SILENCE, "refunds")
    with pytest.raises(Silence):
        send(world)
    first = json.loads(world.sent[-1].body)
    assert isinstance(send(world), Refunded)
    assert json.loads(world.sent[-1].body) == first
    assert world.simulator.books.trades["py1"].returned_minor == 3000


def test_a_lost_send_leaves_no_trace(world: World) -> None:
    world.simulator.faults.plan(Fault.LOST, "refunds")
    with pytest.raises(Silence):
        send(world)
    assert isinstance(ask(world), RefundNotFound)
    assert isinstance(send(world), Refunded)


def test_a_slow_refund_ends_by_itself(world: World) -> None:
    world.simulator.books.refund_delay = 5 * MINUTE
    assert isinstance(send(world), RefundProcessing)
    assert world.simulator.next_due() == NOW
    world.acknowledge_all()
    assert world.simulator.next_due() == NOW + 5 * MINUTE
    world.now += 5 * MINUTE - SECOND
    assert isinstance(ask(world), RefundProcessing)
    world.now += SECOND
    finding = ask(world)
    assert isinstance(finding, Refunded)
    assert finding.refunded_at == NOW + 5 * MINUTE


def test_a_stuck_refund_is_ended_by_a_person(world: World) -> None:
    world.simulator.next_refunds(RefundEnd.STUCK)
    send(world)
    world.simulator.end_refund("rf1", RefundEnd.SUCCESS, world.now)
    assert isinstance(ask(world), Refunded)


def test_a_refund_can_bounce(world: World) -> None:
    send(world)
    world.simulator.bounce_refund("rf1", world.now)
    assert isinstance(ask(world), RefundBounced)
    assert world.simulator.books.trades["py1"].returned_minor == 0


def test_a_store_purchase_is_not_refunded_by_us(world: World) -> None:
    world.simulator.buy("gold.100", TOKEN, NOW, amount_minor=600)
    refund = world.refund(payment=world.payment("store"), amount_minor=600)
    finding = world.hold(world.channel.refund(refund))
    assert isinstance(finding, RefundRefused)
    assert finding.failure.channel_code == "NOT_SUPPORTED"
    assert isinstance(world.hold(world.channel.query_refund(refund)), RefundNotFound)
