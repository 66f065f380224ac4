"""`paycore anomalies`: money that needs a remedy, and giving it one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from paycore.cli import documents
from paycore.cli.apps import note as write_down
from paycore.cli.exits import ExitCode, Sorry
from paycore.cli.lines import major
from paycore.cli.opening import app_of, settings_of, store_of
from paycore.cli.options import App, Config, Database, Json, Limit
from paycore.cli.screen import Screen, clean, short_instant

if TYPE_CHECKING:
    from paycore.settings import Settings
    from paycore.store import ListedAnomaly, Store, Unit

app = typer.Typer(help="Money that needs a remedy.", no_args_is_help=True)

PAGE = 200


@app.command("list")
def list_anomalies(
    app: App = None,
    state: Annotated[str, typer.Option(help="OPEN, RESOLVED or ALL.")] = "OPEN",
    kind: Annotated[Optional[list[str]], typer.Option(help="Only this kind, such as LATE_PAYMENT.")] = None,  # noqa: UP045
    limit: Limit = 100,
    config: Config = None,
    database: Database = None,
    json: Json = False,
) -> None:
    """List anomalies, newest first: those that wait for a remedy, unless told otherwise."""
    states, kinds = _states(state), [_kind(word) for word in kind or ()]
    with store_of(settings_of(config, database)) as store, store.read() as unit:
        app_id = app_of(unit, app).app_id if app else None
        found = list(_listed(unit, app_id, states, kinds, limit))
    screen = Screen(json)
    columns = ("ANOMALY", "STATE", "KIND", "AMOUNT", "ORDER", "OPENED", "DETAIL")
    screen.show(
        {"anomalies": [documents.anomaly(one) for one in found]},
        lambda: screen.table(columns, map(_row, found), empty="Nothing needs a remedy."),
    )


@app.command("resolve")
def resolve(
    anomaly_id: Annotated[str, typer.Argument(help="The anomaly's id.", metavar="ANOMALY")],
    remedy: Annotated[str, typer.Option(help="ACCEPT the money, REFUND it, or RELEASE: it was settled outside.")],
    note: Annotated[str, typer.Option(help="Why, for whoever looks later.")],
    payment: Annotated[
        str,
        typer.Option(
            help="ACCEPT a store's purchase that belongs to no order for this payment; else it is an order of its own.",
            metavar="PAYMENT",
        ),
    ] = "",
    config: Config = None,
    database: Database = None,
    json: Json = False,
) -> None:
    """Give an anomaly its remedy. A refund that it begins is sent by a server."""
    wanted = _remedy(remedy)
    if not note.strip() or note != clean(note) or len(note) > 500:
        raise Sorry("The note has 1 to 500 plain characters.", ExitCode.USAGE)
    settings = settings_of(config, database)
    with store_of(settings) as store:
        with store.read() as unit:
            found = unit.find_anomaly(anomaly_id)
        if found is None:
            raise Sorry(f"There is no anomaly {clean(anomaly_id)}.", reason="ANOMALY_NOT_FOUND")
        _settle(settings, store, found, wanted, note, payment)
        with store.write() as unit:
            after = unit.find_anomaly(anomaly_id) or found
            where = f" for {after.anomaly.payment_id}" if found.order_id is None and after.anomaly.payment_id else ""
            detail = f"{wanted.value}{where}: {note}"
            write_down(unit, "anomaly.resolved", anomaly_id, app_id=found.app_id, detail=detail)
    screen = Screen(json)
    text = f"{anomaly_id} is {after.anomaly.state.value} by {wanted.value}{where}."
    screen.show({"anomaly": documents.anomaly(after)}, lambda: screen.say(text))


def _settle(settings: Settings, store: Store, found: ListedAnomaly, remedy: Any, note: str, payment_id: str) -> None:
    """Tell the order about the remedy, as every fact is told."""
    from paycore.cli.opening import engine_of

    async def settle() -> None:
        async with engine_of(settings, store) as engine:
            anomaly_id = found.anomaly.anomaly_id
            await engine.resolve_anomaly(found.app_id, anomaly_id, remedy, note, None, payment_id=payment_id)

    asyncio.run(settle())


def _listed(unit: Unit, app_id: str | None, states: list[Any], kinds: list[Any], limit: int) -> Iterator[ListedAnomaly]:
    """Anomalies page by page, until there are enough."""
    after, left = None, limit
    while left > 0:
        size = min(left, PAGE)
        page = unit.list_anomalies(app_id, states=states, kinds=kinds, after_key=after, limit=size)
        yield from page
        left -= len(page)
        if len(page) < size:
            return
        after = (page[-1].anomaly.opened_at, page[-1].anomaly.anomaly_id)


def _states(word: str) -> list[Any]:
    from paycore.core.order import AnomalyState

    if word.upper() == "ALL":
        return list(AnomalyState)
    try:
        return [AnomalyState(word.upper())]
    except ValueError:
        raise Sorry("The state is OPEN, RESOLVED or ALL.", ExitCode.USAGE) from None


def _kind(word: str) -> Any:
    from paycore.core.order import AnomalyKind

    try:
        return AnomalyKind(word.upper())
    except ValueError:
        raise Sorry(f"A kind is one of {', '.join(AnomalyKind)}.", ExitCode.USAGE) from None


def _remedy(word: str) -> Any:
    from paycore.core.order import Remedy

    try:
        return Remedy(word.upper())
    except ValueError:
        raise Sorry("The remedy is ACCEPT, REFUND or RELEASE.", ExitCode.USAGE) from None


def _row(listed: ListedAnomaly) -> tuple[object, ...]:
    one = listed.anomaly
    return (
        one.anomaly_id,
        one.state.value,
        one.kind.value,
        major(one.amount_minor, one.currency) if one.amount_minor else "",
        listed.order_id or f"account {listed.account_id}",
        short_instant(one.opened_at),
        one.detail,
    )
