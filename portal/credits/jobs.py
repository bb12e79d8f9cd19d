"""What the worker does for credits: grants and expiries that are due because time has passed, and auto-purchases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import TypeAlias

from portal.billing.gateway import gateway
from portal.billing.switch import billing_is_on
from portal.catalog.queries import free_plan
from portal.core import clock
from portal.core.jobs import ROUND
from portal.core.schedule import SomeFailed, Task, each_in_a_unit
from portal.core.stopping import stopping
from portal.core.unit_of_work import unit_of_work
from portal.credits import dispute_watch, ledger, purchase_rules, purchase_watch, purchase_work, thresholds
from portal.credits.free_plan import due_teams, enrol_teams, grant_free_period
from portal.credits.lot_days import count_lot_days, not_counted
from portal.credits.proof import prove
from portal.credits.settlement import settle
from portal.credits.subscription_grants import due_paid_periods, grant_due_month

# Of so many teams at most, those whose ids come after one; and what is done for one of them, in a unit of its own.
Find: TypeAlias = Callable[[int, str], list[str]]
Work: TypeAlias = Callable[[str], int | None]

BATCH = 200
ENROL_MAX = 10_000


def grant_due_months() -> int:
    """The current month of yearly plans."""
    with unit_of_work():
        due, now = due_paid_periods(BATCH), clock.now()
    return each_in_a_unit([partial(grant_due_month, paid, now) for paid in due])


def grant_due_free_periods() -> int:
    """The current month of teams on the free plan."""
    with unit_of_work():
        plan = free_plan()
        teams = due_teams(BATCH) if plan and plan.credits_monthly else []
        credits_monthly = (plan.credits_monthly or 0) if plan else 0
    return each_in_a_unit([partial(grant_free_period, team, credits_monthly) for team in teams])


def enrol_free_teams() -> int:
    """Teams of which the sign-up's own signal was missed. It looks at all owners, so it is done rarely."""
    with unit_of_work():
        return enrol_teams(ENROL_MAX)


def post_due_lots() -> int:
    """Starts and ends of lots, and ends of holds, nobody has touched since: a balance should not wait for its next spend."""
    with unit_of_work():
        teams = ledger.accounts_with_due(BATCH)
    return each_in_a_unit([partial(ledger.post_due, team_id) for team_id in teams])


def count_spends() -> int:
    """What was spent of each lot on each day, for whoever asks what became of it."""
    return _each_team((not_counted, count_lot_days))


def look_at_thresholds() -> int:
    """Tell teams whose credits run low, of accounts in which something has happened."""
    return _each_team((thresholds.moved, thresholds.look_at))


def tell_of_ending_lots() -> int:
    with unit_of_work():
        lots = thresholds.ending_lots(BATCH)
    return each_in_a_unit([partial(thresholds.tell_of_ending, *lot) for lot in lots])


def prove_ledger() -> int:
    """Nightly; the figures are read by `/metrics` and the alarm by a person."""
    with unit_of_work():
        prove()
    return 1


def drain_purchases() -> int:
    """While billing is switched off nothing is charged; what is too late when it is on again is not charged any more."""
    return purchase_work.drain(gateway, settle, ROUND) if billing_is_on() else 0


def watch_purchases() -> int:
    """Rules that may go on, then balances that are low without a spend that would have said so."""
    return _each_team(
        (purchase_watch.capped_rules, purchase_rules.lift_cap),
        (purchase_watch.stopped_rules, purchase_rules.arm_for_new_card),
        (purchase_watch.low_teams, purchase_watch.look_at_balance),
    )


def look_at_disputed() -> int:
    """Credits that have come back from a hold since their payment was disputed."""
    with unit_of_work():
        payments = dispute_watch.payments_to_look_at()
    return each_in_a_unit([partial(dispute_watch.look_at, payment_id) for payment_id in payments])


def _each_team(*looks: tuple[Find, Work]) -> int:
    """Work on every team that a look finds, one look after the other. Raises `SomeFailed` once all were tried."""
    done, failures = 0, []
    for find, work in looks:
        for teams in _batches(find):
            try:
                done += each_in_a_unit([partial(work, team_id) for team_id in teams])
            except SomeFailed as failure:
                failures.append(str(failure))
    if failures:
        raise SomeFailed("; ".join(failures))
    return done


def _batches(find: Find) -> Iterator[list[str]]:
    """All teams that are found, so many at a time, by their ids: one that stays in the list holds up none after it."""
    after = ""
    while not stopping():
        with unit_of_work():
            teams = find(BATCH, after)
        yield teams
        if len(teams) < BATCH:
            return
        after = teams[-1]


DRAINS = (drain_purchases,)
SCHEDULE = {
    "credits.months_of_yearly_plans": Task(grant_due_months, timedelta(seconds=60)),
    "credits.free_teams": Task(enrol_free_teams, timedelta(minutes=15)),
    "credits.free_periods": Task(grant_due_free_periods, timedelta(seconds=10)),
    "credits.proof": Task(prove_ledger, timedelta(days=1), first_in=timedelta(minutes=15)),
    "credits.auto_purchases": Task(watch_purchases, timedelta(seconds=30)),
    "credits.disputed": Task(look_at_disputed, timedelta(seconds=30)),
    "credits.thresholds": Task(look_at_thresholds, timedelta(seconds=30)),
    "credits.ending_lots": Task(tell_of_ending_lots, timedelta(minutes=10)),
    "credits.lot_days": Task(count_spends, timedelta(seconds=30)),
    "credits.due_lots": Task(post_due_lots, timedelta(seconds=30)),
}
