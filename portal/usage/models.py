"""What was used, under which keys, and the totals of each day. The first two only grow; the key's row holds the answer."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, DateTime, ForeignKey, ForeignKeyConstraint, Index
from sqlalchemy.orm import Mapped, mapped_column

from portal.core.clock import app_now
from portal.core.database import Model, PrefixedId, PrimaryId, UtcDateTime
from portal.core.ids import new_id
from portal.usage import budget_models, report_models  # noqa: F401  more of this feature's tables

# Tables that tell history: the app role may only add to them, and triggers refuse everybody else too.
APPEND_ONLY = ("usage_keys", "usage_events")
# What the app role cannot do itself and calls the owner's functions for.
OWNER_FUNCTIONS = ("make_usage_partitions()", "drop_usage_partitions(timestamptz)")


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

    A meter that is billed by Stripe takes no credits and has no entry. The meter stands by its name, so that the report
    stays readable when the catalog has moved on. Partitioned by the month of `occurred_at`; months that are past are
    dropped (`usage/retention.py`), their totals stay. `recorded_at` is null in reports from before there were totals.
    """

    __tablename__ = "usage_events"
    __table_args__ = (
        ForeignKeyConstraint(["team_id", "key"], ["usage_keys.team_id", "usage_keys.key"]),
        ForeignKeyConstraint(["team_id", "entry_id"], ["credit_entries.team_id", "credit_entries.id"]),
        CheckConstraint("quantity > 0", name="quantity"),
        CheckConstraint("cost >= 0", name="cost"),
        CheckConstraint("(cost = 0) = (entry_id is null)", name="entry_id"),
        Index("ix_usage_events_team_id_key", "team_id", "key"),
        Index("ix_usage_events_team_id_occurred_at", "team_id", "occurred_at"),
        {"postgresql_partition_by": "range (occurred_at)"},
    )

    id: Mapped[PrimaryId]
    team_id: Mapped[str] = mapped_column(PrefixedId)
    key: Mapped[str] = mapped_column(PrefixedId)
    api_key_id: Mapped[str | None] = mapped_column(PrefixedId, ForeignKey("api_keys.id"))
    meter: Mapped[str]
    quantity: Mapped[int] = mapped_column(BigInteger)
    cost: Mapped[int] = mapped_column(BigInteger)
    entry_id: Mapped[int | None] = mapped_column(BigInteger)
    occurred_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), primary_key=True)
    user_id: Mapped[str | None] = mapped_column(PrefixedId, ForeignKey("users.id"))
    recorded_at: Mapped[UtcDateTime | None]

    def __init__(self, **values: Any) -> None:
        values.setdefault("id", new_id("use"))
        super().__init__(**values)


class UsageDay(Model):
    """What a team used of a meter in a day, by API key and member; written in the unit of each event, read by all others.

    `starts_at` is the start of the UTC day, or of the team's month of use where one begins within the day, which then has
    two rows: sums from the start of a month until its end are exact. Empty text is no key, or no member.
    """

    __tablename__ = "usage_daily"
    __table_args__ = (
        CheckConstraint("quantity > 0", name="quantity"),
        CheckConstraint("cost >= 0", name="cost"),
        CheckConstraint("events > 0", name="events"),
        # Its row changes with every use: free space on its page keeps those updates out of the index.
        {"postgresql_with": {"fillfactor": 50}},
    )

    team_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("teams.id"), primary_key=True)
    starts_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), primary_key=True)
    meter: Mapped[str] = mapped_column(primary_key=True)
    api_key_id: Mapped[str] = mapped_column(PrefixedId, primary_key=True, server_default="")
    user_id: Mapped[str] = mapped_column(PrefixedId, primary_key=True, server_default="")
    quantity: Mapped[int] = mapped_column(BigInteger)
    cost: Mapped[int] = mapped_column(BigInteger)
    events: Mapped[int] = mapped_column(BigInteger)
