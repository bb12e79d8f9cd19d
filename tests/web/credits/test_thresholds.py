"""Being told that credits run low: each threshold once a month, once a refill, once a lot, however often somebody looks."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import delete, select

from portal.accounts.models import Membership, Team
from portal.billing.entitlement_overrides import override
from portal.core import clock
from portal.core.database import db
from portal.core.schedule import SomeFailed
from portal.core.unit_of_work import unit_of_work
from portal.credits import jobs, ledger, purchase_rules, thresholds
from portal.credits.free_plan import grant_free_period
from portal.credits.lot_days import not_counted
from portal.credits.models import CreditGrant, FreePeriod
from portal.credits.queries import summary
from portal.usage import thresholds as included
from portal.worker import tasks
from tests.auto_buyers import DECLINES, AutoBuyer
from tests.cast import Cast
from tests.plan_changes import Changer
from tests.stage import Stage
from tests.web.notifications.news import entries_of, mailed, payloads
from tests.web.usage.uses import give, plain, use, words

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


def test_who_owns_two_teams_is_told_of_each(cast: Cast) -> None:
    """The same happens in both: a month that ends at the same time, the same use, the same order of entries."""
    with unit_of_work() as session:
        session.add(Membership(team_id=cast.other_team_id, user_id=cast.owner.user_id, role="owner"))
    teams = (cast.team_id, cast.other_team_id)
    with unit_of_work() as session:
        for team_id in teams:
            grant_free_period(session.get_one(Team, team_id), 100)
    for team_id in teams:
        use(team_id, "send_email", 100)
        use(team_id, "api_calls", 1_000)
    assert look() == 2
    assert look_at_included() == 2
    assert told_by_team(cast, "plan credits of this month are used up") == set(teams)
    assert told_by_team(cast, "what the plan includes this month is used") == set(teams)
    for team_id in teams:
        give(team_id, 50, f"gift:{team_id}")
        use(team_id, "send_email", 48)
    look()
    assert told_by_team(cast, "Only 2 credits are left") == set(teams)
    assert (look(), look_at_included()) == (0, 0)


def told_by_team(cast: Cast, part_of_title: str) -> set[str | None]:
    """The teams of the owner's entries with such a title."""
    return {entry.team_id for entry in entries_of(cast.owner.user_id) if part_of_title in entry.title}


def test_what_a_refund_has_taken_back_is_not_told_as_used(cast: Cast) -> None:
    """Nobody has used anything. That nothing is left is true all the same, and told."""
    month(cast.team_id, 1_000)
    take_back(cast.team_id, 1_000, "refund:all")
    look()
    assert titles(cast) == ["No credits are left"]
    assert mailed("credits_threshold") == []


def test_what_is_left_after_a_refund_is_the_whole_that_is_used(cast: Cast) -> None:
    month(cast.team_id, 1_000)
    take_back(cast.team_id, 800, "refund:most")
    look()
    assert titles(cast) == []
    use(cast.team_id, "send_email", 180)
    assert look() == 1
    assert titles(cast) == ["90 % of the plan credits of this month are used"]
    texts = [payload["text"] for payload in payloads() if payload["message"] == "credits_threshold"]
    assert texts
    assert all("180 of 200 plan credits" in text for text in texts)


def take_back(team_id: str, amount: int, cause: str) -> None:
    """A refund of what the month's credits were paid with."""
    with unit_of_work() as session:
        lot = session.execute(select(CreditGrant).where(CreditGrant.team_id == team_id)).scalar_one()
        ledger.reverse(team_id, lot.cause_key, amount, cause)
    db.session.remove()


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


def look_at_included() -> int:
    with unit_of_work():
        found = included.reached(10)
    done = 0
    for one in found:
        with unit_of_work():
            done += included.tell_of_included(one)
    return done


def test_included_use_is_told_at_its_thresholds_once_a_month(cast: Cast) -> None:
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


def test_one_account_in_trouble_keeps_no_other_from_being_looked_at(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor do more accounts than a look takes at a time."""
    first, *others = sorted((cast.team_id, cast.other_team_id))
    for team_id in (first, *others):
        give(team_id, 100, f"gift:{team_id}")
        use(team_id, "send_email", 99)
    looked, original = [], thresholds.look_at

    def look_at(team_id: str) -> int:
        looked.append(team_id)
        if team_id == first:
            raise ValueError(team_id)
        return original(team_id)

    monkeypatch.setattr(jobs, "BATCH", 1)
    monkeypatch.setattr(thresholds, "look_at", look_at)
    with pytest.raises(SomeFailed):
        jobs.look_at_thresholds()
    assert looked == [first, *others]
    assert jobs.count_spends() == 4
    with unit_of_work():
        assert thresholds.moved(10) == [first]
        assert not_counted(10) == []


@pytest.mark.parametrize("free", [True, False])
def test_no_credits_are_announced_for_the_day_on_which_the_plan_ends(cast: Cast, stage: Stage, free: bool) -> None:
    """But those of the free plan, to a team that may have them."""
    with unit_of_work() as session:
        session.get_one(Team, cast.team_id).created_at -= timedelta(days=5)
    team = Changer.on(stage, cast.owner, cast.team_id, wait=timedelta())
    give(cast.team_id, 50_000)
    for _day in range(7):
        use(cast.team_id, "send_email", 2_000)
        stage.advance(timedelta(days=1))
    credits_page, overview = (f"/teams/{cast.team_id}/{page}" for page in ("credits", "billing"))
    assert "20,000 new plan credits come on" in words(cast.owner, credits_page)
    team.leave("cancel")
    ends = team.mirrored().cancel_at
    with unit_of_work() as session:
        session.execute(delete(FreePeriod))
        if free:
            session.add(FreePeriod(team_id=cast.team_id, due_at=ends))
    found = summary(cast.team_id)
    db.session.remove()
    assert (found.next_reset_at, found.next_reset_amount) == ((ends, 100) if free else (None, 0))
    assert ("100 new plan credits come on" in words(cast.owner, credits_page)) == free
    assert "20,000 new plan credits" not in words(cast.owner, credits_page)
    assert ("100 credits, of the free plan" if free else "the plan ends before") in words(cast.owner, overview)
    use(cast.team_id, "send_email", 4_000)
    assert look() == 1
    told = [payload["text"] for payload in payloads() if payload["message"] == "credits_threshold"]
    assert all(("New plan credits come on" in text) == free for text in told)
    assert all(("No new plan credits are on their way" in text) != free for text in told)


def test_a_paused_plan_announces_no_credits(cast: Cast, stage: Stage) -> None:
    team = Changer.on(stage, cast.owner, cast.team_id)
    team.leave("pause")
    found = summary(cast.team_id)
    db.session.remove()
    assert (found.next_reset_at, found.next_reset_amount) == (None, 0)


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


class TestTheFirstThing:
    """One banner at most, on each of the three pages: what matters most."""

    @staticmethod
    def shown(cast: Cast) -> str:
        """Its words, the same on all of them."""
        found = set()
        for page in ("credits", "billing", "usage"):
            html = cast.owner.client.get(f"/teams/{cast.team_id}/{page}").get_data(as_text=True)
            banners = re.findall(r'<section class="tp-banner".*?</section>', html, re.DOTALL)
            assert len([one for one in banners if "credits-state" in one]) <= 1
            found.add(plain(next((one for one in banners if "credits-state" in one), "")))
        (words_,) = found
        return words_

    def test_what_a_plan_includes_is_told_from_90_percent_on(self, cast: Cast) -> None:
        use(cast.team_id, "api_calls", 899)
        assert self.shown(cast) == ""
        use(cast.team_id, "api_calls", 1)
        shown = self.shown(cast)
        assert "API calls: 900 of 1,000 included are used" in shown
        assert "Look at the usage" in shown
        use(cast.team_id, "api_calls", 100)
        assert "More of it is refused until the next month of the plan." in self.shown(cast)

    def test_credits_go_before_what_is_included_and_are_told_from_90_percent_on(self, cast: Cast) -> None:
        month(cast.team_id)
        use(cast.team_id, "api_calls", 1_000)
        use(cast.team_id, "send_email", 89)
        assert "API calls" in self.shown(cast)
        use(cast.team_id, "send_email", 1)
        shown = self.shown(cast)
        assert "10 of 100 plan credits of this month are left" in shown
        assert "Get more credits" in shown
        use(cast.team_id, "send_email", 10)
        assert "No credits are left" in self.shown(cast)

    def test_what_a_refund_took_back_is_not_used(self, cast: Cast) -> None:
        month(cast.team_id, 1_000)
        take_back(cast.team_id, 950, "refund:most")
        assert self.shown(cast) == ""

    def test_an_auto_purchase_that_has_stopped_goes_before_all(self, cast: Cast, stage: Stage) -> None:
        buyer = AutoBuyer.subscribed(stage, cast.owner, cast.team_id)
        buyer.turn_on()
        buyer.switch_card(DECLINES)
        buyer.spend_down_to(100)
        buyer.settle()
        shown = self.shown(cast)
        assert "Auto-purchase has stopped The bank declined the payment. Nothing was charged." in shown
        assert "Go to auto-purchase" in shown
        assert buyer.rule().state == "stopped"

    def test_one_that_the_team_may_not_have_any_more_hides_nothing(self, cast: Cast, stage: Stage) -> None:
        """With another plan it stays stopped for good."""
        buyer = AutoBuyer.subscribed(stage, cast.owner, cast.team_id)
        buyer.turn_on()
        with unit_of_work():
            purchase_rules.stop(cast.team_id, "not_allowed")
        buyer.spend_down_to(0)
        assert "Auto-purchase has stopped" in self.shown(cast)
        with unit_of_work():
            override(cast.team_id, "auto_purchase", enabled=False, limit=None, ends_at=None, reason="Another plan")
        assert buyer.rule().state == "stopped"
        assert "No credits are left" in self.shown(cast)
