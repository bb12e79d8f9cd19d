"""Telling that what a plan includes of a meter is nearly used: each of 75, 90 and 100 % once in a month of the plan, and again
after a change of plan, with which the count begins anew. Of what is sold on top nothing is told in a trial, in which use is
neither charged nor refused.
"""

from __future__ import annotations

from dataclasses import dataclass

from portal.billing.billing_mail import tell
from portal.core.addresses import own_address
from portal.core.database import send
from portal.core.statements import Row, Statement
from portal.credits.told import PERCENTS, newly_reached, news_of
from portal.notifications import messages
from portal.usage.settled import SETTLED

# Meters of which the plan in force includes some, with what counts against it, as the usage page and the bill have it: what is
# sold on top is counted at the subscription's own price, and from a change of plan on; what is not, as metering refuses it.
_COUNTED = (
    " from used"  # noqa: S608  all of it is ours
    " join meters m on m.key = used.meter and m.mode = 'metered'"
    " join team_standing st on st.team_id = used.team_id"
    " join plan_meters pm on pm.plan_id = st.plan_id and pm.meter_id = m.id"
    " left join lateral ("
    "   select i.current_period_start as starts, i.current_period_end as ends, s.stripe_id, p.key as plan_key,"
    "     price.included from subscriptions s join subscription_items i on i.subscription_id = s.id"
    "   join prices price on price.stripe_price_id = i.stripe_price_id and price.meter_id = m.id"
    "   join plans p on p.id = price.plan_id"
    "   where s.id = st.subscription_id and st.status <> 'canceled' and p.id = st.plan_id"
    "   and pm.overage_per_1000_cents > 0 limit 1"
    " ) sold on true"
    " cross join lateral usage_month_of(used.team_id, app_now()) month"
    " cross join lateral ("
    "   select used.team_id, m.key as meter, sold.stripe_id as subscription_stripe_id, sold.plan_key,"
    "     case when sold.ends > app_now() then sold.starts else month.starts end as starts,"
    "     case when sold.ends > app_now() then sold.ends else month.ends end as ends,"
    "     coalesce(sold.included, pm.included) as included, coalesce(pm.overage_per_1000_cents, 0) > 0 as more"
    " ) spell"
    f"{SETTLED}"
    " cross join lateral ("
    "   select greatest(cast(coalesce(sum(d.quantity), 0) as bigint) - settled.quantity, 0) as quantity from usage_daily d"
    "   where d.team_id = spell.team_id and d.meter = spell.meter"
    "   and d.starts_at >= spell.starts and d.starts_at < spell.ends"
    " ) counted"
    " cross join lateral ("
    "   select max(percent) as percent from unnest(cast(:percents as integer[])) percent"
    "   where spell.included > 0 and counted.quantity * 100 >= percent * spell.included"
    " ) reached"
    " where reached.percent is not null and (not spell.more or st.status is distinct from 'trialing')"
)
_FOUND = (
    " select spell.team_id, spell.meter, m.name, spell.included, spell.more, counted.quantity,"
    " cast(floor(extract(epoch from coalesce(settled.heard_at, spell.starts))) as bigint) as began"
)
# Of all teams, those that were not told of it. A change of plan begins anew, as its allowance does.
REACHED = Statement(
    "with used as (select distinct team_id, meter from usage_daily where starts_at > app_now() - interval '32 days')"  # noqa: S608  all of it is ours
    f"{_FOUND}{_COUNTED} and not exists (select from threshold_notices t where t.team_id = spell.team_id and t.fact ="
    " 'included:' || spell.meter || ':' || cast(floor(extract(epoch from coalesce(settled.heard_at, spell.starts))) as bigint)"
    " || ':' || reached.percent)"
    " limit :limit"
)
OF_TEAM = Statement(
    "with used as (select cast(:team_id as text) as team_id, key as meter from meters where archived_at is null)"  # noqa: S608  all of it is ours
    f"{_FOUND}{_COUNTED} order by counted.quantity::numeric / spell.included desc, m.position, m.key limit 1"
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
    """Who has reached a threshold and was not told of it."""
    return [_reached(row) for row in send(REACHED, percents=list(PERCENTS), limit=limit)]


def fullest(team_id: str, percent: int) -> Reached | None:
    """The meter of which the largest part of what is included is used, if that is at least so many percent."""
    found = send(OF_TEAM, team_id=team_id, percents=[percent])
    return _reached(found[0]) if found else None


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
    fact = f"included:{row.meter}:{row.began}"
    return Reached(row.team_id, fact, row.name, row.quantity, row.included, row.more)
