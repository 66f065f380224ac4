"""What WeChat's software on a device accepts: field for field, as the SDK of that system would, and nothing else.

Sources: the Open SDK's PayReq on Android, iOS and HarmonyOS; "JSAPI call-up payment"; "Mini program call-up payment".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from paycore_bridge import Target
from paycore_wechatpay import signing
from paycore_wechatpay.plans import APP_PACKAGE
from paycore_wechatpay.simulator.books import Prepay, Trade

MerchantKeys = Callable[[str], list[RSAPublicKey]]
"""The keys by which a merchant may have signed."""

_SECONDS = re.compile(r"[1-9][0-9]{9}", re.ASCII)
_APP_FIELDS: Mapping[Target, dict[str, type]] = {
    Target.ANDROID: dict.fromkeys(
        ("appId", "partnerId", "prepayId", "packageValue", "nonceStr", "timeStamp", "sign"), str
    ),
    Target.IOS: {
        **dict.fromkeys(("openID", "partnerId", "prepayId", "package", "nonceStr", "sign"), str),
        "timeStamp": int,
    },
}
_SCRIPT_FIELDS = dict.fromkeys(("timeStamp", "nonceStr", "package", "signType", "paySign"), str)


class Rejected(ValueError):
    """What the SDK says when it does not take a request: errCode -1, or a `fail` with words."""


class Device:
    """WeChat on a device: it knows the orders that were handed out, and who may sign for them."""

    def __init__(self, prepays: Mapping[str, Prepay], keys_of: MerchantKeys) -> None:
        self._prepays = prepays
        self._keys_of = keys_of

    def take_app(self, request: Mapping[str, Any], target: Target, now: int) -> Trade:
        """A PayReq as it is on this system. Raises Rejected."""
        device = Target.ANDROID if target is Target.HARMONY else target
        fields = _APP_FIELDS.get(device)
        if fields is None:
            raise Rejected("there is no Open SDK here")
        _refuse_other_fields(request, fields)
        package = request["package" if device is Target.IOS else "packageValue"]
        appid = request["openID" if device is Target.IOS else "appId"]
        if package != APP_PACKAGE:
            raise Rejected("the package is not Sign=WXPay")
        trade = self._prepaid(request["prepayId"], "app", appid, now)
        if request["partnerId"] != trade.mchid:
            raise Rejected("the order is another merchant's")
        lines = (appid, str(request["timeStamp"]), request["nonceStr"], request["prepayId"])
        self._refuse_forged(trade, lines, request["sign"])
        return trade

    def take_script(self, arguments: Mapping[str, Any], surface: str, now: int) -> Trade:
        """What a script hands over: in WeChat's browser, by jweixin (`wx`), or in a mini program. Raises Rejected."""
        fields, given = dict(_SCRIPT_FIELDS), dict(arguments)
        if surface == "wx":
            fields = {("timestamp" if name == "timeStamp" else name): one for name, one in fields.items()}
        if surface == "WeixinJSBridge":
            fields["appId"] = str
        _refuse_other_fields(given, fields)
        package = given["package"]
        if given["signType"] != "RSA" or not package.startswith("prepay_id="):
            raise Rejected("the package names no prepay_id, or the signature is of another type")
        trade = self._prepaid(package.removeprefix("prepay_id="), "jsapi", given.get("appId", ""), now)
        timestamp = given.get("timeStamp") or given["timestamp"]
        lines = (given.get("appId") or trade.order.appid, timestamp, given["nonceStr"], package)
        self._refuse_forged(trade, lines, given["paySign"])
        return trade

    def _prepaid(self, prepay_id: str, method: str, appid: str, now: int) -> Trade:
        prepay = self._prepays.get(prepay_id)
        if prepay is None or prepay.trade.order.method != method:
            raise Rejected("there is no such prepay_id of this sort")
        if prepay.is_dead(now):
            raise Rejected("the prepay_id is older than two hours")
        if appid and appid != prepay.trade.order.appid:
            raise Rejected("the order was made for another app id")
        return prepay.trade

    def _refuse_forged(self, trade: Trade, lines: tuple[str, ...], signature: str) -> None:
        message = signing.signed_text(*lines)
        if _SECONDS.fullmatch(lines[1]) is None:
            raise Rejected("the time is not ten digits")
        if not any(signing.verify(key, signature, message) for key in self._keys_of(trade.mchid)):
            raise Rejected("the signature does not verify")


def _refuse_other_fields(given: Mapping[str, Any], wanted: Mapping[str, type]) -> None:
    """Every name in its exact case, with its exact type, and no other."""
    if given.keys() != wanted.keys():
        raise Rejected("the fields are not those of this SDK")
    for name, kind in wanted.items():
        if type(given[name]) is not kind or given[name] in ("", 0):
            raise Rejected(f"{name} is not a {kind.__name__}")
