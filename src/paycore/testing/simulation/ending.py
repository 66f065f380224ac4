"""The end of a run: the faults stop, and within a bound everything has come to rest, with our books those of the channel.

How long that may take, after the faults have stopped:

- An order that still waits ends at its expiry, at most a few minutes away. Its payments are closed at the channel then;
  "not found" counts from a margin of one minute after the expiry.
- A task that has failed often waits longer and longer. In the seven minutes that faults last, the ladder gets to waits of
  ten minutes; a lease that a dead process left ends after thirty seconds; a clock that was ten minutes ahead has put
  things off by as much. Refunds that were refused for want of money are tried again after at most thirty minutes.
- Notices are late by as much as the seed says, and their ladder's step is then at most an hour.

So two hours after the last of these nothing may be open any more (`MONEY_SECONDS`, to which a seed's late notices are
added). What goes on longer is quiet: the late watch ends with the first answer after 25 hours, the last look for a
bounced refund comes after four days and the pauses between; two hours later no task may be left (`REST_SECONDS`).

A world with one road only must come to the same end by it; where queries are never answered, watches go on for ever.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from paycore.store.audit import audit
from paycore.store.sql import same
from paycore.testing.simulation.options import Roads
from paycore.testing.simulation.rows import OrderRow, PaymentRow, RefundRow, Rows, look
from paycore.testing.simulation.timing import SECOND, true_now
from paycore.testing.simulation.watchers import FeedWatcher, Watcher

if TYPE_CHECKING:
    from paycore.testing.simulation.world import World

HOUR = 3600.0
CALL_SECONDS = 600.0
"""How long callers that still wait for an answer may need without faults."""
MONEY_SECONDS = 2 * HOUR
REST_SECONDS = 6 * 24 * HOUR + 2 * HOUR
LONGEST_HURRY = 60
_NEXT_TASK = same(
    "SELECT min(ready) FROM (SELECT min(task_ready_at) AS ready FROM orders UNION ALL "
    "SELECT min(task_ready_at) FROM payments UNION ALL SELECT min(task_ready_at) FROM refunds)"
)


async def come_to_rest(world: "World", lives: list[asyncio.Task[Any]]) -> None:
    """Stop every fault and see everything end."""
    world.loop.note("the weather clears")
    world.weather.is_calm = True
    for clock in world.clocks:
        clock.set_off(0.0)
    for server in world.servers_up():
        server.process.fuse = None
    world.channel.settle()
    _, late = await asyncio.wait(lives, timeout=CALL_SECONDS)
    if late:
        world.violated("answered", f"{len(late)} callers wait for an answer that never comes")
        await asyncio.sleep(0)
    for life in lives:
        life.result()
    late_seconds = world.options.late_seconds if world.options.notice_late else 0.0
    await _until(world, lambda rows: _open_ends(world, rows), late_seconds + MONEY_SECONDS)
    asks_on = world.options.roads is not Roads.NOTICES
    _compare(world, look(world.store), asks_on=asks_on)
    world.watching_feed.cancel()
    world.feed.is_done = True
    if asks_on:
        await _until(world, lambda rows: _tasks_left(world, rows), REST_SECONDS)
        _compare(world, look(world.store), asks_on=False)
    for violation in audit(world.store):
        world.violated(f"audit {violation.rule}", str(violation))
    for complaint in world.loop.complaints:
        world.violated("complaint", f"{complaint.get('message')}: {complaint.get('exception')!r}")
    await asyncio.sleep(0)


async def _until(world: "World", left: Callable[[Rows], list[str]], seconds: float) -> None:
    """Let time pass, in leaps where nothing is at work, until nothing is left. Too late is a violation."""
    ends_at, hurried = world.loop.time() + seconds, 0
    while open_ends := left(look(world.store)):
        if world.loop.time() > ends_at:
            world.violated("comes to rest", f"{len(open_ends)} things are still open: {'; '.join(open_ends[:5])}")
        await asyncio.sleep(2.0)
        hurried += 1
        if _is_quiet(world, is_patient=hurried < LONGEST_HURRY):
            hurried = 0
            world.loop.leap(min(_seconds_to_next(world), 24 * HOUR) - 1.0)


def _is_quiet(world: "World", *, is_patient: bool) -> bool:
    """Whether nobody is at work on anything: a leap would run over the deadlines of whoever is.

    While it is patient it waits for watchers too, who come back and catch up in their own time.
    """
    if is_patient and not _have_caught_up(world):
        return False
    rows, now = look(world.store), true_now()
    leases = [row.task_leased_until or 0 for row in rows.tasked]
    return not world.channel.under_way and not world.post.under_way and max(leases, default=0) <= now


def _have_caught_up(world: "World") -> bool:
    watchers: list[Watcher | FeedWatcher] = [world.feed, *world.watchers]
    return all(watcher.is_done or watcher.is_at_the_end for watcher in watchers)


def _seconds_to_next(world: "World") -> float:
    """Until something is due, here or at the channel."""
    with world.store.read() as unit:
        [(task,)] = unit.rows(_NEXT_TASK)
    due = [at for at in (task, world.channel.simulator.next_due()) if at is not None]
    return (min(due) - true_now()) / SECOND if due else 60.0


# ---------------------------------------------------------------------------------------------- what is open


def _open_ends(world: "World", rows: Rows) -> list[str]:
    """What has not ended yet of all that must."""
    found = [
        f"{order.order_id} is {order.state}"
        for order in rows.orders.values()
        if _waits(world, order.order_id, order.state, rows)
    ]
    found += [
        f"{refund.refund_id} is {refund.state}"
        for refund in rows.refunds.values()
        if refund.is_reserving and refund.state != "ABNORMAL" and not _only_a_query_ends(world, refund)
    ]
    found += [
        f"{payment.payment_id} is {payment.state}"
        for payment in rows.payments.values()
        if payment.is_open and not _went_elsewhere(world, payment)
    ]
    found += [
        f"somebody watches {watcher.order_id} at {watcher.position}"
        for watcher in world.watchers
        if not watcher.is_done and not (_waits_for_a_person(world, watcher.order_id, rows) and watcher.is_at_the_end)
    ]
    if not world.feed.is_done and not world.feed.is_at_the_end:
        found.append(f"the feed is read up to {world.feed.position}")
    if world.options.roads is not Roads.QUERIES and world.channel.simulator.undelivered:
        found.append(f"{world.channel.simulator.undelivered} notices are not acknowledged") if not _refused_for_good(
            world
        ) else None
    return found


def _only_a_query_ends(world: "World", refund: RefundRow) -> bool:
    """Whether it was refused or has failed, which only a query proves, in a world whose queries are never answered."""
    return world.options.roads is Roads.NOTICES and world.truth.refund_state(refund) in ("", "FAILED")


def _waits_for_a_person(world: "World", order_id: str, rows: Rows) -> bool:
    """Whether the order will not come to its end by itself, so that its streams stay open."""
    mine = [refund for refund in rows.refunds.values() if refund.order_id == order_id]
    is_stuck = any(refund.state == "ABNORMAL" or _only_a_query_ends(world, refund) for refund in mine)
    return is_stuck or _is_stranded(world, order_id, rows)


def _waits(world: "World", order_id: str, state: str, rows: Rows) -> bool:
    return state in ("PENDING", "CLOSING") and not _is_stranded(world, order_id, rows)


def _is_stranded(world: "World", order_id: str, rows: Rows) -> bool:
    """Whether a payer's money went to somebody else: then no answer of the channel ever ends the attempt; a person does."""
    return any(_went_elsewhere(world, payment) for payment in rows.payments_of(order_id))


def _went_elsewhere(world: "World", payment: PaymentRow) -> bool:
    taken, whose = world.truth.taken(payment)
    return bool(taken) and whose != payment.merchant


def _refused_for_good(world: "World") -> bool:
    """Whether there are notices that we are right to refuse however often they come: forged, or another merchant's."""
    struck = world.weather.struck
    return bool(struck["notice: forged"] or struck["payer: another merchant"])


def _tasks_left(world: "World", rows: Rows) -> list[str]:
    """The tasks that are left, but for those that only a person can end."""
    found: list[OrderRow | PaymentRow | RefundRow] = [row for row in rows.orders.values() if row.task_verb]
    found += [row for row in rows.refunds.values() if row.task_verb]
    found += [row for row in rows.payments.values() if row.task_verb and not _went_elsewhere(world, row)]
    return [f"{row[0]} still has {row.task_verb}" for row in found]


# ---------------------------------------------------------------------------------------------- both books


def _compare(world: "World", rows: Rows, *, asks_on: bool) -> None:
    """Every amount that the channel took or gave back is in our books, and no other.

    `asks_on`: a row that still has a task may yet learn of it by asking.
    """
    by_number = {payment.payment_id: payment for payment in rows.payments.values()}
    by_number |= {payment.token: payment for payment in rows.payments.values() if payment.token}
    for number, minor, merchant in world.truth.paid_numbers():
        payment = by_number.get(number)
        if payment is None:
            world.violated("books", f"the channel took {minor} for {number}, of which we know nothing")
        elif asks_on and payment.task_verb:
            continue
        elif merchant == payment.merchant and (payment.state, payment.captured_minor) != ("SUCCEEDED", minor):
            world.violated(
                "books", f"the channel took {minor} for {number}; it is {payment.state} with {payment.captured_minor}"
            )
        elif merchant != payment.merchant and payment.captured_minor:
            world.violated("books", f"{number} was paid to {merchant} and counts as ours")
    for payment in rows.payments.values():
        taken, _ = world.truth.taken(payment)
        if payment.captured_minor and not taken:
            world.violated("books", f"{payment.payment_id} captured {payment.captured_minor} that nobody paid")
    for refund in rows.refunds.values():
        if not (asks_on and refund.task_verb):
            _compare_refund(world, refund, rows)
    _nothing_unknown_went_back(world, rows)


AS_OURS = {"SUCCESS": "SUCCEEDED", "BOUNCED": "REVERSED", "FAILED": "FAILED", "STUCK": "ABNORMAL"}


def _compare_refund(world: "World", refund: RefundRow, rows: Rows) -> None:
    if any(one.remedy for one in rows.anomalies_of(refund.refund_id)):
        return  # a person knew better
    theirs = world.truth.refund_state(refund)
    expected = AS_OURS.get(theirs, "")
    if refund.is_reserving and _only_a_query_ends(world, refund):
        return
    if theirs and refund.state != expected:
        world.violated("books", f"refund {refund.refund_id} is {refund.state}; the channel has it {theirs}")
    if not theirs and refund.state not in ("FAILED", "ABNORMAL"):
        world.violated("books", f"refund {refund.refund_id} is {refund.state}; the channel does not have it")


def _nothing_unknown_went_back(world: "World", rows: Rows) -> None:
    ours = {refund.refund_id for refund in rows.refunds.values()} | {
        refund.channel_refund_no for refund in rows.refunds.values()
    }
    for number, refund in world.channel.books.refunds.items():
        if refund.state in ("SUCCESS", "BOUNCED") and number not in ours and refund.refund_no not in ours:
            world.violated(
                "books", f"the channel gave {refund.amount_minor} back as {number}, of which we know nothing"
            )
