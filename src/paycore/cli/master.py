"""`paycore master-key`: the key that seals the channels' secrets. It is never printed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from paycore.cli.apps import note
from paycore.cli.exits import ExitCode, Sorry
from paycore.cli.opening import accounts_of, keyring_of, settings_of, store_of
from paycore.cli.options import Config, Database, Json
from paycore.cli.screen import Screen, clean

if TYPE_CHECKING:
    from paycore.store import Store

app = typer.Typer(help="The key that seals the channels' secrets.", no_args_is_help=True)


@app.command("make")
def make(
    file: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Argument(help="Where to; the configured file if left out.", dir_okay=False),
    ] = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Make a master key in a file that its owner alone can read. An existing file is left as it is."""
    from paycore.engine.keyring import make_key_file, open_keyring

    path = file or _file(settings_of(config))
    if path.exists():
        raise Sorry(f"There is a file {clean(path)} already; to change the key use `paycore master-key rotate`.")
    try:
        make_key_file(path)
    except OSError as error:
        raise Sorry(f"The file {clean(path)} cannot be written: {error.strerror}.", ExitCode.NOT_READY) from None
    key_id = open_keyring(path=path).key_id
    screen = Screen(json)
    text = f"Made master key {key_id} in {clean(path)}. Keep a copy where the database's backups are not."
    screen.show({"key_id": key_id, "file": str(path)}, lambda: screen.say(text))


@app.command("show")
def show(config: Config = None, json: Json = False) -> None:
    """Show the name of the master key; it tells nothing of the key."""
    keyring = keyring_of(settings_of(config))
    screen = Screen(json)
    screen.show({"key_id": keyring.key_id}, lambda: screen.say(keyring.key_id))


@app.command("add")
def add(config: Config = None, json: Json = False) -> None:
    """Put a new key first in the file, the old ones behind it. Nothing is sealed anew yet.

    Servers read the file when they start: restart them after this, then `paycore master-key rewrap --drop-old`.
    """
    from paycore.engine.keyring import add_key

    path = _file(settings_of(config))
    key_id = add_key(path)
    screen = Screen(json)
    text = f"Master key {key_id} is first in {clean(path)}. Restart the servers, then rewrap."
    screen.show({"key_id": key_id, "file": str(path)}, lambda: screen.say(text))


@app.command("rewrap")
def rewrap(
    drop_old: Annotated[bool, typer.Option("--drop-old", help="Then leave only the new key in the file.")] = False,
    config: Config = None,
    database: Database = None,
    json: Json = False,
) -> None:
    """Seal every account's secrets under the first master key. Safe to interrupt and to repeat."""
    settings = settings_of(config, database)
    _rotate(settings, Screen(json), drop_old=drop_old)


@app.command("rotate")
def rotate(config: Config = None, database: Database = None, json: Json = False) -> None:
    """Make a new key, seal everything under it and drop the old one: all at once, while no server runs.

    A server that runs knows the old key only. With servers running: `add`, restart them, `rewrap --drop-old`.
    """
    from paycore.engine.keyring import add_key

    settings = settings_of(config, database)
    with store_of(settings):
        keyring_of(settings)
    add_key(_file(settings))
    _rotate(settings, Screen(json), drop_old=True)


def _rotate(settings: Any, screen: Screen, *, drop_old: bool) -> None:
    from paycore.engine.keyring import drop_older_keys

    with store_of(settings) as store:
        key_id = keyring_of(settings).key_id
        path = _file(settings) if drop_old else None
        rewrapped = _rewrap(settings, store, screen)
        dropped = drop_older_keys(path) if path else 0
        with store.write() as unit:
            note(unit, "master_key.rewrapped", key_id, detail=f"{rewrapped} rewrapped, {dropped} dropped")
    document = {"key_id": key_id, "rewrapped": rewrapped, "dropped": dropped}
    text = f"Master key {key_id} seals {rewrapped} more key versions now; {dropped} older keys were dropped."
    screen.show(document, lambda: screen.say(text))


def _rewrap(settings: Any, store: Store, screen: Screen) -> int:
    with accounts_of(settings, store) as accounts, screen.progress("Sealing accounts anew") as progress:
        return asyncio.run(accounts.rewrap(progress))


def _file(settings: Any) -> Path:
    """The file that the master key lies in, or would lie in."""
    path: Path | None = settings.master_key_file
    if path is None and settings.master_key is None:
        path = settings.development_key_file
    if path is None:
        raise Sorry("There is no master key file; name one, or set PAYCORE_MASTER_KEY_FILE.", ExitCode.USAGE)
    return path
