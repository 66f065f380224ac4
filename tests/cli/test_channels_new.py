"""`paycore channels new`: a folder that can be worked on at once, and a name that is one."""

from __future__ import annotations

import ast
import subprocess
import tomllib
from pathlib import Path

import pytest

from paycore.cli.scaffolding import AlreadyThere, BadName, scaffold
from tests.cli.running import command
from tests.house.sources import BIN, HOUSE


def test_it_makes_a_folder_and_says_what_to_do_next(tmp_path: Path) -> None:
    done = command("channels", "new", "acme", "--into", str(tmp_path))
    assert done.code == 0, done.err
    assert "pytest" in done.out
    assert (tmp_path / "acme/src/paycore_acme/channel.py").exists()
    made = command("channels", "new", "other", "--into", str(tmp_path), "--json").json
    assert made["folder"] == str(tmp_path / "other")
    assert sorted(map(Path, made["files"])) == sorted(
        path for path in (tmp_path / "other").rglob("*") if path.is_file()
    )


@pytest.mark.parametrize(
    "name", ["", "Acme", "1pay", "acme-pay", "acme pay", "../acme", "a" * 33, "class", "paycore", "阿里"]
)
def test_a_name_that_is_none_makes_nothing(tmp_path: Path, name: str) -> None:
    done = command("channels", "new", "--into", str(tmp_path), "--", name)
    assert done.code == 2
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(BadName):
        scaffold(name, tmp_path)


def test_what_is_there_already_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "acme").mkdir()
    (tmp_path / "acme/mine.py").write_text("mine")
    done = command("channels", "new", "acme", "--into", str(tmp_path))
    assert done.code == 1
    assert "already" in done.err
    assert [path.name for path in (tmp_path / "acme").iterdir()] == ["mine.py"]
    (tmp_path / "file").write_text("")
    with pytest.raises(AlreadyThere):
        scaffold("file", tmp_path)


@pytest.mark.parametrize(("name", "camel"), [("acme", "Acme"), ("my_pay2", "MyPay2"), ("zeta", "Zeta")])
def test_every_name_is_put_in_everywhere(tmp_path: Path, name: str, camel: str) -> None:
    made = scaffold(name, tmp_path)
    texts = {path: path.read_text() for path in made}
    if name != "acme":
        assert [path for path, text in texts.items() if "acme" in text.lower()] == []
    described = tomllib.loads((tmp_path / name / "pyproject.toml").read_text())
    assert described["project"]["name"] == f"paycore-{name.replace('_', '-')}"
    assert described["project"]["entry-points"]["paycore.channels"] == {name: f"paycore_{name}"}
    channel = (tmp_path / name / f"src/paycore_{name}/channel.py").read_text()
    assert f"class {camel}Channel" in channel
    for path in made:
        if path.suffix == ".py":
            ast.parse(path.read_text())
    wire = (tmp_path / name / f"src/paycore_{name}/wire.py").read_text()
    assert f'"{name.replace("_", "-")}-signature"' in wire, "a header has no underscore: proxies drop those"


def test_what_is_made_is_clean(tmp_path: Path) -> None:
    """By the house's own rules: the templates are read by nobody else."""
    scaffold("acme", tmp_path)
    ruff, config = str(BIN / "ruff"), str(HOUSE / "pyproject.toml")
    for words in (["check", "--ignore", "I001"], ["format", "--check"]):
        done = subprocess.run(
            [ruff, *words, "--no-cache", "--config", config, str(tmp_path / "acme")], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
