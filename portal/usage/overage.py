"""What a team's metered use costs beyond what its plan includes: so far in the period, and by its end as it looks now.

It is worked out as Stripe will: by the price that the subscription has, from the use that is counted at that price
(`settled.py` says from when on). The use of a trial is free.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import func, select

from portal.billing.models import Subscription, SubscriptionItem
from portal.billing.subscriptions import live_subscription
from portal.catalog.metered_queries import MeteredPrice, metered_prices
from portal.core import clock
from portal.core.database import db
from portal.core.estimates import last_full_days
from portal.usage.forecast import Forecast, forecast
from portal.usage.models import UsageDay
from portal.usage.periods import month_beside
from portal.usage.settled import Settled, settled


@dataclass(frozen=True)
class Overage:
    """Of one meter, from `since` until `until`. `used` units are counted at `price`, without those that are `settled`; `over`
    of them lie beyond what is included and cost `cents` so far. `ahead` is what the units will come to; None where there is
    too little to go by. The cents of its range are `cents_low`, `cents_likely` and `cents_high`, all before tax. Nothing is
    charged in a `trial`.
    """

    price: MeteredPrice
    since: datetime
    until: datetime
    used: int
    settled: Settled
    trial: bool
    ahead: Forecast | None

    @property
    def over(self) -> int:
        return max(self.used - self.price.included, 0)

    @property
    def cents(self) -> int:
        return self._cents(self.used)

    @property
    def cents_low(self) -> int:
        return self._cents(self.ahead.low if self.ahead else self.used)

    @property
    def cents_likely(self) -> int:
        return self._cents(self.ahead.total if self.ahead else self.used)

    @property
    def cents_high(self) -> int:
        return self._cents(self.ahead.high if self.ahead else self.used)

    def _cents(self, units: int) -> int:
        return 0 if self.trial else self.price.overage_cents(units)


def overages(team_id: str) -> list[Overage]:
    """Of every meter that the team's subscription is billed for, in the catalog's order; empty where there is none."""
    subscription = live_subscription(team_id)
    if subscription is None:
        return []
    now = clock.now()
    query = select(SubscriptionItem).where(SubscriptionItem.subscription_id == subscription.id)
    items = {item.stripe_price_id: item for item in db.session.execute(query).scalars()}
    return [_of(subscription, items[price.stripe_price_id or ""], price, now) for price in metered_prices(list(items))]


def _of(subscription: Subscription, item: SubscriptionItem, price: MeteredPrice, now: datetime) -> Overage:
    since, until = item.current_period_start, item.current_period_end
    if until <= now:  # of the next period we have not heard yet
        since, until = month_beside(since, until, now)
    days = _days(subscription.team_id, price.meter_key, since, until)
    paid = settled(subscription.team_id, subscription.stripe_id, price.plan_key, price.meter_key, since, until)
    used = paid.rest_of(sum(days.values()))
    return Overage(
        price=price,
        since=since,
        until=until,
        used=used,
        settled=paid,
        trial=subscription.status == "trialing",
        ahead=forecast(last_full_days(days, now), used, now, until),
    )


def _days(team_id: str, meter: str, since: datetime, until: datetime) -> dict[date, int]:
    day = func.date(func.timezone("UTC", UsageDay.starts_at))
    query = (
        select(day, func.sum(UsageDay.quantity))
        .where(UsageDay.team_id == team_id, UsageDay.meter == meter)
        .where(UsageDay.starts_at >= since, UsageDay.starts_at < until)
        .group_by(day)
    )
    return {on: int(quantity) for on, quantity in db.session.execute(query)}
