"""The sandbox channel: an ordinary paycore plugin, with a simulator of the channel's own side."""

from __future__ import annotations

from collections.abc import Iterable

from paycore.channel import ChannelKind, hookimpl
from paycore_sandbox.channel import SandboxChannel
from paycore_sandbox.kind import SANDBOX
from paycore_sandbox.plans import RESULT_CODES, STEP_SCHEMAS, outcome_of
from paycore_sandbox.simulator import SandboxSimulator

__all__ = [
    "RESULT_CODES",
    "SANDBOX",
    "STEP_SCHEMAS",
    "SandboxChannel",
    "SandboxSimulator",
    "outcome_of",
    "paycore_channels",
]


@hookimpl
def paycore_channels() -> Iterable[ChannelKind]:
    """The one channel of this plugin."""
    return [SANDBOX]
