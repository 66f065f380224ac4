"""The payer's phone: runs the plan of a payment as an app with the sandbox SDK would, and claims a result."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from paycore.channel import Forged
from paycore_bridge import ClientOutcome, Plan, Qr, Redirect, SdkCall, Step, StorePurchase, Target
from paycore_sandbox.plans import SDK, outcome_of
from paycore_sandbox.simulator.books import NotPayable
from paycore_sandbox.simulator.server import SandboxSimulator


class Payer(Enum):
    """What the person with the phone does, and whether the SDK tells it as it was."""

    PAYS = "pays"
    CANCELS = "cancels"
    PAYS_BUT_CANCEL_IS_CLAIMED = "pays_but_cancel_is_claimed"
    CANCELS_BUT_SUCCESS_IS_CLAIMED = "cancels_but_success_is_claimed"
    PAYS_AND_NOTHING_IS_CLAIMED = "pays_and_nothing_is_claimed"
    IS_STILL_PAYING = "is_still_paying"


_CODES: dict[Payer, str] = {
    Payer.PAYS: "9000",
    Payer.CANCELS: "6001",
    Payer.PAYS_BUT_CANCEL_IS_CLAIMED: "6001",
    Payer.CANCELS_BUT_SUCCESS_IS_CLAIMED: "9000",
    Payer.PAYS_AND_NOTHING_IS_CLAIMED: "",
    Payer.IS_STILL_PAYING: "8000",
}
_PAYING = frozenset({Payer.PAYS, Payer.PAYS_BUT_CANCEL_IS_CLAIMED, Payer.PAYS_AND_NOTHING_IS_CLAIMED})


@dataclass(frozen=True, slots=True)
class Claim:
    """What the phone says happened: the SDK's raw code, what it claims, and a store's signed transaction if there is one."""

    raw_code: str
    payment_id: str = ""
    evidence: str = ""

    @property
    def outcome(self) -> ClientOutcome:
        """The claim in the bridge's words."""
        return outcome_of(self.raw_code)


class Phone:
    """A phone of one sort. `has_sdk` is False where the app lacks the SDK: it then falls back to the next step."""

    def __init__(self, simulator: SandboxSimulator, device: Target = Target.ANDROID, *, has_sdk: bool = True) -> None:
        self._simulator = simulator
        self._device = device
        self._has_sdk = has_sdk

    def run(
        self, plan_json: str, now: int, payer: Payer = Payer.PAYS, *, price_minor: int = 600, currency: str = "CNY"
    ) -> Claim:
        """Run the first step of the plan that this phone can. `price_minor` is what a store takes."""
        for step in Plan.from_json(plan_json).for_device(self._device, now):
            content = step.content
            if isinstance(content, SdkCall) and not self._can_call(content):
                continue
            if isinstance(content, StorePurchase):
                return self._buy(content, now, payer, price_minor=price_minor, currency=currency)
            return self._enter(step, now, payer)
        return Claim("4001")

    def _can_call(self, content: SdkCall) -> bool:
        return self._has_sdk and content.sdk == SDK

    def _enter(self, step: Step, now: int, payer: Payer) -> Claim:
        """Open the trade that the step leads to, then let the payer act. What the wallet refuses is a failed claim."""
        try:
            payment_id = self._open(step, now)
            if payer in _PAYING:
                self._simulator.pay(payment_id, now)
            elif payer is Payer.IS_STILL_PAYING:
                self._simulator.begin_paying(payment_id, now)
        except (Forged, LookupError, NotPayable):
            return Claim("4000")
        return Claim(_CODES[payer], payment_id)

    def _open(self, step: Step, now: int) -> str:
        match step.content:
            case SdkCall() as call:
                return self._simulator.open_app(str(call.arguments["orderString"]), now)
            case Redirect() as redirect if "/app?order=" in redirect.url:
                return self._simulator.open_app(redirect.url.partition("/app?order=")[2], now)
            case Redirect() as redirect:
                return self._simulator.scan(redirect.url, now)
            case Qr() as code:
                return self._simulator.scan(code.content, now)
        raise LookupError(f"a sandbox phone cannot run a {step.kind} step")

    def _buy(self, wanted: StorePurchase, now: int, payer: Payer, *, price_minor: int, currency: str) -> Claim:
        if payer not in _PAYING:
            return Claim(_CODES[payer])
        try:
            evidence = self._simulator.buy(
                wanted.product_id,
                wanted.account_token,
                now,
                amount_minor=price_minor,
                currency=currency,
                quantity=wanted.quantity,
            )
        except NotPayable:
            return Claim("4000")
        return Claim(_CODES[payer], evidence=evidence)
