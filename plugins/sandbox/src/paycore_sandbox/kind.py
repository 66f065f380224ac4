"""The sandbox channel described as data."""

from __future__ import annotations

from paycore.channel import (
    ChannelKind,
    ChannelVerb,
    Environment,
    Input,
    Limit,
    Method,
    NoticeCase,
    NoticeReply,
    Operation,
    Price,
    Setting,
    StatementKind,
    Text,
)
from paycore_sandbox import channel, plans
from paycore_sandbox.channel import SandboxChannel
from paycore_sandbox.simulator import SandboxSimulator

_LIMITS = {
    "CNY": Limit(1, 5_000_000_00),
    "EUR": Limit(1, 5_000_000_00),
    "HKD": Limit(1, 5_000_000_00),
    "JPY": Limit(1, 100_000_000),
    "KWD": Limit(1, 500_000_000),
    "USD": Limit(1, 5_000_000_00),
}

_METHODS = (
    Method(
        name="app",
        scene="app",
        title=Text("沙箱钱包", "Sandbox wallet"),
        step_kinds=("sdk", "redirect"),
        limits=_LIMITS,
        faces=("android", "ios", "harmony"),
        targets=("android", "ios", "harmony"),
        needs_app="sandbox",
    ),
    Method(
        name="qr",
        scene="qr",
        title=Text("沙箱扫码", "Sandbox QR code"),
        step_kinds=("qr",),
        limits=_LIMITS,
    ),
    Method(
        name="redirect",
        scene="redirect",
        title=Text("沙箱网页支付", "Sandbox payment page"),
        step_kinds=("redirect",),
        limits=_LIMITS,
    ),
    Method(
        name="store",
        scene="store",
        title=Text("沙箱应用商店", "Sandbox store"),
        step_kinds=("store_purchase",),
        limits=_LIMITS,
        price=Price.STORE,
    ),
)

_KEY = r"[A-Za-z0-9+/]{43}="
_SETTINGS = (
    Setting("merchant", Text("商户号", "Merchant number"), identity=True, pattern=r"[A-Za-z0-9_-]{1,32}"),
    Setting(
        "base_url",
        Text("网关地址", "Gateway address"),
        pattern=r"https://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?|http://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?",
    ),
    Setting("private_key", Text("商户私钥", "Merchant's private key"), secret=True, pattern=_KEY),
    Setting("channel_key", Text("渠道公钥", "Channel's public key"), pattern=_KEY),
)


def _refusal(status: int, word: str) -> NoticeReply:
    return NoticeReply(status, {"content-type": "application/json"}, f'{{"ack":"{word}"}}'.encode())


SANDBOX = ChannelKind(
    name="sandbox",
    title=Text("沙箱", "Sandbox"),
    methods=_METHODS,
    verbs=frozenset(ChannelVerb) - {ChannelVerb.REFRESH},
    statements=(StatementKind(channel.TRADES, Text("交易明细", "Trades")),),
    operations=(
        Operation(
            channel.SEND_RECEIPT,
            Text("发送收据", "Send a receipt"),
            (Input("email", Text("邮箱", "E-mail address"), pattern=r"[!-~]{1,128}"),),
        ),
    ),
    notice_window_seconds=300,
    settings=_SETTINGS,
    open=SandboxChannel,
    refusals={
        NoticeCase.FORGED: _refusal(401, "forged"),
        NoticeCase.WRONG_ACCOUNT: _refusal(403, "wrong_account"),
        NoticeCase.NOT_NOW: _refusal(503, "later"),
    },
    environments=(Environment.SANDBOX,),
    version="0.1.0",
    simulator=SandboxSimulator,
    bridge=plans.BRIDGE,
)
"""There is no real money here, and so no production environment."""
