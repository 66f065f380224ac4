"""What a device may claim happened. Every one of these is a hint; none of them moves money or state."""

from __future__ import annotations

from enum import StrEnum


class ClientOutcome(StrEnum):
    """The closed set of answers a shell may report for a step it ran.

    They choose the words on the screen and how soon the server asks the channel, nothing else:
    CANCELLED has been seen after a real payment, and SUCCESS_CLAIMED without one.
    """

    SUCCESS_CLAIMED = "success_claimed"
    PROCESSING = "processing"
    CANCELLED = "cancelled"
    FAILED = "failed"
    NOT_INSTALLED = "not_installed"
    UNKNOWN = "unknown"

    @classmethod
    def read(cls, text: str) -> ClientOutcome:
        """The outcome of this name; UNKNOWN for every text that is not in the set, so the reading is total."""
        try:
            return cls(text)
        except ValueError:
            return cls.UNKNOWN
