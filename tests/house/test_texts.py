"""No file that we keep names a registry, a place on somebody's machine, or a secret, or leaves work for later."""

from __future__ import annotations

import re

import pytest

from tests.house.sources import texts

THIS = "tests/house/test_texts.py"

FORBIDDEN = {
    "a registry's host": r"pypi\.org|pythonhosted\.org|registry\.npmjs|npmmirror|mirrors?\.[a-z0-9-]+\.(com|cn|org|net|edu)"
    r"|--(extra-)?index-url|--find-links",
    "a place on one machine": r"(?<![\w.~/$-])/(root|work|home|Users)/\w",
    "a private key": r"-----BEGIN (RSA |EC |ENCRYPTED |OPENSSH )?PRIVATE KEY-----\s*\n?[A-Za-z0-9+/=]{16}",
    "an access token": r"\b(AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{36}|xox[bap]-[0-9A-Za-z-]{10,}|sk_live_[0-9A-Za-z]{16,})",
    "work left for later": r"\b(TODO|FIXME|HACK)\b",
}
SAMPLES = {
    "a registry's host": "https://" + "pypi.org/simple",
    "a place on one machine": "see /" + "root/notes.txt",
    "a private key": "-----BEGIN PRIVATE KEY-----\n" + "MIGHAgEAMBMGByqGSM49",
    "an access token": "AKIA" + "ABCDEFGHIJKLMNOP",
    "work left for later": "# TO" + "DO: later",
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_file_names(what: str) -> None:
    pattern = re.compile(FORBIDDEN[what])
    found = [
        f"{name}:{text[: match.start()].count(chr(10)) + 1}: {match.group()[:40]}"
        for name, text in texts()
        if name != THIS
        for match in pattern.finditer(text)
    ]
    assert found == []


@pytest.mark.parametrize("what", FORBIDDEN)
def test_it_would_be_seen(what: str) -> None:
    assert re.search(FORBIDDEN[what], SAMPLES[what])


def test_many_files_are_read() -> None:
    names = {name for name, _ in texts()}
    assert {"README.md", "Makefile", "pyproject.toml", "src/paycore/core/decide.py"} <= names
