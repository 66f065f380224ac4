"""The only writer: facts in groups, each answered for itself, on both databases."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from paycore.core.facts import OrderAsked, PaymentAsked, PaymentHeard, RefundAsked, Via
from paycore.core.findings import Paid, Ready, Reference
from paycore.core.ids import Prefix, make_id
from paycore.core.order import Details, Order, SurplusPolicy
from paycore.core.refusals import Reason, Refused
from paycore.core.terms import Terms
from paycore.engine.reader import Reader
from paycore.engine.tell import Teller, Telling, Told
from paycore.store import App, RequestKey, Store, StoreUnavailable, Unit
from paycore.testing.clock import FakeClock, SeededIds

APP = make_id(Prefix.APP, 0, 1)
OTHER = make_id(Prefix.APP, 0, 2)


class Desk:
    """A teller on a real database, and the few facts that these tests tell."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.clock = FakeClock()
        self.ids = SeededIds(self.clock)
        self.changed: list[list[Order]] = []
        self.teller = Teller(store, self.clock, changed=lambda orders: self.changed.append(list(orders)))

    def order(self, *, number: str = "", amount: int = 100, request: str = "", content: bytes = b"{}") -> Telling:
        order_id = self.ids.mint(Prefix.ORDER)
        expires_at = self.clock.now() + 10**9
        fact = OrderAsked(order_id, APP, number, amount, "CNY", Details("tea"), expires_at, SurplusPolicy.AUTO_REFUND)
        key = RequestKey(APP, "CreateOrder", request) if request else None
        return Telling(order_id, fact, app_id=APP, request=key, canonical=content if key else b"")

    async def paid(self) -> Order:
        """An order that is paid."""
        order = (await self.teller.tell(self.order())).order
        payment_id = self.ids.mint(Prefix.PAYMENT)
        account = make_id(Prefix.ACCOUNT, 0, 1)
        asked = PaymentAsked(
            payment_id, "c", "qr", account, "sandbox", "M", Terms(), order.expires_at, prepared=Ready("{}")
        )
        await self.teller.tell(Telling(order.order_id, asked))
        found = PaymentHeard(payment_id, Via.NOTICE, Paid(100, "CNY", "M"))
        return (await self.teller.tell(Telling(order.order_id, found))).order

    def refund(self, order: Order, amount: int, **more: Any) -> Telling:
        return Telling(order.order_id, RefundAsked(self.ids.mint(Prefix.REFUND), amount, "CNY", **more), app_id=APP)


@pytest.fixture
async def desk(ready_url: str) -> AsyncIterator[Desk]:
    store = Store.open(ready_url, check_durability=False)
    with store.write() as unit:
        unit.put_app(App(APP, "app", 1))
        unit.put_app(App(OTHER, "other", 1))
    desk = Desk(store)
    yield desk
    await desk.teller.drain()
    desk.teller.close()
    store.close()


async def refusals(*tellings: Any) -> list[Any]:
    """The outcome of each: a Told, or the reason of its refusal."""
    outcomes = await asyncio.gather(*tellings, return_exceptions=True)
    return [outcome.reason if isinstance(outcome, Refused) else outcome for outcome in outcomes]


async def test_what_gathers_is_written_together(desk: Desk) -> None:
    await asyncio.gather(*(desk.teller.tell(desk.order()) for _ in range(200)))
    assert desk.teller.meter.facts == 200
    assert desk.teller.meter.batches <= 3


async def test_more_than_one_batch_takes_is_written_too(desk: Desk) -> None:
    told = await asyncio.wait_for(asyncio.gather(*(desk.teller.tell(desk.order()) for _ in range(700))), 20)
    assert len({one.order.order_id for one in told}) == 700


async def test_fifty_identical_creates_give_one_order_and_fifty_equal_answers(desk: Desk) -> None:
    told = await asyncio.gather(*(desk.teller.tell(desk.order(number="m-1", request="r" * 16)) for _ in range(50)))
    assert len({one.order.order_id for one in told}) == 1
    assert all(one.order == told[0].order for one in told)
    assert sum(not one.is_replay for one in told) == 1


async def test_the_callers_number_alone_is_a_natural_key(desk: Desk) -> None:
    first = await desk.teller.tell(desk.order(number="m-1"))
    again = await desk.teller.tell(desk.order(number="m-1"))
    assert (again.order.order_id, again.is_replay) == (first.order.order_id, True)
    with pytest.raises(Refused) as refused:
        await desk.teller.tell(desk.order(number="m-1", amount=99))
    assert (refused.value.reason, refused.value.fields) == (Reason.ORDER_NO_CONFLICT, ("amount",))


async def test_a_request_id_with_other_content_names_what_differs(desk: Desk) -> None:
    await desk.teller.tell(desk.order(request="r" * 16, content=b'{"amount":1,"subject":"a"}'))
    with pytest.raises(Refused) as refused:
        await desk.teller.tell(desk.order(request="r" * 16, content=b'{"amount":2,"subject":"a"}'))
    assert (refused.value.reason, refused.value.fields) == (Reason.IDEMPOTENCY_CONFLICT, ("amount",))


async def test_of_many_who_know_the_same_version_one_is_heard(desk: Desk) -> None:
    order = await desk.paid()
    etag = f'"{order.version}"'
    outcomes = await refusals(*(desk.teller.tell(replace(desk.refund(order, 3), etag=etag)) for _ in range(8)))
    assert sum(isinstance(outcome, Told) for outcome in outcomes) == 1
    assert {outcome for outcome in outcomes if not isinstance(outcome, Told)} == {Reason.ETAG_MISMATCH}


async def test_64_refunds_at_once_never_exceed_what_was_paid(desk: Desk) -> None:
    order = await desk.paid()
    outcomes = await refusals(*(desk.teller.tell(desk.refund(order, 3)) for _ in range(64)))
    assert sum(isinstance(outcome, Told) for outcome in outcomes) == 33
    assert {o for o in outcomes if not isinstance(o, Told)} == {Reason.REFUND_EXCEEDS_BALANCE}


async def test_one_refusal_refuses_one_caller(desk: Desk) -> None:
    order = await desk.paid()
    outcomes = await refusals(
        desk.teller.tell(desk.refund(order, 1)),
        desk.teller.tell(desk.refund(order, 1000)),
        desk.teller.tell(desk.refund(order, 2)),
    )
    assert [isinstance(outcome, Told) for outcome in outcomes] == [True, False, True]


async def test_a_refund_number_is_a_natural_key(desk: Desk) -> None:
    order = await desk.paid()
    first = await desk.teller.tell(desk.refund(order, 3, merchant_refund_no="r-1"))
    again = await desk.teller.tell(desk.refund(order, 3, merchant_refund_no="r-1"))
    assert (again.subject_id, again.is_replay) == (first.subject_id, True)
    assert await refusals(desk.teller.tell(desk.refund(order, 4, merchant_refund_no="r-1"))) == [
        Reason.REFUND_NO_CONFLICT
    ]


async def test_anothers_order_answers_like_none(desk: Desk) -> None:
    order = await desk.paid()
    missing = make_id(Prefix.ORDER, 0, 9)
    fact = RefundAsked(desk.ids.mint(Prefix.REFUND), 1, "CNY")
    theirs, nobodys = await refusals(
        desk.teller.tell(Telling(order.order_id, fact, app_id=OTHER)),
        desk.teller.tell(Telling(missing, fact, app_id=OTHER)),
    )
    assert theirs == nobodys == Reason.ORDER_NOT_FOUND


async def test_a_reference_pays_one_order_only(desk: Desk) -> None:
    async def pay(reference: str) -> Any:
        order = (await desk.teller.tell(desk.order())).order
        payment_id = desk.ids.mint(Prefix.PAYMENT)
        account = make_id(Prefix.ACCOUNT, 0, 1)
        asked = PaymentAsked(
            payment_id, "c", "qr", account, "sandbox", "M", Terms(), order.expires_at, prepared=Ready("{}")
        )
        await desk.teller.tell(Telling(order.order_id, asked))
        paid = Paid(100, "CNY", "M", references=(Reference("transaction_id", reference),))
        return await refusals(desk.teller.tell(Telling(order.order_id, PaymentHeard(payment_id, Via.CONFIRM, paid))))

    [first] = await pay("t-1")
    assert first.order.state == "PAID"
    assert await pay("t-1") == [Reason.EVIDENCE_USED]
    [third] = await pay("t-2")
    assert third.order.state == "PAID"


async def test_a_commit_whose_answer_is_lost_is_told_again_without_effect(desk: Desk) -> None:
    order = await desk.paid()
    lossy = Lossy(desk.store)
    teller = Teller(lossy, desk.clock)  # type: ignore[arg-type]
    telling = desk.refund(order, 60)
    lossy.loses = 1
    assert await refusals(teller.tell(telling)) == [Reason.STORE_UNAVAILABLE]
    told = await teller.tell(telling)
    assert [refund.amount_minor for refund in told.order.refunds] == [60]
    assert told.order.version == order.version + 2
    teller.close()


class Lossy:
    """A store whose commits succeed while their answers get lost."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.dialect = store.dialect
        self.loses = 0

    @contextmanager
    def write(self) -> Iterator[Unit]:
        with self._store.write() as unit:
            yield unit
        if self.loses:
            self.loses -= 1
            raise StoreUnavailable("lost")


async def test_a_teller_who_leaves_stops_nothing(desk: Desk) -> None:
    telling = desk.order(number="m-1")
    task = asyncio.ensure_future(desk.teller.tell(telling))
    await asyncio.sleep(0)
    task.cancel()
    await desk.teller.drain()
    reader = Reader(desk.store)
    assert await reader.load(telling.order_id) is not None
    reader.close()


async def test_changed_orders_are_announced_after_the_commit_and_only_they(desk: Desk) -> None:
    order = await desk.paid()
    desk.changed.clear()
    await refusals(desk.teller.tell(desk.refund(order, 1000)))
    found = PaymentHeard(order.payments[0].payment_id, Via.NOTICE, Paid(100, "CNY", "M"))
    await desk.teller.tell(Telling(order.order_id, found))
    assert desk.changed == []
    await desk.teller.tell(desk.refund(order, 1))
    assert [[one.order_id for one in batch] for batch in desk.changed] == [[order.order_id]]


async def test_two_tellers_on_one_database_share_an_order(desk: Desk) -> None:
    order = await desk.paid()
    second = Teller(desk.store, desk.clock)
    tellers = (desk.teller, second)
    outcomes = await refusals(*(tellers[n % 2].tell(desk.refund(order, 3)) for n in range(64)))
    assert sum(isinstance(outcome, Told) for outcome in outcomes) == 33
    await second.drain()
    second.close()


async def test_readers_share_a_read(desk: Desk) -> None:
    order = await desk.paid()
    reads = 0

    async def run(work: Callable[[], Any]) -> Any:
        nonlocal reads
        reads += 1
        return await asyncio.to_thread(work)

    reader = Reader(desk.store, run=run)
    found = await asyncio.gather(*(reader.load(order.order_id) for _ in range(100)))
    assert {one.version for one in found if one is not None} == {order.version}
    assert reads == 1
    assert await reader.load(make_id(Prefix.ORDER, 0, 9)) is None
