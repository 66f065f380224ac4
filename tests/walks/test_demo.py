"""`paycore demo`, as a stranger runs it: everything that it promises is shown, and it leaves nothing behind."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from paycore.engine.host import Host
from paycore_bridge import qr
from tests.cli.running import Outcome, environment, paycore

OURS = ["app", "qr", "offer", "refunds", "expiry", "late"]
MONEY_COMES_BACK = ["app", "qr", "web", "refund"]
THEIRS = {"alipay": MONEY_COMES_BACK, "appleiap": ["store"], "wechatpay": MONEY_COMES_BACK}
SCENES = [*OURS, *(f"{channel}.{story}" for channel, stories in THEIRS.items() for story in stories), "audit"]
TWO_MINUTES = 120.0
SLEEPY = pytest.mark.timeout(150)


def demo(folder: Path, *words: str) -> Outcome:
    (folder / "tmp").mkdir(exist_ok=True)
    wrong = {
        "PAYCORE_DATABASE_URL": "postgresql+psycopg://nobody:secret@127.0.0.1:1/none",
        "PAYCORE_GRPC_LISTEN": "0.0.0.0:1",
        "TMPDIR": str(folder / "tmp"),
    }
    return paycore("demo", *words, home=folder, variables=wrong, seconds=TWO_MINUTES)


@SLEEPY
def test_the_demo_tells_every_story_for_programs(tmp_path: Path) -> None:
    done = demo(tmp_path, "--json")
    assert done.code == 0, done.err
    told: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in done.lines:
        told[line["scene"]].append(line)
    assert [line["channels"] for line in told[""] if "channels" in line] == [list(THEIRS)]
    assert [scene for scene in told if scene] == SCENES
    assert all(any(line["what"] == "good" for line in told[scene]) for scene in SCENES)
    assert [line["kind"] for line in told["app"] if line["what"] == "action"] == ["sdk", "redirect"]
    assert "orderString" in told["app"][_at(told["app"], "action")]["params"]["arguments"]
    assert kinds(told["app"]) == ["payment.created", "payment.succeeded", "order.paid"]
    assert kinds(told["qr"])[-2:] == ["payment.succeeded", "order.paid"]
    assert kinds(told["offer"])[-2:] == ["payment.succeeded", "order.paid"]
    assert any("5.00 off by QR code" in line.get("text", "") for line in told["offer"])
    assert kinds(told["refunds"]).count("refund.succeeded") == 2
    assert kinds(told["expiry"])[-3:] == ["order.closing", "payment.closed", "order.closed"]
    assert told["expiry"][_at(told["expiry"], "good")]["calls"][-2:] == ["trades/query", "trades/close"]
    assert {"payment.succeeded", "refund.created", "refund.succeeded"} <= set(kinds(told["late"]))
    for channel, stories in THEIRS.items():
        check_the_visit(channel, {story: told[f"{channel}.{story}"] for story in stories})
    for scene in SCENES[:-1]:
        versions = [line["version"] for line in told[scene] if line["what"] == "event"]
        assert versions == list(range(versions[0], versions[0] + len(versions)))
    assert told["audit"][-1]["what"] == "end"
    assert told["audit"][-1]["seconds"] < TWO_MINUTES
    assert list((tmp_path / "tmp").iterdir()) == []


def check_the_visit(channel: str, told: dict[str, list[dict[str, Any]]]) -> None:
    """What a channel is shown to do: every payment ends PAID by the channel's word, and a part of one comes back."""
    for story in told.keys() - {"refund", "store"}:
        assert kinds(told[story])[-2:] == ["payment.succeeded", "order.paid"], (channel, story)
    if "store" in told:
        assert [line["kind"] for line in told["store"] if line["what"] == "action"] == ["store_purchase"]
        paid_and_back = ["payment.succeeded", "order.paid", "payment.updated", "refund.created"]
        assert kinds(told["store"])[-4:] == paid_and_back, "the store gave it back by itself"
        return
    actions = {story: [line["kind"] for line in told[story] if line["what"] == "action"] for story in ("app", "web")}
    assert actions["app"] == ["sdk"]
    assert actions["web"][0] == "redirect"
    assert [line["raw_code"] for line in told["app"] if "raw_code" in line] == [
        {"alipay": "9000", "wechatpay": "0"}[channel]
    ]
    assert [line["content"] for line in told["qr"] if line["what"] == "code"]
    assert kinds(told["refund"])[-1] == "refund.succeeded"


def test_every_channel_with_a_simulator_is_shown() -> None:
    """Whoever adds a channel sees it in the demo, and here."""
    assert set(Host.load().simulators()) == {"sandbox", *THEIRS}


def kinds(lines: list[dict[str, Any]]) -> list[str]:
    return [line["kind"] for line in lines if line["what"] == "event"]


def _at(lines: list[dict[str, Any]], what: str) -> int:
    return next(at for at, line in enumerate(lines) if line["what"] == what)


@SLEEPY
def test_the_demo_shows_people_the_code_and_the_lines(tmp_path: Path) -> None:
    done = demo(tmp_path, "--keep")
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    content = next(line.strip() for line in lines if "/sandbox/pay/" in line)
    drawn = qr.terminal(qr.matrix(content), style=qr.Terminal.DARK)
    assert drawn in done.out
    assert done.out.count("▄▄▄▄▄▄▄") == drawn.count("▄▄▄▄▄▄▄"), "only the first code is drawn"
    assert any("order.paid" in line for line in lines)
    assert any("6001" in line or "9000" in line for line in lines)
    assert lines[-1].startswith("Everything went as it should")
    assert "\x1b" not in done.out
    [folder] = (tmp_path / "tmp").iterdir()
    assert f"kept in {folder}" in done.err
    assert (folder / "server.log").read_text() == ""
    again = paycore(
        "audit", "--json", home=tmp_path, variables={"PAYCORE_DATABASE_URL": f"sqlite:///{folder}/paycore.db"}
    )
    assert again.json["orders"] == 4 + sum(story != "refund" for stories in THEIRS.values() for story in stories)
    assert again.json["is_clean"]


@SLEEPY
def test_a_demo_that_differs_says_so_and_fails(tmp_path: Path) -> None:
    """The demo checks what it shows: here a channel that loses every notice and never answers a query."""
    (tmp_path / "tmp").mkdir()
    program = tmp_path / "spoilt.py"
    program.write_text(
        "from paycore.cli.demo import stage, street\n"
        "from paycore_sandbox.simulator import Fault, NoticeFault\n"
        "made = street.simulator\n"
        "def spoilt():\n"
        "    simulator = made()\n"
        "    simulator.faults.plan_notice(NoticeFault.LOST, times=1000)\n"
        "    simulator.faults.plan(Fault.LOST, 'trades/query', times=1000)\n"
        "    return simulator\n"
        "import paycore.cli.demo.house as house\n"
        "house.simulator = spoilt\n"
        "stage.PATIENCE_SECONDS = 3.0\n"
        "from paycore.cli.main import run\n"
        "raise SystemExit(run(['demo', '--json']))\n"
    )
    done = subprocess.run(
        [sys.executable, str(program)],
        capture_output=True,
        text=True,
        timeout=100,
        cwd=tmp_path,
        env=environment(tmp_path, TMPDIR=str(tmp_path / "tmp")),
        check=False,
    )
    assert done.returncode == 1
    error = json.loads(done.stderr.splitlines()[-1])["error"]
    assert error["text"].startswith("This differs from what was expected: PAID was not seen")
    assert "Traceback" not in done.stderr
    assert list((tmp_path / "tmp").iterdir()) == []
