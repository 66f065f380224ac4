"""What a command shows: JSON for programs, tables on a terminal, plain lines everywhere else."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
"""What could move a terminal's cursor, colour it, or turn its text around; all of it may come from a stranger."""

COLOURS = {
    "PAID": "green",
    "SUCCEEDED": "green",
    "ACTIVE": "green",
    "ok": "green",
    "RESOLVED": "green",
    "PENDING": "yellow",
    "PROCESSING": "yellow",
    "CREATED": "yellow",
    "CLOSING": "yellow",
    "DRAINING": "yellow",
    "warning": "yellow",
    "UNKNOWN": "magenta",
    "ABNORMAL": "red",
    "FAILED": "red",
    "OPEN": "red",
    "SUSPENDED": "red",
    "REVERSED": "red",
    "bad": "red",
    "CLOSED": "dim",
    "VERIFY_ONLY": "dim",
    "REVOKED": "dim",
}
"""The colours of words that stand alone in a cell."""


def clean(value: object) -> str:
    """The value as one line that cannot drive a terminal."""
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", "" if value is None else str(value))


def instant(at: int | None) -> str | None:
    """Microseconds as an RFC 3339 instant."""
    if at is None:
        return None
    moment = datetime.fromtimestamp(at // 1_000_000, UTC).replace(microsecond=at % 1_000_000)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def short_instant(at: int | None) -> str:
    """Microseconds as a person reads them, in UTC and to the second."""
    return "" if at is None else datetime.fromtimestamp(at // 1_000_000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def clock_time(at: int) -> str:
    """Only the time of day, to the millisecond, for lines that follow each other."""
    return datetime.fromtimestamp(at // 1_000_000, UTC).strftime("%H:%M:%S.") + f"{at // 1000 % 1000:03d}"


def written(value: Any, *, indent: int | None = None) -> str:
    """The value as JSON: names in the order in which they are written, text as it is."""
    separators = (",", ":") if indent is None else None
    return json.dumps(value, ensure_ascii=False, indent=indent, separators=separators)


@dataclass
class Screen:
    """Where one command shows what it did. Nothing but its result ever goes to stdout."""

    json: bool = False

    @property
    def is_terminal(self) -> bool:
        """Whether a person is reading stdout."""
        return not self.json and sys.stdout.isatty()

    def show(self, document: Any, draw: Callable[[], None]) -> None:
        """The result, either as JSON or as drawn for a person."""
        if self.json:
            _write(sys.stdout, written(document, indent=2))
        else:
            draw()

    def line(self, document: Any, text: str = "", style: str = "") -> None:
        """One line of a result that arrives bit by bit; JSON is then one document a line."""
        if self.json:
            _write(sys.stdout, written(document))
        else:
            self.say(text, style)

    def say(self, text: str, style: str = "") -> None:
        """A line for a person. Commands that print JSON say nothing."""
        if self.json:
            return
        if not self.is_terminal:
            _write(sys.stdout, text)
            return
        self._console().print(text, style=style, soft_wrap=True)

    def note(self, text: str, style: str = "dim") -> None:
        """Something beside the result: what a person may want to know, on stderr."""
        if not sys.stderr.isatty():
            _write(sys.stderr, text)
            return
        _console(sys.stderr).print(text, style=style, soft_wrap=True)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str = "") -> None:
        """Rows under their columns: a table on a terminal, tab-separated text elsewhere."""
        lines = [[clean(cell) for cell in row] for row in rows]
        if not self.is_terminal:
            for line in [list(columns), *lines]:
                _write(sys.stdout, "\t".join(line))
            return
        if not lines and empty:
            self.say(empty, "dim")
            return
        console = self._console()
        if _natural_width(columns, lines) <= console.width:
            console.print(_drawn_table(columns, lines))
        else:
            self._records(columns, lines)

    def _records(self, columns: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
        """Rows that are too wide for this terminal, each as a few lines of its own."""
        wide = max(map(len, columns))
        for line in lines:
            self.say("")
            for number, (column, cell) in enumerate(zip(columns, line, strict=True)):
                if cell:
                    self.say(f"{column.lower().ljust(wide)}  {cell}", "bold" if number == 0 else COLOURS.get(cell, ""))

    def pairs(self, pairs: Mapping[str, object]) -> None:
        """Names and values of one thing."""
        wide = max(map(len, pairs), default=0)
        for name, value in pairs.items():
            self.say(f"{name.ljust(wide)}  {clean(value)}")

    @contextmanager
    def progress(self, title: str, total: int | None = None) -> Iterator[Callable[[int, int | None], None]]:
        """A bar on stderr while long work goes on, on a terminal only. What it gives takes (done, total)."""
        if self.json or not sys.stderr.isatty():
            yield lambda done, of: None
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=_console(sys.stderr), transient=True) as bar:
            task = bar.add_task(title, total=total)
            yield lambda done, of: bar.update(task, completed=done, total=of if of is not None else total)

    def _console(self) -> Console:
        return _console(sys.stdout)


def _console(stream: TextIO) -> Console:
    from rich.console import Console

    return Console(file=stream, markup=False, highlight=False, emoji=False)


def _natural_width(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> int:
    """How many columns of a terminal the table needs without folding anything."""
    from rich.cells import cell_len

    return sum(max(cell_len(cell) for cell in cells) + 2 for cells in zip(columns, *lines, strict=True))


def _drawn_table(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=True)
    for line in lines:
        table.add_row(*(Text(cell, style=COLOURS.get(cell, "")) for cell in line))
    return table


def _write(stream: TextIO, text: str) -> None:
    stream.write(f"{text}\n")
    stream.flush()
