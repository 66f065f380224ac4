"""What must always hold, one statement a rule: each finds the rows that break it. The audit asks them of a live database.

A rule asks what the tables say, not what their constraints forbid: a database that was restored, mended by hand or left by
an older version may have lost a belt. What each finding means to an operator is in docs/operations.md.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from paycore.core.order import OPEN_PAYMENTS, RESERVING_REFUNDS
from paycore.store.sql import same
from paycore.store.work import Work


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that must never be: which rule, about which row, and what is wrong in one sentence."""

    rule: str
    subject_id: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.subject_id}: {self.sentence}"


@dataclass(frozen=True, slots=True)
class Rule:
    """A statement that finds what breaks a rule. Its first column is the subject; the others fill the sentence."""

    name: str
    sentence: str
    query: str

    def broken(self, unit: Work, most: int) -> Iterator[Violation]:
        """The rows that break this rule, at most so many."""
        for subject_id, *values in unit.stream(same(f"{self.query} LIMIT {int(most)}")):
            yield Violation(self.name, str(subject_id), self.sentence.format(*values))


def _words(values: frozenset[Any]) -> str:
    return ", ".join(sorted(f"'{value.value}'" for value in values))


_OPEN = _words(OPEN_PAYMENTS)
_RESERVING = _words(RESERVING_REFUNDS)
_HOLDS = "'LATE_PAYMENT', 'SECOND_PAYMENT', 'AMOUNT_MISMATCH'"

_TASKED = (("orders", "order_id"), ("payments", "payment_id"), ("refunds", "refund_id"))

RULES = (
    # what was captured and what went back
    Rule(
        "amounts",
        "its {0} is {1}, which no amount may be",
        " UNION ALL ".join(
            f"SELECT {row_id}, '{column}', {column} FROM {name} WHERE {column} {forbidden}"
            for name, row_id, column, forbidden in (
                ("orders", "order_id", "amount_minor", "<= 0"),
                ("payments", "payment_id", "amount_minor", "<= 0"),
                ("payments", "payment_id", "captured_minor", "< 0"),
                ("payments", "payment_id", "refunding_minor", "< 0"),
                ("payments", "payment_id", "refunded_minor", "< 0"),
                ("refunds", "refund_id", "amount_minor", "<= 0"),
            )
        ),
    ),
    Rule(
        "sums",
        "it counts {0} as being refunded and {1} as refunded, but its refunds sum to {2} and {3}",
        f"""
        SELECT p.payment_id, p.refunding_minor, p.refunded_minor, coalesce(r.refunding, 0), coalesce(r.refunded, 0)
        FROM payments AS p LEFT JOIN (
            SELECT payment_id,
                CAST(sum(CASE WHEN state IN ({_RESERVING}) THEN amount_minor ELSE 0 END) AS BIGINT) AS refunding,
                CAST(sum(CASE WHEN state = 'SUCCEEDED' THEN amount_minor ELSE 0 END) AS BIGINT) AS refunded
            FROM refunds GROUP BY payment_id
        ) AS r ON r.payment_id = p.payment_id
        WHERE p.refunding_minor <> coalesce(r.refunding, 0) OR p.refunded_minor <> coalesce(r.refunded, 0)
        """,
    ),
    Rule(
        "over_refund",
        "{0} were captured, {1} went back or are on their way, and no anomaly says so",
        """
        SELECT p.payment_id, p.captured_minor, p.refunding_minor + p.refunded_minor FROM payments AS p
        WHERE p.state = 'SUCCEEDED' AND p.refunding_minor + p.refunded_minor > p.captured_minor AND NOT EXISTS (
            SELECT 1 FROM anomalies AS a WHERE a.order_id = p.order_id AND a.payment_id = p.payment_id
                AND a.kind = 'OVER_REFUND' AND (a.state = 'OPEN' OR a.remedy IS NOT NULL)
        )
        """,
    ),
    Rule(
        "refund_of_nothing",
        "{0} are reserved for a payment that is {1}",
        f"""
        SELECT r.refund_id, r.amount_minor, p.state FROM refunds AS r JOIN payments AS p ON p.payment_id = r.payment_id
        WHERE p.state <> 'SUCCEEDED' AND r.state IN ({_RESERVING})
        """,
    ),
    Rule(
        "captured_unpaid",
        "{0} are captured although it is {1}",
        "SELECT payment_id, captured_minor, state FROM payments WHERE state <> 'SUCCEEDED' AND captured_minor <> 0",
    ),
    Rule(
        "surplus",
        "{0} of it are neither wanted nor given back, and no open anomaly of that amount covers them",
        f"""
        SELECT p.payment_id, p.captured_minor - p.refunding_minor - p.refunded_minor FROM payments AS p
        WHERE p.state = 'SUCCEEDED' AND NOT p.is_effective AND NOT p.is_kept
            AND p.captured_minor - p.refunding_minor - p.refunded_minor > 0 AND NOT EXISTS (
                SELECT 1 FROM anomalies AS a WHERE a.order_id = p.order_id AND a.payment_id = p.payment_id
                    AND a.kind IN ({_HOLDS}) AND a.state = 'OPEN'
                    AND a.amount_minor = p.captured_minor - p.refunding_minor - p.refunded_minor
            )
        """,
    ),
    Rule(
        "hold",
        "it holds {0} of a payment of which {1} are left over",
        f"""
        SELECT a.anomaly_id, a.amount_minor, CASE WHEN p.is_effective OR p.is_kept THEN 0
            ELSE p.captured_minor - p.refunding_minor - p.refunded_minor END
        FROM anomalies AS a JOIN payments AS p ON p.payment_id = a.payment_id
        WHERE a.state = 'OPEN' AND a.kind IN ({_HOLDS}) AND (p.state <> 'SUCCEEDED' OR p.is_effective OR p.is_kept
            OR a.amount_minor <> p.captured_minor - p.refunding_minor - p.refunded_minor)
        """,
    ),
    Rule(
        "abnormal",
        "it is {0}, and {1} open anomalies say that it needs a person",
        """
        SELECT r.refund_id, r.state, coalesce(a.opened, 0) FROM refunds AS r LEFT JOIN (
            SELECT refund_id, count(*) AS opened FROM anomalies WHERE kind = 'REFUND_ABNORMAL' AND state = 'OPEN'
            GROUP BY refund_id
        ) AS a ON a.refund_id = r.refund_id
        WHERE coalesce(a.opened, 0) <> (CASE WHEN r.state = 'ABNORMAL' THEN 1 ELSE 0 END)
        """,
    ),
    Rule(
        "returned",
        "it paid its order and was returned, and no anomaly says so",
        """
        SELECT p.payment_id FROM payments AS p
        WHERE p.is_effective AND p.is_reversed AND EXISTS (
            SELECT 1 FROM refunds AS r WHERE r.payment_id = p.payment_id AND r.origin = 'CHANNEL'
                AND r.state = 'SUCCEEDED' AND r.channel_refund_no = ''
        ) AND NOT EXISTS (
            SELECT 1 FROM anomalies AS a WHERE a.order_id = p.order_id AND a.payment_id = p.payment_id
                AND a.kind = 'PAID_BUT_RETURNED'
        )
        """,
    ),
    # what offers took off
    Rule(
        "discount",
        "it asks for {0} and its offers take off {1}, but its order is over {2}",
        """
        SELECT p.payment_id, p.amount_minor, coalesce(u.given, 0), o.amount_minor
        FROM payments AS p JOIN orders AS o ON o.order_id = p.order_id LEFT JOIN (
            SELECT payment_id, CAST(sum(amount_minor) AS BIGINT) AS given FROM offer_uses GROUP BY payment_id
        ) AS u ON u.payment_id = p.payment_id
        WHERE p.amount_minor + coalesce(u.given, 0) <> o.amount_minor
        """,
    ),
    Rule(
        "offer_held",
        "what offer {0} gave it is held: {1}, which does not go with its state {2}",
        f"""
        SELECT p.payment_id, u.offer_id, u.is_held, p.state
        FROM offer_uses AS u JOIN payments AS p ON p.payment_id = u.payment_id
        WHERE (CASE WHEN u.is_held THEN 1 ELSE 0 END) <> (CASE WHEN p.state IN ({_OPEN}) OR p.is_effective
            OR (p.state = 'SUCCEEDED' AND p.refunded_minor < p.captured_minor) THEN 1 ELSE 0 END)
        """,
    ),
    Rule(
        "offer_counts",
        "{0} in {1} payments are counted as taken of it, and its payments hold {2} in {3}",
        """
        SELECT x.offer_id, coalesce(c.taken_minor, 0), coalesce(c.taken_count, 0), coalesce(u.minor, 0),
            coalesce(u.payments, 0)
        FROM (SELECT app_id, offer_id FROM offer_counts UNION SELECT app_id, offer_id FROM offer_uses) AS x
        LEFT JOIN offer_counts AS c ON c.app_id = x.app_id AND c.offer_id = x.offer_id
        LEFT JOIN (
            SELECT app_id, offer_id, CAST(sum(amount_minor) AS BIGINT) AS minor, count(*) AS payments FROM offer_uses
            WHERE is_held GROUP BY app_id, offer_id
        ) AS u ON u.app_id = x.app_id AND u.offer_id = x.offer_id
        WHERE coalesce(c.taken_minor, 0) <> coalesce(u.minor, 0) OR coalesce(c.taken_count, 0) <> coalesce(u.payments, 0)
        """,
    ),
    Rule(
        "first_time",
        "its payer {0} holds {1} offers for a first purchase",
        """
        SELECT min(payment_id), first_payer_no, count(*) FROM offer_uses WHERE first_payer_no <> ''
        GROUP BY app_id, first_payer_no HAVING count(*) > 1
        """,
    ),
    # what paid an order
    Rule(
        "effective",
        "it is {0} and has {1} payments that paid it",
        """
        SELECT o.order_id, o.state, coalesce(p.effective, 0) FROM orders AS o LEFT JOIN (
            SELECT order_id, count(*) AS effective FROM payments WHERE is_effective GROUP BY order_id
        ) AS p ON p.order_id = o.order_id
        WHERE coalesce(p.effective, 0) <> (CASE WHEN o.state = 'PAID' THEN 1 ELSE 0 END)
        """,
    ),
    Rule(
        "effective_unpaid",
        "it paid its order and is {0}",
        "SELECT payment_id, state FROM payments WHERE is_effective AND state <> 'SUCCEEDED'",
    ),
    # events
    Rule(
        "gapless",
        "it stands at version {0} and has {1} events with {2} numbers, the first {3} and the last {4}",
        """
        SELECT o.order_id, o.version, coalesce(e.events, 0), coalesce(e.numbers, 0), e.first, e.last
        FROM orders AS o LEFT JOIN (
            SELECT order_id, count(*) AS events, count(DISTINCT version) AS numbers, min(version) AS first,
                max(version) AS last
            FROM events GROUP BY order_id
        ) AS e ON e.order_id = o.order_id
        WHERE e.order_id IS NULL OR e.first <> 1 OR e.last <> o.version OR e.events <> o.version
            OR e.numbers <> e.events
        """,
    ),
    Rule(
        "feed",
        "its feed is numbered up to {0}, but holds {1} events with {2} numbers, the last {3}",
        """
        SELECT x.app_id, coalesce(f.last_seq, 0), coalesce(e.events, 0), coalesce(e.numbers, 0), coalesce(e.last, 0)
        FROM (SELECT app_id FROM feeds UNION SELECT app_id FROM events WHERE feed_seq IS NOT NULL) AS x
        LEFT JOIN feeds AS f ON f.app_id = x.app_id LEFT JOIN (
            SELECT app_id, count(*) AS events, count(DISTINCT feed_seq) AS numbers, max(feed_seq) AS last
            FROM events WHERE feed_seq IS NOT NULL GROUP BY app_id
        ) AS e ON e.app_id = x.app_id
        WHERE coalesce(f.last_seq, 0) <> coalesce(e.events, 0) OR coalesce(f.last_seq, 0) <> coalesce(e.last, 0)
            OR coalesce(e.numbers, 0) <> coalesce(e.events, 0)
        """,
    ),
    Rule(
        "feed_order",
        "its event {0} comes in the feed before the one that it follows",
        """
        SELECT order_id, version FROM (
            SELECT order_id, version, feed_seq,
                lag(version) OVER (PARTITION BY order_id ORDER BY version) AS follows,
                lag(feed_seq) OVER (PARTITION BY order_id ORDER BY version) AS before
            FROM events
        ) AS placed
        WHERE feed_seq IS NOT NULL AND follows IS NOT NULL AND (before IS NULL OR before > feed_seq)
        """,
    ),
    # rows within their order
    Rule(
        "places",
        "its {0} have {1} places, the first {2} and the last {3}",
        " UNION ALL ".join(
            f"""
            SELECT order_id, '{name}', count(DISTINCT number), min(number), max(number) FROM {name}
            GROUP BY order_id HAVING min(number) <> 1 OR max(number) <> count(*) OR count(DISTINCT number) <> count(*)
            """
            for name in ("payments", "refunds")
        ),
    ),
    Rule(
        "unique",
        "{0} rows share what may be had once: {1} {2}",
        " UNION ALL ".join(
            f"SELECT min({row_id}), count(*), '{what}', {shown} FROM {name} WHERE {shown} <> '' GROUP BY {keys} "
            "HAVING count(*) > 1"
            for name, row_id, what, shown, keys in (
                ("orders", "order_id", "order id", "order_id", "order_id"),
                ("payments", "payment_id", "payment id", "payment_id", "payment_id"),
                ("refunds", "refund_id", "refund id", "refund_id", "refund_id"),
                ("orders", "order_id", "order number", "merchant_order_no", "app_id, merchant_order_no"),
                ("refunds", "refund_id", "refund number", "merchant_refund_no", "order_id, merchant_refund_no"),
                ("requests", "order_id", "request", "request_id", "app_id, rpc, request_id"),
                ("channel_references", "payment_id", "reference", "value", "channel, environment, kind, value"),
            )
        ),
    ),
    # nothing is forgotten
    Rule(
        "order_without_task",
        "it is {0} and nothing will ever happen to it",
        f"""
        SELECT o.order_id, o.state FROM orders AS o
        WHERE (o.state = 'PENDING' AND o.task_verb IS NULL) OR (o.state = 'CLOSING' AND NOT EXISTS (
            SELECT 1 FROM payments AS p WHERE p.order_id = o.order_id AND p.state IN ({_OPEN})
        ))
        """,
    ),
    Rule(
        "payment_without_task",
        "it is {0} and nobody will ask about it",
        f"""
        SELECT p.payment_id, p.state FROM payments AS p
        WHERE p.state IN ({_OPEN}) AND p.task_verb IS NULL AND NOT EXISTS (
            SELECT 1 FROM anomalies AS a
            WHERE a.order_id = p.order_id AND a.payment_id = p.payment_id AND a.state = 'OPEN'
        )
        """,
    ),
    Rule(
        "refund_without_task",
        "it is {0} and nobody will ask about it",
        f"""
        SELECT r.refund_id, r.state FROM refunds AS r
        WHERE r.state IN ({_RESERVING}) AND r.task_verb IS NULL AND NOT EXISTS (
            SELECT 1 FROM anomalies AS a
            WHERE a.order_id = r.order_id AND a.refund_id = r.refund_id AND a.state = 'OPEN'
        )
        """,
    ),
    Rule(
        "closed_with_open_payment",
        "its order {0} is closed and it is still {1}",
        f"""
        SELECT p.payment_id, p.order_id, p.state FROM payments AS p JOIN orders AS o ON o.order_id = p.order_id
        WHERE o.state = 'CLOSED' AND p.state IN ({_OPEN})
        """,
    ),
    Rule(
        "task_verb",
        "its task {0} is none that such a row may have",
        """
        SELECT order_id, task_verb FROM orders
        WHERE task_verb <> 'EXPIRE' OR (task_verb IS NOT NULL AND state <> 'PENDING')
        UNION ALL
        SELECT payment_id, task_verb FROM payments WHERE task_verb NOT IN ('PREPARE', 'QUERY', 'CLOSE')
            OR (state IN ('SUCCEEDED', 'FAILED', 'CLOSED') AND task_verb <> 'QUERY')
        UNION ALL
        SELECT refund_id, task_verb FROM refunds WHERE task_verb NOT IN ('REFUND', 'QUERY_REFUND')
            OR (state IN ('SUCCEEDED', 'FAILED', 'REVERSED') AND task_verb <> 'QUERY_REFUND')
        """,
    ),
    Rule(
        "unclosed",
        "its order is {0}, and its task {1} does not close it",
        f"""
        SELECT p.payment_id, o.state, p.task_verb FROM payments AS p JOIN orders AS o ON o.order_id = p.order_id
        WHERE o.state <> 'PENDING' AND p.state IN ({_OPEN}) AND p.task_verb <> 'CLOSE'
        """,
    ),
    Rule(
        "task_ready",
        "its task says it may be taken at {0}, which is neither when it is due nor when its lease ends",
        " UNION ALL ".join(
            f"""
            SELECT {column}, task_ready_at FROM {name} WHERE task_verb IS NOT NULL AND task_ready_at <>
            (CASE WHEN task_leased_until > task_due_at THEN task_leased_until ELSE task_due_at END)
            """
            for name, column in _TASKED
        ),
    ),
    Rule(
        "task_whole",
        "of verb, due time and ready time its task lacks some",
        " UNION ALL ".join(
            f"""
            SELECT {column} FROM {name} WHERE (task_verb IS NULL) <> (task_due_at IS NULL)
                OR (task_verb IS NULL) <> (task_ready_at IS NULL)
            """
            for name, column in _TASKED
        ),
    ),
    # times and words that go together
    Rule(
        "order_times",
        "it is {0}, which does not go with when it was paid or closed, or why",
        """
        SELECT order_id, state FROM orders WHERE (state = 'PAID') <> (paid_at IS NOT NULL)
            OR (state = 'CLOSED') <> (closed_at IS NOT NULL)
            OR (state IN ('CLOSING', 'CLOSED')) <> (close_reason IS NOT NULL)
        """,
    ),
    Rule(
        "paid_when",
        "it was paid at {0}, and its payment at {1}",
        """
        SELECT o.order_id, o.paid_at, p.paid_at FROM orders AS o
        JOIN payments AS p ON p.order_id = o.order_id AND p.is_effective
        WHERE o.paid_at <> p.paid_at
        """,
    ),
    Rule(
        "payment_expiry",
        "it expires at {0}, after its order, which expires at {1}",
        """
        SELECT p.payment_id, p.expires_at, o.expires_at FROM payments AS p JOIN orders AS o ON o.order_id = p.order_id
        WHERE p.expires_at > o.expires_at
        """,
    ),
    Rule(
        "refund_times",
        "it succeeded without saying when",
        "SELECT refund_id FROM refunds WHERE state = 'SUCCEEDED' AND refunded_at IS NULL",
    ),
    Rule(
        "evidence_times",
        "it was told {0} times, first at {1} and last at {2}",
        "SELECT order_id, count, first_at, last_at FROM evidence WHERE count < 1 OR first_at > last_at",
    ),
    Rule(
        "payment_times",
        "it succeeded without saying when, or in which currency",
        "SELECT payment_id FROM payments WHERE state = 'SUCCEEDED' AND (paid_at IS NULL OR captured_currency = '')",
    ),
    Rule(
        "anomaly_times",
        "it is {0}, which does not go with when it was resolved",
        "SELECT anomaly_id, state FROM anomalies WHERE (state = 'RESOLVED') <> (resolved_at IS NOT NULL)",
    ),
    # whose it is
    Rule(
        "tenant",
        "it belongs to app {0}, and its order to app {1}",
        " UNION ALL ".join(
            f"SELECT x.{column}, x.app_id, o.app_id FROM {name} AS x JOIN orders AS o ON o.order_id = x.order_id "
            "WHERE x.app_id <> o.app_id"
            for name, column in (
                ("payments", "payment_id"),
                ("refunds", "refund_id"),
                ("anomalies", "anomaly_id"),
                ("evidence", "digest"),
                ("requests", "request_id"),
                ("sessions", "session_id"),
                ("offer_uses", "payment_id"),
            )
        ),
    ),
    Rule(
        "event_tenant",
        "its event {0} is in the feed of app {1}",
        """
        SELECT e.order_id, e.version, e.app_id FROM events AS e JOIN orders AS o ON o.order_id = e.order_id
        WHERE e.app_id <> o.app_id
        """,
    ),
    Rule(
        "refund_home",
        "its order, account or currency is not that of its payment {0}",
        """
        SELECT r.refund_id, r.payment_id FROM refunds AS r JOIN payments AS p ON p.payment_id = r.payment_id
        WHERE r.order_id <> p.order_id OR r.account_id <> p.account_id OR r.currency <>
            (CASE WHEN p.captured_currency = '' THEN r.currency ELSE p.captured_currency END)
        """,
    ),
    Rule(
        "payment_currency",
        "it asks for {0}, and its order is in {1}",
        """
        SELECT p.payment_id, p.currency, o.currency FROM payments AS p JOIN orders AS o ON o.order_id = p.order_id
        WHERE p.currency <> o.currency
        """,
    ),
    Rule(
        "anomaly_home",
        "its order, account or {0} is not that of what it is about",
        """
        SELECT a.anomaly_id, 'payment' FROM anomalies AS a LEFT JOIN payments AS p ON p.payment_id = a.payment_id
        WHERE a.payment_id <> '' AND (p.payment_id IS NULL OR p.order_id <> a.order_id OR p.account_id <> a.account_id
            OR (a.order_id IS NULL AND (a.remedy IS NULL OR a.remedy <> 'ACCEPT')))
        UNION ALL
        SELECT a.anomaly_id, 'refund' FROM anomalies AS a LEFT JOIN refunds AS r ON r.refund_id = a.refund_id
        WHERE a.refund_id <> '' AND (r.refund_id IS NULL OR a.order_id IS NULL OR r.order_id <> a.order_id
            OR r.payment_id <> a.payment_id)
        """,
    ),
    Rule(
        "reference_home",
        "its reference {0} is of channel {1} ({2}), and it of {3} ({4})",
        """
        SELECT p.payment_id, r.kind, r.channel, r.environment, p.channel, p.environment
        FROM channel_references AS r JOIN payments AS p ON p.payment_id = r.payment_id
        WHERE r.channel <> p.channel OR r.environment <> p.environment
        """,
    ),
    Rule(
        "account_home",
        "it is of account {0}, which belongs to another app, channel, environment or merchant",
        """
        SELECT p.payment_id, p.account_id FROM payments AS p JOIN accounts AS a ON a.account_id = p.account_id
        WHERE p.app_id <> a.app_id OR p.channel <> a.channel OR p.environment <> a.environment
            OR p.merchant <> a.merchant
        """,
    ),
    Rule(
        "account_keys",
        "it has {0} key versions, of which {1} are active",
        """
        SELECT a.account_id, coalesce(v.versions, 0), coalesce(v.active, 0) FROM accounts AS a LEFT JOIN (
            SELECT account_id, count(*) AS versions, sum(CASE WHEN state = 'ACTIVE' THEN 1 ELSE 0 END) AS active
            FROM account_versions GROUP BY account_id
        ) AS v ON v.account_id = a.account_id
        WHERE coalesce(v.versions, 0) = 0 OR coalesce(v.active, 0) > 1
        """,
    ),
    Rule(
        "parent",
        "a row of {0} belongs to it, and it is not there",
        " UNION ALL ".join(
            f"""
            SELECT x.{column}, '{name}' FROM {name} AS x WHERE x.{column} IS NOT NULL AND NOT EXISTS (
                SELECT 1 FROM {parent} AS y WHERE y.{column} = x.{column}
            )
            """
            for name, parent, column in (
                ("payments", "orders", "order_id"),
                ("refunds", "orders", "order_id"),
                ("refunds", "payments", "payment_id"),
                ("anomalies", "orders", "order_id"),
                ("anomalies", "apps", "app_id"),
                ("events", "orders", "order_id"),
                ("evidence", "orders", "order_id"),
                ("requests", "orders", "order_id"),
                ("sessions", "orders", "order_id"),
                ("channel_references", "payments", "payment_id"),
                ("offer_uses", "payments", "payment_id"),
                ("offers", "apps", "app_id"),
                ("accounts", "apps", "app_id"),
                ("account_versions", "accounts", "account_id"),
                ("account_blobs", "accounts", "account_id"),
                ("api_keys", "apps", "app_id"),
            )
        ),
    ),
    Rule(
        "request_subject",
        "the request {0} was answered with {1}, which is not a row of this order",
        """
        SELECT r.order_id, r.request_id, r.subject_id FROM requests AS r
        WHERE r.subject_id <> r.order_id
            AND NOT EXISTS (SELECT 1 FROM payments AS p WHERE p.payment_id = r.subject_id AND p.order_id = r.order_id)
            AND NOT EXISTS (SELECT 1 FROM refunds AS f WHERE f.refund_id = r.subject_id AND f.order_id = r.order_id)
            AND NOT EXISTS (SELECT 1 FROM anomalies AS a WHERE a.anomaly_id = r.subject_id AND a.order_id = r.order_id)
            AND NOT EXISTS (SELECT 1 FROM sessions AS s WHERE s.session_id = r.subject_id AND s.order_id = r.order_id)
        """,
    ),
    Rule(
        "order_of_nobody",
        "its app {0} is not there",
        """
        SELECT o.order_id, o.app_id FROM orders AS o LEFT JOIN apps AS a ON a.app_id = o.app_id WHERE a.app_id IS NULL
        """,
    ),
)
