"""The payer's phone: takes an orderStr as Alipay's SDK does, runs the plan of a payment, and claims a result.

Source: "App支付同步返回说明" for the map that comes back; what an order must hold is in the documents of each method.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from paycore.channel import Forged
from paycore_alipay.plans import outcome_of
from paycore_alipay.simulator.books import NotPayable
from paycore_alipay.simulator.server import AlipaySimulator
from paycore_bridge import ClientOutcome, JsapiCall, MiniProgramCall, Plan, SdkCall, Target


class Payer(Enum):
    """What the person with the phone does, and whether the SDK tells it as it was."""

    PAYS = "pays"
    CANCELS = "cancels"
    PAYS_BUT_CANCEL_IS_CLAIMED = "pays_but_cancel_is_claimed"
    CANCELS_BUT_SUCCESS_IS_CLAIMED = "cancels_but_success_is_claimed"
    PAYS_AND_NOTHING_IS_CLAIMED = "pays_and_nothing_is_claimed"
    PAYS_AND_IT_IS_PROCESSING = "pays_and_it_is_processing"
    NETWORK_BREAKS = "network_breaks"
    PRESSES_TWICE = "presses_twice"


_CODES: dict[Payer, str] = {
    Payer.PAYS: "9000",
    Payer.CANCELS: "6001",
    Payer.PAYS_BUT_CANCEL_IS_CLAIMED: "6001",
    Payer.CANCELS_BUT_SUCCESS_IS_CLAIMED: "9000",
    Payer.PAYS_AND_NOTHING_IS_CLAIMED: "",
    Payer.PAYS_AND_IT_IS_PROCESSING: "8000",
    Payer.NETWORK_BREAKS: "6002",
    Payer.PRESSES_TWICE: "5000",
}
_PAYING = frozenset(
    {
        Payer.PAYS,
        Payer.PAYS_BUT_CANCEL_IS_CLAIMED,
        Payer.PAYS_AND_NOTHING_IS_CLAIMED,
        Payer.PAYS_AND_IT_IS_PROCESSING,
    }
)
_MEMOS = {
    "4000": "系统繁忙，请稍后再试",
    "5000": "重复请求",
    "6001": "用户中途取消",
    "6002": "网络连接出错",
    "8000": "正在处理中",
}


@dataclass(frozen=True, slots=True)
class Claim:
    """The map that the SDK hands back: `resultStatus`, `result` (signed JSON where it succeeded), `memo`. A hint, never a proof."""

    result_status: str
    result: str = ""
    memo: str = ""
    payment_id: str = ""

    @property
    def raw_code(self) -> str:
        """The SDK's code, untouched."""
        return self.result_status

    @property
    def outcome(self) -> ClientOutcome:
        """The claim in the bridge's words."""
        return outcome_of(self.result_status)


class Phone:
    """A phone of one sort. `has_sdk` is False where the app lacks Alipay's SDK: it then goes to the next step."""

    def __init__(self, simulator: AlipaySimulator, device: Target = Target.ANDROID, *, has_sdk: bool = True) -> None:
        self._simulator = simulator
        self._device = device
        self._has_sdk = has_sdk

    def run(self, plan_json: str, now: int, payer: Payer = Payer.PAYS) -> Claim:
        """Run the first step of the plan that this phone can, then let the payer act."""
        for step in Plan.from_json(plan_json).for_device(self._device, now):
            if isinstance(step.content, SdkCall | JsapiCall | MiniProgramCall) and not self._has_sdk:
                continue
            try:
                return self._act(self._simulator.enter(step, now), now, payer)
            except (Forged, ValueError, LookupError):
                return _claim("4000")
        return _claim("4000")

    def pay(self, order_str: str, now: int, payer: Payer = Payer.PAYS) -> Claim:
        """Hand an orderStr to the SDK. 4000 for one that Alipay rejects, whatever the payer would have done."""
        try:
            return self._act(self._simulator.open_app(order_str, now), now, payer)
        except (Forged, NotPayable):
            return _claim("4000")

    def _act(self, payment_id: str, now: int, payer: Payer) -> Claim:
        if payer in _PAYING:
            self._simulator.pay(payment_id, now)
        code = _CODES[payer]
        result = self._simulator.sync_result(payment_id, now) if code == "9000" else ""
        return _claim(code, result, payment_id)


def _claim(code: str, result: str = "", payment_id: str = "") -> Claim:
    return Claim(code, result, _MEMOS.get(code, ""), payment_id)
