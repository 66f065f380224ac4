"""The options that many commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

JSON_WANTED = "paycore.json"


def _remember(context: typer.Context, value: bool) -> bool:
    """Errors are JSON as well then, wherever they are met."""
    if value:
        context.meta[JSON_WANTED] = True
    return value


Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else.", callback=_remember)]
Config = Annotated[
    Optional[Path],  # noqa: UP045 - typer reads this at run time
    typer.Option("--config", help="A TOML file with settings; PAYCORE_* variables win over it.", dir_okay=False),
]
Database = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--database", help="The database, instead of PAYCORE_DATABASE_URL. No password here.", metavar="URL"),
]
App = Annotated[Optional[str], typer.Option("--app", help="Only this app, by its id or its name.")]  # noqa: UP045
Limit = Annotated[int, typer.Option("--limit", help="How many at most.", min=1, max=10_000)]
