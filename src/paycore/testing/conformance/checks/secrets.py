"""Secrets never show: not in a repr, not in an error, not in a log, not in what leaves us in the open."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator
from typing import Any

from paycore.channel import ChannelVerb, Forged, KeyState, Lie, Request
from paycore.engine.carrier import redacted
from paycore.testing.conformance.checks.quiet import conversations
from paycore.testing.conformance.stand import Stand, raw_notice

CHUNK = 20
"""A secret that is cut into pieces is still one."""


class Secrets:
    """Secrets, and what payers hand in, stay where they are used."""

    def test_no_secret_is_in_any_repr(self, stand: Stand) -> None:
        keys = stand.keys((stand.settings, KeyState.ACTIVE))
        shown = [repr(keys), str(keys), repr(stand.channel), str(stand.channel), *_reprs(stand.channel)]
        assert _leaks(stand, shown) == []

    def test_no_secret_is_in_any_log(self, stand: Stand) -> None:
        with _listening() as lines:
            self._live(stand)
        assert _leaks(stand, lines) == []
        given = [value for method in stand.kind.methods for value in _inputs(stand, method)]
        assert [value for value in given if any(value in line for line in lines)] == [], (
            "what a payer handed in is logged"
        )

    def test_no_secret_leaves_in_the_open(self, stand: Stand) -> None:
        """What is sent, with everything masked that the request says to mask, as a log would show it."""
        shown: list[str] = []
        for _, begin in conversations(stand):
            heard = stand.listen(begin())
            shown += [_shown(request) for request in heard.requests]
            shown += [request.url for request in heard.requests]
            shown.append(repr(heard.finding))
        assert _leaks(stand, shown) == []

    def test_no_secret_is_in_any_error(self, stand: Stand) -> None:
        said: list[str] = []
        for setting in stand.kind.settings:
            for spoilt in (f"{stand.settings.get(setting.name, '')}!", "-----BEGIN PRIVATE KEY-----\nAAAA", "7"):
                try:
                    stand.open({**stand.settings, setting.name: spoilt})
                except Exception as error:  # noqa: BLE001 - whatever it raises is looked at
                    said += [str(error), repr(error), *map(repr, error.args)]
        assert _leaks(stand, said) == []

    def _live(self, stand: Stand) -> None:
        """Everything that a plugin may write about in a log: good days and bad ones."""
        for _, begin in conversations(stand):
            stand.listen(begin())
            stand.listen(begin(), lambda request, reply: None)
        if not stand.has(ChannelVerb.READ_NOTICE) or stand.main_method is None:
            return
        ask, request = stand.payment_notice()
        for forged in (request, *stand.simulator.forgeries(request, stand.now).values()):
            with contextlib.suppress(Forged):
                stand.channel.read_notice(raw_notice(forged), stand.now)
        stand.simulator.misreport(ask.payment_id, Lie.AMOUNT, stand.now)
        stand.notices()


def _inputs(stand: Stand, method: Any) -> list[str]:
    """What a payer hands in for this method that is long enough to tell from other words."""
    return [value for value in stand.case.inputs_of(method, 1).values() if len(value) >= 8]


def _secrets(stand: Stand) -> Iterator[str]:
    """Every secret setting, whole and in chunks, without the words around a PEM key.

    A chunk that stands in an open setting too is none: a certificate holds the modulus of its private key.
    """
    secret_names = {setting.name for setting in stand.kind.settings if setting.secret}
    public = "".join(
        line for name, value in stand.settings.items() if name not in secret_names for line in value.splitlines()
    )
    for setting in stand.kind.settings:
        value = stand.settings.get(setting.name, "")
        if not setting.secret or not value:
            continue
        yield value
        bare = "".join(line for line in value.splitlines() if not line.startswith("-----"))
        if len(bare) >= 2 * CHUNK:
            chunks = (bare[place : place + CHUNK] for place in range(CHUNK, len(bare) - CHUNK, CHUNK))
            yield from (chunk for chunk in chunks if chunk not in public)


def _leaks(stand: Stand, shown: list[str]) -> list[str]:
    """The places where a secret shows, cut so that the report does not repeat it."""
    secrets = list(_secrets(stand))
    return [f"{text[:12]}…" for text in shown if any(secret in text for secret in secrets)]


def _reprs(value: Any) -> list[str]:
    """What the parts of an object show, two levels deep, as a debugger or a traceback would."""
    parts = _parts(value)
    return [repr(part) for one in parts for part in (one, *_parts(one))]


def _parts(value: Any) -> list[Any]:
    """An object's attributes and the elements of what is a collection."""
    slots = [name for name in getattr(type(value), "__slots__", ()) if name != "_value"]
    held: list[Any] = [*getattr(value, "__dict__", {}).values(), *(getattr(value, name, None) for name in slots)]
    if isinstance(value, dict):
        held += value.values()
    elif isinstance(value, list | tuple | set | frozenset):
        held += value
    return held


def _shown(request: Request) -> str:
    return json.dumps(redacted(request), ensure_ascii=False)


@contextlib.contextmanager
def _listening() -> Iterator[list[str]]:
    """Every line that anybody logs, at every level, as it would be written."""
    lines: list[str] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    root, ear = logging.getLogger(), Ear(logging.NOTSET)
    before = root.level
    root.addHandler(ear)
    root.setLevel(logging.NOTSET)
    try:
        yield lines
    finally:
        root.removeHandler(ear)
        root.setLevel(before)
