"""Proof of the ledger's invariants from its rows, trusting no running total: each is one query for its violations.

What a writer enforces is proved here a second time on the way back: the account's balance from the entries, the debt
from what reversals could not take and grants repaid, the rest of each lot from its consumptions, the spending order
from what every lot held at every version.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import text

from portal.core.database import db
from portal.credits.invariants import INVARIANTS, VIEWS, Invariant

# The proof reads every entry there is; the limit for a page's queries is not for it.
STATEMENT_LIMIT = text("set local statement_timeout = '30min'")

DETAILS_MAX = 20


@dataclass(frozen=True)
class Violation:
    """`team_id` is None for what concerns the tables and not one account."""

    team_id: str | None
    detail: str


@dataclass(frozen=True)
class Finding:
    """The result for one invariant: how often it is violated, and the first of those violations."""

    invariant: Invariant
    violations: int
    details: list[Violation]


def verify(team_id: str | None = None) -> list[Finding]:
    """Check every invariant over all accounts, or over one team's, in the current transaction; changes nothing."""
    db.session.execute(STATEMENT_LIMIT)
    return [_check(invariant, team_id) for invariant in INVARIANTS]


def _check(invariant: Invariant, team_id: str | None) -> Finding:
    """One statement, so that an invariant is judged on one instant even while others write."""
    counted = f"select *, count(*) over () as total from ({invariant.query}) found limit {DETAILS_MAX}"  # noqa: S608 - constants
    query = text(VIEWS + counted)
    rows = db.session.execute(query, {"team_id": team_id}).all()
    details = [Violation(row.team_id, row.detail) for row in rows]
    return Finding(invariant, rows[0].total if rows else 0, details)
