"""Apple in-app purchase: a paycore plugin, with a simulator of the App Store's own side."""

from __future__ import annotations

from collections.abc import Iterable

from paycore.channel import ChannelKind, hookimpl
from paycore_appleiap.channel import AppleChannel
from paycore_appleiap.kind import APPLEIAP
from paycore_appleiap.simulator import AppStoreSimulator

__all__ = ["APPLEIAP", "AppStoreSimulator", "AppleChannel", "paycore_channels"]


@hookimpl
def paycore_channels() -> Iterable[ChannelKind]:
    """The one channel of this plugin."""
    return [APPLEIAP]
