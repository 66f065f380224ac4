"""The stream of events: each order's own, and each app's feed of all its orders."""

from collections.abc import Collection, Mapping

from paycore.core.events import Event
from paycore.store.rows import event_of
from paycore.store.sql import Statement, same, select_among, select_keyed
from paycore.store.tables import OrderTable, table
from paycore.store.telling import EVENT_COLUMNS
from paycore.store.work import Work

_EVENTS_AFTER = select_keyed(
    "events AS e",
    (("e.order_id", "text"),),
    tuple(f"e.{column}" for column in EVENT_COLUMNS),
    condition="e.version > {1} AND e.version <= {2}",
    tail="ORDER BY e.order_id, e.version",
)
_VERSIONS = select_among(table(OrderTable), "order_id", columns=("order_id", "version"))
_FEED = same(
    f"SELECT {', '.join(EVENT_COLUMNS)} FROM events WHERE app_id = ? AND feed_seq > ? ORDER BY feed_seq LIMIT ?"
)
_FEED_HEAD = same("SELECT last_seq FROM feeds WHERE app_id = ?")
_ONE_SEQUENCER = Statement("SELECT 1", "SELECT pg_advisory_xact_lock(7205759403792)")
_NUMBER = Statement(
    "SELECT 0",
    """
    WITH fresh AS (
        SELECT order_id, version, app_id FROM events WHERE feed_seq IS NULL ORDER BY order_id, version LIMIT %s
    ), numbered AS (
        SELECT fresh.order_id, fresh.version, coalesce(feeds.last_seq, 0)
            + row_number() OVER (PARTITION BY fresh.app_id ORDER BY fresh.order_id, fresh.version) AS seq
        FROM fresh LEFT JOIN feeds ON feeds.app_id = fresh.app_id
    ), done AS (
        UPDATE events SET feed_seq = numbered.seq FROM numbered
        WHERE events.order_id = numbered.order_id AND events.version = numbered.version
        RETURNING events.app_id, events.feed_seq
    ), kept AS (
        INSERT INTO feeds (app_id, last_seq) SELECT app_id, max(feed_seq) FROM done GROUP BY app_id
        ON CONFLICT (app_id) DO UPDATE SET last_seq = excluded.last_seq
    )
    SELECT count(*) FROM done
    """,
)


class Feeding(Work):
    """What was announced, in order."""

    def events_after(self, positions: Mapping[str, int], limit_each: int) -> dict[str, list[Event]]:
        """For each order the events after a version, without a gap, at most so many. Orders with none are left out."""
        found: dict[str, list[Event]] = {}
        for row in self.keyed(_EVENTS_AFTER, [(order, n, n + limit_each) for order, n in sorted(positions.items())]):
            found.setdefault(row[0], []).append(event_of(row))
        return found

    def versions(self, order_ids: Collection[str]) -> dict[str, int]:
        """The number of each order's last event."""
        return dict(self.keyed(_VERSIONS, sorted(set(order_ids))))

    def feed(self, app_id: str, after_seq: int, limit: int) -> list[tuple[int, Event]]:
        """An app's events after a place in its feed, in order and without a gap."""
        rows = self.rows(_FEED, app_id, after_seq, limit)
        return [(row[-1], event_of(row)) for row in rows]

    def feed_head(self, app_id: str) -> int:
        """The last place in an app's feed; 0 while it is empty."""
        rows = self.rows(_FEED_HEAD, app_id)
        return int(rows[0][0]) if rows else 0

    def number_feed(self, limit: int) -> int:
        """Give committed events their places in their apps' feeds; how many got one.

        One transaction at a time does this, whoever else tries; it sees only what is committed, and a rollback takes its
        numbers back: so a feed has no gap and never grows in the middle. On SQLite `save` has done it already.
        """
        if self.dialect == "sqlite":
            return 0
        self.rows(_ONE_SEQUENCER)
        [(count,)] = self.rows(_NUMBER, limit)
        return int(count)
