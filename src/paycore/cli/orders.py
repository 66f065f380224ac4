"""`paycore orders`: what an operator wants to know about orders, read from the database."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from paycore.cli import documents
from paycore.cli.exits import ExitCode, Sorry
from paycore.cli.lines import event_text, event_time, major
from paycore.cli.opening import app_of, settings_of, store_of
from paycore.cli.options import App, Config, Database, Json, Limit
from paycore.cli.screen import Screen, clean, clock_time, short_instant

if TYPE_CHECKING:
    from paycore.core.events import Event
    from paycore.core.order import Order
    from paycore.store import Store, Unit

app = typer.Typer(help="Orders, their streams and their stories.", no_args_is_help=True)

OrderName = Annotated[str, typer.Argument(help="Our order_id, or with --app the merchant_order_no.", metavar="ORDER")]
PAGE = 200
LOOK_SECONDS = 0.3
"""How often a watch looks. It costs one indexed read."""


@app.command("list")
def list_orders(
    app: App = None,
    state: Annotated[Optional[list[str]], typer.Option(help="PENDING, PAID, CLOSING or CLOSED.")] = None,  # noqa: UP045
    days: Annotated[float, typer.Option(help="Created within so many days.", min=0)] = 31,
    limit: Limit = 50,
    config: Config = None,
    database: Database = None,
    json: Json = False,
) -> None:
    """List orders, newest first, of one app or of all."""
    states = [_state(word) for word in state or ()]
    since = max(0, time.time_ns() // 1000 - timedelta(days=days) // timedelta(microseconds=1))
    with store_of(settings_of(config, database)) as store, store.read() as unit:
        app_id = app_of(unit, app).app_id if app else None
        found = list(_newest(unit, app_id, states, since, limit))
    screen = Screen(json)
    columns = ("ORDER", "NUMBER", "STATE", "AMOUNT", "CAPTURED", "REFUNDED", "SUBJECT", "CREATED")
    screen.show(
        {"orders": [documents.order(order) for order in found]},
        lambda: screen.table(columns, map(_row, found), empty="There is no such order."),
    )


@app.command("show")
def show(
    name: OrderName, app: App = None, config: Config = None, database: Database = None, json: Json = False
) -> None:
    """Show an order with its payments, refunds, anomalies and what happens next."""
    with store_of(settings_of(config, database)) as store, store.read() as unit:
        order = _order(unit, name, app)
    screen = Screen(json)
    screen.show({"order": documents.order(order)}, lambda: _draw(screen, order))


@app.command("watch")
def watch(
    name: Annotated[
        str | None, typer.Argument(help="One order; every new event of an app if left out.", metavar="ORDER")
    ] = None,
    app: App = None,
    events: Annotated[int, typer.Option(help="End after so many events; 0 for never.", min=0)] = 0,
    config: Config = None,
    database: Database = None,
    json: Json = False,
) -> None:
    """Show events as they happen: those of one order from its first on, or the feed of an app from now on."""
    from paycore.rpc.translate import event_message

    screen = Screen(json)
    with store_of(settings_of(config, database)) as store:
        told = _of_order(store, name, app) if name else _of_app(store, app)
        try:
            for number, event in enumerate(told, start=1):
                said = event_message(event)
                text = f"{clock_time(event_time(said))}  {event.order_id} v{event.version:<3} {event_text(said)}"
                screen.line(documents.message(said), text)
                if number == events:
                    return
        except KeyboardInterrupt:
            return


@app.command("explain")
def explain(
    name: OrderName, app: App = None, config: Config = None, database: Database = None, json: Json = False
) -> None:
    """Tell an order's story in sentences: what happened, who said so, with what evidence, and what comes next."""
    from paycore.engine.explain import tell_story

    with store_of(settings_of(config, database)) as store, store.read() as unit:
        order = _order(unit, name, app)
        events = unit.events_after({order.order_id: 0}, order.version).get(order.order_id, [])
        kept = unit.evidence_of(order.order_id)
    story = tell_story(order, events, kept, time.time_ns() // 1000)
    screen = Screen(json)

    def draw() -> None:
        _draw_head(screen, order)
        for line in story.lines:
            mark = f"v{line.version}" if line.version else ""
            screen.say(f"{short_instant(line.at)}  {mark:<4} {clean(line.who)}: {clean(line.what)}")
            if line.evidence:
                screen.say(f"{'':26} evidence: {clean(line.evidence)}", "dim")
        screen.say("\nWhat comes next:" if story.next_steps else "\nNothing more will happen by itself.", "bold")
        for step in story.next_steps:
            screen.say(f"  {clean(step)}")

    document = {
        "order": documents.order(order),
        "entries": [documents.line(line) for line in story.lines],
        "next_steps": list(story.next_steps),
    }
    screen.show(document, draw)


# ---------------------------------------------------------------------------------------------- reading


def _order(unit: Unit, name: str, app: str | None) -> Order:
    """The order of this id, or of this number of an app. Raises Sorry."""
    order_id = name
    if app is not None:
        app_id = app_of(unit, app).app_id
        order_id = unit.orders_by_number([(app_id, name)]).get((app_id, name), name)
    order: Order | None = unit.load([order_id]).get(order_id)
    if order is None:
        raise Sorry(f"There is no order {clean(name)}.", reason="ORDER_NOT_FOUND")
    return order


def _newest(unit: Unit, app_id: str | None, states: list[Any], since: int, limit: int) -> Iterator[Order]:
    """Orders page by page, until there are enough."""
    after, left = None, limit
    while left > 0:
        size = min(left, PAGE)
        page = unit.list_orders(app_id, states=states, created_from=since, after_key=after, limit=size)
        yield from page
        left -= len(page)
        if len(page) < size:
            return
        after = (page[-1].created_at, page[-1].order_id)


def _state(word: str) -> Any:
    from paycore.core.order import OrderState

    try:
        return OrderState(word.upper())
    except ValueError:
        raise Sorry("An order is PENDING, PAID, CLOSING or CLOSED.", ExitCode.USAGE) from None


def _of_order(store: Store, name: str, app: str | None) -> Iterator[Event]:
    with store.read() as unit:
        order_id, seen = _order(unit, name, app).order_id, 0
    while True:
        with store.read() as unit:
            fresh = unit.events_after({order_id: seen}, PAGE).get(order_id, [])
        for event in fresh:
            seen = event.version
            yield event
        if not fresh:
            time.sleep(LOOK_SECONDS)


def _of_app(store: Store, app: str | None) -> Iterator[Event]:
    with store.read() as unit:
        if app is None:
            raise Sorry("Name an order, or an app by --app.", ExitCode.USAGE)
        app_id = app_of(unit, app).app_id
        seen = unit.feed_head(app_id)
    while True:
        with store.read() as unit:
            fresh = unit.feed(app_id, seen, PAGE)
        for place, event in fresh:
            seen = place
            yield event
        if not fresh:
            time.sleep(LOOK_SECONDS)


# ---------------------------------------------------------------------------------------------- drawing


def _row(order: Order) -> tuple[object, ...]:
    paid = order.effective
    return (
        order.order_id,
        order.merchant_order_no,
        order.state.value,
        major(order.amount_minor, order.currency),
        major(paid.captured_minor, paid.captured_currency) if paid else "",
        major(paid.refunded_minor, paid.captured_currency) if paid and paid.refunded_minor else "",
        order.details.subject,
        short_instant(order.created_at),
    )


def _draw_head(screen: Screen, order: Order) -> None:
    amount = major(order.amount_minor, order.currency)
    screen.say(f"{order.order_id}  {order.state.value}  {amount}  “{clean(order.details.subject)}”", "bold")


def _draw(screen: Screen, order: Order) -> None:
    _draw_head(screen, order)
    screen.pairs(
        {
            "app": order.app_id,
            "number": order.merchant_order_no,
            "origin": order.origin.value,
            "created": short_instant(order.created_at),
            "expires": short_instant(order.expires_at),
            "paid": short_instant(order.paid_at),
            "closed": f"{short_instant(order.closed_at)} {order.close_reason or ''}".strip(),
            "version": order.version,
            "surplus": order.surplus_policy.value,
            "next": _next(order),
        }
    )
    if order.payments:
        screen.say("\npayments", "bold")
        screen.table(("PAYMENT", "STATE", "BY", "AMOUNT", "CAPTURED", "REFUNDED", "TRADE", "NEXT"), _payments(order))
    if order.refunds:
        screen.say("\nrefunds", "bold")
        screen.table(("REFUND", "STATE", "AMOUNT", "BY", "OF", "CHANNEL NUMBER", "NEXT"), _refunds(order))
    if order.anomalies:
        screen.say("\nanomalies", "bold")
        screen.table(("ANOMALY", "STATE", "KIND", "AMOUNT", "REMEDY", "NOTE"), _anomalies(order))


def _payments(order: Order) -> Iterator[tuple[object, ...]]:
    for one in order.payments:
        effective = " (pays)" if one.is_effective else ""
        yield (
            one.payment_id,
            one.state.value,
            f"{one.channel}/{one.method}{effective}",
            major(one.amount_minor, one.currency),
            major(one.captured_minor, one.captured_currency) if one.captured_minor else "",
            major(one.refunded_minor, one.captured_currency) if one.refunded_minor else "",
            one.channel_trade_no,
            _next(one),
        )


def _refunds(order: Order) -> Iterator[tuple[object, ...]]:
    for one in order.refunds:
        yield (
            one.refund_id,
            one.state.value,
            major(one.amount_minor, one.currency),
            one.origin.value,
            one.payment_id,
            one.channel_refund_no,
            _next(one),
        )


def _anomalies(order: Order) -> Iterator[tuple[object, ...]]:
    for one in order.anomalies:
        amount = major(one.amount_minor, one.currency) if one.amount_minor else ""
        yield (one.anomaly_id, one.state.value, one.kind.value, amount, one.remedy or "", one.note)


def _next(row: Any) -> str:
    task = row.task
    return f"{task.verb.value.lower().replace('_', ' ')} at {short_instant(task.due_at)}" if task else ""
