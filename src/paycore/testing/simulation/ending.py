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
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from paycore.store.audit import audit
from paycore.store.sql import same
from paycore.testing.simulation.books import compare_books
from paycore.testing.simulation.calling import Refusal
from paycore.testing.simulation.open_ends import open_ends, tasks_left, untold
from paycore.testing.simulation.options import Roads
from paycore.testing.simulation.rows import Rows, look
from paycore.testing.simulation.timing import SECOND, true_now
from paycore.testing.simulation.watchers import FeedWatcher, Watcher

if TYPE_CHECKING:
    from paycore.testing.simulation.world import World

HOUR = 3600.0
CALL_SECONDS = 600.0
"""How long callers that still wait for an answer may need without faults."""
MONEY_SECONDS = 2 * HOUR
REST_SECONDS = 6 * 24 * HOUR + 2 * HOUR
LADDER_SECONDS = HOUR
"""How long the channel may wait before it brings a notice again that it could not deliver."""
LOOK_SECONDS = 2.0
LAG_SECONDS = 180.0
"""How long a watcher may lag without faults: it may have to come back, and waits for a poll where its wake-up was lost."""
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
    world.told_by = world.loop.time() + late_seconds + LADDER_SECONDS
    await _until(world, lambda rows: open_ends(world, rows), late_seconds + MONEY_SECONDS)
    await _until(world, lambda _: untold(world), late_seconds + MONEY_SECONDS + world.counterpart.ladder_seconds)
    await _until(world, lambda rows: open_ends(world, rows), MONEY_SECONDS)
    if await _phones_start_again(world):
        await _until(world, lambda rows: open_ends(world, rows), late_seconds + MONEY_SECONDS)
    asks_on = world.options.roads is not Roads.NOTICES
    compare_books(world, look(world.store), asks_on=asks_on)
    world.watching_feed.cancel()
    world.feed.is_done = True
    if asks_on:
        await _until(world, lambda rows: tasks_left(world, rows), REST_SECONDS)
        compare_books(world, look(world.store), asks_on=False)
    for violation in audit(world.store):
        world.violated(f"audit {violation.rule}", str(violation))
    for complaint in world.loop.complaints:
        world.violated("complaint", f"{complaint.get('message')}: {complaint.get('exception')!r}")
    await asyncio.sleep(0)


async def _phones_start_again(world: "World") -> bool:
    """Each phone hands in what it bought and nothing else has told us of. Whether any did."""
    rows = look(world.store)
    held = world.counterpart.street.unfinished()
    wanted = {number: text for number, text in held.items() if rows.payments[number].state != "SUCCEEDED"}
    for number, evidence in wanted.items():
        with suppress(Refusal):  # what became of it is in the books
            await world.shop.insist("ConfirmPayment", world.requests.proof(number, evidence))
    return bool(wanted)


async def _until(world: "World", left: Callable[[Rows], list[str]], seconds: float) -> None:
    """Let time pass, in leaps where nothing is at work, until nothing is left. Too late is a violation."""
    ends_at, lagging = world.loop.time() + seconds, 0.0
    while found := left(look(world.store)):
        if world.loop.time() > ends_at:
            world.violated("comes to rest", f"{len(found)} things are still open: {'; '.join(found[:5])}")
        await asyncio.sleep(LOOK_SECONDS)
        behind = [str(watcher) for watcher in _watchers(world) if not watcher.is_at_the_end]
        lagging = lagging + LOOK_SECONDS if behind else 0.0
        if lagging > LAG_SECONDS:
            world.violated("stream", f"these hear nothing of what has happened: {'; '.join(behind)}")
        if not behind and _is_quiet(world):
            world.loop.leap(min(_seconds_to_next(world), 24 * HOUR) - 1.0)


def _watchers(world: "World") -> list[Watcher | FeedWatcher]:
    """Those who still watch."""
    everybody: list[Watcher | FeedWatcher] = [*world.watchers, world.feed]
    return [watcher for watcher in everybody if not watcher.is_done]


def _is_quiet(world: "World") -> bool:
    """Whether nobody is at work on anything: a leap would run over the deadlines of whoever is."""
    rows, now = look(world.store), true_now()
    leases = [row.task_leased_until or 0 for row in rows.tasked]
    is_leaving = any(server.is_leaving for server in world.servers_up())
    return not (world.channel.under_way or world.post.under_way or is_leaving) and max(leases, default=0) <= now


def _seconds_to_next(world: "World") -> float:
    """Until something is due, here or at the channel."""
    with world.store.read() as unit:
        [(task,)] = unit.rows(_NEXT_TASK)
    due = [at for at in (task, world.counterpart.next_due()) if at is not None]
    return (min(due) - true_now()) / SECOND if due else 60.0
