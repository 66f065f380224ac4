"""Spoilt input of every kind, thousands of it: no bug, no change, no forgery. The rounds that broke something once run first."""

from __future__ import annotations

import pytest

from tests.fuzz.playing import Broken, Round, drawn, play, regressions

CALLS, NOTICES, TOKENS = 20, 20, 5
EACH = 1_000
ROUNDS = [
    *(Round("calls", seed, EACH) for seed in range(CALLS)),
    *(Round("notices", seed, EACH) for seed in range(NOTICES)),
    *(Round("tokens", seed, EACH) for seed in range(TOKENS)),
]


@pytest.mark.parametrize("kept", regressions(), ids=str)
async def test_what_broke_something_once_breaks_it_no_more(kept: Round) -> None:
    await play(kept)


@pytest.mark.parametrize("this", ROUNDS, ids=str)
async def test_no_spoilt_input_breaks_anything(this: Round) -> None:
    await play(this)


async def test_a_round_is_the_same_every_time() -> None:
    first, again, another = [await drawn(Round("calls", seed, 30)) for seed in (1, 1, 2)]
    assert first == again != another


async def test_a_broken_round_says_how_to_see_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard itself is seen to bark: a house whose plugin believes everybody is found out within a round."""
    monkeypatch.setattr("paycore_sandbox.signing.verify", lambda *_words, **_body: True)
    with pytest.raises(
        Broken, match=r"believed.*\n  input .*\n  replay  python -m tests.fuzz --replay 'notices 1 \d+'"
    ):
        await play(Round("notices", 1, 200))
