"""The nightly proof of the ledger: all invariants over all accounts, and what they came to for those who cannot wait."""

from __future__ import annotations

from sqlalchemy import text

from portal.core import readings
from portal.core.alarms import raise_alarm
from portal.core.database import db
from portal.credits.verify import Finding, verify

DRIFT, VIOLATIONS = "ledger_drift_credits", "ledger_violations"

# By how much balances and entries disagree, all accounts together and no difference making up for another.
DRIFT_CREDITS = text(
    "select coalesce(sum(abs(coalesce(a.available + a.reserved - a.debt, 0) - coalesce(e.total, 0))), 0)"
    " from credit_accounts a full join"
    " (select team_id, sum(amount) as total from credit_entries group by team_id) e using (team_id)"
)


def prove() -> list[Finding]:
    """Prove the ledger in the current unit, keep the result for `/metrics`, and raise an alarm when it is unsound."""
    findings = verify()
    drift = int(db.session.execute(DRIFT_CREDITS).scalar_one())
    violations = sum(finding.violations for finding in findings)
    readings.take(DRIFT, drift)
    readings.take(VIOLATIONS, violations)
    if drift or violations:
        violated = [finding.invariant.id for finding in findings if finding.violations]
        raise_alarm("ledger_drift", "ledger", drift_credits=drift, violations=violations, invariants=violated)
    return findings
