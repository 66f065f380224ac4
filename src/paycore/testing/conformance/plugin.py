"""The pytest side of the kit: what is excused from outside fails all the same, and the capability matrix is printed on demand.

Loaded by its entry point wherever paycore is installed. It imports nothing of the kit before there is a test of the kit.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

_SUITE = "paycore.testing.conformance.suite"
_KINDS: pytest.StashKey[dict[str, Any]] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--channel-matrix` prints what the channels under test declare, as a Markdown table."""
    group = parser.getgroup("paycore", "channel conformance")
    group.addoption(
        "--channel-matrix", action="store_true", help="print the capability matrix of the channels under test"
    )


def pytest_configure(config: pytest.Config) -> None:
    """A place for the kinds that are seen."""
    config.stash[_KINDS] = {}


def _is_of_kit(item: pytest.Item) -> bool:
    """Whether an item is one of the kit's own checks. Without the kit in memory there is none."""
    suite = sys.modules.get(_SUITE)
    owner = getattr(item, "cls", None)
    if suite is None or owner is None or not issubclass(owner, suite.ChannelConformance):
        return False
    return hasattr(suite.ChannelConformance, getattr(item, "originalname", None) or item.name)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A check of the kit that somebody excuses has failed."""
    report = yield
    if (report.skipped or hasattr(report, "wasxfail")) and _is_of_kit(item):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid}: the conformance kit takes no excuses (skip or xfail)"
        if hasattr(report, "wasxfail"):
            del report.wasxfail
    case = getattr(item, "funcargs", {}).get("stand")
    if case is not None and _is_of_kit(item):
        item.config.stash[_KINDS][case.kind.name] = case.kind
    return report


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Print the matrix, if it is asked for."""
    config = terminalreporter.config
    kinds = config.stash[_KINDS]
    if config.getoption("--channel-matrix") and kinds:
        from paycore.testing.conformance.matrix import matrix

        terminalreporter.section("channels")
        terminalreporter.write_line(matrix(list(kinds.values())))
