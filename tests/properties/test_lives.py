"""Whole lives that hypothesis thinks of agree with a book of whole numbers; and planted bugs do not."""

from __future__ import annotations

from typing import Any

import pytest

from paycore.core.order import Order
from paycore.engine.notices import Notices
from tests.properties.machine import live
from tests.properties.model import Lie

EXAMPLES, STEPS = 30, 50
AT_MOST = 60
"""How many lives it takes to find any of the planted bugs."""


@pytest.mark.parametrize("number", range(10))
def test_every_life_agrees_with_the_model(number: int) -> None:
    live(number, examples=EXAMPLES, steps=STEPS)


async def acknowledged_unheard(_self: Any, _account: Any, notice: Any, _digest: str) -> Any:
    return notice.acknowledge


def left_as_it_is(order: Order, *_more: Any, **_words: Any) -> Order:
    return order


BUGS: dict[str, tuple[Any, str, Any]] = {
    "refunds are not held against what is left": (
        "paycore.core.refunding", "_refuse_unrefundable", lambda *_more: None,
    ),
    "surplus money is not given back": ("paycore.core.paying", "_surplus", left_as_it_is),
    "a notice is acknowledged and not heard": (Notices, "_take_in", acknowledged_unheard),
    "a refund that failed keeps nothing promised back": ("paycore.core.order.Refund", "is_reserving", property(lambda _: False)),
}  # fmt: skip


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where, name, instead = BUGS[bug]
    monkeypatch.setattr(*((f"{where}.{name}", instead) if isinstance(where, str) else (where, name, instead)))
    with pytest.raises(Lie):
        live(0, examples=AT_MOST, steps=STEPS, shrinks=False)
