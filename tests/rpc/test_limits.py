"""How much at once: buckets fill with time, streams are counted per process, app, session and order."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

import pytest

from paycore.core.refusals import Reason, Refused
from paycore.rpc import limits as limits_module
from paycore.rpc.limits import Allowance, Limits


class Tick:
    at = 0.0

    def __call__(self) -> float:
        return self.at


def small(tick: Tick | None = None) -> Limits:
    allowance = Allowance(
        app_rate=2,
        app_burst=4,
        session_rate=1,
        session_burst=2,
        failed_rate=1,
        failed_burst=3,
        calls_at_once=2,
        streams_at_once=4,
        streams_of_app=3,
        streams_of_session=1,
        streams_of_order=2,
    )
    return Limits(allowance, monotonic=tick or Tick())


def test_an_app_may_call_in_a_burst_and_then_at_its_rate() -> None:
    tick = Tick()
    limits = small(tick)
    for _ in range(4):
        limits.pace_app("a", None)
    with pytest.raises(Refused) as refused:
        limits.pace_app("a", None)
    assert (refused.value.reason, refused.value.retry_after_seconds) == (Reason.RATE_LIMITED, 0.5)
    limits.pace_app("b", None)
    tick.at = 0.5
    limits.pace_app("a", None)
    with pytest.raises(Refused):
        limits.pace_app("a", None)


def test_a_bucket_never_holds_more_than_its_burst() -> None:
    tick = Tick()
    limits = small(tick)
    tick.at = 1e6
    for _ in range(2):
        limits.pace_session("s")
    with pytest.raises(Refused):
        limits.pace_session("s")


def test_an_apps_own_rate_counts_and_may_change() -> None:
    limits = small()
    for _ in range(10):
        limits.pace_app("a", 1.0)
    with pytest.raises(Refused):
        limits.pace_app("a", 1.0)
    for _ in range(40):
        limits.pace_app("a", 10.0)


def test_an_address_that_guesses_must_wait_and_others_need_not() -> None:
    tick = Tick()
    limits = small(tick)
    for _ in range(3):
        limits.may_try("192.0.2.1")
        limits.failed("192.0.2.1")
    with pytest.raises(Refused) as refused:
        limits.may_try("192.0.2.1")
    assert refused.value.reason is Reason.RATE_LIMITED
    limits.may_try("192.0.2.2")
    tick.at = 1.0
    limits.may_try("192.0.2.1")


def test_buckets_do_not_grow_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits_module, "MOST_BUCKETS", 10)
    limits = small()
    for number in range(100):
        limits.failed(f"192.0.2.{number}")
    assert len(limits._buckets) == 10


@pytest.mark.parametrize(
    ("held", "one_more", "kind"),
    [
        ([("a", "", "o1"), ("a", "", "o2"), ("a", "", "o3")], ("a", "", "o4"), "app"),
        ([("a", "", "o1"), ("a", "", "o1")], ("a", "", "o1"), "order"),
        ([("a", "s", "o1")], ("a", "s", "o2"), "session"),
        ([("a", "", "1"), ("a", "", "2"), ("b", "", "3"), ("c", "", "4")], ("d", "", "5"), "process"),
    ],
)
def test_streams_are_limited(held: list[tuple[str, str, str]], one_more: tuple[str, str, str], kind: str) -> None:
    limits = small()
    with ExitStack() as stack:
        for app, session, order in held:
            stack.enter_context(limits.stream(app, session))
            stack.enter_context(limits.stream_of_order(order))
        with (
            pytest.raises(Refused) as refused,
            limits.stream(one_more[0], one_more[1]),
            limits.stream_of_order(one_more[2]),
        ):
            pass
        assert (refused.value.reason, refused.value.details) == (Reason.TOO_MANY_STREAMS, {"limit": kind})
        assert limits.streams == len(held)
    assert limits.streams == 0
    assert not limits._streams
    with limits.stream(*one_more[:2]), limits.stream_of_order(one_more[2]):
        assert limits.streams == 1


async def test_quiet_is_when_nothing_is_at_work() -> None:
    limits = small()
    await limits.quiet()
    with limits.call():
        waiting = asyncio.create_task(limits.quiet())
        with limits.stream("a", ""):
            await asyncio.sleep(0)
        assert not waiting.done()
        with limits.call(), pytest.raises(Refused) as refused, limits.call():
            pass
        assert refused.value.reason is Reason.RATE_LIMITED
        await asyncio.sleep(0)
        assert not waiting.done()
    await asyncio.wait_for(waiting, 1)
