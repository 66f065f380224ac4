"""Accounts: sealed in the store, opened off the loop, rotated without stranding anybody."""

import asyncio
import threading
import time
from dataclasses import replace
from typing import Any

import pytest

from paycore.channel import AccountKeys, Channel, KeyState, Secret, Setting, Text
from paycore.core.order import OrderState
from paycore.core.refusals import Reason
from paycore.engine import accounts as accounts_module
from paycore.engine.accounts import (
    AccountUnusableNow,
    BadSettings,
    WouldStrand,
    check_settings,
    signing_version,
)
from paycore.engine.keyring import Keyring
from paycore.store import AccountState, AccountVersion, App, Store, StoreUnavailable, VersionState
from tests.engine.channels import SETTINGS, ScriptedChannel, kind_of, paid
from tests.engine.world import KEY, World, reason_of, scripted

ACTIVE, DRAINING, VERIFY_ONLY = VersionState.ACTIVE, VersionState.DRAINING, VersionState.VERIFY_ONLY
OTHER = "ap" + "0" * 25 + "2"


def raw_of(store: Store) -> bytes:
    """Everything that the store holds of accounts."""
    with store.read() as unit:
        accounts = unit.list_accounts()
        return repr([(one, unit.account_versions(one.account_id)) for one in accounts]).encode() + b"".join(
            version.settings_cipher for one in accounts for version in unit.account_versions(one.account_id)
        )


async def test_a_secret_lies_sealed_in_the_store_and_comes_out_as_dots(each_store: Store) -> None:
    channel = ScriptedChannel()
    world = scripted(each_store, channel)
    account_id = await world.account(title="Main shop")
    assert b"canary-key" not in raw_of(each_store)
    opened = await world.engine.accounts.open(account_id)
    assert (opened.merchant, opened.signing, opened.takes_payments) == ("M1", 1, True)
    assert channel.keys is not None
    [version] = channel.keys.versions
    assert version.settings["key"] == Secret("canary-key")
    assert version.settings["merchant"] == "M1"
    assert version.settings["gate"] == "https://channel.example", "a default is filled in"
    assert (version.state, channel.keys.signing) == (KeyState.ACTIVE, version)
    assert "canary" not in repr(channel.keys)


async def test_an_account_is_opened_once_beside_the_loop_and_kept(store: Store) -> None:
    opened: list[str] = []

    def slow(keys: AccountKeys) -> Channel:
        opened.append(threading.current_thread().name)
        time.sleep(0.2)
        return ScriptedChannel()

    world = scripted(store, ScriptedChannel(), open=slow)
    account_id = await world.account()
    opened.clear()
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.01)

    ticking = asyncio.create_task(tick())
    await asyncio.gather(*(world.engine.accounts.open(account_id) for _ in range(50)))
    ticking.cancel()
    assert len(opened) == 1
    assert opened[0].startswith("plugin-")
    assert ticks > 5, "the loop went on meanwhile"
    world.clock.advance(60)
    await world.engine.accounts.open(account_id)
    assert len(opened) == 1, "looked at again, and not opened again"


async def test_what_an_operator_changes_takes_hold_within_seconds(store: Store) -> None:
    world = scripted(store, ScriptedChannel())
    account_id = await world.account()
    elsewhere = World(store, world.host, world.carrier, world.clock)  # another process on the same store
    assert (await elsewhere.engine.accounts.open(account_id)).takes_payments
    with store.write() as unit:
        account = unit.get_account(account_id)
        assert account is not None
        unit.put_account(replace(account, state=AccountState.SUSPENDED))
    world.clock.advance(3)
    assert not (await elsewhere.engine.accounts.open(account_id)).takes_payments
    await world.engine.accounts.rotate(account_id, {"merchant": "M1", "key": "k2"})
    world.clock.advance(3)
    assert (await elsewhere.engine.accounts.open(account_id)).signing == 2


async def test_while_the_store_is_away_what_is_open_stays_open(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    world = scripted(store, ScriptedChannel())
    account_id = await world.account()
    await world.engine.accounts.open(account_id)

    def away() -> Any:
        raise StoreUnavailable("connection")

    monkeypatch.setattr(store, "read", away)
    world.clock.advance(60)
    assert (await world.engine.accounts.open(account_id)).account_id == account_id
    assert await reason_of(world.engine.accounts.open("ac" + "0" * 26)) is Reason.STORE_UNAVAILABLE


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({}, "merchant is missing"),
        ({"merchant": "M1"}, "key is missing"),
        ({"merchant": "m!", "key": "canary"}, "merchant is not well formed"),
        ({"merchant": "M1\n", "key": "canary"}, "merchant is not well formed"),
        ({"merchant": "M1", "key": "CANARY"}, "key is not well formed"),
        ({"merchant": "M1", "key": "bad"}, "the key cannot be read"),
        ({"merchant": "M1", "key": "canary", "kye": "x"}, "no setting kye"),
        ({"merchant": "M1", "key": "canary", "gate": "x" * 70_000}, "gate is not a text"),
        ({"merchant": "M1", "key": "canary", "gate": "a\0b"}, "gate is not a text"),
    ],
)
async def test_settings_that_do_not_work_are_refused_without_being_repeated(
    store: Store, settings: dict[str, str], word: str
) -> None:
    world = scripted(store, ScriptedChannel())
    with pytest.raises(BadSettings, match=word) as refusal:
        await world.account(settings=settings)
    assert "canary" not in str(refusal.value).lower()
    with store.read() as unit:
        assert unit.list_accounts() == []


async def test_only_what_exists_can_be_opened(store: Store) -> None:
    world = scripted(store, ScriptedChannel())
    with pytest.raises(BadSettings, match="No plugin"):
        await world.account("alipay")
    with pytest.raises(BadSettings, match="environment"):
        await world.account(environment="moon")
    assert await reason_of(world.engine.accounts.open("ac" + "0" * 26)) is Reason.ACCOUNT_NOT_FOUND


async def test_one_merchant_has_one_account_in_an_app(each_store: Store) -> None:
    world = scripted(each_store, ScriptedChannel())
    world.put_app(App(OTHER, "other", world.clock.now()))
    await world.account()
    with pytest.raises(ValueError, match="rotate its keys"):
        await world.account()
    await world.account(environment="production")
    await world.account(app_id=OTHER)
    await world.account(settings={"merchant": "M2", "key": "k"})


# ---------------------------------------------------------------------------------------------- what cannot be opened


async def test_a_record_that_does_not_open_is_said_so(store: Store) -> None:
    world = scripted(store, ScriptedChannel())
    account_id = await world.account()
    other = World(store, world.host, world.carrier, world.clock)
    other.engine.accounts._keyring = Keyring(b"x" * 32)
    with pytest.raises(AccountUnusableNow, match="master key"):
        await other.engine.accounts.open(account_id)
    assert await other.engine.accounts.for_app(world.app_id) == []


async def test_a_record_that_was_moved_to_another_account_does_not_open(store: Store) -> None:
    world = scripted(store, ScriptedChannel())
    first = await world.account()
    second = await world.account(settings={"merchant": "M2", "key": "k"})
    with store.write() as unit:
        [theirs] = unit.account_versions(second)
        [ours] = unit.account_versions(first)
        unit.put_account_version(replace(ours, settings_cipher=theirs.settings_cipher))
    world.clock.advance(3)
    with pytest.raises(AccountUnusableNow, match="another place"):
        await world.engine.accounts.open(first)


@pytest.mark.parametrize(
    ("broken", "word"),
    [
        (lambda keys: (_ for _ in ()).throw(KeyError("canary")), "it raised KeyError"),
        (lambda keys: None, "lacks verbs"),
        (lambda keys: ScriptedChannel(merchant=""), "whose account"),
        (lambda keys: ScriptedChannel(merchant="M9"), "another merchant"),
        (lambda keys: time.sleep(0.5), "does not come back"),
    ],
    ids=range(5),
)
async def test_a_plugin_that_cannot_open_breaks_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch, broken: Any, word: str
) -> None:
    world = scripted(store, ScriptedChannel())
    account_id = await world.account()
    monkeypatch.setattr(accounts_module, "OPEN_SECONDS", 0.1)
    world.host.kinds["scripted"] = kind_of(open=broken)
    other = World(store, world.host, world.carrier, world.clock)
    with pytest.raises(AccountUnusableNow, match=word) as problem:
        await other.engine.accounts.open(account_id)
    assert "canary" not in str(problem.value)


# ---------------------------------------------------------------------------------------------- rotation


@pytest.mark.parametrize(
    ("states", "signs"),
    [
        ([ACTIVE], 1),
        ([DRAINING], 1),
        ([VERIFY_ONLY], None),
        ([DRAINING, ACTIVE], 2),
        ([ACTIVE, DRAINING], 1),
        ([ACTIVE, VERIFY_ONLY, DRAINING], 1),
        ([DRAINING, DRAINING], 2),
        ([], None),
    ],
)
def test_the_active_version_signs_else_the_newest_that_drains_else_nobody(
    states: list[VersionState], signs: int | None
) -> None:
    versions = [AccountVersion("ac", number, "ap", b"", 0, state) for number, state in enumerate(states, start=1)]
    assert signing_version(versions) == signs


async def test_a_rotation_signs_with_the_new_key_and_verifies_with_both(each_store: Store) -> None:
    channel = ScriptedChannel()
    world = scripted(each_store, channel)
    account_id = await world.account()
    fresh = await world.engine.accounts.rotate(account_id, {"merchant": "M1", "key": "second"})
    assert fresh.version == 2
    opened = await world.engine.accounts.open(account_id)
    assert (opened.signing, opened.takes_payments) == (2, True)
    assert channel.keys is not None
    assert [(one.version, one.state) for one in channel.keys.versions] == [
        (2, KeyState.ACTIVE),
        (1, KeyState.VERIFY_ONLY),
    ]
    assert channel.keys.signing is channel.keys.versions[0]


async def test_a_rotation_cannot_change_whose_account_it_is(store: Store) -> None:
    world = scripted(store, ScriptedChannel())
    account_id = await world.account()
    with pytest.raises(BadSettings, match="another merchant"):
        await world.engine.accounts.rotate(account_id, {"merchant": "M2", "key": "k"})
    with pytest.raises(BadSettings, match="cannot be read"):
        await world.engine.accounts.rotate(account_id, {"merchant": "M1", "key": "bad"})
    assert (await world.engine.accounts.open(account_id)).signing == 1


async def test_rotations_at_the_same_time_leave_one_active_version(each_store: Store) -> None:
    world = scripted(each_store, ScriptedChannel())
    account_id = await world.account()
    rotate = world.engine.accounts.rotate
    await asyncio.gather(
        *(rotate(account_id, {"merchant": "M1", "key": f"k{n}"}) for n in range(5)), return_exceptions=True
    )
    with each_store.read() as unit:
        states = [version.state for version in unit.account_versions(account_id)]
    assert states.count(ACTIVE) == 1


async def test_nobody_takes_the_last_signer_from_open_tasks(each_store: Store) -> None:
    world = scripted(each_store, ScriptedChannel(query_=paid))
    account_id = await world.account()
    order = await world.order()
    await world.pay(order)
    set_state = world.engine.accounts.set_version_state
    with pytest.raises(WouldStrand, match="1 open"):
        await set_state(account_id, 1, VERIFY_ONLY)
    await set_state(account_id, 1, DRAINING)
    await world.engine.accounts.rotate(account_id, {"merchant": "M1", "key": "k2"})
    await set_state(account_id, 1, VERIFY_ONLY)
    with pytest.raises(WouldStrand):
        await set_state(account_id, 2, VERIFY_ONLY)
    world.clock.advance(3)
    await world.do_due()
    assert (await world.stands(order)).state is OrderState.PAID
    await set_state(account_id, 2, VERIFY_ONLY)
    opened = await world.engine.accounts.open(account_id)
    assert (opened.signing, opened.takes_payments) == (None, False), "it still reads notices"
    with pytest.raises(LookupError):
        await set_state(account_id, 9, ACTIVE)


async def test_a_new_active_version_is_the_only_one(store: Store) -> None:
    world = scripted(store, ScriptedChannel())
    account_id = await world.account()
    await world.engine.accounts.rotate(account_id, {"merchant": "M1", "key": "k2"})
    await world.engine.accounts.set_version_state(account_id, 1, ACTIVE)
    with store.read() as unit:
        assert {version.version: version.state for version in unit.account_versions(account_id)} == {
            1: ACTIVE,
            2: VERIFY_ONLY,
        }


async def test_every_record_is_put_under_the_new_master_key(each_store: Store) -> None:
    world = scripted(each_store, ScriptedChannel())
    account_id = await world.account()
    await world.account(settings={"merchant": "M2", "key": "k"})
    await world.engine.accounts.rotate(account_id, {"merchant": "M1", "key": "k2"})
    new = b"n" * 32
    rotated = World(each_store, world.host, world.carrier, world.clock)
    rotated.engine.accounts._keyring = Keyring(new, KEY)
    steps: list[tuple[int, int]] = []
    assert await rotated.engine.accounts.rewrap(lambda done, of: steps.append((done, of))) == 3
    assert steps == [(1, 2), (2, 2)]
    assert await rotated.engine.accounts.rewrap() == 0
    rotated.engine.accounts._keyring = Keyring(new)
    rotated.clock.advance(3)
    assert (await rotated.engine.accounts.open(account_id)).merchant == "M1"


def test_settings_are_filled_in_from_their_defaults() -> None:
    assert check_settings(SETTINGS, {"merchant": "M1", "key": "k"})["gate"] == "https://channel.example"
    optional = (Setting("note", Text("", ""), required=False),)
    assert check_settings(optional, {}) == {}
