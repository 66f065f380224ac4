"""`paycore apps`: the businesses that call us, their limits and their keys. A key is printed once and never kept."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from paycore.cli.exits import ExitCode, Sorry
from paycore.cli.opening import app_of, operator, settings_of, store_of
from paycore.cli.options import Config, Database, Json
from paycore.cli.screen import Screen, clean, instant

if TYPE_CHECKING:
    from paycore.store import Unit

app = typer.Typer(help="The businesses that call us, with their limits and keys.", no_args_is_help=True)
keys = typer.Typer(help="An app's API keys.", no_args_is_help=True)
app.add_typer(keys, name="keys")

AppName = Annotated[str, typer.Argument(help="The app's id or name.", metavar="APP")]
Audiences = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(
        help="An app or page that may use sealed plans: ios:com.example.shop, android:com.example.shop, web:https://shop.example."
    ),
]
Scopes = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option("--scope", help="What a key may do, one by one; everything that a business needs if left out."),
]


@app.command("add")
def add(
    name: Annotated[str, typer.Argument(help="What people call it.")],
    currency: Annotated[Optional[list[str]], typer.Option(help="A currency that it may use; all if left out.")] = None,  # noqa: UP045
    max_amount_minor: Annotated[
        int, typer.Option(help="The largest order, in minor units; 0 for no limit.", min=0)
    ] = 0,
    return_host: Annotated[Optional[list[str]], typer.Option(help="A host that return URLs may lead to.")] = None,  # noqa: UP045
    bridge_audience: Audiences = None,
    rate: Annotated[int, typer.Option(help="Calls a second; 0 for the server's limit.", min=0)] = 0,
    expiry_seconds: Annotated[
        int, typer.Option(help="When an order expires that says nothing about it.", min=60, max=15 * 24 * 3600)
    ] = 1800,
    surplus_policy: Annotated[
        str, typer.Option(help="What happens to money too much: AUTO_REFUND, HOLD or ACCEPT.")
    ] = "AUTO_REFUND",
    scope: Scopes = None,
    no_key: Annotated[bool, typer.Option("--no-key", help="Make no API key yet.")] = False,
    config: Config = None,
    database: Database = None,
    json: Json = False,
) -> None:
    """Add an app and print its first API key, once."""
    limits = {
        "currencies": _currencies(currency or ()),
        "max_amount_minor": max_amount_minor,
        "return_hosts": tuple(host.lower() for host in return_host or ()),
        "bridge_audiences": _audiences(bridge_audience or ()),
        "rate_per_second": rate,
        "default_expiry_seconds": expiry_seconds,
    }
    with store_of(settings_of(config, database)) as store, store.write() as unit:
        made, key = add_app(unit, name, surplus_policy=surplus_policy, scopes=scope, with_key=not no_key, limits=limits)
        document = _document(unit, made)
    screen = Screen(json)

    def draw() -> None:
        screen.say(f"App {clean(name)} is {made.app_id}.")
        if key:
            _draw_key(screen, key)

    screen.show({"app": document, **({"api_key": key} if key else {})}, draw)


@app.command("list")
def list_apps(config: Config = None, database: Database = None, json: Json = False) -> None:
    """List every app."""
    with store_of(settings_of(config, database)) as store, store.read() as unit:
        documents = [_document(unit, one) for one in unit.list_apps()]
    screen = Screen(json)
    rows = [
        (one["app_id"], one["name"], one["state"], len(one["keys"]), one["surplus_policy"], one["create_time"])
        for one in documents
    ]
    screen.show(
        {"apps": documents},
        lambda: screen.table(
            ("APP", "NAME", "STATE", "KEYS", "SURPLUS", "CREATED"), rows, empty="There is no app yet."
        ),
    )


@app.command("show")
def show(name: AppName, config: Config = None, database: Database = None, json: Json = False) -> None:
    """Show an app with its limits and keys."""
    with store_of(settings_of(config, database)) as store, store.read() as unit:
        document = _document(unit, app_of(unit, name))
    screen = Screen(json)

    def draw() -> None:
        screen.pairs({label: _plain(value) for label, value in document.items() if label != "keys"})
        screen.table(_KEY_COLUMNS, _key_rows(document["keys"]))

    screen.show({"app": document}, draw)


@app.command("change")
def change(
    name: AppName,
    currency: Annotated[Optional[list[str]], typer.Option(help="The currencies that it may use, one by one.")] = None,  # noqa: UP045
    any_currency: Annotated[bool, typer.Option("--any-currency", help="Let it use every currency.")] = False,
    max_amount_minor: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(help="The largest order, in minor units; 0 for no limit.", min=0),
    ] = None,
    return_host: Annotated[Optional[list[str]], typer.Option(help="The hosts that return URLs may lead to.")] = None,  # noqa: UP045
    bridge_audience: Audiences = None,
    rate: Annotated[Optional[int], typer.Option(help="Calls a second; 0 for the server's limit.", min=0)] = None,  # noqa: UP045
    expiry_seconds: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(help="When an order expires that says nothing about it.", min=60, max=15 * 24 * 3600),
    ] = None,
    surplus_policy: Annotated[Optional[str], typer.Option(help="AUTO_REFUND, HOLD or ACCEPT; for new orders.")] = None,  # noqa: UP045
    config: Config = None,
    database: Database = None,
    json: Json = False,
) -> None:
    """Change an app's limits; what is not named stays. Orders that are there keep their policy."""
    from dataclasses import replace

    given: dict[str, Any] = {
        "currencies": () if any_currency else _currencies(currency) if currency else None,
        "max_amount_minor": max_amount_minor,
        "return_hosts": tuple(host.lower() for host in return_host) if return_host else None,
        "bridge_audiences": _audiences(bridge_audience) if bridge_audience else None,
        "rate_per_second": rate,
        "default_expiry_seconds": expiry_seconds,
        "surplus_policy": _policy(surplus_policy) if surplus_policy else None,
    }
    changes = {label: value for label, value in given.items() if value is not None}
    if not changes:
        raise Sorry("There is nothing to change; name at least one limit.", ExitCode.USAGE)
    with store_of(settings_of(config, database)) as store, store.write() as unit:
        changed = replace(app_of(unit, name), **changes)
        unit.put_app(changed)
        note(unit, "app.changed", changed.app_id, app_id=changed.app_id, detail=", ".join(changes))
        document = _document(unit, changed)
    screen = Screen(json)
    screen.show({"app": document}, lambda: screen.say(f"App {clean(changed.name)} is changed: {', '.join(changes)}."))


@app.command("suspend")
def suspend(name: AppName, config: Config = None, database: Database = None, json: Json = False) -> None:
    """Let the app's keys in nowhere any more; what is under way goes on."""
    _set_state(name, "SUSPENDED", config, database, Screen(json))


@app.command("resume")
def resume(name: AppName, config: Config = None, database: Database = None, json: Json = False) -> None:
    """Let a suspended app's keys in again."""
    _set_state(name, "ACTIVE", config, database, Screen(json))


def _set_state(name: str, state: str, config: Any, database: str | None, screen: Screen) -> None:
    from dataclasses import replace

    with store_of(settings_of(config, database)) as store, store.write() as unit:
        found = app_of(unit, name)
        changed = replace(found, state=type(found.state)(state))
        unit.put_app(changed)
        note(unit, f"app.{state.lower()}", found.app_id, app_id=found.app_id)
        document = _document(unit, changed)
    screen.show({"app": document}, lambda: screen.say(f"App {clean(found.name)} is {state} now."))


# ---------------------------------------------------------------------------------------------- keys


@keys.command("add")
def add_key(
    name: AppName,
    scope: Scopes = None,
    title: Annotated[str, typer.Option(help="What it is for.")] = "",
    days: Annotated[int, typer.Option(help="Days until it expires; 0 for never.", min=0, max=3650)] = 0,
    certificate: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Bind it to this client certificate (PEM): the key is good only with it.", dir_okay=False),
    ] = None,
    certificate_alone: Annotated[
        bool, typer.Option("--certificate-alone", help="No key: the client certificate alone lets it in.")
    ] = False,
    config: Config = None,
    database: Database = None,
    json: Json = False,
) -> None:
    """Make another API key of an app and print it, once; or let a client certificate in."""
    if certificate_alone and certificate is None:
        raise Sorry("Name the certificate by --certificate.", ExitCode.USAGE)
    digest = _certificate(certificate) if certificate else None
    with store_of(settings_of(config, database)) as store, store.write() as unit:
        key_id, key = make_key(
            unit,
            app_of(unit, name),
            scopes=scope,
            title=title,
            days=days,
            certificate_sha256=digest,
            certificate_alone=certificate_alone,
        )
    screen = Screen(json)

    def draw() -> None:
        if key:
            _draw_key(screen, key)
        else:
            screen.say(f"The certificate lets the app in as {key_id}.")

    screen.show({"key_id": key_id, **({"api_key": key} if key else {})}, draw)


@keys.command("list")
def list_keys(name: AppName, config: Config = None, database: Database = None, json: Json = False) -> None:
    """List an app's keys; of each only its id is known."""
    with store_of(settings_of(config, database)) as store, store.read() as unit:
        documents = _keys(unit, app_of(unit, name))
    screen = Screen(json)
    screen.show({"keys": documents}, lambda: screen.table(_KEY_COLUMNS, _key_rows(documents), empty="It has no key."))


@keys.command("revoke")
def revoke_key(
    key_id: Annotated[str, typer.Argument(help="The key's id.")],
    config: Config = None,
    database: Database = None,
    json: Json = False,
) -> None:
    """Let a key in nowhere any more. A server notices within seconds and ends the key's streams."""
    from dataclasses import replace

    from paycore.store import KeyState

    with store_of(settings_of(config, database)) as store, store.write() as unit:
        found = unit.get_key(key_id)
        if found is None:
            raise Sorry(f"There is no key {clean(key_id)}.", reason="KEY_NOT_FOUND")
        if found.state is not KeyState.REVOKED:
            found = replace(found, state=KeyState.REVOKED, revoked_at=now())
            unit.put_key(found)
            note(unit, "key.revoked", key_id, app_id=found.app_id)
    screen = Screen(json)
    screen.show({"key": _key_document(found)}, lambda: screen.say(f"Key {key_id} is revoked."))


_KEY_COLUMNS = ("KEY", "STATE", "TITLE", "NEEDS", "CREATED", "EXPIRES", "SCOPES")


def _key_rows(documents: Iterable[dict[str, Any]]) -> list[tuple[object, ...]]:
    return [
        (
            one["key_id"],
            one["state"],
            one["title"],
            one["needs"],
            one["create_time"],
            one["expire_time"],
            " ".join(one["scopes"]),
        )
        for one in documents
    ]


def _draw_key(screen: Screen, key: str) -> None:
    screen.say("Its API key, shown this once and kept nowhere:")
    screen.say(f"  {key}", "bold")
    screen.say(f"  export PAYCORE_API_KEY={key}", "dim")


# ---------------------------------------------------------------------------------------------- what is stored


def add_app(
    unit: Unit,
    name: str,
    *,
    surplus_policy: str = "AUTO_REFUND",
    scopes: list[str] | None = None,
    with_key: bool = True,
    limits: dict[str, Any] | None = None,
) -> tuple[Any, str]:
    """A new app and, if wanted, the text of its first key. Raises Sorry when the name is taken or a word is wrong."""
    from paycore.core.ids import Prefix
    from paycore.engine.clock import SystemClock
    from paycore.engine.ids import SystemIds
    from paycore.rpc.policy import Scope
    from paycore.store import App

    if not name.strip() or name != clean(name) or len(name) > 64:
        raise Sorry("An app's name has 1 to 64 plain characters.", ExitCode.USAGE)
    if any(one.name == name for one in unit.list_apps()):
        raise Sorry(f"There is an app {name} already.", reason="APP_EXISTS")
    made = App(
        SystemIds(SystemClock()).mint(Prefix.APP),
        name,
        now(),
        scopes=tuple(scope.value for scope in Scope),
        surplus_policy=_policy(surplus_policy),
        **(limits or {}),
    )
    unit.put_app(made)
    note(unit, "app.added", made.app_id, app_id=made.app_id, detail=name)
    key = make_key(unit, made, scopes=scopes)[1] if with_key else ""
    return made, key


def make_key(
    unit: Unit,
    owner: Any,
    *,
    scopes: list[str] | None = None,
    title: str = "",
    days: int = 0,
    certificate_sha256: str | None = None,
    certificate_alone: bool = False,
) -> tuple[str, str]:
    """A new key of this app: its id and its text, of which only the digest is stored.

    With a certificate the key is good only beside it; a certificate alone has no text.
    """
    from paycore.rpc.auth import KEY_PREFIX
    from paycore.store import ApiKey

    text = "" if certificate_alone else KEY_PREFIX + secrets.token_urlsafe(32)
    expires_at = now() + timedelta(days=days) // timedelta(microseconds=1) if days else None
    row = ApiKey(
        f"key_{secrets.token_hex(6)}",
        owner.app_id,
        now(),
        sha256=hashlib.sha256(text.encode()).hexdigest() if text else None,
        cert_sha256=certificate_sha256,
        scopes=_scopes(scopes),
        title=title,
        expires_at=expires_at,
    )
    unit.put_key(row)
    note(unit, "key.added", row.key_id, app_id=owner.app_id, detail=title)
    return row.key_id, text


def _certificate(path: Path) -> str:
    """The SHA-256 of a client certificate, as the server sees it."""
    from cryptography import x509
    from cryptography.hazmat.primitives.hashes import SHA256

    try:
        return x509.load_pem_x509_certificate(path.read_bytes()).fingerprint(SHA256()).hex()
    except (OSError, ValueError):
        raise Sorry(f"The file {clean(path)} is no certificate in PEM.", ExitCode.USAGE) from None


def _scopes(given: list[str] | None) -> tuple[str, ...]:
    from paycore.rpc.policy import BUSINESS_SCOPES, Scope

    try:
        wanted = {Scope(one) for one in given} if given else set(BUSINESS_SCOPES)
    except ValueError:
        raise Sorry(f"A scope is one of {', '.join(one.value for one in Scope)}.", ExitCode.USAGE) from None
    return tuple(scope.value for scope in Scope if scope in wanted)


def _policy(word: str) -> Any:
    from paycore.core.order import SurplusPolicy

    try:
        return SurplusPolicy(word.upper())
    except ValueError:
        raise Sorry("The surplus policy is AUTO_REFUND, HOLD or ACCEPT.", ExitCode.USAGE) from None


def _currencies(given: Iterable[str]) -> tuple[str, ...]:
    from paycore.core.money import CURRENCY_EXPONENTS

    codes = tuple(code.upper() for code in given)
    strange = [code for code in codes if code not in CURRENCY_EXPONENTS]
    if strange:
        raise Sorry(f"{clean(strange[0])} is not the code of a currency.", ExitCode.USAGE)
    return codes


def _audiences(given: Iterable[str]) -> tuple[str, ...]:
    from paycore_bridge.contract import is_audience

    listed = tuple(given)
    strange = next((one for one in listed if not is_audience(one)), None)
    if strange is not None:
        raise Sorry(
            f"{clean(strange)} is no audience; write ios:, android:, harmony: or web: before a name.", ExitCode.USAGE
        )
    return listed


def note(unit: Unit, what: str, subject: str, *, app_id: str = "", detail: str = "") -> None:
    """Write down that a person did something, in the same transaction."""
    from paycore.store import AuditLine

    unit.put_audit(AuditLine(now(), operator(), what, subject, app_id=app_id, detail=detail))


def now() -> int:
    """This machine's clock, in microseconds."""
    import time

    return time.time_ns() // 1000


# ---------------------------------------------------------------------------------------------- documents


def _document(unit: Unit, one: Any) -> dict[str, Any]:
    return {
        "app_id": one.app_id,
        "name": one.name,
        "state": one.state.value,
        "currencies": list(one.currencies),
        "max_amount_minor": one.max_amount_minor,
        "return_hosts": list(one.return_hosts),
        "bridge_audiences": list(one.bridge_audiences),
        "rate_per_second": one.rate_per_second,
        "default_expiry_seconds": one.default_expiry_seconds,
        "surplus_policy": one.surplus_policy.value,
        "create_time": instant(one.created_at),
        "keys": _keys(unit, one),
    }


def _keys(unit: Unit, one: Any) -> list[dict[str, Any]]:
    return [_key_document(key) for key in unit.list_keys(one.app_id)]


def _key_document(key: Any) -> dict[str, Any]:
    return {
        "key_id": key.key_id,
        "state": key.state.value,
        "title": key.title,
        "needs": " and ".join(
            word
            for word, is_needed in (("key", key.sha256), ("certificate", key.cert_sha256 or key.cert_name))
            if is_needed
        ),
        "scopes": list(key.scopes),
        "create_time": instant(key.created_at),
        "expire_time": instant(key.expires_at),
        "revoke_time": instant(key.revoked_at),
    }


def _plain(value: object) -> object:
    return ", ".join(map(str, value)) if isinstance(value, list) else value
