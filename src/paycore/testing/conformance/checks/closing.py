"""Closing: an unpaid trade can be paid no more; a paid one is told as paid, or is given back where the method says so."""

from __future__ import annotations

from paycore.channel import AlreadyPaid, ChannelVerb, Closed, Declined, NotFound, Paid, PayerPaying, Reversed
from paycore.testing.conformance.stand import Stand


class Closing:
    """Close, and close on a paid trade."""

    def test_a_closed_trade_cannot_be_paid(self, stand: Stand) -> None:
        method = stand.main_method
        if method is None or method.may_pay_at_prepare or not stand.has(ChannelVerb.CLOSE):
            return
        begun = stand.begin(method)
        finding = stand.hold(stand.channel.close(stand.again(begun.ask)))
        assert isinstance(finding, Closed | Reversed), finding
        assert finding.authenticated
        trade = stand.simulator.trade(begun.payment_id)
        assert trade is not None
        assert trade.is_closed
        try:
            stand.simulator.pay(begun.payment_id, stand.now)
        except (ValueError, LookupError):
            pass
        else:
            raise AssertionError("a trade that was closed could be paid")

    def test_closing_twice_is_closing_once(self, stand: Stand) -> None:
        method = stand.main_method
        if method is None or method.may_pay_at_prepare or not stand.has(ChannelVerb.CLOSE):
            return
        ask = stand.begin(method).ask
        stand.hold(stand.channel.close(stand.again(ask)))
        again = stand.hold(stand.channel.close(stand.again(ask)))
        assert isinstance(again, Closed | Reversed | NotFound) or not again.authenticated, again
        if stand.has(ChannelVerb.QUERY):
            found = stand.query(ask)
            assert isinstance(found, Closed | Reversed | Declined | NotFound), found

    def test_a_close_of_a_paid_trade_says_that_it_is_paid(self, stand: Stand) -> None:
        if not stand.has(ChannelVerb.CLOSE):
            return
        for method in stand.exact_methods:
            ask = stand.paid(method)
            finding = stand.hold(stand.channel.close(stand.again(ask)))
            trade = stand.simulator.trade(ask.payment_id)
            assert trade is not None
            if method.close_reverses:
                assert isinstance(finding, Reversed | AlreadyPaid | Paid), f"{method.name}: {finding}"
                went_back = trade.returned_minor == trade.paid_minor
                assert isinstance(finding, Reversed) == went_back, f"{method.name}: {finding}, and the books disagree"
            else:
                assert isinstance(finding, AlreadyPaid | Paid), f"{method.name}: {finding}"
                assert trade.returned_minor == 0, f"{method.name} gives money back when it is closed, undeclared"
                assert trade.paid_minor == ask.amount_minor

    def test_a_close_of_what_it_never_heard_is_no_proof(self, stand: Stand) -> None:
        """An app's order begins at the channel when its payer opens it: what is not there yet may still be opened."""
        if not stand.has(ChannelVerb.CLOSE) or stand.main_method is None:
            return
        finding = stand.hold(stand.channel.close(stand.payment()))
        assert isinstance(finding, NotFound | PayerPaying) or not finding.authenticated, finding
