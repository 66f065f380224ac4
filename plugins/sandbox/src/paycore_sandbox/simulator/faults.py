"""What may go wrong on demand, on a call, on a notice, on a refund. Nothing goes wrong that was not asked for."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeAlias

from paycore.channel import simulating


class Fault(StrEnum):
    """What happens to one call of the merchant's."""

    LOST = "lost"
    """It never arrives: no effect, no answer."""
    REFUSED_BY_PROXY = "refused_by_proxy"
    """503 from something in front of the channel: no effect, an unsigned answer."""
    EFFECT_THEN_SILENCE = "effect_then_silence"
    """It takes effect, and the answer is lost."""
    EFFECT_THEN_ERROR = "effect_then_error"
    """It takes effect, and the answer is a signed 500."""
    UNSIGNED = "unsigned"
    BADLY_SIGNED = "badly_signed"
    TRUNCATED = "truncated"
    EMPTY = "empty"
    OTHER_SUBJECT = "other_subject"
    """A signed answer about another trade, refund or purchase."""
    STALE = "stale"
    """A signed answer from before the payment or refund: what a lagging replica would say."""
    RATE_LIMITED = "rate_limited"
    """A signed 429: no effect."""


class NoticeFault(StrEnum):
    """What happens to one notice."""

    LOST = "lost"
    DUPLICATE = "duplicate"
    LATE = "late"
    FORGED = "forged"
    """The signature is not the channel's."""
    WRONG_AMOUNT = "wrong_amount"
    """Genuine, and one minor unit too much."""
    WRONG_MERCHANT = "wrong_merchant"
    """Genuine, and about another merchant's trade."""


class RefundEnd(StrEnum):
    """How a refund ends. PROCESSING has not ended yet."""

    SUCCESS = "SUCCESS"
    PROCESSING = "PROCESSING"
    FAILED = "FAILED"
    STUCK = "STUCK"


BEFORE_EFFECT = frozenset({Fault.LOST, Fault.REFUSED_BY_PROXY, Fault.RATE_LIMITED})

Faults: TypeAlias = simulating.Faults[Fault, NoticeFault]
"""The faults that were asked for and have not happened yet."""
