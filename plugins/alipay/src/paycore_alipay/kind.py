"""Alipay described as data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paycore.channel import (
    AccountKeys,
    AfterUnknown,
    AnyChannel,
    ChannelKind,
    ChannelVerb,
    Input,
    Limit,
    Method,
    NoticeCase,
    NoticeReply,
    Setting,
    StatementKind,
    Text,
)
from paycore_alipay.plans import BRIDGE

if TYPE_CHECKING:
    from paycore_alipay.simulator import AlipaySimulator

_LIMITS = {"CNY": Limit(1, 100_000_000_00)}
"""0.01 to 100,000,000.00 yuan ("total_amount")."""

_BUYER = Input(
    "buyer_open_id",
    Text("支付宝用户 open_id 或 user_id", "The payer's open_id or user_id at Alipay"),
    pattern=r"[A-Za-z0-9_-]{16,128}",
)
_AUTH_CODE = Input("auth_code", Text("付款码", "Payment code"), pattern=r"(2[5-9]|30)[0-9]{14,22}")

_METHODS = (
    Method(
        name="app",
        scene="app",
        title=Text("支付宝", "Alipay"),
        step_kinds=("sdk",),
        limits=_LIMITS,
        faces=("android", "ios", "harmony"),
        targets=("android", "ios", "harmony"),
        needs_app="alipay",
    ),
    Method(
        name="wap",
        scene="redirect",
        title=Text("支付宝手机网站支付", "Alipay in a mobile browser"),
        step_kinds=("redirect", "form"),
        limits=_LIMITS,
        faces=("h5",),
    ),
    Method(
        name="page",
        scene="form",
        title=Text("支付宝电脑网站支付", "Alipay in a desktop browser"),
        step_kinds=("form", "redirect"),
        limits=_LIMITS,
        faces=("pc",),
    ),
    Method(
        name="qr",
        scene="qr",
        title=Text("支付宝扫码", "Alipay QR code"),
        step_kinds=("qr",),
        limits=_LIMITS,
        faces=("pc", "tv", "car"),
    ),
    Method(
        name="jsapi",
        scene="jsapi",
        title=Text("支付宝（支付宝内网页）", "Alipay inside Alipay's browser"),
        step_kinds=("jsapi",),
        limits=_LIMITS,
        faces=("in_wallet",),
        inputs=(_BUYER,),
    ),
    Method(
        name="mini_program",
        scene="mini_program",
        title=Text("支付宝小程序", "Alipay mini program"),
        step_kinds=("mini_program",),
        limits=_LIMITS,
        faces=("mini_program",),
        inputs=(_BUYER,),
    ),
    Method(
        name="barcode",
        scene="barcode",
        title=Text("支付宝付款码", "Alipay payment code"),
        step_kinds=("none",),
        limits=_LIMITS,
        inputs=(_AUTH_CODE,),
        after_unknown=AfterUnknown.QUERY_THEN_CLOSE,
        may_pay_at_prepare=True,
        close_reverses=True,
    ),
)

_URL = (
    r"https://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?"
    r"|http://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?"
)
_SETTINGS = (
    Setting("app_id", Text("应用 APPID", "Application id"), identity=True, pattern=r"[0-9]{16}"),
    Setting("seller_id", Text("收款方 PID", "Seller's id (PID)"), pattern=r"2088[0-9]{12}"),
    Setting("app_private_key", Text("应用私钥", "Application's private key"), secret=True),
    Setting("alipay_public_key", Text("支付宝公钥（公钥模式）", "Alipay's public key (key mode)"), required=False),
    Setting(
        "app_cert", Text("应用公钥证书（证书模式）", "Application's certificate (certificate mode)"), required=False
    ),
    Setting(
        "alipay_cert", Text("支付宝公钥证书（证书模式）", "Alipay's certificate (certificate mode)"), required=False
    ),
    Setting(
        "alipay_root_cert", Text("支付宝根证书（证书模式）", "Alipay's root bundle (certificate mode)"), required=False
    ),
    Setting("gateway", Text("网关地址", "Gateway address"), required=False, pattern=_URL),
    Setting(
        "ios_scheme",
        Text("iOS 回跳 URL Scheme", "URL scheme that leads back to the iOS app"),
        required=False,
        pattern=r"[A-Za-z][A-Za-z0-9+.-]{0,63}",
    ),
    Setting(
        "ios_universal_link",
        Text("iOS 通用链接", "Universal link of the iOS app"),
        required=False,
        pattern=r"https://[!-~]{1,512}",
    ),
    Setting(
        "mini_program_app_id",
        Text("小程序 APPID", "Application id of the mini program"),
        required=False,
        pattern=r"[0-9]{16}",
    ),
)


def _open(account: AccountKeys) -> AnyChannel:
    from paycore_alipay.channel import AlipayChannel

    return AlipayChannel(account)


def _simulator(seed: str | None = None) -> AlipaySimulator:
    """A new Alipay. Those with a seed share their keys, which are made once in a process: making them is slow."""
    from paycore_alipay.simulator import AlipaySimulator, shared_ring

    return AlipaySimulator(seed, ring=None if seed is None else shared_ring())


def _fail(status: int) -> NoticeReply:
    """What tells Alipay that a notice was not taken ("异步通知"): anything but `success`; it then comes again."""
    return NoticeReply(status, {"content-type": "text/plain"}, b"fail")


ALIPAY = ChannelKind(
    name="alipay",
    title=Text("支付宝", "Alipay"),
    methods=_METHODS,
    verbs=frozenset(
        {
            ChannelVerb.PREPARE,
            ChannelVerb.QUERY,
            ChannelVerb.CLOSE,
            ChannelVerb.REFUND,
            ChannelVerb.QUERY_REFUND,
            ChannelVerb.READ_NOTICE,
            ChannelVerb.STATEMENT,
        }
    ),
    settings=_SETTINGS,
    open=_open,
    refusals={
        NoticeCase.FORGED: _fail(401),
        NoticeCase.WRONG_ACCOUNT: _fail(403),
        NoticeCase.NOT_NOW: _fail(503),
    },
    statements=(
        StatementKind("trade", Text("业务账单", "Trades")),
        StatementKind("ledger", Text("资金账单", "Ledger")),
    ),
    refund_interval_seconds=3,
    bridge=BRIDGE,
    version="0.1.0",
    simulator=_simulator,
)
