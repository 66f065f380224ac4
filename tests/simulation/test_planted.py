"""The simulation finds what it is there to find: every planted bug is caught, or this class of bugs is not covered."""

import json

import pytest

from paycore.testing.simulation.running import run_seed
from tests.simulation.planted import BUGS, Bug
from tests.simulation.seeds import HERE, catching

MOST_SEEDS = 500


@pytest.mark.timeout(400)
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name.replace(" ", "-"))
def test_a_planted_bug_is_caught(bug: Bug) -> None:
    """By the seed that is known to, else by one of five hundred."""
    known = catching().get(bug.name)
    with bug.planted():
        if known is not None and run_seed(known).violation:
            return
        caught = next((seed for seed in range(MOST_SEEDS) if run_seed(seed).violation), None)
    assert caught is not None, f"nobody notices that {bug.name}"


def test_the_known_seeds_are_those_of_planted_bugs() -> None:
    assert set(catching()) <= {bug.name for bug in BUGS}
    assert len(BUGS) >= 20


def search() -> None:
    """Find the seed for every bug anew and write them down: python -m tests.simulation.test_planted"""
    found = {}
    for bug in BUGS:
        with bug.planted():
            found[bug.name] = next((seed for seed in range(MOST_SEEDS) if run_seed(seed).violation), None)
        print(f"{bug.name:32} {found[bug.name]}", flush=True)
    caught = {name: seed for name, seed in found.items() if seed is not None}
    (HERE / "planted.json").write_text(json.dumps(caught, indent=2) + "\n")


if __name__ == "__main__":
    search()
