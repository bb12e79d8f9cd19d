"""For how long the present credits last, if they go on to be spent as on the last full days."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from portal.core import clock
from portal.core.estimates import SAMPLE_DAYS, last_full_days, mean_of, whole_of
from portal.credits.daily import spent_lately
from portal.credits.queries import Grant, Summary

DAYS_MAX = 365


@dataclass(frozen=True)
class Lasting:
    """About `days` days at `per_day` credits, the mean of so many full days. `long`: for longer than can be foreseen.

    `past_reset`: the next plan credits come before that.
    """

    days: int
    per_day: int
    sample_days: int
    until: datetime
    long: bool
    past_reset: bool


def lasting(team_id: str, present: Summary) -> Lasting | None:
    """None where there is nothing to go by: too few days, or none with any use."""
    now = clock.now()
    days = last_full_days(spent_lately(team_id, SAMPLE_DAYS), now)
    if not any(days) or not present.available:
        return None
    per_day = mean_of(days)
    until = runs_out_at(present.grants, per_day, now)
    left = (until - now).days
    return Lasting(
        days=min(left, DAYS_MAX),
        per_day=max(whole_of(per_day), 1),
        sample_days=len(days),
        until=until,
        long=left >= DAYS_MAX,
        past_reset=present.next_reset_at is not None and until > present.next_reset_at,
    )


def runs_out_at(grants: Sequence[Grant], per_day: Decimal, now: datetime) -> datetime:
    """When nothing is left of what can be spent now, each grant until its end. `grants` in the order they are spent.

    What is held or frozen of a grant is nobody's to spend. What begins later is not counted.
    """
    at, end = now, now + timedelta(days=DAYS_MAX)
    for grant in grants:
        if not grant.live:
            continue
        last = min(grant.expires_at or end, end)
        if last <= at:
            continue
        lasts = timedelta(seconds=int(grant.spendable / per_day * 24 * 3600))
        at = min(at + lasts, last)
    return at
