"""Changes of plans and seats: previews, the changes that were agreed to, what is scheduled, and how seats are sold.

The new columns are nullable or have a constant default, so that no table is rewritten; their checks are validated
beside the running application.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0019"
down_revision = "0018"

PREFIXED_ID = sa.String(collation="C")
MOMENT = sa.DateTime(timezone=True)
NOW = sa.text("app_now()")
JSON = postgresql.JSONB(astext_type=sa.Text())
OPEN = "state in ('pending', 'sending', 'unknown', 'requires_action')"

PLAN_COLUMNS = (
    sa.Column("seats_max", sa.Integer(), nullable=True),
    sa.Column("seat_billing", sa.String(), nullable=False, server_default="now"),
)
SCHEDULED_COLUMNS = (
    sa.Column("schedule_stripe_id", PREFIXED_ID, nullable=True),
    sa.Column("scheduled_at", MOMENT, nullable=True),
    sa.Column("scheduled_plan_key", sa.String(), nullable=True),
    sa.Column("scheduled_interval", sa.String(), nullable=True),
    sa.Column("scheduled_seats_extra", sa.Integer(), nullable=True),
)
PLAN_CHECKS = {
    "seats_max": "seats_max >= seats_included",
    "seat_billing": "seat_billing in ('now', 'next_invoice')",
}


def upgrade() -> None:
    for column in PLAN_COLUMNS:
        op.add_column("plans", column.copy())
    for name, rule in PLAN_CHECKS.items():
        op.execute(f"alter table plans add constraint ck_plans_{name} check ({rule}) not valid")
        op.execute(f"alter table plans validate constraint ck_plans_{name}")
    for column in SCHEDULED_COLUMNS:
        op.add_column("subscriptions", column.copy())
    _create_previews()
    _create_changes()


def _create_previews() -> None:
    op.create_table(
        "change_previews",
        sa.Column("id", PREFIXED_ID, nullable=False),
        sa.Column("team_id", PREFIXED_ID, nullable=False),
        sa.Column("user_id", PREFIXED_ID, nullable=False),
        sa.Column("subscription_stripe_id", PREFIXED_ID, nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("timing", sa.String(), nullable=False),
        sa.Column("plan_key", sa.String(), nullable=False),
        sa.Column("interval", sa.String(), nullable=False),
        sa.Column("seats", sa.Integer(), nullable=True),
        sa.Column("promotion_code", sa.String(), nullable=True),
        sa.Column("params", JSON, nullable=False),
        sa.Column("basis", JSON, nullable=False),
        sa.Column("shown", JSON, nullable=False),
        sa.Column("amount_due", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("proration_date", MOMENT, nullable=False),
        sa.Column("created_at", MOMENT, server_default=NOW, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.CheckConstraint("kind in ('plan', 'seats', 'undo')", name=op.f("ck_change_previews_kind")),
        sa.CheckConstraint("timing in ('now', 'period_end')", name=op.f("ck_change_previews_timing")),
        sa.CheckConstraint("seats > 0", name=op.f("ck_change_previews_seats")),
        sa.CheckConstraint("amount_due >= 0", name=op.f("ck_change_previews_amount_due")),
        sa.CheckConstraint("created_at < expires_at", name=op.f("ck_change_previews_expires_at")),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_change_previews_team_id")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_change_previews_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_change_previews")),
    )
    op.create_index("ix_change_previews_team_id", "change_previews", ["team_id", "created_at"])
    op.create_index("ix_change_previews_created_at", "change_previews", ["created_at"])


def _create_changes() -> None:
    op.create_table(
        "pending_changes",
        sa.Column("id", PREFIXED_ID, nullable=False),
        sa.Column("team_id", PREFIXED_ID, nullable=False),
        sa.Column("user_id", PREFIXED_ID, nullable=False),
        sa.Column("preview_id", PREFIXED_ID, nullable=False),
        sa.Column("idempotency_key", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("invoice_stripe_id", PREFIXED_ID, nullable=True),
        sa.Column("confirm_url", sa.String(), nullable=True),
        sa.Column("failure_code", sa.String(), nullable=True),
        sa.Column("withdrawn_at", MOMENT, nullable=True),
        sa.Column("first_sent_at", MOMENT, nullable=True),
        sa.Column("created_at", MOMENT, server_default=NOW, nullable=False),
        sa.Column("finished_at", MOMENT, nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("run_at", MOMENT, server_default=NOW, nullable=False),
        sa.Column("lease_until", MOMENT, nullable=True),
        sa.Column("lease_token", sa.String(), nullable=True),
        sa.Column("lease_holder", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "state in ('pending', 'sending', 'unknown', 'requires_action', 'done', 'failed', 'stale', 'canceled')",
            name=op.f("ck_pending_changes_state"),
        ),
        sa.CheckConstraint(f"(finished_at is not null) = (not {OPEN})", name=op.f("ck_pending_changes_finished_at")),
        sa.CheckConstraint(
            "state <> 'requires_action' or confirm_url is not null", name=op.f("ck_pending_changes_confirm_url")
        ),
        sa.CheckConstraint("attempts >= 0", name=op.f("ck_pending_changes_attempts")),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_pending_changes_team_id")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_pending_changes_user_id")),
        sa.ForeignKeyConstraint(["preview_id"], ["change_previews.id"], name=op.f("fk_pending_changes_preview_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pending_changes")),
        sa.UniqueConstraint("preview_id", name=op.f("uq_pending_changes_preview_id")),
        sa.UniqueConstraint("idempotency_key", name=op.f("uq_pending_changes_idempotency_key")),
    )
    op.create_index(
        "uq_pending_changes_one_open", "pending_changes", ["team_id"], unique=True, postgresql_where=sa.text(OPEN)
    )
    op.create_index("ix_pending_changes_team_id", "pending_changes", ["team_id", "created_at"])
    op.create_index("ix_pending_changes_due", "pending_changes", ["run_at"], postgresql_where=sa.text(OPEN))


def downgrade() -> None:
    op.drop_table("pending_changes")
    op.drop_table("change_previews")
    for column in SCHEDULED_COLUMNS:
        op.drop_column("subscriptions", column.name)
    for name in PLAN_CHECKS:
        op.drop_constraint(op.f(f"ck_plans_{name}"), "plans", type_="check")
    for column in PLAN_COLUMNS:
        op.drop_column("plans", column.name)
