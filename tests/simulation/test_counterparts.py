"""Any plugin can be at the other end: one that a stranger just wrote by the guide, and the sandbox asked as if it were a stranger's."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from typer.testing import CliRunner

from paycore.channel import ChannelKind, Paid, PaymentAsk, Request, Silence
from paycore.cli.main import app
from paycore.testing.simulation import running, world
from paycore.testing.simulation.__main__ import main
from paycore.testing.simulation.counterparts import NoSuchChannel, maker_of
from paycore.testing.simulation.counterparts.listening import Listener
from paycore.testing.simulation.counterparts.plugged import PluggedMaker
from paycore.testing.simulation.keys import parsing_once
from paycore.testing.simulation.options import Roads, draw
from paycore.testing.simulation.report import story
from paycore.testing.simulation.running import run_seed
from paycore_sandbox import SANDBOX
from tests.conformance import guide

SEEDS = range(8)


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ChannelKind:
    """The kind of a plugin that was made by the guide."""
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["channels", "new", "acme"])
    assert done.exit_code == 0, done.output
    guide.follow(tmp_path / "acme")
    monkeypatch.syspath_prepend(str(tmp_path / "acme/src"))
    kind: ChannelKind = importlib.import_module("paycore_acme.kind").ACME
    return kind


def play(monkeypatch: pytest.MonkeyPatch, kind: ChannelKind) -> Iterator[running.Outcome]:
    """Some worlds with this plugin, found past the installed ones."""
    maker = PluggedMaker(kind)
    for module in (running, world):
        monkeypatch.setattr(module, "maker_of", lambda channel: maker)
    for seed in SEEDS:
        yield run_seed(seed, channel=kind.name)


def test_a_plugin_made_by_the_guide_is_played_with(acme: ChannelKind, monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = list(play(monkeypatch, acme))
    for outcome in outcomes:
        assert not outcome.violation, story(outcome)
    assert sum(outcome.promises for outcome in outcomes) > 100
    again = run_seed(SEEDS[-1], channel="acme")
    assert again.digest == outcomes[-1].digest, "its simulator takes a seed"


def test_the_sandbox_is_played_with_as_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    for outcome in play(monkeypatch, SANDBOX):
        assert not outcome.violation, story(outcome)


def test_a_channel_that_nobody_installed_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(NoSuchChannel):
        maker_of("nonsense")
    with pytest.raises(SystemExit):
        main(["--channel", "nonsense", "1"])
    assert "no installed plugin has a channel nonsense" in capsys.readouterr().err


def test_a_story_says_how_to_see_it_again() -> None:
    assert "replay it by: make storm SEED=4\n" in story(run_seed(4))
    assert "replay it by: make storm CHANNEL=appleiap SEED=4\n" in story(run_seed(4, channel="appleiap"))


@pytest.mark.parametrize("channel", ["alipay", "wechatpay", "appleiap"])
def test_a_channel_takes_out_of_a_world_what_it_does_not_have(channel: str) -> None:
    maker = maker_of(channel)
    fitted = [maker.fitted(draw(seed, channel)) for seed in range(60)]
    assert {options.pays_other_merchants for options in fitted} == {0.0}
    sells = channel == "appleiap"
    assert {options.roads for options in fitted} == (set(Roads) - {Roads.NOTICES} if sells else set(Roads))


# ---------------------------------------------------------------------------------------------- listening


def listen(verb: Any) -> tuple[Listener, Any]:
    """A channel with this one query, listened to."""

    class Scripted:
        merchant = "M1"
        query = staticmethod(verb)

    listener = Listener()
    return listener, listener.around(lambda keys: Scripted())(None)  # type: ignore[arg-type]


def asking(payment_id: str) -> Any:
    class Ask:
        def __init__(self) -> None:
            self.payment_id = payment_id

    return Ask()


def test_every_request_of_a_verb_is_understood() -> None:
    def query(ask: PaymentAsk) -> Any:
        yield Request("POST", "https://gate/1")
        try:
            yield Request("POST", "https://gate/2")
        except Silence:
            return Paid(1, "CNY", "M1")

    listener, channel = listen(query)
    conversation = channel.query(asking("py1"))
    first = next(conversation)
    second = conversation.send("a reply")
    assert [listener.understand(one).row_id for one in (first, second)] == ["py1", "py1"]
    assert all(listener.understand(one).asks for one in (first, second))
    with pytest.raises(StopIteration) as ended:
        conversation.throw(Silence("no answer"))
    assert ended.value.value == Paid(1, "CNY", "M1")
    assert (list(listener.payment_ids), listener.merchant) == (["py1"], "M1")


def test_keys_are_parsed_once_and_only_while_a_world_runs() -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    raw = key.private_bytes(serialization.Encoding.PEM, form, plain)
    with parsing_once():
        first, second = (serialization.load_pem_private_key(raw, password=None) for _ in range(2))
        assert first is second
    assert serialization.load_pem_private_key(raw, password=None) is not first
