"""Telling that credits run low: a month's plan credits, what is left in all, bundles that end.

The schedule looks, and only at accounts in which something has happened since it last did; a spend does nothing for it.
What was told is kept under keys that name month, refill or lot, so that looking twice tells once, and a new month begins
anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from portal.billing.billing_mail import team_zone, tell
from portal.core.addresses import own_address
from portal.core.database import send
from portal.core.statements import Statement
from portal.core.times import moment_words
from portal.credits.daily import FEW
from portal.credits.queries import Grant, Summary, summary
from portal.credits.told import mark_told, newly_reached, news_of
from portal.notifications import messages

# A tenth of what was given last is hardly anything.
LOW_PART = 10
EXPIRING_DAYS = 7
# From so many percent on that are used, pages say so too.
PAGE_PERCENT = 90

MOVED = Statement(
    "select a.team_id from credit_accounts a left join credit_progress p on p.team_id = a.team_id"
    " where a.version > coalesce(p.looked_version, 0) and a.team_id > :after order by a.team_id limit :limit"
)
BEGIN = Statement("insert into credit_progress (team_id) values (:team_id) on conflict do nothing")
LOOKED = Statement(
    "update credit_progress p set looked_version = a.version from credit_accounts a"
    " where p.team_id = :team_id and a.team_id = p.team_id returning a.version"
)
LAST_ADDED = Statement(
    f"{FEW} select version, amount from few where amount > 0 order by version desc limit 1"  # noqa: S608  all of it is ours
)
# What an order will take back of a lot whose start is due counts as well: the summary has it posted already. Should this see
# more than the summary did, less is told as used, and the account is looked at again, since it has moved.
TAKEN_BACK = Statement(
    f"{FEW} select cast(coalesce(sum(taken), 0) as bigint) as amount from ("  # noqa: S608  all of it is ours
    "  select c.amount as taken from few e join credit_consumptions c on c.entry_id = e.id"
    "  join credit_grants g on g.team_id = :team_id and g.id = c.grant_id"
    "  where e.kind = 'reversed' and g.cause_key = any(cast(:causes as text[]))"
    "  union all select r.amount from credit_reversals r"
    "  join credit_grants g on g.team_id = r.team_id and g.id = r.grant_id"
    "  where r.team_id = :team_id and g.state = 'waiting' and g.cause_key = any(cast(:causes as text[]))"
    ") gone"
)
ENDING = Statement(
    "select g.id, g.team_id, g.remaining, g.source, g.kind, g.expires_at from credit_grants g"
    " where g.state = 'live' and g.kind <> 'subscription' and g.expires_at > app_now()"
    " and g.expires_at <= app_now() + make_interval(days => :days)"
    " and not exists (select from threshold_notices t where t.team_id = g.team_id and t.fact = 'expiring:' || g.id)"
    " order by g.expires_at limit :limit"
)


def moved(limit: int, after: str = "") -> list[str]:
    """Teams in whose account something has happened since their thresholds were looked at, by their ids after `after`."""
    return [row.team_id for row in send(MOVED, limit=limit, after=after)]


def look_at(team_id: str) -> int:
    """Tell what this team has to be told now, in the current unit; returns how many messages that were."""
    send(BEGIN, team_id=team_id)
    # Taken before the account is read, so that what happens meanwhile is looked at once more.
    send(LOOKED, team_id=team_id)
    found = summary(team_id)
    next_at = moment_words(found.next_reset_at, team_zone(team_id)) if found.next_reset_at else ""
    told = _tell_of_plan(team_id, found, next_at)
    return told or _tell_of_low(team_id, found, next_at)


def ending_lots(limit: int) -> list[tuple[str, int, int, str, datetime]]:
    """Bundles and gifts that end within days, not told of: team, lot, what is left of it, its name, its end."""
    return [
        (row.team_id, row.id, row.remaining, row.source or row.kind, row.expires_at)
        for row in send(ENDING, days=EXPIRING_DAYS, limit=limit)
    ]


def tell_of_ending(team_id: str, grant_id: int, remaining: int, source: str, expires_at: datetime) -> int:
    if not mark_told(team_id, [f"expiring:{grant_id}"]):
        return 0
    ends, link = moment_words(expires_at, team_zone(team_id)), _page_of(team_id)
    amount = f"{remaining:,}"
    tell(
        team_id,
        f"credits_expiring:{grant_id}",
        lambda to: messages.credits_expiring(to, amount=amount, source=source, ends=ends, link=link),
    )
    return 1


def plan_lots(found: Summary) -> list[Grant]:
    """The plan's grants of the month under way; after a change of plan there may be several."""
    live = [grant for grant in found.grants if grant.live and grant.kind == "subscription"]
    last = max((grant.expires_at for grant in live if grant.expires_at), default=None)
    return [grant for grant in live if grant.expires_at == last]


def taken_back(team_id: str, lots: Sequence[Grant]) -> int:
    """How many credits refunds and lost disputes have taken of these lots, for their own payment or in place of others."""
    return int(send(TAKEN_BACK, team_id=team_id, causes=[lot.cause_key for lot in lots])[0].amount)


def is_low(found: Summary, last_added: int) -> bool:
    """Whether hardly anything is left in all, measured by what the plan gives a month, else by what was given last."""
    month = sum(grant.amount for grant in plan_lots(found)) or last_added
    return found.available * LOW_PART < month


def _tell_of_plan(team_id: str, found: Summary, next_at: str) -> int:
    lots = plan_lots(found)
    if not lots or lots[0].expires_at is None:
        return 0
    granted = sum(grant.amount for grant in lots)
    used = granted - sum(grant.remaining for grant in lots)
    # Nobody has used what a refund took back, and it cannot be used any more.
    gone = taken_back(team_id, lots)
    granted, used = granted - gone, used - gone
    fact = f"plan_credits:{int(lots[0].expires_at.timestamp())}"
    percent = newly_reached(team_id, fact, used, granted)
    if percent is None:
        return 0
    link = _page_of(team_id)
    tell(
        team_id,
        news_of(team_id, f"{fact}:{percent}"),
        lambda to: messages.credits_threshold(
            to,
            percent=percent,
            used=f"{used:,}",
            granted=f"{granted:,}",
            available=f"{found.available:,}",
            next_at=next_at,
            link=link,
        ),
    )
    return 1


def _tell_of_low(team_id: str, found: Summary, next_at: str) -> int:
    """Once until credits are added again. While plan credits are left, their own thresholds tell enough."""
    added = send(LAST_ADDED, team_id=team_id)
    if found.plan_left or not added or not is_low(found, added[0].amount):
        return 0
    if not mark_told(team_id, [f"low:{added[0].version}"]):
        return 0
    link = _page_of(team_id)
    available = f"{found.available:,}"
    tell(
        team_id,
        news_of(team_id, f"credits_low:{added[0].version}"),
        lambda to: messages.credits_low(to, available=available, next_at=next_at, link=link),
    )
    return 1


def _page_of(team_id: str) -> str:
    return own_address("credits.credits", team_id=team_id)


def state_of(team_id: str, found: Summary) -> tuple[str, str, str] | None:
    """What a page says of it above everything else: its tone, its title and what it means; None while all is well."""
    if not found.grants and not found.debt:
        return None
    if not found.available:
        return "bad", "No credits are left", "What costs credits is refused until there are more. Nothing was lost."
    if is_low(found, max((grant.amount for grant in found.grants if grant.live), default=0)) and not found.plan_left:
        words = f"Only {found.available:,} credits are left"
        return "warn", words, "What costs more than is left is refused until there are more."
    lots = plan_lots(found)
    if lots and not found.plan_left:
        words = f"{found.available:,} others are left, which are used from now on."
        return "info", "The plan credits of this month are used up", words
    return _nearly_used(team_id, found, lots)


def _nearly_used(team_id: str, found: Summary, lots: Sequence[Grant]) -> tuple[str, str, str] | None:
    """The plan's credits of the month; what a refund took back counts as little as it does for whoever is told by mail."""
    granted, left = sum(grant.amount for grant in lots), sum(grant.remaining for grant in lots)
    if (granted - left) * 100 < PAGE_PERCENT * granted:
        return None
    granted -= taken_back(team_id, lots)
    if (granted - left) * 100 < PAGE_PERCENT * granted:
        return None
    others = found.available - found.plan_left
    title = f"{left:,} of {granted:,} plan credits of this month are left"
    if others > 0:
        return "info", title, f"{others:,} others can be used beside them."
    return "warn", title, "What costs more than is left is refused until there are more."
