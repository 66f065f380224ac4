"""A plugin that raises, hangs, leaves, answers for another order or returns rubbish: the others go on as if it were not there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from paycore.channel import (
    AboutPayment,
    ChannelKind,
    Conversation,
    Notice,
    NoticeCase,
    NoticeReply,
    Paid,
    RawNotice,
    Request,
    Silence,
)
from paycore.core.order import Order, OrderState, Payment, PaymentState, RefundState
from paycore.core.refusals import Reason, Refused
from paycore.engine import accounts as accounts_module
from paycore.engine import converse, notices
from paycore.engine.accounts import BadSettings
from paycore.engine.host import Host
from paycore.store import Store
from tests.engine.channels import ACK, GATE, REFUSALS, ScriptedChannel, kind_of, paid, processing
from tests.engine.world import World, kept_simply, reason_of

RAW = RawNotice("POST", "/v1/notices/x", {}, b"{}")
VERBS = ["prepare", "query", "close", "refund", "query_refund", "read_notice", "confirm"]


class Odd(BaseException):
    """What nobody expects and no `except Exception` catches."""


def raising(error: Callable[[], BaseException]) -> Callable[[Any], Any]:
    def script(ask: Any, now: int = 0) -> Any:
        raise error()

    return script


def raising_later(error: Callable[[], BaseException]) -> Callable[[Any], Any]:
    def script(ask: Any, now: int = 0) -> Conversation[Any]:
        yield Request("POST", f"{GATE}/later")
        raise error()

    return script


def hanging(ask: Any, now: int = 0) -> Any:
    time.sleep(1.0)
    return None


def rubbish(ask: Any, now: int = 0) -> Any:
    return {"state": "PAID", "amount": 1e9}


def endless(ask: Any, now: int = 0) -> Conversation[Any]:
    while True:
        try:
            yield Request("POST", f"{GATE}/more")
        except Silence:
            continue


def unprintable(ask: Any, now: int = 0) -> Any:
    class Unprintable(Exception):
        def __str__(self) -> str:
            raise RuntimeError("not even this")

        __repr__ = __str__

    raise Unprintable


BAD: dict[str, Callable[[Any], Any]] = {
    "raises": raising(lambda: KeyError("canary")),
    "raises after a request": raising_later(lambda: ZeroDivisionError("canary")),
    "leaves the process": raising(lambda: SystemExit(3)),
    "leaves after a request": raising_later(lambda: SystemExit(3)),
    "presses ctrl-c": raising(lambda: KeyboardInterrupt()),
    "cancels its caller": raising(lambda: asyncio.CancelledError()),
    "ends a generator that is none": raising(lambda: GeneratorExit()),
    "raises what is no Exception": raising(lambda: Odd()),
    "recurses for ever": raising(lambda: RecursionError()),
    "eats all memory": raising(lambda: MemoryError()),
    "cannot be printed": unprintable,
    "returns rubbish": rubbish,
    "never ends": endless,
    "hangs": hanging,
}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (converse, notices):
        monkeypatch.setattr(module, "STEP_SECONDS", 0.15)
    monkeypatch.setattr(accounts_module, "OPEN_SECONDS", 0.15)


class Street:
    """Two channels side by side in one engine: one good, one that is about to go bad."""

    def __init__(self, store: Store) -> None:
        self.good, self.bad = ScriptedChannel(), ScriptedChannel()
        kinds: list[ChannelKind] = [kind_of(self.good, name="good"), kind_of(self.bad, name="bad")]
        self.world = World(store, Host(kinds), kept_simply())

    async def open(self) -> None:
        for name in ("good", "bad"):
            await self.world.account(name)

    async def waiting(self, channel: str) -> tuple[Order, Payment]:
        order = await self.world.order()
        return order, await self.world.paid(order, channel)

    async def paid(self, channel: str, script: ScriptedChannel) -> Order:
        order, _ = await self.waiting(channel)
        script.query_ = paid
        self.world.clock.advance(3)
        await self.world.do_due()
        assert (await self.world.stands(order)).state is OrderState.PAID
        return order

    async def goes_on(self) -> None:
        """The good channel takes a payment from its beginning to its end."""
        await self.paid("good", self.good)


@pytest.mark.parametrize("how", BAD)
async def test_one_channel_goes_bad_and_the_others_go_on(store: Store, how: str) -> None:
    street = Street(store)
    await street.open()
    bad, world = BAD[how], street.world
    refunded = await street.paid("bad", street.bad)
    order, payment = await street.waiting("bad")
    street.bad.refund_ = processing
    refund = await world.refund(refunded, 1_000)
    for verb in VERBS:
        setattr(street.bad, "read_" if verb == "read_notice" else f"{verb}_", bad)
    began = time.monotonic()
    fresh = await world.paid(await world.order(), "bad")
    reply = await world.engine.deliver_notice(payment.account_id, RAW)
    confirm = world.engine.confirm(world.app_id, "bad", "evidence", payment_id=payment.payment_id)
    confirmed = await reason_of(confirm)
    for _ in range(4):
        world.clock.advance(120)
        await world.do_due()
    await street.goes_on()
    assert time.monotonic() - began < 25, "nobody waits for it for long"
    assert fresh.state in (PaymentState.UNKNOWN, PaymentState.CREATED)
    assert reply == REFUSALS[NoticeCase.NOT_NOW], "it is not acknowledged, so the channel sends it again"
    assert confirmed is Reason.CONFLICT_RETRY
    after = await world.stands(order)
    assert after.state in (OrderState.PENDING, OrderState.CLOSING)
    assert after.payments[0].is_open
    returned = (await world.stands(refunded)).refund(refund.refund_id)
    assert returned is not None
    assert returned.state in (RefundState.PROCESSING, RefundState.UNKNOWN)
    assert world.host.is_shaky("bad")
    assert not world.host.is_shaky("good")
    assert "canary" not in world.host.last_problem("bad")
    street.bad.query_ = paid
    if how == "hangs":
        await asyncio.sleep(1.2)  # its threads come back
    world.clock.advance(3600)
    await world.do_due()
    assert (await world.stands(order)).state is OrderState.PAID, "and once it is well again, it pays"


@pytest.mark.parametrize(
    "how", ["raises", "leaves the process", "cancels its caller", "raises what is no Exception", "hangs"]
)
async def test_an_account_that_does_not_open_is_one_account(store: Store, how: str) -> None:
    street = Street(store)
    street.world.host.kinds["bad"] = kind_of(street.bad, name="bad", open=BAD[how])
    await street.world.account("good")
    with pytest.raises(BadSettings, match="does not open"):
        await street.world.account("bad")
    await street.goes_on()


async def test_a_plugin_cannot_answer_for_another_order(store: Store) -> None:
    """Its notice names a payment of another channel's: its keys say nothing about that."""
    street = Street(store)
    await street.open()
    order, payment = await street.waiting("good")
    _, own = await street.waiting("bad")
    lie = AboutPayment(Paid(10_000, "CNY", "M1"), payment_id=payment.payment_id)
    street.bad.read_ = lambda raw, now: Notice((lie,), ACK)
    assert await street.world.engine.deliver_notice(own.account_id, RAW) == REFUSALS[NoticeCase.WRONG_ACCOUNT]
    assert (await street.world.stands(order)).state is OrderState.PENDING
    await street.goes_on()


async def test_a_plugin_that_throws_its_findings_about_pays_nobody(store: Store) -> None:
    street = Street(store)
    await street.open()
    order, payment = await street.waiting("bad")
    about = AboutPayment(Paid(10_000, "CNY", "M1"), payment_id=payment.payment_id)
    bad: list[Any] = [
        Notice((about,) * 101, ACK),
        Notice((about, None), ACK),  # type: ignore[arg-type]
        Notice((about,), NoticeReply(42)),
        Notice((about,), ACK, 7),  # type: ignore[arg-type]
        (about,),
    ]
    for answer in bad:
        street.bad.read_ = lambda raw, now, answer=answer: answer  # type: ignore[misc]
        assert await street.world.engine.deliver_notice(payment.account_id, RAW) == REFUSALS[NoticeCase.NOT_NOW]
    assert (await street.world.stands(order)).state is OrderState.PENDING


async def test_a_channel_that_hangs_does_not_hold_up_the_loop(store: Store) -> None:
    street = Street(store)
    await street.open()
    _, payment = await street.waiting("bad")
    street.bad.read_ = hanging
    longest, stop = 0.0, asyncio.Event()

    async def beat() -> None:
        nonlocal longest
        while not stop.is_set():
            before = time.monotonic()
            await asyncio.sleep(0.005)
            longest = max(longest, time.monotonic() - before)

    heart = asyncio.create_task(beat())
    deliver = street.world.engine.deliver_notice
    replies = await asyncio.gather(*(deliver(payment.account_id, RAW) for _ in range(12)))
    stop.set()
    await heart
    assert set(map(id, replies)) == {id(REFUSALS[NoticeCase.NOT_NOW])}
    assert longest < 0.5


async def test_a_refusal_of_ours_is_not_the_plugins_to_give(store: Store) -> None:
    """A plugin that raises our own refusal is a plugin that raises: a caller is not told what it made up."""
    street = Street(store)
    await street.open()
    order = await street.world.order()
    street.bad.prepare_ = raising(lambda: Refused(Reason.ORDER_ALREADY_PAID, "surely"))
    payment = await street.world.paid(order, "bad")
    assert payment.state is PaymentState.UNKNOWN
