"""The README tells the truth: its first payment can be made as it is written, its snippets run."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.running import Outcome, command, environment
from tests.cli.test_serving import Running, press_pay, serving

README = Path(__file__).resolve().parents[2] / "README.md"
TWIN = README.with_name("README.zh-CN.md")


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(tmp_path_factory.mktemp("readme"), "--dev", "--simulators") as running:
        yield running


def written(dev: Running, word: str, **known: str) -> Outcome:
    """The README's command with this word in it, its placeholders filled in."""
    line = next(line for block in blocks(README, "sh") for line in block.splitlines() if word in line)
    for placeholder, value in known.items():
        line = line.replace(f"{placeholder}...", value)
    variables = {
        "PAYCORE_API_KEY": dev.key,
        "PAYCORE_TARGET": dev.target,
        "PAYCORE_DATABASE_URL": f"sqlite:///{dev.folder}/paycore.db",
    }
    done = command(*shlex.split(line, comments=True)[1:], variables=variables)
    assert done.code == 0, (line, done.err)
    return done


def test_the_first_payment_is_made_as_it_is_written(dev: Running) -> None:
    order = written(dev, "call CreateOrder").json["order"]["order_id"]
    [step] = written(dev, "call PayOrder '", **{"or": order}).json["payment"]["action"]["steps"]
    assert step["kind"] == "qr"
    press_pay(json.loads(step["params_json"])["content"])
    watched = written(dev, "call WatchOrder", **{"or": order}).lines
    assert watched[-1]["end"]["reason"] == "END_REASON_FINAL"
    assert "The order is paid by payment" in written(dev, "orders explain").out
    assert written(dev, "call CreateRefund").json["refund"]["amount"]["amount_minor"] == "300"
    assert "PayOrder" in written(dev, "call --list").out
    assert "channel" in written(dev, "PayOrder --template").json


def test_the_python_snippets_run(dev: Running, tmp_path: Path) -> None:
    said = []
    for snippet in blocks(README, "python"):
        variables = environment(tmp_path, PAYCORE_API_KEY=dev.key, PAYCORE_TARGET=dev.target)
        done = subprocess.run(
            [sys.executable, "-c", snippet], capture_output=True, text=True, timeout=50, env=variables, check=False
        )
        assert done.returncode == 0, done.stderr
        said.append(done.stdout)
    assert "ORDER_NOT_PAID" in said[0]
    assert "snapshot" in said[1]


@pytest.mark.parametrize("language", ["python", "js"])
def test_the_twin_has_the_same_snippets(language: str) -> None:
    assert blocks(README, language)
    assert blocks(README, language) == blocks(TWIN, language)
