"""Alipay's notices: what is to be said, to whom, and when to say it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE

LADDER = (4 * MINUTE, 10 * MINUTE, 10 * MINUTE, HOUR, 2 * HOUR, 6 * HOUR, 15 * HOUR)
"""Pauses between the eight deliveries, within about 25 hours ("异步通知": 4m, 10m, 10m, 1h, 2h, 6h, 15h)."""

PATIENCE = 20 * SECOND
"""How long a delivery may stay unanswered before it counts as failed."""


@dataclass(frozen=True, slots=True)
class Notice:
    """What one letter says. Each delivery is signed afresh, with a time of its own."""

    parameters: Mapping[str, str]
    is_forged: bool = False
