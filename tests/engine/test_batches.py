"""What a group of facts owes to each of them when the store, a listener or another process gets in the way."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from paycore.core.facts import CloseAsked, Fact, OrderAsked, PaymentAsked, PaymentHeard, RefundAsked, SyncAsked, Via
from paycore.core.findings import Paid, Ready, Waiting
from paycore.core.ids import Prefix, make_id
from paycore.core.order import Details, Order, SurplusPolicy
from paycore.core.refusals import Reason, Refused
from paycore.core.terms import Terms
from paycore.engine.reader import Reader
from paycore.engine.tell import OVERDUE_SECONDS, Teller, Telling, Told
from paycore.store import App, Evidence, RequestKey, Store, StoreUnavailable, Unit
from paycore.testing.clock import FakeClock, SeededIds

APP = make_id(Prefix.APP, 0, 1)
ACCOUNT = make_id(Prefix.ACCOUNT, 0, 1)
CLOCK = FakeClock()
IDS = SeededIds(CLOCK)


class Counting:
    """A store that counts its write transactions and fails on demand."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.dialect = store.dialect
        self.writes = 0
        self.fails_from: int | None = None
        self.is_deaf = False

    @contextmanager
    def write(self) -> Iterator[Unit]:
        self.writes += 1
        if self.fails_from is not None and self.writes >= self.fails_from:
            raise StoreUnavailable("gone")
        with self._store.write() as unit:
            yield unit

    @contextmanager
    def read(self) -> Iterator[Unit]:
        if self.is_deaf:
            raise StoreUnavailable("gone")
        with self._store.read() as unit:
            yield unit


@pytest.fixture
def counting(each_store: Store) -> Counting:
    with each_store.write() as unit:
        unit.put_app(App(APP, "app", 1))
    return Counting(each_store)


@pytest.fixture
async def teller(counting: Counting) -> AsyncIterator[Teller]:
    teller = Teller(counting, CLOCK)  # type: ignore[arg-type]
    yield teller
    await teller.drain()
    teller.close()


def order(*, number: str = "", amount: int = 100) -> Telling:
    order_id = IDS.mint(Prefix.ORDER)
    expires_at = CLOCK.now() + 10**9
    fact = OrderAsked(order_id, APP, number, amount, "CNY", Details("tea"), expires_at, SurplusPolicy.AUTO_REFUND)
    return Telling(order_id, fact, app_id=APP)


def payment(order: Order, *, prepared: bool = True) -> PaymentAsked:
    return PaymentAsked(
        IDS.mint(Prefix.PAYMENT),
        "c",
        "qr",
        ACCOUNT,
        "sandbox",
        "M",
        Terms(),
        order.expires_at,
        prepared=Ready("{}") if prepared else None,
    )


async def waiting(teller: Teller) -> tuple[Order, str]:
    """An order with a payment that waits for its payer."""
    made = (await teller.tell(order())).order
    told = await teller.tell(Telling(made.order_id, payment(made)))
    return told.order, told.subject_id


def witnessed(order_id: str, subject_id: str, digest: str) -> Evidence:
    return Evidence(order_id, subject_id, "NOTICE", digest * 64, CLOCK.now(), "{}", verified=True)


async def outcomes(*work: Any) -> list[Any]:
    """A Told for each, or the reason of its refusal, or the type of what went wrong."""
    ended = await asyncio.gather(*work, return_exceptions=True)
    return [
        one.reason if isinstance(one, Refused) else type(one) if isinstance(one, BaseException) else one
        for one in ended
    ]


def stored(store: Counting, order_ids: list[str]) -> list[bool]:
    with store.read() as unit:
        found = unit.load(order_ids)
    return [order_id in found for order_id in order_ids]


# ---------------------------------------------------------------------------------------------- groups


async def test_facts_of_one_moment_cost_one_transaction(counting: Counting, teller: Teller) -> None:
    await asyncio.gather(*(teller.tell(order()) for _ in range(200)))
    assert counting.writes == 1


async def test_facts_of_one_order_fold_in_turn_within_one_transaction(counting: Counting, teller: Teller) -> None:
    made, payment_id = await waiting(teller)
    counting.writes = 0
    paid = PaymentHeard(payment_id, Via.NOTICE, Paid(100, "CNY", "M"))
    back = [RefundAsked(IDS.mint(Prefix.REFUND), 30, "CNY") for _ in range(4)]
    facts: list[Fact] = [paid, *back]
    told = await outcomes(*(teller.tell(Telling(made.order_id, fact)) for fact in facts))
    assert counting.writes == 1
    assert [len(one.order.refunds) for one in told[:4]] == [0, 1, 2, 3]
    assert told[4] == Reason.REFUND_EXCEEDS_BALANCE
    with counting.read() as unit:
        kept = unit.load([made.order_id])[made.order_id]
        events = unit.events_after({made.order_id: 0}, 100)[made.order_id]
    assert kept == told[3].order
    assert [event.version for event in events] == list(range(1, kept.version + 1))


async def test_facts_of_an_order_that_is_being_written_wait_for_the_next_group(counting: Counting) -> None:
    groups, go = 0, asyncio.Event()

    async def run(work: Callable[[], Any], /) -> Any:
        nonlocal groups
        groups += 1
        await go.wait()
        return work()

    teller = Teller(counting, CLOCK, run=run, in_flight=3, company=1)  # type: ignore[arg-type]
    go.set()
    a, b, c = [(await teller.tell(order())).order for _ in range(3)]
    go.clear()
    groups = 0

    first = [_telling(teller, a, CloseAsked()), _telling(teller, b, CloseAsked())]
    await _turns()
    assert (groups, teller.waiting) == (1, 0)
    second = [_telling(teller, a, SyncAsked()), _telling(teller, c, CloseAsked()), _telling(teller, a, SyncAsked())]
    await _turns()
    assert (groups, teller.waiting) == (2, 2), "only what is about the order in flight waits"
    go.set()
    told = await asyncio.gather(*first, *second)
    assert groups == 3
    assert [one.order.order_id for one in told] == [o.order_id for o in (a, b, a, c, a)]
    teller.close()


async def test_a_few_facts_wait_for_the_group_in_flight_unless_it_is_held_up(counting: Counting) -> None:
    groups, go = 0, asyncio.Event()

    async def run(work: Callable[[], Any], /) -> Any:
        nonlocal groups
        groups += 1
        await go.wait()
        return work()

    teller = Teller(counting, CLOCK, run=run, in_flight=3, company=3)  # type: ignore[arg-type]
    tellings = [asyncio.create_task(teller.tell(order()))]
    await _turns()
    tellings += [asyncio.create_task(teller.tell(order())) for _ in range(2)]
    await _turns()
    assert (groups, teller.waiting) == (1, 2), "a few wait for the group in flight"
    tellings.append(asyncio.create_task(teller.tell(order())))
    await _turns()
    assert (groups, teller.waiting) == (2, 0), "many go out beside it"
    tellings.append(asyncio.create_task(teller.tell(order())))
    await _turns()
    assert (groups, teller.waiting) == (2, 1)
    await asyncio.sleep(3 * OVERDUE_SECONDS)
    assert (groups, teller.waiting) == (3, 0), "nobody waits long for a group that is held up"
    go.set()
    await asyncio.gather(*tellings)
    teller.close()


def _telling(teller: Teller, of: Order, fact: Fact) -> "asyncio.Task[Told]":
    return asyncio.create_task(teller.tell(Telling(of.order_id, fact)))


async def _turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


# ---------------------------------------------------------------------------------------------- what goes wrong


async def test_a_fact_that_the_store_cannot_hold_fails_alone(counting: Counting, teller: Teller) -> None:
    good, bad, also_good = order(), order(amount=2**70), order()
    ended = await outcomes(*(teller.tell(one) for one in (good, bad, also_good)))
    assert [isinstance(one, Told) for one in ended] == [True, False, True]
    assert stored(counting, [one.order_id for one in (good, bad, also_good)]) == [True, False, True]
    assert teller.meter.one_by_one == 1


async def test_when_the_store_is_gone_nobody_waits_for_it_one_after_the_other(
    counting: Counting, teller: Teller
) -> None:
    tellings = [order(), order(amount=2**70), *(order() for _ in range(50))]
    counting.fails_from = 4  # the group, the first two alone, and then it is gone
    ended = await outcomes(*(teller.tell(one) for one in tellings))
    assert counting.writes == 4
    assert isinstance(ended[0], Told)
    assert ended[2:] == [Reason.STORE_UNAVAILABLE] * 50
    assert teller.meter.unavailable == 50
    counting.fails_from = None
    again = await asyncio.gather(*(teller.tell(one) for one in (tellings[0], *tellings[2:])))
    assert [one.order.order_id for one in again] == [one.order_id for one in (tellings[0], *tellings[2:])]
    assert [one.order.version for one in again] == [1] * 51


async def test_a_refusal_for_lack_of_a_store_says_when_to_come_back(counting: Counting, teller: Teller) -> None:
    counting.fails_from = 1
    with pytest.raises(Refused) as refused:
        await teller.tell(order())
    assert refused.value.reason is Reason.STORE_UNAVAILABLE
    assert refused.value.retry_after_seconds
    counting.fails_from = None


async def test_an_order_without_a_number_is_told_again_without_effect(counting: Counting, teller: Teller) -> None:
    telling = order()
    first = await teller.tell(telling)
    again = await teller.tell(telling)
    assert (again.order, again.is_replay) == (first.order, True)
    assert teller.meter.one_by_one == 0


async def test_a_listener_that_raises_costs_nobody_an_answer(counting: Counting) -> None:
    def deaf(orders: object) -> None:
        raise RuntimeError("deaf")

    heard: list[str] = []
    teller = Teller(
        counting,  # type: ignore[arg-type]
        CLOCK,
        changed=deaf,
        released=lambda orders: heard.extend(one.order_id for one in orders),
    )
    telling = order()
    assert (await teller.tell(telling)).order.version == 1
    await teller.drain()
    assert heard == [telling.order_id]
    teller.close()


async def test_more_than_can_wait_is_turned_away(counting: Counting) -> None:
    teller = Teller(counting, CLOCK, max_waiting=3)  # type: ignore[arg-type]
    ended = await outcomes(*(teller.tell(order()) for _ in range(5)))
    assert [isinstance(one, Told) for one in ended] == [True, True, True, False, False]
    assert ended[3:] == [Reason.RATE_LIMITED] * 2
    assert isinstance((await outcomes(teller.tell(order())))[0], Told)
    teller.close()


async def test_a_closed_teller_says_so(counting: Counting) -> None:
    teller = Teller(counting, CLOCK)  # type: ignore[arg-type]
    teller.close()
    assert await outcomes(teller.tell(order())) == [Reason.SHUTTING_DOWN]


# ---------------------------------------------------------------------------------------------- refused, and kept


async def test_what_is_stored_with_a_refusal_stays_and_the_same_request_is_refused_again(
    counting: Counting, teller: Teller
) -> None:
    made, payment_id = await waiting(teller)
    foreign = PaymentHeard(payment_id, Via.CONFIRM, Paid(100, "CNY", "somebody else"))
    request = RequestKey(APP, "ConfirmPayment", "r" * 16)
    telling = Telling(made.order_id, foreign, APP, request, b"{}", (witnessed(made.order_id, payment_id, "a"),))
    assert await outcomes(teller.tell(telling), teller.tell(telling)) == [Reason.WRONG_ACCOUNT] * 2
    assert await outcomes(teller.tell(telling)) == [Reason.WRONG_ACCOUNT]
    with counting.read() as unit:
        kept = unit.load([made.order_id])[made.order_id]
        [evidence] = unit.evidence_of(made.order_id)
    assert [anomaly.kind for anomaly in kept.anomalies] == ["WRONG_ACCOUNT"]
    assert evidence.count == 3


async def test_evidence_outlives_the_refusal_of_its_fact(counting: Counting, teller: Teller) -> None:
    made, _ = await waiting(teller)
    unheard_of = IDS.mint(Prefix.PAYMENT)
    fact = PaymentHeard(unheard_of, Via.NOTICE, Paid(100, "CNY", "M"))
    telling = Telling(made.order_id, fact, evidence=(witnessed(made.order_id, unheard_of, "b"),))
    assert await outcomes(teller.tell(telling)) == [Reason.PAYMENT_NOT_FOUND]
    with counting.read() as unit:
        assert [one.evidence.subject_id for one in unit.evidence_of(made.order_id)] == [unheard_of]


async def test_a_task_brought_forward_is_heard_though_it_announces_nothing(counting: Counting) -> None:
    changed, released = list[int](), list[int]()
    teller = Teller(
        counting,  # type: ignore[arg-type]
        CLOCK,
        changed=lambda orders: changed.extend(one.version for one in orders),
        released=lambda orders: released.extend(one.version for one in orders),
    )
    made, payment_id = await waiting(teller)
    await teller.tell(Telling(made.order_id, PaymentHeard(payment_id, Via.QUERY, Waiting(), CLOCK.now())))
    changed.clear()
    released.clear()
    told = await teller.tell(Telling(made.order_id, SyncAsked()))
    assert (changed, released) == ([], [told.order.version])
    assert (await teller.tell(Telling(made.order_id, SyncAsked()))).order == told.order
    assert (changed, released) == ([], [told.order.version] * 2), "nothing changed, but it was held"
    teller.close()


# ---------------------------------------------------------------------------------------------- two processes


async def test_two_processes_make_one_order_of_identical_creates(counting: Counting) -> None:
    tellers = [Teller(counting, CLOCK) for _ in range(2)]  # type: ignore[arg-type]
    request = RequestKey(APP, "CreateOrder", "r" * 16)

    def asked() -> Telling:
        new = order(number="m-1")
        return Telling(new.order_id, new.fact, APP, request, b"{}")

    told = await asyncio.gather(*(tellers[n % 2].tell(asked()) for n in range(50)))
    assert len({(one.order.order_id, one.subject_id) for one in told}) == 1
    assert all(one.order == told[0].order for one in told)
    for teller in tellers:
        teller.close()


async def test_two_processes_that_create_the_same_numbers_in_other_orders_do_not_block_each_other(
    counting: Counting,
) -> None:
    tellers = [Teller(counting, CLOCK) for _ in range(2)]  # type: ignore[arg-type]
    numbers = [f"m-{n:03}" for n in range(60)]
    for turn in range(5):
        here = [tellers[0].tell(order(number=f"{turn}{number}")) for number in numbers]
        there = [tellers[1].tell(order(number=f"{turn}{number}")) for number in reversed(numbers)]
        async with asyncio.timeout(20):
            told = await asyncio.gather(*here, *there)
        assert len({one.order.order_id for one in told}) == len(numbers)
    for teller in tellers:
        teller.close()


# ---------------------------------------------------------------------------------------------- reading


async def test_a_crowd_of_readers_is_served_in_pieces(counting: Counting, teller: Teller) -> None:
    made = [one.order for one in await asyncio.gather(*(teller.tell(order()) for _ in range(300)))]
    reads = 0

    async def run(work: Callable[[], Any], /) -> Any:
        nonlocal reads
        reads += 1
        return await asyncio.to_thread(work)

    reader = Reader(counting, run=run)  # type: ignore[arg-type]
    found = await asyncio.gather(*(reader.load(one.order_id) for _ in range(3) for one in made))
    assert found == made * 3
    assert reads == 2


async def test_readers_are_refused_while_the_store_is_gone(counting: Counting) -> None:
    counting.is_deaf = True
    reader = Reader(counting)  # type: ignore[arg-type]
    assert await outcomes(reader.load("a"), reader.load("a"), reader.load("b")) == [Reason.STORE_UNAVAILABLE] * 3
    reader.close()
