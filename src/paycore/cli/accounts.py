"""`paycore accounts`: merchant identities at channels. Their secrets are sealed at rest and never shown."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Annotated, Any, Optional, TypeVar

import typer

from paycore.cli.apps import note
from paycore.cli.exits import ExitCode, Sorry
from paycore.cli.giving import masked, settings_for
from paycore.cli.opening import accounts_of, app_of, host_of, settings_of, store_of
from paycore.cli.options import App, Config, Database, Json
from paycore.cli.screen import Screen, clean, instant

if TYPE_CHECKING:
    from paycore.channel import ChannelKind
    from paycore.engine.accounts import Accounts
    from paycore.store import Store, Unit

T = TypeVar("T")

app = typer.Typer(help="Merchant identities at channels, with their sealed keys.", no_args_is_help=True)

AccountName = Annotated[str, typer.Argument(help="The account's id.", metavar="ACCOUNT")]
Source = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--settings",
        help="A JSON or TOML file with the settings, or - for stdin; asked for if left out.",
        metavar="FILE",
    ),
]
Pairs = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option("--set", help="One setting that is no secret.", metavar="NAME=VALUE"),
]


@app.command("add")
def add(
    channel: Annotated[str, typer.Argument(help="The channel's name, as `paycore channels list` has it.")],
    owner: Annotated[str, typer.Option("--app", help="Whose account it is, by the app's id or name.")],
    environment: Annotated[str, typer.Option(help="production or sandbox.")] = "",
    settings: Source = None,
    pair: Pairs = None,
    title: Annotated[str, typer.Option(help="What people call it.")] = "",
    config: Config = None,
    database: Database = None,
    json: Json = False,
) -> None:
    """Add an account: its settings are tried, sealed and stored."""
    read = settings_of(config, database)
    kind = _kind(host_of(read).kinds, channel)
    values = settings_for(kind, settings, pair or [])
    with store_of(read) as store:
        with store.read() as unit:
            app_id = app_of(unit, owner).app_id
        place = environment or kind.environments[0].value
        made = _run(read, store, lambda accounts: accounts.add(app_id, channel, place, values, title=title))
        with store.write() as unit:
            note(unit, "account.added", made.account_id, app_id=app_id, detail=f"{channel} {made.merchant}")
            document = _document(unit, unit.get_account(made.account_id))
    screen = Screen(json)
    text = f"Account {made.account_id} of {clean(made.merchant)} at {channel} ({place}) is ready."
    screen.show({"account": document}, lambda: screen.say(text))


@app.command("list")
def list_accounts(app: App = None, config: Config = None, database: Database = None, json: Json = False) -> None:
    """List accounts, of one app or of all."""
    with store_of(settings_of(config, database)) as store, store.read() as unit:
        app_id = app_of(unit, app).app_id if app else None
        documents = [_document(unit, one) for one in unit.list_accounts(app_id)]
    screen = Screen(json)
    rows = [
        (
            one["account_id"],
            one["channel"],
            one["environment"],
            one["merchant"],
            one["state"],
            " ".join(f"v{version['version']}:{version['state']}" for version in one["versions"]),
            one["app_id"],
            one["title"],
        )
        for one in documents
    ]
    columns = ("ACCOUNT", "CHANNEL", "ENVIRONMENT", "MERCHANT", "STATE", "KEYS", "APP", "TITLE")
    screen.show({"accounts": documents}, lambda: screen.table(columns, rows, empty="There is no account yet."))


@app.command("show")
def show(account: AccountName, config: Config = None, database: Database = None, json: Json = False) -> None:
    """Show an account with the settings of each key version; secrets are dots."""
    read = settings_of(config, database)
    with store_of(read) as store, store.read() as unit:
        found = _account(unit, account)
        document = _document(unit, found) | {"open_tasks": unit.count_open_tasks(account)}
        settings = _shown_settings(read, unit, found)
    for version in document["versions"]:
        version["settings"] = settings.get(version["version"])
    screen = Screen(json)

    def draw() -> None:
        screen.pairs({name: value for name, value in document.items() if name != "versions"})
        for version in document["versions"]:
            screen.say(f"\nkey version {version['version']}  {version['state']}  since {version['create_time']}")
            shown = version["settings"]
            screen.pairs({f"  {name}": value for name, value in (shown or {"settings": "do not open"}).items()})

    screen.show({"account": document}, draw)


@app.command("rotate")
def rotate(
    account: AccountName,
    settings: Source = None,
    pair: Pairs = None,
    config: Config = None,
    database: Database = None,
    json: Json = False,
) -> None:
    """Give an account new keys: they sign from now on, the ones before only verify."""
    read = settings_of(config, database)
    with store_of(read) as store:
        with store.read() as unit:
            found = _account(unit, account)
        kind = _kind(host_of(read).kinds, found.channel)
        values = settings_for(kind, settings, pair or [])
        fresh = _run(read, store, lambda accounts: accounts.rotate(account, values))
        with store.write() as unit:
            note(unit, "account.rotated", account, app_id=found.app_id, detail=f"version {fresh.version}")
            document = _document(unit, unit.get_account(account))
    screen = Screen(json)
    screen.show({"account": document}, lambda: screen.say(f"Key version {fresh.version} signs from now on."))


@app.command("set-version")
def set_version(
    account: AccountName,
    version: Annotated[int, typer.Argument(help="The key version's number.", min=1)],
    state: Annotated[str, typer.Argument(help="ACTIVE, DRAINING or VERIFY_ONLY.")],
    config: Config = None,
    database: Database = None,
    json: Json = False,
) -> None:
    """Say what a key version is for. Refused while open tasks would have nobody to sign for them."""
    read = settings_of(config, database)
    with store_of(read) as store:
        with store.read() as unit:
            found = _account(unit, account)
        wanted = _version_state(state)
        _run(read, store, lambda accounts: accounts.set_version_state(account, version, wanted))
        with store.write() as unit:
            note(unit, "account.version", account, app_id=found.app_id, detail=f"version {version} {state}")
            document = _document(unit, unit.get_account(account))
    screen = Screen(json)
    screen.show({"account": document}, lambda: screen.say(f"Key version {version} is {wanted.value} now."))


@app.command("suspend")
def suspend(account: AccountName, config: Config = None, database: Database = None, json: Json = False) -> None:
    """Let the account take no new payments; what is under way goes on."""
    _set_state(account, "SUSPENDED", config, database, Screen(json))


@app.command("resume")
def resume(account: AccountName, config: Config = None, database: Database = None, json: Json = False) -> None:
    """Let a suspended account take payments again."""
    _set_state(account, "ACTIVE", config, database, Screen(json))


# ---------------------------------------------------------------------------------------------- what they share


def _set_state(account: str, state: str, config: Any, database: str | None, screen: Screen) -> None:
    from dataclasses import replace

    with store_of(settings_of(config, database)) as store, store.write() as unit:
        found = _account(unit, account)
        unit.put_account(replace(found, state=type(found.state)(state)))
        note(unit, f"account.{state.lower()}", account, app_id=found.app_id)
        document = _document(unit, unit.get_account(account))
    screen.show({"account": document}, lambda: screen.say(f"Account {account} is {state} now."))


def _run(settings: Any, store: Store, work: Callable[[Accounts], Coroutine[Any, Any, T]]) -> T:
    """Do what needs a loop: parsing a plugin's keys has a time limit."""
    with accounts_of(settings, store) as accounts:
        try:
            return asyncio.run(work(accounts))
        except (LookupError, ValueError) as error:
            raise Sorry(clean(error)) from None


def _kind(kinds: dict[str, ChannelKind], channel: str) -> ChannelKind:
    kind = kinds.get(channel)
    if kind is None:
        known = ", ".join(kinds) or "none"
        raise Sorry(f"There is no channel {clean(channel)}; loaded are: {known}.", reason="CHANNEL_NOT_FOUND")
    return kind


def _account(unit: Unit, account_id: str) -> Any:
    found = unit.get_account(account_id)
    if found is None:
        raise Sorry(f"There is no account {clean(account_id)}.", reason="ACCOUNT_NOT_FOUND")
    return found


def _version_state(word: str) -> Any:
    from paycore.store import VersionState

    try:
        return VersionState(word.upper().replace("-", "_"))
    except ValueError:
        raise Sorry("A key version is ACTIVE, DRAINING or VERIFY_ONLY.", ExitCode.USAGE) from None


def _shown_settings(settings: Any, unit: Unit, account: Any) -> dict[int, dict[str, str]]:
    """The settings of each key version that opens with the master key at hand, secrets as dots."""
    import json

    from paycore.cli.opening import keyring_of
    from paycore.engine.keyring import CannotUnseal, NoMasterKey, Place

    try:
        keyring = keyring_of(settings)
    except NoMasterKey:
        return {}
    kind = host_of(settings).kind(account.channel)
    shown: dict[int, dict[str, str]] = {}
    for version in unit.account_versions(account.account_id):
        place = Place(account.app_id, account.channel, account.account_id, version.version)
        try:
            shown[version.version] = masked(kind, json.loads(keyring.unseal(version.settings_cipher, place)))
        except CannotUnseal:
            continue
    return shown


def _document(unit: Unit, account: Any) -> dict[str, Any]:
    return {
        "account_id": account.account_id,
        "app_id": account.app_id,
        "channel": account.channel,
        "environment": account.environment,
        "merchant": account.merchant,
        "state": account.state.value,
        "title": account.title,
        "create_time": instant(account.created_at),
        "versions": [
            {"version": one.version, "state": one.state.value, "create_time": instant(one.created_at)}
            for one in unit.account_versions(account.account_id)
        ],
    }
