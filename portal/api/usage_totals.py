"""What a team used within a time, by meter, beside what its plan includes in a month."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from flask import current_app

from portal.accounts.models import Team
from portal.api.moments import rfc3339
from portal.billing.entitlements import Entitlements, MeterRight
from portal.billing.subscriptions import live_subscription
from portal.core import clock
from portal.usage.periods import usage_month
from portal.usage.queries import Total, totals

# Our answers tell instants to the millisecond, and the start of a month may come back to us as such a one.
TOLD_TO = timedelta(milliseconds=1)


def month_of(team: Team, rights: Entitlements) -> dict[str, Any]:
    """The month under way."""
    since, until = usage_month(live_subscription(team.id), team.created_at, clock.now())
    return _totals(team, rights, since, until, of_month=True)


def totals_of(team: Team, rights: Entitlements, since: datetime, until: datetime) -> dict[str, Any]:
    """What the plan includes is for one of its months: it is told of a time from the start of one, and ending within it."""
    starts, ends = usage_month(live_subscription(team.id), team.created_at, since + TOLD_TO)
    if abs(starts - since) >= TOLD_TO or until > ends:
        return _totals(team, rights, since, until, of_month=False)
    return _totals(team, rights, starts, until, of_month=True)


def _totals(team: Team, rights: Entitlements, since: datetime, until: datetime, *, of_month: bool) -> dict[str, Any]:
    found = totals(team.id, since, until)
    return {
        "object": "usage_totals",
        "since": rfc3339(since),
        "until": rfc3339(until),
        "cost": sum(total.cost for total in found.values()),
        "meters": [_meter(meter, found.get(meter.key, Total(0, 0)), of_month=of_month) for meter in rights.meters],
        "livemode": bool(current_app.config["SETTINGS"].livemode),
    }


def _meter(meter: MeterRight, used: Total, *, of_month: bool) -> dict[str, Any]:
    included = meter.included if of_month else None
    return {
        "object": "meter_usage",
        "meter": meter.key,
        "name": meter.name,
        "mode": meter.mode,
        "quantity": used.quantity,
        "cost": used.cost,
        "cost_credits": meter.cost_credits,
        "included": included,
        "remaining": None if included is None else max(0, included - used.quantity),
        "more_allowed": meter.more_allowed,
    }
