"""Disputes, credits that are frozen while one is open, and what changes of plan have paid for.

The new column has a constant default, so that no table is rewritten. The wider checks are proved on old rows by the next
migration, beside the running application.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0030"

PREFIXED_ID = sa.String(collation="C")
MOMENT = sa.DateTime(timezone=True)
NOW = sa.text("app_now()")

ENTRY_AMOUNT = (
    "case kind when 'granted' then amount > 0 when 'adjusted' then amount > 0 when 'spent' then amount < 0"
    " when 'expired' then amount < 0 when 'reversed' then amount < 0 when 'frozen' then amount < 0"
    " when 'thawed' then amount > 0 else false end"
)
ENTRY_AMOUNT_BEFORE = (
    "case kind when 'granted' then amount > 0 when 'adjusted' then amount > 0 when 'spent' then amount < 0"
    " when 'expired' then amount < 0 when 'reversed' then amount < 0 else false end"
)
FROZEN = "frozen between 0 and remaining - held and (frozen = 0 or state = 'live')"


def upgrade() -> None:
    op.execute("set lock_timeout = '4s'")
    op.add_column("credit_grants", sa.Column("frozen", sa.BigInteger(), server_default="0", nullable=False))
    op.execute(f"alter table credit_grants add constraint ck_credit_grants_frozen check ({FROZEN}) not valid")
    _check_entries(ENTRY_AMOUNT)
    _create_freezes()
    _create_disputes()
    _create_paid_changes()


def _check_entries(rule: str) -> None:
    op.execute("alter table credit_entries drop constraint ck_credit_entries_amount")
    op.execute(f"alter table credit_entries add constraint ck_credit_entries_amount check ({rule}) not valid")


def _create_freezes() -> None:
    op.create_table(
        "credit_freezes",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("team_id", PREFIXED_ID, nullable=False),
        sa.Column("grant_id", sa.BigInteger(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("cause_key", sa.String(), nullable=False),
        sa.Column("ordered_at", MOMENT, server_default=NOW, nullable=False),
        sa.CheckConstraint("amount <> 0", name=op.f("ck_credit_freezes_amount")),
        sa.ForeignKeyConstraint(
            ["team_id", "grant_id"],
            ["credit_grants.team_id", "credit_grants.id"],
            name=op.f("fk_credit_freezes_team_id_grant_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credit_freezes")),
        sa.UniqueConstraint("team_id", "cause_key", name=op.f("uq_credit_freezes_team_id_cause_key")),
    )
    op.create_index("ix_credit_freezes_team_id_grant_id", "credit_freezes", ["team_id", "grant_id"])
    _append_only("credit_freezes")


def _append_only(table: str) -> None:
    for moment, act, each in (("update or delete", "append_only", "row"), ("truncate", "no_truncate", "statement")):
        op.execute(
            f"create trigger {table}_{act} before {moment} on {table} for each {each} execute function refuse_change()"
        )


def _create_disputes() -> None:
    op.create_table(
        "disputes",
        sa.Column("id", PREFIXED_ID, nullable=False),
        sa.Column("stripe_id", PREFIXED_ID, nullable=False),
        sa.Column("gen", sa.Integer(), nullable=False),
        sa.Column("synced_at", MOMENT, nullable=False),
        sa.Column("team_id", PREFIXED_ID, nullable=False),
        sa.Column("payment_intent_stripe_id", PREFIXED_ID, nullable=True),
        sa.Column("charge_stripe_id", sa.String(), nullable=True),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("withdrawn", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("respond_by", MOMENT, nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("effect", sa.String(), server_default="none", nullable=False),
        sa.CheckConstraint("amount > 0", name=op.f("ck_disputes_amount")),
        sa.CheckConstraint("effect in ('none', 'taken', 'returned')", name=op.f("ck_disputes_effect")),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_disputes_team_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_disputes")),
        sa.UniqueConstraint("stripe_id", name=op.f("uq_disputes_stripe_id")),
    )
    op.create_index("ix_disputes_team_id", "disputes", ["team_id"])
    op.create_index("ix_disputes_payment_intent", "disputes", ["payment_intent_stripe_id"])


def _create_paid_changes() -> None:
    op.create_table(
        "paid_changes",
        sa.Column("invoice_stripe_id", PREFIXED_ID, nullable=False),
        sa.Column("line", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("team_id", PREFIXED_ID, nullable=False),
        sa.Column("subscription_stripe_id", PREFIXED_ID, nullable=False),
        sa.Column("plan_key", sa.String(), nullable=False),
        sa.Column("since", MOMENT, nullable=False),
        sa.Column("until", MOMENT, nullable=False),
        sa.Column("credits", sa.BigInteger(), nullable=False),
        sa.Column("policy", sa.String(), nullable=False),
        sa.Column("invoiced_at", MOMENT, nullable=False),
        sa.Column("created_at", MOMENT, server_default=NOW, nullable=False),
        sa.CheckConstraint("since < until", name=op.f("ck_paid_changes_order")),
        sa.CheckConstraint("policy in ('difference', 'full', 'none')", name=op.f("ck_paid_changes_policy")),
        sa.CheckConstraint("line >= 0", name=op.f("ck_paid_changes_line")),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_paid_changes_team_id")),
        sa.PrimaryKeyConstraint("invoice_stripe_id", "line", name=op.f("pk_paid_changes")),
    )
    op.create_index("ix_paid_changes_subscription", "paid_changes", ["subscription_stripe_id", "since"])


def downgrade() -> None:
    """What is frozen has to be thawed before; the checks say so where it is not."""
    op.drop_table("paid_changes")
    op.drop_table("disputes")
    op.drop_table("credit_freezes")
    _check_entries(ENTRY_AMOUNT_BEFORE)
    op.drop_column("credit_grants", "frozen")
