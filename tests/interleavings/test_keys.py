"""All orders of changing an account's keys and using them: what an operator was told stays so, and somebody can always sign."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest

from paycore.core.ids import Prefix
from paycore.core.order import Order
from paycore.engine.accounts import Accounts, OpenAccount
from paycore.engine.host import Host
from paycore.engine.ids import SystemIds
from paycore.engine.keyring import Keyring, Place
from paycore.engine.memory import Memory
from paycore.engine.tell import Telling, Told
from paycore.engine.workshop import InlineWorkshop
from paycore.store import AccountVersion, Store, VersionState
from tests.engine.channels import kind_of
from tests.interleavings import scenes
from tests.interleavings.scenes import APP, Still, fresh, tell, weave_scene
from tests.interleavings.weave import Loom, Played, Scene, Work, at_one_go

T = TypeVar("T")

OLD_KEY, NEW_KEY = bytes(range(32)), bytes(range(1, 33))
RING = Keyring(NEW_KEY, OLD_KEY)
ACTIVE, DRAINING, VERIFY_ONLY = VersionState.ACTIVE, VersionState.DRAINING, VersionState.VERIFY_ONLY


async def inline(work: Callable[[], T]) -> T:
    """Work where it stands: in the player's own thread."""
    return work()


def accounts_on(store: Store, ring: Keyring = RING) -> Accounts:
    """The accounts as a process of its own knows them: nothing yet."""
    clock = Still()
    return Accounts(
        Memory(store, run=inline), ring, Host([kind_of()], workshop=InlineWorkshop()), clock, SystemIds(clock)
    )


def settings(key: str, merchant: str) -> dict[str, str]:
    return {"merchant": merchant, "key": key}


@dataclass
class Shop:
    """An account that players change, and an order that they sign for."""

    account_id: str
    merchant: str
    order: Order
    signed: list[OpenAccount] = field(default_factory=list)


def shop_on(store: Store) -> Shop:
    """An account whose one version was sealed under the older master key."""
    merchant = f"M{fresh(Prefix.ACCOUNT)[-12:]}"
    made = asyncio.run(
        accounts_on(store, Keyring(OLD_KEY)).add(APP, "scripted", "sandbox", settings("key-1", merchant))
    )
    return Shop(made.account_id, merchant, scenes.new_order(store))


Act = Callable[[Accounts, Shop], Awaitable[Any]]
"""What a player does to the shop's account."""


def rotates(key: str) -> Act:
    return lambda accounts, shop: accounts.rotate(shop.account_id, settings(key, shop.merchant))


def sets(number: int, state: VersionState) -> Act:
    return lambda accounts, shop: accounts.set_version_state(shop.account_id, number, state)


async def rewraps(accounts: Accounts, shop: Shop) -> int:
    def rewrap(unit: Any) -> int:
        return accounts._rewrap(unit.get_account(shop.account_id), unit)

    return await accounts._memory.write(rewrap)


async def signs(accounts: Accounts, shop: Shop) -> Told:
    """Open the account, sign with the version that signs, and store the payment that was signed."""
    opened = await accounts.open(shop.account_id)
    shop.signed.append(opened)
    fact = scenes.payment_asked()
    with at_one_go():  # the order's rows are nobody else's here
        told = tell(accounts._memory.store, Telling(shop.order.order_id, fact, app_id=APP))
    assert isinstance(told, Told)
    return told


def scene_of(*acts: Act) -> Scene:
    def begin(loom: Loom) -> tuple[dict[str, Work], Shop]:
        shop = shop_on(loom.stores[0])

        def work(act: Act, store: Store) -> Work:
            async def do() -> Any:
                return await act(accounts_on(store), shop)

            return lambda: asyncio.run(do())

        return {name: work(act, loom.stores[i]) for i, (name, act) in enumerate(zip("ABC", acts, strict=False))}, shop

    return Scene(begin)


def keys_wrong(loom: Loom, played: Played) -> list[str]:
    """What is wrong with the account: somebody signs, once; no version that was acknowledged or signed with was lost."""
    shop: Shop = played.about
    with loom.stores[0].read() as unit:
        account, versions = unit.get_account(shop.account_id), unit.account_versions(shop.account_id)
    assert account is not None
    found = {version.version: version for version in versions}
    sealed = {
        number: json.loads(RING.unseal(version.settings_cipher, Place(APP, "scripted", shop.account_id, number)))["key"]
        for number, version in found.items()
    }
    wrong = [] if sum(one.state is ACTIVE for one in versions) == 1 else [f"signers: {versions}"]
    for name, outcome in played.outcomes.items():
        if isinstance(outcome, AccountVersion) and found[outcome.version].created_at != outcome.created_at:
            wrong.append(f"lost: version {outcome.version} of {name}")
    wrong += [f"lost: key {key}" for key in _acknowledged(played) if key not in sealed.values()]
    for opened in shop.signed:
        if opened.signing not in found:
            wrong.append(f"lost: version {opened.signing}, which signed")
    return wrong + (["deadlock"] if played.deadlocks else [])


def _acknowledged(played: Played) -> list[str]:
    """The keys of the versions that operators were told are stored."""
    keys = []
    for outcome in played.outcomes.values():
        if isinstance(outcome, AccountVersion):
            place = Place(APP, "scripted", outcome.account_id, outcome.version)
            keys.append(json.loads(RING.unseal(outcome.settings_cipher, place))["key"])
    return keys


ONE = "AccountVersion"

KEYS: list[tuple[str, tuple[Act, ...], set[tuple[str, ...]]]] = [
    ("rotate x sign", (rotates("key-2"), signs), {(ONE, "Told")}),
    ("rotate x rotate", (rotates("key-2"), rotates("key-3")), {(ONE, ONE), (ONE, "ValueError"), ("ValueError", ONE)}),
    ("rotate x rewrap", (rotates("key-2"), rewraps), {(ONE, "int")}),
    ("rotate x drain", (rotates("key-2"), sets(1, DRAINING)), {(ONE, ONE)}),
]


@pytest.mark.parametrize(("acts", "ends"), [row[1:] for row in KEYS], ids=[row[0] for row in KEYS])
def test_no_order_of_two_changes_loses_a_key(loom: Loom, acts: Any, ends: Any) -> None:
    assert weave_scene(loom, scene_of(*acts), ends, lambda played: keys_wrong(loom, played)).run >= 10
