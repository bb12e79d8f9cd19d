"""The months in which use is counted: where each begins and ends, before, within and after a plan."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from flask import Flask
from sqlalchemy import text

from portal.accounts.models import Team
from portal.core.database import db
from portal.core.unit_of_work import unit_of_work
from portal.usage.periods import usage_month
from tests.cast import Cast

MADE = datetime(2025, 10, 20, 15, tzinfo=UTC)
INSTANT = timedelta(microseconds=1)


def at(month: int, day: int, hour: int = 12, year: int = 2026) -> datetime:
    return datetime(year, month, day, hour, tzinfo=UTC)


def begin(
    cast: Cast,
    start: datetime,
    end: datetime,
    began: datetime,
    interval: str = "month",
    *,
    ended: datetime | None = None,
    duplicate: bool = False,
) -> None:
    """The team has had a subscription, whose latest period is from `start` to `end`."""
    statement = text(
        "insert into subscriptions (id, stripe_id, gen, synced_at, team_id, status, duplicate, interval, currency,"
        " started_at, current_period_start, current_period_end, ended_at)"
        " select name, name, 1, now(), :team, :status, :duplicate, :interval, 'usd', :began, :start, :end, :ended"
        " from (select 'sub_' || count(*) as name from subscriptions) others"
    )
    values = {"team": cast.team_id, "interval": interval, "began": began, "start": start, "end": end}
    values |= {"ended": ended, "status": "canceled" if ended else "active", "duplicate": duplicate}
    with unit_of_work() as session:
        session.execute(statement, values)


def made(cast: Cast, moment: datetime) -> None:
    with unit_of_work() as session:
        session.get_one(Team, cast.team_id).created_at = moment


@pytest.fixture(autouse=True)
def _made(cast: Cast) -> None:
    made(cast, MADE)


def test_a_short_month_is_followed_and_preceded_by_the_anchors_own_day(app: Flask, cast: Cast) -> None:
    begin(cast, at(2, 28), at(3, 31), began=at(1, 31, year=2025))
    assert usage_month(cast.team_id, at(2, 10)) == (at(1, 31), at(2, 28))
    assert usage_month(cast.team_id, at(1, 10)) == (at(12, 31, year=2025), at(1, 31))


def test_a_month_of_which_we_have_not_heard_is_counted_on(app: Flask, cast: Cast) -> None:
    begin(cast, at(1, 31), at(2, 28), began=at(1, 31, year=2025))
    assert usage_month(cast.team_id, at(1, 10)) == (at(12, 31, year=2025), at(1, 31))
    assert usage_month(cast.team_id, at(3, 5)) == (at(2, 28), at(3, 31))


def test_the_month_before_a_new_subscription_is_the_teams_own_and_ends_with_it(app: Flask, cast: Cast) -> None:
    begin(cast, at(1, 5), at(2, 5), began=at(1, 5))
    assert usage_month(cast.team_id, at(1, 5, 11)) == (at(12, 20, 15, year=2025), at(1, 5))
    before = (at(11, 20, 15, year=2025), at(12, 20, 15, year=2025))
    assert usage_month(cast.team_id, at(12, 20, 14, year=2025)) == before


def test_a_trial_is_a_month_of_its_own(app: Flask, cast: Cast) -> None:
    begin(cast, at(1, 24), at(2, 24), began=at(1, 10))
    assert usage_month(cast.team_id, at(1, 23)) == (at(1, 10), at(1, 24))
    assert usage_month(cast.team_id, at(1, 9)) == (at(12, 20, 15, year=2025), at(1, 10))


def test_what_was_used_under_a_plan_is_in_no_month_after_its_end(app: Flask, cast: Cast) -> None:
    """Else it would count against what the free plan includes."""
    begin(cast, at(1, 24), at(2, 24), began=at(1, 24), ended=at(2, 10))
    assert usage_month(cast.team_id, at(2, 10) - INSTANT) == (at(1, 24), at(2, 10))
    assert usage_month(cast.team_id, at(2, 10)) == (at(2, 10), at(2, 20, 15))
    assert usage_month(cast.team_id, at(3, 1)) == (at(2, 20, 15), at(3, 20, 15))
    assert usage_month(cast.team_id, at(1, 22)) == (at(1, 20, 15), at(1, 24))


def test_between_two_plans_the_months_are_the_teams_own(app: Flask, cast: Cast) -> None:
    begin(cast, at(1, 24), at(2, 24), began=at(12, 24, year=2025), ended=at(2, 10))
    begin(cast, at(2, 15), at(3, 15), began=at(2, 15))
    assert usage_month(cast.team_id, at(1, 10)) == (at(12, 24, year=2025), at(1, 24))
    assert usage_month(cast.team_id, at(2, 12)) == (at(2, 10), at(2, 15))
    assert usage_month(cast.team_id, at(2, 15)) == (at(2, 15), at(3, 15))


def test_a_second_plan_that_was_paid_by_mistake_ends_no_month(app: Flask, cast: Cast) -> None:
    begin(cast, at(1, 24), at(2, 24), began=at(1, 24))
    begin(cast, at(1, 30), at(2, 28), began=at(1, 30), ended=at(2, 1), duplicate=True)
    assert usage_month(cast.team_id, at(2, 2)) == (at(1, 24), at(2, 24))


MOMENTS = [
    datetime(2024, 2, 28, 23, 59, 59, 999_999, tzinfo=UTC),
    datetime(2024, 2, 29, tzinfo=UTC),
    datetime(2025, 1, 31, 12, tzinfo=UTC),
    datetime(2025, 3, 1, tzinfo=UTC),
    datetime(2025, 3, 30, 1, 30, tzinfo=UTC),
    datetime(2025, 12, 31, 23, 0, 0, 1, tzinfo=UTC),
    datetime(2026, 3, 31, tzinfo=UTC),
]
LATEST = [
    ("month", datetime(2025, 1, 31, 12, tzinfo=UTC), datetime(2025, 2, 28, 12, tzinfo=UTC)),
    ("month", datetime(2025, 2, 28, 12, tzinfo=UTC), datetime(2025, 3, 31, 12, tzinfo=UTC)),
    ("year", datetime(2024, 2, 29, 6, tzinfo=UTC), datetime(2025, 2, 28, 6, tzinfo=UTC)),
    ("year", datetime(2025, 3, 30, 23, tzinfo=UTC), datetime(2026, 3, 30, 23, tzinfo=UTC)),
    ("month", datetime(2026, 2, 10, 6, tzinfo=UTC), datetime(2026, 2, 24, 6, tzinfo=UTC)),
]
BEGAN = datetime(2024, 1, 31, 12, tzinfo=UTC)
MONTH = text("select starts, ends, usage_starts_at(:team, :at) from usage_month_of(:team, :at)")


@pytest.mark.parametrize("latest", [None, *product(LATEST, [None, BEGAN], [None, timedelta(days=9)])])
@pytest.mark.parametrize("team_made", [datetime(2023, 8, 31, 22, 30, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)])
def test_each_month_ends_where_the_next_one_begins(
    app: Flask,
    cast: Cast,
    latest: tuple[tuple[str, datetime, datetime], datetime | None, timedelta | None] | None,
    team_made: datetime,
) -> None:
    """Also the one in which a subscription began, and the one in which it ended."""
    made(cast, team_made)
    moments = list(MOMENTS)
    if latest:
        (interval, start, end), began, ended_after = latest
        ended = start + ended_after if ended_after else None
        begin(cast, start, end, began or start, interval, ended=ended)
        moments += [moment for moment in (start, end, began, ended) if moment]
    for moment in moments:
        found = db.session.execute(MONTH, {"team": cast.team_id, "at": moment}).one()
        begins, finishes, place = found
        assert begins <= moment < finishes, moment
        assert usage_month(cast.team_id, begins - INSTANT)[1] == begins, moment
        assert usage_month(cast.team_id, finishes)[0] == finishes, moment
        assert place == max(begins, moment.replace(hour=0, minute=0, second=0, microsecond=0)), moment
