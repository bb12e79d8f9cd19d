"""The free plan's monthly credits, in periods counted from the team's creation."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert

from portal.accounts.models import Membership, Team, User
from portal.billing.subscriptions import live_subscription
from portal.core import clock
from portal.core.authz import Role
from portal.core.clock import app_now
from portal.core.database import db
from portal.credits import ledger
from portal.credits.free_months import free_cause, is_used
from portal.credits.models import CreditGrant, FreePeriod
from portal.credits.periods import period_containing
from portal.credits.storage import lock_account

SOURCE = "Free plan"


def grant_free_period(team: Team, amount: int, *, now: datetime | None = None) -> bool:
    """Grant `amount` credits for the free period under way, once; returns whether it was new. 0 grants nothing.

    Nor does a team whose subscription lives get any. That is asked under the account's lock, which the grant of a
    subscription takes too, so that of the two the free one always gives way. A free period that a subscription ended
    early stays used up: the next one begins on its own date.
    """
    if not amount:
        return False
    lock_account(team.id)
    start, end = period_containing(team.created_at, "month", now or clock.now())
    _look_at(team.id, end)
    cause_key = free_cause(team.id, start)
    if live_subscription(team.id) is not None or is_used(team.id, cause_key):
        return False
    return ledger.grant(
        team.id,
        kind="subscription",
        amount=amount,
        cause_key=cause_key,
        source=SOURCE,
        effective_at=start,
        expires_at=end,
    )


def _look_at(team_id: str, due_at: datetime) -> None:
    row = insert(FreePeriod).values(team_id=team_id, due_at=due_at)
    db.session.execute(row.on_conflict_do_update(index_elements=["team_id"], set_={"due_at": row.excluded.due_at}))


def look_again(team_id: str) -> None:
    """Let the schedule look at once, since the team's subscription has ended."""
    db.session.execute(update(FreePeriod).where(FreePeriod.team_id == team_id).values(due_at=app_now()))


def end_free_grants(team_id: str) -> int:
    """Let the team's open free grants expire now, since a subscription has taken their place; returns how many."""
    query = select(CreditGrant.cause_key).where(
        CreditGrant.team_id == team_id,
        CreditGrant.state != "ended",
        CreditGrant.expires_at > app_now(),
        func.starts_with(CreditGrant.cause_key, f"period:free:{team_id}:"),
    )
    return sum(ledger.end_early(team_id, cause_key) for cause_key in db.session.execute(query).scalars().all())


def due_teams(limit: int) -> list[Team]:
    """Teams at which it is time to look whether a free month begins, the longest due first."""
    query = select(Team).join(FreePeriod, FreePeriod.team_id == Team.id).where(FreePeriod.due_at <= app_now())
    return list(db.session.execute(query.order_by(FreePeriod.due_at, FreePeriod.team_id).limit(limit)).scalars())


def enrol_teams(limit: int) -> int:
    """Find teams that were never looked at, whatever way they came to be; returns how many.

    Only those of which an owner has confirmed the address, so that credits cannot be farmed with made-up ones.
    """
    enrolled = select(FreePeriod.team_id).where(FreePeriod.team_id == Membership.team_id).exists()
    owners = (
        select(Membership.team_id, app_now())
        .join(User, User.id == Membership.user_id)
        .where(Membership.role == Role.OWNER, User.confirmed_at.is_not(None), ~enrolled)
        .limit(limit)
    )
    rows = insert(FreePeriod).from_select(["team_id", "due_at"], owners).on_conflict_do_nothing()
    return len(db.session.execute(rows.returning(FreePeriod.team_id)).all())
