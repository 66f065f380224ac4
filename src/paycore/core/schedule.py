"""When to ask again. Ladders are by tries, which the lease counts; the last step repeats. Microseconds."""

from dataclasses import replace
from typing import TypeVar

from paycore.core.order import Order, Payment, Refund, Task, Verb
from paycore.core.terms import DAY, HOUR, MINUTE, SECOND

Row = TypeVar("Row", Order, Payment, Refund)

ASK = tuple(seconds * SECOND for seconds in (2, 3, 5, 5, 10, 10, 15, 20, 30, 60))
"""Asking after a payment that waits for its payer."""
RETRY = tuple(seconds * SECOND for seconds in (2, 4, 8, 16, 32, 60, 120, 300, 600, 3600))
"""Trying again after silence."""
WATCH = (5 * MINUTE, 30 * MINUTE, 2 * HOUR, 8 * HOUR, 16 * HOUR)
"""Looking after an attempt that ended unpaid: late money is real."""
WATCH_FOR = 25 * HOUR
"""The longest that a channel goes on sending notices after a payment (Alipay's ladder ends after 25 hours)."""
REFUND_ASK = tuple(seconds * SECOND for seconds in (5, 15, 30, 60, 300, 900, 3600, 3 * 3600))
"""Following a refund that was accepted."""
REFUND_AGES = 4
"""The next question comes after at most so many times the refund's age. That is more than any step of the ladder where all
questions are answered; those that were not bring the ladder's last steps on early, and an outage of minutes is not paid for
with hours.
"""
SHORT = (5 * MINUTE, 30 * MINUTE, HOUR, 6 * HOUR)
"""Sending a refund again when the merchant's balance was too small."""
LOOKS = (HOUR, DAY, 3 * DAY)
"""Looking for a refund that bounced after it succeeded."""
PAID_UNHEARD = (SECOND, SECOND, *ASK[2:])
"""Asking for the amount after a close was answered by "paid already": at once, and slower while the query says nothing."""
PAYER_PAYING = (5 * SECOND,)
"""How soon to ask again while the payer is entering a password."""


def step(ladder: tuple[int, ...], tries: int) -> int:
    """The wait after so many tries."""
    return ladder[min(max(tries, 1), len(ladder)) - 1]


def with_task(row: Row, verb: Verb, due_at: int, *, tries: int = 0, leased_until: int | None = None) -> Row:
    """The row with this as its one task. The fence rises, so whoever held the old one holds it no more."""
    return replace(row, task=Task(verb, due_at, tries, leased_until), fence=row.fence + 1)


def without_task(row: Row) -> Row:
    """The row with nothing left to do."""
    return row if row.task is None else replace(row, task=None, fence=row.fence + 1)


def again(row: Row, verb: Verb, now: int, ladder: tuple[int, ...], *, latest: int | None = None) -> Row:
    """The row with this task after the ladder's wait; tries go on when the verb is the same. `latest` caps the wait."""
    tries = row.task.tries if row.task is not None and row.task.verb is verb else 0
    due_at = now + step(ladder, tries)
    if latest is not None and now < latest < due_at:
        due_at = latest
    return with_task(row, verb, due_at, tries=tries)


def forward(row: Row, now: int) -> Row:
    """The row with its task due now, unless somebody is at it or it is due already."""
    task = row.task
    if task is None or task.due_at <= now or (task.leased_until is not None and task.leased_until > now):
        return row
    return replace(row, task=replace(task, due_at=now, leased_until=None), fence=row.fence + 1)
