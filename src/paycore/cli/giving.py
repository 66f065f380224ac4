"""How a merchant's settings come in: from a file, from stdin or asked one by one; a secret never from the command line."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paycore.cli.exits import ExitCode, Sorry
from paycore.cli.screen import clean

if TYPE_CHECKING:
    from paycore.channel import ChannelKind, Setting

MOST_BYTES = 256 * 1024


def settings_for(kind: ChannelKind, source: str | None, pairs: Sequence[str]) -> dict[str, str]:
    """Every setting of this kind, checked. Raises Sorry with the setting's name, never its value."""
    given = _pairs(kind, pairs)
    if source is not None:
        given |= _document(source)
    elif sys.stdin.isatty():
        given |= _asked([one for one in kind.settings if one.name not in given])
    elif not given:
        raise Sorry("There are no settings; give --settings FILE, or - for stdin.", ExitCode.USAGE)
    return checked(kind, given)


def checked(kind: ChannelKind, given: Mapping[str, Any]) -> dict[str, str]:
    """The settings as the kind wants them, defaults filled in."""
    known = {setting.name: setting for setting in kind.settings}
    strange = sorted(given.keys() - known.keys())
    if strange:
        raise Sorry(f"{kind.name} has no setting {clean(', '.join(strange))}; it takes {', '.join(known)}.")
    values: dict[str, str] = {}
    for name, setting in known.items():
        value = given.get(name, setting.default)
        if not isinstance(value, str):
            raise Sorry(f"The setting {name} is not a text.")
        if not value and setting.required:
            raise Sorry(f"The setting {name} ({setting.title.en}) is missing.")
        if value and setting.pattern and re.fullmatch(setting.pattern, value) is None:
            raise Sorry(f"The setting {name} ({setting.title.en}) does not have the form that {kind.name} wants.")
        if value:
            values[name] = value
    return values


def _pairs(kind: ChannelKind, pairs: Sequence[str]) -> dict[str, str]:
    secrets = {setting.name for setting in kind.settings if setting.secret}
    given: dict[str, str] = {}
    for pair in pairs:
        name, is_pair, value = pair.partition("=")
        if not is_pair:
            raise Sorry("--set takes NAME=VALUE.", ExitCode.USAGE)
        if name in secrets:
            raise Sorry(
                f"{name} is a secret and does not belong on the command line; give it by --settings.", ExitCode.USAGE
            )
        given[name] = value
    return given


def _document(source: str) -> dict[str, Any]:
    """The settings in a JSON or TOML document. What is wrong with it is said without repeating any of it."""
    text = _read(source)
    readers: tuple[Callable[[str], Any], ...] = (json.loads, tomllib.loads)
    for reader in readers:
        try:
            document = reader(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(document, dict):
            return document
    raise Sorry("The settings are neither a JSON object nor TOML.", ExitCode.USAGE)


def _read(source: str) -> str:
    try:
        data = sys.stdin.buffer.read(MOST_BYTES + 1) if source == "-" else Path(source).read_bytes()
        if len(data) > MOST_BYTES:
            raise Sorry("The settings are too large.", ExitCode.USAGE)
        return data.decode("utf-8")
    except (OSError, UnicodeDecodeError):
        raise Sorry(f"The settings in {clean(source)} cannot be read.", ExitCode.USAGE) from None


def _asked(settings: Sequence[Setting]) -> dict[str, str]:
    """Ask for each. `@FILE` stands for what is in a file, for keys that have several lines."""
    import typer

    given: dict[str, str] = {}
    for setting in settings:
        title = f"{setting.title.en} ({setting.name})"
        value: str = typer.prompt(
            title, default=setting.default, hide_input=setting.secret, show_default=bool(setting.default), err=True
        )
        given[setting.name] = _read(value[1:]).strip() if value.startswith("@") else value.strip()
    return given


def masked(kind: ChannelKind | None, settings: Mapping[str, str]) -> dict[str, str]:
    """The settings as they may be shown: secrets as dots, and everything as dots when nobody knows what is secret."""
    open_names = {setting.name for setting in kind.settings if not setting.secret} if kind is not None else set()
    return {name: value if name in open_names else "******" for name, value in settings.items()}
