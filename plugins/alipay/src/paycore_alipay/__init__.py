"""Alipay: an ordinary paycore plugin, with a simulator of Alipay's own side in `paycore_alipay.simulator`."""

from __future__ import annotations

from collections.abc import Iterable

from paycore.channel import ChannelKind, hookimpl
from paycore_alipay.kind import ALIPAY
from paycore_alipay.plans import BRIDGE, RESULT_CODES, STEP_SCHEMAS, outcome_of

__all__ = ["ALIPAY", "BRIDGE", "RESULT_CODES", "STEP_SCHEMAS", "outcome_of", "paycore_channels"]


@hookimpl
def paycore_channels() -> Iterable[ChannelKind]:
    """The one channel of this plugin."""
    return [ALIPAY]
