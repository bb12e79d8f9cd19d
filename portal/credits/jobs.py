"""What the worker does for credits: grants and expiries that are due because time has passed."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

from portal.catalog.queries import free_plan
from portal.core import clock
from portal.core.schedule import Task
from portal.core.unit_of_work import run_in_unit, unit_of_work
from portal.credits import ledger
from portal.credits.free_plan import grant_free_period, teams_without_free_period
from portal.credits.subscription_grants import due_paid_periods, grant_paid_period

BATCH = 200


def grant_due_months() -> int:
    """The current month of yearly plans. One unit a team, so that one in trouble does not hold up the others."""
    with unit_of_work():
        due, now = due_paid_periods(BATCH), clock.now()
    return sum(run_in_unit(partial(grant_paid_period, paid, now)) for paid in due)


def grant_due_free_periods() -> int:
    """The current month of teams on the free plan."""
    with unit_of_work():
        plan = free_plan()
        teams = teams_without_free_period(BATCH) if plan and plan.credits_monthly else []
        credits_monthly = (plan.credits_monthly or 0) if plan else 0
    return sum(run_in_unit(partial(grant_free_period, team, credits_monthly)) for team in teams)


def post_due_lots() -> int:
    """Starts and expiries of lots nobody has touched since: a balance should not wait for its next spend."""
    with unit_of_work():
        teams = ledger.accounts_with_due(BATCH)
    return sum(run_in_unit(partial(ledger.post_due, team_id)) for team_id in teams)


SCHEDULE = {
    "credits.months_of_yearly_plans": Task(grant_due_months, timedelta(seconds=60)),
    "credits.free_periods": Task(grant_due_free_periods, timedelta(seconds=10)),
    "credits.due_lots": Task(post_due_lots, timedelta(seconds=30)),
}
