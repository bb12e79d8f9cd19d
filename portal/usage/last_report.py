"""Reporting all that a team has used, before Stripe makes the last invoice of its plan.

The schedule reports half-hourly, for an invoice that stays a draft at the end of a period. One that is made because somebody
ends the plan at once is finalized with what Stripe knows in that moment; what comes later nobody is charged for.
"""

from __future__ import annotations

from functools import partial

from portal.billing.gateway import Gateway
from portal.core.jobs import ROUND
from portal.core.unit_of_work import end_read, run_in_unit
from portal.usage.meter_reports import freeze_all_of
from portal.usage.meter_sending import all_sent, drain


def report_all(stripe: Gateway, team_id: str) -> bool:
    """Whether Stripe has been told of all that the team has used by now. Outside of a unit of work."""
    end_read()
    run_in_unit(partial(freeze_all_of, team_id))
    drain(lambda: stripe, ROUND, team_id)
    sent = all_sent(team_id)
    end_read()
    return sent
