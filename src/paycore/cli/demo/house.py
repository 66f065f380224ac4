"""Where the demo plays: a server on a fresh SQLite file, simulated channels over HTTP, an app with a key."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from pydantic_settings import SettingsConfigDict

from paycore.cli.demo.clock import BehindClock, SkippingClock
from paycore.cli.demo.street import CHANNEL, SHOP_HOST, Neighbour, Street, others, simulator
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
    neighbours: tuple[Neighbour, ...]


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
    from paycore.channel import Simulator
    from paycore.engine.simulators import SimulatorServer, enter_notice_urls
    from paycore.serving import Parts, serving

    clock, played, kinds = SkippingClock(), simulator(), others()
    theirs = BehindClock(clock)
    simulators: dict[str, Simulator] = {CHANNEL: played, **{kind.name: one for kind, one in kinds}}
    channels = SimulatorServer(simulators, theirs)
    settings = settings_in(folder)
    with (folder / LOG).open("w", encoding="utf-8") as log:
        logs.configure(settings.log_level, log)
        await channels.start()
        try:
            accounts = {name: dict(one.settings(channels.base_url(name))) for name, one in simulators.items()}
            api_key, ours = await _settle_in(settings, accounts)
            async with serving(settings, Parts(clock=clock)) as process:
                enter_notice_urls(simulators, {name: process.engine.notice_url(one) for name, one in ours.items()})
                street = Street(played, theirs, channels.look)
                neighbours = tuple(Neighbour(kind, one, theirs, channels.look) for kind, one in kinds)
                yield House(process.target, api_key, street, clock, channels.base_url(CHANNEL), neighbours)
        finally:
            await channels.stop()


async def _settle_in(settings: Settings, accounts: dict[str, dict[str, str]]) -> tuple[str, dict[str, str]]:
    """A fresh database with an app and its account at every simulator. Returns the app's key, and the accounts by channel."""
    from paycore.cli.apps import add_app
    from paycore.cli.demo.stories import FIVE_OFF
    from paycore.cli.opening import accounts_of, store_of
    from paycore.store import StoredOffer

    with store_of(settings, any_schema=True, may_make=True) as store:
        store.migrate()
        with store.write() as unit:
            app, api_key = add_app(unit, "demo", limits={"return_hosts": (SHOP_HOST,)})
            unit.put_offer(StoredOffer(FIVE_OFF, app.app_id, app.created_at))
        with accounts_of(settings, store) as books:
            made = {
                channel: (await books.add(app.app_id, channel, "sandbox", values, title="demo")).account_id
                for channel, values in accounts.items()
            }
    return api_key, made


def audit(folder: Path, progress: Any) -> Any:
    """Prove the books of the demo's database, as `paycore audit` does."""
    from paycore.cli.auditing import examine
    from paycore.cli.opening import store_of

    with store_of(settings_in(folder)) as store:
        return examine(store, progress)
