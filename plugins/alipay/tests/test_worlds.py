"""Whole worlds at Alipay: servers killed at any await, a bad network and database, notices lost, late, doubled and forged, payers,
clerks and consoles; in the end our books are Alipay's. Keys and signatures are real, time is not.

`make storm CHANNEL=alipay SEED=n` replays one, `MANY=500` runs so many.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from paycore.channel import Closed, NotFound, Refunded
from paycore.testing.simulation.report import story
from paycore.testing.simulation.running import run_seed
from paycore_alipay import reading

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
    outcome = run_seed(seed, channel="alipay")
    if outcome.violation:
        pytest.fail(story(outcome), pytrace=False)


def test_every_kind_of_fault_strikes() -> None:
    struck: set[str] = set()
    for seed in range(SEEDS):
        struck |= run_seed(seed, channel="alipay").struck.keys()
        if struck >= FAULTS:
            return
    assert not FAULTS - struck


def test_a_world_is_the_same_story_again() -> None:
    first, second = (run_seed(7, channel="alipay") for _ in range(2))
    assert (first.digest, first.trace, first.struck) == (second.digest, second.trace, second.struck)


def unknown_is_never(answer: Any, given: Callable[[Any], Any] = reading.query_refusal) -> Any:
    """A trade that Alipay does not know yet will never be paid."""
    found = given(answer)
    return Closed() if isinstance(found, NotFound) else found


def taken_is_done(answer: Any, given: Callable[[Any], Any] = reading.refund_finding) -> Any:
    """A refund that Alipay took has moved money."""
    return Refunded() if answer.is_done else given(answer)


@pytest.mark.parametrize(
    ("name", "mistake", "rule", "seed"),
    [
        ("query_refusal", unknown_is_never, "over too early", 0),
        ("refund_finding", taken_is_done, "phantom refund", 2),
    ],
)
def test_a_mistake_in_the_plugin_is_caught(
    monkeypatch: pytest.MonkeyPatch, name: str, mistake: Any, rule: str, seed: int
) -> None:
    monkeypatch.setattr(reading, name, mistake)
    assert run_seed(seed, channel="alipay").rule == rule
