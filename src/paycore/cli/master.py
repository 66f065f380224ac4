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


@app.command("rotate")
def rotate(
    keep: Annotated[bool, typer.Option("--keep-old", help="Leave the old key in the file.")] = False,
    config: Config = None,
    database: Database = None,
    json: Json = False,
) -> None:
    """Put a new key into the file, seal every account's secrets under it, and drop the old one.

    Safe to interrupt and to repeat. Servers read the file when they start: with --keep-old first, restart them, and drop the old
    key by another `rotate` only when none of them still runs with it.
    """
    from paycore.engine.keyring import add_key, drop_older_keys

    settings = settings_of(config, database)
    path = _file(settings)
    screen = Screen(json)
    with store_of(settings) as store:
        keyring_of(settings)
        key_id = add_key(path)
        rewrapped = _rewrap(settings, store, screen)
        dropped = 0 if keep else drop_older_keys(path)
        with store.write() as unit:
            note(unit, "master_key.rotated", key_id, detail=f"{rewrapped} rewrapped")
    document = {"key_id": key_id, "rewrapped": rewrapped, "dropped": dropped}
    text = f"Master key {key_id} seals {rewrapped} key versions now; {dropped} older keys were dropped."
    screen.show(document, lambda: screen.say(text))


@app.command("rewrap")
def rewrap(config: Config = None, database: Database = None, json: Json = False) -> None:
    """Seal every account's secrets under the current key: after you put a new one first in PAYCORE_MASTER_KEY."""
    settings = settings_of(config, database)
    screen = Screen(json)
    with store_of(settings) as store:
        key_id = keyring_of(settings).key_id
        rewrapped = _rewrap(settings, store, screen)
        with store.write() as unit:
            note(unit, "master_key.rewrapped", key_id, detail=f"{rewrapped} rewrapped")
    text = f"Master key {key_id} seals {rewrapped} more key versions now."
    screen.show({"key_id": key_id, "rewrapped": rewrapped}, lambda: screen.say(text))


def _rewrap(settings: Any, store: Store, screen: Screen) -> int:
    with accounts_of(settings, store) as accounts, screen.progress("Sealing accounts anew") as progress:
        return asyncio.run(accounts.rewrap(progress))


def _file(settings: Any) -> Path:
    if settings.master_key_file is None:
        raise Sorry("There is no master key file; name one, or set PAYCORE_MASTER_KEY_FILE.", ExitCode.USAGE)
    path: Path = settings.master_key_file
    return path
