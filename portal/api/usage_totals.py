"""What a team used within a time, by meter, beside what its plan includes, or included, in that month."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from flask import current_app

from portal.accounts.models import Team
from portal.api.moments import rfc3339
from portal.billing.entitlements import Entitlements, MeterRight
from portal.core import clock
from portal.usage.chosen_period import UsagePeriod, chosen_period
from portal.usage.included import Included, included_in
from portal.usage.overage import overages
from portal.usage.periods import usage_month
from portal.usage.queries import Total, counted_since, counted_until, totals

# Our answers tell instants to the millisecond, and the start of a month may come back to us as such a one.
TOLD_TO = timedelta(milliseconds=1)


def month_of(team: Team, rights: Entitlements) -> dict[str, Any]:
    """The month under way."""
    month = chosen_period(team, {"period": "this"}, clock.now())
    return _totals(team, rights, month.since, month.until, month)


def totals_of(team: Team, rights: Entitlements, since: datetime, until: datetime) -> dict[str, Any]:
    """What the plan includes is told of a time from the start of the month under way, or of the last one, and ending within it.

    The answer says from when until when all was counted: days are counted whole, so that may be more than was asked for.
    """
    starts, ends = usage_month(team.id, since + TOLD_TO)
    whole_days_end = counted_until(team.id, until)
    if abs(starts - since) >= TOLD_TO or until > ends:
        return _totals(team, rights, counted_since(team.id, since), whole_days_end, None)
    months = (chosen_period(team, {"period": choice}, clock.now()) for choice in ("this", "last"))
    return _totals(team, rights, starts, whole_days_end, next((month for month in months if month.until == ends), None))


def _totals(
    team: Team, rights: Entitlements, since: datetime, until: datetime, month: UsagePeriod | None
) -> dict[str, Any]:
    found = totals(team.id, since, until)
    included: dict[str, Included] = {}
    if month is not None:
        whole = found if until == month.until else totals(team.id, month.since, month.until)
        included = _included(team, month, whole)
    return {
        "object": "usage_totals",
        "since": rfc3339(since),
        "until": rfc3339(until),
        "cost": sum(total.cost for total in found.values()),
        "meters": [
            _meter(meter, found.get(meter.key, Total(0, 0)), included.get(meter.key)) for meter in rights.meters
        ],
        "livemode": bool(current_app.config["SETTINGS"].livemode),
    }


def _included(team: Team, month: UsagePeriod, used: Mapping[str, Total]) -> dict[str, Included]:
    """By meter, as the usage page has it: `used` is the use of the whole month, so far."""
    quantities = {meter: total.quantity for meter, total in used.items()}
    return included_in(team.id, month, quantities, overages(team.id) if month.under_way else [])


def _meter(meter: MeterRight, used: Total, found: Included | None) -> dict[str, Any]:
    return {
        "object": "meter_usage",
        "meter": meter.key,
        "name": meter.name,
        "mode": meter.mode,
        "quantity": used.quantity,
        "cost": used.cost,
        "cost_credits": meter.cost_credits,
        "included": found.included if found else None,
        "remaining": max(0, found.included - found.counted) if found else None,
        "more_allowed": meter.more_allowed,
    }
