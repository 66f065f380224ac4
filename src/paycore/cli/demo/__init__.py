"""`paycore demo`: a real server, a simulated channel and a client act out what money can do, and check every step."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from paycore.cli.exits import Sorry
from paycore.cli.options import Json
from paycore.cli.screen import Screen

if TYPE_CHECKING:
    from paycore.cli.demo.narrator import Narrator

PATIENCE_SECONDS = 100.0
"""Whatever goes wrong, the demo ends within this time."""


def demo(
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the database and the server's log where they are.")
    ] = False,
    cashier: Annotated[
        bool,
        typer.Option("--open", help="Instead open a cashier in the browser, and pay by hand at simulated wallets."),
    ] = False,
    json: Json = False,
) -> None:
    """Watch orders being paid, closed and refunded: a server, every channel's simulator and a client on this machine.

    Nothing is needed but this program: a fresh SQLite file in a temporary folder, no network, no money. Every step is checked; the
    exit code is 0 only if all of it went as it should. With --open you are the payer: the shop stays open until the order is over.
    """
    from paycore.cli.demo.narrator import Narrator

    narrator = Narrator(Screen(json))
    folder = Path(tempfile.mkdtemp(prefix="paycore-demo-"))
    try:
        if cashier:
            from paycore.cli.demo.till import keep_open

            keep_open(narrator, folder, may_open=narrator.screen.is_terminal)
        else:
            _play(narrator, folder)
    finally:
        if keep:
            narrator.screen.note(f"kept in {folder}")
        else:
            import shutil

            shutil.rmtree(folder, ignore_errors=True)


def _play(narrator: Narrator, folder: Path) -> None:
    try:
        asyncio.run(asyncio.wait_for(_act(narrator, folder), PATIENCE_SECONDS))
    except TimeoutError:
        raise Sorry(f"The demo did not end within {PATIENCE_SECONDS:g} s.") from None
    _prove(narrator, folder)
    narrator.end(steps=narrator.scenes)


async def _act(narrator: Narrator, folder: Path) -> None:
    from paycore.cli.demo.house import open_house
    from paycore.cli.demo.stage import Stage
    from paycore.cli.demo.stories import act
    from paycore.client import AsyncClient

    async with open_house(folder) as house, AsyncClient(house.target, house.api_key) as client:
        narrator.say(
            f"A server listens at {house.target}, on SQLite in {folder.name}; the simulated channel at {house.simulator_url}.",
            target=house.target,
            simulator=house.simulator_url,
        )
        if house.neighbours:
            names = [neighbour.name for neighbour in house.neighbours]
            narrator.say(f"Beside it, each with a simulator of its own: {', '.join(names)}.", channels=names)
        await act(Stage(client, house.street, narrator, house.clock, house.neighbours))


def _prove(narrator: Narrator, folder: Path) -> None:
    from paycore.cli.demo.house import audit

    narrator.open("audit", "The books are proved")
    with narrator.screen.progress("Auditing") as progress:
        report = audit(folder, progress)
    if report.violations:
        raise Sorry(f"The audit found {len(report.violations)} violations, the first: {report.violations[0]}")
    narrator.good(report.summary, orders=report.orders, rules=report.rules)
