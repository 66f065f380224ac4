"""Offers, what payments hold of them, and whose an order is in the caller's words."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
FLAG = sa.Boolean().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("orders", sa.Column("merchant_payer_no", KEY, nullable=False, server_default=sa.text("''")))
    op.add_column("payments", sa.Column("offers", sa.Text(), nullable=False, server_default=sa.text("'[]'")))
    op.create_index(
        "ix_orders_payer",
        "orders",
        ["app_id", "merchant_payer_no", "paid_at"],
        unique=False,
        sqlite_where=sa.text("merchant_payer_no <> ''"),
        postgresql_where=sa.text("merchant_payer_no <> ''"),
    )
    op.create_table(
        "offers",
        sa.Column("offer_id", KEY, nullable=False),
        sa.Column("app_id", KEY, nullable=False),
        sa.Column("state", KEY, nullable=False),
        sa.Column("terms", sa.Text(), nullable=False),
        sa.Column("created_at", WHOLE, autoincrement=False, nullable=False),
        sa.CheckConstraint("state IN ('ACTIVE', 'PAUSED')", name=op.f("ck_offers_state")),
        sa.ForeignKeyConstraint(["app_id"], ["apps.app_id"], name=op.f("fk_offers_app_id")),
        sa.PrimaryKeyConstraint("offer_id", name=op.f("pk_offers")),
        sqlite_strict=True,
    )
    op.create_index("ix_offers_app", "offers", ["app_id", "created_at"], unique=False)
    op.create_table(
        "offer_counts",
        sa.Column("app_id", KEY, nullable=False),
        sa.Column("offer_id", KEY, nullable=False),
        sa.Column("taken_minor", WHOLE, autoincrement=False, nullable=False),
        sa.Column("taken_count", WHOLE, autoincrement=False, nullable=False),
        sa.CheckConstraint("taken_count >= 0", name=op.f("ck_offer_counts_taken_count_not_negative")),
        sa.CheckConstraint("taken_minor >= 0", name=op.f("ck_offer_counts_taken_minor_not_negative")),
        sa.PrimaryKeyConstraint("app_id", "offer_id", name=op.f("pk_offer_counts")),
        sqlite_strict=True,
    )
    op.create_table(
        "offer_uses",
        sa.Column("payment_id", KEY, nullable=False),
        sa.Column("offer_id", KEY, nullable=False),
        sa.Column("app_id", KEY, nullable=False),
        sa.Column("order_id", KEY, nullable=False),
        sa.Column("first_payer_no", KEY, nullable=False),
        sa.Column("amount_minor", WHOLE, autoincrement=False, nullable=False),
        sa.Column("is_held", FLAG, nullable=False),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_offer_uses_amount_minor_positive")),
        sa.ForeignKeyConstraint(["payment_id"], ["payments.payment_id"], name=op.f("fk_offer_uses_payment_id")),
        sa.PrimaryKeyConstraint("payment_id", "offer_id", name=op.f("pk_offer_uses")),
        sqlite_strict=True,
    )
    op.create_index(
        "uq_offer_uses_first",
        "offer_uses",
        ["app_id", "first_payer_no"],
        unique=True,
        sqlite_where=sa.text("first_payer_no <> ''"),
        postgresql_where=sa.text("first_payer_no <> ''"),
    )


def downgrade() -> None:
    op.drop_table("offer_uses")
    op.drop_table("offer_counts")
    op.drop_table("offers")
    op.drop_index("ix_orders_payer", "orders")
    op.drop_column("payments", "offers")
    op.drop_column("orders", "merchant_payer_no")
