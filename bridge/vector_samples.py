"""The plans that the vectors are made of: every channel on every target that it has, with numbers of nobody.

The WeChat signatures were made with throwaway keys by the vendor's own library; nothing here is a credential.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from paycore_bridge import (
    ChannelBridge,
    Form,
    JsapiCall,
    Link,
    MiniProgramCall,
    Plan,
    Qr,
    Redirect,
    SdkCall,
    Step,
    StepContent,
    StorePurchase,
    Target,
)
from paycore_bridge.surfaces import ALIPAY, APPLE, HUAWEI, WECHAT

SECOND = 1_000_000
NOW = 1_795_375_803 * SECOND
"""2026-11-22T19:30:03Z."""
ENDS = NOW + 900 * SECOND

ORDER_STR = (
    "alipay_sdk=paycore&app_id=2021000100000001&biz_content=%7B%22out_trade_no%22%3A%22pa_0001%22%2C%22subject%22%3A%22"
    "%E8%8C%B6%22%2C%22total_amount%22%3A%22128.00%22%7D&charset=utf-8&format=JSON&method=alipay.trade.app.pay&notify_url="
    "https%3A%2F%2Fshop.example%2Fn&sign_type=RSA2&timestamp=2026-11-22+19%3A30%3A03&version=1.0&sign="
    + "Ab%2B%2F"
    * 43
)
APP_ID, PREPAY_ID = "wxd930ea5d5a258f4f", "wx201410272009395522657a690389285100"
NONCE, TIME = "593BEC0C930BF1AFEB40B4A08C8FB242", "1795375803"
APP_SIGN = (
    "G/JIdwg8UWipEktvjeEAYI5HvR335vymupxILlfPf1U0xKl6byoCm809A/8/woFEcHA9ihRrSj3laOkYobWoAHP9BmLV4N3yZ/qVb+zEz8he2BDdr72t"
    "KX6ejFqzYOYzbaY9E0GXwW/7Ge/TaLnBGVyhBfMFcEswaVhF4kPzBFNorGQG4Xl4kWO3/6QADjCTqUdgnJRriAlShwhUIAj3zuZKl4a+ZS1F5/F7y1WO"
    "TMBS+j08NbzPKpW6XDT+hO2ltBBF+XT6aQSleqNDfWkZhb3XE2JcZjwG4NZGfiNe041b7Ko4qglC646+gylZFwBfM4x7SJAsPFya0MIHPy1FaA=="
)
SCRIPT_SIGN = (
    "K2NklSnczXJP6fn8mGztycix7UBGkyuD3dwtzTQxi24UApHeKGcdU9X2unaH8gb/pBAFjYyCHFVESHF/y5Tw80CkTyUA03XrhGCbTXByH0VcRgPdUKOm"
    "PvGzubU8qWNkvvuUcmPuyXE8FQIYG1QsNpGy0aA2BvM1BSrhFBCqp8Pmvu/PXZGfUSWdpKEH7NCRqPG4o6qtrNYIhgphmMj38Djf6rrCFt/BEMvRr8G1"
    "ZPJvsH4PPV0g86U07t7WIlrDpclZ+tgV/ueBzYW2r54LoPnq8t0gvbjPbEKMJeusfqqeQu/hCvJPHV0sQfMJSBS5r4K4MJWHj5nIxISo/4nUAg=="
)
SCRIPT = {
    "timeStamp": TIME,
    "nonceStr": NONCE,
    "package": f"prepay_id={PREPAY_ID}",
    "signType": "RSA",
    "paySign": SCRIPT_SIGN,
}
_PAY_REQ = {"partnerId": "1900000109", "prepayId": PREPAY_ID, "nonceStr": NONCE, "sign": APP_SIGN}
WECHAT_ANDROID = _PAY_REQ | {"appId": APP_ID, "packageValue": "Sign=WXPay", "timeStamp": TIME}
WECHAT_IOS = _PAY_REQ | {"openID": APP_ID, "package": "Sign=WXPay", "timeStamp": int(TIME)}
HUAWEI_ORDER = json.dumps(
    {
        "app_id": "108000001",
        "merc_no": "104900000000",
        "prepay_id": "0001",
        "timestamp": "1795375803000",
        "noncestr": NONCE,
        "sign": "c2lnbg==",
        "auth_id": "1",
    }
)


@dataclass(frozen=True, slots=True)
class Sample:
    """One channel on one target: its plan, and what its surface answers when all goes well."""

    channel: str
    method: str
    target: Target
    bridge: ChannelBridge
    plan: Plan
    code: str = ""

    @property
    def name(self) -> str:
        return f"{self.channel}-{self.target}"


def samples() -> Iterator[Sample]:
    """Every sample, each checked against what is declared of its surfaces."""
    for sample in (*_alipay(), *_wechat(), *_stores()):
        sample.bridge.check(sample.plan)
        yield sample


def _step(content: StepContent, target: Target = Target.ANY, *requires: str, ends: int | None = None) -> Step:
    return Step.of(content, target=target, requires=requires, expires_at=ends)


def _plan(*steps: Step) -> Plan:
    return Plan.of(*steps, expires_at=ENDS)


def _alipay() -> Iterator[Sample]:
    page = _step(Redirect("https://openapi.alipay.example/gateway.do?out_trade_no=pa_0001"), Target.ANY, "browser")
    code = _step(Qr("https://qr.alipay.example/bax00000001"))
    arguments: dict[Target, dict[str, Any]] = {
        Target.ANDROID: {"orderStr": ORDER_STR, "showLoading": True},
        Target.IOS: {"orderStr": ORDER_STR, "fromScheme": "shoppay", "universalLink": "https://shop.example/pay/"},
        Target.HARMONY: {"orderStr": ORDER_STR, "showLoading": True},
    }
    for target, given in arguments.items():
        link = _step(Link("alipays://platformapi/startapp?appId=20000067"), target)
        plan = _plan(_step(SdkCall("alipay", given), target, "alipay.sdk"), link, page, code)
        yield Sample("alipay", "app", target, ALIPAY, plan, "9000")
    trade = {"tradeNO": "2026112222001481070500000001"}
    jsapi = _plan(_step(JsapiCall("AlipayJSBridge", "tradePay", trade), Target.WEBVIEW))
    yield Sample("alipay", "jsapi", Target.WEBVIEW, ALIPAY, jsapi, "9000")
    mini = _plan(_step(MiniProgramCall("alipay", "tradePay", trade), Target.MINI_PROGRAM))
    yield Sample("alipay", "mini_program", Target.MINI_PROGRAM, ALIPAY, mini, "9000")
    form = Form(
        "https://openapi.alipay.example/gateway.do?charset=utf-8", (("biz_content", '{"a":"茶"}'), ("sign", "a+b="))
    )
    yield Sample("alipay", "wap", Target.MOBILE_WEB, ALIPAY, _plan(_step(form, Target.MOBILE_WEB, "browser"), code))
    yield Sample("alipay", "page", Target.DESKTOP, ALIPAY, _plan(_step(form, Target.DESKTOP, "browser"), code))
    yield Sample("alipay", "qr", Target.TV_CAR, ALIPAY, _plan(code))


def _wechat() -> Iterator[Sample]:
    code = _step(Qr("weixin://wxpay/bizpayurl?pr=0000001"), ends=ENDS)
    for target in (Target.ANDROID, Target.IOS, Target.HARMONY):
        given = WECHAT_IOS if target is Target.IOS else WECHAT_ANDROID
        plan = _plan(_step(SdkCall("wechat.open", given), target, "wechat.sdk"), code)
        yield Sample("wechatpay", "app", target, WECHAT, plan, "0")
    script = JsapiCall("WeixinJSBridge", "getBrandWCPayRequest", {"appId": APP_ID, **SCRIPT})
    renamed = {("timestamp" if name == "timeStamp" else name): value for name, value in SCRIPT.items()}
    library = JsapiCall("wx", "chooseWXPay", renamed)
    jsapi = _plan(_step(script, Target.WEBVIEW), _step(library, Target.WEBVIEW))
    yield Sample("wechatpay", "jsapi", Target.WEBVIEW, WECHAT, jsapi, "get_brand_wcpay_request:ok")
    mini = _plan(_step(MiniProgramCall("wechat", "requestPayment", SCRIPT), Target.MINI_PROGRAM))
    yield Sample("wechatpay", "mini_program", Target.MINI_PROGRAM, WECHAT, mini, "requestPayment:ok")
    page = Redirect(
        "https://wx.tenpay.example/h5?prepay_id=1&redirect_url=https%3A%2F%2Fshop.example",
        referer="https://shop.example/",
    )
    h5 = _plan(_step(page, Target.MOBILE_WEB, "browser", ends=NOW + 300 * SECOND), code)
    yield Sample("wechatpay", "h5", Target.MOBILE_WEB, WECHAT, h5)
    for target in (Target.DESKTOP, Target.TV_CAR):
        yield Sample("wechatpay", "native", target, WECHAT, _plan(code))


def _stores() -> Iterator[Sample]:
    purchase = StorePurchase("apple", "com.example.gold.100", "0f8fad5b-d9cb-469f-a165-70867728950e")
    yield Sample(
        "appleiap", "purchase", Target.IOS, APPLE, _plan(_step(purchase, Target.IOS, "apple.store")), "success_verified"
    )
    order = SdkCall("huawei.pay", {"orderStr": HUAWEI_ORDER})
    yield Sample("huaweipay", "app", Target.HARMONY, HUAWEI, _plan(_step(order, Target.HARMONY, "huawei.pay")), "0")
