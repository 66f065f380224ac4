"""What the documents promise is there: commands, targets, decisions, and the same in Chinese."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.house.sources import BIN, HOUSE

README, TWIN = HOUSE / "README.md", HOUSE / "README.zh-CN.md"
ADRS = sorted((HOUSE / "docs/adr").glob("[0-9]*.md"))
TARGETS = ("demo", "serve", "test", "check", "bench", "gen", "lock", "clean")


def commands(page: Path) -> list[str]:
    """The lines of the page's shell blocks, without prompts and remarks."""
    blocks = re.findall(r"```(?:sh|bash|shell|console)\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    lines = [line.split(" #")[0].strip().removeprefix("$ ") for block in blocks for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def made_words(text: str) -> set[str]:
    """What is said to make, where it is code: at the start of a line or after a backtick."""
    return set(re.findall(r"(?:^|`)make ([a-z]+)", text, flags=re.MULTILINE))


def makefile_targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", (HOUSE / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))


def subcommands(line: str) -> list[str]:
    """The words after `paycore` that name a command: up to the first option or argument."""
    words = line.split("paycore ", 1)[1].split()
    plain = [word for word in words if not word.startswith("-")]
    return plain[: next((at for at, word in enumerate(plain) if not re.fullmatch(r"[a-z-]+", word)), len(plain))]


def paycore(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(BIN / "paycore"), *words, "--help"], capture_output=True, text=True, timeout=50)


def test_the_habits_are_targets() -> None:
    assert set(TARGETS) <= makefile_targets()


@pytest.mark.parametrize("page", ["README.md", "README.zh-CN.md", "CONTRIBUTING.md", ".ci/run"])
def test_every_make_word_is_a_target(page: str) -> None:
    words = made_words((HOUSE / page).read_text(encoding="utf-8"))
    assert "test" in words
    assert words - makefile_targets() == set()


@pytest.mark.parametrize("page", [README, TWIN], ids=lambda page: page.name)
def test_every_paycore_command_of_the_page_exists(page: Path) -> None:
    wrong = []
    for line in commands(page):
        if re.match(r"(\.venv/bin/)?paycore ", line):
            words = subcommands(line)
            if words and not any(paycore(*words[:depth]).returncode == 0 for depth in (len(words), 2, 1) if depth):
                wrong.append(line)
    assert wrong == []


def test_the_chinese_twin_says_the_same_commands() -> None:
    assert commands(TWIN) == commands(README)
    assert len(re.findall(r"^## ", TWIN.read_text(encoding="utf-8"), flags=re.MULTILINE)) == len(
        re.findall(r"^## ", README.read_text(encoding="utf-8"), flags=re.MULTILINE)
    )
    assert len(re.findall(r"[\u4e00-\u9fff]", TWIN.read_text(encoding="utf-8"))) > 100


def test_ci_runs_the_readme_words() -> None:
    script = (HOUSE / ".ci/run").read_text(encoding="utf-8")
    assert os.access(HOUSE / ".ci/run", os.X_OK)
    assert "make test" in commands(README)
    assert {"check", "test"} <= made_words(script)


def test_decisions_are_numbered_without_a_gap() -> None:
    assert [path.name[:4] for path in ADRS] == [f"{number:04}" for number in range(1, len(ADRS) + 1)]


@pytest.mark.parametrize("path", ADRS, ids=lambda path: path.name[:4])
def test_a_decision_says_what_and_why(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith(f"# {path.name[:4]} ")
    assert "**Decided.**" in text
    assert "**Why.**" in text


@pytest.mark.parametrize("page", sorted(HOUSE.glob("*.md")) + sorted(HOUSE.glob("docs/**/*.md")), ids=str)
def test_links_between_our_pages_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []
