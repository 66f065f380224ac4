"""Where the demo plays: a server on a fresh SQLite file, a simulated channel over HTTP, an app with a key."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from pydantic_settings import SettingsConfigDict

from paycore.cli.demo.clock import BehindClock, SkippingClock
from paycore.cli.demo.street import CHANNEL, Street, simulator
from paycore.settings import Settings

DATABASE = "paycore.db"
LOG = "server.log"


@dataclass(frozen=True, slots=True)
class House:
    """A server that runs, and what is needed to call it."""

    target: str
    api_key: str
    street: Street
    clock: SkippingClock
    simulator_url: str


class DemoSettings(Settings):
    """The settings of the demo's server. Nothing of the operator's own gets into them."""

    model_config = SettingsConfigDict(env_prefix="PAYCORE_DEMO_HAS_NO_VARIABLES_")


def settings_in(folder: Path) -> Settings:
    """A server on a file in this folder and on ports that are free."""
    return DemoSettings(
        database_url=SecretStr(f"sqlite:///{folder / DATABASE}"),
        grpc_listen="127.0.0.1:0",
        http_listen="127.0.0.1:0",
        log_level="warning",
    )


@asynccontextmanager
async def open_house(folder: Path) -> AsyncIterator[House]:
    """The whole house in one process, speaking through real sockets of this machine."""
    from paycore import logs
    from paycore.engine.simulators import SimulatorServer
    from paycore.serving import Parts, serving

    clock, played = SkippingClock(), simulator()
    theirs = BehindClock(clock)
    channels = SimulatorServer({CHANNEL: played}, theirs)
    settings = settings_in(folder)
    with (folder / LOG).open("w", encoding="utf-8") as log:
        logs.configure(settings.log_level, log)
        await channels.start()
        try:
            api_key = await _settle_in(settings, dict(played.settings(channels.base_url(CHANNEL))))
            async with serving(settings, Parts(clock=clock)) as process:
                street = Street(played, theirs, channels.look)
                yield House(process.target, api_key, street, clock, channels.base_url(CHANNEL))
        finally:
            await channels.stop()


async def _settle_in(settings: Settings, account_settings: dict[str, str]) -> str:
    """A fresh database with an app and its account at the simulator. Returns the app's key."""
    from paycore.cli.apps import add_app
    from paycore.cli.opening import accounts_of, store_of

    with store_of(settings, any_schema=True, may_make=True) as store:
        store.migrate()
        with store.write() as unit:
            app, api_key = add_app(unit, "demo")
        with accounts_of(settings, store) as accounts:
            await accounts.add(app.app_id, CHANNEL, "sandbox", account_settings, title="demo")
    return api_key


def audit(folder: Path, progress: Any) -> Any:
    """Prove the books of the demo's database, as `paycore audit` does."""
    from paycore.cli.auditing import examine
    from paycore.cli.opening import store_of

    with store_of(settings_in(folder)) as store:
        return examine(store, progress)
