"""Apple in-app purchase described as data."""

from __future__ import annotations

from paycore.channel import (
    ChannelKind,
    ChannelVerb,
    Environment,
    Input,
    Limit,
    Method,
    NoticeCase,
    Operation,
    Price,
    Setting,
    Text,
)
from paycore_appleiap.channel import CONSUMPTION, HISTORY, INFO, REFUNDS, TEST, AppleChannel
from paycore_appleiap.notices import refusal
from paycore_appleiap.simulator import AppStoreSimulator

DAY = 24 * 3600
CURRENCIES = "CNY USD EUR GBP JPY KRW HKD TWD SGD AUD CAD CHF INR THB MYR IDR PHP VND BRL MXN KWD".split()
"""What an order may be written in. What the store takes is in the customer's own currency, and is recorded as it is."""

_ADDRESS = (
    r"https://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?"
    r"|http://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?"
)
_PEM = r"\s*-----BEGIN [A-Z ]+-----[0-9A-Za-z+/=\s-]+-----END [A-Z ]+-----\s*"
_REVISION = Input("revision", Text("从哪一页继续", "Where to go on"), r"[0-9A-Za-z_=.:-]{0,256}")

_PURCHASE = Method(
    name="purchase",
    scene="store",
    title=Text("App 内购买", "In-App Purchase"),
    step_kinds=("store_purchase",),
    limits={currency: Limit(1, 100_000_000_000) for currency in CURRENCIES},
    faces=("ios",),
    expiry_max_seconds=30 * DAY,
    price=Price.STORE,
)

_SETTINGS = (
    Setting(
        "bundle_id", Text("App 的 Bundle ID", "The app's bundle id"), identity=True, pattern=r"[A-Za-z0-9.-]{1,155}"
    ),
    Setting(
        "app_apple_id",
        Text("App 的 Apple ID，生产环境必填", "The app's Apple id; needed in production"),
        required=False,
        pattern=r"[0-9]{1,18}",
    ),
    Setting("issuer_id", Text("API 发行者 ID", "Issuer id of the API key"), pattern=r"[0-9A-Za-z-]{1,64}"),
    Setting("key_id", Text("API 密钥 ID", "Id of the API key"), pattern=r"[0-9A-Z]{1,32}"),
    Setting("private_key", Text("API 私钥 (.p8)", "The API key itself (.p8)"), secret=True, pattern=_PEM),
    Setting(
        "root_certificates",
        Text("信任的根证书 (PEM)", "Root certificates that are trusted (PEM)"),
        pattern=f"({_PEM})+",
    ),
    Setting(
        "base_url",
        Text("接口地址，默认按环境", "Address of the API; by environment if empty"),
        required=False,
        pattern=_ADDRESS,
    ),
)

_CONSUMED = (
    Input("customer_consented", Text("顾客是否同意", "Whether the customer consented"), r"true|false"),
    Input("sample_content_provided", Text("是否提供过试用", "Whether a sample was provided"), r"true|false"),
    Input("delivery_status", Text("交付情况", "How it was delivered"), r"[A-Z_]{1,64}"),
    Input("consumption_percentage", Text("已使用百分比", "Per cent that was used"), r"[0-9]{1,3}"),
    Input("refund_preference", Text("退款意向", "What the merchant prefers"), r"[A-Z_]{1,64}"),
)

APPLEIAP = ChannelKind(
    name="appleiap",
    title=Text("Apple App 内购买", "Apple In-App Purchase"),
    methods=(_PURCHASE,),
    verbs=frozenset(
        {ChannelVerb.PREPARE, ChannelVerb.QUERY, ChannelVerb.READ_NOTICE, ChannelVerb.CONFIRM, ChannelVerb.OPERATE}
    ),
    settings=_SETTINGS,
    open=AppleChannel,
    refusals={
        NoticeCase.FORGED: refusal(401),
        NoticeCase.WRONG_ACCOUNT: refusal(403),
        NoticeCase.NOT_NOW: refusal(503),
    },
    environments=(Environment.SANDBOX, Environment.PRODUCTION),
    operations=(
        Operation(CONSUMPTION, Text("提交消费信息", "Send consumption information"), _CONSUMED),
        Operation(INFO, Text("查询交易", "Look up the transaction")),
        Operation(HISTORY, Text("交易历史", "Transaction history"), (_REVISION,)),
        Operation(REFUNDS, Text("退款历史", "Refund history"), (_REVISION,)),
        Operation(TEST, Text("请求测试通知", "Ask for a test notification")),
    ),
    version="0.1.0",
    simulator=AppStoreSimulator,
)
"""No close and no refund: a purchase that was begun on a phone cannot be called off, and only Apple gives money back."""
