"""docs/write-a-channel.md is true: what it begins with fails where it says so, and what it ends with keeps the whole kit."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from paycore.channel import ChannelVerb
from paycore.cli.scaffolding import scaffold
from paycore.testing.conformance import ChannelConformance
from tests.conformance import guide
from tests.house.sources import BIN, HOUSE

CHECKS = {name for name in dir(ChannelConformance) if name.startswith("test_")}
VERBS = ("prepare", "query", "close", "refund", "query_refund", "read_notice", "meaning")


@pytest.fixture
def acme(tmp_path: Path) -> Path:
    scaffold("acme", tmp_path)
    return tmp_path / "acme"


def test_a_scaffold_runs_at_once_and_fails_only_where_its_author_has_to_write(acme: Path) -> None:
    ran = guide.run(acme)
    assert ran.passed | ran.failed.keys() == CHECKS
    assert len(ran.passed) > 15, "what needs no verb passes already"
    elsewhere = {name: said for name, said in ran.failed.items() if "NotImplementedError" not in said}
    assert elsewhere == {}
    said = "\n".join(ran.failed.values())
    assert {verb for verb in VERBS if f"write {verb}:" in said} >= {"prepare", "query", "close"}


def test_whoever_follows_the_guide_has_a_channel_that_keeps_the_kit(acme: Path) -> None:
    guide.follow(acme)
    source = (acme / "src/paycore_acme/channel.py").read_text()
    assert "NotImplementedError" not in source
    ran = guide.run(acme)
    assert ran.failed == {}, ran.output
    assert ran.passed == CHECKS


def test_what_the_guide_makes_is_typed_and_clean(acme: Path) -> None:
    """By the house's own rules, strictly; unused imports would be words that the guide does not need."""
    guide.follow(acme)
    config = str(HOUSE / "pyproject.toml")
    for command in (
        ["mypy", "--strict", "--config-file", config, "--cache-dir", str(acme / "cache"), "src/paycore_acme"],
        ["ruff", "check", "--no-cache", "--ignore", "I001", "--config", config, "src"],
        ["ruff", "format", "--check", "--no-cache", "--config", config, "src"],
    ):
        environment = {
            **os.environ,
            "MYPYPATH": f"{acme / 'src'}{os.pathsep}{HOUSE / 'src'}{os.pathsep}{HOUSE / 'bridge'}",
        }
        done = subprocess.run(
            [str(BIN / command[0]), *command[1:]], cwd=acme, env=environment, capture_output=True, text=True, timeout=58
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_guide_writes_every_verb_that_the_scaffold_leaves_open(acme: Path) -> None:
    left_open = re.findall(r'NotImplementedError\("write (\w+):', (acme / "src/paycore_acme/channel.py").read_text())
    assert set(left_open) == set(VERBS)
    assert set(guide.blocks()) == {"imports", *VERBS}


def test_the_guide_shows_the_files_that_are_made(acme: Path) -> None:
    text = guide.GUIDE.read_text(encoding="utf-8")
    for path in acme.rglob("*"):
        if path.is_file() and path.suffix in (".py", ".toml", ".md"):
            assert path.name in text, path


def test_the_guide_knows_every_verb_and_finding_of_the_api() -> None:
    import paycore.channel as api

    text = guide.GUIDE.read_text(encoding="utf-8")
    findings = {"Ready", "Waiting", "PayerPaying", "Paid", "Declined", "Closed", "Reversed", "AlreadyPaid", "NotFound"}
    findings |= {
        name for name in api.__all__ if name.startswith("Refund") and hasattr(getattr(api, name), "authenticated")
    }
    findings |= {"Unknown", "Refunded", "RefundProcessing", "RefundStuck", "RefundBounced"}
    assert {name for name in findings if f"`{name}`" not in text} == set()
    for word in ("CONFIRM", "STATEMENT", "REFRESH", "CLOSE"):
        assert ChannelVerb[word]
        assert f"`{word}`" in text
    for field in re.findall(r"`(\w+)=", text):
        from paycore.channel import ChannelKind, Method

        assert field in ChannelKind.__dataclass_fields__ | Method.__dataclass_fields__, field
