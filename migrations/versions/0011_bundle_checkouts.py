"""Checkouts of bundles, begun by people or by API keys; declined cards.

The new columns are nullable and without default, so that no table is rewritten. Checks are validated and indexes built
in the next step, beside the running application.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010b"

PREFIXED_ID = sa.String(collation="C")
MOMENT = sa.DateTime(timezone=True)

COLUMNS = (
    sa.Column("api_key_id", PREFIXED_ID, nullable=True),
    sa.Column("bundle_key", sa.String(), nullable=True),
    sa.Column("credits", sa.BigInteger(), nullable=True),
    sa.Column("expires_after_months", sa.Integer(), nullable=True),
    sa.Column("amount_cents", sa.BigInteger(), nullable=True),
    sa.Column("currency", sa.String(), nullable=True),
    sa.Column("order_key", sa.String(), nullable=True),
    sa.Column("payment_status", sa.String(), nullable=True),
    sa.Column("payment_intent_stripe_id", sa.String(), nullable=True),
    sa.Column("amount_total", sa.BigInteger(), nullable=True),
    sa.Column("paid_at", MOMENT, nullable=True),
)

CHECKS = {
    "purpose": "purpose in ('plan', 'bundle')",
    "buyer": "num_nonnulls(user_id, api_key_id) = 1",
    "order": "case purpose when 'plan' then plan_key is not null and num_nonnulls(bundle_key, credits) = 0"
    " else plan_key is null and num_nonnulls(bundle_key, credits, amount_cents, currency, order_key) = 5 end",
    "credits": "credits > 0",
    "expires_after_months": "expires_after_months > 0",
    "payment_status": "payment_status in ('unpaid', 'paid', 'no_payment_required', 'failed')",
    "paid_at": "(paid_at is not null) = coalesce(payment_status in ('paid', 'no_payment_required'), false)",
}


def upgrade() -> None:
    for column in COLUMNS:
        op.add_column("checkouts", column.copy())
    op.alter_column("checkouts", "user_id", nullable=True)
    op.alter_column("checkouts", "plan_key", nullable=True)
    op.execute(
        "alter table checkouts add constraint fk_checkouts_api_key_id foreign key (api_key_id)"
        " references api_keys (id) not valid"
    )
    op.drop_constraint(op.f("ck_checkouts_purpose"), "checkouts", type_="check")
    for name, rule in CHECKS.items():
        op.execute(f"alter table checkouts add constraint ck_checkouts_{name} check ({rule}) not valid")
    op.create_table(
        "card_declines",
        sa.Column("attempt_id", PREFIXED_ID, nullable=False),
        sa.Column("team_id", PREFIXED_ID, nullable=False),
        sa.Column("checkout_id", PREFIXED_ID, nullable=True),
        sa.Column("at", MOMENT, server_default=sa.text("app_now()"), nullable=False),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_card_declines_team_id")),
        sa.ForeignKeyConstraint(["checkout_id"], ["checkouts.id"], name=op.f("fk_card_declines_checkout_id")),
        sa.PrimaryKeyConstraint("attempt_id", name=op.f("pk_card_declines")),
    )
    op.create_index("ix_card_declines_team_id", "card_declines", ["team_id", "at"])


def downgrade() -> None:
    """Only while no bundle was bought and no key has begun a checkout: such rows have no place in the old table."""
    op.drop_table("card_declines")
    for name in CHECKS:
        op.drop_constraint(op.f(f"ck_checkouts_{name}"), "checkouts", type_="check")
    op.create_check_constraint(op.f("ck_checkouts_purpose"), "checkouts", "purpose in ('plan')")
    op.alter_column("checkouts", "plan_key", nullable=False)
    op.alter_column("checkouts", "user_id", nullable=False)
    for column in COLUMNS:
        op.drop_column("checkouts", column.name)
