"""Reporting all that a team has used, before Stripe makes the last invoice of its plan.

The schedule reports half-hourly, for an invoice that stays a draft at the end of a period. One that is made because somebody
ends the plan at once is finalized with what Stripe knows in that moment; what comes later nobody is charged for.
"""

from __future__ import annotations

from functools import partial

from portal.billing.gateway import Gateway
from portal.core.unit_of_work import end_read, run_in_unit
from portal.usage.meter_reports import billing_periods, freeze_all_of
from portal.usage.meter_sending import open_reports, send_of_team

# A call to Stripe each, also while a person waits for a page.
AT_ONCE_MAX = 20


def report_all(stripe: Gateway, team_id: str) -> bool:
    """Whether Stripe has been told of all that the team has used in the period under way. Outside of a unit of work."""
    end_read()
    run_in_unit(partial(freeze_all_of, team_id))
    send_of_team(stripe, team_id, AT_ONCE_MAX)
    told = not _waits(team_id)
    end_read()
    return told


def _waits(team_id: str) -> bool:
    """Whether something is on its way that the next invoice would have. What belongs to earlier periods is not on it."""
    periods = billing_periods([team_id])
    found = ((report, periods.get((team_id, report.meter))) for report in open_reports(team_id))
    return any(period is not None and report.dated_at >= period.start for report, period in found)
