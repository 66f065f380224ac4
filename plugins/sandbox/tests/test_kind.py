"""The plugin as a host finds it, and what it promises of itself."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import entry_points

import pluggy
import pytest

import paycore_sandbox
from paycore.channel import (
    ENTRY_POINT_GROUP,
    ChannelVerb,
    Environment,
    NoticeCase,
    Price,
    Secret,
    hookspec,
)
from paycore.channel import spec as paycore_spec
from paycore_bridge import ClientOutcome, StepKind
from paycore_sandbox import RESULT_CODES, SANDBOX, SandboxChannel, SandboxSimulator, outcome_of

from .support import BASE, account_of, version_of


def test_a_host_finds_the_plugin_by_its_entry_point() -> None:
    (found,) = [one for one in entry_points(group=ENTRY_POINT_GROUP) if one.name == "sandbox"]
    host = pluggy.PluginManager(hookspec.project_name)
    host.add_hookspecs(paycore_spec)
    host.register(found.load(), "sandbox")
    assert [list(kinds) for kinds in host.hook.paycore_channels()] == [[SANDBOX]]


def test_every_declared_verb_is_there() -> None:
    assert all(callable(getattr(SandboxChannel, verb.value)) for verb in SANDBOX.verbs)
    assert SANDBOX.verbs >= {ChannelVerb.PREPARE, ChannelVerb.QUERY, ChannelVerb.CLOSE, ChannelVerb.REFUND}


def test_there_is_no_production_and_an_answer_for_every_refusal() -> None:
    assert SANDBOX.environments == (Environment.SANDBOX,)
    assert set(SANDBOX.refusals) == set(NoticeCase)
    assert all(400 <= reply.status < 600 for reply in SANDBOX.refusals.values())


def test_methods_name_steps_that_exist_and_only_the_store_sets_prices() -> None:
    assert {method.name: method.price for method in SANDBOX.methods} == {
        "app": Price.EXACT,
        "qr": Price.EXACT,
        "redirect": Price.EXACT,
        "store": Price.STORE,
    }
    assert {kind for method in SANDBOX.methods for kind in method.step_kinds} <= set(StepKind)
    assert all(method.title.zh and method.title.en for method in SANDBOX.methods)


def test_the_simulators_settings_fit_the_declared_ones() -> None:
    settings = SandboxSimulator().settings(BASE)
    assert set(settings) == {setting.name for setting in SANDBOX.settings}
    for setting in SANDBOX.settings:
        assert re.fullmatch(setting.pattern, settings[setting.name])
    assert [setting.name for setting in SANDBOX.settings if setting.secret] == ["private_key"]
    assert [setting.name for setting in SANDBOX.settings if setting.identity] == ["merchant"]


@pytest.mark.parametrize(
    "url",
    ["http://pay.example", "ftp://a", "https://", "https://a@b", "http://localhost.evil.example", "https://a/b?c", ""],
)
def test_a_gateway_is_reached_by_tls_or_on_this_machine(url: str) -> None:
    (pattern,) = [setting.pattern for setting in SANDBOX.settings if setting.name == "base_url"]
    assert re.fullmatch(pattern, url) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("private_key", value) for value in ("", "canary!", "Y2FuYXJ5")),
        *(("channel_key", value) for value in ("", "canary!", "Y2FuYXJ5")),
        ("merchant", ""),
        ("base_url", ""),
    ],
)
def test_wrong_settings_are_refused_without_repeating_them(name: str, value: str) -> None:
    version = version_of(SandboxSimulator("kind").settings(BASE))
    wrong: str | Secret = Secret(value) if name == "private_key" else value
    spoilt = type(version)(1, version.state, dict(version.settings) | {name: wrong})
    with pytest.raises(ValueError, match=r"^(the (private|public) key|setting) ") as refused:
        SandboxChannel(account_of(spoilt, signing=spoilt))
    assert not value or value not in str(refused.value)


def test_versions_of_two_merchants_are_not_one_account() -> None:
    simulator = SandboxSimulator("kind")
    one, two = version_of(simulator.settings(BASE, "A"), 1), version_of(simulator.settings(BASE, "B"), 2)
    with pytest.raises(ValueError, match="different merchants"):
        SandboxChannel(account_of(one, two, signing=one))
    with pytest.raises(ValueError, match="at least one"):
        SandboxChannel(account_of())


def test_reading_an_sdk_code_is_total_and_only_one_claims_success() -> None:
    assert [code for code in RESULT_CODES if outcome_of(code) is ClientOutcome.SUCCESS_CLAIMED] == ["9000"]
    for code in ("", "9001", "success", "９０００", "9000 "):
        assert outcome_of(code) is ClientOutcome.UNKNOWN


def test_the_plugin_imports_only_the_public_api() -> None:
    script = (
        "import sys, paycore_sandbox; print(sorted(m for m in sys.modules"
        " if m.split('.')[0] in ('grpc', 'sqlalchemy', 'sqlmodel', 'httpx2', 'pydantic', 'asyncio')"
        " or m.startswith(('paycore.engine', 'paycore.store', 'paycore.rpc', 'paycore.cli', 'paycore.v1'))))"
    )
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert loaded.stdout.strip() == "[]"
    assert paycore_sandbox.__doc__
