"""Purchases that a store told of and that nobody has claimed yet."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "unclaimed_purchases",
        sa.Column("anomaly_id", KEY, nullable=False),
        sa.Column("digest", KEY, nullable=False),
        sa.Column("app_id", KEY, nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("at", WHOLE, autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(
            ["anomaly_id"], ["anomalies.anomaly_id"], name=op.f("fk_unclaimed_purchases_anomaly_id")
        ),
        sa.PrimaryKeyConstraint("anomaly_id", "digest", name=op.f("pk_unclaimed_purchases")),
        sqlite_strict=True,
    )


def downgrade() -> None:
    op.drop_table("unclaimed_purchases")
