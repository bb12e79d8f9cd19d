"""How often a team may buy a bundle in a month. The table has a few rows, all of which have no limit so far."""

from __future__ import annotations

from alembic import op

revision = "0036"
down_revision = "0035"

LIMIT = "ck_bundles_limit_per_month"


def upgrade() -> None:
    op.execute("alter table bundles add column if not exists limit_per_month integer")
    op.execute(f"alter table bundles drop constraint if exists {LIMIT}")
    op.execute(f"alter table bundles add constraint {LIMIT} check (limit_per_month > 0)")


def downgrade() -> None:
    op.drop_column("bundles", "limit_per_month")
