"""What may go wrong on demand, on a call, on a notice, on a refund. Nothing goes wrong that was not asked for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


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


@dataclass(slots=True)
class Planned:
    """A fault that waits for its call: which call ("*" for any), about which number ("" for any), how often."""

    fault: Fault
    call: str
    subject: str
    times: int

    def meets(self, call: str, subject: str) -> bool:
        return self.times > 0 and self.call in ("*", call) and self.subject in ("", subject)


@dataclass(slots=True)
class PlannedNotice:
    """A fault that waits for the next notice of an event ("*" for any)."""

    fault: NoticeFault
    event: str
    times: int
    delay: int
    """Microseconds, for LATE."""


class Faults:
    """The faults that were asked for and have not happened yet."""

    def __init__(self) -> None:
        self._calls: list[Planned] = []
        self._notices: list[PlannedNotice] = []

    def plan(self, fault: Fault, call: str = "*", *, subject: str = "", times: int = 1) -> None:
        """Let this happen to the next calls of this name ("order", "codepay", "query", "close", "refund", ...).

        A call that is answered by nothing or by a proxy goes to the backup host as well: that is another call.
        """
        self._calls.append(Planned(fault, call, subject, times))

    def plan_notice(self, fault: NoticeFault, event: str = "*", *, times: int = 1, delay: int = 0) -> None:
        """Let this happen to the next notices of this event ("TRANSACTION.SUCCESS", "REFUND.SUCCESS", ...)."""
        self._notices.append(PlannedNotice(fault, event, times, delay))

    def take(self, call: str, subject: str) -> Fault | None:
        """The fault for this call, used up by asking."""
        found = next((one for one in self._calls if one.meets(call, subject)), None)
        if found is None:
            return None
        found.times -= 1
        return found.fault

    def take_notice(self, event: str) -> PlannedNotice | None:
        """The fault for a notice of this event, used up by asking."""
        found = next((one for one in self._notices if one.times > 0 and one.event in ("*", event)), None)
        if found is not None:
            found.times -= 1
        return found

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        self._calls.clear()
        self._notices.clear()
