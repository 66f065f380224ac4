"""One-time codes that opened a cashier's page."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "page_codes",
        sa.Column("session_id", KEY, nullable=False),
        sa.Column("nonce", KEY, nullable=False),
        sa.Column("app_id", KEY, nullable=False),
        sa.Column("used_at", WHOLE, autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.session_id"], name=op.f("fk_page_codes_session_id")),
        sa.PrimaryKeyConstraint("session_id", "nonce", name=op.f("pk_page_codes")),
        sqlite_strict=True,
    )


def downgrade() -> None:
    op.drop_table("page_codes")
