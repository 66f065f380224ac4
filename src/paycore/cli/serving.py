"""`paycore serve`: the server, and for development an app, a key and simulated channels with it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from paycore.cli.exits import ExitCode, Sorry
from paycore.cli.opening import accounts_of, settings_of, store_of
from paycore.cli.options import Config, Database, Json
from paycore.cli.screen import Screen

if TYPE_CHECKING:
    from paycore.channel import Simulator
    from paycore.serving import Process
    from paycore.settings import Settings
    from paycore.store import Store

DEV_APP = "dev"
START_SECONDS = 10.0


def serve(
    dev: Annotated[
        bool, typer.Option("--dev", help="Make an app and a key for development, and print the key.")
    ] = False,
    simulators: Annotated[
        bool, typer.Option("--simulators", help="Run the channels' simulators too, with an account of the app at each.")
    ] = False,
    simulator_port: Annotated[
        int, typer.Option(help="Where the simulators listen; 0 for any port.", min=0, max=65535)
    ] = 8090,
    grpc_listen: Annotated[
        str | None, typer.Option(help="Instead of PAYCORE_GRPC_LISTEN.", metavar="HOST:PORT")
    ] = None,
    http_listen: Annotated[
        str | None, typer.Option(help="Instead of PAYCORE_HTTP_LISTEN.", metavar="HOST:PORT")
    ] = None,
    config: Config = None,
    database: Database = None,
    json: Json = False,
) -> None:
    """Serve until SIGTERM or Ctrl-C, then leave politely; a second signal leaves at once.

    A fresh SQLite file gets its tables by itself. An older schema is refused with exit code 4: run `paycore migrate` first.
    """
    given = {name: value for name, value in (("grpc_listen", grpc_listen), ("http_listen", http_listen)) if value}
    settings = settings_of(config, database, **given)
    screen = Screen(json)
    with ExitStack() as stack:
        street = None
        if dev or simulators:
            street = _prepare(settings, screen, stack, simulators=simulators, port=simulator_port)
        _run(settings, screen, street)


def _run(settings: Settings, screen: Screen, street: Simulated | None) -> None:
    """Serve. What keeps a server from starting becomes a sentence."""
    from paycore import serving
    from paycore.rpc.server import PlaintextRefused

    def say(text: str) -> None:
        screen.line({"event": "ready", "text": text}, text, "bold green")

    def opened(process: Process) -> None:
        if street is not None:
            street.tell_notice_urls(process)

    try:
        serving.run(settings, say, opened)
    except PlaintextRefused as refused:
        raise Sorry(f"{str(refused)[:1].upper()}{str(refused)[1:]}.", ExitCode.NOT_READY) from None
    except OSError as error:
        raise Sorry(
            f"An address cannot be listened on: {error.strerror or 'it is not free'}.", ExitCode.UNAVAILABLE
        ) from None
    except RuntimeError as error:
        if "bind" not in str(error).lower():  # grpc's word for a port that is taken
            raise
        raise Sorry("A port cannot be listened on; perhaps a server runs already.", ExitCode.UNAVAILABLE) from None


# ---------------------------------------------------------------------------------------------- for development


def _prepare(settings: Settings, screen: Screen, stack: ExitStack, *, simulators: bool, port: int) -> Simulated | None:
    """The app, its key and its accounts, in a database that is made if it is a fresh SQLite file; the simulators that run."""
    from paycore.engine.simulators import SimulatorServer  # noqa: F401 - a missing part is told before anything is made

    with store_of(settings, any_schema=True, may_make=True) as store:
        if store.dialect == "sqlite" and store.is_fresh():
            store.migrate()
        store.require_current()
        app, key = dev_app(store)
        if key:
            screen.line(
                {"event": "app", "app_id": app.app_id, "api_key": key},
                f"App {DEV_APP} ({app.app_id}) is made; its key is shown this once:\n\n  export PAYCORE_API_KEY={key}\n",
            )
        if not simulators:
            return None
        street = stack.enter_context(simulated(settings, port))
        for channel, values in street.settings.items():
            account_id = street.accounts[channel] = _account(settings, store, app.app_id, channel, values)
            screen.line(
                {"event": "simulator", "channel": channel, "url": street.url(channel), "account_id": account_id},
                f"Simulator of {channel}: {street.url(channel)} (account {account_id})",
            )
        return street


def dev_app(store: Store) -> tuple[Any, str]:
    """The app for development; the text of its key if the app was made now, else an empty text."""
    from paycore.cli.apps import add_app

    with store.write() as unit:
        found = next((app for app in unit.list_apps() if app.name == DEV_APP), None)
        return (found, "") if found is not None else add_app(unit, DEV_APP)


def _account(settings: Settings, store: Store, app_id: str, channel: str, values: dict[str, str]) -> str:
    """The app's account at a simulator: made now, or given the keys of this run's simulator."""
    with store.read() as unit:
        found = next(iter(unit.list_accounts(app_id, channel=channel)), None)
    with accounts_of(settings, store) as accounts:
        if found is None:
            place = "sandbox"
            made = asyncio.run(accounts.add(app_id, channel, place, values, title="simulator"))
            return made.account_id
        asyncio.run(accounts.rotate(found.account_id, values))
        return str(found.account_id)


@dataclass(frozen=True, slots=True)
class Simulated:
    """The simulators that run, and what an account at each needs."""

    simulators: dict[str, Simulator]
    base_urls: dict[str, str]
    settings: dict[str, dict[str, str]]
    accounts: dict[str, str] = field(default_factory=dict)
    """Our account at each channel, once it is made."""

    def tell_notice_urls(self, process: Process) -> None:
        """Enter where notices go in the consoles of the channels that are told there."""
        from paycore.engine.simulators import enter_notice_urls

        urls = {channel: process.engine.notice_url(account_id) for channel, account_id in self.accounts.items()}
        enter_notice_urls(self.simulators, urls)

    def url(self, channel: str) -> str:
        """Where a person may look at the channel."""
        return f"{self.base_urls[channel]}/"


@contextmanager
def simulated(settings: Settings, port: int) -> Iterator[Simulated]:
    """Every loaded channel's simulator, served by a thread of its own for as long as the block runs."""
    from paycore.cli.opening import host_of
    from paycore.engine.clock import SystemClock
    from paycore.engine.simulators import SimulatorServer

    simulators = dict(host_of(settings).simulators())
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="simulators", daemon=True)
    thread.start()
    server = SimulatorServer(simulators, SystemClock(), port=port)
    try:
        try:
            asyncio.run_coroutine_threadsafe(server.start(), loop).result(START_SECONDS)
        except OSError:
            raise Sorry(
                f"Port {port} for the simulators is not free; take another by --simulator-port.", ExitCode.UNAVAILABLE
            ) from None
        yield _simulated(simulators, server)
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(START_SECONDS)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(START_SECONDS)
        loop.close()


def _simulated(simulators: dict[str, Simulator], server: Any) -> Simulated:
    base_urls = {channel: server.base_url(channel) for channel in simulators}
    return Simulated(
        simulators, base_urls, {channel: dict(one.settings(base_urls[channel])) for channel, one in simulators.items()}
    )
