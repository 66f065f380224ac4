"""What has not come to its end yet, of all that must in this world."""

from typing import TYPE_CHECKING

from paycore.testing.simulation.options import Roads
from paycore.testing.simulation.rows import OrderRow, PaymentRow, RefundRow, Rows

if TYPE_CHECKING:
    from paycore.testing.simulation.world import World


def open_ends(world: "World", rows: Rows) -> list[str]:
    """What has not ended yet of all that must."""
    found = [
        f"{order.order_id} is {order.state}"
        for order in rows.orders.values()
        if _waits(world, order.order_id, order.state, rows)
    ]
    found += [
        f"{refund.refund_id} is {refund.state}"
        for refund in rows.refunds.values()
        if refund.is_reserving and refund.state != "ABNORMAL" and not only_a_query_ends(world, refund)
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
    return found


def untold(world: "World") -> list[str]:
    """What the channel still has to tell us, of all that it will."""
    if world.options.roads is Roads.QUERIES or not world.counterpart.undelivered:
        return []
    if not _refused_for_good(world):
        return [f"{world.counterpart.undelivered} notices are not acknowledged"]
    if world.loop.time() < world.told_by:
        return ["what the channel has to tell may still be on its way"]
    return []


def only_a_query_ends(world: "World", refund: RefundRow) -> bool:
    """Whether it was refused, has failed or is stuck, in a world whose queries are never answered.

    Only a query proves a refusal and a failure. What is stuck at once stands in the answer, which may be lost, and in no notice.
    """
    return world.options.roads is Roads.NOTICES and world.truth.refund_state(refund) in ("", "FAILED", "STUCK")


def _waits_for_a_person(world: "World", order_id: str, rows: Rows) -> bool:
    """Whether the order will not come to its end by itself, so that its streams stay open."""
    mine = [refund for refund in rows.refunds.values() if refund.order_id == order_id]
    is_stuck = any(refund.state == "ABNORMAL" or only_a_query_ends(world, refund) for refund in mine)
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


def tasks_left(world: "World", rows: Rows) -> list[str]:
    """The tasks that are left, but for those that only a person can end."""
    found: list[OrderRow | PaymentRow | RefundRow] = [row for row in rows.orders.values() if row.task_verb]
    found += [row for row in rows.refunds.values() if row.task_verb]
    found += [row for row in rows.payments.values() if row.task_verb and not _went_elsewhere(world, row)]
    return [f"{row[0]} still has {row.task_verb}" for row in found]
