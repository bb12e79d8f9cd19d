"""The time that a report of use has at Stripe: within the period in which the use is to be billed.

Use of the period under way is dated when it is reported. So what was used before and after a change of plan in the middle of a
day is all billed, whatever was reported by then: at the old price what had been reported, at the new one the rest. Use of a
period that is over is dated at the end of its day within that period. At Stripe the invoice stays a draft for about an hour,
in which such reports still come onto it; use is reported twice an hour, and so twice within that. What comes later is counted
there all the same, and nobody is charged for it. What was used while nothing counted it is dated at the end of its day too.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

SECOND, DAY = timedelta(seconds=1), timedelta(days=1)


@dataclass(frozen=True)
class BillingPeriod:
    """The newest period that Stripe bills a team's use of a meter in, as our mirror knows it. `trial`: nothing is charged.

    `began` is when its subscription did, `earlier_until` when the one before it stopped counting; None where there was none.
    """

    start: datetime
    end: datetime
    subscription_stripe_id: str
    trial: bool
    began: datetime
    earlier_until: datetime | None = None

    def was_counted(self, starts_at: datetime, closes_at: datetime) -> bool:
        """Whether a subscription was there for the day's total of `starts_at`, whose period ended at `closes_at`."""
        of_earlier = self.earlier_until is not None and starts_at < self.earlier_until
        return closes_at > self.began or of_earlier


@dataclass(frozen=True)
class Dated:
    """`closes_at` is when the period ended whose invoice is to have it; None for the period under way, or for none at all."""

    at: datetime
    closes_at: datetime | None


def date_of(starts_at: datetime, now: datetime, period: BillingPeriod | None) -> Dated:
    """The time of what is reported `now` of the day's total that begins at `starts_at`; in whole seconds, not before that."""
    whole = now.replace(microsecond=0)
    closes_at = _closed(starts_at, now, period)
    if closes_at is None and period is not None:
        return Dated(max(whole, starts_at), None)
    # Where we know of no period, Stripe may have begun one a moment ago: what was used on days before is none of it.
    last = min(_midnight_after(starts_at), closes_at or whole + DAY) - SECOND
    return Dated(max(min(last, whole), starts_at), closes_at)


def _closed(starts_at: datetime, now: datetime, period: BillingPeriod | None) -> datetime | None:
    """When the period of a day's total ended, at the latest: where it lies before the one that we know."""
    if period is None:
        return None
    if starts_at < period.start:
        return period.start
    return period.end if starts_at < period.end <= now else None


def _midnight_after(moment: datetime) -> datetime:
    return datetime.combine(moment.astimezone(UTC).date(), time(), UTC) + DAY
