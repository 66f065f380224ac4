"""Whole worlds at WeChat Pay: servers killed at any await, a bad network and database, notices lost, late, doubled and forged, payers,
clerks and consoles; in the end our books are WeChat Pay's. Keys and signatures are real, time is not.

`make storm CHANNEL=wechatpay SEED=n` replays one, `MANY=500` runs so many.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from paycore.channel import Closed, NotFound, Refunded
from paycore.testing.simulation.report import story
from paycore.testing.simulation.running import run_seed
from paycore_wechatpay import reading

SEEDS = 50
FAULTS = {
    *("channel: no connection", "channel: before effect", "channel: after effect", "channel: spoilt"),
    *("channel: slow", "channel: stale read", "channel: refund ends badly"),
    *("notice: lost", "notice: twice", "notice: late", "notice: forged beside it", "notice: acknowledgement lost"),
    *("store: before BEGIN", "store: before COMMIT", "store: after COMMIT"),
    *("killed", "killed after a commit", "killed after a send", "process died", "clock set", "plugin: misbehaves"),
    *("payer: pays what is over", "payer: another amount", "payer: unsure"),
}


@pytest.mark.parametrize("seed", range(SEEDS))
def test_money_is_safe_in_every_world(seed: int) -> None:
    outcome = run_seed(seed, channel="wechatpay")
    if outcome.violation:
        pytest.fail(story(outcome), pytrace=False)


def test_every_kind_of_fault_strikes() -> None:
    struck: set[str] = set()
    for seed in range(SEEDS):
        struck |= run_seed(seed, channel="wechatpay").struck.keys()
        if struck >= FAULTS:
            return
    assert not FAULTS - struck


def test_a_world_is_the_same_story_again() -> None:
    first, second = (run_seed(7, channel="wechatpay") for _ in range(2))
    assert (first.digest, first.trace, first.struck) == (second.digest, second.trace, second.struck)


def unknown_is_never(answer: Any, table: Any, given: Callable[[Any, Any], Any] = reading.refused) -> Any:
    """An order that WeChat Pay does not know yet will never be paid."""
    found = given(answer, table)
    return Closed() if isinstance(found, NotFound) else found


def taken_is_done(refund: Any) -> Any:
    """A refund that WeChat Pay took has moved money."""
    return Refunded()


@pytest.mark.parametrize(
    ("name", "mistake", "rule", "seed"),
    [
        ("refused", unknown_is_never, "over too early", 0),
        ("accepted_finding", taken_is_done, "phantom refund", 1),
    ],
)
def test_a_mistake_in_the_plugin_is_caught(
    monkeypatch: pytest.MonkeyPatch, name: str, mistake: Any, rule: str, seed: int
) -> None:
    monkeypatch.setattr(reading, name, mistake)
    assert run_seed(seed, channel="wechatpay").rule == rule
