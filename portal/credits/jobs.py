"""What the worker does for credits: grants and expiries that are due because time has passed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial

import structlog

from portal.catalog.queries import free_plan
from portal.core import clock
from portal.core.schedule import Task
from portal.core.unit_of_work import run_in_unit, unit_of_work
from portal.credits import ledger
from portal.credits.free_plan import due_teams, enrol_teams, grant_free_period
from portal.credits.proof import prove
from portal.credits.subscription_grants import due_paid_periods, grant_due_month

log = structlog.get_logger(__name__)

BATCH = 200
ENROL_MAX = 10_000


class SomeFailed(Exception):
    """Some teams could not be served this time; the log says why, and the schedule tries them again."""


def grant_due_months() -> int:
    """The current month of yearly plans."""
    with unit_of_work():
        due, now = due_paid_periods(BATCH), clock.now()
    return _each([partial(grant_due_month, paid, now) for paid in due])


def grant_due_free_periods() -> int:
    """The current month of teams on the free plan."""
    with unit_of_work():
        plan = free_plan()
        teams = due_teams(BATCH) if plan and plan.credits_monthly else []
        credits_monthly = (plan.credits_monthly or 0) if plan else 0
    return _each([partial(grant_free_period, team, credits_monthly) for team in teams])


def enrol_free_teams() -> int:
    """Teams of which the sign-up's own signal was missed. It looks at all owners, so it is done rarely."""
    with unit_of_work():
        return enrol_teams(ENROL_MAX)


def post_due_lots() -> int:
    """Starts and expiries of lots nobody has touched since: a balance should not wait for its next spend."""
    with unit_of_work():
        teams = ledger.accounts_with_due(BATCH)
    return _each([partial(ledger.post_due, team_id) for team_id in teams])


def prove_ledger() -> int:
    """Nightly; the figures are read by `/metrics` and the alarm by a person."""
    with unit_of_work():
        prove()
    return 1


def _each(pieces: list[Callable[[], int]]) -> int:
    """Do each piece in a unit of its own, so that one team in trouble does not hold up the others. Raises `SomeFailed`."""
    done = failed = 0
    for piece in pieces:
        try:
            done += run_in_unit(piece)
        except Exception:  # whatever it is, it is this team's
            log.exception("team_failed")
            failed += 1
    if failed:
        raise SomeFailed(f"{failed} of {len(pieces)} teams")
    return done


SCHEDULE = {
    "credits.months_of_yearly_plans": Task(grant_due_months, timedelta(seconds=60)),
    "credits.free_teams": Task(enrol_free_teams, timedelta(minutes=15)),
    "credits.free_periods": Task(grant_due_free_periods, timedelta(seconds=10)),
    "credits.proof": Task(prove_ledger, timedelta(days=1), first_in=timedelta(minutes=15)),
    "credits.due_lots": Task(post_due_lots, timedelta(seconds=30)),
}
