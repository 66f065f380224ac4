"""The command: `python -m bench`."""

from __future__ import annotations

import argparse
import asyncio
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import channels, rows
from bench.rows import Bench, Row, Scale
from tests.support import postgres

console = Console(highlight=False)
ROWS = {**rows.ROWS, **channels.ROWS}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description="What paycore costs, as ratios in one run.")
    parser.add_argument("--quick", action="store_true", help="a rough table within three minutes")
    parser.add_argument("--only", choices=list(ROWS), action="append", help="only these rows")
    parser.add_argument("--own-generator", action="store_true", help="do not use h2load even where it is installed")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also write the table to this file")
    asked = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="paycore-bench-") as folder, databases(Path(folder)) as makers:
        scale = Scale.quick() if asked.quick else Scale.full()
        bench = Bench(Path(folder), makers, scale, say=console.print, with_h2load=not asked.own_generator)
        table = asyncio.run(measure(bench, asked.only or list(ROWS)))
    show(table)
    console.print(f"{time.monotonic() - began:.0f} s on {machine()}{', quick' if asked.quick else ''}")
    if asked.markdown:
        asked.markdown.write_text(as_markdown(table), encoding="utf-8")
    return 0


async def measure(bench: Bench, names: list[str]) -> list[Row]:
    found = []
    for name in names:
        console.print(f"[bold]{name}[/bold]: {(ROWS[name].__doc__ or '').splitlines()[0]}")
        found += await ROWS[name](bench)
    return found


@contextmanager
def databases(folder: Path) -> Iterator[dict[str, Callable[[], str]]]:
    """For each kind, what makes an empty database. PostgreSQL keeps its promises (fsync), or it is named as missing."""
    numbers = count(1)
    makers: dict[str, Callable[[], str]] = {"sqlite": lambda: f"sqlite:///{folder}/bench-{next(numbers)}.sqlite"}
    with ExitStack() as stack:
        try:
            server = stack.enter_context(postgres.running(durable=True))
            makers["postgresql"] = lambda: stack.enter_context(server.database())
        except postgres.NoPostgres as problem:
            console.print(f"[red bold]NOT RUN HERE[/red bold]: everything on {problem}")
        yield makers


def show(found: list[Row]) -> None:
    table = Table("what", "measured", "target", "met")
    for row in found:
        table.add_row(row.what, row.measured, row.target, verdict(row))
    console.print(table)


def verdict(row: Row) -> str:
    return "" if row.is_met is None else "yes" if row.is_met else "[red]no[/red]"


def as_markdown(found: list[Row]) -> str:
    lines = ["| what | measured | target |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {row.what} | {row.measured} | {row.target} |" for row in found), ""])


def machine() -> str:
    return f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"


if __name__ == "__main__":
    raise SystemExit(main())
