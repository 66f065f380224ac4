"""`paycore demo --open`: a shop with one order, its cashier in the browser, and every channel's simulated wallet beside it."""

from __future__ import annotations

import asyncio
import secrets
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

from paycore.cli.demo.house import LOG, settings_in
from paycore.cli.demo.narrator import Narrator

if TYPE_CHECKING:
    from paycore.cli.serving import Simulated
    from paycore.client import AsyncClient
    from paycore.settings import Settings
    from paycore.v1 import order_pb2

AMOUNT_MINOR = 12_800
MINUTES = 15
"""How long the shop stays open when nobody pays."""
LINGER_SECONDS = 60


def keep_open(narrator: Narrator, folder: Path, *, may_open: bool) -> None:
    """Open the shop and follow its order until it is over, or until Ctrl-C."""
    from paycore.cli.serving import simulated

    settings = settings_in(folder)
    with (folder / LOG).open("w", encoding="utf-8") as log, simulated(settings, 0) as street:
        from paycore import logs

        logs.configure(settings.log_level, log)
        api_key = _settle_in(settings, street)
        for channel in street.base_urls:
            narrator.say(
                f"{channel}'s simulated wallet: {street.url(channel)}", channel=channel, url=street.url(channel)
            )
        try:
            asyncio.run(asyncio.wait_for(_serve(narrator, settings, street, api_key, may_open=may_open), MINUTES * 60))
        except TimeoutError:
            narrator.say(f"Nobody paid within {MINUTES} minutes; the shop closes.")
        except KeyboardInterrupt:
            narrator.say("The shop closes.")


def _settle_in(settings: Settings, street: Simulated) -> str:
    """A fresh database with an app and an account at each channel. Returns the app's key."""
    from paycore.cli.apps import add_app
    from paycore.cli.opening import accounts_of, store_of

    with store_of(settings, any_schema=True, may_make=True) as store:
        store.migrate()
        with store.write() as unit:
            app, api_key = add_app(unit, "demo")
        with accounts_of(settings, store) as books:
            for channel, values in street.settings.items():
                made = asyncio.run(books.add(app.app_id, channel, "sandbox", values, title="demo"))
                street.accounts[channel] = made.account_id
    return api_key


async def _serve(narrator: Narrator, settings: Settings, street: Simulated, api_key: str, *, may_open: bool) -> None:
    from paycore.client import AsyncClient
    from paycore.serving import serving

    async with serving(settings) as process, AsyncClient(process.target, api_key) as client:
        street.tell_notice_urls(process)
        order, page = await _order(client)
        narrator.open("cashier", "The cashier waits in your browser")
        narrator.say(f"Open this link; it opens once:\n\n   {page}\n", url=page)
        if may_open:
            await asyncio.to_thread(webbrowser.open, page)
        async for seen in client.watch_order(order.order_id):
            if seen.HasField("event"):
                narrator.event("order", seen.event)
        narrator.good("The order is over; Ctrl-C closes the shop.", order_id=order.order_id)
        await asyncio.sleep(LINGER_SECONDS)  # the payer is still on the way back from the channel's page


async def _order(client: AsyncClient) -> tuple[order_pb2.Order, str]:
    """An order, and where its payer finds the cashier."""
    from paycore.v1 import common_pb2

    order = await client.create_order(
        merchant_order_no=f"DEMO-{secrets.token_hex(4).upper()}",
        amount_minor=AMOUNT_MINOR,
        currency="CNY",
        subject="龙井茶 · 两罐",
        description="West Lake tea, two tins",
    )
    opened = await client.create_cashier_session(order.order_id, client=common_pb2.ClientContext(face="pc"))
    return order, opened.page_url
