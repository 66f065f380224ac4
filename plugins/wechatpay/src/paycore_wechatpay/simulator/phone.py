"""The payer's phone: runs the plan of a payment as an app, a page or a mini program with WeChat would, and claims a result."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from paycore_bridge import ClientOutcome, JsapiCall, Plan, SdkCall, Target
from paycore_wechatpay.plans import outcome_of
from paycore_wechatpay.simulator.books import NotPayable
from paycore_wechatpay.simulator.sdk import Rejected
from paycore_wechatpay.simulator.server import WechatPaySimulator


class Payer(Enum):
    """What the person with the phone does, and whether the SDK tells it as it was."""

    PAYS = "pays"
    CANCELS = "cancels"
    PAYS_BUT_CANCEL_IS_CLAIMED = "pays_but_cancel_is_claimed"
    CANCELS_BUT_SUCCESS_IS_CLAIMED = "cancels_but_success_is_claimed"
    PAYS_AND_NOTHING_IS_CLAIMED = "pays_and_nothing_is_claimed"


_CLAIMS = {
    Payer.PAYS: "ok",
    Payer.CANCELS: "cancel",
    Payer.PAYS_BUT_CANCEL_IS_CLAIMED: "cancel",
    Payer.CANCELS_BUT_SUCCESS_IS_CLAIMED: "ok",
    Payer.PAYS_AND_NOTHING_IS_CLAIMED: "",
}
_PAYING = frozenset({Payer.PAYS, Payer.PAYS_BUT_CANCEL_IS_CLAIMED, Payer.PAYS_AND_NOTHING_IS_CLAIMED})
_ERR_CODES = {"ok": "0", "cancel": "-2", "fail": "-1", "": ""}


@dataclass(frozen=True, slots=True)
class Claim:
    """What the phone says happened: the raw code of the SDK or script."""

    raw_code: str
    payment_id: str = ""

    @property
    def outcome(self) -> ClientOutcome:
        """The claim in the bridge's words."""
        return outcome_of(self.raw_code)


class Phone:
    """A phone of one sort, or a browser or mini program in one."""

    def __init__(self, simulator: WechatPaySimulator, device: Target = Target.ANDROID) -> None:
        self._simulator = simulator
        self._device = device

    def run(self, plan_json: str, now: int, payer: Payer = Payer.PAYS) -> Claim:
        """Run the first step of the plan that this device has; what WeChat rejects is a failed claim."""
        steps = Plan.from_json(plan_json).for_device(self._device, now)
        if not steps:
            return Claim("-5")
        content = steps[0].content
        try:
            payment_id = self._simulator.open_step(steps[0], self._device, now)
            if payer in _PAYING:
                self._simulator.pay(payment_id, now)
        except (Rejected, LookupError, NotPayable):
            return Claim(self._claimed(content, "fail"))
        return Claim(self._claimed(content, _CLAIMS[payer]), payment_id)

    def _claimed(self, content: object, word: str) -> str:
        """The word as this surface spells it. Codes and pages to follow tell the merchant nothing."""
        if isinstance(content, SdkCall):
            return _ERR_CODES[word]
        method = getattr(content, "method", "")
        if not word or not method:
            return ""
        if isinstance(content, JsapiCall):
            call = "get_brand_wcpay_request" if method == "getBrandWCPayRequest" else method
            return f"{call}:{word}"
        return f"{method}:fail cancel" if word == "cancel" else f"{method}:{word}"
