"""`paycore migrate`: brings the schema to what this version needs, and only when told to."""

from __future__ import annotations

from typing import Annotated

import typer

from paycore.cli.exits import ExitCode, Sorry
from paycore.cli.opening import settings_of, store_of
from paycore.cli.options import Config, Database, Json
from paycore.cli.screen import Screen


def migrate(
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit code 1 when something is to do.")
    ] = False,
    config: Config = None,
    database: Database = None,
    json: Json = False,
) -> None:
    """Bring the database's schema to the head. Run it once for each release, before the servers start."""
    screen = Screen(json)
    with store_of(settings_of(config, database), any_schema=True, may_make=not check) as store:
        before, head = store.revision(), store.head()
        if check:
            _show(screen, before, before, head, "The schema is at the head.")
            if before != head:
                raise Sorry(f"The schema is {before or 'empty'} and {head} is needed.", reason="STALE_SCHEMA")
            return
        if before != head:
            screen.note(f"migrating from {before or 'nothing'} to {head}")
            store.migrate()
        after = store.revision()
    if after != head:
        raise Sorry("The schema did not reach the head.", ExitCode.NOT_READY)
    done = "There is nothing to do" if before == head else "Done"
    _show(screen, before, after, head, f"{done}: the schema is {head}.")


def _show(screen: Screen, before: str | None, after: str | None, head: str, text: str) -> None:
    document = {"before": before, "after": after, "head": head, "is_current": after == head}
    screen.show(document, lambda: screen.say(text) if after == head else None)
