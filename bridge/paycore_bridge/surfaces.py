"""What the wallets' own SDKs and script objects take and answer: names, case and JSON types, per target.

These are facts of the vendors, not of a channel's protocol: the page's runtime calls some of these objects itself, and
`lint` explains a payload with them. A channel plugin declares its own, which may be narrower and then win.

A vendor's page sometimes shows one system's names for all; the differences below were read in the SDKs' headers:
Android and HarmonyOS take `packageValue` and a text `timeStamp`, iOS takes `package`, `openID` and a number; the script
object of the browser wants `timeStamp`, the script library `timestamp`.
"""

from __future__ import annotations

from typing import Any

from paycore_bridge.declaration import ChannelBridge, Meaning, ResultTable
from paycore_bridge.outcomes import ClientOutcome
from paycore_bridge.steps import StepKind, Target
from paycore_bridge.validation import StepSchema

SUCCESS, PROCESSING = ClientOutcome.SUCCESS_CLAIMED, ClientOutcome.PROCESSING
CANCELLED, FAILED = ClientOutcome.CANCELLED, ClientOutcome.FAILED
NOT_INSTALLED, UNKNOWN = ClientOutcome.NOT_INSTALLED, ClientOutcome.UNKNOWN


def _exactly(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "type": "object",
        "required": list(required),
        "properties": {**required, **(optional or {})},
        "additionalProperties": False,
    }


def _text(pattern: str = "^[\\s\\S]+$", most: int = 512) -> dict[str, Any]:
    return {"type": "string", "pattern": pattern, "maxLength": most}


_FLAG = {"type": "boolean"}
_ORDER_STR = _text("^[!-~]+$", 12_288)
_SECONDS_TEXT = _text("^[1-9][0-9]{9}$")
_SECONDS_NUMBER = {"type": "integer", "minimum": 1_000_000_000, "maximum": 4_294_967_295}
_SCHEME = _text("^[A-Za-z][A-Za-z0-9+.-]*$", 64)
_LINK = _text("^https://[!-~]+$")
_TRADE_NO = _text("^[0-9A-Za-z_-]{8,64}$")

_WX_APP = _text("^wx[0-9a-z]{6,30}$", 32)
_WX_APP_PACKAGE = {"const": "Sign=WXPay"}
_WX_JS_PACKAGE = _text("^prepay_id=[0-9A-Za-z_-]+$", 128)
_WX_COMMON = {
    "partnerId": _text("^[0-9]{6,32}$"),
    "prepayId": _text("^[0-9A-Za-z_-]+$", 64),
    "nonceStr": _text(most=32),
}
_WX_EXTRA = {"signType": _text(most=32), "extData": _text(most=1024)}
_WX_SCRIPT = {"nonceStr": _text(most=32), "package": _WX_JS_PACKAGE, "signType": {"enum": ["RSA", "MD5", "HMAC-SHA256"]}, "paySign": _text(most=1024)}  # fmt: skip

ALIPAY_CODES: dict[str, ClientOutcome | Meaning] = {
    "9000": SUCCESS,
    "8000": PROCESSING,
    "6001": Meaning(CANCELLED, "user"),
    "99": Meaning(CANCELLED, "user"),
    "4000": FAILED,
    "4": Meaning(FAILED, "no_permission"),
    "5000": Meaning(UNKNOWN, "duplicate"),
    "6002": Meaning(UNKNOWN, "network"),
    "6004": UNKNOWN,
    "-1": Meaning(UNKNOWN, "plugin"),
}
WECHAT_SDK_CODES: dict[str, ClientOutcome | Meaning] = {
    "0": SUCCESS,
    "-1": Meaning(FAILED, "signature_or_registration"),
    "-2": Meaning(CANCELLED, "user"),
    "-3": Meaning(FAILED, "launch"),
    "-4": Meaning(FAILED, "denied"),
    "-5": Meaning(NOT_INSTALLED, "too_old"),
    "-6": Meaning(FAILED, "banned"),
}


def _wechat_words(method: str) -> tuple[dict[str, ClientOutcome | Meaning], dict[str, ClientOutcome | Meaning]]:
    """What the script objects answer: words after the method's name, the detail of a failure after them."""
    exact: dict[str, ClientOutcome | Meaning] = {
        f"{method}:ok": SUCCESS,
        f"{method}:cancel": Meaning(CANCELLED, "user"),
    }
    return exact, {"cancel": Meaning(CANCELLED, "user"), f"{method}:fail": FAILED}


def _wechat_table(kind: StepKind, surface: str, method: str) -> ResultTable:
    exact, containing = _wechat_words(method)
    return ResultTable.of(kind, surface, exact, containing=containing)


ALIPAY = ChannelBridge.of(
    "alipay",
    schemas=[
        StepSchema(
            StepKind.SDK,
            "alipay",
            _exactly({"orderStr": _ORDER_STR, "showLoading": _FLAG}, {"sandbox": _FLAG}),
            Target.ANDROID,
        ),
        StepSchema(
            StepKind.SDK,
            "alipay",
            _exactly({"orderStr": _ORDER_STR, "fromScheme": _SCHEME}, {"universalLink": _LINK}),
            Target.IOS,
        ),
        StepSchema(StepKind.SDK, "alipay", _exactly({"orderStr": _ORDER_STR, "showLoading": _FLAG}), Target.HARMONY),
        StepSchema(StepKind.JSAPI, "AlipayJSBridge", _exactly({"tradeNO": _TRADE_NO})),
        StepSchema(StepKind.JSAPI, "ap", _exactly({"tradeNO": _TRADE_NO})),
        StepSchema(StepKind.MINI_PROGRAM, "alipay", _exactly({"tradeNO": _TRADE_NO})),
    ],
    results=[
        ResultTable.of(kind, surface, ALIPAY_CODES)
        for kind, surface in (
            (StepKind.SDK, "alipay"),
            (StepKind.JSAPI, "AlipayJSBridge"),
            (StepKind.JSAPI, "ap"),
            (StepKind.MINI_PROGRAM, "alipay"),
        )
    ],
    opens=["alipays", "alipay"],
)

WECHAT = ChannelBridge.of(
    "wechatpay",
    schemas=[
        *(
            StepSchema(
                StepKind.SDK,
                "wechat.open",
                _exactly(
                    {
                        "appId": _WX_APP,
                        **_WX_COMMON,
                        "packageValue": _WX_APP_PACKAGE,
                        "timeStamp": _SECONDS_TEXT,
                        "sign": _text(most=1024),
                    },
                    _WX_EXTRA,
                ),
                target,
            )
            for target in (Target.ANDROID, Target.HARMONY)
        ),
        StepSchema(
            StepKind.SDK,
            "wechat.open",
            _exactly(
                {
                    "openID": _WX_APP,
                    **_WX_COMMON,
                    "package": _WX_APP_PACKAGE,
                    "timeStamp": _SECONDS_NUMBER,
                    "sign": _text(most=1024),
                }
            ),
            Target.IOS,
        ),
        StepSchema(
            StepKind.JSAPI,
            "WeixinJSBridge",
            _exactly({"appId": _WX_APP, "timeStamp": _SECONDS_TEXT, **_WX_SCRIPT}),
        ),
        StepSchema(StepKind.JSAPI, "wx", _exactly({"timestamp": _SECONDS_TEXT, **_WX_SCRIPT})),
        StepSchema(StepKind.MINI_PROGRAM, "wechat", _exactly({"timeStamp": _SECONDS_TEXT, **_WX_SCRIPT})),
    ],
    results=[
        ResultTable.of(StepKind.SDK, "wechat.open", WECHAT_SDK_CODES),
        _wechat_table(StepKind.JSAPI, "WeixinJSBridge", "get_brand_wcpay_request"),
        _wechat_table(StepKind.JSAPI, "wx", "chooseWXPay"),
        _wechat_table(StepKind.MINI_PROGRAM, "wechat", "requestPayment"),
    ],
    opens=["weixin"],
)

UNI_APP = ChannelBridge.of(
    "uni",
    schemas=[
        StepSchema(
            StepKind.SDK,
            "uni.wxpay",
            _exactly(
                {
                    "appid": _WX_APP,
                    "partnerid": _text("^[0-9]{6,32}$"),
                    "prepayid": _text("^[0-9A-Za-z_-]+$", 64),
                    "package": _WX_APP_PACKAGE,
                    "noncestr": _text(most=32),
                    "timestamp": _SECONDS_TEXT,
                    "sign": _text(most=1024),
                }
            ),
        ),
    ],
    results=[ResultTable.of(StepKind.SDK, "uni.wxpay", WECHAT_SDK_CODES)],
)
"""`orderInfo` of uni.requestPayment with the provider wxpay: the names of WeChat's server answer, all in lower case."""

APPLE = ChannelBridge.of(
    "appleiap",
    results=[
        ResultTable.of(
            StepKind.STORE_PURCHASE,
            "apple",
            {
                "success_verified": SUCCESS,
                "success_unverified": Meaning(UNKNOWN, "unverified"),
                "pending": Meaning(PROCESSING, "waiting_for_approval"),
                "userCancelled": Meaning(CANCELLED, "user"),
                "productUnavailable": FAILED,
                "purchaseNotAllowed": Meaning(FAILED, "not_allowed"),
                "ineligibleForOffer": FAILED,
                "networkError": Meaning(UNKNOWN, "network"),
            },
        )
    ],
)
"""The cases of StoreKit's result and errors, by their names. A pending purchase may be approved days later."""

HUAWEI = ChannelBridge.of(
    "huaweipay",
    schemas=[
        StepSchema(StepKind.SDK, "huawei.pay", _exactly({"orderStr": _text(most=8192)}), Target.HARMONY),
    ],
    results=[
        ResultTable.of(
            StepKind.SDK,
            "huawei.pay",
            {
                "0": SUCCESS,
                "1001930000": Meaning(CANCELLED, "user"),
                "1001930001": FAILED,
                "1001930002": Meaning(UNKNOWN, "already_processed"),
                "1001930003": FAILED,
                "126": NOT_INSTALLED,
                "1014900005": NOT_INSTALLED,
            },
        )
    ],
)
"""Its orderStr is a JSON text; 0 stands for the promise that resolved without a value."""

ALL = (ALIPAY, WECHAT, UNI_APP, APPLE, HUAWEI)
