"""The month that a team's use is counted in: that of its subscription, else counted from the team's creation.

The database has the same rule (`usage_month_of`, migration 0026), by which each use is put into its day and month.
"""

from __future__ import annotations

from datetime import datetime

from portal.billing.models import Subscription
from portal.credits.periods import Period, period_containing


def usage_month(subscription: Subscription | None, team_created_at: datetime, now: datetime) -> Period:
    """The month under way. A yearly plan's months are counted from the start of its year, as its credits are."""
    start = subscription.current_period_start if subscription else None
    end = subscription.current_period_end if subscription else None
    if subscription is None or start is None or end is None:
        return period_containing(team_created_at, "month", now)
    if subscription.interval == "month" and start <= now < end:
        return start, end
    # A month that has begun before we heard of it begins where the last one ended.
    return period_containing(end if end <= now else start, "month", now)
