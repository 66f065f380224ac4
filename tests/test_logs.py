"""Logs: one JSON line for each thing, and no secret in any form."""

from __future__ import annotations

import base64
import io
import json
import logging
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
import structlog

from paycore import logs

CANARY = "canary/9+b2=secret"


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    levels = {name: logging.getLogger(name).level for name in ("", "paycore")}
    handlers = logging.getLogger().handlers[:]
    logs.configure("info", stream)
    logs.hide([CANARY])
    yield stream
    structlog.reset_defaults()
    logs._hidden.clear()
    logging.getLogger().handlers[:] = handlers
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def lines(written: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in written.getvalue().splitlines()]


FORMS = {
    "plain": CANARY,
    "inside": f"x{CANARY}y",
    "url": quote(CANARY, safe=""),
    "base64": base64.b64encode(CANARY.encode()).decode(),
    "urlsafe": base64.urlsafe_b64encode(CANARY.encode()).decode(),
    "hex": CANARY.encode().hex(),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_registered_secret_is_written_in_no_form(written: io.StringIO, form: str) -> None:
    log = structlog.get_logger("t")
    log.info(form, note=form, many=[form])
    logging.getLogger("paycore.engine").warning("%s", form)
    logging.getLogger("library").error("failed", exc_info=ValueError(form))
    try:
        raise RuntimeError(form) from ValueError(form)
    except RuntimeError:
        log.exception("failed")
    assert len(lines(written)) == 4
    assert form.rstrip("=") not in written.getvalue()
    assert CANARY not in written.getvalue()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("authorization", "x1y2z3"),
        ("session_token", "x1y2z3"),
        ("api_key", "x1y2z3"),
        ("private_pem", "x1y2z3"),
        ("settings", {"a": "x1y2z3"}),
        ("client_ip", "x1y2z3"),
        ("thing", {"a": "x1y2z3"}),
        ("text", "see pk_x1y2z3x1y2z3x1y2z3x1y2z3"),
        ("text", "Bearer x1y2z3"),
        ("text", "postgresql://u:x1y2z3@h/db"),
        ("text", "eyJhbGciOiJFUzI1NiJ9.x1y2z3.x1y2z3"),
        ("text", "-----BEGIN PRIVATE KEY-----\nx1y2z3"),
    ],
)
def test_what_looks_like_a_secret_is_masked(written: io.StringIO, name: str, value: object) -> None:
    structlog.get_logger().info("event", **{name: value})
    assert "x1y2z3" not in written.getvalue()


def test_what_is_no_secret_is_readable(written: io.StringIO) -> None:
    structlog.get_logger().info("paid", order_id="or1", amount_minor=1200, ok=True, none=None, ids=["a", "b"], s="茶")
    [line] = lines(written)
    assert list(line)[:3] == ["timestamp", "level", "event"]
    del line["timestamp"]
    assert line == {
        "level": "info",
        "event": "paid",
        "order_id": "or1",
        "amount_minor": 1200,
        "ok": True,
        "none": None,
        "ids": ["a", "b"],
        "s": "茶",
    }


def test_an_exception_is_its_kind_its_first_line_and_its_places(written: io.StringIO) -> None:
    try:
        raise ValueError("first line\nsecond line with x1y2z3")
    except ValueError:
        structlog.get_logger().exception("failed")
    [line] = lines(written)
    assert (line["exception"]["type"], line["exception"]["text"]) == ("ValueError", "first line")
    assert line["exception"]["at"][-1].startswith("tests/test_logs.py:")
    assert "x1y2z3" not in written.getvalue()


def test_libraries_whisper_and_we_speak(written: io.StringIO) -> None:
    logging.getLogger("library").info("quiet")
    logging.getLogger("paycore.engine").info("spoken")
    logging.getLogger("paycore.engine").debug("quiet")
    assert [line["event"] for line in lines(written)] == ["spoken"]
