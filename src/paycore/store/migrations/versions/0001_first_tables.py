"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
TEXT = sa.Text()
WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
FLAG = sa.Boolean().with_variant(sa.Integer(), "sqlite")
BYTES = sa.LargeBinary()


def upgrade() -> None:
    op.create_table(
        "apps",
        sa.Column("app_id", KEY, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("state", KEY, nullable=False),
        sa.Column("scopes", TEXT, nullable=False),
        sa.Column("currencies", TEXT, nullable=False),
        sa.Column("max_amount_minor", WHOLE, autoincrement=False, nullable=False),
        sa.Column("return_hosts", TEXT, nullable=False),
        sa.Column("rate_per_second", WHOLE, autoincrement=False, nullable=False),
        sa.Column("default_expiry_seconds", WHOLE, autoincrement=False, nullable=False),
        sa.Column("surplus_policy", KEY, nullable=False),
        sa.Column("created_at", WHOLE, autoincrement=False, nullable=False),
        sa.CheckConstraint("state IN ('ACTIVE', 'SUSPENDED')", name=op.f("ck_apps_state")),
        sa.CheckConstraint("surplus_policy IN ('ACCEPT', 'AUTO_REFUND', 'HOLD')", name=op.f("ck_apps_surplus_policy")),
        sa.CheckConstraint("default_expiry_seconds > 0", name=op.f("ck_apps_default_expiry_seconds_positive")),
        sa.CheckConstraint("max_amount_minor >= 0", name=op.f("ck_apps_max_amount_minor_not_negative")),
        sa.CheckConstraint("rate_per_second >= 0", name=op.f("ck_apps_rate_per_second_not_negative")),
        sa.PrimaryKeyConstraint("app_id", name=op.f("pk_apps")),
        sqlite_strict=True,
    )
    op.create_table(
        "audit_log",
        sa.Column("number", WHOLE, autoincrement=True, nullable=False),
        sa.Column("at", WHOLE, autoincrement=False, nullable=False),
        sa.Column("who", TEXT, nullable=False),
        sa.Column("what", KEY, nullable=False),
        sa.Column("subject", KEY, nullable=False),
        sa.Column("app_id", KEY, nullable=False),
        sa.Column("detail", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_audit_log")),
        sqlite_strict=True,
    )
    op.create_index("ix_audit_log_subject", "audit_log", ["subject"], unique=False)
    op.create_table(
        "feeds",
        sa.Column("app_id", KEY, nullable=False),
        sa.Column("last_seq", WHOLE, autoincrement=False, nullable=False),
        sa.CheckConstraint("last_seq >= 0", name=op.f("ck_feeds_last_seq_not_negative")),
        sa.PrimaryKeyConstraint("app_id", name=op.f("pk_feeds")),
        sqlite_strict=True,
    )
    op.create_table(
        "leases",
        sa.Column("name", KEY, nullable=False),
        sa.Column("owner", KEY, nullable=False),
        sa.Column("leased_until", WHOLE, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_leases")),
        sqlite_strict=True,
    )
    op.create_table(
        "orders",
        sa.Column("order_id", KEY, nullable=False),
        sa.Column("app_id", KEY, nullable=False),
        sa.Column("merchant_order_no", KEY, nullable=False),
        sa.Column("origin", KEY, nullable=False),
        sa.Column("amount_minor", WHOLE, autoincrement=False, nullable=False),
        sa.Column("currency", KEY, nullable=False),
        sa.Column("details", TEXT, nullable=False),
        sa.Column("surplus_policy", KEY, nullable=False),
        sa.Column("expires_at", WHOLE, autoincrement=False, nullable=False),
        sa.Column("created_at", WHOLE, autoincrement=False, nullable=False),
        sa.Column("state", KEY, nullable=False),
        sa.Column("close_reason", KEY, nullable=True),
        sa.Column("paid_at", WHOLE, nullable=True),
        sa.Column("closed_at", WHOLE, nullable=True),
        sa.Column("version", WHOLE, autoincrement=False, nullable=False),
        sa.Column("updated_at", WHOLE, autoincrement=False, nullable=False),
        sa.Column("task_verb", KEY, nullable=True),
        sa.Column("task_due_at", WHOLE, nullable=True),
        sa.Column("task_tries", WHOLE, autoincrement=False, nullable=False),
        sa.Column("task_leased_until", WHOLE, nullable=True),
        sa.Column("task_ready_at", WHOLE, nullable=True),
        sa.Column("fence", WHOLE, autoincrement=False, nullable=False),
        sa.CheckConstraint("close_reason IN ('REQUESTED', 'EXPIRED')", name=op.f("ck_orders_close_reason")),
        sa.CheckConstraint("origin IN ('APP', 'CHANNEL')", name=op.f("ck_orders_origin")),
        sa.CheckConstraint("state IN ('PENDING', 'CLOSING', 'PAID', 'CLOSED')", name=op.f("ck_orders_state")),
        sa.CheckConstraint(
            "surplus_policy IN ('ACCEPT', 'AUTO_REFUND', 'HOLD')", name=op.f("ck_orders_surplus_policy")
        ),
        sa.CheckConstraint(
            "task_verb IN ('EXPIRE', 'PREPARE', 'QUERY', 'CLOSE', 'REFUND', 'QUERY_REFUND')",
            name=op.f("ck_orders_task_verb"),
        ),
        sa.CheckConstraint(
            "(task_verb IS NULL) = (task_due_at IS NULL) AND (task_verb IS NULL) = (task_ready_at IS NULL)",
            name=op.f("ck_orders_task_whole"),
        ),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_orders_amount_minor_positive")),
        sa.CheckConstraint("fence >= 0", name=op.f("ck_orders_fence_not_negative")),
        sa.CheckConstraint("length(currency) = 3", name=op.f("ck_orders_currency")),
        sa.CheckConstraint("task_tries >= 0", name=op.f("ck_orders_task_tries_not_negative")),
        sa.CheckConstraint("version > 0", name=op.f("ck_orders_version_positive")),
        sa.PrimaryKeyConstraint("order_id", name=op.f("pk_orders")),
        sqlite_strict=True,
    )
    op.create_index("ix_orders_listing", "orders", ["app_id", "created_at", "order_id"], unique=False)
    op.create_index(
        "ix_orders_task",
        "orders",
        ["task_ready_at"],
        unique=False,
        sqlite_where=sa.text("task_ready_at IS NOT NULL"),
        postgresql_where=sa.text("task_ready_at IS NOT NULL"),
    )
    op.create_index(
        "uq_orders_merchant_order_no",
        "orders",
        ["app_id", "merchant_order_no"],
        unique=True,
        sqlite_where=sa.text("merchant_order_no <> ''"),
        postgresql_where=sa.text("merchant_order_no <> ''"),
    )
    op.create_table(
        "requests",
        sa.Column("app_id", KEY, nullable=False),
        sa.Column("rpc", KEY, nullable=False),
        sa.Column("request_id", KEY, nullable=False),
        sa.Column("canonical", TEXT, nullable=False),
        sa.Column("order_id", KEY, nullable=False),
        sa.Column("subject_id", KEY, nullable=False),
        sa.Column("created_at", WHOLE, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("app_id", "rpc", "request_id", name=op.f("pk_requests")),
        sqlite_strict=True,
    )
    op.create_table(
        "accounts",
        sa.Column("account_id", KEY, nullable=False),
        sa.Column("app_id", KEY, nullable=False),
        sa.Column("channel", KEY, nullable=False),
        sa.Column("environment", KEY, nullable=False),
        sa.Column("merchant", KEY, nullable=False),
        sa.Column("state", KEY, nullable=False),
        sa.Column("title", TEXT, nullable=False),
        sa.Column("created_at", WHOLE, autoincrement=False, nullable=False),
        sa.CheckConstraint("state IN ('ACTIVE', 'SUSPENDED')", name=op.f("ck_accounts_state")),
        sa.ForeignKeyConstraint(["app_id"], ["apps.app_id"], name=op.f("fk_accounts_app_id")),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_accounts")),
        sa.UniqueConstraint(
            "app_id", "channel", "environment", "merchant", name=op.f("uq_accounts_app_id_channel_environment_merchant")
        ),
        sqlite_strict=True,
    )
    op.create_table(
        "anomalies",
        sa.Column("anomaly_id", KEY, nullable=False),
        sa.Column("order_id", KEY, nullable=True),
        sa.Column("app_id", KEY, nullable=False),
        sa.Column("account_id", KEY, nullable=False),
        sa.Column("number", WHOLE, autoincrement=False, nullable=False),
        sa.Column("kind", KEY, nullable=False),
        sa.Column("opened_at", WHOLE, autoincrement=False, nullable=False),
        sa.Column("state", KEY, nullable=False),
        sa.Column("payment_id", KEY, nullable=False),
        sa.Column("refund_id", KEY, nullable=False),
        sa.Column("amount_minor", WHOLE, autoincrement=False, nullable=False),
        sa.Column("currency", KEY, nullable=False),
        sa.Column("detail", TEXT, nullable=False),
        sa.Column("resolved_at", WHOLE, nullable=True),
        sa.Column("remedy", KEY, nullable=True),
        sa.Column("note", TEXT, nullable=False),
        sa.Column("seen", WHOLE, autoincrement=False, nullable=False),
        sa.Column("last_seen_at", WHOLE, autoincrement=False, nullable=False),
        sa.CheckConstraint(
            "kind IN ('LATE_PAYMENT', 'SECOND_PAYMENT', 'AMOUNT_MISMATCH', 'CONFLICTING_AMOUNT', 'WRONG_ACCOUNT', 'ORPHAN_NOTICE', 'PAID_BUT_RETURNED', 'OVER_REFUND', 'REFUND_ABNORMAL', 'ACCOUNT_UNUSABLE')",
            name=op.f("ck_anomalies_kind"),
        ),
        sa.CheckConstraint("remedy IN ('ACCEPT', 'REFUND', 'RELEASE')", name=op.f("ck_anomalies_remedy")),
        sa.CheckConstraint("state IN ('OPEN', 'RESOLVED')", name=op.f("ck_anomalies_state")),
        sa.CheckConstraint("seen > 0", name=op.f("ck_anomalies_seen_positive")),
        sa.ForeignKeyConstraint(["order_id"], ["orders.order_id"], name=op.f("fk_anomalies_order_id")),
        sa.PrimaryKeyConstraint("anomaly_id", name=op.f("pk_anomalies")),
        sqlite_strict=True,
    )
    op.create_index("ix_anomalies_listing", "anomalies", ["app_id", "opened_at", "anomaly_id"], unique=False)
    op.create_index("ix_anomalies_order", "anomalies", ["order_id", "number"], unique=False)
    op.create_table(
        "api_keys",
        sa.Column("key_id", KEY, nullable=False),
        sa.Column("app_id", KEY, nullable=False),
        sa.Column("sha256", KEY, nullable=True),
        sa.Column("cert_sha256", KEY, nullable=True),
        sa.Column("cert_name", KEY, nullable=True),
        sa.Column("scopes", TEXT, nullable=False),
        sa.Column("title", TEXT, nullable=False),
        sa.Column("state", KEY, nullable=False),
        sa.Column("created_at", WHOLE, autoincrement=False, nullable=False),
        sa.Column("expires_at", WHOLE, nullable=True),
        sa.Column("revoked_at", WHOLE, nullable=True),
        sa.CheckConstraint("state IN ('ACTIVE', 'REVOKED')", name=op.f("ck_api_keys_state")),
        sa.ForeignKeyConstraint(["app_id"], ["apps.app_id"], name=op.f("fk_api_keys_app_id")),
        sa.PrimaryKeyConstraint("key_id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("cert_name", name=op.f("uq_api_keys_cert_name")),
        sa.UniqueConstraint("cert_sha256", name=op.f("uq_api_keys_cert_sha256")),
        sa.UniqueConstraint("sha256", name=op.f("uq_api_keys_sha256")),
        sqlite_strict=True,
    )
    op.create_index("ix_api_keys_app", "api_keys", ["app_id"], unique=False)
    op.create_table(
        "events",
        sa.Column("order_id", KEY, nullable=False),
        sa.Column("version", WHOLE, autoincrement=False, nullable=False),
        sa.Column("app_id", KEY, nullable=False),
        sa.Column("at", WHOLE, autoincrement=False, nullable=False),
        sa.Column("kind", KEY, nullable=False),
        sa.Column("subject", KEY, nullable=False),
        sa.Column("subject_id", KEY, nullable=False),
        sa.Column("cause", KEY, nullable=False),
        sa.Column("figures", TEXT, nullable=False),
        sa.Column("feed_seq", WHOLE, nullable=True),
        sa.CheckConstraint("feed_seq > 0", name=op.f("ck_events_feed_seq_positive")),
        sa.CheckConstraint("version > 0", name=op.f("ck_events_version_positive")),
        sa.ForeignKeyConstraint(["order_id"], ["orders.order_id"], name=op.f("fk_events_order_id")),
        sa.PrimaryKeyConstraint("order_id", "version", name=op.f("pk_events")),
        sqlite_strict=True,
    )
    op.create_index(
        "ix_events_unnumbered",
        "events",
        ["order_id", "version"],
        unique=False,
        sqlite_where=sa.text("feed_seq IS NULL"),
        postgresql_where=sa.text("feed_seq IS NULL"),
    )
    op.create_index(
        "uq_events_feed",
        "events",
        ["app_id", "feed_seq"],
        unique=True,
        sqlite_where=sa.text("feed_seq IS NOT NULL"),
        postgresql_where=sa.text("feed_seq IS NOT NULL"),
    )
    op.create_table(
        "evidence",
        sa.Column("order_id", KEY, nullable=False),
        sa.Column("digest", KEY, nullable=False),
        sa.Column("app_id", KEY, nullable=False),
        sa.Column("subject_id", KEY, nullable=False),
        sa.Column("via", KEY, nullable=False),
        sa.Column("content", TEXT, nullable=False),
        sa.Column("is_verified", FLAG, nullable=False),
        sa.Column("count", WHOLE, autoincrement=False, nullable=False),
        sa.Column("first_at", WHOLE, autoincrement=False, nullable=False),
        sa.Column("last_at", WHOLE, autoincrement=False, nullable=False),
        sa.CheckConstraint("count > 0", name=op.f("ck_evidence_count_positive")),
        sa.ForeignKeyConstraint(["order_id"], ["orders.order_id"], name=op.f("fk_evidence_order_id")),
        sa.PrimaryKeyConstraint("order_id", "digest", name=op.f("pk_evidence")),
        sqlite_strict=True,
    )
    op.create_table(
        "payments",
        sa.Column("payment_id", KEY, nullable=False),
        sa.Column("order_id", KEY, nullable=False),
        sa.Column("app_id", KEY, nullable=False),
        sa.Column("number", WHOLE, autoincrement=False, nullable=False),
        sa.Column("channel", KEY, nullable=False),
        sa.Column("method", KEY, nullable=False),
        sa.Column("account_id", KEY, nullable=False),
        sa.Column("environment", KEY, nullable=False),
        sa.Column("merchant", KEY, nullable=False),
        sa.Column("amount_minor", WHOLE, autoincrement=False, nullable=False),
        sa.Column("currency", KEY, nullable=False),
        sa.Column("terms", TEXT, nullable=False),
        sa.Column("created_at", WHOLE, autoincrement=False, nullable=False),
        sa.Column("expires_at", WHOLE, autoincrement=False, nullable=False),
        sa.Column("target", KEY, nullable=False),
        sa.Column("inputs", TEXT, nullable=False),
        sa.Column("client", TEXT, nullable=False),
        sa.Column("product_id", KEY, nullable=False),
        sa.Column("quantity", WHOLE, autoincrement=False, nullable=False),
        sa.Column("token", KEY, nullable=False),
        sa.Column("state", KEY, nullable=False),
        sa.Column("is_effective", FLAG, nullable=False),
        sa.Column("is_superseded", FLAG, nullable=False),
        sa.Column("is_kept", FLAG, nullable=False),
        sa.Column("is_switching", FLAG, nullable=False),
        sa.Column("is_reversed", FLAG, nullable=False),
        sa.Column("captured_minor", WHOLE, autoincrement=False, nullable=False),
        sa.Column("captured_currency", KEY, nullable=False),
        sa.Column("refunding_minor", WHOLE, autoincrement=False, nullable=False),
        sa.Column("refunded_minor", WHOLE, autoincrement=False, nullable=False),
        sa.Column("channel_trade_no", KEY, nullable=False),
        sa.Column("plan_json", TEXT, nullable=False),
        sa.Column("plan_expires_at", WHOLE, nullable=True),
        sa.Column("failure", TEXT, nullable=True),
        sa.Column("paid_at", WHOLE, nullable=True),
        sa.Column("sends", WHOLE, autoincrement=False, nullable=False),
        sa.Column("close_unanswered_until", WHOLE, nullable=True),
        sa.Column("watch_until", WHOLE, nullable=True),
        sa.Column("updated_at", WHOLE, autoincrement=False, nullable=False),
        sa.Column("task_verb", KEY, nullable=True),
        sa.Column("task_due_at", WHOLE, nullable=True),
        sa.Column("task_tries", WHOLE, autoincrement=False, nullable=False),
        sa.Column("task_leased_until", WHOLE, nullable=True),
        sa.Column("task_ready_at", WHOLE, nullable=True),
        sa.Column("fence", WHOLE, autoincrement=False, nullable=False),
        sa.CheckConstraint("NOT is_effective OR state = 'SUCCEEDED'", name=op.f("ck_payments_effective_succeeded")),
        sa.CheckConstraint(
            "state IN ('CREATED', 'PENDING', 'UNKNOWN', 'SUCCEEDED', 'FAILED', 'CLOSED')",
            name=op.f("ck_payments_state"),
        ),
        sa.CheckConstraint(
            "task_verb IN ('EXPIRE', 'PREPARE', 'QUERY', 'CLOSE', 'REFUND', 'QUERY_REFUND')",
            name=op.f("ck_payments_task_verb"),
        ),
        sa.CheckConstraint(
            "(task_verb IS NULL) = (task_due_at IS NULL) AND (task_verb IS NULL) = (task_ready_at IS NULL)",
            name=op.f("ck_payments_task_whole"),
        ),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_payments_amount_minor_positive")),
        sa.CheckConstraint("captured_minor >= 0", name=op.f("ck_payments_captured_minor_not_negative")),
        sa.CheckConstraint("fence >= 0", name=op.f("ck_payments_fence_not_negative")),
        sa.CheckConstraint("length(currency) = 3", name=op.f("ck_payments_currency")),
        sa.CheckConstraint("number > 0", name=op.f("ck_payments_number_positive")),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_payments_quantity_positive")),
        sa.CheckConstraint("refunded_minor >= 0", name=op.f("ck_payments_refunded_minor_not_negative")),
        sa.CheckConstraint("refunding_minor >= 0", name=op.f("ck_payments_refunding_minor_not_negative")),
        sa.CheckConstraint("sends >= 0", name=op.f("ck_payments_sends_not_negative")),
        sa.CheckConstraint("task_tries >= 0", name=op.f("ck_payments_task_tries_not_negative")),
        sa.ForeignKeyConstraint(["order_id"], ["orders.order_id"], name=op.f("fk_payments_order_id")),
        sa.PrimaryKeyConstraint("payment_id", name=op.f("pk_payments")),
        sa.UniqueConstraint("order_id", "number", name=op.f("uq_payments_order_id_number")),
        sqlite_strict=True,
    )
    op.create_index(
        "ix_payments_task",
        "payments",
        ["task_ready_at"],
        unique=False,
        sqlite_where=sa.text("task_ready_at IS NOT NULL"),
        postgresql_where=sa.text("task_ready_at IS NOT NULL"),
    )
    op.create_index(
        "ix_payments_trade_no",
        "payments",
        ["channel_trade_no"],
        unique=False,
        sqlite_where=sa.text("channel_trade_no <> ''"),
        postgresql_where=sa.text("channel_trade_no <> ''"),
    )
    op.create_index(
        "uq_payments_effective",
        "payments",
        ["order_id"],
        unique=True,
        sqlite_where=sa.text("is_effective"),
        postgresql_where=sa.text("is_effective"),
    )
    op.create_table(
        "sessions",
        sa.Column("session_id", KEY, nullable=False),
        sa.Column("app_id", KEY, nullable=False),
        sa.Column("order_id", KEY, nullable=False),
        sa.Column("client", TEXT, nullable=False),
        sa.Column("expires_at", WHOLE, autoincrement=False, nullable=False),
        sa.Column("created_at", WHOLE, autoincrement=False, nullable=False),
        sa.Column("revoked_at", WHOLE, nullable=True),
        sa.ForeignKeyConstraint(["order_id"], ["orders.order_id"], name=op.f("fk_sessions_order_id")),
        sa.PrimaryKeyConstraint("session_id", name=op.f("pk_sessions")),
        sqlite_strict=True,
    )
    op.create_index("ix_sessions_expiry", "sessions", ["expires_at"], unique=False)
    op.create_index("ix_sessions_order", "sessions", ["order_id"], unique=False)
    op.create_table(
        "account_versions",
        sa.Column("account_id", KEY, nullable=False),
        sa.Column("version", WHOLE, autoincrement=False, nullable=False),
        sa.Column("app_id", KEY, nullable=False),
        sa.Column("state", KEY, nullable=False),
        sa.Column("settings_cipher", BYTES, nullable=False),
        sa.Column("created_at", WHOLE, autoincrement=False, nullable=False),
        sa.CheckConstraint("state IN ('ACTIVE', 'DRAINING', 'VERIFY_ONLY')", name=op.f("ck_account_versions_state")),
        sa.CheckConstraint("version > 0", name=op.f("ck_account_versions_version_positive")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name=op.f("fk_account_versions_account_id")),
        sa.PrimaryKeyConstraint("account_id", "version", name=op.f("pk_account_versions")),
        sqlite_strict=True,
    )
    op.create_index(
        "uq_account_versions_active",
        "account_versions",
        ["account_id"],
        unique=True,
        sqlite_where=sa.text("state = 'ACTIVE'"),
        postgresql_where=sa.text("state = 'ACTIVE'"),
    )
    op.create_table(
        "channel_references",
        sa.Column("channel", KEY, nullable=False),
        sa.Column("environment", KEY, nullable=False),
        sa.Column("kind", KEY, nullable=False),
        sa.Column("value", KEY, nullable=False),
        sa.Column("payment_id", KEY, nullable=False),
        sa.Column("created_at", WHOLE, autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(["payment_id"], ["payments.payment_id"], name=op.f("fk_channel_references_payment_id")),
        sa.PrimaryKeyConstraint("channel", "environment", "kind", "value", name=op.f("pk_channel_references")),
        sqlite_strict=True,
    )
    op.create_index("ix_channel_references_payment", "channel_references", ["payment_id"], unique=False)
    op.create_table(
        "refunds",
        sa.Column("refund_id", KEY, nullable=False),
        sa.Column("order_id", KEY, nullable=False),
        sa.Column("app_id", KEY, nullable=False),
        sa.Column("payment_id", KEY, nullable=False),
        sa.Column("account_id", KEY, nullable=False),
        sa.Column("number", WHOLE, autoincrement=False, nullable=False),
        sa.Column("amount_minor", WHOLE, autoincrement=False, nullable=False),
        sa.Column("currency", KEY, nullable=False),
        sa.Column("origin", KEY, nullable=False),
        sa.Column("merchant_refund_no", KEY, nullable=False),
        sa.Column("reason", TEXT, nullable=False),
        sa.Column("created_at", WHOLE, autoincrement=False, nullable=False),
        sa.Column("state", KEY, nullable=False),
        sa.Column("channel_refund_no", KEY, nullable=False),
        sa.Column("failure", TEXT, nullable=True),
        sa.Column("refunded_at", WHOLE, nullable=True),
        sa.Column("sends", WHOLE, autoincrement=False, nullable=False),
        sa.Column("answered", WHOLE, autoincrement=False, nullable=False),
        sa.Column("refused_at", WHOLE, nullable=True),
        sa.Column("looks", WHOLE, autoincrement=False, nullable=False),
        sa.Column("updated_at", WHOLE, autoincrement=False, nullable=False),
        sa.Column("task_verb", KEY, nullable=True),
        sa.Column("task_due_at", WHOLE, nullable=True),
        sa.Column("task_tries", WHOLE, autoincrement=False, nullable=False),
        sa.Column("task_leased_until", WHOLE, nullable=True),
        sa.Column("task_ready_at", WHOLE, nullable=True),
        sa.Column("fence", WHOLE, autoincrement=False, nullable=False),
        sa.CheckConstraint("origin IN ('MERCHANT', 'POLICY', 'CHANNEL')", name=op.f("ck_refunds_origin")),
        sa.CheckConstraint(
            "state IN ('PENDING', 'PROCESSING', 'UNKNOWN', 'ABNORMAL', 'SUCCEEDED', 'FAILED', 'REVERSED')",
            name=op.f("ck_refunds_state"),
        ),
        sa.CheckConstraint(
            "task_verb IN ('EXPIRE', 'PREPARE', 'QUERY', 'CLOSE', 'REFUND', 'QUERY_REFUND')",
            name=op.f("ck_refunds_task_verb"),
        ),
        sa.CheckConstraint(
            "(task_verb IS NULL) = (task_due_at IS NULL) AND (task_verb IS NULL) = (task_ready_at IS NULL)",
            name=op.f("ck_refunds_task_whole"),
        ),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_refunds_amount_minor_positive")),
        sa.CheckConstraint("answered >= 0", name=op.f("ck_refunds_answered_not_negative")),
        sa.CheckConstraint("fence >= 0", name=op.f("ck_refunds_fence_not_negative")),
        sa.CheckConstraint("length(currency) = 3", name=op.f("ck_refunds_currency")),
        sa.CheckConstraint("looks >= 0", name=op.f("ck_refunds_looks_not_negative")),
        sa.CheckConstraint("number > 0", name=op.f("ck_refunds_number_positive")),
        sa.CheckConstraint("sends >= 0", name=op.f("ck_refunds_sends_not_negative")),
        sa.CheckConstraint("task_tries >= 0", name=op.f("ck_refunds_task_tries_not_negative")),
        sa.ForeignKeyConstraint(["order_id"], ["orders.order_id"], name=op.f("fk_refunds_order_id")),
        sa.ForeignKeyConstraint(["payment_id"], ["payments.payment_id"], name=op.f("fk_refunds_payment_id")),
        sa.PrimaryKeyConstraint("refund_id", name=op.f("pk_refunds")),
        sa.UniqueConstraint("order_id", "number", name=op.f("uq_refunds_order_id_number")),
        sqlite_strict=True,
    )
    op.create_index(
        "ix_refunds_channel_refund_no",
        "refunds",
        ["channel_refund_no"],
        unique=False,
        sqlite_where=sa.text("channel_refund_no <> ''"),
        postgresql_where=sa.text("channel_refund_no <> ''"),
    )
    op.create_index("ix_refunds_listing", "refunds", ["app_id", "created_at", "refund_id"], unique=False)
    op.create_index("ix_refunds_payment", "refunds", ["payment_id"], unique=False)
    op.create_index(
        "ix_refunds_task",
        "refunds",
        ["task_ready_at"],
        unique=False,
        sqlite_where=sa.text("task_ready_at IS NOT NULL"),
        postgresql_where=sa.text("task_ready_at IS NOT NULL"),
    )
    op.create_index(
        "ix_refunds_number",
        "refunds",
        ["app_id", "merchant_refund_no"],
        unique=False,
        sqlite_where=sa.text("merchant_refund_no <> ''"),
        postgresql_where=sa.text("merchant_refund_no <> ''"),
    )
    op.create_index(
        "uq_refunds_merchant_refund_no",
        "refunds",
        ["order_id", "merchant_refund_no"],
        unique=True,
        sqlite_where=sa.text("merchant_refund_no <> ''"),
        postgresql_where=sa.text("merchant_refund_no <> ''"),
    )


def downgrade() -> None:
    op.drop_table("refunds")
    op.drop_table("channel_references")
    op.drop_table("account_versions")
    op.drop_table("sessions")
    op.drop_table("payments")
    op.drop_table("evidence")
    op.drop_table("events")
    op.drop_table("api_keys")
    op.drop_table("anomalies")
    op.drop_table("accounts")
    op.drop_table("requests")
    op.drop_table("orders")
    op.drop_table("leases")
    op.drop_table("feeds")
    op.drop_table("audit_log")
    op.drop_table("apps")
