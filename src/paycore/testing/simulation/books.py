"""Both books, side by side: every amount that the channel took or gave back is in ours, and no other."""

from typing import TYPE_CHECKING

from paycore.testing.simulation.open_ends import only_a_query_ends
from paycore.testing.simulation.rows import PaymentRow, RefundRow, Rows

if TYPE_CHECKING:
    from paycore.testing.simulation.world import World


def compare_books(world: "World", rows: Rows, *, asks_on: bool) -> None:
    """Every amount that the channel took or gave back is in our books, and no other.

    `asks_on`: a row that still has a task may yet learn of it by asking.
    """
    by_number = {payment.payment_id: payment for payment in rows.payments.values()}
    by_number |= {payment.token: payment for payment in rows.payments.values() if payment.token}
    for number, minor, merchant in world.truth.paid_numbers():
        payment = by_number.get(number)
        if payment is None:
            world.violated("books", f"the channel took {minor} for {number}, of which we know nothing")
        elif (asks_on and payment.task_verb) or _is_undone(world, payment, minor):
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
        if payment.state == "SUCCEEDED" and not (asks_on and payment.task_verb):
            _compare_returned(world, payment, rows)
    for refund in rows.refunds.values():
        if not (asks_on and refund.task_verb):
            _compare_refund(world, refund, rows)
    _nothing_unknown_went_back(world, rows)


def _is_undone(world: "World", payment: PaymentRow, minor: int) -> bool:
    """Whether a close gave back what was taken before we heard that it was taken: then it never was paid."""
    return payment.state != "SUCCEEDED" and world.truth.returned(payment) == minor


def _compare_returned(world: "World", payment: PaymentRow, rows: Rows) -> None:
    """What went back in all, for books that know it, once nothing is on its way and no person knew better."""
    refunds, returned = rows.refunds_of(payment.payment_id), world.truth.returned(payment)
    is_open = any(refund.is_reserving or refund.task_verb for refund in refunds)
    was_decided = any(one.remedy for refund in refunds for one in rows.anomalies_of(refund.refund_id))
    if returned is not None and payment.refunded_minor != returned and not is_open and not was_decided:
        world.violated("books", f"{payment.payment_id} gave {payment.refunded_minor} back; the channel gave {returned}")


AS_OURS = {"SUCCESS": "SUCCEEDED", "BOUNCED": "REVERSED", "FAILED": "FAILED", "STUCK": "ABNORMAL"}


def _compare_refund(world: "World", refund: RefundRow, rows: Rows) -> None:
    if any(one.remedy for one in rows.anomalies_of(refund.refund_id)):
        return  # a person knew better
    theirs = world.truth.refund_state(refund)
    expected = AS_OURS.get(theirs, "")
    if refund.is_reserving and only_a_query_ends(world, refund):
        return
    if theirs and refund.state != expected:
        world.violated("books", f"refund {refund.refund_id} is {refund.state}; the channel has it {theirs}")
    if not theirs and refund.state not in ("FAILED", "ABNORMAL"):
        world.violated("books", f"refund {refund.refund_id} is {refund.state}; the channel does not have it")


def _nothing_unknown_went_back(world: "World", rows: Rows) -> None:
    ours = {refund.refund_id for refund in rows.refunds.values()} | {
        refund.channel_refund_no for refund in rows.refunds.values()
    }
    for numbers, amount_minor in world.truth.given_back(rows.payments):
        if ours.isdisjoint(numbers):
            world.violated("books", f"the channel gave {amount_minor} back as {numbers[0]}, of which we know nothing")
