"""The capability matrix: made from what the plugins declare, and the page that shows it is fresh."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from paycore.channel import ChannelVerb
from paycore.engine.host import Host
from paycore.testing.conformance.matrix import matrix, put_into
from paycore_sandbox import SANDBOX
from tests.conformance import planted
from tests.house.sources import HOUSE, PLUGINS

PAGE = HOUSE / "docs/channels.md"


def cells(text: str, row: str) -> dict[str, str]:
    """A row of the first table by its columns."""
    lines = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if line]
    head = [cell.strip() for cell in lines[0]]
    [found] = [line for line in lines if line[0].strip() == row and len(line) == len(head)]
    return dict(zip(head, found, strict=True))


def test_the_page_shows_the_channels_of_this_checkout_as_they_are() -> None:
    names = {plugin.name for plugin in PLUGINS}
    kinds = [kind for name, kind in Host.load(allow=names).kinds.items() if name in names]
    text = PAGE.read_text(encoding="utf-8")
    assert put_into(text, matrix(kinds)) == text, "run: python -m paycore.testing matrix --into docs/channels.md"


def test_a_verb_that_is_declared_says_yes_and_no_other() -> None:
    whole, plain = matrix([SANDBOX]), matrix([planted.modest().kind])
    for text, kind in ((whole, SANDBOX), (plain, planted.modest().kind)):
        row = cells(text, "sandbox")
        assert {verb.value for verb in ChannelVerb if row[verb.value] == "yes"} == set(kind.verbs)
    assert cells(plain, "sandbox")["refunds"] == "none from us"
    assert cells(plain, "sandbox")["notices"] == "none"


def test_limits_of_refunds_are_told() -> None:
    kind = replace(SANDBOX, partial_refunds=False, refund_window_seconds=365 * 86400, refund_count=50)
    assert cells(matrix([kind]), "sandbox")["refunds"] == "whole only, for 365 days, at most 50"


def test_a_page_without_marks_is_left_alone() -> None:
    with pytest.raises(ValueError, match="no marks"):
        put_into("# Channels", "| a |")


def test_the_command_prints_what_is_asked_for() -> None:
    def ask(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "paycore.testing", *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)

    assert ask("matrix", "sandbox").stdout.startswith(matrix([SANDBOX]).splitlines()[0])
    assert (ask("matrix", "nobody").returncode, ask("launder").returncode, ask().returncode) == (1, 2, 2)
