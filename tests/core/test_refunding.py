"""The rules about refunds: one line a rule (design section 5, rules 7 and 8)."""

from collections.abc import Callable

import pytest

from paycore.core.facts import RefundHeard, Via
from paycore.core.findings import (
    ChannelRefund,
    Closed,
    NotSent,
    Paid,
    RefundBounced,
    Refunded,
    RefundFailed,
    RefundFinding,
    RefundNotFound,
    RefundProcessing,
    RefundRefused,
    RefundShort,
    RefundStuck,
    Unknown,
)
from paycore.core.order import Remedy, SurplusPolicy
from paycore.core.schedule import REFUND_AGES, RETRY
from paycore.core.terms import DAY, MINUTE, SECOND
from tests.core.stories import NO, REFUNDS, Story, paid

PAID = "PAID | p1 SUCCEEDED* "
SENT = "REFUND"
ASKED = "QUERY_REFUND"


def sent(**terms: object) -> Story:
    """A paid order with one refund of 60 being sent."""
    return Story(**terms).pays().refunds(60)  # type: ignore[arg-type]


def late(policy: SurplusPolicy = SurplusPolicy.AUTO_REFUND) -> Story:
    """A payment that came after the close and is being given back."""
    return Story(policy).waits().closes().hears(Closed(), "CLOSE").hears(paid(), "NOTICE")


def surplus(finding: object, via: str) -> str:
    """What becomes of an automatic refund that hears this."""
    story = late()
    assert story.order is not None
    refund = story.order.refunds[0]
    story.tell(RefundHeard(refund.refund_id, Via(via), finding, story.now, refund.fence))  # type: ignore[arg-type]
    return str(story)


def in_all(amount_minor: int, number: str = "", refund_id: str | None = None) -> Paid:
    """Paid, as a channel tells it that names only what went back in all."""
    return paid(refunds=(ChannelRefund(amount_minor, number, refund_id, is_sum=True),))


RULES: list[tuple[str, Callable[[], object], str]] = [
    (
        "a sum without a refund of ours was begun at the channel",
        lambda: Story().pays().hears(in_all(30, "n1"), "NOTICE"),
        PAID + "100-0-30 | r CHANNEL SUCCEEDED 30",
    ),
    (
        "a second sum is told as what is new in it, and the first again as nothing",
        lambda: (
            Story()
            .pays()
            .hears(in_all(30, "n1"), "NOTICE")
            .hears(in_all(50, "n2"), "NOTICE")
            .hears(in_all(30, "n1"), "NOTICE")
        ),
        PAID + "100-0-50 | r CHANNEL SUCCEEDED 30 | r CHANNEL SUCCEEDED 20",
    ),
    (
        "sums out of order add up all the same",
        lambda: Story().pays().hears(in_all(50, "n2"), "NOTICE").hears(in_all(30, "n1"), "NOTICE"),
        PAID + "100-0-50 | r CHANNEL SUCCEEDED 50",
    ),
    (
        "a sum in a query may hold a refund of ours whose answer we do not know",
        lambda: sent().learns(Unknown()).hears(in_all(60), "QUERY"),
        PAID + "100-60-0 | r1 MERCHANT UNKNOWN 60 >QUERY_REFUND",
    ),
    (
        "a sum that ours cannot be told from is refused, for it comes again",
        lambda: sent().learns(Unknown()).hears(in_all(60, "n1"), "NOTICE"),
        PAID + "100-60-0 | r1 MERCHANT UNKNOWN 60 >QUERY_REFUND !CONFLICT_RETRY",
    ),
    (
        "and is told apart when ours has ended",
        lambda: (
            sent()
            .learns(Unknown())
            .hears(in_all(60, "n1"), "NOTICE")
            .takes_refund()
            .learns(Refunded(), ASKED)
            .hears(in_all(100, "n1"), "NOTICE")
        ),
        PAID + "100-0-100 | r1 MERCHANT SUCCEEDED 60 >QUERY_REFUND | r CHANNEL SUCCEEDED 40",
    ),
    (
        "a sum that names ours proves it, and shows what was begun at the channel beside it",
        lambda: sent().learns(Unknown()).hears(in_all(100, "r1", REFUNDS["r1"]), "NOTICE"),
        PAID + "100-0-100 | r1 MERCHANT SUCCEEDED 60 >QUERY_REFUND | r CHANNEL SUCCEEDED 40",
    ),
    (
        "a nameless sum adds nothing to what is known to have gone back",
        lambda: sent().learns(Refunded()).hears(in_all(60), "QUERY"),
        PAID + "100-0-60 | r1 MERCHANT SUCCEEDED 60 >QUERY_REFUND",
    ),
    (
        "all of it went back before its success was told: it pays nothing",
        lambda: Story().waits().hears(in_all(100), "QUERY"),
        "PENDING | p1 SUCCEEDED 100-0-100 | r CHANNEL SUCCEEDED 100",
    ),
    ("the amount is reserved", lambda: sent(), PAID + "100-60-0 | r1 MERCHANT PENDING 60 >REFUND"),
    (
        "accepted is not done",
        lambda: sent().learns(RefundProcessing()),
        PAID + "100-60-0 | r1 MERCHANT PROCESSING 60 >QUERY_REFUND",
    ),
    ("done", lambda: sent().learns(Refunded()), PAID + "100-0-60 | r1 MERCHANT SUCCEEDED 60 >QUERY_REFUND"),
    (
        "no query verb, no looks for a bounce",
        lambda: sent(can_query_refund=False).learns(Refunded()),
        PAID + "100-0-60 | r1 MERCHANT SUCCEEDED 60",
    ),
    (
        "silence is unknown and is asked about",
        lambda: sent().learns(Unknown()),
        PAID + "100-60-0 | r1 MERCHANT UNKNOWN 60 >QUERY_REFUND",
    ),
    (
        "silence without a query verb is sent again",
        lambda: sent(can_query_refund=False).learns(Unknown()),
        PAID + "100-60-0 | r1 MERCHANT UNKNOWN 60 >REFUND",
    ),
    ("not sent is sent again", lambda: sent().learns(NotSent()), PAID + "100-60-0 | r1 MERCHANT PENDING 60 >REFUND"),
    (
        "not found is sent again under the same id",
        lambda: sent().learns(Unknown()).takes_refund().learns(RefundNotFound(), ASKED),
        PAID + "100-60-0 | r1 MERCHANT UNKNOWN 60 >REFUND",
    ),
    (
        "refused proves nothing alone",
        lambda: sent().learns(RefundRefused(NO)),
        PAID + "100-60-0 | r1 MERCHANT UNKNOWN 60 >QUERY_REFUND",
    ),
    (
        "refused, then not found: failed, as every send was answered",
        lambda: sent().learns(RefundRefused(NO)).takes_refund().learns(RefundNotFound(), ASKED),
        PAID + "100-0-0 | r1 MERCHANT FAILED 60",
    ),
    (
        "an unverified refusal, then not found: failed too",
        lambda: sent().learns(RefundRefused(NO, authenticated=False)).takes_refund().learns(RefundNotFound(), ASKED),
        PAID + "100-0-0 | r1 MERCHANT FAILED 60",
    ),
    (
        "an unverified refusal without a query is sent again",
        lambda: sent(can_query_refund=False).learns(RefundRefused(NO, authenticated=False)),
        PAID + "100-60-0 | r1 MERCHANT UNKNOWN 60 >REFUND",
    ),
    (
        "a verified refusal without a query verb fails",
        lambda: sent(can_query_refund=False).learns(RefundRefused(NO)),
        PAID + "100-0-0 | r1 MERCHANT FAILED 60",
    ),
    (
        "a send was lost before the refusal: a person",
        lambda: (
            sent()
            .learns(Unknown())
            .takes_refund()
            .learns(RefundNotFound(), ASKED)
            .takes_refund()
            .learns(RefundRefused(NO))
            .takes_refund()
            .learns(RefundNotFound(), ASKED)
        ),
        PAID + "100-60-0 | r1 MERCHANT ABNORMAL 60 | REFUND_ABNORMAL OPEN 60",
    ),
    (
        "not found by nobody's word proves nothing",
        lambda: sent().learns(RefundRefused(NO)).takes_refund().learns(RefundNotFound(authenticated=False), ASKED),
        PAID + "100-60-0 | r1 MERCHANT UNKNOWN 60 >REFUND",
    ),
    (
        "failed by a query",
        lambda: sent().learns(RefundProcessing()).takes_refund().learns(RefundFailed(NO), ASKED),
        PAID + "100-0-0 | r1 MERCHANT FAILED 60",
    ),
    (
        "failed in answer to the send is asked about at once",
        lambda: sent().learns(RefundFailed(NO)),
        PAID + "100-60-0 | r1 MERCHANT PENDING 60 >QUERY_REFUND",
    ),
    (
        "failed by a notice is asked about",
        lambda: sent().learns(RefundProcessing()).learns(RefundFailed(NO), "NOTICE"),
        PAID + "100-60-0 | r1 MERCHANT PROCESSING 60 >QUERY_REFUND",
    ),
    (
        "failed by nobody's word is asked about",
        lambda: sent().learns(RefundProcessing()).takes_refund().learns(RefundFailed(NO, authenticated=False), ASKED),
        PAID + "100-60-0 | r1 MERCHANT PROCESSING 60 >QUERY_REFUND",
    ),
    (
        "too little money waits and stays reserved",
        lambda: sent().learns(RefundShort(NO)),
        PAID + "100-60-0 | r1 MERCHANT PENDING 60 >REFUND",
    ),
    (
        "stuck needs a person",
        lambda: sent().learns(RefundStuck(NO)),
        PAID + "100-60-0 | r1 MERCHANT ABNORMAL 60 | REFUND_ABNORMAL OPEN 60",
    ),
    (
        "stuck, then retried",
        lambda: sent().learns(RefundStuck(NO)).retries(),
        PAID + "100-60-0 | r1 MERCHANT UNKNOWN 60 >REFUND | REFUND_ABNORMAL RESOLVED 60",
    ),
    (
        "stuck, then done",
        lambda: sent().learns(RefundStuck(NO)).learns(Refunded(), "NOTICE"),
        PAID + "100-0-60 | r1 MERCHANT SUCCEEDED 60 >QUERY_REFUND | REFUND_ABNORMAL RESOLVED 60",
    ),
    (
        "stuck, a person says it reached the payer",
        lambda: sent().learns(RefundStuck(NO)).remedies(Remedy.ACCEPT),
        PAID + "100-0-60 | r1 MERCHANT SUCCEEDED 60 | REFUND_ABNORMAL RESOLVED 60",
    ),
    (
        "stuck, a person gives it up",
        lambda: sent().learns(RefundStuck(NO)).remedies(Remedy.RELEASE),
        PAID + "100-0-0 | r1 MERCHANT FAILED 60 | REFUND_ABNORMAL RESOLVED 60",
    ),
    (
        "stuck, a person sends it again",
        lambda: sent().learns(RefundStuck(NO)).remedies(Remedy.REFUND),
        PAID + "100-60-0 | r1 MERCHANT UNKNOWN 60 >REFUND | REFUND_ABNORMAL RESOLVED 60",
    ),
    (
        "a refund that ended is not retried",
        lambda: sent().learns(Refunded()).retries(),
        PAID + "100-0-60 | r1 MERCHANT SUCCEEDED 60 >QUERY_REFUND !REFUND_NOT_RETRYABLE",
    ),
    (
        "it bounced",
        lambda: sent().learns(Refunded()).learns(RefundBounced(), "NOTICE"),
        PAID + "100-0-0 | r1 MERCHANT REVERSED 60",
    ),
    (
        "failed after success is a bounce",
        lambda: sent().learns(Refunded()).takes_refund().learns(RefundFailed(NO), ASKED),
        PAID + "100-0-0 | r1 MERCHANT REVERSED 60",
    ),
    (
        "a bounce is final",
        lambda: sent().learns(Refunded()).learns(RefundBounced(), "NOTICE").learns(Refunded(), "NOTICE"),
        PAID + "100-0-0 | r1 MERCHANT REVERSED 60",
    ),
    (
        "late evidence of a failed one counts",
        lambda: sent(can_query_refund=False).learns(RefundRefused(NO)).learns(Refunded(), "NOTICE"),
        PAID + "100-0-60 | r1 MERCHANT SUCCEEDED 60",
    ),
    (
        "another amount is not believed quietly",
        lambda: sent().learns(Refunded(59)),
        PAID + "100-60-0 | r1 MERCHANT PENDING 60 >QUERY_REFUND | CONFLICTING_AMOUNT OPEN 59",
    ),
    (
        "told twice changes nothing",
        lambda: sent().learns(Refunded()).learns(Refunded(), "NOTICE"),
        PAID + "100-0-60 | r1 MERCHANT SUCCEEDED 60 >QUERY_REFUND",
    ),
    # guards
    (
        "never more than was paid",
        lambda: sent().refunds(41, "r2"),
        PAID + "100-60-0 | r1 MERCHANT PENDING 60 >REFUND !REFUND_EXCEEDS_BALANCE",
    ),
    (
        "the rest can be refunded",
        lambda: sent().refunds(40, "r2"),
        PAID + "100-100-0 | r1 MERCHANT PENDING 60 >REFUND | r2 MERCHANT PENDING 40 >REFUND",
    ),
    (
        "an unpaid order has nothing to refund",
        lambda: Story().waits().refunds(1),
        "PENDING | p1 PENDING >QUERY !ORDER_NOT_PAID",
    ),
    (
        "an unknown attempt has nothing to refund",
        lambda: Story().asks().hears(Unknown(), "PREPARE").refunds(1),
        "PENDING | p1 UNKNOWN >PREPARE !ORDER_NOT_PAID",
    ),
    (
        "in the currency that was paid",
        lambda: Story().pays().refunds(1, currency="USD"),
        PAID + "100-0-0 !CURRENCY_MISMATCH",
    ),
    (
        "a channel without refunds",
        lambda: Story(can_refund=False).pays().refunds(1),
        PAID + "100-0-0 !REFUND_UNSUPPORTED",
    ),
    (
        "a part, where the channel refunds whole payments only",
        lambda: Story(partial_refunds=False).pays().refunds(60),
        PAID + "100-0-0 !REFUND_UNSUPPORTED",
    ),
    (
        "the whole, where the channel refunds whole payments only",
        lambda: Story(partial_refunds=False).pays().refunds(100),
        PAID + "100-100-0 | r1 MERCHANT PENDING 100 >REFUND",
    ),
    (
        "beyond the channel's window",
        lambda: Story(refund_window=DAY).pays().at(2 * DAY).refunds(1),
        PAID + "100-0-0 !REFUND_WINDOW_CLOSED",
    ),
    (
        "beyond the channel's count",
        lambda: Story(refund_count=1).pays().refunds(1).refunds(1, "r2"),
        PAID + "100-1-0 | r1 MERCHANT PENDING 1 >REFUND !REFUND_COUNT_LIMIT",
    ),
    ("asked twice is one refund", lambda: sent().refunds(60), PAID + "100-60-0 | r1 MERCHANT PENDING 60 >REFUND"),
    ("no such payment", lambda: Story().pays().refunds(1, payment_id="py"), PAID + "100-0-0 !PAYMENT_NOT_FOUND"),
    (
        "a named surplus payment can be refunded",
        lambda: late(SurplusPolicy.HOLD).refunds(100, payment_id=late().payment().payment_id),
        "CLOSED | p1 SUCCEEDED 100-100-0 | r1 MERCHANT PENDING 100 >REFUND | LATE_PAYMENT RESOLVED 100",
    ),
    # what the channel began
    ("a refund begun at the channel", lambda: Story().pays().returned(30), PAID + "100-0-30 | r CHANNEL SUCCEEDED 30"),
    ("told twice is one", lambda: Story().pays().returned(30).returned(30), PAID + "100-0-30 | r CHANNEL SUCCEEDED 30"),
    (
        "two numbers are two",
        lambda: Story().pays().returned(30).returned(30, "n2"),
        PAID + "100-0-60 | r CHANNEL SUCCEEDED 30 | r CHANNEL SUCCEEDED 30",
    ),
    (
        "a refund never sent gives way",
        lambda: Story().pays().refunds(80, leased=False).returned(30),
        PAID + "100-0-30 | r1 MERCHANT FAILED 80 | r CHANNEL SUCCEEDED 30",
    ),
    (
        "a refund that was sent does not",
        lambda: Story().pays().refunds(80).returned(30),
        PAID + "100-80-30 | r1 MERCHANT PENDING 80 >REFUND | r CHANNEL SUCCEEDED 30 | OVER_REFUND OPEN 10",
    ),
    (
        "more than was paid is recorded all the same",
        lambda: Story().pays().returned(130),
        PAID + "100-0-130 | r CHANNEL SUCCEEDED 130 | OVER_REFUND OPEN 30",
    ),
    # surplus
    (
        "a surplus refund that fails becomes a hold",
        lambda: surplus(RefundFailed(NO), ASKED),
        "CLOSED | p1 SUCCEEDED 100-0-0 | r POLICY FAILED 100 | LATE_PAYMENT OPEN 100",
    ),
    (
        "a surplus refund that is done",
        lambda: surplus(Refunded(), SENT),
        "CLOSED | p1 SUCCEEDED 100-0-100 | r POLICY SUCCEEDED 100 >QUERY_REFUND | LATE_PAYMENT RESOLVED 100",
    ),
    (
        "a surplus refund that bounces becomes a hold",
        lambda: surplus(RefundBounced(), "NOTICE"),
        "CLOSED | p1 SUCCEEDED 100-0-0 | r POLICY REVERSED 100 | LATE_PAYMENT OPEN 100",
    ),
    (
        "a hold resolves itself when the money goes back at the channel",
        lambda: late(SurplusPolicy.HOLD).returned(100),
        "CLOSED | p1 SUCCEEDED 100-0-100 | r CHANNEL SUCCEEDED 100 | LATE_PAYMENT RESOLVED 100",
    ),
    (
        "a hold covers what is left",
        lambda: late(SurplusPolicy.HOLD).returned(30),
        "CLOSED | p1 SUCCEEDED 100-0-30 | r CHANNEL SUCCEEDED 30 | LATE_PAYMENT OPEN 70",
    ),
]


@pytest.mark.parametrize(("story", "then"), [pytest.param(story, then, id=name) for name, story, then in RULES])
def test_rule(story: Callable[[], object], then: str) -> None:
    assert str(story()) == then


def test_looks_for_a_bounce_end_by_answers_not_by_silence() -> None:
    story = sent().learns(Refunded())
    for _ in range(5):
        story.takes_refund().learns(Unknown(), ASKED)
    assert story.refund().task is not None
    looks = 0
    while story.refund().task is not None:
        story.takes_refund().learns(Refunded(), ASKED)
        looks += 1
    assert (looks, story.refund().state) == (3, "SUCCEEDED")


def test_no_refund_is_ever_ended_by_time() -> None:
    story = sent().learns(Unknown())
    for _ in range(60):
        story.takes_refund().learns(Unknown(), story.refund().task.verb)  # type: ignore[union-attr]
    assert story.refund().is_reserving
    assert story.refund().task is not None


def test_a_late_worker_is_not_an_answered_send() -> None:
    story = sent().takes_refund().learns(RefundRefused(NO), owns=False)
    assert story.refund().answered == 0


def test_a_refusal_that_nobody_vouches_for_is_tried_ever_more_slowly() -> None:
    """Where refusals are mere hints, neither send nor query ever ends the refund; it must not go round in seconds."""
    story = sent().learns(RefundRefused(NO, authenticated=False))
    pauses: list[int] = []
    for _ in range(10):
        story.takes_refund().learns(RefundNotFound(authenticated=False), ASKED)
        task = story.refund().task
        assert task is not None
        pauses.append(task.due_at - story.now)
        story.takes_refund().learns(RefundRefused(NO, authenticated=False))
    assert pauses == sorted(pauses)
    assert pauses[-1] == RETRY[-1]
    assert story.refund().is_reserving


def follow(story: Story, answers: int, finding: RefundFinding) -> list[int]:
    """Ask after a refund so often, and be told the same each time: the waits between, in seconds."""
    waits = []
    for _ in range(answers):
        story.takes_refund().learns(finding, ASKED)
        task = story.refund().task
        assert task is not None
        waits.append((task.due_at - story.now) // SECOND)
    return waits


def test_a_refund_that_the_channel_works_on_is_asked_after_ever_more_seldom() -> None:
    waits = follow(sent().learns(RefundProcessing()), 9, RefundProcessing())
    assert waits == [5, 15, 30, 60, 300, 900, 3600, 10_800, 10_800]


def test_an_outage_of_minutes_does_not_put_the_next_question_off_for_hours() -> None:
    story = sent().learns(RefundProcessing())
    follow(story, 8, Unknown())
    [wait] = follow(story, 1, RefundProcessing())
    age = story.now - story.refund().created_at
    assert 5 * MINUTE < age < 10 * MINUTE
    assert wait == REFUND_AGES * age // SECOND


def dues(story: Story) -> list[int]:
    """When the refunds' tasks are due, seconds after the first."""
    found = [story.refund(name).task for name in ("r1", "r2", "r3")]
    assert all(task is not None for task in found)
    return [(task.due_at - found[0].due_at) // SECOND for task in found if task and found[0]]


def test_a_channels_pause_between_two_refunds_is_kept() -> None:
    story = Story(refund_interval=MINUTE).pays().refunds(10).refunds(10, "r2").refunds(10, "r3")
    assert dues(story) == [0, 60, 120]
    waiting = story.refund("r2")
    assert waiting.task is not None
    assert (waiting.task.leased_until, waiting.sends) == (None, 0)


def test_after_the_pause_a_refund_is_sent_at_once() -> None:
    story = Story(refund_interval=MINUTE).pays().refunds(10)
    story.at(story.now + MINUTE).refunds(10, "r2")
    task = story.refund("r2").task
    assert task is not None
    assert task.due_at == story.now
    assert task.leased_until is not None


def test_without_a_pause_refunds_do_not_wait_for_each_other() -> None:
    story = Story().pays().refunds(10).refunds(10, "r2").refunds(10, "r3")
    assert dues(story) == [0, 1, 2]
