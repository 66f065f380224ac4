"""A retry is the same payment: the same number, the same content, one trade."""

from __future__ import annotations

from paycore.channel import AfterUnknown, ChannelVerb, Paid, PaymentAsk, Ready
from paycore.testing.conformance.stand import Stand


class Sameness:
    """Stable ids on retry."""

    def test_asking_twice_is_one_trade(self, stand: Stand) -> None:
        for method in stand.exact_methods:
            if method.after_unknown is not AfterUnknown.REPEAT:
                continue  # it is never sent twice
            ask = stand.payment(method)
            first = stand.listen(stand.channel.prepare(ask))
            stand.now += 7_000_000
            second = stand.listen(stand.channel.prepare(stand.again(ask)))
            assert isinstance(second.finding, Ready), f"{method.name}: sent again, it is {second.finding}"
            for heard in (first, second):
                assert isinstance(heard.finding, Ready), f"{method.name}: {heard.finding}"
                assert stand.simulator.accept(heard.finding.plan_json, stand.now) == ask.payment_id
            trade = stand.simulator.trade(ask.payment_id)
            assert trade is not None
            assert trade.amount_minor == ask.amount_minor
            stand.simulator.pay(ask.payment_id, stand.now)
            self._is_paid_once(stand, ask)

    def _is_paid_once(self, stand: Stand, ask: PaymentAsk) -> None:
        if stand.has(ChannelVerb.QUERY):
            found = stand.query(ask)
            assert isinstance(found, Paid)
            assert found.amount_minor == ask.amount_minor

    def test_a_lost_answer_is_found_again_under_the_same_number(self, stand: Stand) -> None:
        """The request took effect and its answer was lost: the next one still speaks of the same trade."""
        for method in stand.exact_methods:
            if method.after_unknown is not AfterUnknown.REPEAT:
                continue
            ask = stand.payment(method)
            stand.listen(stand.channel.prepare(ask), lambda request, reply: None)
            stand.now += 7_000_000
            again = stand.listen(stand.channel.prepare(stand.again(ask)))
            assert isinstance(again.finding, Ready | Paid), f"{method.name}: sent again, it is {again.finding}"

    def test_paying_late_asks_for_the_same_expiry(self, stand: Stand) -> None:
        """A retry must not stretch the time: the expiry is the payment's own instant, not counted from now."""
        method = stand.main_method
        if method is None or method.may_pay_at_prepare:
            return
        begun = stand.begin(method)
        stand.now = begun.ask.expires_at + 120_000_000
        try:
            stand.simulator.pay(begun.payment_id, stand.now)
        except (ValueError, LookupError):
            return
        raise AssertionError("two minutes after its expiry the payment can still be paid: no expiry was sent")
