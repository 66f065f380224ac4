"""An engine's life: it starts on a current schema, does what is due by itself, and leaves nothing behind."""

import asyncio
import gc
import subprocess
import sys
import threading
import warnings
from dataclasses import replace
from typing import Any

import pytest

from paycore.channel import Reply, Request, Silence
from paycore.core.order import OrderState, PaymentState
from paycore.core.refusals import Reason
from paycore.core.terms import SECOND
from paycore.store import App, StaleSchema, Store, StoreUnavailable
from tests.engine.channels import ScriptedChannel, closed, paid, says, waiting
from tests.engine.world import World, kept_simply, reason_of, scripted


async def wait_for_state(world: World, order: Any, state: OrderState, *, step: float = 1.0) -> None:
    """Let time pass until the order stands so; the engine's own clock does the work."""
    async with asyncio.timeout(10):
        while (await world.stands(order)).state is not state:
            world.clock.advance(step)
            await asyncio.sleep(0.01)


async def test_it_asks_and_closes_by_itself(each_store: Store) -> None:
    channel = ScriptedChannel()
    world = scripted(each_store, channel)
    await world.engine.start()
    await world.account()
    bought, left = await world.order(), await world.order()
    await world.pay(bought)
    channel.query_ = paid
    await wait_for_state(world, bought, OrderState.PAID)
    channel.query_ = waiting
    await world.pay(left)
    world.clock.set(left.expires_at)
    await wait_for_state(world, left, OrderState.CLOSED)
    await world.engine.stop()


async def test_a_worker_that_died_is_followed_by_another(each_store: Store) -> None:
    """The first process sends a prepare and dies before the answer; the second finds the task when the lease ends."""
    started = asyncio.Event()

    class Dying:
        async def carry(self, request: Request, *, seconds: float) -> Reply:
            started.set()
            await asyncio.Event().wait()
            raise Silence("never reached")

    first = scripted(each_store, ScriptedChannel(), Dying())
    await first.account()
    order = await first.order()
    call = asyncio.create_task(first.pay(order))
    await started.wait()
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    for task in list(first.engine._desk._at_work):
        task.cancel()
    await first.engine.stop(0)
    [payment] = (await _load(each_store, order)).payments
    assert (payment.state, payment.sends) == (PaymentState.CREATED, 1), "a crash hides whether it was sent"
    second = World(each_store, first.host, kept_simply(), first.clock)
    await second.engine.start()
    async with asyncio.timeout(10):
        while not (await second.stands(order)).payments[0].plan_json:
            second.clock.advance(1)
            await asyncio.sleep(0.01)
    [payment] = (await second.stands(order)).payments
    assert (payment.state, payment.sends) == (PaymentState.PENDING, 2), "the same number, sent again"
    await second.engine.stop()


async def _load(store: Store, order: Any) -> Any:
    with store.read() as unit:
        return unit.load([order.order_id])[order.order_id]


async def test_two_engines_on_one_store_do_a_task_once(each_store: Store) -> None:
    channel = ScriptedChannel()
    first = scripted(each_store, channel)
    second = World(each_store, first.host, first.carrier, first.clock)
    await first.account()
    order = await first.order()
    await first.pay(order)
    channel.asked.clear()
    channel.query_ = paid
    await asyncio.gather(first.engine.start(), second.engine.start())
    await wait_for_state(first, order, OrderState.PAID, step=0.5)
    await asyncio.gather(first.engine.stop(), second.engine.stop())
    assert channel.verbs() == ["query"]


async def test_a_closing_caller_and_the_clock_share_the_work(store: Store) -> None:
    channel = ScriptedChannel(close_=closed)
    world = scripted(store, channel)
    await world.engine.start()
    await world.account()
    order = await world.order()
    await world.pay(order)
    channel.asked.clear()
    told = await world.engine.close_order(world.app_id, order.order_id, world.request())
    assert told.order.state is OrderState.CLOSED
    assert channel.verbs() == ["query", "close"], "whoever took it, it was done once"
    await world.engine.stop()


async def test_it_does_not_start_on_another_versions_schema(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    world = scripted(store, ScriptedChannel())
    monkeypatch.setattr(store, "head", lambda: "9999")
    with pytest.raises(StaleSchema):
        await world.engine.start()
    assert await world.engine.why_not_ready() == "The engine is not started."
    await world.engine.stop()


async def test_it_says_why_it_is_not_ready(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    world = scripted(store, ScriptedChannel())
    assert await world.engine.why_not_ready() == "The engine is not started."
    await world.engine.start()
    assert await world.engine.why_not_ready() == ""

    def away() -> Any:
        raise StoreUnavailable("connection")

    with monkeypatch.context() as patched:
        patched.setattr(store, "read", away)
        assert await world.engine.why_not_ready() == "The database cannot be reached."
    await world.engine.stop()
    assert await world.engine.why_not_ready() == "The engine is not started."


async def test_it_leaves_no_thread_and_no_task_behind(store: Store) -> None:
    before, running = set(asyncio.all_tasks()), set(threading.enumerate())
    world = scripted(store, ScriptedChannel(query_=paid))
    await world.engine.start()
    await world.account()
    order = await world.order()
    await world.pay(order)
    await world.engine.sync_order(world.app_id, order.order_id)
    await world.engine.stop()
    await asyncio.sleep(0)
    assert set(asyncio.all_tasks()) == before
    ours = {"teller", "reader", "hub", "memory", "clock", "sequencer"}
    left = set(threading.enumerate()) - running
    assert not [thread.name for thread in left if thread.name.split("_")[0] in ours]


async def test_an_app_that_is_not_there_lets_nobody_in(store: Store) -> None:
    world = scripted(store, ScriptedChannel())
    nobody = "ap" + "0" * 25 + "7"
    assert await reason_of(world.order(app_id=nobody)) is Reason.CREDENTIALS_INVALID
    world.put_app(App(nobody, "late", world.clock.now()))
    assert (await world.order(app_id=nobody)).app_id == nobody


async def test_limits_that_an_operator_changes_take_hold_within_seconds(store: Store) -> None:
    world = scripted(store, ScriptedChannel())
    app = await world.engine.apps.get(world.app_id)
    with store.write() as unit:
        unit.put_app(replace(app, max_amount_minor=100))
    world.clock.advance(3)
    assert await reason_of(world.order()) is Reason.AMOUNT_TOO_LARGE


async def test_a_store_that_cannot_be_reached_is_to_be_asked_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = scripted(store, ScriptedChannel())
    await world.account()
    order = await world.order()

    def away() -> Any:
        raise StoreUnavailable("connection")

    monkeypatch.setattr(store, "read", away)
    monkeypatch.setattr(store, "write", away)
    world.clock.advance(60)
    engine = world.engine
    for work in (
        engine.get_order(world.app_id, order.order_id),
        engine.find_order(world.app_id, "NO-1"),
        engine.list_orders(world.app_id),
        engine.explain(world.app_id, order.order_id),
        engine.sync_order(world.app_id, order.order_id),
        engine.close_order(world.app_id, order.order_id, world.request()),
        world.pay(order),
        world.order(),
        engine.create_session(world.app_id, order.order_id, {}, world.request()),
        engine.options(order, {}),
    ):
        assert await reason_of(work) is Reason.STORE_UNAVAILABLE


async def test_a_task_of_a_bug_is_done_again_when_its_lease_ends(store: Store) -> None:
    channel = ScriptedChannel(query_=says(None))
    world = scripted(store, channel)
    await world.engine.start()
    await world.account()
    order = await world.order()
    await world.pay(order)
    async with asyncio.timeout(10):
        while channel.verbs().count("query") < 2:
            world.clock.advance(2)
            await asyncio.sleep(0.01)
    channel.query_ = paid
    await wait_for_state(world, order, OrderState.PAID, step=10)
    await world.engine.stop()


def test_importing_the_engine_takes_no_transport_along() -> None:
    forbidden = ("grpc", "google.protobuf", "starlette", "uvicorn", "typer", "rich", "structlog", "prometheus_client")
    code = f"import sys, paycore.engine; print([name for name in {forbidden!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert found.stdout.strip() == "[]"


async def test_work_that_is_called_off_before_it_began_leaves_nothing_behind(store: Store) -> None:
    """A caller hands over what is due; before the first step of it everything ends. No coroutine is left that nobody awaited."""
    world = scripted(store, ScriptedChannel())
    await world.account()
    order = await world.order()
    await world.pay(order)
    desk, before = world.engine._desk, asyncio.all_tasks()
    with warnings.catch_warnings(record=True) as complaints:
        warnings.simplefilter("always")
        caller = asyncio.create_task(desk.do_now(order.order_id, SECOND))
        await asyncio.sleep(0)
        [begun] = asyncio.all_tasks() - before - {caller}
        begun.cancel()
        await asyncio.gather(caller, return_exceptions=True)
        del begun, caller
        gc.collect()
    assert [str(one.message) for one in complaints] == []
