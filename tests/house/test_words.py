"""The glossary is whole: no state, anomaly or task verb of the core is missing from it."""

from __future__ import annotations

from enum import StrEnum

import pytest

from paycore.core.order import AnomalyKind, AnomalyState, OrderState, PaymentState, RefundState, SurplusPolicy, Verb
from tests.house.sources import HOUSE

THINGS = (
    "Order", "Payment", "Refund", "Account", "Key version", "App", "Session", "Offer", "Fact", "Finding", "Event", "Task",
    "Notice", "Action", "Anomaly", "Delivery",
)  # fmt: skip
SECTIONS: dict[str, type[StrEnum]] = {
    "States of an order": OrderState,
    "States of a payment": PaymentState,
    "States of a refund": RefundState,
    "Anomalies": AnomalyKind,
    "Policies for surplus money": SurplusPolicy,
}


def glossary() -> dict[str, str]:
    """Title of each section to its text."""
    parts = (HOUSE / "docs/glossary.md").read_text(encoding="utf-8").split("\n## ")
    return dict(part.split("\n", 1) for part in parts[1:])


def rows(section: str) -> dict[str, str]:
    """Word to meaning, from a section's table."""
    lines = [line.strip("| ").split(" | ", 1) for line in glossary()[section].splitlines() if line.startswith("|")]
    return {word.strip("*`"): meaning for word, meaning in lines[2:]}


@pytest.mark.parametrize("thing", THINGS)
def test_a_thing_has_its_sentence(thing: str) -> None:
    assert rows("Things")[thing].endswith(".")


@pytest.mark.parametrize("section", SECTIONS)
def test_the_states_are_those_of_the_core(section: str) -> None:
    assert list(rows(section)) == [member.value for member in SECTIONS[section]] or set(rows(section)) == {
        member.value for member in SECTIONS[section]
    }


def test_the_states_of_an_anomaly_and_the_verbs_are_told() -> None:
    assert all(f"`{state}`" in glossary()["Anomalies"] for state in AnomalyState)
    assert all(f"`{verb}`" in glossary()["Verbs of a task"] for verb in Verb)


@pytest.mark.parametrize("word", [word for section in ("Things", "Figures", *SECTIONS) for word in rows(section)])
def test_a_word_is_explained_in_one_sentence(word: str) -> None:
    meaning = next(rows(section)[word] for section in ("Things", "Figures", *SECTIONS) if word in rows(section))
    assert meaning.rstrip("|").strip().endswith(".")
    assert ". " not in meaning.rstrip("|").strip()
