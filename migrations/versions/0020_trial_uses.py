"""Who has had a trial: each person, mailbox, card and team once, as a keyed digest that tells nobody who it was."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"

PREFIXED_ID = sa.String(collation="C")


def upgrade() -> None:
    op.create_table(
        "trial_uses",
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("subscription_stripe_id", PREFIXED_ID, nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("kind in ('user', 'email', 'card', 'team')", name=op.f("ck_trial_uses_kind")),
        sa.CheckConstraint("length(digest) = 64", name=op.f("ck_trial_uses_digest")),
        sa.PrimaryKeyConstraint("kind", "digest", name=op.f("pk_trial_uses")),
    )
    op.create_index("ix_trial_uses_subscription", "trial_uses", ["subscription_stripe_id"])


def downgrade() -> None:
    op.drop_table("trial_uses")
