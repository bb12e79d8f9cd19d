"""What is kept beside the ledger, off the hot path: sums by lot and day, how far an account was looked at, what was told."""

from __future__ import annotations

from datetime import date

from sqlalchemy import BigInteger, CheckConstraint, Date, ForeignKey, ForeignKeyConstraint
from sqlalchemy.orm import Mapped, mapped_column

from portal.core.clock import app_now
from portal.core.database import Model, PrefixedId, UtcDateTime


class CreditLotDay(Model):
    """What was spent of a lot on a day in UTC, in credits."""

    __tablename__ = "credit_lot_days"
    __table_args__ = (
        ForeignKeyConstraint(["team_id", "grant_id"], ["credit_grants.team_id", "credit_grants.id"]),
        CheckConstraint("spent > 0", name="spent"),
    )

    team_id: Mapped[str] = mapped_column(PrefixedId, primary_key=True)
    grant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    spent: Mapped[int] = mapped_column(BigInteger)


class CreditProgress(Model):
    """Up to which version of an account its spends are counted by day, and its thresholds were looked at."""

    __tablename__ = "credit_progress"
    __table_args__ = (
        CheckConstraint("counted_version >= 0", name="counted_version"),
        CheckConstraint("looked_version >= 0", name="looked_version"),
    )

    team_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("credit_accounts.team_id"), primary_key=True)
    counted_version: Mapped[int] = mapped_column(BigInteger, server_default="0")
    looked_version: Mapped[int] = mapped_column(BigInteger, server_default="0")


class ThresholdNotice(Model):
    """A threshold that was crossed and told, once for ever: `fact` names it with its period, lot or budget."""

    __tablename__ = "threshold_notices"

    team_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("teams.id"), primary_key=True)
    fact: Mapped[str] = mapped_column(PrefixedId, primary_key=True)
    told_at: Mapped[UtcDateTime] = mapped_column(server_default=app_now())
