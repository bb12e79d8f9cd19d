"""Telling that what a plan includes of a meter is nearly used: each of 75, 90 and 100 % once in a month of the plan."""

from __future__ import annotations

from dataclasses import dataclass

from portal.billing.billing_mail import tell
from portal.core.addresses import own_address
from portal.core.database import send
from portal.core.statements import Row, Statement
from portal.credits.told import PERCENTS, newly_reached, news_of
from portal.notifications import messages

# Teams that have reached a threshold of theirs that they were not told of.
REACHED = Statement(
    "select used.team_id, m.key, m.name, pm.included, month.starts, coalesce(pm.overage_per_1000_cents, 0) > 0 as more,"
    " month_used.quantity"
    " from (select distinct team_id, meter from usage_daily where starts_at > app_now() - interval '32 days') used"
    " join meters m on m.key = used.meter and m.mode = 'metered'"
    " join team_standing st on st.team_id = used.team_id"
    " join plan_meters pm on pm.plan_id = st.plan_id and pm.meter_id = m.id and pm.included > 0"
    " cross join lateral usage_month_of(used.team_id, app_now()) month"
    " cross join lateral ("
    "   select cast(coalesce(sum(d.quantity), 0) as bigint) as quantity from usage_daily d"
    "   where d.team_id = used.team_id and d.meter = used.meter"
    "   and d.starts_at >= month.starts and d.starts_at < month.ends"
    " ) month_used"
    " cross join lateral ("
    "   select max(percent) as percent from unnest(cast(:percents as integer[])) percent"
    "   where month_used.quantity * 100 >= percent * pm.included"
    " ) reached"
    " where reached.percent is not null and not exists (select from threshold_notices t where t.team_id = used.team_id"
    "   and t.fact = 'included:' || m.key || ':' || cast(extract(epoch from month.starts) as bigint) || ':' || reached.percent)"
    " limit :limit"
)


@dataclass(frozen=True)
class Reached:
    team_id: str
    fact: str
    meter: str
    quantity: int
    included: int
    more_allowed: bool


def reached(limit: int) -> list[Reached]:
    return [_reached(row) for row in send(REACHED, percents=list(PERCENTS), limit=limit)]


def tell_of_included(found: Reached) -> int:
    """Tell of one, in the current unit, unless somebody did meanwhile."""
    percent = newly_reached(found.team_id, found.fact, found.quantity, found.included)
    if percent is None:
        return 0
    link = own_address("usage.usage", team_id=found.team_id)
    tell(
        found.team_id,
        news_of(found.team_id, f"{found.fact}:{percent}"),
        lambda to: messages.included_threshold(
            to,
            percent=percent,
            meter=found.meter,
            used=f"{found.quantity:,}",
            included=f"{found.included:,}",
            more_allowed=found.more_allowed,
            link=link,
        ),
    )
    return 1


def _reached(row: Row) -> Reached:
    fact = f"included:{row.key}:{int(row.starts.timestamp())}"
    return Reached(row.team_id, fact, row.name, row.quantity, row.included, row.more)
