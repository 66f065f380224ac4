"""The payer's side of the demo: a phone, a camera and a wallet, played by the sandbox plugin's simulator."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from paycore.cli.exits import ExitCode, Sorry

if TYPE_CHECKING:
    from paycore.cli.demo.clock import BehindClock
    from paycore.v1 import common_pb2

CHANNEL = "sandbox"


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
        from paycore_sandbox.simulator import Phone

        claim = Phone(self._simulator, Target.ANDROID).run(_plan(action), self._now())
        self._look()
        return claim.raw_code

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


def simulator() -> Any:
    """A fresh simulator of the sandbox channel, found where every plugin is found."""
    from paycore.engine.host import Host

    kind = Host.load(allow=[CHANNEL]).kind(CHANNEL)
    if kind is None or kind.simulator is None:
        raise Sorry("The demo needs the plugin paycore-sandbox, which is not installed.", ExitCode.NOT_READY)
    return kind.simulator()


def _plan(action: common_pb2.Action) -> str:
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
