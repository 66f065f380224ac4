"""The benchmark's rows about channels do what they say that they measure: genuine notices, really taken in; plans really sealed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench.channels import office, sealed_samples
from paycore.channel import ChannelVerb
from paycore.engine.host import Host

HOUSE = Path(__file__).resolve().parent.parent.parent
CHANNELS = sorted(
    name
    for name, kind in Host.load().kinds.items()
    if kind.simulator is not None and ChannelVerb.READ_NOTICE in kind.verbs
)
FEW = 8


def test_every_channel_is_measured() -> None:
    assert {"alipay", "appleiap", "sandbox", "wechatpay"} <= set(CHANNELS)


@pytest.mark.parametrize("channel", CHANNELS)
async def test_notices_are_verified_and_committed(channel: str, tmp_path: Path) -> None:
    """One notice for each payment, each an order's own, and every order PAID by it."""
    async with office(f"sqlite:///{tmp_path}/bench.sqlite", channel) as desk:
        letters = await desk.letters(FEW)
        assert len(letters) == len(desk.orders) == FEW
        assert await desk.read(letters) > 0
        assert await desk.take_in(letters) > 0
        assert not desk.simulator.due(desk.engine.clock.now()), "the simulator sends none of them again"


async def test_a_lost_notice_spoils_the_figure(tmp_path: Path) -> None:
    """A rate is only given for notices after which every order is PAID."""
    async with office(f"sqlite:///{tmp_path}/bench.sqlite", "sandbox") as desk:
        letters = await desk.letters(FEW)
        with pytest.raises(AssertionError, match="is not paid"):
            await desk.take_in(letters[1:])


async def test_a_forged_notice_spoils_the_figure(tmp_path: Path) -> None:
    async with office(f"sqlite:///{tmp_path}/one.sqlite", "sandbox") as desk:
        await desk.letters(FEW)
        async with office(f"sqlite:///{tmp_path}/other.sqlite", "sandbox") as stranger:
            letters = await stranger.letters(FEW)
        with pytest.raises(AssertionError, match="genuine notice was answered"):
            await desk.take_in(letters)


def test_envelopes_of_all_samples_are_sealed() -> None:
    texts = [seal() for seal in sealed_samples()]
    assert len(texts) > 10
    assert len(set(texts)) == len(texts)


def test_the_command_prints_one_row_for_each_plugin() -> None:
    words = [sys.executable, "-m", "bench", "--quick", "--only", "imports"]
    done = subprocess.run(words, cwd=HOUSE, capture_output=True, text=True, timeout=55, check=True)
    assert re.findall(r"loading the plugin (\w+)", done.stdout) == sorted(Host.load().kinds)
