"""Refunds: one number is one refund, parts where they are declared, never more than was paid, and the console's own."""

from __future__ import annotations

from typing import Any

from paycore.channel import (
    AboutPayment,
    AboutRefund,
    ChannelRefund,
    ChannelVerb,
    Closed,
    Forged,
    Paid,
    PaymentAsk,
    Refunded,
    RefundFailed,
    RefundProcessing,
    RefundRefused,
    Unknown,
)
from paycore.testing.conformance.stand import HOUR, Stand


class Refunds:
    """Refund, refund twice under one id, refund in parts, refund in the channel's console."""

    def test_a_refund_is_done_and_shows_in_the_channels_books(self, stand: Stand) -> None:
        if not _refunds(stand):
            return
        for method in stand.exact_methods:
            payment = stand.paid(method)
            ask = stand.refund(payment, payment.amount_minor)
            sent = stand.hold(stand.channel.refund(ask))
            assert isinstance(sent, Refunded | RefundProcessing), f"{method.name}: {sent}"
            stand.now += HOUR
            if stand.has(ChannelVerb.QUERY_REFUND):
                found = stand.hold(stand.channel.query_refund(stand.refund_again(ask)))
                assert isinstance(found, Refunded | RefundProcessing), f"{method.name}: {found}"
                assert found.authenticated
                if isinstance(found, Refunded) and found.amount_minor is not None:
                    assert found.amount_minor == ask.amount_minor
            trade = stand.simulator.trade(payment.payment_id)
            assert trade is not None
            assert trade.returned_minor == payment.amount_minor

    def test_one_number_is_one_refund(self, stand: Stand) -> None:
        """The first answer may be lost and the refund sent again: it must not be given back twice."""
        if not _refunds(stand):
            return
        payment = stand.paid()
        ask = stand.refund(payment, _part(stand, payment))
        for lost in (True, False, False):
            spoil: Any = (lambda request, reply: None) if lost else (lambda request, reply: reply)
            finding = stand.hold(stand.channel.refund(stand.refund_again(ask)), spoil)
            assert not isinstance(finding, RefundFailed), finding
        assert dict(stand.simulator.refunds(payment.payment_id)) == {ask.refund_id: ask.amount_minor}
        trade = stand.simulator.trade(payment.payment_id)
        assert trade is not None
        assert trade.returned_minor == ask.amount_minor

    def test_parts_are_given_back_where_they_are_declared(self, stand: Stand) -> None:
        """A kind that declares whole refunds only is asked for whole ones only; the core holds callers to it."""
        if not _refunds(stand):
            return
        method = stand.main_method
        assert method is not None
        assert stand.kind.terms(method).partial_refunds == stand.kind.partial_refunds
        if not stand.kind.partial_refunds:
            return
        payment = stand.paid(method)
        first, rest = payment.amount_minor // 3, payment.amount_minor - payment.amount_minor // 3
        for amount_minor in (first, rest):
            sent = stand.hold(stand.channel.refund(stand.refund(payment, amount_minor)))
            assert isinstance(sent, Refunded | RefundProcessing), f"{amount_minor}: {sent}"
            if isinstance(sent, Refunded) and sent.amount_minor is not None:
                assert sent.amount_minor == amount_minor, "it tells the sum of all refunds where this one's was due"
            stand.now += HOUR
        trade = stand.simulator.trade(payment.payment_id)
        assert trade is not None
        assert trade.returned_minor == payment.amount_minor

    def test_more_than_was_paid_is_not_given_back(self, stand: Stand) -> None:
        if not _refunds(stand):
            return
        payment = stand.paid()
        finding = stand.hold(stand.channel.refund(stand.refund(payment, payment.amount_minor + 1)))
        assert isinstance(finding, RefundRefused | RefundFailed | Unknown), finding

    def test_an_unpaid_payment_gives_nothing_back(self, stand: Stand) -> None:
        if not _refunds(stand):
            return
        finding = stand.hold(stand.channel.refund(stand.refund(stand.payment(), 1)))
        assert not isinstance(finding, Refunded | RefundProcessing), finding

    def test_paid_then_refunded_is_paid_with_its_refunds(self, stand: Stand) -> None:
        """Never Closed: the order was paid, and what went back is told beside it."""
        if not _refunds(stand) or not stand.has(ChannelVerb.QUERY):
            return
        payment = stand.paid()
        ask = stand.refund(payment, payment.amount_minor)
        stand.hold(stand.channel.refund(ask))
        stand.now += HOUR
        found = stand.query(payment)
        assert not isinstance(found, Closed), "a refunded payment reads like one that nobody paid"
        if isinstance(found, Paid):
            assert found.amount_minor == payment.amount_minor
            assert all(one.refund_id in (None, ask.refund_id) for one in found.refunds), found.refunds
            assert sum(one.amount_minor for one in found.refunds if not one.reversed) <= payment.amount_minor

    def test_a_refund_in_the_channels_console_is_told(self, stand: Stand) -> None:
        """By a notice or by the next query, under the channel's number or none of ours, with its exact amount."""
        if not _refunds(stand):
            return
        stand.collect()
        payment = stand.paid()
        stand.notices()
        amount_minor = _part(stand, payment)
        stand.simulator.refund_in_console(payment.payment_id, stand.now, amount_minor=amount_minor)
        stand.now += HOUR
        told = _told_of_refunds(stand, payment)
        assert told, "neither a notice nor a query tells of a refund that was begun at the channel"
        assert all(amount in (None, amount_minor) for amount, _ in told), told
        assert all(refund_id is None for _, refund_id in told), "it is told under a refund number that is not ours"


def _refunds(stand: Stand) -> bool:
    return stand.has(ChannelVerb.REFUND) and stand.main_method is not None


def _part(stand: Stand, payment: PaymentAsk) -> int:
    """A part of the payment, where parts may be given back."""
    return payment.amount_minor // 3 if stand.kind.partial_refunds else payment.amount_minor


def _told_of_refunds(stand: Stand, payment: PaymentAsk) -> list[tuple[int | None, str | None]]:
    """Amount and our number of every refund that the channel tells of, by its notices and by a query."""
    told: list[tuple[int | None, str | None]] = []
    abouts: list[Any] = []
    if stand.has(ChannelVerb.READ_NOTICE):
        for raw in stand.notices():
            try:
                abouts += stand.channel.read_notice(raw, stand.now).findings
            except Forged:
                continue
    if stand.has(ChannelVerb.QUERY):
        abouts.append(AboutPayment(stand.query(payment), payment_id=payment.payment_id))
    for about in abouts:
        if isinstance(about, AboutRefund):
            told.append((about.amount_minor, about.refund_id))
        elif isinstance(about.finding, Paid):
            refunds: tuple[ChannelRefund, ...] = about.finding.refunds
            told += [(one.amount_minor, one.refund_id) for one in refunds]
    return told
