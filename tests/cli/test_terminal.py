"""What a person sees: tables that fit their terminal, colours, questions, and secrets that are not echoed."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import subprocess
import sys
import termios
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from paycore_sandbox import SandboxSimulator
from tests.cli.running import environment, heed_interrupts
from tests.cli.shop import Shop

PATIENCE_SECONDS = 40.0


@pytest.fixture
def shop(sqlite_url: str, tmp_path: Path) -> Shop:
    return Shop(sqlite_url, tmp_path, SandboxSimulator("terminal"))


def _rule_the_terminal() -> None:
    """Make it the command's own terminal: only then Ctrl-C reaches it, and a hidden answer is asked for there."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    heed_interrupts()


class Terminal:
    """A command on a terminal, and somebody who answers its questions."""

    def __init__(self, shop: Shop, *words: str, columns: int = 120, **more: str) -> None:
        ours, theirs = pty.openpty()
        variables = environment(shop.folder, **shop.variables, COLUMNS=str(columns), TERM="xterm-256color")
        variables = {name: value for name, value in variables.items() if name != "NO_COLOR"} | more
        self._file = ours
        self.shown = ""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "paycore", *words],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=variables,
            cwd=shop.folder,
            start_new_session=True,
            preexec_fn=_rule_the_terminal,
        )
        os.close(theirs)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._file)

    def until(self, text: str) -> None:
        """Read on until this is shown."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        start = len(self.shown)
        while text not in self.shown[start:]:
            assert time.monotonic() < deadline, self.shown
            assert self._read(), self.shown

    def answer(self, text: str) -> None:
        """Type a line."""
        os.write(self._file, f"{text}\n".encode())

    def end(self) -> int:
        """Read to the end; the exit code."""
        while self._read():
            pass
        return self.process.wait(PATIENCE_SECONDS)

    def interrupt(self) -> int:
        """Press Ctrl-C, and read to the end; the exit code.

        Python looks for signals and then waits for a key. A Ctrl-C that falls between the two is lost until the next key, so it is
        pressed again, as people do.
        """
        for _ in range(8):
            os.write(self._file, b"\x03")
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
                break
        return self.end()

    def _read(self) -> bool:
        ready, _, _ = select.select([self._file], [], [], PATIENCE_SECONDS)
        try:
            read = os.read(self._file, 65536) if ready else b""
        except OSError:  # the other side hung up
            return False
        self.shown += read.decode()
        return bool(read)


def look(shop: Shop, *words: str, columns: int) -> str:
    with Terminal(shop, *words, columns=columns) as terminal:
        assert terminal.end() == 0, terminal.shown
        return terminal.shown


def test_a_wide_terminal_gets_a_table_with_colours(shop: Shop) -> None:
    app_id, _, _ = shop.open()
    shop.order(app_id, "WIDE-1")
    shown = look(shop, "orders", "list", columns=160)
    assert "\x1b[33mPENDING" in shown
    row = next(line for line in shown.splitlines() if "WIDE-1" in line)
    assert "CNY 12.80" in row
    assert "Tea" in row


def test_a_narrow_terminal_gets_a_few_lines_for_each_row(shop: Shop) -> None:
    app_id, _, _ = shop.open()
    order = shop.order(app_id, "NARROW-1")
    lines = look(shop, "orders", "list", columns=60).splitlines()
    assert any(order.order_id in line for line in lines)
    assert "number    NARROW-1" in [line.strip() for line in lines]


def test_no_colour_when_none_is_wanted(shop: Shop) -> None:
    app_id, _, _ = shop.open()
    shop.order(app_id, "PLAIN-1")
    with Terminal(shop, "orders", "list", columns=160, NO_COLOR="1") as terminal:
        assert terminal.end() == 0
    assert "PENDING" in terminal.shown
    assert "\x1b[33m" not in terminal.shown


def answers(shop: Shop, columns: Sequence[str]) -> list[str]:
    given = json.loads(shop.account_settings())
    return [given[name] for name in columns]


def test_settings_are_asked_for_and_secrets_are_not_echoed(shop: Shop) -> None:
    shop.json("migrate")
    shop.json("master-key", "make")
    shop.json("apps", "add", "shop", "--no-key")
    merchant, base_url, private_key, channel_key = answers(shop, ["merchant", "base_url", "private_key", "channel_key"])
    key_file = shop.folder / "channel.pub"
    key_file.write_text(f"{channel_key}\n")
    with Terminal(shop, "accounts", "add", "sandbox", "--app", "shop") as terminal:
        terminal.until("(merchant)")
        terminal.answer(merchant)
        terminal.until("(base_url)")
        terminal.answer(base_url)
        terminal.until("(private_key): ")  # the blank comes when the echo is off; what is typed before is thrown away
        terminal.answer(private_key)
        terminal.until("(channel_key)")
        terminal.answer(f"@{key_file}")
        assert terminal.end() == 0, terminal.shown
    assert private_key not in terminal.shown
    assert "is ready" in terminal.shown
    assert shop.json("accounts", "list")["accounts"][0]["merchant"] == merchant


def test_ctrl_c_at_a_question_changes_nothing(shop: Shop) -> None:
    shop.json("migrate")
    shop.json("apps", "add", "shop", "--no-key")
    with Terminal(shop, "accounts", "add", "sandbox", "--app", "shop") as terminal:
        terminal.until("(merchant)")
        assert terminal.interrupt() in (1, 130, -2)
    assert "Traceback" not in terminal.shown
    assert shop.json("accounts", "list") == {"accounts": []}
