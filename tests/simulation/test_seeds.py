"""Money is safe in every world: those of the seeds that failed once, five hundred fixed ones, five hundred of today."""

import os
import subprocess
import sys

import pytest

from paycore.testing.simulation.report import story
from paycore.testing.simulation.running import run_seed
from tests.simulation.seeds import FIXED, FRESH, chunks, fresh_base, regressions, shown

FAULTS = {
    *("store: before BEGIN", "store: before COMMIT", "store: after COMMIT"),
    *("channel: no connection", "channel: before effect", "channel: after effect", "channel: spoilt"),
    *("channel: slow", "channel: stale read", "channel: refund ends badly"),
    *("notice: lost", "notice: twice", "notice: late", "notice: forged", "notice: acknowledgement lost"),
    *("caller: request lost", "caller: answer lost", "watcher: slow", "watcher: leaves"),
    *("killed", "killed after a commit", "killed after a send", "process died", "clock set", "plugin: misbehaves"),
    *("payer: pays what is over", "payer: another amount", "payer: another merchant"),
}
ANY_SEEDS = (3, 14, 21, 60, 76)


def run(seed: int) -> None:
    outcome = run_seed(seed)
    if outcome.violation:
        pytest.fail(story(outcome), pytrace=False)


def test_what_failed_once_holds_now() -> None:
    for seed, _showed in regressions():
        run(seed)


@pytest.mark.parametrize("seeds", chunks(FIXED), ids=shown)
def test_money_is_safe_in_known_worlds(seeds: range) -> None:
    for seed in seeds:
        run(seed)


@pytest.mark.parametrize("seeds", chunks(range(FRESH)), ids=shown)
def test_money_is_safe_in_worlds_that_nobody_has_seen(seeds: range) -> None:
    """The names of the tests are the same every day, so that workers on both sides of midnight agree about them."""
    base = fresh_base()
    for seed in seeds:
        run(base + seed)


def test_every_kind_of_fault_strikes() -> None:
    struck: set[str] = set()
    for seed in range(500, 560):
        struck |= run_seed(seed).struck.keys()
        if struck >= FAULTS:
            return
    assert not FAULTS - struck


@pytest.mark.parametrize("seed", ANY_SEEDS)
def test_a_seed_is_the_same_story_again(seed: int) -> None:
    first, second = run_seed(seed), run_seed(seed)
    assert (first.digest, first.trace, first.struck) == (second.digest, second.trace, second.struck)


def test_a_seed_is_the_same_story_in_another_process() -> None:
    program = (
        "from paycore.testing.simulation.running import run_seed\n"
        f"print([run_seed(seed).digest for seed in {ANY_SEEDS!r}])"
    )
    told = {_told(program, hash_seed) for hash_seed in ("1", "2")}
    assert told == {f"{[run_seed(seed).digest for seed in ANY_SEEDS]}\n"}


def _told(program: str, hash_seed: str) -> str:
    environment = os.environ | {"PYTHONHASHSEED": hash_seed}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True, timeout=50
    )
    return done.stdout
