"""What a message of a stream means for the reader, and how long to wait: as tables, without a server."""

from __future__ import annotations

import random
from typing import Any

import grpc
import pytest

from paycore.client import NotFound, PaycoreError, Unavailable
from paycore.client.errors import is_transient
from paycore.client.watching import (
    FeedFollow,
    Follow,
    Pace,
    Verdict,
    watch_cashier_session,
    watch_order,
    watch_orders,
    watch_refund,
)
from paycore.v1 import cashier_pb2, common_pb2, order_pb2, refund_pb2
from tests.client.scripted import beat, end, ended, event, fed, refund, resync, session, snapshot

SHOW, SKIP, REOPEN, FINISH = Verdict.SHOW, Verdict.SKIP, Verdict.REOPEN, Verdict.FINISH
MAX_AGE, DRAINING = common_pb2.END_REASON_MAX_AGE, common_pb2.END_REASON_DRAINING


def read(follow: Follow[Any], *messages: Any) -> tuple[list[Verdict], int | None]:
    return [follow.take(message) for message in messages], follow.seen


@pytest.mark.parametrize(
    ("seen", "messages", "verdicts", "seen_then"),
    [
        (None, [snapshot(3), event(4), event(5), end(5)], [SHOW, SHOW, SHOW, FINISH], 5),
        (3, [event(4), event(5)], [SHOW, SHOW], 5),
        (0, [event(1)], [SHOW], 1),
        # seen before
        (5, [event(4), event(5), event(6)], [SKIP, SKIP, SHOW], 6),
        (5, [snapshot(5), snapshot(4), snapshot(7)], [SKIP, SKIP, SHOW], 7),
        # missing
        (3, [event(5)], [REOPEN], 3),
        (None, [event(1)], [REOPEN], None),
        (3, [beat(4)], [REOPEN], 3),
        (None, [beat(4)], [REOPEN], None),
        (3, [end(4)], [REOPEN], 3),
        # signs of life
        (3, [beat(3), event(4), beat(4)], [SKIP, SHOW, SKIP], 4),
        (3, [beat(2)], [SKIP], 3),
        # too slow
        (3, [resync(9), event(10)], [SHOW, SHOW], 10),
        (9, [resync(9)], [SKIP], 9),
        # ends
        (3, [end(3, MAX_AGE)], [REOPEN], 3),
        (3, [end(3, DRAINING)], [REOPEN], 3),
        # kinds newer than this client
        (3, [order_pb2.WatchOrderResponse(version=3), event(4)], [SKIP, SHOW], 4),
    ],
)
def test_one_order(seen: int | None, messages: list[Any], verdicts: list[Verdict], seen_then: int | None) -> None:
    assert read(watch_order("or1", resume_after=seen), *messages) == (verdicts, seen_then)


def test_an_event_whose_numbers_disagree_is_not_shown() -> None:
    odd = order_pb2.WatchOrderResponse(version=4, event=order_pb2.OrderEvent(order_id="or1", version=5))
    assert read(watch_order("or1", resume_after=3), odd) == ([REOPEN], 3)


@pytest.mark.parametrize(
    ("seen", "cursors", "verdicts"),
    [(None, [7, 9], [SHOW, SHOW]), (8, [7, 8, 9, 30], [SKIP, SKIP, SHOW, SHOW]), (0, [1], [SHOW])],
)
def test_the_feed_only_goes_forward(seen: int | None, cursors: list[int], verdicts: list[Verdict]) -> None:
    assert read(watch_orders(resume_after=seen), *map(fed, cursors)) == (verdicts, cursors[-1])


def test_a_heartbeat_moves_the_feeds_cursor() -> None:
    follow = watch_orders()
    alive = order_pb2.WatchOrdersResponse(cursor=12, heartbeat=common_pb2.Heartbeat())
    assert read(follow, alive, fed(12), fed(13)) == ([SKIP, SKIP, SHOW], 13)
    assert isinstance(follow, FeedFollow)


@pytest.mark.parametrize(
    ("follow", "say", "kind"),
    [
        (lambda seen: watch_refund("rf1", resume_after=seen), refund, refund_pb2.WatchRefundResponse),
        (
            lambda seen: watch_cashier_session("cs1", resume_after=seen),
            session,
            cashier_pb2.WatchCashierSessionResponse,
        ),
    ],
)
def test_states_are_news_when_they_are_newer(follow: Any, say: Any, kind: Any) -> None:
    assert read(follow(None), say(3), say(3), say(7), say(6), ended(kind, 7)) == ([SHOW, SKIP, SHOW, SKIP, FINISH], 7)
    alive = kind(version=9, heartbeat=common_pb2.Heartbeat())
    assert read(follow(3), say(3), alive, say(9)) == ([SKIP, SKIP, SHOW], 9)


def test_a_stream_is_opened_again_from_behind_what_was_seen() -> None:
    follow = watch_order("or1", heartbeat_seconds=20, end_policy=common_pb2.END_POLICY_NEVER)
    assert not follow.request().HasField("resume_after")
    follow.take(snapshot(4))
    request = follow.request()
    assert (request.order_id, request.resume_after, request.heartbeat_seconds) == ("or1", 4, 20)
    assert request.end_policy == common_pb2.END_POLICY_NEVER
    assert watch_order("or1", resume_after=0).request().HasField("resume_after")


@pytest.mark.parametrize(("asked", "seconds"), [(0, 37.5), (5, 12.5), (60, 150.0)])
def test_a_stream_is_dead_after_two_heartbeats_and_a_half(asked: int, seconds: float) -> None:
    assert watch_order("or1", heartbeat_seconds=asked).silence_seconds == seconds


@pytest.mark.parametrize("seed", range(200))
def test_no_storm_makes_a_gap_or_a_duplicate(seed: int) -> None:
    """A server that repeats, drops, cuts and resumes as it likes; the reader sees 1, 2, 3 from wherever it began."""
    chance = random.Random(seed)
    last = chance.randint(1, 30)
    follow = watch_order("or1")
    shown: list[int] = []
    for _ in range(500):
        start = follow.request().resume_after if follow.request().HasField("resume_after") else None
        first = chance.randint(1, last)
        stream = [snapshot(first)] if start is None else []
        at = first if start is None else start
        stream += [event(version) for version in range(at + 1, last + 1)] + [end(last)]
        if not play(follow, storm(stream, chance), shown):
            break
    assert shown == list(range(shown[0], last + 1))


def storm(stream: list[Any], chance: random.Random) -> list[Any]:
    """The stream with messages lost and repeated, signs of life put in, and cut off somewhere."""
    kept = [message for message in stream for _ in range(chance.choice([0, 1, 1, 1, 1, 2]))]
    with_beats = [each for message in kept for each in ([beat(message.version)] * chance.randint(0, 1) + [message])]
    return with_beats[: chance.randint(0, len(with_beats))]


def play(follow: Any, stream: list[Any], shown: list[int]) -> bool:
    """Read one stream; says whether it has to be opened again."""
    for message in stream:
        verdict = follow.take(message)
        if verdict is SHOW:
            shown.append(message.version)
        elif verdict is not SKIP:
            return verdict is REOPEN
    return True


# ---------------------------------------------------------------------------------------------- waiting


def gone(**named: Any) -> Unavailable:
    return Unavailable(grpc.StatusCode.UNAVAILABLE, "gone", **named)


def test_waits_grow_to_ten_seconds_and_are_spread() -> None:
    pace = Pace(lambda: 1.0, heard_at=0.0)
    assert [pace.wait_seconds(gone(), 1.0) for _ in range(8)] == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
    chance = random.Random(1)
    spread = {Pace(chance.random, heard_at=0.0).wait_seconds(gone(), 1.0) for _ in range(100)}
    assert len(spread) == 100
    assert 0.0 <= min(spread) < 0.05
    assert 0.2 < max(spread) <= 0.25


def test_hearing_something_makes_the_next_wait_short_again() -> None:
    pace = Pace(lambda: 1.0, heard_at=0.0)
    for _ in range(6):
        pace.wait_seconds(gone(), 1.0)
    pace.heard(1.0)
    assert pace.wait_seconds(gone(), 2.0) == 0.25


def test_the_server_may_ask_for_a_longer_wait() -> None:
    assert Pace(lambda: 0.5, heard_at=0.0).wait_seconds(gone(retry_after_seconds=7.0), 1.0) == 7.125


def test_a_reader_gives_up_after_hearing_nothing_for_too_long() -> None:
    pace = Pace(lambda: 0.0, heard_at=100.0, patience_seconds=300.0)
    assert pace.wait_seconds(gone(), 400.0) == 0.0
    with pytest.raises(Unavailable):
        pace.wait_seconds(gone(), 400.1)


def test_what_waiting_cannot_mend_is_raised_at_once() -> None:
    refusal = NotFound(grpc.StatusCode.NOT_FOUND, "no", reason="ORDER_NOT_FOUND")
    with pytest.raises(NotFound):
        Pace(lambda: 0.0, heard_at=0.0).wait_seconds(refusal, 0.0)


@pytest.mark.parametrize(
    ("code", "reason", "is_worth_it"),
    [
        (grpc.StatusCode.UNAVAILABLE, "", True),
        (grpc.StatusCode.INTERNAL, "", True),
        (grpc.StatusCode.UNKNOWN, "", True),
        (grpc.StatusCode.CANCELLED, "", True),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "SLOW_CONSUMER", True),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_STREAMS", True),
        (grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN", True),
        (grpc.StatusCode.INTERNAL, "INTERNAL", False),
        (grpc.StatusCode.OUT_OF_RANGE, "RESUME_AHEAD", False),
        (grpc.StatusCode.UNAUTHENTICATED, "CREDENTIALS_INVALID", False),
        (grpc.StatusCode.UNIMPLEMENTED, "", False),
        (grpc.StatusCode.NOT_FOUND, "", False),
    ],
)
def test_what_is_worth_another_try(code: grpc.StatusCode, reason: str, is_worth_it: bool) -> None:
    assert is_transient(PaycoreError(code, "x", reason=reason)) is is_worth_it
