"""WeChat Pay APIv3: a paycore plugin, with a simulator of WeChat Pay's own side."""

from __future__ import annotations

from collections.abc import Iterable

from paycore.channel import ChannelKind, hookimpl
from paycore_wechatpay.channel import WechatPayChannel
from paycore_wechatpay.kind import WECHATPAY
from paycore_wechatpay.plans import BRIDGE, STEP_SCHEMAS, outcome_of
from paycore_wechatpay.simulator import WechatPaySimulator

__all__ = [
    "BRIDGE",
    "STEP_SCHEMAS",
    "WECHATPAY",
    "WechatPayChannel",
    "WechatPaySimulator",
    "outcome_of",
    "paycore_channels",
]


@hookimpl
def paycore_channels() -> Iterable[ChannelKind]:
    """The one channel of this plugin."""
    return [WECHATPAY]
