"""Budgets: how much an API key, or uses for a member, may take in a month of the plan: credits, or units of a metered meter."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from portal.core.clock import app_now
from portal.core.database import Model, PrefixedId, PrimaryId, UtcDateTime
from portal.core.ids import new_id


class UsageBudget(Model):
    """Of one API key or one member: at `limit` a month, `warn` tells and `stop` refuses what would go beyond.

    It is in units of `meter`, or without one in credits, whatever takes them.
    """

    __tablename__ = "usage_budgets"
    __table_args__ = (
        CheckConstraint("num_nonnulls(api_key_id, user_id) = 1", name="subject"),
        CheckConstraint("credits > 0", name="credits"),
        CheckConstraint("action in ('warn', 'stop')", name="action"),
        Index(
            "uq_usage_budgets_api_key",
            "team_id",
            "api_key_id",
            "meter",
            unique=True,
            postgresql_where=text("api_key_id is not null"),
            postgresql_nulls_not_distinct=True,
        ),
        Index(
            "uq_usage_budgets_user",
            "team_id",
            "user_id",
            "meter",
            unique=True,
            postgresql_where=text("user_id is not null"),
            postgresql_nulls_not_distinct=True,
        ),
    )

    id: Mapped[PrimaryId]
    team_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("teams.id"))
    api_key_id: Mapped[str | None] = mapped_column(PrefixedId, ForeignKey("api_keys.id"))
    user_id: Mapped[str | None] = mapped_column(PrefixedId, ForeignKey("users.id"))
    meter: Mapped[str | None]
    # The column has the name of the time when there were budgets in credits alone.
    limit: Mapped[int] = mapped_column("credits", BigInteger)
    action: Mapped[str]
    created_at: Mapped[UtcDateTime] = mapped_column(server_default=app_now())

    def __init__(self, **values: Any) -> None:
        values.setdefault("id", new_id("budget"))
        super().__init__(**values)
