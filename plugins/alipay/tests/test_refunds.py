"""Money on its way back: code 10000 is no proof, and the same number is sent until something proves it."""

from __future__ import annotations

import pytest

from paycore.channel import (
    Refunded,
    RefundFailed,
    RefundNotFound,
    RefundRefused,
    RefundShort,
    Silence,
    Unknown,
)
from paycore_alipay import wire
from paycore_alipay.simulator import Fault, RefundEnd

from .support import NOW, PAYMENT, REFUND, SECOND, World

OTHER = "rf01JCREFUND00000000000000002"


@pytest.fixture
def paid(world: World) -> World:
    world.pay()
    return world


def test_only_moved_money_proves_a_refund(paid: World) -> None:
    assert paid.hold(paid.channel.refund(paid.refund())) == Refunded(refunded_at=NOW)
    parameters = wire.texts(wire.read_form(paid.sent[-1].body))
    document = {name: member.value for name, member in wire.members(parameters["biz_content"]).items()}
    assert document == {"out_trade_no": PAYMENT, "out_request_no": REFUND, "refund_amount": "30.00"}


def test_the_same_number_again_moves_nothing_and_proves_nothing(paid: World) -> None:
    paid.hold(paid.channel.refund(paid.refund()))
    again = paid.hold(paid.channel.refund(paid.refund()))
    assert isinstance(again, Unknown)
    assert again.authenticated
    assert paid.hold(paid.channel.query_refund(paid.refund())) == Refunded(amount_minor=3000, refunded_at=NOW)
    assert paid.simulator.books.trades[PAYMENT].returned_minor == 3000


def test_parts_add_up_to_the_whole(paid: World) -> None:
    paid.hold(paid.channel.refund(paid.refund(amount_minor=12000)))
    assert isinstance(paid.hold(paid.channel.refund(paid.refund(OTHER, 900))), RefundRefused)
    assert isinstance(paid.hold(paid.channel.refund(paid.refund(OTHER, 800))), Refunded)
    assert paid.simulator.books.trades[PAYMENT].status == "TRADE_CLOSED"
    found = paid.hold(paid.channel.query_refund(paid.refund(OTHER, 800)))
    assert found == Refunded(amount_minor=800, refunded_at=NOW)


def test_a_refund_under_way_is_not_done_and_not_refused(paid: World) -> None:
    paid.simulator.next_refunds(RefundEnd.PROCESSING)
    assert isinstance(paid.hold(paid.channel.refund(paid.refund())), Unknown)
    assert paid.hold(paid.channel.query_refund(paid.refund())) == RefundNotFound()
    paid.now += 60 * SECOND
    paid.simulator.end_refund(REFUND, RefundEnd.SUCCESS, paid.now)
    found = paid.hold(paid.channel.query_refund(paid.refund()))
    assert found == Refunded(amount_minor=3000, refunded_at=paid.now)


def test_a_refund_that_was_never_carried_out_is_sent_again(paid: World) -> None:
    paid.simulator.next_refunds(RefundEnd.FAILED)
    assert isinstance(paid.hold(paid.channel.refund(paid.refund())), Unknown)
    assert paid.hold(paid.channel.query_refund(paid.refund())) == RefundNotFound()
    assert isinstance(paid.hold(paid.channel.refund(paid.refund())), Refunded)


def test_refusals(world: World) -> None:
    assert isinstance(world.hold(world.channel.refund(world.refund())), RefundRefused)
    assert isinstance(world.hold(world.channel.query_refund(world.refund())), RefundFailed)
    world.pay()
    world.simulator.books.is_short_of_money = True
    short = world.hold(world.channel.refund(world.refund()))
    assert isinstance(short, RefundShort)
    assert short.failure.reason == "balance_short"
    world.simulator.books.is_short_of_money = False
    world.simulator.finish(PAYMENT, world.now)
    finished = world.hold(world.channel.refund(world.refund()))
    assert isinstance(finished, RefundRefused)
    assert finished.failure.reason == "refund_window_closed"


def test_the_same_number_with_another_amount_is_refused(paid: World) -> None:
    paid.hold(paid.channel.refund(paid.refund()))
    assert isinstance(paid.hold(paid.channel.refund(paid.refund(amount_minor=2000))), RefundRefused)


def test_a_refund_that_began_at_alipay_is_asked_after_by_alipays_number(paid: World) -> None:
    number = paid.simulator.refund_in_console(PAYMENT, paid.now, amount_minor=500)
    ask = paid.refund(OTHER, 500, channel_refund_no=number)
    assert paid.hold(paid.channel.query_refund(ask)) == Refunded(amount_minor=500, refunded_at=NOW)


@pytest.mark.parametrize(
    "fault",
    [
        *(Fault.REFUSED_BY_PROXY, Fault.SYSTEM_ERROR, Fault.RATE_LIMITED, Fault.EFFECT_THEN_ERROR, Fault.BADLY_SIGNED),
        *(Fault.SIGNED_WITH_SHA1, Fault.DOUBLED_KEY, Fault.TRUNCATED, Fault.EMPTY, Fault.OTHER_SUBJECT, Fault.UNSIGNED),
    ],
)
def test_a_doubtful_answer_is_not_knowing(paid: World, fault: Fault) -> None:
    paid.simulator.faults.plan(fault)
    assert isinstance(paid.hold(paid.channel.refund(paid.refund())), Unknown)
    paid.hold(paid.channel.refund(paid.refund()))
    paid.simulator.faults.plan(fault)
    assert isinstance(paid.hold(paid.channel.query_refund(paid.refund())), Unknown)
    assert paid.simulator.books.trades[PAYMENT].returned_minor == 3000


def test_silence_is_the_engines_to_conclude_from(paid: World) -> None:
    paid.simulator.faults.plan(Fault.EFFECT_THEN_SILENCE)
    with pytest.raises(Silence):
        paid.hold(paid.channel.refund(paid.refund()))
    assert isinstance(paid.hold(paid.channel.query_refund(paid.refund())), Refunded)
