"""Being told that credits run low: each threshold once a month, once a refill, once a lot, however often somebody looks."""

from __future__ import annotations

from datetime import timedelta

from flask import Flask

from portal.accounts.models import Team
from portal.core import clock
from portal.core.database import db
from portal.core.unit_of_work import unit_of_work
from portal.credits import ledger, thresholds
from portal.credits.free_plan import grant_free_period
from portal.usage import thresholds as included
from portal.worker import tasks
from tests.cast import Cast
from tests.stage import Stage
from tests.web.notifications.news import entries_of, mailed
from tests.web.usage.uses import give, use, words

MONTH = timedelta(days=32)


def month(team_id: str, amount: int = 100) -> None:
    """The free plan's month under way."""
    with unit_of_work() as session:
        grant_free_period(session.get_one(Team, team_id), amount)
    db.session.remove()


def look() -> int:
    """What the schedule does, for whichever accounts it finds."""
    with unit_of_work():
        teams = thresholds.moved(100)
    done = 0
    for team_id in teams:
        with unit_of_work():
            done += thresholds.look_at(team_id)
    return done


def titles(cast: Cast) -> list[str]:
    return [entry.title for entry in entries_of(cast.owner.user_id) if entry.kind == "credits"]


def test_each_threshold_of_a_months_credits_is_told_once(cast: Cast) -> None:
    month(cast.team_id)
    told = []
    for quantity in (70, 5, 4, 11, 9, 1):
        use(cast.team_id, "send_email", quantity)
        told.append((look(), look()))
    assert told == [(0, 0), (1, 0), (0, 0), (1, 0), (0, 0), (1, 0)]
    assert titles(cast) == [
        "75 % of the plan credits of this month are used",
        "90 % of the plan credits of this month are used",
        "The plan credits of this month are used up",
    ]
    assert set(mailed("credits_threshold")) == {"billing@example.com", "owner@example.com"}
    assert len(mailed("credits_threshold")) == 6


def test_what_is_passed_at_once_is_told_once_by_the_highest(cast: Cast) -> None:
    month(cast.team_id)
    use(cast.team_id, "send_email", 93)
    assert (look(), titles(cast)) == (1, ["90 % of the plan credits of this month are used"])


def test_a_new_month_begins_anew(cast: Cast) -> None:
    month(cast.team_id)
    use(cast.team_id, "send_email", 80)
    assert look() == 1
    with unit_of_work():
        clock.advance(MONTH)
    month(cast.team_id)
    assert look() == 0
    use(cast.team_id, "send_email", 80)
    assert look() == 1
    assert len(titles(cast)) == 2


def test_looking_twice_at_the_same_time_tells_once(cast: Cast) -> None:
    """A look that died after it told, before it noted that it had looked, comes again."""
    month(cast.team_id)
    use(cast.team_id, "send_email", 80)
    with unit_of_work():
        assert thresholds.look_at(cast.team_id) == 1
        assert thresholds.look_at(cast.team_id) == 0
    assert look() == 0
    assert len(titles(cast)) == 1


def test_hardly_anything_left_is_told_once_until_more_is_added(cast: Cast) -> None:
    give(cast.team_id, 100)
    use(cast.team_id, "send_email", 85)
    assert look() == 0
    use(cast.team_id, "send_email", 6)
    assert (look(), look()) == (1, 0)
    use(cast.team_id, "send_email", 9)
    assert look() == 0
    give(cast.team_id, 50, "gift:more")
    assert look() == 0
    use(cast.team_id, "send_email", 50)
    assert look() == 1
    assert titles(cast) == ["Only 9 credits are left", "No credits are left"]


def test_an_ending_bundle_is_told_once_in_its_last_days_and_not_when_it_is_used_up(cast: Cast) -> None:
    now = clock.now()
    with unit_of_work():
        for number, days in ((1, 5), (2, 30), (3, 6)):
            ledger.grant(
                cast.team_id,
                kind="bundle",
                amount=100 * number,
                cause_key=f"bundle:{number}",
                source=f"Bundle of {100 * number}",
                expires_at=now + timedelta(days=days),
            )
    use(cast.team_id, "send_email", 100)

    def ending() -> list[str]:
        with unit_of_work():
            lots = thresholds.ending_lots(10)
        for lot in lots:
            with unit_of_work():
                thresholds.tell_of_ending(*lot)
        return [source for _team, _id, _left, source, _ends in lots]

    assert ending() == ["Bundle of 300"]
    assert ending() == []
    with unit_of_work():
        clock.advance(timedelta(days=24))
    assert ending() == ["Bundle of 200"]
    assert len(mailed("credits_expiring")) == 4


def test_included_use_is_told_at_its_thresholds_once_a_month(cast: Cast) -> None:
    def look_at_included() -> int:
        with unit_of_work():
            found = included.reached(10)
        done = 0
        for one in found:
            with unit_of_work():
                done += included.tell_of_included(one)
        return done

    told = []
    for quantity in (700, 100, 150, 50):
        use(cast.team_id, "api_calls", quantity)
        told.append((look_at_included(), look_at_included()))
    assert told == [(0, 0), (1, 0), (1, 0), (1, 0)]
    assert titles(cast)[-1] == "API calls: what the plan includes this month is used"
    with unit_of_work():
        clock.advance(MONTH)
    assert look_at_included() == 0
    use(cast.team_id, "api_calls", 760)
    assert look_at_included() == 1


def test_an_account_in_which_nothing_happens_is_not_looked_at(cast: Cast) -> None:
    month(cast.team_id)
    look()
    with unit_of_work():
        assert thresholds.moved(10) == []
    use(cast.team_id, "send_email", 1)
    with unit_of_work():
        assert thresholds.moved(10) == [cast.team_id]


def test_the_schedule_has_its_looks(app: Flask) -> None:
    assert {
        "credits.thresholds", "credits.ending_lots", "credits.lot_days", "usage.included", "usage.budgets"
    } <= set(tasks())  # fmt: skip


def test_the_pages_say_what_state_the_credits_are_in(cast: Cast, stage: Stage) -> None:
    pages = (f"/teams/{cast.team_id}/credits", f"/teams/{cast.team_id}/billing")
    month(cast.team_id)
    for page in pages:
        assert "credits-state" not in cast.owner.client.get(page).get_data(as_text=True)
    use(cast.team_id, "send_email", 95)
    for page in pages:
        assert "Only 5 credits are left" not in words(cast.owner, page)
    use(cast.team_id, "send_email", 5)
    for page in pages:
        assert "No credits are left" in words(cast.owner, page)
    give(cast.team_id, 400)
    for page in pages:
        assert "The plan credits of this month are used up 400 others are left" in words(cast.owner, page)
