"""WeChat Pay described as data."""

from __future__ import annotations

from paycore.channel import (
    AfterUnknown,
    ChannelKind,
    ChannelVerb,
    Environment,
    Input,
    Limit,
    Method,
    NoticeCase,
    Setting,
    StatementKind,
    Text,
)
from paycore_wechatpay.bills import FUND_FLOW, TRADE
from paycore_wechatpay.channel import WechatPayChannel
from paycore_wechatpay.keys import BOTH, CERTIFICATES, GATEWAY, PUBLIC_KEY
from paycore_wechatpay.notices import refusal
from paycore_wechatpay.plans import BRIDGE
from paycore_wechatpay.simulator import WechatPaySimulator

DAY = 24 * 3600
_LIMITS = {"CNY": Limit(1, 10_000_000_000)}
"""From one fen; the API names no upper bound, and a merchant's own is lower."""
_OPENID = Input(
    "openid", Text("付款人在该应用下的 openid", "The payer's openid under the app id"), r"[0-9A-Za-z_-]{1,128}"
)
_AUTH_CODE = Input("auth_code", Text("付款码", "The code that the payer shows"), r"1[0-5][0-9]{16}")

_METHODS = (
    Method(
        name="app",
        scene="app",
        title=Text("微信支付", "WeChat Pay"),
        step_kinds=("sdk",),
        limits=_LIMITS,
        faces=("android", "ios", "harmony"),
        targets=("android", "ios", "harmony"),
        needs_app="wechat",
        expiry_max_seconds=7 * DAY,
    ),
    Method(
        name="jsapi",
        scene="jsapi",
        title=Text("微信内支付", "WeChat Pay inside WeChat"),
        step_kinds=("jsapi",),
        limits=_LIMITS,
        faces=("in_wallet",),
        inputs=(_OPENID,),
        expiry_max_seconds=7 * DAY,
    ),
    Method(
        name="mini_program",
        scene="mini_program",
        title=Text("微信小程序支付", "WeChat Pay in a mini program"),
        step_kinds=("mini_program",),
        limits=_LIMITS,
        faces=("mini_program",),
        inputs=(_OPENID,),
        expiry_max_seconds=7 * DAY,
    ),
    Method(
        name="h5",
        scene="redirect",
        title=Text("微信支付", "WeChat Pay"),
        step_kinds=("redirect",),
        limits=_LIMITS,
        faces=("h5",),
        needs_app="wechat",
        expiry_max_seconds=7 * DAY,
    ),
    Method(
        name="native",
        scene="qr",
        title=Text("微信扫码支付", "WeChat Pay by QR code"),
        step_kinds=("qr",),
        limits=_LIMITS,
        expiry_max_seconds=7 * DAY,
    ),
    Method(
        name="codepay",
        scene="barcode",
        title=Text("微信付款码", "WeChat Pay by the payer's code"),
        step_kinds=("none",),
        limits=_LIMITS,
        inputs=(_AUTH_CODE,),
        expiry_min_seconds=30,
        expiry_max_seconds=120,
        after_unknown=AfterUnknown.QUERY_THEN_CLOSE,
        may_pay_at_prepare=True,
        close_reverses=True,
    ),
)

_ADDRESS = (
    r"https://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?"
    r"|http://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?"
)
_APP_ID = r"wx[0-9a-z]{6,30}"
_PEM = r"\s*-----BEGIN [A-Z ]+-----[0-9A-Za-z+/=\s-]+-----END [A-Z ]+-----\s*"

_SETTINGS = (
    Setting("mchid", Text("商户号", "Merchant number"), identity=True, pattern=r"[0-9]{6,32}"),
    Setting("appid", Text("应用 ID", "App id"), pattern=_APP_ID),
    Setting(
        "appid_app",
        Text("移动应用的应用 ID，如不同", "App id of the mobile app, if another"),
        required=False,
        pattern=_APP_ID,
    ),
    Setting(
        "appid_jsapi",
        Text("公众号的应用 ID，如不同", "App id of the official account, if another"),
        required=False,
        pattern=_APP_ID,
    ),
    Setting(
        "appid_mini_program",
        Text("小程序的应用 ID，如不同", "App id of the mini program, if another"),
        required=False,
        pattern=_APP_ID,
    ),
    Setting(
        "merchant_serial",
        Text("商户 API 证书序列号", "Serial number of the merchant's API certificate"),
        pattern=r"[0-9A-Fa-f]{16,64}",
    ),
    Setting("merchant_key", Text("商户 API 私钥", "The merchant's API private key"), secret=True, pattern=_PEM),
    Setting("apiv3_key", Text("APIv3 密钥", "APIv3 key"), secret=True, pattern=r"[!-~]{32}"),
    Setting(
        "key_mode",
        Text("验签方式", "Whose keys are believed"),
        default=PUBLIC_KEY,
        pattern=f"{PUBLIC_KEY}|{CERTIFICATES}|{BOTH}",
    ),
    Setting(
        "wechatpay_public_key_id",
        Text("微信支付公钥 ID", "Id of the WeChat Pay public key"),
        required=False,
        pattern=r"PUB_KEY_ID_[0-9A-Za-z]{8,64}",
    ),
    Setting("wechatpay_public_key", Text("微信支付公钥", "The WeChat Pay public key"), required=False, pattern=_PEM),
    Setting(
        "platform_certificates",
        Text("已有的平台证书", "Platform certificates that are at hand"),
        required=False,
        pattern=f"({_PEM})+",
    ),
    Setting("base_url", Text("网关地址", "Gateway address"), default=GATEWAY, pattern=_ADDRESS),
    Setting("backup_url", Text("备用网关地址", "Address of the backup gateway"), required=False, pattern=_ADDRESS),
    Setting(
        "h5_referer",
        Text("H5 支付域名下的页面", "A page of the registered H5 domain"),
        required=False,
        pattern=r"https://[A-Za-z0-9.-]+(:[0-9]{1,5})?/[!#-;=?-\[\]-~]*",
    ),
    Setting(
        "store_id",
        Text("付款码支付的门店编号", "Store number of barcode payments"),
        required=False,
        pattern=r"[0-9A-Za-z_-]{1,32}",
    ),
)

WECHATPAY = ChannelKind(
    name="wechatpay",
    title=Text("微信支付", "WeChat Pay"),
    methods=_METHODS,
    verbs=frozenset(ChannelVerb) - {ChannelVerb.CONFIRM, ChannelVerb.OPERATE},
    settings=_SETTINGS,
    open=WechatPayChannel,
    refusals={
        NoticeCase.FORGED: refusal(401, "the signature does not verify"),
        NoticeCase.WRONG_ACCOUNT: refusal(403, "another merchant's notice"),
        NoticeCase.NOT_NOW: refusal(503, "not now"),
    },
    environments=(Environment.PRODUCTION, Environment.SANDBOX),
    refund_window_seconds=365 * DAY,
    refund_count=50,
    refund_interval_seconds=60,
    notice_window_seconds=300,
    statements=(
        StatementKind(TRADE, Text("交易账单", "Trade bill")),
        StatementKind(FUND_FLOW, Text("资金账单", "Fund-flow bill")),
    ),
    refresh_seconds=3600,
    version="0.1.0",
    simulator=WechatPaySimulator,
    bridge=BRIDGE,
)
"""WeChat Pay has no sandbox of APIv3; the environment is there for the simulator.

Sources: "Apply for a refund" (one year, 50 refunds of an order, a minute between two), "Receiving notices" (five minutes).
"""
