"""What was used, and under which keys. Both tables only grow; the key's row holds the answer that was given."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, ForeignKeyConstraint, Index
from sqlalchemy.orm import Mapped, mapped_column

from portal.core.clock import app_now
from portal.core.database import Model, PrefixedId, PrimaryId, UtcDateTime
from portal.core.ids import new_id
from portal.usage import budget_models  # noqa: F401  more of this feature's tables

# Tables that tell history: the app role may only add to them, and triggers refuse everybody else too.
APPEND_ONLY = ("usage_keys", "usage_events")


class UsageKey(Model):
    """A key that the team's backend has used, the request it stood for, and the answer, which never expires."""

    __tablename__ = "usage_keys"
    __table_args__ = (
        CheckConstraint("length(key) between 1 and 255", name="key"),
        CheckConstraint("length(request_hash) = 64", name="request_hash"),
        CheckConstraint("status between 200 and 299", name="status"),
    )

    team_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("teams.id"), primary_key=True)
    key: Mapped[str] = mapped_column(PrefixedId, primary_key=True)
    request_hash: Mapped[str]
    status: Mapped[int]
    body: Mapped[str]
    created_at: Mapped[UtcDateTime] = mapped_column(server_default=app_now())


class UsageEvent(Model):
    """One report of use: `quantity` of a meter for `cost` credits, which the ledger's entry took.

    The meter stands by its name, so that the report stays readable when the catalog has moved on.
    """

    __tablename__ = "usage_events"
    __table_args__ = (
        ForeignKeyConstraint(["team_id", "key"], ["usage_keys.team_id", "usage_keys.key"]),
        ForeignKeyConstraint(["team_id", "entry_id"], ["credit_entries.team_id", "credit_entries.id"]),
        CheckConstraint("quantity > 0", name="quantity"),
        CheckConstraint("cost > 0", name="cost"),
        Index("uq_usage_events_team_id_key", "team_id", "key", unique=True),
        Index("uq_usage_events_team_id_entry_id", "team_id", "entry_id", unique=True),
        Index("ix_usage_events_team_id_occurred_at", "team_id", "occurred_at"),
    )

    id: Mapped[PrimaryId]
    team_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("teams.id"))
    key: Mapped[str] = mapped_column(PrefixedId)
    api_key_id: Mapped[str | None] = mapped_column(PrefixedId, ForeignKey("api_keys.id"))
    meter: Mapped[str]
    quantity: Mapped[int] = mapped_column(BigInteger)
    cost: Mapped[int] = mapped_column(BigInteger)
    entry_id: Mapped[int] = mapped_column(BigInteger)
    occurred_at: Mapped[UtcDateTime]

    def __init__(self, **values: Any) -> None:
        values.setdefault("id", new_id("use"))
        super().__init__(**values)
