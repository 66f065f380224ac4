"""Books without belts: a database with one order of each sort, whose constraints are gone, so that a test can tamper with anything."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

import psycopg
from sqlalchemy import make_url

from paycore.core.facts import CloseAsked, PaymentHeard, RefundHeard, Via
from paycore.core.findings import Failure, Paid, Reference, RefundStuck
from paycore.core.ids import Prefix
from paycore.core.offers import Offer, OfferKind
from paycore.core.order import Given
from paycore.store import Account, AccountVersion, ApiKey, App, RequestKey, Session, Store, StoredOffer, StoredRequest
from paycore.store.tables import METADATA
from tests.store.made import ACCOUNT, APP, LEASE, NOW, OTHER_APP, Told, new_id
from tests.store.test_evidence import evidence, orphan
from tests.support import postgres
from tests.support.databases import migrate

SORTS = ("new", "waits", "paid", "held", "stuck", "closing", "closed", "offered")
"""The merchant's numbers of the orders, each of another sort."""


def fill(store: Store) -> None:
    """A shop with an order of each sort, and everything that hangs on one of them."""
    with store.write() as unit:
        unit.put_app(App(APP, "Tea shop", NOW))
        unit.put_app(App(OTHER_APP, "Coffee shop", NOW))
        unit.put_key(ApiKey("ak", APP, NOW, sha256="0" * 64))
        unit.put_offer(StoredOffer(Offer("of-1", "减", "Off", OfferKind.FIXED, "CNY", 30, budget_minor=100), APP, NOW))
        unit.put_account(Account(ACCOUNT, APP, "sandbox", "sandbox", "M", NOW))
        unit.put_account_version(AccountVersion(ACCOUNT, 1, APP, b"sealed", NOW))
    orders = {number: told(number).save(store) for number in SORTS}
    paid = orders["paid"].now
    with store.write() as unit:
        unit.put_evidence([evidence(paid.order_id, "d", NOW)])
        key = RequestKey(APP, "CreateRefund", "q")
        unit.put_requests([StoredRequest(key, b"{}", paid.order_id, paid.refunds[0].refund_id, NOW)])
        unit.put_session(Session(new_id(Prefix.SESSION), APP, paid.order_id, NOW + LEASE, NOW))
        unit.put_orphan(orphan(), APP, ACCOUNT)
        while unit.number_feed(1000):
            pass


def told(number: str) -> Told:
    """An order of this sort."""
    order = Told(number=number, payer_no="u-1" if number == "offered" else "")
    match number:
        case "waits":
            return order.waits()
        case "paid":
            return order.pays(references=(Reference("transaction_id", "T-1"),)).refunds()
        case "held":
            order.waits()
            return order.tell(PaymentHeard(order.now.payments[0].payment_id, Via.NOTICE, Paid(99, "CNY", "M")))
        case "stuck":
            order.pays().refunds(leased_until=order.at + LEASE)
            [refund] = order.now.refunds
            stuck = RefundStuck(Failure("ACCOUNT_GONE"))
            return order.tell(RefundHeard(refund.refund_id, Via.REFUND, stuck, order.at, refund.fence))
        case "offered":
            return order.waits(offers=(Given("of-1", 30, budget_minor=100), Given("of-2", 20, is_first_time=True)))
        case "closing":
            return order.waits().tell(CloseAsked())
        case "closed":
            return order.tell(CloseAsked())
    return order


def prepare(url: str) -> None:
    """Fill a database, then take its belts off."""
    migrate(url)
    store = Store.open(url, check_durability=False)
    fill(store)
    store.close()
    if store.dialect == "sqlite":
        _loosen_sqlite(make_url(url).database or "")
    else:
        _loosen_postgres(url)


def restore(url: str) -> None:
    """Put back on PostgreSQL what was there when it was prepared."""
    with psycopg.connect(postgres.plain(make_url(url))) as connection:
        _do(connection, (f"DELETE FROM {table.name}" for table in METADATA.sorted_tables))
        _do(connection, (f"INSERT INTO {table.name} TABLE kept.{table.name}" for table in METADATA.sorted_tables))


def _loosen_postgres(url: str) -> None:
    with psycopg.connect(postgres.plain(make_url(url))) as connection:
        kept = "conrelid::regclass::text = 'alembic_version'"
        found = connection.execute(
            f"SELECT conrelid::regclass, conname FROM pg_constraint WHERE contype IN ('f', 'c', 'u', 'p') "
            f"AND connamespace = 'public'::regnamespace AND NOT {kept} ORDER BY contype = 'p', contype = 'u'"
        ).fetchall()
        _do(connection, (f"ALTER TABLE {table} DROP CONSTRAINT {name} CASCADE" for table, name in found))
        unique = connection.execute(
            "SELECT indexname FROM pg_indexes WHERE indexdef LIKE 'CREATE UNIQUE%uq_%'"
        ).fetchall()
        _do(connection, (f"DROP INDEX {name}" for (name,) in unique))
        for table in METADATA.sorted_tables:
            _do(connection, (f"ALTER TABLE {table.name} ALTER {column.name} DROP NOT NULL" for column in table.columns))
        connection.execute("CREATE SCHEMA kept")
        _do(connection, (f"CREATE TABLE kept.{table.name} AS TABLE {table.name}" for table in METADATA.sorted_tables))


def _loosen_sqlite(path: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    for table in METADATA.sorted_tables:
        columns = ", ".join(column.name for column in table.columns)
        _do(
            connection,
            (
                f"CREATE TABLE loose AS SELECT {columns} FROM {table.name}",
                f"DROP TABLE {table.name}",
                f"ALTER TABLE loose RENAME TO {table.name}",
            ),
        )
    connection.close()


def _do(connection: psycopg.Connection | sqlite3.Connection, statements: Iterable[str]) -> None:
    for statement in statements:
        connection.execute(statement)
