"""Leases name the worker that holds them, so that a dead one's can be taken over before they run out."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

TABLES = ("stripe_events", "outbox")


def upgrade() -> None:
    for table in TABLES:
        op.add_column(table, sa.Column("lease_holder", sa.Integer(), nullable=True))


def downgrade() -> None:
    for table in TABLES:
        op.drop_column(table, "lease_holder")
