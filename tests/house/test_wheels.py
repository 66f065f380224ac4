"""What is installed is whole: the wheel can migrate a database, and asks a caller for little."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from tests.house.sources import DISTRIBUTIONS, HOUSE, project


def build(distribution: Path, into: Path) -> zipfile.ZipFile:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(into)]
    done = subprocess.run(command, cwd=distribution, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr
    return zipfile.ZipFile(next(into.glob("*.whl")))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    return build(HOUSE, tmp_path_factory.mktemp("wheel"))


def metadata(wheel: zipfile.ZipFile) -> list[str]:
    name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return Parser().parsestr(wheel.read(name).decode()).get_all("Requires-Dist") or []


def test_the_wheel_carries_the_migrations(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()
    assert "paycore/store/migrations/env.py" in names
    assert [name for name in names if name.startswith("paycore/store/migrations/versions/") and name.endswith(".py")]


def test_the_wheel_is_all_of_the_source_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    source = {
        path.relative_to(HOUSE / "src").as_posix()
        for path in (HOUSE / "src/paycore").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in wheel.namelist() if ".dist-info/" not in name} == source
    assert "paycore/py.typed" in source


def test_a_caller_installs_stubs_and_client_only(wheel: zipfile.ZipFile) -> None:
    base = [line for line in metadata(wheel) if "extra ==" not in line]
    assert {line.split(">")[0].split("<")[0].strip() for line in base} == {
        "grpcio",
        "grpcio-status",
        "protobuf",
        "googleapis-common-protos",
    }


@pytest.mark.parametrize("distribution", DISTRIBUTIONS[1:], ids=lambda distribution: project(distribution)["name"])
def test_the_other_distributions_build(distribution: Path, tmp_path: Path) -> None:
    names = build(distribution, tmp_path).namelist()
    assert [name for name in names if name.endswith("py.typed")]
