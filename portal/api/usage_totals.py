"""What a team used within a time, by meter, beside what its plan includes."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flask import current_app

from portal.accounts.models import Team
from portal.api.moments import rfc3339
from portal.billing.entitlements import Entitlements, MeterRight
from portal.billing.subscriptions import live_subscription
from portal.core import clock
from portal.usage.periods import usage_month
from portal.usage.queries import Total, totals


def month_of(team: Team, rights: Entitlements) -> dict[str, Any]:
    """The month under way."""
    return totals_of(team, rights, *usage_month(live_subscription(team.id), team.created_at, clock.now()))


def totals_of(team: Team, rights: Entitlements, since: datetime, until: datetime) -> dict[str, Any]:
    found = totals(team.id, since, until)
    return {
        "object": "usage_totals",
        "since": rfc3339(since),
        "until": rfc3339(until),
        "cost": sum(total.cost for total in found.values()),
        "meters": [_meter(meter, found.get(meter.key, Total(0, 0))) for meter in rights.meters],
        "livemode": bool(current_app.config["SETTINGS"].livemode),
    }


def _meter(meter: MeterRight, used: Total) -> dict[str, Any]:
    return {
        "object": "meter_usage",
        "meter": meter.key,
        "name": meter.name,
        "mode": meter.mode,
        "quantity": used.quantity,
        "cost": used.cost,
        "cost_credits": meter.cost_credits,
        "included": meter.included,
        "remaining": None if meter.included is None else max(0, meter.included - used.quantity),
        "more_allowed": meter.more_allowed,
    }
