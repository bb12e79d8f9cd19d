"""From when on metered use is counted against what a plan includes.

A change of plan within the period settles what was used until then on its own invoice, so the rest of the period begins from
nothing, with all that the new plan includes (`billing/catalog_sync.py` says why).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from portal.core.database import send
from portal.core.statements import Statement

# Of a `spell`: a team's use of a meter within a period of a subscription (`team_id`, `subscription_stripe_id`, `plan_key`,
# `meter`, `starts`, `ends`). `settled.at` is null where the plan was the same from the start.
# A change of status has its row in the history as well: of those with the plan the first counts, however old it is. We hear of
# a change after the instant that its invoice was worked out for, until which that bills what was used.
SETTLED = (
    " cross join lateral ("
    "   select min(h.at) as at from plan_history h where h.team_id = spell.team_id and h.at < spell.ends"
    "   and h.subscription_stripe_id = spell.subscription_stripe_id and h.plan_key = spell.plan_key and h.at > ("
    "     select max(o.at) from plan_history o where o.team_id = spell.team_id and o.at < spell.ends"
    "     and o.subscription_stripe_id = spell.subscription_stripe_id and o.plan_key <> spell.plan_key)"
    " ) heard"
    " cross join lateral ("
    "   select case when heard.at >= spell.starts then coalesce(("
    "     select max(c.since) from paid_changes c where c.subscription_stripe_id = spell.subscription_stripe_id"
    "     and c.plan_key = spell.plan_key and c.since between spell.starts and heard.at), heard.at) end as at"
    " ) changed"
    " cross join lateral ("
    "   select changed.at, case when changed.at is not null then heard.at end as heard_at,"
    "   case when changed.at is null then 0 else ("
    "     select cast(coalesce(sum(r.quantity), 0) as bigint) from meter_reports r where r.team_id = spell.team_id"
    "     and r.meter = spell.meter and r.dated_at >= spell.starts and r.dated_at < changed.at) end as quantity"
    " ) settled"
)
OF_ONE = Statement(
    "select settled.at, settled.quantity from (select cast(:team_id as text) as team_id, cast(:meter as text) as meter,"  # noqa: S608  all of it is ours
    " cast(:subscription as text) as subscription_stripe_id, cast(:plan_key as text) as plan_key,"
    f" cast(:starts as timestamptz) as starts, cast(:ends as timestamptz) as ends) spell{SETTLED}"
)


@dataclass(frozen=True)
class Settled:
    """What was billed with the change of plan `at` that time; None where there was no change within the period."""

    quantity: int
    at: datetime | None

    def rest_of(self, used: int) -> int:
        """What counts of the period's use: reports of it may be ahead of the totals by a moment."""
        return max(used - self.quantity, 0)


NOT_SETTLED = Settled(0, None)


def settled(
    team_id: str, subscription_stripe_id: str, plan_key: str, meter: str, since: datetime, until: datetime
) -> Settled:
    """What of the period was reported before the plan became the one it was at the end: it was billed with the change."""
    row = send(
        OF_ONE,
        team_id=team_id,
        subscription=subscription_stripe_id,
        plan_key=plan_key,
        meter=meter,
        starts=since,
        ends=until,
    )[0]
    return Settled(row.quantity, row.at)
