"""The channel's notices: what is to be said, to whom, and when to say it again."""

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

PATIENCE = 20 * SECOND
"""How long a delivery may stay unanswered before it counts as failed."""


@dataclass(frozen=True, slots=True)
class Notice:
    """What one letter says, and for whom it is signed."""

    notice_id: str
    merchant: str
    body: bytes
    is_forged: bool = False
