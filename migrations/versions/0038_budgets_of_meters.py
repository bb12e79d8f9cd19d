"""A budget may be of units of a metered meter, whose use takes no credits.

In a product that is paid by use, a budget in credits never refused anything. Of one API key or member there is one budget in
credits, and one for each such meter. Old code that is still running while this is deployed cannot set budgets meanwhile; it goes
on keeping to those in credits.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0038"
down_revision = "0037"

PLACES = (("uq_usage_budgets_api_key", "api_key_id"), ("uq_usage_budgets_user", "user_id"))


def upgrade() -> None:
    op.execute("set lock_timeout = '4s'")
    op.add_column("usage_budgets", sa.Column("meter", sa.String(), nullable=True))
    for name, column in PLACES:
        op.drop_index(name, table_name="usage_budgets")
        _unique(name, "team_id", column, "meter", nulls_not_distinct=True)


def downgrade() -> None:
    op.execute("set lock_timeout = '4s'")
    op.execute("delete from usage_budgets where meter is not null")
    for name, column in PLACES:
        op.drop_index(name, table_name="usage_budgets")
        _unique(name, "team_id", column)
    op.drop_column("usage_budgets", "meter")


def _unique(name: str, *columns: str, nulls_not_distinct: bool = False) -> None:
    op.create_index(
        name,
        "usage_budgets",
        list(columns),
        unique=True,
        postgresql_where=sa.text(f"{columns[1]} is not null"),
        postgresql_nulls_not_distinct=nulls_not_distinct or None,
    )
