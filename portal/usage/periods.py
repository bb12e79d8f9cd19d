"""The month that a team's use is counted in: that of its subscription, and before it one counted from the team's creation.

The database has the same rule (`usage_month_of`, migration 0035), by which each use is put into its day and month.
"""

from __future__ import annotations

from datetime import datetime

from portal.billing.models import Subscription
from portal.credits.periods import Period, period, period_containing


def usage_month(subscription: Subscription | None, team_created_at: datetime, now: datetime) -> Period:
    """The month that `now` lies in. A yearly plan's months are counted from the start of its year, as its credits are.

    The subscription's first month begins with it, which is where the last one before it ends.
    """
    start = subscription.current_period_start if subscription else None
    end = subscription.current_period_end if subscription else None
    if subscription is None or start is None or end is None:
        return period_containing(team_created_at, "month", now)
    began = min(subscription.started_at, start)
    if now < began:
        starts, ends = period_containing(team_created_at, "month", now)
        return starts, min(ends, began)
    if subscription.interval == "month" and start <= now < end:
        return start, end
    starts, ends = month_beside(start, end, now)
    return max(starts, began), ends


def month_beside(start: datetime, end: datetime, now: datetime) -> Period:
    """The month of `now`, counted on or back from the period from `start` to `end`.

    Of the two ends of a month at least one is on the anchor's own day, since no two months in a row lack it: 28 February
    to 31 March is counted from the 31st. What is no month (a trial, a year) is counted from its nearer end.
    """
    if period(start, "month", 0)[1] == end:
        anchor = start
    elif period(end, "month", -1)[0] == start:
        anchor = end
    else:
        anchor = end if end <= now else start
    return period_containing(anchor, "month", now)
