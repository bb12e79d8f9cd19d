"""Events held while billing is switched off; alarms that can be resolved and raised anew; the last readings."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"

MOMENT = sa.DateTime(timezone=True)
HELD = "ix_stripe_events_held"


def upgrade() -> None:
    # First, since it commits what came before it: should it fail, the whole migration can be run again.
    with op.get_context().autocommit_block():
        op.execute("set lock_timeout = 0")  # it waits for the readers of the table, and nobody waits for it
        op.execute(f"drop index concurrently if exists {HELD}")
        op.execute(f"create index concurrently {HELD} on stripe_events (run_at, id) where state = 'held'")
        op.execute("set lock_timeout = '4s'")
    op.add_column("stripe_events", sa.Column("released_at", MOMENT, nullable=True))
    op.add_column("alarms", sa.Column("resolution", sa.String(), nullable=True))
    op.add_column("alarms", sa.Column("mailed_at", MOMENT, nullable=True))
    op.drop_constraint("uq_alarms_kind_subject", "alarms", type_="unique")
    op.create_index(
        "uq_alarms_open", "alarms", ["kind", "subject"], unique=True, postgresql_where=sa.text("resolved_at is null")
    )
    op.create_table(
        "readings",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.Column("taken_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_readings")),
    )


def downgrade() -> None:
    op.drop_table("readings")
    op.drop_index("uq_alarms_open", table_name="alarms")
    # Of several alarms about one thing the last one stays.
    op.execute("delete from alarms a using alarms b where a.kind = b.kind and a.subject = b.subject and a.id < b.id")
    op.create_unique_constraint("uq_alarms_kind_subject", "alarms", ["kind", "subject"])
    op.drop_column("alarms", "mailed_at")
    op.drop_column("alarms", "resolution")
    op.drop_column("stripe_events", "released_at")
    op.drop_index(HELD, table_name="stripe_events")
