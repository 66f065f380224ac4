"""What the payer's device must do for each method, the schemas of it, and what the SDKs' codes mean.

Sources: "Call up payment in the app", "JSAPI call-up payment", "Mini program call-up payment", "H5 call-up payment",
"Native call-up payment"; the Open SDK's PayReq of each system. Names, case and JSON types are theirs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from paycore_bridge import (
    ChannelBridge,
    ClientOutcome,
    JsapiCall,
    Meaning,
    MiniProgramCall,
    Plan,
    Qr,
    Redirect,
    ResultTable,
    SdkCall,
    Step,
    StepKind,
    StepSchema,
    Target,
)
from paycore_wechatpay import signing

SDK = "wechat.open"
BROWSER_BRIDGE = "WeixinJSBridge"
JWEIXIN = "wx"
HOST = "wechat"
APP_PACKAGE = "Sign=WXPay"

HOUR = 3600 * 1_000_000
PREPAY_LIFETIME = 2 * HOUR
"""Source: "APP order", prepay_id: valid for two hours. A code_url lives as long."""
H5_LIFETIME = HOUR // 12
"""Source: "H5 order", h5_url: valid for five minutes."""

CODE_SCHEMES = ("weixin://",)
H5_PAGES = ("https://wx.tenpay.com/",)


# ---------------------------------------------------------------------------------------------- schemas


def _text(pattern: str) -> dict[str, Any]:
    return {"type": "string", "pattern": pattern}


_APP_ID, _MCHID, _PREPAY = _text("^wx[0-9a-z]{6,30}$"), _text("^[0-9]{6,32}$"), _text("^[0-9A-Za-z_-]{1,64}$")
_NONCE, _SECONDS, _SIGNATURE = (
    _text("^[0-9A-Za-z]{1,32}$"),
    _text("^[1-9][0-9]{9}$"),
    _text("^[0-9A-Za-z+/]{300,700}={0,2}$"),
)
_UINT32 = {"type": "integer", "minimum": 1_000_000_000, "maximum": 4_294_967_295}
_JS_PACKAGE = _text("^prepay_id=[0-9A-Za-z_-]{1,64}$")


def _exactly(**properties: Any) -> dict[str, Any]:
    """An object with just these fields."""
    return {"type": "object", "required": sorted(properties), "properties": properties, "additionalProperties": False}


_CAMEL = _exactly(
    appId=_APP_ID,
    partnerId=_MCHID,
    prepayId=_PREPAY,
    packageValue={"const": APP_PACKAGE},
    nonceStr=_NONCE,
    timeStamp=_SECONDS,
    sign=_SIGNATURE,
)
_IOS = _exactly(
    openID=_APP_ID,
    partnerId=_MCHID,
    prepayId=_PREPAY,
    package={"const": APP_PACKAGE},
    nonceStr=_NONCE,
    timeStamp=_UINT32,
    sign=_SIGNATURE,
)
_MINI = {
    "timeStamp": _SECONDS,
    "nonceStr": _NONCE,
    "package": _JS_PACKAGE,
    "signType": {"const": "RSA"},
    "paySign": _SIGNATURE,
}
_RENAMED = {"timestamp": _SECONDS, **{name: schema for name, schema in _MINI.items() if name != "timeStamp"}}

_SCHEMAS = (
    StepSchema(StepKind.SDK, SDK, _CAMEL, Target.ANDROID),
    StepSchema(StepKind.SDK, SDK, _CAMEL, Target.HARMONY),
    StepSchema(StepKind.SDK, SDK, _IOS, Target.IOS),
    StepSchema(StepKind.JSAPI, BROWSER_BRIDGE, _exactly(appId=_APP_ID, **_MINI)),
    StepSchema(StepKind.JSAPI, JWEIXIN, _exactly(**_RENAMED)),
    StepSchema(StepKind.MINI_PROGRAM, HOST, _exactly(**_MINI)),
)
"""What WeChat takes on each target. On iOS the app id goes into openID and the time is a number; jweixin wants `timestamp`."""


# ---------------------------------------------------------------------------------------------- outcomes

SDK_CODES: dict[str, ClientOutcome | Meaning] = {
    "0": ClientOutcome.SUCCESS_CLAIMED,
    "-1": Meaning(ClientOutcome.FAILED, "signature_or_registration"),
    "-2": Meaning(ClientOutcome.CANCELLED, "user"),
    "-3": Meaning(ClientOutcome.FAILED, "launch"),
    "-4": Meaning(ClientOutcome.FAILED, "denied"),
    "-5": Meaning(ClientOutcome.NOT_INSTALLED, "too_old"),
    "-6": Meaning(ClientOutcome.FAILED, "banned"),
}
"""The Open SDK's errCode. Source: "Call up payment in the app", and the SDK's own list."""


def _words(kind: StepKind, surface: str, call: str) -> ResultTable:
    """What a script is told: the call's name, a colon, a word, and for a failure the reason after it."""
    cancelled = Meaning(ClientOutcome.CANCELLED, "user")
    exact: dict[str, ClientOutcome | Meaning] = {
        f"{call}:ok": ClientOutcome.SUCCESS_CLAIMED,
        f"{call}:cancel": cancelled,
        f"{call}:fail cancel": cancelled,
    }
    return ResultTable.of(kind, surface, exact, containing={f"{call}:fail": ClientOutcome.FAILED})


BRIDGE = ChannelBridge.of(
    "wechatpay",
    schemas=_SCHEMAS,
    results=[
        ResultTable.of(StepKind.SDK, SDK, SDK_CODES),
        _words(StepKind.JSAPI, BROWSER_BRIDGE, "get_brand_wcpay_request"),
        _words(StepKind.JSAPI, JWEIXIN, "chooseWXPay"),
        _words(StepKind.MINI_PROGRAM, HOST, "requestPayment"),
    ],
    opens=["weixin"],
)
"""What the bridge is told of WeChat Pay. Every code that no table lists is UNKNOWN, never a success."""

STEP_SCHEMAS = BRIDGE.schemas


def outcome_of(code: str) -> ClientOutcome:
    """What a raw code claims, whichever surface said it: the surfaces share no code."""
    claims = (table.read(code).outcome for table in BRIDGE.results)
    return next((claim for claim in claims if claim is not ClientOutcome.UNKNOWN), ClientOutcome.UNKNOWN)


# ---------------------------------------------------------------------------------------------- plans


@dataclass(frozen=True, slots=True)
class Prepaid:
    """A trade that WeChat Pay made, and who may sign for it on a device."""

    key: RSAPrivateKey
    appid: str
    mchid: str
    prepay_id: str
    nonce: str
    now: int
    expires_at: int

    @property
    def timestamp(self) -> str:
        return str(self.now // signing.SECOND)

    @property
    def usable_until(self) -> int:
        return min(self.now + PREPAY_LIFETIME, self.expires_at)

    def signature(self, last_line: str) -> str:
        """Over app id, time, nonce and the last line: the bare prepay_id for apps, `prepay_id=...` for scripts."""
        return signing.sign(self.key, signing.signed_text(self.appid, self.timestamp, self.nonce, last_line))


def app_plan(prepaid: Prepaid, *, target: str) -> Plan:
    """Hand the request to the Open SDK: as PayReq is declared on this system, or on each where none is named."""
    targets = [one for one in (Target.ANDROID, Target.IOS, Target.HARMONY) if target in ("", one.value)]
    sign = prepaid.signature(prepaid.prepay_id)
    steps = [Step.of(SdkCall(SDK, pay_req(prepaid, sign, one)), target=one, requires=["wechat.sdk"]) for one in targets]
    return Plan.of(*steps, expires_at=prepaid.usable_until)


def pay_req(prepaid: Prepaid, sign: str, target: Target) -> dict[str, Any]:
    """The fields of PayReq by their names and types on this system."""
    common: dict[str, Any] = {
        "partnerId": prepaid.mchid,
        "prepayId": prepaid.prepay_id,
        "nonceStr": prepaid.nonce,
        "sign": sign,
    }
    if target is Target.IOS:
        return common | {"openID": prepaid.appid, "package": APP_PACKAGE, "timeStamp": int(prepaid.timestamp)}
    return common | {"appId": prepaid.appid, "packageValue": APP_PACKAGE, "timeStamp": prepaid.timestamp}


def jsapi_plan(prepaid: Prepaid) -> Plan:
    """Call the browser's own bridge; where a page uses jweixin instead, the same under its names."""
    arguments = script_arguments(prepaid)
    renamed = {"timestamp": prepaid.timestamp, **{name: one for name, one in arguments.items() if name != "timeStamp"}}
    own = JsapiCall(BROWSER_BRIDGE, "getBrandWCPayRequest", {"appId": prepaid.appid, **arguments})
    return Plan.of(
        Step.of(own, target=Target.WEBVIEW),
        Step.of(JsapiCall(JWEIXIN, "chooseWXPay", renamed), target=Target.WEBVIEW),
        expires_at=prepaid.usable_until,
    )


def mini_program_plan(prepaid: Prepaid) -> Plan:
    """Call the mini program's payment method. The app id is the mini program's own, and is not given."""
    call = MiniProgramCall(HOST, "requestPayment", script_arguments(prepaid))
    return Plan.of(Step.of(call, target=Target.MINI_PROGRAM), expires_at=prepaid.usable_until)


def script_arguments(prepaid: Prepaid) -> dict[str, Any]:
    """What a script hands to WeChat. All values are texts; signType is sent, not signed."""
    package = f"prepay_id={prepaid.prepay_id}"
    return {
        "timeStamp": prepaid.timestamp,
        "nonceStr": prepaid.nonce,
        "package": package,
        "signType": "RSA",
        "paySign": prepaid.signature(package),
    }


def qr_plan(code_url: str, *, now: int, expires_at: int) -> Plan:
    """Show the code. It dies two hours after it was made, whatever the order's end is."""
    return Plan.of(Step.of(Qr(code_url), expires_at=min(now + PREPAY_LIFETIME, expires_at)), expires_at=expires_at)


def h5_plan(h5_url: str, *, return_url: str, referer: str, now: int, expires_at: int) -> Plan:
    """Go to WeChat Pay's page from a page of the registered domain, and come back to `return_url`."""
    joined = "&" if "?" in h5_url else "?"
    url = f"{h5_url}{joined}redirect_url={quote(return_url, safe='')}" if return_url else h5_url
    until = min(now + H5_LIFETIME, expires_at)
    return Plan.of(
        Step.of(Redirect(url, referer=referer or None), target=Target.MOBILE_WEB, requires=["browser"]),
        expires_at=until,
    )
