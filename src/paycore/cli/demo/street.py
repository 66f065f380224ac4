"""The payer's side of the demo: phones, cameras and wallets, played by the channels' simulators."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from paycore.cli.exits import ExitCode, Sorry

if TYPE_CHECKING:
    from paycore.channel import ChannelKind, KitSimulator, Method
    from paycore.cli.demo.clock import BehindClock
    from paycore.v1 import common_pb2

CHANNEL = "sandbox"
SHOP_HOST = "shop.example"
"""Where payers come back to after a web page. Nobody goes there."""


class Street:
    """People who pay. `look` tells whoever delivers the simulator's notices that there may be one."""

    def __init__(self, simulator: Any, clock: BehindClock, look: Callable[[], None]) -> None:
        self._simulator = simulator
        self._clock = clock
        self._now = clock.now
        self._look = look
        simulator.books.refund_delay = 1_500_000

    def run_on_phone(self, action: common_pb2.Action) -> str:
        """Run the action as an Android app's shell does, and return what the SDK on the phone answered."""
        from paycore_bridge import Target

        raw_code = self._simulator.run_on_phone(plan_of(action), Target.ANDROID, self._now())
        self._look()
        return str(raw_code)

    def scan_and_pay(self, content: str) -> None:
        """Scan a code with another phone and pay."""
        self._simulator.pay(self._simulator.scan(content, self._now()), self._now())
        self._look()

    def pay_too_late(self, payment_id: str) -> None:
        """Money that was under way when the trade was closed arrives all the same."""
        self._simulator.pay(payment_id, self._now(), even_if_over=True)
        self._look()

    def fall_behind(self, seconds: float) -> None:
        """From now on the channel's clock is so much behind ours."""
        self._clock.behind = round(seconds * 1_000_000)

    def trade_state(self, payment_id: str) -> str:
        """How the trade stands in the channel's own books."""
        return str(self._simulator.books.trades[payment_id].state)

    def returned_minor(self, payment_id: str) -> int:
        """What went back to the payer, by the channel's own books."""
        return int(self._simulator.books.trades[payment_id].returned_minor)

    def calls_about(self, payment_id: str) -> list[str]:
        """What the channel was asked about a trade, in order."""
        return [call.name for call in self._simulator.calls if call.subject == payment_id]


@dataclass(frozen=True)
class Neighbour:
    """Another loaded channel: what it is, its simulator, and the payer there. No channel is known by name."""

    kind: ChannelKind
    simulator: KitSimulator
    clock: BehindClock
    look: Callable[[], None]

    @property
    def name(self) -> str:
        """The channel's name."""
        return self.kind.name

    def method(self, *scenes: str) -> Method | None:
        """A way to pay in the first of these scenes that there is one for, which needs nothing of the payer beforehand."""
        ways = [way for scene in scenes for way in self.kind.methods if way.scene == scene and not way.inputs]
        return next(iter(ways), None)

    def run_on_phone(self, action: common_pb2.Action, device: str) -> str | None:
        """Run the action on a phone and return the SDK's raw code; None where the simulator tells no code."""
        from paycore.channel import PayerPhone
        from paycore_bridge import Target

        if not isinstance(self.simulator, PayerPhone):
            self.pay(action)
            return None
        raw_code = self.simulator.run_on_phone(plan_of(action), Target(device), self.clock.now())
        self.look()
        return raw_code

    def pay(self, action: common_pb2.Action) -> None:
        """Scan the code or follow the page, as the action says, and pay."""
        now = self.clock.now()
        self.simulator.pay(self.simulator.accept(plan_of(action), now), now)
        self.look()

    def buy(self, action: common_pb2.Action, amount_minor: int) -> str:
        """Buy in the store, at the price that it sets; returns the evidence that the app is handed."""
        evidence = self.simulator.purchase(plan_of(action), self.clock.now(), amount_minor=amount_minor)
        self.look()
        return evidence

    def give_back(self, action: common_pb2.Action) -> bool:
        """The store gives the money of a purchase back; False where the simulator shows no such thing."""
        from paycore.channel import Storefront

        if not isinstance(self.simulator, Storefront):
            return False
        [step] = [step for step in action.steps if step.kind == "store_purchase"]
        self.simulator.give_back(json.loads(step.params_json)["account_token"], self.clock.now())
        self.look()
        return True

    def returned_minor(self, payment_id: str) -> int:
        """What went back to the payer, by the channel's own books."""
        trade = self.simulator.trade(payment_id)
        return 0 if trade is None else trade.returned_minor


def others() -> list[tuple[ChannelKind, KitSimulator]]:
    """A fresh simulator of every other installed channel that has one which can play a payer."""
    from paycore.channel import KitSimulator
    from paycore.engine.host import Host

    host = Host.load()
    return [
        (host.kinds[name], simulator)
        for name, simulator in sorted(host.simulators().items())
        if name != CHANNEL and isinstance(simulator, KitSimulator)
    ]


def simulator() -> Any:
    """A fresh simulator of the sandbox channel, found where every plugin is found."""
    from paycore.engine.host import Host

    kind = Host.load(allow=[CHANNEL]).kind(CHANNEL)
    if kind is None or kind.simulator is None:
        raise Sorry("The demo needs the plugin paycore-sandbox, which is not installed.", ExitCode.NOT_READY)
    return kind.simulator()


def plan_of(action: common_pb2.Action) -> str:
    """The action as the bridge's plan, which is what a shell is handed."""
    from paycore_bridge import Plan, Step

    steps = [
        Step.from_plain(
            {
                "kind": step.kind,
                "target": step.target,
                "requires": list(step.requires),
                "params_json": step.params_json,
                **({"expires_at": _micros(step.expire_time)} if step.HasField("expire_time") else {}),
            }
        )
        for step in action.steps
    ]
    expires_at = _micros(action.expire_time) if action.HasField("expire_time") else None
    return Plan.of(*steps, expires_at=expires_at).to_json()


def _micros(stamp: Any) -> int:
    return int(stamp.seconds * 1_000_000 + stamp.nanos // 1000)
