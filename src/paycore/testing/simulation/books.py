"""Both books, side by side: every amount that the channel took or gave back is in ours, and no other."""

from typing import TYPE_CHECKING

from paycore.testing.simulation.open_ends import only_a_query_ends
from paycore.testing.simulation.rows import RefundRow, Rows

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
    for number, refund in world.channel.books.refunds.items():
        if refund.state in ("SUCCESS", "BOUNCED") and number not in ours and refund.refund_no not in ours:
            world.violated(
                "books", f"the channel gave {refund.amount_minor} back as {number}, of which we know nothing"
            )
