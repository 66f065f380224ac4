"""Whole worlds at the App Store: servers killed at any await, a bad network and database, phones that come late or not at all with what
they bought, Apple giving back and taking back; in the end our books are the store's. Keys and signatures are real, time is not.

`make storm CHANNEL=appleiap SEED=n` replays one, `MANY=500` runs so many.
"""

from __future__ import annotations

from typing import Any

import pytest

from paycore.testing.simulation.report import story
from paycore.testing.simulation.running import run_seed
from paycore_appleiap import reading

SEEDS = 50
FAULTS = {
    *("channel: no connection", "channel: before effect", "channel: after effect", "channel: spoilt"),
    *("notice: lost", "notice: twice", "notice: late", "notice: forged beside it", "notice: acknowledgement lost"),
    *("store: before BEGIN", "store: before COMMIT", "store: after COMMIT"),
    *("killed", "killed after a commit", "process died", "clock set", "plugin: misbehaves"),
}
"""Apple is asked only about evidence that is old, so what strikes at calls is rare here."""


@pytest.mark.parametrize("seed", range(SEEDS))
def test_money_is_safe_in_every_world(seed: int) -> None:
    outcome = run_seed(seed, channel="appleiap")
    if outcome.violation:
        pytest.fail(story(outcome), pytrace=False)


def test_every_kind_of_fault_strikes() -> None:
    struck: set[str] = set()
    for seed in range(SEEDS):
        struck |= run_seed(seed, channel="appleiap").struck.keys()
        if struck >= FAULTS:
            return
    assert not FAULTS - struck


def test_a_world_is_the_same_story_again() -> None:
    first, second = (run_seed(7, channel="appleiap") for _ in range(2))
    assert (first.digest, first.trace, first.struck) == (second.digest, second.trace, second.struck)


def thousandths_are_cents(price: Any, currency: Any) -> Any:
    """Apple's prices are in minor units."""
    return price if type(price) is int else None


def nothing_goes_back(*transaction: Any, **more: Any) -> tuple[()]:
    """What Apple gave back is none of our business."""
    return ()


@pytest.mark.parametrize(
    ("name", "mistake", "rule", "seed"),
    [("_minor", thousandths_are_cents, "phantom", 0), ("_given_back", nothing_goes_back, "books", 27)],
)
def test_a_mistake_in_the_plugin_is_caught(
    monkeypatch: pytest.MonkeyPatch, name: str, mistake: Any, rule: str, seed: int
) -> None:
    monkeypatch.setattr(reading, name, mistake)
    assert run_seed(seed, channel="appleiap").rule == rule
