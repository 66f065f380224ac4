"""What accounts fetch from their channels and keep: certificates, tokens."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
BYTES = sa.LargeBinary()


def upgrade() -> None:
    op.create_table(
        "account_blobs",
        sa.Column("account_id", KEY, nullable=False),
        sa.Column("app_id", KEY, nullable=False),
        sa.Column("blob_cipher", BYTES, nullable=True),
        sa.Column("refreshed_at", WHOLE, autoincrement=False, nullable=True),
        sa.Column("due_at", WHOLE, autoincrement=False, nullable=False),
        sa.Column("failures", WHOLE, autoincrement=False, nullable=False),
        sa.CheckConstraint("failures >= 0", name=op.f("ck_account_blobs_failures_not_negative")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name=op.f("fk_account_blobs_account_id")),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_account_blobs")),
        sqlite_strict=True,
    )


def downgrade() -> None:
    op.drop_table("account_blobs")
