"""Plugins: found one by one, looked over, reported, and kept at arm's length."""

import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from paycore.channel import AfterUnknown, ChannelVerb, Limit, NoticeReply, Operation, Setting, Text
from paycore.engine import host as host_module
from paycore.engine.host import (
    CRASHES,
    QUARANTINE,
    BadKind,
    Host,
    PluginRequired,
    PluginState,
    check_channel,
    check_kind,
)
from tests.engine.channels import METHODS, ScriptedChannel, kind_of

GOOD = """
    from paycore.channel import hookimpl
    from tests.engine.channels import kind_of

    @hookimpl
    def paycore_channels():
        return [kind_of(name="{name}")]
"""
PLUGINS = {
    "good": GOOD.format(name="good"),
    "good_too": GOOD.format(name="good_too"),
    "impostor": GOOD.format(name="good"),
    "fails_to_import": "import a_module_that_is_not_there",
    "syntax": "def paycore_channels(:",
    "leaves": "import sys; sys.exit(3)",
    "interrupts": "raise KeyboardInterrupt",
    "odd": """
        class Odd(BaseException):
            pass

        raise Odd
    """,
    "no_hook": "x = 1",
    "hangs": """
        import time

        time.sleep(3)
    """,
    "hangs_when_asked": """
        import time
        from paycore.channel import hookimpl

        @hookimpl
        def paycore_channels():
            time.sleep(3)
            return []
    """,
    "misspelt": """
        from paycore.channel import hookimpl

        @hookimpl
        def paycore_chanels():
            return []
    """,
    "raises": """
        from paycore.channel import hookimpl

        @hookimpl
        def paycore_channels():
            raise RuntimeError("canary secret")
    """,
    "not_kinds": """
        from paycore.channel import hookimpl

        @hookimpl
        def paycore_channels():
            return ["alipay"]
    """,
    "not_iterable": """
        from paycore.channel import hookimpl

        @hookimpl
        def paycore_channels():
            return 7
    """,
    "old": """
        from paycore.channel import hookimpl
        from tests.engine.channels import kind_of

        @hookimpl
        def paycore_channels():
            return [kind_of(name="old", api_version=0)]
    """,
    "twins": """
        from paycore.channel import hookimpl
        from tests.engine.channels import kind_of

        @hookimpl
        def paycore_channels():
            return [kind_of(name="twin"), kind_of(name="twin")]
    """,
}


@pytest.fixture
def points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., list[EntryPoint]]]:
    """Makes plugins that can be imported, and gives their entry points."""
    monkeypatch.syspath_prepend(str(tmp_path))
    for name, text in PLUGINS.items():
        (tmp_path / f"plugin_{name}.py").write_text(textwrap.dedent(text))

    def make(*names: str) -> list[EntryPoint]:
        return [EntryPoint(name, f"plugin_{name}", "paycore.channels") for name in names]

    yield make
    for name in PLUGINS:
        sys.modules.pop(f"plugin_{name}", None)


@pytest.mark.parametrize(
    ("broken", "problem"),
    [
        ("fails_to_import", "It could not be loaded: ModuleNotFoundError."),
        ("syntax", "It could not be loaded: SyntaxError."),
        ("leaves", "It could not be loaded: SystemExit."),
        ("interrupts", "It could not be loaded: KeyboardInterrupt."),
        ("odd", "It could not be loaded: Odd."),
        ("hangs", "It could not be loaded in 0.5 s."),
        ("hangs_when_asked", "It could not be loaded in 0.5 s."),
        ("no_hook", "It has neither the hook paycore_channels nor paycore_offers."),
        ("misspelt", "It implements a hook that paycore does not have."),
        ("raises", "It could not be loaded: RuntimeError."),
        ("not_kinds", "It describes a str, which is no ChannelKind."),
        ("not_iterable", "It could not be loaded: TypeError."),
        ("old", "It was made for version 0 of the channel API; this is 1."),
        ("twins", "Another plugin already gives the channel twin."),
    ],
)
def test_a_broken_plugin_is_reported_and_the_others_are_loaded(
    points: Callable[..., list[EntryPoint]], broken: str, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "hangs" in broken:
        monkeypatch.setattr(host_module, "LOAD_SECONDS", 0.5)
    host = Host.load(entry_points=points("good", broken, "good_too"))
    assert set(host.kinds) == {"good", "good_too"}
    report = next(one for one in host.reports if one.plugin == broken)
    assert (report.state, report.problem) == (PluginState.BROKEN, problem)
    assert all(one.state is PluginState.LOADED for one in host.reports if one.plugin != broken)


def test_a_second_plugin_cannot_take_a_channels_name(points: Callable[..., list[EntryPoint]]) -> None:
    host = Host.load(entry_points=points("good", "impostor"))
    assert host.kinds.keys() == {"good"}
    assert [one.state for one in host.reports] == [PluginState.LOADED, PluginState.BROKEN]


def test_a_required_plugin_that_is_broken_stops_the_start(points: Callable[..., list[EntryPoint]]) -> None:
    assert Host.load(entry_points=points("good"), required=["good"]).kinds.keys() == {"good"}
    with pytest.raises(PluginRequired, match="raises"):
        Host.load(entry_points=points("good", "raises"), required=["good", "raises"])
    with pytest.raises(PluginRequired, match="absent"):
        Host.load(entry_points=points("good"), required=["absent"])


def test_only_what_is_allowed_is_even_imported(points: Callable[..., list[EntryPoint]]) -> None:
    host = Host.load(entry_points=points("good", "good_too", "leaves"), allow=["good", "leaves"], deny=["leaves"])
    assert host.kinds.keys() == {"good"}
    assert {one.plugin: one.state for one in host.reports} == {
        "good": PluginState.LOADED,
        "good_too": PluginState.DENIED,
        "leaves": PluginState.DENIED,
    }
    assert "plugin_good_too" not in sys.modules


def test_the_sandbox_is_found_by_its_entry_point() -> None:
    host = Host.load(required=["sandbox"])
    report = next(one for one in host.reports if one.plugin == "sandbox")
    assert (report.distribution, report.channels, report.problem) == ("paycore-sandbox", ("sandbox",), "")
    assert "sandbox" in host.simulators()


def test_a_simulator_that_cannot_be_made_is_left_out() -> None:
    def broken() -> Any:
        raise KeyError("canary")

    kinds = Host.load(required=["sandbox"]).kinds
    host = Host([replace(kinds["sandbox"], name="sandbox_too", simulator=broken), kinds["sandbox"]])
    assert host.simulators().keys() == {"sandbox"}


# ---------------------------------------------------------------------------------------------- looking over


QR = METHODS[0]


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"name": "Ali Pay"}, "name"),
        ({"name": ""}, "name"),
        ({"methods": ()}, "at least one method"),
        ({"methods": (QR, QR)}, "two methods"),
        ({"verbs": frozenset({ChannelVerb.QUERY})}, "prepare"),
        ({"verbs": frozenset({*ChannelVerb, "launder"})}, "does not have"),
        ({"methods": (replace(QR, scene="telepathy"),)}, "scene"),
        ({"methods": (replace(QR, limits={}),)}, "currency"),
        ({"methods": (replace(QR, limits={"RMB": Limit(1, 2)}),)}, "currency"),
        ({"methods": (replace(QR, limits={"CNY": Limit(0, 2)}),)}, "limit"),
        ({"methods": (replace(QR, limits={"CNY": Limit(3, 2)}),)}, "limit"),
        ({"methods": (replace(QR, expiry_min_seconds=90, expiry_max_seconds=60),)}, "expiry"),
        (
            {
                "methods": (replace(QR, after_unknown=AfterUnknown.QUERY_THEN_CLOSE),),
                "verbs": frozenset({ChannelVerb.PREPARE, ChannelVerb.QUERY}),
            },
            "query and close",
        ),
        ({"settings": (Setting("a", Text("", ""), pattern="("),)}, "pattern"),
        ({"settings": (Setting("a", Text("", "")), Setting("a", Text("", "")))}, "two settings"),
        ({"settings": (Setting("a", Text("", ""), identity=True, secret=True),)}, "identity"),
        ({"environments": ()}, "environment"),
        ({"statements": ()}, "statement"),
        ({"refresh_seconds": 3600}, "refresh"),
        ({"verbs": frozenset(ChannelVerb), "refresh_seconds": None}, "refresh"),
        ({"verbs": frozenset(ChannelVerb), "refresh_seconds": 1}, "too soon"),
        ({"operations": ()}, "operate"),
        ({"operations": (Operation("remind", Text("", "")),) * 2}, "names of their own"),
        ({"operations": (Operation("Re mind", Text("", "")),)}, "names of their own"),
        ({"notice_window_seconds": 0}, "window"),
        ({"refusals": {}}, "no answer for"),
        ({"refusals": {case: NoticeReply(99) for case in kind_of().refusals}}, "malformed"),
        ({"refusals": {case: NoticeReply(200, {"a": "b\r\nc"}) for case in kind_of().refusals}}, "malformed"),
    ],
)
def test_a_description_that_does_not_hold_together_is_refused(changes: dict[str, Any], word: str) -> None:
    with pytest.raises(BadKind, match=word):
        check_kind(kind_of(**changes))


def test_a_description_that_holds_together_is_taken() -> None:
    check_kind(kind_of())
    verbs = frozenset({ChannelVerb.PREPARE})
    check_kind(kind_of(methods=METHODS[:1], verbs=verbs, refusals={}))  # a channel that reads no notices answers none


def test_an_opened_channel_has_every_verb_that_it_declares() -> None:
    class Half:
        merchant = "M1"

        def prepare(self, ask: object) -> None: ...

    with pytest.raises(ValueError, match="close, confirm, operate, query"):
        check_channel(kind_of(), Half())  # type: ignore[arg-type]
    check_channel(kind_of(verbs=frozenset({ChannelVerb.PREPARE})), Half())  # type: ignore[arg-type]
    for nobody in ("", None, 7, "M\0"):
        with pytest.raises(ValueError, match="whose account"):
            check_channel(kind_of(), ScriptedChannel(merchant=nobody))  # type: ignore[arg-type]


# ---------------------------------------------------------------------------------------------- conduct


def test_five_crashes_in_a_row_are_a_quarantine_that_ends() -> None:
    host, now = Host([kind_of()]), 1_000
    for _ in range(CRASHES - 1):
        host.crashed("scripted", "query", "it raised KeyError", now)
    assert host.is_shaky("scripted")
    assert not host.is_quarantined("scripted", now)
    host.crashed("scripted", "query", "it raised KeyError", now)
    assert host.is_quarantined("scripted", now)
    assert host.is_quarantined("scripted", now + QUARANTINE - 1)
    assert not host.is_quarantined("scripted", now + QUARANTINE)
    assert host.last_problem("scripted") == "query: it raised KeyError"


def test_one_good_answer_forgives() -> None:
    host = Host([kind_of()])
    for _ in range(CRASHES):
        host.crashed("scripted", "query", "it raised KeyError", 0)
    host.behaved("scripted")
    assert not host.is_quarantined("scripted", 0)
    assert not host.is_shaky("scripted")


def test_what_strangers_can_provoke_is_no_quarantine() -> None:
    host = Host([kind_of()])
    for _ in range(CRASHES * 2):
        host.crashed("scripted", "read_notice", "it raised KeyError", 0, counts=False)
    assert not host.is_quarantined("scripted", 0)
    assert host.last_problem("scripted")
