"""What the channel's books say about our rows."""

from collections.abc import Iterator

from paycore.testing.simulation.rows import PaymentRow, RefundRow
from paycore_sandbox.simulator import Books

MARGIN = 50 * 1_000_000
"""How long after the expiry "not found" begins to prove something: a minute, by a clock that may be some seconds wrong."""


class Truth:
    """The channel's books, asked in our words."""

    def __init__(self, books: Books) -> None:
        self._books = books

    def taken(self, payment: PaymentRow) -> tuple[int, str]:
        """How much was really taken for a payment, and by whom."""
        if payment.method == "store":
            purchase = self._books.purchases.get(payment.token)
            return (0, "") if purchase is None else (purchase.amount_minor, purchase.merchant)
        trade = self._books.trades.get(payment.payment_id)
        return (
            (0, "") if trade is None or not trade.taken_minor else (trade.taken_minor, trade.paid_to or trade.merchant)
        )

    def why_not_over(self, payment: PaymentRow, now: int) -> str:
        """Why somebody could still pay this in the ordinary course; empty if nobody can."""
        trade = self._books.trades.get(payment.payment_id)
        if (
            trade is not None
            and trade.state in ("WAITING", "PAYING")
            and not (trade.state == "WAITING" and now >= trade.expires_at)
        ):
            return f"the channel still has it {trade.state}"
        if trade is None and payment.sends and now < payment.expires_at + MARGIN:
            return "it was sent, and the channel may still come to know it"
        return ""

    def refund_state(self, refund: RefundRow) -> str:
        """How the channel has a refund; empty when it has none."""
        number = refund.refund_id if refund.origin != "CHANNEL" else refund.channel_refund_no
        found = self._books.refunds.get(number)
        return "" if found is None else found.state

    def paid_numbers(self) -> Iterator[tuple[str, int, str]]:
        """Everything that payers have paid: our number or token for it, how much, to whom."""
        for number, trade in self._books.trades.items():
            if trade.taken_minor:
                yield number, trade.taken_minor, trade.paid_to or trade.merchant
        for token, purchase in self._books.purchases.items():
            yield token, purchase.amount_minor, purchase.merchant
