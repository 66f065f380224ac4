"""The page of reasons says what the server does."""

from __future__ import annotations

from paycore.core.refusals import Reason
from tools import reasons


def test_the_page_is_fresh() -> None:
    assert reasons.PAGE.read_text(encoding="utf-8") == reasons.render(), "run: python tools/reasons.py"


def test_every_reason_stands_on_it_once() -> None:
    page = reasons.render()
    counts = {reason: page.count(f"| `{reason}` |") for reason in Reason}
    assert set(counts.values()) == {1}, counts
