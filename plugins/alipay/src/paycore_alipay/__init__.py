"""Alipay: an ordinary paycore plugin, with a simulator of Alipay's own side."""

from __future__ import annotations

from collections.abc import Iterable

from paycore.channel import ChannelKind, hookimpl
from paycore_alipay.kind import ALIPAY

__all__ = ["ALIPAY", "paycore_channels"]


@hookimpl
def paycore_channels() -> Iterable[ChannelKind]:
    """The one channel of this plugin."""
    return [ALIPAY]
