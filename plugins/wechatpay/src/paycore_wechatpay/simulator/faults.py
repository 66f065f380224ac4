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
    """503 from something in front of WeChat Pay: no effect, an unsigned answer."""
    EFFECT_THEN_SILENCE = "effect_then_silence"
    """It takes effect, and the answer is lost."""
    EFFECT_THEN_ERROR = "effect_then_error"
    """It takes effect, and the answer is 500 SYSTEM_ERROR."""
    OLD_SPELLING = "old_spelling"
    """It has no effect; 500 SYSTEMERROR without the underscore."""
    UNSIGNED = "unsigned"
    BADLY_SIGNED = "badly_signed"
    UNKNOWN_SERIAL = "unknown_serial"
    """Signed by a key that the merchant has never seen."""
    TRUNCATED = "truncated"
    EMPTY = "empty"
    OTHER_SUBJECT = "other_subject"
    """A signed answer about another trade or refund."""
    STALE = "stale"
    """A signed answer from before the payment or refund: what a lagging replica would say."""
    RATE_LIMITED = "rate_limited"
    """429 FREQUENCY_LIMITED: no effect."""


class NoticeFault(StrEnum):
    """What happens to one notice."""

    LOST = "lost"
    DUPLICATE = "duplicate"
    LATE = "late"
    FORGED = "forged"
    """The signature is not WeChat Pay's."""
    PROBE = "probe"
    """Deliberate probe traffic: a signature that begins with WECHATPAY/SIGNTEST/."""
    WRONG_KEY = "wrong_key"
    """Genuine, but sealed under another APIv3 key."""
    WRONG_AMOUNT = "wrong_amount"
    """Genuine, and one fen too much."""
    WRONG_MERCHANT = "wrong_merchant"
    """Genuine, and about another merchant's trade."""


class RefundEnd(StrEnum):
    """How a refund ends. PROCESSING has not ended yet."""

    SUCCESS = "SUCCESS"
    PROCESSING = "PROCESSING"
    CLOSED = "CLOSED"
    ABNORMAL = "ABNORMAL"


class Charge(StrEnum):
    """How a barcode payment goes."""

    PAID = "paid"
    PAYER_IS_PAYING = "payer_is_paying"
    """The payer has to enter a password: the answer is 202 USERPAYING."""
    SHORT_OF_MONEY = "short_of_money"
    """The payer's wallet is empty: 403 NOT_ENOUGH, and the trade fails."""


BEFORE_EFFECT = frozenset({Fault.LOST, Fault.REFUSED_BY_PROXY, Fault.RATE_LIMITED, Fault.OLD_SPELLING})

Faults: TypeAlias = simulating.Faults[Fault, NoticeFault]
"""The faults that were asked for and have not happened yet."""
