"""The month that a team's use is counted in: that of its subscription, and beside it one counted from the team's creation."""

from __future__ import annotations

from datetime import datetime

from portal.core.database import send
from portal.core.statements import Statement
from portal.credits.periods import Period, period, period_containing

# The database puts each use into its day and month by the same rule (migration 0037).
MONTH = Statement("select starts, ends from usage_month_of(:team_id, :at)")


def usage_month(team_id: str, at: datetime) -> Period:
    """The month that `at` lies in. A yearly plan's months are counted from the start of its year, as its credits are.

    The first month of a subscription begins with it and the last one ends with it, and so do the months beside them.
    """
    [month] = send(MONTH, team_id=team_id, at=at)
    return month.starts, month.ends


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
