"""Tells what happens, as lines for a person or as one JSON document a line."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any

from paycore.cli.lines import amount, event_text, event_time
from paycore.cli.screen import Screen, clean, clock_time

if TYPE_CHECKING:
    from paycore.v1 import common_pb2, order_pb2

SHOWN_PARAMS = 96
"""How much of a step's parameters a person is shown; the JSON has all of it."""


@dataclass
class Narrator:
    """One voice for the whole demo. Every line belongs to the scene that was opened last, or names its own."""

    screen: Screen
    scene: str = ""
    scenes: int = 0
    began: float = field(default_factory=monotonic)
    took: dict[str, float] = field(default_factory=dict)
    _opened: float = 0.0

    def open(self, scene: str, title: str) -> None:
        """A new scene begins."""
        self.scene, self.scenes, self._opened = scene, self.scenes + 1, monotonic()
        self._tell("scene", f"\n{self.scenes}  {title}", "bold", title=title)

    def say(self, text: str, **facts: Any) -> None:
        """Something was done."""
        self._tell("say", f"   {text}", "", text=text, **facts)

    def action(self, action: common_pb2.Action) -> None:
        """What the payer's device must do: the bridge action, step by step."""
        for number, step in enumerate(action.steps, start=1):
            shown = clean(step.params_json)
            if len(shown) > SHOWN_PARAMS:
                shown = f"{shown[:SHOWN_PARAMS]}… ({len(step.params_json)} characters)"
            self._tell(
                "action",
                f"     {number}. {step.kind} on {step.target}: {shown}",
                "cyan",
                kind=step.kind,
                target=step.target,
                requires=list(step.requires),
                params=json.loads(step.params_json),
            )

    def code(self, content: str, *, drawn: bool = True) -> None:
        """A QR code, drawn so that a phone could read it off the terminal; or only what it says."""
        if drawn and not self.screen.json:
            import sys

            from paycore_bridge import qr

            style = qr.Terminal.COLOUR if self.screen.is_terminal else qr.Terminal.DARK

            sys.stdout.write(qr.terminal(qr.matrix(content), style=style))
            sys.stdout.flush()
        self._tell("code", f"   {content}", "dim", content=content)

    def event(self, tag: str, event: order_pb2.OrderEvent) -> None:
        """A line of an order's stream, as it arrived."""
        text = f"     {tag} v{event.version:<3} {clock_time(event_time(event))}  {event_text(event)}"
        self._tell("event", text, "blue", order=tag, version=event.version, kind=event.kind, cause=event.cause)

    def snapshot(self, tag: str, order: order_pb2.Order) -> None:
        """The first line of an order's stream."""
        state = _state(order)
        text = f"     {tag} v{order.version:<3} snapshot: {state}, {amount(order.amount)}"
        self._tell("snapshot", text, "blue", order=tag, version=order.version, state=state)

    def good(self, text: str, **facts: Any) -> None:
        """What was expected is so."""
        self.took[self.scene] = monotonic() - self._opened
        self._tell("good", f"   ✓ {text}", "green", text=text, **facts)

    def end(self, **facts: Any) -> None:
        """Everything is as expected."""
        seconds = round(monotonic() - self.began, 1)
        self._tell("end", f"\nEverything went as it should, in {seconds} s.", "bold green", seconds=seconds, **facts)

    def _tell(self, what: str, line: str, style: str, **facts: Any) -> None:
        self.screen.line({"scene": self.scene, "what": what, **facts}, line, style)


def _state(order: order_pb2.Order) -> str:
    return type(order).State.Name(order.state).removeprefix("STATE_")
