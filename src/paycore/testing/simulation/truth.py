"""What the channel's books say about our rows. Which books they are, and how they are read, is the counterpart's."""

from collections.abc import Iterable, Iterator
from typing import Protocol

from paycore.testing.simulation.rows import PaymentRow, RefundRow

MARGIN = 50 * 1_000_000
"""How long after the expiry "not found" begins to prove something: a minute, by a clock that may be some seconds wrong."""


class Truth(Protocol):
    """The channel's books, asked in our words."""

    @property
    def can_refund(self) -> bool:
        """Whether we can give money back there at all."""

    def sets_price(self, payment: PaymentRow) -> bool:
        """Whether a store took what it wanted, instead of what we asked for."""

    def taken(self, payment: PaymentRow) -> tuple[int, str]:
        """How much was really taken for a payment, and by whom."""

    def returned(self, payment: PaymentRow) -> int | None:
        """How much of it has gone back; None for books that tell it refund by refund only."""

    def why_not_over(self, payment: PaymentRow, now: int) -> str:
        """Why somebody could still pay this in the ordinary course; empty if nobody can."""

    def refund_state(self, refund: RefundRow) -> str:
        """How the channel has a refund (PROCESSING, SUCCESS, FAILED, STUCK, BOUNCED); empty when it has none."""

    def paid_numbers(self) -> Iterator[tuple[str, int, str]]:
        """Everything that payers have paid: our number or token for it, how much, to whom."""

    def given_back(self, payment_ids: Iterable[str]) -> Iterator[tuple[tuple[str, ...], int]]:
        """Every refund that was carried out, of these payments at least: the numbers that it is known by, and how much."""
