"""Single uses by month: their tables are there before they are needed, and go when nobody may see them any more."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from portal.billing import entitlements
from portal.catalog.current import catalog
from portal.core import alarms, clock
from portal.core.database import db
from portal.core.unit_of_work import run_in_unit, unit_of_work
from portal.credits.verify import verify
from portal.usage.jobs import drop_usage_months, make_usage_months
from portal.usage.metering import Answer, Use, record
from portal.usage.queries import totals
from portal.usage.retention import KEPT_DAYS_MIN, kept_days, look_for_missing_months
from tests.conftest import owner_engine
from tests.lifecycle.test_usage_batches import answer, assert_sound, new_team
from tests.web.billing.test_entitlements import except_for


@pytest.fixture
def owner(app: Flask) -> Engine:
    return owner_engine(app.config["SETTINGS"].database_owner_url)


def parts() -> dict[str, tuple[datetime | None, datetime]]:
    rows = db.session.execute(text("select part, since, until from usage_partitions()")).all()
    db.session.rollback()
    return {row.part: (row.since, row.until) for row in rows}


def rows_in(owner: Engine, part: str) -> int:
    with owner.connect() as connection:
        return int(connection.execute(text(f"select count(*) from {part}")).scalar_one())  # noqa: S608  our own names


def move_clock(by: timedelta) -> datetime:
    with unit_of_work():
        clock.advance(by)
    return run_in_unit(clock.now)


def move_past_every_month() -> datetime:
    """To where no month was made yet, however far ahead the other tests of this database have been; a day that ends
    nowhere near a month's end, so that 33 days before lies in the month before.
    """
    furthest = max(until for _since, until in parts().values())
    now = run_in_unit(clock.now)
    return move_clock(max(furthest, now) + timedelta(days=80) - now)


def use(team_id: str, key: str, **more: Any) -> Answer:
    return run_in_unit(lambda: record(Use(team_id, key, "send_email", 1, **more), answer))


def part_of(moment: datetime) -> str:
    return f"usage_events_{moment:%Y_%m}"


def test_three_months_stand_ready_and_leave_no_gap(app: Flask) -> None:
    now = move_clock(timedelta(days=400))
    make_usage_months()
    bounds = sorted((since or datetime.min.replace(tzinfo=UTC), until) for since, until in parts().values())
    covered = [until for since, until in bounds if until > now]
    assert len(covered) >= 4
    assert max(covered) > now + timedelta(days=89)
    # Other tests of this database may have been further ahead.
    recent = [(since, until) for since, until in bounds if until > now and since < now + timedelta(days=89)]
    assert all(before[1] == after[0] for before, after in itertools.pairwise(recent))
    assert make_usage_months() == 0


def test_without_a_month_a_use_is_recorded_and_moves_to_it_later(app: Flask, owner: Engine) -> None:
    team_id = new_team(50)
    now = move_past_every_month()
    late = now - timedelta(days=33)
    use(team_id, "now")
    use(team_id, "late", occurred_at=late)
    assert rows_in(owner, "usage_events_rest") == 2
    before = db.session.execute(text("select * from usage_events order by id")).all()
    assert make_usage_months() >= 5
    assert rows_in(owner, "usage_events_rest") == 0
    assert (rows_in(owner, part_of(now)), rows_in(owner, part_of(late))) == (1, 1)
    assert db.session.execute(text("select * from usage_events order by id")).all() == before
    use(team_id, "after")
    assert rows_in(owner, part_of(now)) == 2
    assert_sound()


@pytest.mark.parametrize("change", ["update {} set quantity = 5", "delete from {}", "truncate {}"])
def test_a_month_is_guarded_as_the_whole_is(app: Flask, owner: Engine, change: str) -> None:
    team_id = new_team(50)
    now = move_clock(timedelta(days=1200))
    make_usage_months()
    use(team_id, "one")
    for connect in (owner.connect, db.engine.connect):
        with connect() as connection, pytest.raises(DBAPIError):
            connection.execute(text(change.format(part_of(now))))


def test_the_app_reaches_a_month_only_through_the_whole(app: Flask) -> None:
    make_usage_months()
    part = min(parts())
    with pytest.raises(DBAPIError, match="permission denied"):
        db.session.execute(text(f"select * from {part}"))  # noqa: S608  our own names


def test_old_months_go_and_what_they_told_stays(app: Flask, owner: Engine) -> None:
    team_id = new_team(50)
    now = move_clock(timedelta(days=1600))
    make_usage_months()
    first = use(team_id, "old")
    month = part_of(now)
    start, end = parts()[month]
    assert start is not None
    move_clock(end + timedelta(days=KEPT_DAYS_MIN, hours=-1) - now)
    assert month not in dropped()
    move_clock(timedelta(hours=2))
    make_usage_months()
    use(team_id, "new")
    assert month in dropped()
    assert month not in parts()
    left = db.session.execute(text("select key from usage_events")).scalars().all()
    assert left == ["new"]
    assert totals(team_id, start, end)["send_email"].quantity == 1
    assert use(team_id, "old") == Answer(first.status, first.body, replayed=True)
    found = text(
        "select k.body from credit_entries e join usage_keys k on k.team_id = e.team_id and 'usage:' || k.key = e.cause_key"
        " where e.kind = 'spent' order by e.version"
    )
    assert db.session.execute(found).scalars().first() == first.body
    assert not any(finding.violations for finding in verify())


def dropped() -> set[str]:
    before = set(parts())
    drop_usage_months()
    return before - set(parts())


def test_the_longest_right_of_any_team_says_how_long(app: Flask) -> None:
    assert catalog().usage_history_feature == "usage_history"
    team_id = new_team(0)
    assert run_in_unit(kept_days) == KEPT_DAYS_MIN
    assert entitlements.limit_of(team_id, "usage_history") == 30
    except_for(team_id, "usage_history", limit=400)
    assert run_in_unit(kept_days) == 400
    except_for(new_team(0), "usage_history", limit=None)
    assert run_in_unit(kept_days) is None
    move_clock(timedelta(days=2000))
    assert dropped() == set()


def test_nothing_younger_is_dropped_whoever_asks(app: Flask) -> None:
    now = move_clock(timedelta(days=2400))
    make_usage_months()
    with unit_of_work() as session:
        session.execute(text("select drop_usage_partitions(app_now() + interval '10 years')"))
    assert part_of(now) in parts()
    assert all(until > now - timedelta(days=KEPT_DAYS_MIN) for _since, until in parts().values())


def test_an_alarm_says_when_no_month_is_ahead(app: Flask) -> None:
    move_past_every_month()
    run_in_unit(look_for_missing_months)
    assert [alarm.kind for alarm in alarms.open_alarms()] == ["usage_months_missing"]
    make_usage_months()
    assert alarms.open_alarms() == []


def test_work_that_is_under_way_is_not_disturbed(app: Flask, owner: Engine) -> None:
    """A transaction that has written entries would have to be waited for: the month is made another time."""
    team_id = new_team(50)
    move_past_every_month()
    with owner.begin() as busy:
        busy.execute(text("lock table credit_entries in row exclusive mode"))
        assert make_usage_months() == 0
        use(team_id, "meanwhile")
    assert make_usage_months() >= 4
    assert rows_in(owner, "usage_events_rest") == 0
