"""What is remembered for two seconds is remembered no longer, however the machine's clock is set meanwhile."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from paycore.core.offers import Offer, OfferKind
from paycore.store import AccountState, Store, StoredOffer, Unit
from tests.engine.channels import ScriptedChannel
from tests.engine.world import World, scripted

Change = Callable[[Unit, World, str], None]
Seen = Callable[[World, str], Awaitable[bool]]
"""Whether the engine knows of the change."""


def suspend_account(unit: Unit, world: World, account_id: str) -> None:
    account = unit.get_account(account_id)
    assert account is not None
    unit.put_account(replace(account, state=AccountState.SUSPENDED))


async def knows_account(world: World, account_id: str) -> bool:
    return not (await world.engine.accounts.open(account_id)).takes_payments


def rename_app(unit: Unit, world: World, account_id: str) -> None:
    app = unit.get_app(world.app_id)
    assert app is not None
    unit.put_app(replace(app, name="Renamed"))


async def knows_app(world: World, account_id: str) -> bool:
    return (await world.engine.apps.get(world.app_id)).name == "Renamed"


def add_account(unit: Unit, world: World, account_id: str) -> None:
    account = unit.get_account(account_id)
    assert account is not None
    unit.put_account(replace(account, account_id="ac" + "0" * 25 + "9", merchant="M9"))


async def knows_of_two_accounts(world: World, account_id: str) -> bool:
    return len(await world.engine.accounts.rows_of(world.app_id)) == 2


def make_offer(unit: Unit, world: World, account_id: str) -> None:
    offer = Offer("of-1", "优惠", "Offer", OfferKind.FIXED, "CNY", amount_minor=1_000)
    unit.put_offer(StoredOffer(offer, world.app_id, world.clock.now()))


async def knows_offer(world: World, account_id: str) -> bool:
    options = await world.engine.options(await world.order(), {})
    return any(option.quote.offers for option in options)


@pytest.mark.parametrize("set_back_seconds", [0, 600])
@pytest.mark.parametrize(
    ("change", "seen"),
    [
        (suspend_account, knows_account),
        (add_account, knows_of_two_accounts),
        (rename_app, knows_app),
        (make_offer, knows_offer),
    ],
)
async def test_what_is_remembered_is_two_seconds_old_at_most(
    store: Store, change: Change, seen: Seen, set_back_seconds: int
) -> None:
    world = scripted(store, ScriptedChannel())
    account_id = await world.account()
    assert not await seen(world, account_id)
    with store.write() as unit:
        change(unit, world, account_id)
    assert not await seen(world, account_id), "it is remembered"
    world.clock.set(world.clock.now() - set_back_seconds * 1_000_000)
    world.clock.advance(2)
    assert await seen(world, account_id)
