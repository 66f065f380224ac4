"""WeChat Pay's notices: what is to be said, to whom, and when to say it again.

Source: "Payment notice", the intervals of repetition (24 h 4 min in all).
"""

from __future__ import annotations

from dataclasses import dataclass

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE

LADDER = (
    *(15 * SECOND, 15 * SECOND, 30 * SECOND, 3 * MINUTE, 10 * MINUTE, 20 * MINUTE, 30 * MINUTE, 30 * MINUTE),
    *(30 * MINUTE, 60 * MINUTE, 3 * HOUR, 3 * HOUR, 3 * HOUR, 6 * HOUR, 6 * HOUR),
)
"""Pauses between deliveries: fifteen more after the first, over a day."""

PATIENCE = 5 * SECOND
"""How long a delivery may stay unanswered before it counts as failed. Source: "Receiving notices"."""


@dataclass(frozen=True, slots=True)
class Notice:
    """What one letter says, for whom, and which fault spoils its signature."""

    merchant: str
    body: bytes
    spoilt_by: str = ""
