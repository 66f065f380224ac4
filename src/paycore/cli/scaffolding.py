"""Makes the folder of a new channel plugin from the templates of this package: all of it runs, its verbs are to be written.

The templates are a real plugin for an invented channel, Acme; the name is put in where Acme's stands.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}", re.ASCII)
_ENDING = ".tmpl"
_TAKEN = frozenset({"paycore", "bridge", "package"})


class BadName(Exception):
    """The name is not one that a channel can have."""


class AlreadyThere(Exception):
    """There is something in the folder already."""


def scaffold(name: str, into: Path) -> list[Path]:
    """Make the plugin's folder and return its files. Raises BadName and AlreadyThere; then nothing was made."""
    if _NAME.fullmatch(name) is None or keyword.iskeyword(name) or name in _TAKEN:
        raise BadName("A channel's name is lower-case letters, digits and underscores, a letter first, at most 32.")
    folder = into / name
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise AlreadyThere(f"{folder} is there already.")
    texts = {folder / _path(place, name): _named(text, name) for place, text in _templates()}
    texts[folder / "src" / f"paycore_{name}" / "py.typed"] = ""
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return sorted(texts)


def _templates() -> Iterator[tuple[str, str]]:
    """Where each template belongs, and its text."""
    yield from _below(files("paycore.cli").joinpath("scaffold"), "")


def _below(folder: Traversable, path: str) -> Iterator[tuple[str, str]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _below(entry, f"{path}{entry.name}/")
        elif entry.name.endswith(_ENDING):
            yield path + entry.name.removesuffix(_ENDING), entry.read_text(encoding="utf-8")


def _path(place: str, name: str) -> str:
    return place.replace("src/package/", f"src/paycore_{name}/")


def _named(text: str, name: str) -> str:
    """The text with Acme's name replaced: in modules and kinds as it is, in headers with hyphens, in classes in capitals."""
    hyphened, camel = name.replace("_", "-"), "".join(part.capitalize() for part in name.split("_"))
    for old, new in (
        ('"acme-', f'"{hyphened}-'),
        ("paycore-acme", f"paycore-{hyphened}"),
        ("acme", name),
        ("ACME", name.upper()),
        ("Acme", camel or name),
    ):
        text = text.replace(old, new)
    return _sorted_imports(text)


def _sorted_imports(text: str) -> str:
    """Imports of one line in the order of their modules, which another name may have changed."""
    lines = text.split("\n")
    start = 0
    while start < len(lines):
        end = start
        while end < len(lines) and lines[end].startswith("from paycore") and not lines[end].endswith("("):
            end += 1
        lines[start:end] = sorted(lines[start:end], key=lambda line: line.split()[1])
        start = max(end, start + 1)
    return "\n".join(lines)
