"""A channel's own account of a day: what it says moved, line by line, to be held against our books.

Amounts of a bill are signed and may be finer than a minor unit (fees have up to five decimals), so a line holds exact
decimals and not minor units. Nothing here is rounded.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from paycore.core.findings import Unknown
from paycore.core.money import exponent

_DECIMAL = re.compile(r"(-?)([0-9]{1,15})(?:\.([0-9]{1,8}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class BillAmount:
    """An exact signed decimal: `digits` / 10**`scale`."""

    digits: int
    scale: int

    @classmethod
    def parse(cls, text: str) -> "BillAmount":
        """The amount in a text such as -0.00600. Raises ValueError for any other form: signs, commas, exponents."""
        match = _DECIMAL.fullmatch(text)
        if match is None:
            raise ValueError("not an amount of a bill")
        sign, whole, fraction = match[1], match[2], match[3] or ""
        digits = int(whole + fraction)
        return cls(-digits if sign else digits, len(fraction))

    def minor(self, currency: str) -> int:
        """The same amount in minor units. Raises ValueError when it is finer than one."""
        shift = exponent(currency) - self.scale
        if shift >= 0:
            return self.digits * int(10**shift)
        whole, rest = divmod(abs(self.digits), int(10**-shift))
        if rest:
            raise ValueError("the amount is finer than a minor unit")
        return whole if self.digits >= 0 else -whole

    def __str__(self) -> str:
        digits = f"{abs(self.digits):0{self.scale + 1}d}"
        sign = "-" if self.digits < 0 else ""
        return f"{sign}{digits[: -self.scale]}.{digits[-self.scale :]}" if self.scale else f"{sign}{digits}"


class LineKind(StrEnum):
    """What a line of a statement is about."""

    PAYMENT = "payment"
    REFUND = "refund"
    REFUND_REVERSED = "refund_reversed"
    """A refund that came back."""
    FEE = "fee"
    OTHER = "other"
    """Withdrawals, transfers: whatever is no payment of ours. `columns` says what."""


@dataclass(frozen=True, slots=True)
class StatementLine:
    """One movement. `amount` is signed as money moves for the merchant: in is positive, out is negative.

    `payment_id` and `refund_id` are the merchant's numbers as the channel has them: ours, if it is our money. `columns`
    are the fields of the file by their names in it, for people.
    """

    kind: LineKind
    amount: BillAmount
    currency: str
    payment_id: str = ""
    refund_id: str = ""
    channel_trade_no: str = ""
    channel_refund_no: str = ""
    fee: BillAmount | None = None
    happened_at: int | None = None
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StatementAsk:
    """Which of the kind's statements, of which day (YYYY-MM-DD by the channel's calendar)."""

    statement: str
    day: str
    now: int
    nonce: str


@dataclass(frozen=True, slots=True)
class Statement:
    """A whole day, complete: its end mark and its totals were there and agreed. A day without a movement has no line."""

    statement: str
    day: str
    merchant: str
    lines: tuple[StatementLine, ...]


@dataclass(frozen=True, slots=True)
class StatementNotReady:
    """The channel has not made it yet. `note` is for people."""

    note: str = ""


StatementFinding = Statement | StatementNotReady | Unknown
"""What asking for a statement concludes. A file that is cut short, or whose totals disagree, is Unknown."""
