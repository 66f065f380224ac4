"""A plugin's channel's books, as far as the conformance kit's protocol opens them."""

from collections.abc import Iterable, Iterator

from paycore.channel import (
    ChannelKind,
    ChannelVerb,
    KitSimulator,
    Price,
    RefundCourse,
    RefundDesk,
    Storefront,
    TradeSeen,
)
from paycore.testing.simulation.counterparts.listening import Listener
from paycore.testing.simulation.counterparts.plugged_street import PluggedStreet
from paycore.testing.simulation.rows import PaymentRow, RefundRow
from paycore.testing.simulation.truth import MARGIN

COURSES = {
    RefundCourse.DONE: "SUCCESS",
    RefundCourse.UNDER_WAY: "PROCESSING",
    RefundCourse.FAILED: "FAILED",
    RefundCourse.STUCK: "STUCK",
}


class PluggedTruth:
    """What a plugin's simulator says about our rows."""

    def __init__(self, kind: ChannelKind, simulator: KitSimulator, listener: Listener, street: PluggedStreet) -> None:
        self.can_refund = ChannelVerb.REFUND in kind.verbs
        self._prices = {method.name: method.price for method in kind.methods}
        self._simulator = simulator
        self._listener = listener
        self._street = street
        self.refused: set[str] = set()
        """Payments whose code was scanned and refused. A channel need not keep a trade of it."""

    def _seen(self, payment: PaymentRow) -> TradeSeen | None:
        if self.sets_price(payment) and isinstance(self._simulator, Storefront):
            return self._simulator.sale(payment.token)
        return self._simulator.trade(payment.payment_id)

    def sets_price(self, payment: PaymentRow) -> bool:
        return self._prices[payment.method] is Price.STORE

    def taken(self, payment: PaymentRow) -> tuple[int, str]:
        seen = self._seen(payment)
        return (0, "") if seen is None or not seen.paid_minor else (seen.paid_minor, self._listener.merchant)

    def returned(self, payment: PaymentRow) -> int | None:
        seen = self._seen(payment)
        return 0 if seen is None else seen.returned_minor

    def why_not_over(self, payment: PaymentRow, now: int) -> str:
        seen = self._seen(payment)
        if seen is None:
            is_young = payment.sends and now < payment.expires_at + MARGIN and payment.payment_id not in self.refused
            return "it was sent, and the channel may still come to know it" if is_young else ""
        is_waiting = not seen.paid_minor and not seen.is_closed and now < payment.expires_at
        return "the channel still has it waiting" if is_waiting else ""

    def refund_state(self, refund: RefundRow) -> str:
        """A refund that was begun at the channel is known by its payment: something went back, and may have come again."""
        if refund.origin == "CHANNEL":
            return self._begun_there(refund)
        if isinstance(self._simulator, RefundDesk):
            course = self._simulator.refund_course(refund.refund_id)
            return "" if course is None else COURSES[course]
        return "SUCCESS" if refund.refund_id in self._refunds(refund.payment_id) else ""

    def _begun_there(self, refund: RefundRow) -> str:
        token = self._street.sold.get(refund.payment_id)
        if token is not None:
            came_back = "BOUNCED" if token in self._street.taken_back else "SUCCESS"
            return came_back if token in self._street.given_back else ""
        seen = self._simulator.trade(refund.payment_id)
        return "SUCCESS" if seen is not None and seen.returned_minor else ""

    def _refunds(self, payment_id: str) -> dict[str, int]:
        try:
            return dict(self._simulator.refunds(payment_id))
        except LookupError:
            return {}

    def paid_numbers(self) -> Iterator[tuple[str, int, str]]:
        for payment_id in self._listener.payment_ids:
            seen = self._simulator.trade(payment_id)
            if seen is not None and seen.paid_minor:
                yield payment_id, seen.paid_minor, self._listener.merchant
        for token in self._street.sold.values():
            sale = self._simulator.sale(token) if isinstance(self._simulator, Storefront) else None
            if sale is not None:
                yield token, sale.paid_minor, self._listener.merchant

    def given_back(self, payment_ids: Iterable[str]) -> Iterator[tuple[tuple[str, ...], int]]:
        for payment_id in {**dict.fromkeys(payment_ids), **self._listener.payment_ids}:
            for number, amount_minor in self._refunds(payment_id).items():
                yield (number,), amount_minor
