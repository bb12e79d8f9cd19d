"""The free plan's monthly credits, in periods counted from the team's creation."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func, select

from portal.accounts.models import Membership, Team, User
from portal.billing.models import LIVE_STATUSES, Subscription
from portal.billing.subscriptions import live_subscription
from portal.core import clock
from portal.core.authz import Role
from portal.core.clock import app_now
from portal.core.database import db
from portal.credits import ledger
from portal.credits.models import CreditGrant
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
    if live_subscription(team.id) is not None:
        return False
    start, end = period_containing(team.created_at, "month", now or clock.now())
    return ledger.grant(
        team.id,
        kind="subscription",
        amount=amount,
        cause_key=_cause_key(team.id, start),
        source=SOURCE,
        effective_at=start,
        expires_at=end,
    )


def end_free_grants(team_id: str) -> int:
    """Let the team's open free grants expire now, since a subscription has taken their place; returns how many."""
    query = select(CreditGrant.cause_key).where(
        CreditGrant.team_id == team_id,
        CreditGrant.state != "ended",
        CreditGrant.expires_at > app_now(),
        func.starts_with(CreditGrant.cause_key, f"period:free:{team_id}:"),
    )
    return sum(ledger.end_early(team_id, cause_key) for cause_key in db.session.execute(query).scalars().all())


def teams_without_free_period(limit: int) -> list[Team]:
    """Teams with no live subscription and no free grant for the moment, oldest first: work for the schedule.

    Only teams of which an owner has confirmed the address, so that credits cannot be farmed with made-up ones.
    """
    current = (
        select(CreditGrant.id)
        .where(
            CreditGrant.team_id == Team.id,
            func.starts_with(CreditGrant.cause_key, func.concat("period:free:", Team.id, ":")),
            CreditGrant.expires_at > app_now(),
        )
        .exists()
    )
    subscribed = (
        select(Subscription.id)
        .where(
            Subscription.team_id == Team.id,
            Subscription.status.in_(LIVE_STATUSES),
            Subscription.duplicate.is_(False),
        )
        .exists()
    )
    confirmed = (
        select(Membership.id)
        .join(User, User.id == Membership.user_id)
        .where(Membership.team_id == Team.id, Membership.role == Role.OWNER, User.confirmed_at.is_not(None))
        .exists()
    )
    query = select(Team).where(~current, ~subscribed, confirmed).order_by(Team.id).limit(limit)
    return list(db.session.execute(query).scalars())


def _cause_key(team_id: str, start: datetime) -> str:
    return f"period:free:{team_id}:{int(start.timestamp())}"
