"""A worker that is killed at every point of what the schedule does for credits: all of it is there, or nothing, and once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import pytest
from sqlalchemy import select

from portal.accounts.models import Team
from portal.core import clock
from portal.core.database import db
from portal.core.unit_of_work import unit_of_work
from portal.credits import holds, ledger
from portal.credits.free_plan import grant_free_period
from portal.credits.models import CreditEntry
from tests.cast import Cast
from tests.crashing import Books, Crasher, crasher, kill_everywhere
from tests.purchases import BUSINESS_CREDITS, violations
from tests.stage import Stage

__all__ = ["crasher"]

DAY = timedelta(days=1)
FREE_CREDITS = 100


@dataclass(frozen=True)
class Due:
    """What the schedule has to do for one team, and the entries that must have come of it, each once."""

    task: str
    prepare: Callable[[Cast, Stage], None]
    entries: list[tuple[str, int]]


def _ending_lot_and_hold(cast: Cast, stage: Stage) -> None:
    """Of 100 credits 30 are spent and 20 held; the hold runs out after the credits have ended."""
    with unit_of_work():
        ends = clock.now() + DAY
        ledger.grant(cast.team_id, kind="gift", amount=100, cause_key="gift:1", source="A gift", expires_at=ends)
        ledger.spend(cast.team_id, 30, "usage:1")
        holds.hold(cast.team_id, 20, "hold:1", DAY + timedelta(hours=1))
    stage.advance(2 * DAY)


def _starting_lot(cast: Cast, stage: Stage) -> None:
    with unit_of_work():
        starts = clock.now() + DAY
        ledger.grant(cast.team_id, kind="gift", amount=100, cause_key="gift:1", source="A gift", effective_at=starts)
    stage.advance(2 * DAY)


def _free_month(cast: Cast, stage: Stage) -> None:
    with unit_of_work() as session:
        grant_free_period(session.get_one(Team, cast.team_id), FREE_CREDITS)
    stage.advance(32 * DAY)


def _month_of_a_year(cast: Cast, stage: Stage) -> None:
    stage.subscribe(cast.owner, cast.team_id, "business", "year")
    stage.deliver_all()
    stage.advance(32 * DAY)


DUE = {
    "the end of credits and of a hold": Due(
        "credits.due_lots", _ending_lot_and_hold, [("granted", 100), ("spent", -30), ("expired", -70)]
    ),
    "the start of credits": Due("credits.due_lots", _starting_lot, [("granted", 100)]),
    "a month of the free plan": Due(
        "credits.free_periods",
        _free_month,
        [("granted", FREE_CREDITS), ("expired", -FREE_CREDITS), ("granted", FREE_CREDITS)],
    ),
    "a month of a yearly plan": Due(
        "credits.months_of_yearly_plans",
        _month_of_a_year,
        [("granted", BUSINESS_CREDITS), ("expired", -BUSINESS_CREDITS), ("granted", BUSINESS_CREDITS)],
    ),
}


@pytest.mark.parametrize("name", DUE)
def test_killed_at_every_point_of_what_is_due_it_is_done_once(
    cast: Cast, stage: Stage, crasher: Crasher, name: str
) -> None:
    due = DUE[name]
    due.prepare(cast, stage)
    kill_everywhere(crasher, Books(), name, "scheduled", task=due.task, points_min=10)
    query = select(CreditEntry.kind, CreditEntry.amount).where(CreditEntry.team_id == cast.team_id)
    entries = db.session.execute(query.order_by(CreditEntry.version)).all()
    assert [(entry.kind, entry.amount) for entry in entries] == due.entries
    assert violations() == []
