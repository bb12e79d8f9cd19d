"""The free plan's months: which of them were granted, and which one comes when a subscription ends."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select

from portal.accounts.models import Team
from portal.catalog.queries import free_plan
from portal.core.database import db
from portal.credits.models import CreditGrant, FreePeriod
from portal.credits.periods import period_containing


def free_cause(team_id: str, start: datetime) -> str:
    return f"period:free:{team_id}:{int(start.timestamp())}"


def is_used(team_id: str, cause_key: str) -> bool:
    """Whether the period was granted before, perhaps when the free plan gave another amount."""
    query = select(CreditGrant.id).where(CreditGrant.team_id == team_id, CreditGrant.cause_key == cause_key)
    return db.session.execute(query).scalar() is not None


def free_credits_after(team_id: str, ends: datetime) -> tuple[datetime, int] | None:
    """When the free plan's credits come to a team whose subscription ends then, and how many; None where none do.

    The month under way comes at once, but not a second time.
    """
    plan = free_plan()
    if plan is None or not plan.credits_monthly or db.session.get(FreePeriod, team_id) is None:
        return None
    start, following = period_containing(db.session.get_one(Team, team_id).created_at, "month", ends)
    return following if is_used(team_id, free_cause(team_id, start)) else ends, plan.credits_monthly
