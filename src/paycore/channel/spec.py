"""The one hook of a channel plugin."""

from collections.abc import Iterable

import pluggy

from paycore.channel.kind import ChannelKind

PROJECT = "paycore"
ENTRY_POINT_GROUP = "paycore.channels"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def paycore_channels() -> Iterable[ChannelKind]:  # type: ignore[empty-body]
    """Describe the channels of this plugin. Called once, at start."""
