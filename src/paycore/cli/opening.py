"""Opens what operators' commands work on: the settings, the database at its head, the plugins, the keyring."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from paycore.cli.exits import ExitCode, Sorry
from paycore.cli.screen import clean

if TYPE_CHECKING:
    from paycore.engine import Engine
    from paycore.engine.accounts import Accounts
    from paycore.engine.host import Host
    from paycore.engine.keyring import Keyring
    from paycore.settings import Settings
    from paycore.store import Store, Unit


def settings_of(config: Path | None, database: str | None = None, **given: Any) -> Settings:
    """The settings as a server would read them. Raises Sorry that names a wrong setting and never repeats it."""
    from pydantic import ValidationError

    from paycore import settings

    if database is not None:
        given["database_url"] = _without_password(database)
    try:
        return settings.load(config, **given)
    except ValidationError as error:
        raise Sorry(f"The settings are wrong: {_wrong(error)}.", ExitCode.NOT_READY) from None
    except (OSError, UnicodeDecodeError):
        raise Sorry("The settings file cannot be read.", ExitCode.NOT_READY) from None
    except ValueError:
        raise Sorry("The settings file is not TOML.", ExitCode.NOT_READY) from None


def _wrong(error: Any) -> str:
    parts = []
    for one in error.errors(include_input=False, include_url=False):
        name = ".".join(str(part) for part in one["loc"])
        parts.append(f"{name}: {one['msg']}" if name else str(one["msg"]))
    return clean("; ".join(parts))


def _without_password(url: str) -> str:
    if urlsplit(url).password:
        raise Sorry("A password does not belong on the command line; set PAYCORE_DATABASE_URL instead.", ExitCode.USAGE)
    return url


@contextmanager
def store_of(settings: Settings, *, any_schema: bool = False, may_make: bool = False) -> Iterator[Store]:
    """The database, closed afterwards. Raises StaleSchema unless it is at the head or any schema will do.

    An SQLite file that is not there is made only by those who may.
    """
    from paycore.store import Store

    url = settings.database_url.get_secret_value()
    path = sqlite_file(url)
    if path is not None and not path.exists() and not may_make:
        raise Sorry(
            f"There is no database at {clean(path)}; run `paycore migrate` or `paycore serve`.", ExitCode.NOT_READY
        )
    store = Store.open(url, pool_size=2, check_durability=False)
    try:
        if not any_schema:
            store.require_current()
        yield store
    finally:
        store.close()


def sqlite_file(url: str) -> Path | None:
    """The file of an SQLite URL; None for another database and for one in memory."""
    if not url.startswith("sqlite:///"):
        return None
    path = url.removeprefix("sqlite:///").partition("?")[0]
    return Path(path) if path and path != ":memory:" else None


def host_of(settings: Settings) -> Host:
    """The plugins that a server with these settings would load."""
    from paycore.engine.host import Host

    return Host.load(allow=settings.channels or None, deny=settings.channels_off)


def keyring_of(settings: Settings, *, may_make: bool = False) -> Keyring:
    """The master keys that a server with these settings would use. Raises NoMasterKey.

    An SQLite database without one has its own in a file beside it; only those who may make that file at first use.
    """
    from paycore.engine.keyring import NoMasterKey, open_keyring

    if settings.master_key is not None:
        return open_keyring(text=settings.master_key.get_secret_value())
    if settings.master_key_file is not None:
        return open_keyring(path=settings.master_key_file)
    beside = settings.development_key_file
    if beside is None:
        raise NoMasterKey("There is no master key; set PAYCORE_MASTER_KEY_FILE (make it by `paycore master-key make`).")
    return open_keyring(path=beside, make_if_missing=may_make)


@contextmanager
def accounts_of(settings: Settings, store: Store) -> Iterator[Accounts]:
    """The merchant accounts, for reading and changing."""
    from paycore.engine.accounts import Accounts
    from paycore.engine.clock import SystemClock
    from paycore.engine.ids import SystemIds
    from paycore.engine.memory import Memory

    memory, clock = Memory(store), SystemClock()
    try:
        yield Accounts(memory, keyring_of(settings, may_make=True), host_of(settings), clock, SystemIds(clock))
    finally:
        memory.close()


@asynccontextmanager
async def engine_of(settings: Settings, store: Store) -> AsyncIterator[Engine]:
    """An engine that tells facts and talks to nobody: it does no due tasks, opens no account, listens nowhere."""
    import secrets

    from paycore.engine import Engine
    from paycore.engine.carrier import HttpCarrier
    from paycore.engine.clock import SystemClock
    from paycore.engine.ids import SystemIds
    from paycore.engine.keyring import KEY_BYTES, Keyring

    clock = SystemClock()
    engine = Engine(
        store,
        host=host_of(settings),
        keyring=Keyring(secrets.token_bytes(KEY_BYTES)),
        carrier=HttpCarrier(),
        clock=clock,
        ids=SystemIds(clock),
        public_base_url="",
    )
    try:
        yield engine
    finally:
        await engine.stop()


def app_of(unit: Unit, name: str) -> Any:
    """The app of this id or name. Raises Sorry."""
    found = [app for app in unit.list_apps() if name in (app.app_id, app.name)]
    if not found:
        raise Sorry(f"There is no app {clean(name)}.", reason="APP_NOT_FOUND")
    if len(found) > 1:
        raise Sorry(f"Several apps are called {clean(name)}; name one by its id.")
    return found[0]


def operator() -> str:
    """Who is at the keyboard, for the log of what people did."""
    import getpass

    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):
        return f"cli:{os.getuid()}"
