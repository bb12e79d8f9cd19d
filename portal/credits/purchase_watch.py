"""What may need an auto-purchase without a spend: credits that expired, a limit that is over, another card, a new rule."""

from __future__ import annotations

from portal.core.database import send
from portal.core.statements import Statement
from portal.credits import auto_purchase

# Rules whose day or month is over. They go on at once, so none of them is found twice.
CAPPED = Statement(
    "select team_id from auto_purchase_rules where enabled and paused_at is null and state = 'capped'"
    " and capped_until <= app_now() and team_id > :after order by team_id limit :limit"
)
# Those that were stopped for their card (not `waits_for_person`): whether it is another one is looked up for each of them.
# Many wait for ever.
STOPPED = Statement(
    "select team_id from auto_purchase_rules where enabled and paused_at is null and state = 'stopped'"
    " and (stopped_fingerprint is not null or reason = 'no_card') and team_id > :after order by team_id limit :limit"
)

# As `Book.counted` has it, of what is posted: the starts and expiries that are due are posted by another task.
LOW = Statement(
    "select a.team_id from auto_purchase_rules r join credit_accounts a on a.team_id = r.team_id"
    " join team_standing st on st.team_id = r.team_id"
    " where r.enabled and r.team_id > :after and not st.credits_frozen and a.purchase_below is not null and a.purchase_below > case"
    "  when a.purchase_counts = 'total' then a.available - a.debt"
    "  else (select coalesce(sum(g.remaining - g.held - g.frozen), 0) from credit_grants g where g.team_id = a.team_id and g.state = 'live'"
    "   and (g.kind = 'subscription' or g.cause_key like 'auto:%')) - a.debt end"
    " order by r.team_id limit :limit"
)


def capped_rules(limit: int, after: str) -> list[str]:
    """Up to so many teams whose rule waited for time to pass, by their ids after `after`."""
    return [row.team_id for row in send(CAPPED, limit=limit, after=after)]


def stopped_rules(limit: int, after: str) -> list[str]:
    """Up to so many teams whose rule waits for another card, by their ids after `after`."""
    return [row.team_id for row in send(STOPPED, limit=limit, after=after)]


def low_teams(limit: int, after: str) -> list[str]:
    """Up to so many teams that have fewer credits than their threshold, and no purchase under way, after `after`."""
    return [row.team_id for row in send(LOW, limit=limit, after=after)]


def look_at_balance(team_id: str) -> bool:
    """Begin a purchase if it is needed, in the current unit; whether one was begun."""
    return auto_purchase.intend_if_low(team_id)
