"""What a team used within a time, by meter, beside what its plan includes in a month."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from flask import current_app

from portal.accounts.models import Team
from portal.api.moments import rfc3339
from portal.billing.entitlements import Entitlements, MeterRight
from portal.billing.subscriptions import live_subscription
from portal.core import clock
from portal.usage.included import included_now
from portal.usage.overage import overages
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
    used = {meter.key: found.get(meter.key, Total(0, 0)) for meter in rights.meters}
    left = _left(team, rights, since, used) if of_month else {}
    return {
        "object": "usage_totals",
        "since": rfc3339(since),
        "until": rfc3339(until),
        "cost": sum(total.cost for total in found.values()),
        "meters": [_meter(meter, used[meter.key], left.get(meter.key)) for meter in rights.meters],
        "livemode": bool(current_app.config["SETTINGS"].livemode),
    }


def _left(team: Team, rights: Entitlements, since: datetime, used: Mapping[str, Total]) -> dict[str, tuple[int, int]]:
    """By meter, what is included and how much of it is left. Only of the month under way is it known what a change of plan
    has settled already.
    """
    included = {meter.key: meter.included for meter in rights.meters}
    counted = {meter: total.quantity for meter, total in used.items()}
    if since == usage_month(live_subscription(team.id), team.created_at, clock.now())[0]:
        now = included_now(team.id, counted, overages(team.id))
        included |= {meter: one.included for meter, one in now.items()}
        counted |= {meter: one.counted for meter, one in now.items()}
    return {meter: (units, max(0, units - counted[meter])) for meter, units in included.items() if units is not None}


def _meter(meter: MeterRight, used: Total, left: tuple[int, int] | None) -> dict[str, Any]:
    included, remaining = left or (None, None)
    return {
        "object": "meter_usage",
        "meter": meter.key,
        "name": meter.name,
        "mode": meter.mode,
        "quantity": used.quantity,
        "cost": used.cost,
        "cost_credits": meter.cost_credits,
        "included": included,
        "remaining": remaining,
        "more_allowed": meter.more_allowed,
    }
