"""The checks find what they are for: each kind of lie by one witness, in books that are right otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.chaos import checks, journal
from tests.chaos.checks import Books, ChannelRefund, FeedEntry, Order, Payment, Refund, Send, Trade, Watched
from tests.chaos.journal import Journal, Line, What


@dataclass(frozen=True)
class Witnesses:
    """Everything that is compared."""

    lines: tuple[Line, ...]
    order: Order
    books: Books
    watched: Watched
    feed: tuple[FeedEntry, ...]

    def problems(self) -> list[str]:
        orders = {self.order.order_id: self.order}
        found: list[Iterable[str]] = [
            checks.lost_writes(self.lines, orders),
            checks.doubled_effects(self.lines, orders),
            checks.books_differ(orders, self.books),
            checks.broken_streams([self.watched], orders),
            checks.broken_feed(self.feed, orders),
            checks.misread_events(self.order),
            checks.unsettled(self.order, self.books),
        ]
        return [problem for problems in found for problem in problems]


EVENTS = ((1, "made"), (2, "begun"), (3, "paid"), (4, "asked back"), (5, "gone back"))
ORDER = Order(
    order_id="or1",
    merchant_order_no="C-1",
    state="PAID",
    amount_minor=100,
    version=5,
    payments=(Payment("py1", "SUCCEEDED", captured_minor=100, refunded_minor=40),),
    refunds=(Refund("rf1", "py1", 40, "SUCCEEDED"),),
    events=EVENTS,
)
TOLD = {"order_id": "or1", "merchant_order_no": "C-1", "amount_minor": 100, "order_state": "PENDING", "version": 1}
PAID = {"order_id": "or1", "payment_id": "py1", "payment_state": "SUCCEEDED", "order_state": "PAID", "version": 3}
BACK = {"order_id": "or1", "refund_id": "rf1", "refund_minor": 40, "refund_state": "SUCCEEDED"}


def line(number: int, what: What, call: str, told: Mapping[str, Any]) -> Line:
    return Line(number, what, call, f"request-{number}", told)


RIGHT = Witnesses(
    lines=(
        line(1, What.ASKED, "create_order", {}),
        line(1, What.ANSWERED, "create_order", TOLD),
        line(2, What.ASKED, "pay_order", {}),
        line(2, What.ANSWERED, "pay_order", PAID),
        line(3, What.ASKED, "create_refund", {}),
        line(3, What.ANSWERED, "create_refund", BACK),
        line(4, What.ASKED, "create_refund", {}),
        line(4, What.REFUSED, "create_refund", {"reason": "REFUND_EXCEEDS_BALANCE"}),
    ),
    order=ORDER,
    books=Books(
        trades={"py1": Trade("py1", "PAID", 100)},
        refunds={"rf1": ChannelRefund("rf1", "py1", 40)},
        sends=(Send("rf1", "py1", 40), Send("rf1", "py1", 40)),
    ),
    watched=Watched("or1", EVENTS),
    feed=tuple(FeedEntry(10 + version, "or1", version) for version, _ in EVENTS),
)


def test_what_agrees_is_left_in_peace() -> None:
    assert RIGHT.problems() == []


def of_order(**changes: Any) -> Callable[[Witnesses], Witnesses]:
    return lambda right: replace(right, order=replace(right.order, **changes))


def of_books(**changes: Any) -> Callable[[Witnesses], Witnesses]:
    return lambda right: replace(right, books=replace(right.books, **changes))


def with_line(number: int, what: What, call: str, told: Mapping[str, Any]) -> Callable[[Witnesses], Witnesses]:
    return lambda right: replace(right, lines=(*right.lines, line(number, what, call, told)))


def seen(*versions: int) -> Callable[[Witnesses], Witnesses]:
    texts = dict(EVENTS)
    return lambda right: replace(right, watched=Watched("or1", [(one, texts[one]) for one in versions]))


def fed(*entries: tuple[int, int]) -> Callable[[Witnesses], Witnesses]:
    return lambda right: replace(right, feed=tuple(FeedEntry(cursor, "or1", version) for cursor, version in entries))


@pytest.mark.parametrize(
    ("lie", "sentence"),
    [
        # the journal has what the database has not
        (with_line(5, What.ANSWERED, "create_order", TOLD | {"order_id": "or2"}), "there is no order or2"),
        (with_line(5, What.ANSWERED, "pay_order", PAID | {"payment_id": "py2"}), "has no payment py2"),
        (with_line(5, What.ANSWERED, "create_refund", BACK | {"refund_id": "rf2"}), "has no refund rf2"),
        (with_line(5, What.ANSWERED, "create_refund", BACK | {"refund_minor": 41}), "is of 40, not of 41"),
        (with_line(5, What.ANSWERED, "close_order", TOLD | {"version": 6}), "is at version 5 and was at 6"),
        (with_line(5, What.ANSWERED, "close_order", TOLD | {"order_state": "CLOSED"}), "order_state is PAID"),
        (of_order(amount_minor=99), "has amount_minor 99, not 100"),
        (of_order(payments=(Payment("py1", "FAILED", 100, 40),)), "payment_state is FAILED and was SUCCEEDED"),
        # one request, more than one effect
        (
            lambda right: replace(
                right,
                lines=(*right.lines, Line(5, What.ANSWERED, "create_refund", "request-3", BACK | {"refund_id": "rf9"})),
            ),
            "made more than one: rf1, rf9",
        ),
        (of_order(payments=(*ORDER.payments, Payment("py2", "CLOSED"))), "nobody was ever told of payment py2"),
        (of_order(refunds=(*ORDER.refunds, Refund("rf2", "py1", 1, "FAILED"))), "nobody was ever told of refund rf2"),
        (with_line(5, What.ASKED, "create_refund", {}), "was neither answered nor refused"),
        # the channel's books
        (of_books(trades={"py1": Trade("py1", "PAID", 99)}), "the channel took 99"),
        (of_books(trades={}), "the channel took 0"),
        (of_books(refunds={}), "the channel returned 0"),
        (of_books(refunds={}), "rf1 is SUCCEEDED here and unknown at the channel"),
        (of_books(refunds={"rf1": ChannelRefund("rf1", "py1", 41)}), "the channel returned 41"),
        (of_books(sends=(Send("rf1-again", "py1", 40),)), "sent under the number rf1-again"),
        (of_books(sends=(Send("rf1", "py1", 40), Send("rf1", "py1", 41))), "sent with 2 different contents"),
        (
            of_books(trades={**RIGHT.books.trades, "py7": Trade("py7", "PAID", 1)}),
            "a trade py7 that we do not know",
        ),
        (
            of_books(refunds={**RIGHT.books.refunds, "rf7": ChannelRefund("rf7", "py1", 1)}),
            "a refund rf7 that we do not know",
        ),
        # streams
        (seen(1, 2, 4, 5), "saw 1..2, 4..5 instead of 1..5"),
        (seen(1, 2, 2, 3, 4, 5), "saw 1..2, 2..5 instead of 1..5"),
        (seen(1, 2, 4, 3, 5), "saw 1..2, 4, 3, 5 instead of 1..5"),
        (seen(1, 2, 3, 4), "saw 1..4 instead of 1..5"),
        (seen(), "saw nothing instead of 1..5"),
        (
            lambda right: replace(right, watched=Watched("or1", (*EVENTS[:4], (5, "something else")))),
            "saw other events than are stored",
        ),
        (fed((11, 1), (12, 2), (13, 3), (15, 5)), "the feed has 1..3, 5 of or1"),
        (fed((11, 1), (12, 2), (12, 3), (14, 4), (15, 5)), "the feed's cursor went back"),
        (fed((11, 1), (12, 3), (13, 2), (14, 4), (15, 5)), "the feed has 1, 3, 2, 4..5 of or1"),
        (of_order(events=EVENTS[1:]), "has the events 2..5 instead of 1..5"),
        # rest
        (of_order(state="PENDING"), "it is PENDING"),
        (of_order(state="CLOSING"), "it is CLOSING"),
        (of_order(state="CLOSED"), "is kept by a closed order"),
        (of_order(payments=(Payment("py1", "UNKNOWN", 100, 40),)), "payment py1 is UNKNOWN"),
        (of_order(refunds=(Refund("rf1", "py1", 40, "UNKNOWN"),)), "refund rf1 is UNKNOWN"),
        (of_books(trades={"py1": Trade("py1", "PAID", 101)}), "money of payment py1 is not heard of"),
        (of_order(open_anomalies=("KIND_HELD",)), "KIND_HELD is open"),
        (
            of_order(payments=(*ORDER.payments, Payment("py2", "SUCCEEDED", 100))),
            "more than one payment keeps its money",
        ),
    ],
)
def test_a_lie_is_found(lie: Callable[[Witnesses], Witnesses], sentence: str) -> None:
    problems = lie(RIGHT).problems()
    assert any(sentence in problem for problem in problems), problems


def test_an_order_whose_trade_the_channel_never_heard_of_may_go_on_closing() -> None:
    """Not found proves nothing before the expiry and its margin."""
    unheard = Order("or1", "C-1", "CLOSING", 100, 3, payments=(Payment("py1", "PENDING"),))
    assert checks.unsettled(unheard, Books()) == []
    assert checks.unsettled(unheard, Books(trades={"py1": Trade("py1", "WAITING")})) != []


async def test_a_journal_is_read_as_it_was_written(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.jsonl") as written:
        first = await written.asked("create_order", "a", {"subject": "茶"})
        second = await written.asked("create_order", "b", {})
        third = await written.asked("create_refund", "c", {})
        await written.answered(second, "create_order", "b", {"order_id": "or1"})
        await written.refused(third, "create_refund", "c", "ORDER_NOT_PAID")
        lines = journal.read(written.path)
    assert [(one.number, one.what) for one in lines] == [
        (first, What.ASKED),
        (second, What.ASKED),
        (third, What.ASKED),
        (second, What.ANSWERED),
        (third, What.REFUSED),
    ]
    assert [one.told for one in journal.unanswered(lines)] == [{"subject": "茶"}]
