"""What a plan includes of metered meters in one of its months, and what counts against that.

It is what metering refuses by, what Stripe bills by and what notices tell (`thresholds.py`): of a meter of which more is sold
on top, the use at the subscription's own price from the last change of plan on (`settled.py`); of any other, all of the month.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select

from portal.billing.entitlements import MeterRight, effective, meters_of
from portal.billing.models import LIVE_STATUSES, Subscription, SubscriptionItem
from portal.catalog.metered_queries import metered_prices
from portal.catalog.queries import free_plan
from portal.core.database import db, send
from portal.core.statements import Row, Statement
from portal.usage.chosen_period import UsagePeriod
from portal.usage.forecast import Forecast
from portal.usage.overage import Overage
from portal.usage.settled import NOT_SETTLED, Settled, settled

# The subscription that had the team's place then, with the plan that its state left in force.
PLAN_THEN = Statement(
    "select last.subscription_stripe_id, p.id as plan_id, p.key as plan_key from ("
    "   select distinct on (h.subscription_stripe_id) h.* from plan_history h"
    "   where h.team_id = :team_id and h.at < :until and not h.duplicate order by h.subscription_stripe_id, h.id desc"
    " ) last"
    " join plans p on p.key = last.plan_key"
    " join plan_access pa on pa.plan_id = p.id and pa.status = last.status and pa.access in ('full', 'read_only')"
    " where last.status = any(cast(:live as text[])) order by last.id desc limit 1"
)


@dataclass(frozen=True)
class Included:
    """Of a meter: what is included, what counts against it, and what does not since it was `settled` before.

    `more_allowed`: more than that is charged on top, else refused. `ahead` is where it leads to, if that is known already.
    """

    included: int
    counted: int
    more_allowed: bool
    settled: Settled = NOT_SETTLED
    ahead: Forecast | None = None


def included_in(
    team_id: str, period: UsagePeriod, used: Mapping[str, int], sold: Sequence[Overage]
) -> dict[str, Included]:
    """By metered meter, for a month of the plan: the one under way, of which `sold` are the overages, or the last one.

    `used` are the units of the whole month by meter. Of any other time nothing can be said.
    """
    if period.choice == "this":
        return _now(team_id, used, sold)
    return _then(team_id, period, used) if period.choice == "last" else {}


def _now(team_id: str, used: Mapping[str, int], sold: Sequence[Overage]) -> dict[str, Included]:
    rights = effective(team_id)
    # A paused plan's price may still be there while another plan is in force.
    plan_key = rights.plan.key if rights.plan else None
    counted = {one.price.meter_key: one for one in sold if one.price.plan_key == plan_key}
    found: dict[str, Included] = {}
    for right in _metered(rights.meters):
        one = counted.get(right.key) if right.more_allowed else None
        found[right.key] = (
            Included(one.price.included, one.used, more_allowed=True, settled=one.settled, ahead=one.ahead)
            if one
            else Included(right.included or 0, used.get(right.key, 0), right.more_allowed)
        )
    return found


def _then(team_id: str, period: UsagePeriod, used: Mapping[str, int]) -> dict[str, Included]:
    rows = send(PLAN_THEN, team_id=team_id, until=period.until, live=list(LIVE_STATUSES))
    plan = rows[0] if rows else None
    free = free_plan() if plan is None else None
    prices = _prices_of(plan) if plan else {}
    found: dict[str, Included] = {}
    for right in _metered(meters_of(plan.plan_id if plan else free.id if free else None)):
        quantity, paid = used.get(right.key, 0), NOT_SETTLED
        if plan and right.more_allowed:
            spell = (plan.subscription_stripe_id, plan.plan_key, right.key, period.since, period.until)
            paid = settled(team_id, *spell)
        included = prices.get(right.key, right.included or 0)
        found[right.key] = Included(included, paid.rest_of(quantity), right.more_allowed, paid)
    return found


def _metered(rights: Sequence[MeterRight]) -> list[MeterRight]:
    return [right for right in rights if right.mode == "metered"]


def _prices_of(plan: Row) -> dict[str, int]:
    """What the subscription's own prices include, while it still has the plan; the catalog may say something else by now."""
    query = (
        select(SubscriptionItem.stripe_price_id)
        .join(Subscription, Subscription.id == SubscriptionItem.subscription_id)
        .where(Subscription.stripe_id == plan.subscription_stripe_id)
    )
    prices = metered_prices(list(db.session.execute(query).scalars()))
    return {price.meter_key: price.included for price in prices if price.plan_key == plan.plan_key}
