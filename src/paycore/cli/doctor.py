"""`paycore doctor`: whether this installation is fit to serve, one line for each thing that could be wrong."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from paycore.cli.exits import Sorry, know
from paycore.cli.opening import accounts_of, host_of, keyring_of, settings_of, sqlite_file
from paycore.cli.options import Config, Database, Json
from paycore.cli.screen import Screen, clean

if TYPE_CHECKING:
    from paycore.settings import Settings
    from paycore.store import Store

LEAST_SQLITE = (3, 37)
"""The first with STRICT tables."""
SOON_DAYS = 21
"""A certificate that ends within so many days is told."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    state: Literal["ok", "warning", "bad"]
    text: str


def doctor(config: Config = None, database: Database = None, json: Json = False) -> None:
    """Look over the installation: versions, settings, database, plugins, keys, ports, clock. Exit code 1 if something is bad."""
    screen = Screen(json)
    findings: list[Finding] = []
    for finding in _all(config, database):
        findings.append(finding)
        if not json:
            screen.say(
                f"{_MARKS[finding.state]} {finding.what.ljust(12)} {clean(finding.text)}", _STYLES[finding.state]
            )
    bad = sum(finding.state == "bad" for finding in findings)
    if json:
        document = [{"what": one.what, "state": one.state, "text": one.text} for one in findings]
        screen.show({"is_fit": not bad, "findings": document}, lambda: None)
    if bad:
        raise Sorry(f"{bad} {'thing is' if bad == 1 else 'things are'} bad.", reason="UNFIT")


_MARKS = {"ok": "✓", "warning": "!", "bad": "✗"}
_STYLES = {"ok": "green", "warning": "yellow", "bad": "bold red"}


def _all(config: Path | None, database: str | None) -> Iterator[Finding]:
    yield from _versions()
    yield from _clock()
    yield from _variables()
    try:
        settings = settings_of(config, database)
    except Sorry as sorry:
        yield Finding("settings", "bad", sorry.text)
        return
    yield Finding("settings", "ok", "Every setting can be read.")
    yield from _plugins(settings)
    yield from _master_key(settings)
    yield from _certificate(settings)
    yield from _addresses(settings)
    yield from _database(settings)


# ---------------------------------------------------------------------------------------------- this machine


def _versions() -> Iterator[Finding]:
    import sqlite3

    from paycore import __version__

    yield Finding("paycore", "ok", __version__)
    yield Finding("python", "ok" if sys.version_info >= (3, 11) else "bad", sys.version.split()[0])
    is_fit = sqlite3.sqlite_version_info >= LEAST_SQLITE
    wanted = "" if is_fit else f"; at least {'.'.join(map(str, LEAST_SQLITE))} is needed"
    yield Finding("sqlite", "ok" if is_fit else "bad", sqlite3.sqlite_version + wanted)
    try:
        import google.protobuf
        import grpc

        from paycore.v1 import order_pb2  # noqa: F401 - stubs that are newer than the runtime refuse to be imported
    except Exception as error:  # noqa: BLE001 - whatever the runtime raises is the finding
        yield Finding("protobuf", "bad", f"The stubs do not load: {type(error).__name__}.")
        return
    yield Finding("protobuf", "ok", f"{google.protobuf.__version__}, grpc {grpc.__version__}; the stubs load")


def _clock() -> Iterator[Finding]:
    import paycore

    now = datetime.now(UTC)
    installed = datetime.fromtimestamp(Path(paycore.__file__).stat().st_mtime, UTC)
    if now < installed:
        text = f"{now:%Y-%m-%d %H:%M:%S}Z lies before the installation of paycore; channels refuse what a wrong clock signs."
        yield Finding("clock", "bad", text)
    else:
        yield Finding("clock", "ok", f"{now:%Y-%m-%d %H:%M:%S}Z")


def _variables() -> Iterator[Finding]:
    from paycore.settings import unknown_variables

    ours = {"PAYCORE_API_KEY", "PAYCORE_TARGET", "PAYCORE_DEBUG"}
    unknown = [name for name in unknown_variables(os.environ) if name not in ours]
    if unknown:
        yield Finding("variables", "bad", f"No setting is called {', '.join(unknown)}; most likely misspelt.")
    else:
        yield Finding("variables", "ok", "Every PAYCORE_* variable is a setting.")


# ---------------------------------------------------------------------------------------------- the server to be


def _plugins(settings: Settings) -> Iterator[Finding]:
    import logging

    logging.getLogger("paycore.engine.host").setLevel(logging.ERROR)  # what it would warn of is said here
    host = host_of(settings)
    if not host.kinds:
        yield Finding("plugins", "warning", "No channel is loaded; nobody can pay.")
    for report in host.reports:
        whose = f"{report.plugin} ({report.distribution or 'no distribution'} {report.version})".replace(" )", ")")
        match report.state.value:
            case "loaded":
                yield Finding("plugin", "ok", f"{whose} gives {', '.join(report.channels)}")
            case "denied":
                yield Finding("plugin", "ok", f"{whose} is switched off by the settings")
            case _:
                yield Finding("plugin", "bad", f"{whose}: {report.problem}")


def _master_key(settings: Settings) -> Iterator[Finding]:
    try:
        yield Finding("master key", "ok", f"{keyring_of(settings).key_id} can be read")
    except Exception as error:  # noqa: BLE001 - whatever it is, it is said by its known words or its name
        yield Finding("master key", "bad", _words(error))


def _certificate(settings: Settings) -> Iterator[Finding]:
    if settings.tls_certificate is None or settings.tls_key is None:
        if not settings.allow_plaintext and not _is_loopback(settings.grpc_listen):
            text = f"{settings.grpc_listen} is more than loopback: give a certificate, or allow plain text outright."
            yield Finding("tls", "bad", text)
        return
    try:
        yield _pair(settings.tls_certificate.read_bytes(), settings.tls_key.read_bytes())
    except (OSError, ValueError, TypeError):
        yield Finding("tls", "bad", "The certificate or its key cannot be read.")


def _pair(certificate_pem: bytes, key_pem: bytes) -> Finding:
    """Whether a key belongs to its certificate, and how long that is good."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    certificate = x509.load_pem_x509_certificate(certificate_pem)
    public = load_pem_private_key(key_pem, password=None).public_key()
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if public.public_bytes(*form) != certificate.public_key().public_bytes(*form):
        return Finding("tls", "bad", "The key does not belong to the certificate.")
    left = certificate.not_valid_after_utc - datetime.now(UTC)
    text = f"The certificate is good until {certificate.not_valid_after_utc:%Y-%m-%d}."
    if left.total_seconds() <= 0:
        return Finding("tls", "bad", f"The certificate ended on {certificate.not_valid_after_utc:%Y-%m-%d}.")
    return Finding("tls", "warning" if left.days < SOON_DAYS else "ok", text)


def _addresses(settings: Settings) -> Iterator[Finding]:
    for name, address in (("grpc", settings.grpc_listen), ("http", settings.http_listen)):
        if address:
            yield _port(name, address)
    url = urlsplit(settings.public_base_url)
    if not settings.public_base_url:
        if settings.http_listen:
            yield Finding("notices", "warning", "public_base_url is empty: no channel outside can send us notices.")
    elif url.scheme != "https" and not _is_loopback(url.netloc):
        yield Finding("notices", "bad", "public_base_url is not https.")
    elif not url.hostname or url.query or url.fragment or url.username:
        yield Finding("notices", "bad", "public_base_url is not a plain URL.")
    else:
        yield Finding("notices", "ok", f"Channels send notices to {url.scheme}://{url.netloc}")


def _port(name: str, address: str) -> Finding:
    host, _, port = address.rpartition(":")
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind((host.strip("[]"), int(port)))
    except ValueError:
        return Finding(name, "bad", f"{address} is not host:port.")
    except OSError as error:
        return Finding(name, "warning", f"{address} is not free ({error.strerror}); perhaps a server runs already.")
    return Finding(name, "ok", f"{address} is free")


def _is_loopback(address: str) -> bool:
    return address.startswith(("127.", "localhost", "[::1]", "::1"))


# ---------------------------------------------------------------------------------------------- the database


def _database(settings: Settings) -> Iterator[Finding]:
    from paycore.store import Store

    url = settings.database_url.get_secret_value()
    path = sqlite_file(url)
    if path is not None and not path.exists():
        yield Finding("database", "warning", f"There is no file {path} yet; run `paycore migrate`.")
        return
    try:
        store = Store.open(url, pool_size=2, check_durability=settings.check_durability)
    except Exception as error:  # noqa: BLE001 - said by its known words or its name
        yield Finding("database", "bad", _words(error))
        return
    try:
        yield from _schema(store)
        if store.is_current():
            yield from _accounts(settings, store)
    except Exception as error:  # noqa: BLE001 - said by its known words or its name
        yield Finding("database", "bad", _words(error))
    finally:
        store.close()


def _schema(store: Store) -> Iterator[Finding]:
    found, head = store.revision(), store.head()
    if found == head:
        yield Finding("database", "ok", f"{store.dialect}, schema {head}")
    else:
        text = f"{store.dialect}, schema {found or 'empty'}, and {head} is needed: run `paycore migrate`."
        yield Finding("database", "bad", text)


def _accounts(settings: Settings, store: Store) -> Iterator[Finding]:
    """Whether each account opens: its settings unseal, are complete, and its keys parse."""
    with store.read() as unit:
        found = unit.list_accounts()
    if not found:
        yield Finding("accounts", "warning", "There is no account yet; nobody can pay.")
        return
    try:
        with accounts_of(settings, store) as accounts:

            async def look() -> list[BaseException | Any]:
                return await asyncio.gather(*(accounts.open(one.account_id) for one in found), return_exceptions=True)

            answers = asyncio.run(look())
    except Exception as error:  # noqa: BLE001 - said by its known words or its name
        yield Finding("accounts", "bad", _words(error))
        return
    for account, answer in zip(found, answers, strict=True):
        who = f"{account.account_id} ({account.channel}, {account.merchant})"
        if isinstance(answer, BaseException):
            yield Finding("account", "bad", f"{who}: {_words(answer)}")
        elif answer.signing is None:
            yield Finding("account", "warning", f"{who}: only verify-only keys are left; it cannot sign")
        else:
            yield Finding("account", "ok", f"{who} opens, key version {answer.signing} signs")


def _words(error: BaseException) -> str:
    known = know(error)
    return known.text if known is not None else f"{type(error).__name__}."
