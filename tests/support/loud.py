"""A skipped test is named in a section of its own, and under CI it is a failure.

A plugin of pytest; the conftest.py at the top of the checkout loads it. Every skip counts, whoever asked for it.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import NoReturn

import pytest

_SAID: pytest.StashKey[Counter[str]] = pytest.StashKey()


def loudly_skip(reason: str) -> NoReturn:
    """Skip this test because the machine lacks something. The reason says what, and how to get it."""
    pytest.skip(reason)


def is_ci() -> bool:
    """Whether nothing may be skipped here."""
    return os.environ.get("CI", "").lower() not in ("", "0", "false", "no")


class LoudSkips:
    """Collects the reasons of all skips of a run; with xdist, those of every worker."""

    def __init__(self, config: pytest.Config) -> None:
        self.said = config.stash.setdefault(_SAID, Counter())

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            self.said[_reason(report)] += 1

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self.said[_reason(report)] += 1

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.said and is_ci() and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self.said:
            return
        terminalreporter.section("NOT RUN HERE", sep="=", red=True, bold=True)
        for reason, times in sorted(self.said.items()):
            terminalreporter.line(f"{times:5} x {reason}", red=True)
        if is_ci():
            terminalreporter.line("CI is set: what is not run here counts as failed.", red=True, bold=True)


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    told = report.longrepr
    text = told[2] if isinstance(told, tuple) else str(told)
    return text.removeprefix("Skipped: ")


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # xdist: only the controller speaks
        config.pluginmanager.register(LoudSkips(config), "paycore-loud-skips")
