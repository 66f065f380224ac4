"""What the payer's device must do for each method, the schemas of it, and what the sandbox SDK's codes mean."""

from __future__ import annotations

from urllib.parse import quote

from paycore_bridge import (
    ChannelBridge,
    ClientOutcome,
    Plan,
    Qr,
    Redirect,
    ResultTable,
    SdkCall,
    Step,
    StepKind,
    StepSchema,
    StorePurchase,
    Target,
)

SDK = "sandbox"
STORE = "sandbox"

_ORDER_STRING = {"type": "string", "minLength": 1, "maxLength": 4096, "pattern": r"^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$"}
_WITH_LOADING = {
    "type": "object",
    "required": ["orderString", "showLoading"],
    "properties": {"orderString": _ORDER_STRING, "showLoading": {"type": "boolean"}},
    "additionalProperties": False,
}
_WITH_SCHEME = {
    "type": "object",
    "required": ["orderString", "fromScheme"],
    "properties": {"orderString": _ORDER_STRING, "fromScheme": {"type": "string", "pattern": "^[a-z][a-z0-9+.-]*$"}},
    "additionalProperties": False,
}

_SCHEMAS = (
    StepSchema(StepKind.SDK, SDK, _WITH_LOADING, Target.ANDROID),
    StepSchema(StepKind.SDK, SDK, _WITH_LOADING, Target.HARMONY),
    StepSchema(StepKind.SDK, SDK, _WITH_SCHEME, Target.IOS),
)

RETURN_SCHEME = "paycoresandbox"

RESULT_CODES: dict[str, ClientOutcome] = {
    "9000": ClientOutcome.SUCCESS_CLAIMED,
    "8000": ClientOutcome.PROCESSING,
    "6001": ClientOutcome.CANCELLED,
    "4000": ClientOutcome.FAILED,
    "4001": ClientOutcome.NOT_INSTALLED,
}


BRIDGE = ChannelBridge.of("sandbox", schemas=_SCHEMAS, results=[ResultTable.of(StepKind.SDK, SDK, RESULT_CODES)])
"""What the bridge is told of the sandbox."""

STEP_SCHEMAS = BRIDGE.schemas
"""What the sandbox SDK takes on each target."""


def outcome_of(code: str) -> ClientOutcome:
    """What the SDK's code claims. Every code that is not listed is UNKNOWN, never a success."""
    return RESULT_CODES.get(code, ClientOutcome.UNKNOWN)


def app_plan(order_string: str, *, base_url: str, target: str, expires_at: int) -> Plan:
    """Hand the order to the SDK in the app; where that cannot be done, open the wallet's page."""
    sdk_targets = [one for one in (Target.ANDROID, Target.IOS, Target.HARMONY) if one.value == target]
    steps = [_sdk_step(order_string, one) for one in sdk_targets or (Target.ANDROID, Target.IOS, Target.HARMONY)]
    page = Redirect(f"{base_url}/app?order={quote(order_string, safe='')}")
    return Plan.of(*steps, Step.of(page, requires=["browser"]), expires_at=expires_at)


def _sdk_step(order_string: str, target: Target) -> Step:
    arguments: dict[str, object] = {"orderString": order_string}
    if target is Target.IOS:
        arguments["fromScheme"] = RETURN_SCHEME
    else:
        arguments["showLoading"] = True
    return Step.of(SdkCall(SDK, arguments), target=target, requires=["sandbox.sdk"])


def qr_plan(content: str, *, code_expires_at: int, expires_at: int) -> Plan:
    """Show the code. It may die before the trade does."""
    return Plan.of(Step.of(Qr(content), expires_at=min(code_expires_at, expires_at)), expires_at=expires_at)


def redirect_plan(url: str, *, expires_at: int) -> Plan:
    """Go to the payment page."""
    return Plan.of(Step.of(Redirect(url), requires=["browser"]), expires_at=expires_at)


def store_plan(*, product_id: str, token: str, quantity: int, expires_at: int) -> Plan:
    """Buy the product in the store under the payment's token."""
    content = StorePurchase(store=STORE, product_id=product_id, account_token=token, quantity=quantity)
    return Plan.of(Step.of(content, requires=["sandbox.store"]), expires_at=expires_at)
