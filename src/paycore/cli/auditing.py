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
    from paycore.store.audit import Violation

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

    It reads a live database and changes nothing; violations are told as they are found.
    """
    screen = Screen(json)
    with store_of(settings_of(config, database)) as store:
        while True:
            with screen.progress("Auditing") as progress:
                report = examine(store, progress, lambda found: _tell(screen, found))
            at = time.time_ns() // 1000
            if watch:
                screen.line(report.document(at), f"{instant(at)}  {report.summary}")
            else:
                screen.show(report.document(at), lambda said=report.summary: screen.say(said))  # type: ignore[misc]
            if report.violations:
                raise Sorry(report.summary, reason="VIOLATION")
            if not watch:
                return
            time.sleep(watch)


def examine(store: Store, progress: Progress, found: Callable[[Violation], None] = lambda _: None) -> Report:
    """Audit to the end. Each violation is handed over as it is found, and all of them are in the report."""
    from paycore.store.audit import RULES
    from paycore.store.audit import audit as prove

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
