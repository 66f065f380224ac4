"""The harness itself: it runs every order once, knows a blocked player from a slow one, and plays the same choices the same."""

from __future__ import annotations

import time
from math import comb
from typing import Any

import pytest

from paycore.store import Store
from paycore.store.sql import same
from tests.interleavings import weave
from tests.interleavings.scenes import audited
from tests.interleavings.weave import ENDS, Loom, Scene, Work, every_order, in_short, one_order, some_orders

LOCK = same("SELECT pg_advisory_xact_lock(4711)")


def reading(store: Store, statements: int, *, seconds: float = 0.0) -> Work:
    """A transaction of so many statements that touch nothing."""

    def read() -> None:
        with store.write() as unit:
            for _ in range(statements):
                unit.rows(same(f"SELECT pg_sleep({seconds})"))

    return read


def locking(store: Store, *, before: int = 0) -> Work:
    """A transaction that takes the one lock, and keeps it to its end."""

    def lock() -> None:
        with store.write() as unit:
            for _ in range(before):
                unit.rows(same("SELECT 1"))
            unit.rows(LOCK)
            unit.rows(same("SELECT 2"))

    return lock


def scene(*works: Any) -> Scene:
    def begin(loom: Loom) -> tuple[dict[str, Work], None]:
        return {name: work(loom.stores[i]) for i, (name, work) in enumerate(zip("ABC", works, strict=False))}, None

    return Scene(begin)


def test_two_that_touch_nothing_are_woven_in_every_order(loom: Loom) -> None:
    played = [one.choices for one in every_order(loom, scene(lambda s: reading(s, 2), lambda s: reading(s, 3)))]
    assert len(played) == len(set(played)) == comb(3 + 4, 3), "two and three statements, and a commit each"
    assert all(choices.count("A") == 3 and choices.count("B") == 4 for choices in played)


def test_orders_that_ask_a_blocked_player_to_go_on_are_run_once(loom: Loom) -> None:
    """Each has a lock, a statement and a commit: whoever locks first is followed by the other at one of three places, or after."""
    played = list(every_order(loom, scene(locking, locking)))
    assert {"".join(one.choices) for one in played} == {
        *("ABAABB", "AABABB", "AAABBB"),
        *("BABBAA", "BBABAA", "BBBAAA"),
    }
    assert all(
        ("is blocked" in "\n".join(one.trace)) == ("AAABBB" != "".join(one.choices) != "BBBAAA") for one in played
    )


def test_a_slow_statement_is_not_taken_for_a_blocked_one(loom: Loom) -> None:
    began = time.monotonic()
    slow = one_order(loom, scene(lambda s: reading(s, 1, seconds=0.3), lambda s: reading(s, 1)), "ABAB")
    assert "".join(slow.choices) == "ABAB"
    assert "is blocked" not in "\n".join(slow.trace)
    assert time.monotonic() - began >= 0.3


def test_a_blocked_player_goes_on_when_the_other_commits(loom: Loom) -> None:
    played = one_order(loom, scene(locking, locking), "AB")
    steps = [line.split(": ", 1) for line in played.trace]
    assert [name for name, _ in steps] == ["A", "B", "A", "A", "B", "B", "B"]
    assert steps[1][1].endswith("is blocked")
    assert (steps[3][1], steps[4][1]) == ("COMMIT", "... goes on")


def test_a_deadlock_is_told(loom: Loom) -> None:
    def crossing(first: int, second: int) -> Any:
        def work(store: Store) -> Work:
            def lock() -> None:
                with store.write() as unit:
                    for number in (first, second):
                        unit.rows(same(f"SELECT pg_advisory_xact_lock({number})"))

            return lock

        return work

    played = one_order(loom, scene(crossing(1, 2), crossing(2, 1)), "ABAB")
    assert played.deadlocks == 1
    assert sorted(type(outcome).__name__ for outcome in played.outcomes.values()) == ["Conflict", "NoneType"]


def test_the_same_seed_draws_the_same_orders(loom: Loom) -> None:
    three = scene(lambda s: reading(s, 2), locking, locking)
    first, second = ([one.choices for one in some_orders(loom, three, count=5, seed=5)] for _ in range(2))
    assert first == second
    assert len(set(first)) > 1


def test_a_player_that_never_comes_back_is_given_up(loom: Loom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weave, "STUCK_SECONDS", 0.2)
    with pytest.raises(weave.Stuck, match="A does not come back"):
        one_order(loom, scene(lambda s: reading(s, 1, seconds=1.0), lambda s: reading(s, 1)), "AB")
    monkeypatch.undo()
    time.sleep(1.0)  # until the server has let go of it
    assert audited(loom.stores[0]) == []


def test_statements_are_told_in_a_few_words() -> None:
    assert in_short("SELECT a, b FROM orders WHERE x ORDER BY y FOR UPDATE") == "SELECT orders FOR UPDATE"
    assert in_short("INSERT INTO events (a) SELECT k FROM jsonb_array_elements(%s) AS k") == "INSERT INTO events"
    assert in_short("UPDATE payments AS t SET a = 1") == "UPDATE payments"
    assert in_short("SELECT k FROM jsonb_array_elements(%s) AS k(value) JOIN requests AS r ON 1") == "SELECT requests"
    assert ENDS == ("COMMIT", "ROLLBACK")
