"""What an account has its channel do beside payments: fetching what grows old, statements, named operations."""

import asyncio
import time
from dataclasses import replace
from typing import Any

import pytest

from paycore.channel import (
    BillAmount,
    ChannelVerb,
    Conversation,
    Failure,
    Forged,
    Input,
    LineKind,
    Operation,
    OperationDone,
    OperationRefused,
    Paid,
    RefreshAsk,
    Refreshed,
    Secret,
    Silence,
    Statement,
    StatementLine,
    StatementNotReady,
    Text,
    Unknown,
)
from paycore.core.refusals import Reason
from paycore.engine import errands as errands_module
from paycore.engine.keyring import Keyring
from paycore.store import AccountBlob, Store, VersionState
from paycore.testing.wires import ScriptedCarrier
from tests.engine import world as world_module
from tests.engine.channels import ScriptedChannel, raises, says
from tests.engine.world import KEY, World, reason_of

SECOND = 1_000_000
HOUR = 3600 * SECOND


def scripted(store: Store, channel: ScriptedChannel, carrier: Any = None, **kind: Any) -> World:
    """A world with the scripted channel, which can do everything."""
    return world_module.scripted(store, channel, carrier, **{"verbs": frozenset(ChannelVerb), **kind})


def kept(store: Store, account_id: str) -> AccountBlob | None:
    with store.read() as unit:
        return unit.get_account_blob(account_id)


# ---------------------------------------------------------------------------------------------- refresh


async def test_what_is_fetched_is_sealed_and_the_account_is_opened_anew_with_it(each_store: Store) -> None:
    channel = ScriptedChannel()
    world = scripted(each_store, channel)
    account_id = await world.account()
    await world.engine.accounts.open(account_id)
    assert channel.keys is not None
    assert channel.keys.blob is None, "nothing was fetched yet"
    assert await world.engine.refresh_account(account_id) == Refreshed(Secret("certificate "))
    await world.engine.accounts.open(account_id)
    assert channel.keys.blob == Secret("certificate ")
    row = kept(each_store, account_id)
    assert row is not None
    assert row.blob_cipher is not None
    assert b"certificate" not in row.blob_cipher
    assert (row.refreshed_at, row.due_at, row.failures) == (world.clock.now(), world.clock.now() + HOUR, 0)
    await world.engine.refresh_account(account_id)
    await world.engine.accounts.open(account_id)
    assert channel.keys.blob == Secret("certificate certificate "), "a refresh knows what the last one fetched"


async def test_another_process_opens_the_account_with_what_the_first_fetched(each_store: Store) -> None:
    channel = ScriptedChannel()
    world = scripted(each_store, channel)
    account_id = await world.account()
    elsewhere = World(each_store, world.host, world.carrier, world.clock)
    await elsewhere.engine.accounts.open(account_id)
    await world.engine.refresh_account(account_id)
    world.clock.advance(3)
    await elsewhere.engine.accounts.open(account_id)
    assert channel.keys is not None
    assert channel.keys.blob == Secret("certificate ")


async def test_the_channel_may_want_it_sooner_and_never_later_than_its_kind(store: Store) -> None:
    for again_at, due_at in [(600, 600), (2 * 3600, 3600), (-5, 60)]:
        channel = ScriptedChannel()
        world = scripted(store, channel)
        now = world.clock.now()
        channel.refresh_ = says(Refreshed(Secret("token"), max(now + again_at * SECOND, 1)))
        account_id = await world.account(settings={"merchant": f"M{due_at}", "key": "k"})
        await world.engine.refresh_account(account_id)
        row = kept(store, account_id)
        assert row is not None
        assert row.due_at == now + due_at * SECOND


@pytest.mark.parametrize(
    "script",
    [
        says(Unknown("busy")),
        says(None),
        says(Refreshed("plain text")),  # type: ignore[arg-type]
        says(Refreshed(Secret("x" * 70_000))),
        says(Refreshed(Secret("x"), "soon")),  # type: ignore[arg-type]
        raises(KeyError("canary")),
        raises(Forged("not theirs"), asks=1),
        raises(Silence("lost"), asks=1),
    ],
    ids=range(8),
)
async def test_a_refresh_that_fails_leaves_what_there_is_and_is_tried_again(store: Store, script: Any) -> None:
    channel = ScriptedChannel()
    world = scripted(store, channel)
    account_id = await world.account()
    await world.engine.refresh_account(account_id)
    before = kept(store, account_id)
    channel.refresh_ = script
    waits = []
    for _ in range(3):
        assert isinstance(await world.engine.refresh_account(account_id), Unknown)
        row = kept(store, account_id)
        assert row is not None
        assert before is not None
        assert row.blob_cipher == before.blob_cipher
        waits.append((row.due_at - world.clock.now()) // SECOND)
    assert waits == [60, 120, 300]
    assert "canary" not in world.host.last_problem("scripted")


async def test_the_clock_fetches_for_every_account_that_is_due(each_store: Store) -> None:
    channel = ScriptedChannel()
    world = scripted(each_store, channel)
    first = await world.account()
    second = await world.account(settings={"merchant": "M2", "key": "k"})
    refresher = world.engine.refresher
    assert await refresher.refresh_due() == 2
    assert await refresher.refresh_due() == 0
    world.clock.advance(3599)
    assert await refresher.refresh_due() == 0
    world.clock.advance(1)
    assert await refresher.refresh_due() == 2
    for account_id in (first, second):
        row = kept(each_store, account_id)
        assert row is not None
        assert row.due_at == world.clock.now() + HOUR


async def test_two_processes_fetch_once(each_store: Store) -> None:
    channel = ScriptedChannel()
    world = scripted(each_store, channel)
    await world.account()
    elsewhere = World(each_store, world.host, world.carrier, world.clock)

    def slow(ask: RefreshAsk) -> Conversation[Any]:
        time.sleep(0.2)
        return (yield from ScriptedChannel().refresh_(ask))

    channel.refresh_ = slow
    done = await asyncio.gather(world.engine.refresher.refresh_due(), elsewhere.engine.refresher.refresh_due())
    assert sorted(done) == [0, 1]
    assert channel.verbs().count("refresh") == 1


async def test_an_account_that_nobody_can_sign_for_is_put_off_and_holds_up_nobody(store: Store) -> None:
    channel = ScriptedChannel()
    world = scripted(store, channel)
    stuck = await world.account()
    good = await world.account(settings={"merchant": "M2", "key": "k"})
    await world.engine.accounts.set_version_state(stuck, 1, VersionState.VERIFY_ONLY)
    assert await world.engine.refresher.refresh_due() == 2
    put_off, fetched = kept(store, stuck), kept(store, good)
    assert put_off is not None
    assert (put_off.blob_cipher, put_off.failures) == (None, 1)
    assert fetched is not None
    assert fetched.blob_cipher is not None


async def test_a_started_engine_fetches_by_itself_and_stops(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errands_module, "LOOK", SECOND)
    channel = ScriptedChannel()
    world = scripted(store, channel)
    account_id = await world.account()
    await world.engine.start()
    try:
        async with asyncio.timeout(20):
            while channel.verbs().count("refresh") < 2:
                world.clock.advance(600)
                await asyncio.sleep(0.02)
        assert kept(store, account_id) is not None
    finally:
        await world.engine.stop()


async def test_a_kind_that_fetches_nothing_is_never_looked_at(store: Store) -> None:
    world = scripted(store, ScriptedChannel(), verbs=frozenset({ChannelVerb.PREPARE, ChannelVerb.QUERY}))
    account_id = await world.account()
    assert await world.engine.refresher.refresh_due() == 0
    assert await reason_of(world.engine.refresh_account(account_id)) is Reason.METHOD_UNAVAILABLE


async def test_what_was_fetched_is_put_under_the_new_master_key_too(each_store: Store) -> None:
    channel = ScriptedChannel()
    world = scripted(each_store, channel)
    account_id = await world.account()
    await world.engine.refresh_account(account_id)
    new = b"n" * 32
    rotated = World(each_store, world.host, world.carrier, world.clock)
    rotated.engine.accounts._keyring = Keyring(new, KEY)
    assert await rotated.engine.accounts.rewrap() == 2
    assert await rotated.engine.accounts.rewrap() == 0
    rotated.engine.accounts._keyring = Keyring(new)
    rotated.clock.advance(3)
    await rotated.engine.accounts.open(account_id)
    assert channel.keys is not None
    assert channel.keys.blob == Secret("certificate ")


async def test_what_does_not_open_is_as_if_it_had_not_been_fetched(store: Store) -> None:
    channel = ScriptedChannel()
    world = scripted(store, channel)
    account_id = await world.account()
    await world.engine.refresh_account(account_id)
    row = kept(store, account_id)
    assert row is not None
    assert row.blob_cipher is not None
    with store.write() as unit:
        unit.put_account_blob(replace(row, blob_cipher=row.blob_cipher[:-1] + b"?"))
    world.clock.advance(3)
    await world.engine.accounts.open(account_id)
    assert channel.keys is not None
    assert channel.keys.blob is None


# ---------------------------------------------------------------------------------------------- statements

LINE = StatementLine(LineKind.REFUND, BillAmount(-1200, 2), "CNY", "py1", "rf1", fee=BillAmount(-720, 5))
DAY = "2026-11-23"


async def test_a_statement_comes_through_as_the_channel_made_it(store: Store) -> None:
    whole = Statement("trade", DAY, "M1", (LINE, replace(LINE, kind=LineKind.OTHER, columns={"备注": "x"})))
    world = scripted(store, ScriptedChannel(statement_=says(whole)))
    account_id = await world.account()
    assert await world.engine.statement(account_id, "trade", DAY) == whole


@pytest.mark.parametrize(
    ("name", "day", "reason"),
    [
        ("ledger", DAY, Reason.METHOD_UNKNOWN),
        ("trade", "2026-13-01", Reason.BAD_TIMESTAMP),
        ("trade", "20261123", Reason.BAD_TIMESTAMP),
        ("trade", f"{DAY}\n", Reason.BAD_TIMESTAMP),
    ],
)
async def test_only_a_declared_statement_of_a_real_day_is_asked_for(
    store: Store, name: str, day: str, reason: Reason
) -> None:
    channel = ScriptedChannel()
    world = scripted(store, channel)
    account_id = await world.account()
    assert await reason_of(world.engine.statement(account_id, name, day)) is reason
    assert channel.asked == []


@pytest.mark.parametrize(
    "answer",
    [
        None,
        Paid(1, "CNY", "M1"),
        Statement("trade", DAY, "M1", [LINE]),  # type: ignore[arg-type]
        Statement("trade", DAY, "M1", (None,)),  # type: ignore[arg-type]
        Statement("trade", DAY, "M1", (replace(LINE, amount=12),)),  # type: ignore[arg-type]
        Statement("trade", DAY, "M1", (replace(LINE, amount=BillAmount(1.5, 2)),)),  # type: ignore[arg-type]
        Statement("trade", DAY, "M1", (replace(LINE, amount=BillAmount(1, -2)),)),
        Statement("trade", DAY, "M1", (replace(LINE, currency="RMB"),)),
        Statement("trade", DAY, "M1", (replace(LINE, payment_id="p\0"),)),
        Statement("trade", DAY, "M1", (replace(LINE, happened_at=-1),)),
        Statement("trade", DAY, "M1", (replace(LINE, columns={"a": 1}),)),  # type: ignore[dict-item]
        Statement("trade", DAY, "M1", (replace(LINE, kind="refund"),)),  # type: ignore[arg-type]
        StatementNotReady(7),  # type: ignore[arg-type]
    ],
    ids=range(13),
)
async def test_what_is_no_statement_is_unknown_and_held_against_the_plugin(store: Store, answer: Any) -> None:
    world = scripted(store, ScriptedChannel(statement_=says(answer)))
    account_id = await world.account()
    finding = await world.engine.statement(account_id, "trade", DAY)
    assert isinstance(finding, Unknown)
    assert finding.note.startswith("plugin error")
    assert world.host.is_shaky("scripted")


async def test_a_statement_that_is_not_ready_says_so_and_silence_is_unknown(store: Store) -> None:
    channel = ScriptedChannel(statement_=says(StatementNotReady("tomorrow")))
    world = scripted(store, channel)
    account_id = await world.account()
    assert await world.engine.statement(account_id, "trade", DAY) == StatementNotReady("tomorrow")
    lost = scripted(store, channel, ScriptedCarrier([Silence("lost")]))
    assert await lost.engine.statement(account_id, "trade", DAY) == Unknown("lost")


# ---------------------------------------------------------------------------------------------- operations

PAYER = Input("consented", Text("", ""), r"yes|no")


async def test_an_operation_is_done_for_a_payment_with_its_inputs(store: Store) -> None:
    channel = ScriptedChannel()
    world = scripted(store, channel, operations=(Operation("remind", Text("", ""), (PAYER,)),))
    await world.account()
    order = await world.order()
    payment = await world.paid(order)
    asked = (world.app_id, order.order_id, payment.payment_id, "remind")
    assert await reason_of(world.engine.operate(*asked, {})) is Reason.INPUT_REQUIRED
    assert await reason_of(world.engine.operate(*asked, {"consented": "perhaps"})) is Reason.INPUT_REQUIRED
    done = await world.engine.operate(*asked, {"consented": "yes", "other": "x"})
    assert done == OperationDone({"name": "remind"})
    [ask] = [ask for verb, ask in channel.asked if verb == "operate"]
    assert (ask.inputs, ask.payment.payment_id) == ({"consented": "yes"}, payment.payment_id)
    before = await world.stands(order)
    refusal = OperationRefused(Failure("too_late"))
    channel.operate_ = says(refusal)
    assert await world.engine.operate(*asked, {"consented": "no"}) == refusal
    assert (await world.stands(order)) == before, "an operation changes nothing of ours"


async def test_an_operation_that_is_not_there_is_refused(store: Store) -> None:
    world = scripted(store, ScriptedChannel())
    await world.account()
    order = await world.order()
    payment = await world.paid(order)
    operate, none = world.engine.operate, dict[str, str]()
    asked = (world.app_id, order.order_id, payment.payment_id)
    assert await reason_of(operate(*asked, "launder", none)) is Reason.METHOD_UNKNOWN
    assert await reason_of(operate(world.app_id, order.order_id, "py", "remind", none)) is Reason.PAYMENT_NOT_FOUND
    other = "ap" + "0" * 25 + "9"
    assert await reason_of(operate(other, order.order_id, "py", "remind", none)) is Reason.ORDER_NOT_FOUND


async def test_what_an_operation_returns_is_looked_at(store: Store) -> None:
    channel = ScriptedChannel()
    world = scripted(store, channel)
    await world.account()
    order = await world.order()
    payment = await world.paid(order)
    for answer in (None, OperationDone({"a": 1}), OperationRefused("no"), OperationDone("yes")):  # type: ignore[arg-type, dict-item]
        channel.operate_ = says(answer)
        finding = await world.engine.operate(world.app_id, order.order_id, payment.payment_id, "remind", {})
        assert isinstance(finding, Unknown)
