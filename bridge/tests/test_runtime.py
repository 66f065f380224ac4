"""The page's runtime: its size, what it never does, and its stories under node."""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from paycore_bridge import runtime
from paycore_bridge.contract import ERRORS, ErrorCode, NextMove
from paycore_bridge.profiles import PROFILES

SCRIPTS = Path(__file__).parent / "js"
CORE_BUDGET = 3 * 1024
NODE_FLOOR = 18


def node() -> str:
    """The program, new enough to have a test runner."""
    program = shutil.which("node")
    if program is None:
        pytest.skip("the bridge's runtime: there is no node on PATH (Debian: apt-get install nodejs)")
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True, timeout=20).stdout
    if int(version.strip().lstrip("v").split(".")[0]) < NODE_FLOOR:
        pytest.skip(f"the bridge's runtime: node {version.strip()} is older than {NODE_FLOOR}")
    return program


@pytest.mark.parametrize("name", sorted(path.name for path in SCRIPTS.glob("*.test.mjs")))
def test_the_stories_under_node(name: str) -> None:
    done = subprocess.run(
        [node(), "--test", str(SCRIPTS / name)], capture_output=True, text=True, timeout=55, check=False
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert re.search(r"pass [1-9]", done.stdout), "no test ran"


def size(*names: str) -> int:
    return len(gzip.compress(runtime.script(*names).encode(), 9))


def test_the_core_is_small() -> None:
    assert size(runtime.CORE) <= CORE_BUDGET


def test_everything_together_is_still_small() -> None:
    assert size(runtime.CORE, *runtime.ADDONS) <= 8 * 1024


@pytest.mark.parametrize("name", [runtime.CORE, *runtime.ADDONS])
def test_what_is_sent_is_what_is_written_without_remarks(name: str) -> None:
    written = re.sub(r"(?m)^\s*//.*$", "", runtime.source(name))
    assert re.sub(r"\s+", "", runtime.script(name)) == re.sub(r"\s+", "", written)
    assert "`" not in written, "a text over several lines would lose its spaces"


@pytest.mark.parametrize("name", [runtime.CORE, *runtime.ADDONS])
def test_no_script_does_what_a_strict_page_forbids_or_an_old_phone_cannot_read(name: str) -> None:
    text = runtime.script(name)
    assert text.count('"use strict";') == 1
    for forbidden in (
        "eval(",
        "new Function",
        "innerHTML",
        "document.write",
        "outerHTML",
        "insertAdjacent",
        "sendBeacon",
    ):
        assert forbidden not in text, forbidden
    for too_new in ("?.", "??", "=>", "async ", "await ", "let ", "const ", "class "):
        assert not re.search(rf"(?<!\w){re.escape(too_new)}", text), too_new


def test_a_script_that_does_not_exist_is_no_file() -> None:
    with pytest.raises(KeyError):
        runtime.source("../keys")


def test_the_core_makes_the_moves_of_the_contract() -> None:
    listed = re.search(r"var NEXT = \{(.*?)\};", runtime.script(), flags=re.DOTALL)
    assert listed is not None
    moves = dict(re.findall(r'(\d+): "(\w+)"', listed.group(1)))
    for code in ErrorCode:
        expected = moves.get(str(-32000 - code), NextMove.NEXT_STEP.value)
        assert ERRORS[code].next_move == expected, code.name


def test_every_transport_is_spoken_by_the_script_that_is_named() -> None:
    spoken = {
        "android_wml": "native",
        "android_iface": "native",
        "arkweb": "native",
        "jsbridge1": "wvjb",
        "wk": "webkit",
    }
    for name, profile in PROFILES.items():
        assert spoken.get(name, name) in runtime.source(profile.script), name
