"""When the bank was first said to want the card's holder: from then on a purchase waits for a day to be confirmed.

One that waits already has its day from the next look at it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0039"
down_revision = "0038"


def upgrade() -> None:
    op.execute("set lock_timeout = '4s'")
    op.add_column("purchase_intents", sa.Column("asked_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("purchase_intents", "asked_at")
