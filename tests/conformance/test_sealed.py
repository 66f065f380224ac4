"""What the kit expects cannot be overridden, excused or replaced by whoever is to keep it."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from paycore.testing.conformance import Case, ChannelConformance
from paycore.testing.conformance.sealed import Sealed
from paycore_sandbox import SANDBOX, SandboxSimulator

CHECK = "test_every_byte_of_the_body_counts"


@pytest.mark.parametrize("name", [CHECK, "stand", "_is_exact", "setup_method", "__getattribute__"])
def test_a_subclass_cannot_override(name: str) -> None:
    with pytest.raises(TypeError, match=f"overrides {name}"):
        Sealed("Mine", (ChannelConformance,), {name: lambda self, *given: None})


def test_a_subclass_of_a_subclass_cannot_either() -> None:
    class Mine(ChannelConformance):
        pass

    with pytest.raises(TypeError, match=CHECK):
        Sealed("Ours", (Mine,), {CHECK: None})


def test_a_class_beside_it_cannot_come_first() -> None:
    """A mixin in front of the kit would override without being asked."""

    class Lenient:
        def test_every_byte_of_the_body_counts(self) -> None:
            """Nothing."""

    with pytest.raises(TypeError, match=CHECK):
        Sealed("Mine", (Lenient, ChannelConformance), {})


@pytest.mark.parametrize("mark", [pytest.mark.skip, pytest.mark.xfail, pytest.mark.skipif(True, reason="busy")])
def test_no_mark_excuses_it(mark: Any) -> None:
    with pytest.raises(TypeError, match="takes no excuses"):
        Sealed("Mine", (ChannelConformance,), {"pytestmark": [mark]})

    class Mine(ChannelConformance):
        pass

    with pytest.raises(TypeError, match="takes no excuses"):
        mark(Mine)


def test_nothing_is_replaced_or_taken_away_later() -> None:
    class Mine(ChannelConformance):
        pass

    for owner in (Mine, ChannelConformance):
        with pytest.raises(TypeError, match="not replaced"):
            setattr(owner, CHECK, None)
        with pytest.raises(TypeError, match="not taken away"):
            delattr(owner, CHECK)
        with pytest.raises(TypeError, match="kept or not claimed"):
            owner.__test__ = False


def test_a_case_and_tests_of_ones_own_may_be_added() -> None:
    class Mine(ChannelConformance):
        @pytest.fixture
        def case(self) -> Case:
            return Case(kind=SANDBOX, simulator=SandboxSimulator)

        def test_of_mine(self) -> None:
            """Whatever."""

    assert "test_of_mine" in vars(Mine)


# ---------------------------------------------------------------------------------------------- as pytest runs it


def run(folder: Path, text: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a test file in a folder of its own, with the kit's plugin."""
    (folder / "test_mine.py").write_text(textwrap.dedent(text))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", PLUGIN, *words, "test_mine.py"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=55, check=False)


PLUGIN = "paycore.testing.conformance.plugin"
GOOD = """
    import pytest
    from paycore.testing.conformance import Case, ChannelConformance
    from paycore_sandbox import SANDBOX, SandboxSimulator

    class TestMine(ChannelConformance):
        @pytest.fixture
        def case(self) -> Case:
            return Case(kind=SANDBOX, simulator=SandboxSimulator)
"""


def test_one_class_and_one_fixture_are_all_it_takes(tmp_path: Path) -> None:
    done = run(tmp_path, GOOD, "--channel-matrix")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| sandbox |" in done.stdout


def test_a_case_that_is_not_given_fails(tmp_path: Path) -> None:
    done = run(
        tmp_path, "from paycore.testing.conformance import ChannelConformance\nclass TestMine(ChannelConformance): ..."
    )
    assert done.returncode == 1
    assert "gives the fixture `case`" in done.stdout
    assert "passed" not in done.stdout


def test_a_case_that_skips_fails(tmp_path: Path) -> None:
    done = run(tmp_path, GOOD.replace("return Case(kind=SANDBOX, simulator=SandboxSimulator)", 'pytest.skip("later")'))
    assert done.returncode == 1
    assert "skipped" not in done.stdout.splitlines()[-1]
    assert "keeps all of it" in done.stdout


def test_what_is_skipped_from_outside_fails(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(
        textwrap.dedent("""
            import pytest

            @pytest.fixture(autouse=True)
            def lenient(request):
                if "byte" in request.node.name:
                    pytest.skip("it is slow")

            def pytest_collection_modifyitems(items):
                for item in items:
                    if "duplicated" in item.name:
                        item.add_marker(pytest.mark.xfail)
                    if "secret" in item.name:
                        item.add_marker(pytest.mark.skip)
        """)
    )
    done = run(tmp_path, GOOD, "-k", "byte or duplicated or secret_is_in_any_log")
    assert done.returncode == 1
    assert done.stdout.count("takes no excuses") >= 3, done.stdout
    assert not {"passed", "skipped", "xfailed"} & set(done.stdout.splitlines()[-1].replace(",", "").split())
