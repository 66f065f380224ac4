"""`paycore audit`: proves the books of a live database and changes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from paycore.cli.exits import Sorry
from paycore.cli.opening import settings_of, store_of
from paycore.cli.options import Config, Database, Json
from paycore.cli.screen import Screen, clean, instant

if TYPE_CHECKING:
    from paycore.store import Store
    from paycore.store.rules import Violation

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Report:
    """What an audit found, over how many orders, by how many rules."""

    orders: int
    rules: int
    violations: tuple[Violation, ...]

    @property
    def summary(self) -> str:
        """The result in one sentence."""
        over = f"{self.orders} {'order' if self.orders == 1 else 'orders'} and all their events"
        found = len(self.violations)
        if not found:
            return f"The books are right: {over} hold under {self.rules} rules."
        return f"The books are wrong: {found} {'violation' if found == 1 else 'violations'} in {over}."

    def document(self, at: int) -> dict[str, Any]:
        """The result as JSON."""
        return {
            "time": instant(at),
            "is_clean": not self.violations,
            "orders": self.orders,
            "rules": self.rules,
            "violations": [
                {"rule": one.rule, "subject_id": one.subject_id, "sentence": one.sentence} for one in self.violations
            ],
        }


def audit(
    watch: Annotated[
        float, typer.Option(help="Look again after so many seconds, until a violation is found.", min=0)
    ] = 0,
    config: Config = None,
    database: Database = None,
    json: Json = False,
) -> None:
    """Prove the books: sums, states, tasks and events, of every order. Exit code 1 when anything is wrong.

    It reads a live database and changes nothing; violations are told as they are found. What is asked together is asked of
    one moment, so work that goes on meanwhile raises no false alarm. A watch outlives a database that is away for a while.
    """
    screen = Screen(json)
    with store_of(settings_of(config, database)) as store:
        while watch:
            _look_once(store, screen)
            time.sleep(watch)
        report, at = _examined(store, screen)
        screen.show(report.document(at), lambda: screen.say(report.summary))
        _refuse_wrong(report)


def _look_once(store: Store, screen: Screen) -> None:
    """One round of a watch, as one line. Raises Sorry when the books are wrong."""
    from paycore.store import StoreUnavailable

    try:
        report, at = _examined(store, screen)
    except StoreUnavailable:
        now = instant(time.time_ns() // 1000)
        screen.line({"time": now, "is_clean": None, "reason": "UNAVAILABLE"}, f"{now}  The database is away.", "yellow")
        return
    screen.line(report.document(at), f"{instant(at)}  {report.summary}")
    _refuse_wrong(report)


def _examined(store: Store, screen: Screen) -> tuple[Report, int]:
    """What one audit found, and when it ended."""
    with screen.progress("Auditing") as progress:
        report = examine(store, progress, lambda found: _tell(screen, found))
    return report, time.time_ns() // 1000


def _refuse_wrong(report: Report) -> None:
    if report.violations:
        raise Sorry(report.summary, reason="VIOLATION")


def examine(store: Store, progress: Progress, found: Callable[[Violation], None] = lambda _: None) -> Report:
    """Audit to the end. Each violation is handed over as it is found, and all of them are in the report."""
    from paycore.store.audit import audit as prove
    from paycore.store.rules import RULES

    steps = len(RULES)

    def told(done: int, of: int) -> None:
        nonlocal steps
        steps = of
        progress(done, of)

    violations = tuple(_each(prove(store, progress=told), found))
    return Report(steps - len(RULES), len(RULES), violations)


def _each(violations: Iterator[Violation], found: Callable[[Violation], None]) -> Iterator[Violation]:
    for violation in violations:
        found(violation)
        yield violation


def _tell(screen: Screen, violation: Violation) -> None:
    screen.say(f"✗ {clean(violation)}", "red")
