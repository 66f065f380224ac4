"""What the payer's device must do for each method, the schemas of it, and what the codes of Alipay's SDK mean.

Sources: "App支付 iOS/Android/鸿蒙集成流程" (payOrder, payV2, pay), "JSAPI tradePay", "手机网站支付" and "电脑网站支付".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from paycore_alipay import wire
from paycore_bridge import (
    ChannelBridge,
    ClientOutcome,
    Form,
    JsapiCall,
    Meaning,
    MiniProgramCall,
    Nothing,
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

CODE_HOSTS = (".alipay.com", ".alipaydev.com")
"""Where the codes of alipay.trade.precreate lead: qr.alipay.com, and the sandbox's hosts."""
_PLAIN = re.compile(r"[!-\[\]-~]+")
"""Printable ASCII without a space and without the backslash, which some read as a slash."""

SDK = "alipay"
CONTAINER = "AlipayJSBridge"
MINI_PROGRAM = "alipay"
TRADE_PAY = "tradePay"

LONGEST_URL = 4096
"""What a redirect step may hold; a longer one goes as a form alone."""

_ORDER_STR = {"type": "string", "minLength": 1, "maxLength": 12_288, "pattern": r"^[!-~]+$"}
_TRADE_NO = {"type": "string", "pattern": r"^[0-9A-Za-z_-]{8,64}$"}


def _arguments(required: list[str], **properties: object) -> dict[str, object]:
    return {"type": "object", "required": required, "properties": properties, "additionalProperties": False}


_ANDROID = _arguments(
    ["orderStr", "showLoading"],
    orderStr=_ORDER_STR,
    showLoading={"type": "boolean"},
    sandbox={"type": "boolean"},
)
_HARMONY = _arguments(["orderStr", "showLoading"], orderStr=_ORDER_STR, showLoading={"type": "boolean"})
_IOS = _arguments(
    ["orderStr", "fromScheme"],
    orderStr=_ORDER_STR,
    fromScheme={"type": "string", "pattern": r"^[A-Za-z][A-Za-z0-9+.-]*$"},
    universalLink={"type": "string", "pattern": r"^https://[!-~]+$"},
)
_TRADE = _arguments(["tradeNO"], tradeNO=_TRADE_NO)

_SCHEMAS = (
    StepSchema(StepKind.SDK, SDK, _ANDROID, Target.ANDROID),
    StepSchema(StepKind.SDK, SDK, _IOS, Target.IOS),
    StepSchema(StepKind.SDK, SDK, _HARMONY, Target.HARMONY),
    StepSchema(StepKind.JSAPI, CONTAINER, _TRADE, Target.WEBVIEW),
    StepSchema(StepKind.MINI_PROGRAM, MINI_PROGRAM, _TRADE, Target.MINI_PROGRAM),
)
"""What Alipay's SDKs and script objects take on each target."""

RESULT_CODES: dict[str, ClientOutcome | Meaning] = {
    "9000": ClientOutcome.SUCCESS_CLAIMED,
    "8000": ClientOutcome.PROCESSING,
    "6001": Meaning(ClientOutcome.CANCELLED, "user"),
    "99": Meaning(ClientOutcome.CANCELLED, "user"),
    "4000": ClientOutcome.FAILED,
    "4": Meaning(ClientOutcome.FAILED, "no_permission"),
    "6002": Meaning(ClientOutcome.UNKNOWN, "network"),
    "6004": ClientOutcome.UNKNOWN,
    "5000": Meaning(ClientOutcome.UNKNOWN, "duplicate"),
    "-1": Meaning(ClientOutcome.UNKNOWN, "plugin"),
}
"""`resultStatus` of the SDK, `resultCode` of tradePay: one table, and every code that it does not list is UNKNOWN."""

BRIDGE = ChannelBridge.of(
    "alipay",
    schemas=_SCHEMAS,
    results=[
        ResultTable.of(StepKind.SDK, SDK, RESULT_CODES),
        ResultTable.of(StepKind.JSAPI, CONTAINER, RESULT_CODES),
        ResultTable.of(StepKind.MINI_PROGRAM, MINI_PROGRAM, RESULT_CODES),
    ],
    opens=["alipays", "alipay"],
)
"""What the bridge is told of Alipay."""

STEP_SCHEMAS = BRIDGE.schemas


def outcome_of(code: str) -> ClientOutcome:
    """What the code claims, always a hint. Every code that is not listed is UNKNOWN, never a success."""
    return BRIDGE.read(f"{StepKind.SDK}:{SDK}", code).outcome


def app_plan(
    order_str: str, *, target: str, is_sandbox: bool, scheme: str, universal_link: str, expires_at: int
) -> Plan:
    """Hand the signed order to the SDK. The text is opaque: whoever re-encodes it breaks it."""
    arguments: dict[Target, dict[str, object]] = {
        Target.ANDROID: {"orderStr": order_str, "showLoading": True, "sandbox": is_sandbox},
        Target.IOS: {
            "orderStr": order_str,
            "fromScheme": scheme,
            **({"universalLink": universal_link} if universal_link else {}),
        },
        Target.HARMONY: {"orderStr": order_str, "showLoading": True},
    }
    wanted = [one for one in arguments if one.value == target] or list(arguments)
    steps = [Step.of(SdkCall(SDK, arguments[one]), target=one, requires=["alipay.sdk"]) for one in wanted]
    return Plan.of(*steps, expires_at=expires_at)


def wap_plan(gateway: str, parameters: Mapping[str, str], *, expires_at: int) -> Plan:
    """Go to Alipay's page for phones: by its address where that fits, else by a form."""
    return Plan.of(*_address(gateway, parameters), _form(gateway, parameters), expires_at=expires_at)


def page_plan(gateway: str, parameters: Mapping[str, str], *, expires_at: int) -> Plan:
    """Go to Alipay's page for desktops: by a form; a shell that submits none takes the address where it fits."""
    return Plan.of(_form(gateway, parameters), *_address(gateway, parameters), expires_at=expires_at)


def _address(gateway: str, parameters: Mapping[str, str]) -> list[Step]:
    url = f"{gateway}?{wire.write_form(parameters)}"
    return [Step.of(Redirect(url), requires=["browser"])] if len(url) <= LONGEST_URL else []


def _form(gateway: str, parameters: Mapping[str, str]) -> Step:
    """The charset stands in the address, where the gateway reads it before it reads the form."""
    fields = tuple((name, value) for name, value in parameters.items() if name != "charset")
    return Step.of(Form(f"{gateway}?charset={wire.CHARSET}", fields), requires=["browser"])


def scannable(code: str, gateway: str) -> str:
    """A code of Alipay's own, or of the gateway itself where that is a simulator. Raises Unreadable for anything else to scan."""
    parts, ours = urlsplit(code), urlsplit(gateway)
    is_alipays = parts.scheme == "https" and parts.netloc.lower().endswith(CODE_HOSTS)
    is_gateways = (parts.scheme, parts.netloc) == (ours.scheme, ours.netloc)
    if _PLAIN.fullmatch(code) is None or "@" in parts.netloc or not (is_alipays or is_gateways):
        raise wire.Unreadable("the code to scan is not one of Alipay's")
    return code


def qr_plan(content: str, *, code_expires_at: int, expires_at: int) -> Plan:
    """Show the code. It may die before the trade does."""
    return Plan.of(Step.of(Qr(content), expires_at=min(code_expires_at, expires_at)), expires_at=expires_at)


def container_plan(trade_no: str, *, expires_at: int) -> Plan:
    """Pay the created trade inside Alipay's own browser."""
    content = JsapiCall(CONTAINER, TRADE_PAY, {"tradeNO": trade_no})
    return Plan.of(Step.of(content, target=Target.WEBVIEW, requires=["alipay.container"]), expires_at=expires_at)


def mini_program_plan(trade_no: str, *, expires_at: int) -> Plan:
    """Pay the created trade inside the mini program."""
    content = MiniProgramCall(MINI_PROGRAM, TRADE_PAY, {"tradeNO": trade_no})
    return Plan.of(Step.of(content, target=Target.MINI_PROGRAM), expires_at=expires_at)


def barcode_plan(*, expires_at: int) -> Plan:
    """The payer confirms on the phone that was scanned; our device has nothing to do."""
    return Plan.of(Step.of(Nothing()), expires_at=expires_at)
