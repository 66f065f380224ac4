"""What may go wrong on demand, on a call, on a notice, on a refund. Nothing goes wrong that was not asked for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


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


@dataclass(slots=True)
class Planned:
    """A fault that waits for its call: which call ("*" for any), about which id ("" for any), how often."""

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
        """Let this happen to the next calls of this name ("trades", "trades/query", "refunds", ...)."""
        self._calls.append(Planned(fault, call, subject, times))

    def plan_notice(self, fault: NoticeFault, event: str = "*", *, times: int = 1, delay: int = 0) -> None:
        """Let this happen to the next notices of this event ("trade", "refund", "purchase")."""
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
