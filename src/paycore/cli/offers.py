"""`paycore offers`: what a business takes off for those who pay in a certain way. What an offer says never changes but for its limits."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from paycore.cli.apps import AppName, note, now
from paycore.cli.exits import ExitCode, Sorry
from paycore.cli.opening import app_of, settings_of, store_of
from paycore.cli.options import Config, Database, Json
from paycore.cli.screen import Screen, clean, instant

if TYPE_CHECKING:
    from paycore.core.offers import Offer, Taken
    from paycore.store import StoredOffer, Unit

app = typer.Typer(help="Offers: what is taken off for those who pay in a certain way.", no_args_is_help=True)

OfferName = Annotated[str, typer.Argument(help="The offer's id.", metavar="OFFER")]
Budget = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(help="The most that is given to all together, in minor units; 0 for no limit.", min=0),
]
Quota = Annotated[Optional[int], typer.Option(help="How many payments get it; 0 for no limit.", min=0)]  # noqa: UP045
Until = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(help="When it ends, such as 2027-01-31T16:00:00Z; left out: it does not.", metavar="INSTANT"),
]
_PERCENT = re.compile(r"(\d{1,2})(?:\.(\d{1,2}))?", re.ASCII)


@app.command("add")
def add(
    name: AppName,
    title_zh: Annotated[str, typer.Option(help="What the payer reads, in Chinese.")],
    title_en: Annotated[str, typer.Option(help="What the payer reads, in English.")],
    currency: Annotated[str, typer.Option(help="Of the orders that it is for, such as CNY.")],
    off: Annotated[int, typer.Option(help="What is taken off, in minor units.", min=0)] = 0,
    percent: Annotated[str, typer.Option(help="What part is taken off, such as 10 or 2.5.")] = "",
    most: Annotated[int, typer.Option(help="With --percent: the most that is taken off, in minor units.", min=0)] = 0,
    threshold: Annotated[int, typer.Option(help="The least order that gets it, in minor units.", min=0)] = 0,
    method: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(help="A channel (alipay) or method (alipay.qr) by which one has to pay; all if left out."),
    ] = None,
    first_time: Annotated[
        bool,
        typer.Option("--first-time", help="Only for payers who have paid nothing yet; orders must name the payer."),
    ] = False,
    starts: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--from", help="When it begins, such as 2027-01-01T00:00:00Z; left out: now.", metavar="INSTANT"),
    ] = None,
    until: Until = None,
    budget: Budget = 0,
    quota: Quota = 0,
    stacks: Annotated[bool, typer.Option("--stacks", help="It is given beside other offers.")] = False,
    config: Config = None,
    database: Database = None,
    json: Json = False,
) -> None:
    """Add an offer. It holds at once, or from --from on; servers know of it after two seconds."""
    import secrets

    from paycore.core.ids import Prefix, make_id
    from paycore.core.offers import Offer, OfferKind
    from paycore.store import StoredOffer

    if bool(off) == bool(percent):
        raise Sorry("Say what is taken off: either --off or --percent.", ExitCode.USAGE)
    created_at = now()
    offer = Offer(
        offer_id=make_id(Prefix.OFFER, created_at, secrets.randbits(80)),
        title_zh=title_zh,
        title_en=title_en,
        kind=OfferKind.PERCENT if percent else OfferKind.FIXED,
        currency=currency.upper(),
        amount_minor=off,
        basis_points=_basis_points(percent) if percent else 0,
        most_minor=most,
        threshold_minor=threshold,
        methods=tuple(method or ()),
        is_first_time=first_time,
        starts_at=_instant("--from", starts),
        ends_at=_instant("--until", until),
        budget_minor=budget or 0,
        quota=quota or 0,
        stacks=stacks,
    )
    _expect_sound(offer)
    with store_of(settings_of(config, database)) as store, store.write() as unit:
        app_id = app_of(unit, name).app_id
        stored = StoredOffer(offer, app_id, created_at)
        unit.put_offer(stored)
        note(unit, "offer.added", offer.offer_id, app_id=app_id)
        document = _document(unit, stored)
    screen = Screen(json)
    screen.show({"offer": document}, lambda: screen.say(f"Offer {clean(title_en)} is {offer.offer_id}."))


@app.command("list")
def list_offers(
    name: Annotated[Optional[str], typer.Option("--app", help="Only this app's.", metavar="APP")] = None,  # noqa: UP045
    config: Config = None,
    database: Database = None,
    json: Json = False,
) -> None:
    """List offers with what is taken of them."""
    with store_of(settings_of(config, database)) as store, store.read() as unit:
        app_id = None if name is None else app_of(unit, name).app_id
        documents = [_document(unit, stored) for stored in unit.list_offers(app_id)]
    screen = Screen(json)
    rows = [
        (
            one["offer_id"],
            one["title_en"],
            one["state"],
            _what(one),
            f"{one['taken_minor']} of {one['budget_minor'] or 'any'}",
            f"{one['taken_count']} of {one['quota'] or 'any'}",
            one["end_time"] or "",
        )
        for one in documents
    ]
    columns = ("OFFER", "TITLE", "STATE", "TAKES OFF", "GIVEN", "PAYMENTS", "ENDS")
    screen.show({"offers": documents}, lambda: screen.table(columns, rows, empty="There is no offer yet."))


@app.command("change")
def change(
    offer: OfferName,
    until: Until = None,
    budget: Budget = None,
    quota: Quota = None,
    config: Config = None,
    database: Database = None,
    json: Json = False,
) -> None:
    """Change an offer's limits; what is not named stays. What payments hold they keep."""
    given: dict[str, Any] = {"ends_at": _instant("--until", until), "budget_minor": budget, "quota": quota}
    changes = {label: value for label, value in given.items() if value is not None}
    if not changes:
        raise Sorry("There is nothing to change; name at least one limit.", ExitCode.USAGE)
    with store_of(settings_of(config, database)) as store, store.write() as unit:
        stored = _found(unit, offer)
        stored = replace(stored, offer=replace(stored.offer, **changes))
        _expect_sound(stored.offer)
        unit.put_offer(stored)
        note(unit, "offer.changed", offer, app_id=stored.app_id, detail=", ".join(changes))
        document = _document(unit, stored)
    screen = Screen(json)
    screen.show({"offer": document}, lambda: screen.say(f"Offer {clean(offer)} is changed: {', '.join(changes)}."))


@app.command("pause")
def pause(offer: OfferName, config: Config = None, database: Database = None, json: Json = False) -> None:
    """Give an offer to nobody more; what payments hold they keep."""
    _set_state(offer, "PAUSED", config, database, Screen(json))


@app.command("resume")
def resume(offer: OfferName, config: Config = None, database: Database = None, json: Json = False) -> None:
    """Give a paused offer again."""
    _set_state(offer, "ACTIVE", config, database, Screen(json))


def _set_state(offer: str, state: str, config: Any, database: str | None, screen: Screen) -> None:
    with store_of(settings_of(config, database)) as store, store.write() as unit:
        stored = _found(unit, offer)
        stored = replace(stored, state=type(stored.state)(state))
        unit.put_offer(stored)
        note(unit, f"offer.{state.lower()}", offer, app_id=stored.app_id)
        document = _document(unit, stored)
    screen.show({"offer": document}, lambda: screen.say(f"Offer {clean(offer)} is {state} now."))


def _found(unit: Unit, offer_id: str) -> StoredOffer:
    found = next((stored for stored in unit.list_offers() if stored.offer.offer_id == offer_id), None)
    if found is None:
        raise Sorry(f"There is no offer {clean(offer_id)}.", reason="OFFER_NOT_FOUND")
    return found


def _expect_sound(offer: Offer) -> None:
    from paycore.core.offers import problem_with

    problem = problem_with(offer)
    if problem:
        raise Sorry(f"This is no offer: {problem}", ExitCode.USAGE)


def _basis_points(text: str) -> int:
    found = _PERCENT.fullmatch(text)
    if found is None:
        raise Sorry("--percent is a number such as 10 or 2.5, below 100.", ExitCode.USAGE)
    return int(found[1]) * 100 + int((found[2] or "").ljust(2, "0"))


def _instant(option: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise Sorry(f"{option} is an instant with its zone, such as 2027-01-31T16:00:00Z.", ExitCode.USAGE)
    return round(moment.timestamp() * 1_000_000)


def _document(unit: Unit, stored: StoredOffer) -> dict[str, Any]:
    """An offer as it is shown."""
    from paycore.core.offers import Taken

    offer = stored.offer
    taken: Taken = unit.offers_taken(stored.app_id).get(offer.offer_id, Taken())
    return {
        "offer_id": offer.offer_id,
        "app_id": stored.app_id,
        "state": stored.state.value,
        "title_zh": offer.title_zh,
        "title_en": offer.title_en,
        "currency": offer.currency,
        "off_minor": offer.amount_minor,
        "percent": f"{offer.basis_points / 100:g}" if offer.basis_points else "",
        "most_minor": offer.most_minor,
        "threshold_minor": offer.threshold_minor,
        "methods": list(offer.methods),
        "first_time": offer.is_first_time,
        "stacks": offer.stacks,
        "budget_minor": offer.budget_minor,
        "quota": offer.quota,
        "taken_minor": taken.amount_minor,
        "taken_count": taken.count,
        "start_time": instant(offer.starts_at),
        "end_time": instant(offer.ends_at),
        "create_time": instant(stored.created_at),
    }


def _what(document: dict[str, Any]) -> str:
    return f"{document['percent']} %" if document["percent"] else f"{document['off_minor']} {document['currency']}"
