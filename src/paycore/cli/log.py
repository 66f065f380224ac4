"""`paycore log`: what people did by hand, and who they were."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from paycore.cli.opening import settings_of, store_of
from paycore.cli.options import Config, Database, Json, Limit
from paycore.cli.screen import Screen, instant, short_instant


def log(
    subject: Annotated[
        Optional[str],  # noqa: UP045
        typer.Argument(help="Only what was done to this app, key, account or anomaly, by its id."),
    ] = None,
    limit: Limit = 50,
    config: Config = None,
    database: Database = None,
    json: Json = False,
) -> None:
    """Show what operators changed by this command line, newest first."""
    with store_of(settings_of(config, database)) as store, store.read() as unit:
        lines = unit.list_audit(subject=subject, limit=limit)
    screen = Screen(json)
    documents = [
        {
            "time": instant(line.at),
            "who": line.who,
            "what": line.what,
            "subject": line.subject,
            "app_id": line.app_id,
            "detail": line.detail,
        }
        for line in lines
    ]
    rows = [(short_instant(line.at), line.who, line.what, line.subject, line.detail) for line in lines]
    columns = ("TIME", "WHO", "WHAT", "SUBJECT", "DETAIL")
    screen.show({"lines": documents}, lambda: screen.table(columns, rows, empty="Nobody changed anything by hand."))
