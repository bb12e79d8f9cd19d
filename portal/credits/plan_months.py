"""The grants that a paid period comes to, and the cause that each of them has."""

from __future__ import annotations

from datetime import datetime

from portal.billing.models import PaidPeriod
from portal.credits.periods import period


def steps(paid: PaidPeriod) -> list[tuple[datetime, datetime]]:
    """The grant periods within a paid period: contiguous, first start and last end as paid."""
    if paid.kind == "trial" or paid.interval == "month":
        return [(paid.period_start, paid.period_end)]
    found: list[tuple[datetime, datetime]] = []
    start, count = paid.period_start, 0
    while start < paid.period_end:
        end = min(period(paid.period_start, "month", count)[1], paid.period_end)
        found.append((start, end))
        start, count = end, count + 1
    return found


def cause_key(subscription_stripe_id: str, kind: str, start: datetime) -> str:
    return f"period:{subscription_stripe_id}:{kind}:{int(start.timestamp())}"
