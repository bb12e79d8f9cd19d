"""What was reported to Stripe of what was used, and where Stripe counts something else."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, Numeric, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from portal.core.clock import app_now
from portal.core.database import Model, PrefixedId, PrimaryId, UtcDateTime
from portal.core.ids import new_id

# To ask for more states than these would ask beside the index of them.
OPEN_STATES = ("pending", "sending", "unknown")
OPEN = f"state in {OPEN_STATES}"


class MeterReport(Model):
    """A part of a team's use of a meter, as one meter event at Stripe. `starts_at` names the row of `usage_daily` that it is of.

    Its words are fixed before it is sent for the first time. `dated_at` is the time it has at Stripe, `after_close` says that
    the invoice of its period had been finalized by then, so that nobody is charged for it. `sending`: Stripe may have been
    asked. `unknown`: it was, and did not say what became of it. `refused`: it never will be taken, and `error` says why.
    """

    __tablename__ = "meter_reports"
    __table_args__ = (
        CheckConstraint("part > 0", name="part"),
        CheckConstraint("quantity > 0", name="quantity"),
        CheckConstraint("state in ('pending', 'sending', 'unknown', 'delivered', 'refused')", name="state"),
        CheckConstraint("(state = 'delivered') = (delivered_at is not null)", name="delivered_at"),
        CheckConstraint("state <> 'refused' or error is not null", name="error"),
        CheckConstraint("dated_at >= starts_at", name="dated_at"),
        UniqueConstraint("team_id", "meter", "starts_at", "part"),
        Index("ix_meter_reports_due", "run_at", "id", postgresql_where=text(OPEN)),
        Index("ix_meter_reports_refused", "created_at", postgresql_where=text("state = 'refused'")),
        Index("ix_meter_reports_dated_at", "team_id", "meter", "dated_at"),
    )

    id: Mapped[PrimaryId]
    team_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("customers.team_id"))
    meter: Mapped[str]
    starts_at: Mapped[UtcDateTime]
    part: Mapped[int]
    quantity: Mapped[int] = mapped_column(BigInteger)
    identifier: Mapped[str] = mapped_column(unique=True)
    dated_at: Mapped[UtcDateTime]
    after_close: Mapped[bool]
    state: Mapped[str] = mapped_column(default="pending")
    attempts: Mapped[int] = mapped_column(default=0, server_default="0")
    run_at: Mapped[UtcDateTime] = mapped_column(server_default=app_now())
    first_sent_at: Mapped[UtcDateTime | None]
    delivered_at: Mapped[UtcDateTime | None]
    error: Mapped[str | None]
    lease_until: Mapped[UtcDateTime | None]
    lease_token: Mapped[str | None]
    lease_holder: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[UtcDateTime] = mapped_column(server_default=app_now())

    def __init__(self, **values: Any) -> None:
        values.setdefault("id", new_id("mrep"))
        super().__init__(**values)


class MeterDrift(Model):
    """That Stripe's sum of a team's events of a meter was not what we reported, from `since` until `until`; open until it is."""

    __tablename__ = "meter_drifts"
    __table_args__ = (
        Index("uq_meter_drifts_open", "team_id", "meter", unique=True, postgresql_where=text("gone_at is null")),
    )

    id: Mapped[PrimaryId]
    team_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("customers.team_id"))
    meter: Mapped[str]
    since: Mapped[UtcDateTime]
    until: Mapped[UtcDateTime]
    reported: Mapped[int] = mapped_column(BigInteger)
    at_stripe: Mapped[Decimal] = mapped_column(Numeric)
    found_at: Mapped[UtcDateTime] = mapped_column(server_default=app_now())
    gone_at: Mapped[UtcDateTime | None]

    def __init__(self, **values: Any) -> None:
        values.setdefault("id", new_id("mdri"))
        super().__init__(**values)
