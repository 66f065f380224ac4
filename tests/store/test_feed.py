"""Each app's feed is numbered 1..n without a gap, in an order in which no event comes before an earlier one of its order."""

from __future__ import annotations

from dataclasses import replace

from paycore.core.events import Event
from paycore.store import Store
from tests.store.made import APP, OTHER_APP, Told, renumbered, stored
from tests.store.test_belt import in_threads


class Undo(Exception):
    """Makes a transaction end without a commit."""


def number(store: Store, limit: int = 1000) -> int:
    with store.write() as unit:
        return unit.number_feed(limit)


def feed(store: Store, app_id: str = APP, after: int = 0, limit: int = 10_000) -> list[tuple[int, Event]]:
    with store.read() as unit:
        return unit.feed(app_id, after, limit)


def test_an_app_sees_all_its_orders_and_nobody_elses(store: Store) -> None:
    mine = [Told().asks().save(store), Told().asks().save(store)]
    other = Told(OTHER_APP).save(store)
    number(store)
    found = feed(store)
    assert [seq for seq, _ in found] == [1, 2, 3, 4]
    assert {event.order_id for _, event in found} == {told.now.order_id for told in mine}
    assert [(seq, event.order_id) for seq, event in feed(store, OTHER_APP)] == [(1, other.now.order_id)]
    with store.read() as unit:
        assert [unit.feed_head(app) for app in (APP, OTHER_APP, "nobody")] == [4, 1, 0]


def test_a_reader_goes_on_after_a_place(store: Store) -> None:
    stored(store, 5)
    number(store)
    everything = feed(store)
    assert feed(store, after=2, limit=2) == everything[2:4]
    assert feed(store, after=5) == []


def test_numbering_a_little_at_a_time_leaves_no_gap(store: Store) -> None:
    stored(store, 7)
    while number(store, limit=3):
        pass
    assert [seq for seq, _ in feed(store)] == list(range(1, 8))
    stored(store, 2)
    number(store)
    assert [seq for seq, _ in feed(store)] == list(range(1, 10))


def test_what_was_rolled_back_has_no_place(store: Store) -> None:
    for told in (Told(), Told(), Told()):
        try:
            with store.write() as unit:
                unit.save([told.change()])
                unit.number_feed(100)
                raise Undo
        except Undo:
            pass
        stored(store)
    number(store)
    assert [seq for seq, _ in feed(store)] == [1, 2, 3]


def test_concurrent_writers_sequencers_and_rollbacks_leave_no_gap(store: Store) -> None:
    shared = stored(store, 4)

    def write() -> None:
        for turn in range(12):
            ids = [told.now.order_id for told in shared]
            try:
                with store.write() as unit:
                    before = unit.load(ids, lock=True)
                    unit.save([renumbered(o, replace(o, paid_at=(o.paid_at or 0) + 1)) for o in before.values()])
                    if turn % 3 == 2:
                        raise Undo
            except Undo:
                continue
            number(store, limit=5)

    in_threads(write, 4)
    while number(store, limit=7):
        pass
    found = feed(store)
    assert [seq for seq, _ in found] == list(range(1, len(found) + 1))
    assert len(found) == 4 + 4 * 4 * 8
    for told in shared:
        versions = [event.version for _, event in found if event.order_id == told.now.order_id]
        assert versions == list(range(1, 34))
