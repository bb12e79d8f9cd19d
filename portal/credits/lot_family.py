"""A lot that a payment bought, together with what was given back of it later: an undone refund, a dispute that was won."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from portal.core import clock
from portal.core.database import send
from portal.core.statements import Row, Statement
from portal.credits import ledger
from portal.credits.book import THAWED_AT_END
from portal.credits.bought import Lot

GIVEN_BACK_FOR_AT_LEAST = timedelta(days=31)

# What begins the cause of a grant that gives back what a claim has taken, and what ended while it was frozen.
RETURNED = ("refund_failed:", "dispute_returned:")
ENDED_FROZEN = "dispute_won:"

_CLAIMS = "(cause_key like 'refund:%' or cause_key like 'dispute:%')"

# Of each: what was ordered back by anybody, what by claims (`undone`), and what claims have really taken so far, since what
# has expired is not taken. An order for a grant that waits for its start will be. `ended_frozen` was frozen when the lot
# ended, less what repaid debt in that moment.
FAMILY = Statement(
    "select g.cause_key, g.kind, g.source, g.amount, g.remaining, g.held, g.frozen, g.effective_at, g.expires_at, g.state,"  # noqa: S608  all of it is ours
    " (select cast(coalesce(sum(r.amount), 0) as bigint) from credit_reversals r"
    "   where r.team_id = g.team_id and r.grant_id = g.id) as ordered,"
    " (select cast(coalesce(sum(r.amount), 0) as bigint) from credit_reversals r"
    f"  where r.team_id = g.team_id and r.grant_id = g.id and {_CLAIMS}) as undone,"
    " (select cast(coalesce(-sum(e.amount), 0) as bigint) from credit_entries e"
    f"  where e.team_id = g.team_id and e.grant_id = g.id and e.kind = 'reversed' and {_CLAIMS}) as taken,"
    " (select cast(coalesce(-sum(e.amount), 0) as bigint) from credit_entries e"
    "   where e.team_id = g.team_id and e.grant_id = g.id and e.kind = 'expired') as expired,"
    " (select cast(coalesce(sum(f.amount), 0) as bigint) from credit_freezes f"
    "   where f.team_id = g.team_id and f.grant_id = g.id) as to_freeze,"
    " (select count(*) from credit_freezes f where f.team_id = g.team_id and f.grant_id = g.id) as freezes,"
    " (select cast(coalesce(sum(e.amount - coalesce(c.amount, 0)), 0) as bigint) from credit_entries e"
    "   left join credit_consumptions c on c.entry_id = e.id"
    "   where e.team_id = g.team_id and e.cause_key = :thawed_at_end || g.id) as ended_frozen"
    " from credit_grants g where g.team_id = :team_id"
    " and (g.cause_key = :lot or (g.kind = 'adjustment' and (g.cause_key like 'refund_failed:%'"
    "   or g.cause_key like 'dispute_returned:%' or g.cause_key like 'dispute_won:%')"
    "   and right(g.cause_key, length(:lot) + 1) = ':' || :lot))"
    " order by g.id"
)


def family_of(team_id: str, lot: Lot) -> Sequence[Row]:
    """The lot's row, then those of what was given back of it; nothing while it is not granted."""
    return send(FAMILY, team_id=team_id, lot=lot.cause_key, thawed_at_end=THAWED_AT_END)


def give_to_family(team_id: str, lot: Lot, family: Sequence[Row], amount: int, cause: str, why: str) -> None:
    """Give `amount` back, if there is anything, for as long as the lot lasts and at least a month."""
    if amount <= 0:
        return
    now, original = clock.now(), family[0]
    ledger.grant(
        team_id,
        kind="adjustment",
        amount=amount,
        cause_key=f"{cause}:{lot.cause_key}",
        source=f"{original.source}, {why}",
        effective_at=max(now, original.effective_at),
        expires_at=_end(now, original.expires_at),
    )


def _end(now: datetime, expires_at: datetime | None) -> datetime | None:
    return None if expires_at is None else max(expires_at, now + GIVEN_BACK_FOR_AT_LEAST)
