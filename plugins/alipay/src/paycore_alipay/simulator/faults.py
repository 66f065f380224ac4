"""What may go wrong on demand, on a call, on a notice, on a refund. Nothing goes wrong that was not asked for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


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


@dataclass(slots=True)
class Planned:
    """A fault that waits for its call: which call ("*" for any), about which trade ("" for any), how often."""

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
        """Let this happen to the next calls of this name ("alipay.trade.query", ...)."""
        self._calls.append(Planned(fault, call, subject, times))

    def plan_notice(self, fault: NoticeFault, event: str = "*", *, times: int = 1, delay: int = 0) -> None:
        """Let this happen to the next notices of this event ("paid", "closed", "refunded")."""
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
