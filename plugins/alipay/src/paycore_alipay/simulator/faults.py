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
    """502 from something in front of the gateway: no effect, an unsigned page."""
    SYSTEM_ERROR = "system_error"
    """ACQ.SYSTEM_ERROR, signed: no effect."""
    RATE_LIMITED = "rate_limited"
    """40005, unsigned: no effect."""
    EFFECT_THEN_SILENCE = "effect_then_silence"
    """It takes effect, and the answer is lost."""
    EFFECT_THEN_ERROR = "effect_then_error"
    """It takes effect, and the answer is a signed 20000: service unavailable."""
    UNSIGNED = "unsigned"
    BADLY_SIGNED = "badly_signed"
    SIGNED_WITH_SHA1 = "signed_with_sha1"
    """The right key, the algorithm of twenty years ago."""
    DOUBLED_KEY = "doubled_key"
    """The same answer twice in one object, so that readers differ about which one counts."""
    TRUNCATED = "truncated"
    EMPTY = "empty"
    OTHER_SUBJECT = "other_subject"
    """A signed answer about another trade."""
    STALE = "stale"
    """A signed answer from before the payment or refund: what a lagging replica would say."""


class NoticeFault(StrEnum):
    """What happens to one notice."""

    LOST = "lost"
    DUPLICATE = "duplicate"
    LATE = "late"
    FORGED = "forged"
    """The signature is not Alipay's."""
    WRONG_AMOUNT = "wrong_amount"
    """Genuine, and one fen too much."""
    WRONG_MERCHANT = "wrong_merchant"
    """Genuine, and about another seller's trade."""


class RefundEnd(StrEnum):
    """What becomes of a refund that was taken."""

    SUCCESS = "success"
    PROCESSING = "processing"
    """Taken with fund_change=N; the money moves when somebody ends it."""
    FAILED = "failed"
    """Taken with fund_change=N and never carried out."""


BEFORE_EFFECT = frozenset({Fault.LOST, Fault.REFUSED_BY_PROXY, Fault.SYSTEM_ERROR, Fault.RATE_LIMITED})

Faults: TypeAlias = simulating.Faults[Fault, NoticeFault]
"""The faults that were asked for and have not happened yet."""
