"""The locks are whole: everything that we ask for is pinned in them, with hashes, from nowhere in particular."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.house.sources import DISTRIBUTIONS, HOUSE, project

REQUIREMENTS = HOUSE / "requirements"
LOCKS = sorted(REQUIREMENTS.glob("*.txt"))


def entries(lock: Path) -> list[str]:
    """The logical lines of a lock: one pin and its hashes each."""
    text = lock.read_text().replace("\\\n", " ")
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]


def pins(lock: Path) -> dict[str, str]:
    return {canonicalize_name(line.split("==")[0]): re.split(r"[ ;]", line.split("==")[1])[0] for line in entries(lock)}


def wanted(distribution: Path) -> list[Requirement]:
    described = project(distribution)
    extras = described.get("optional-dependencies", {}).values()
    return [
        Requirement(text)
        for text in [*described.get("dependencies", []), *(text for extra in extras for text in extra)]
    ]


def written(source: Path) -> list[Requirement]:
    lines = (line.strip() for line in source.read_text().splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def missing(requirements: list[Requirement], pinned: dict[str, str]) -> list[str]:
    ours = {canonicalize_name(project(distribution)["name"]) for distribution in DISTRIBUTIONS}
    asked = [requirement for requirement in requirements if canonicalize_name(requirement.name) not in ours]
    return [str(each) for each in asked if not is_pinned(each, pinned)]


def is_pinned(requirement: Requirement, pinned: dict[str, str]) -> bool:
    version = pinned.get(canonicalize_name(requirement.name))
    return version is not None and requirement.specifier.contains(version)


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_is_hashed_and_names_no_place(lock: Path) -> None:
    assert entries(lock)
    for entry in entries(lock):
        assert re.fullmatch(r"[a-z0-9.-]+==[^ ;]+( ; [^@]+?)?(\s+--hash=sha256:[0-9a-f]{64})+", entry), entry[:80]


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=lambda distribution: project(distribution)["name"])
def test_the_lock_holds_what_a_distribution_asks(distribution: Path) -> None:
    assert missing(wanted(distribution), pins(REQUIREMENTS / "dev.txt")) == []


@pytest.mark.parametrize("name", ["dev", "codegen"])
def test_the_lock_holds_what_its_source_asks(name: str) -> None:
    assert missing(written(REQUIREMENTS / f"{name}.in"), pins(REQUIREMENTS / f"{name}.txt")) == []


def test_a_missing_pin_would_be_seen() -> None:
    assert missing([Requirement("grpcio>=99"), Requirement("nobody-has-this")], pins(REQUIREMENTS / "dev.txt")) == [
        "grpcio>=99",
        "nobody-has-this",
    ]
