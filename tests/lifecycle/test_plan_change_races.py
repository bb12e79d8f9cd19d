"""Several who change at once, what is refused and why, and previews that are too old."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import func, select, text

from portal.accounts.models import Membership
from portal.billing.change_models import ChangePreview, PendingChange
from portal.billing.jobs import forget_previews
from portal.core.authz import Role
from portal.core.database import db
from portal.core.unit_of_work import unit_of_work
from tests.cast import Cast, Person, make_user
from tests.plan_changes import Changer
from tests.stage import Stage


@pytest.fixture
def changer(cast: Cast, stage: Stage) -> Changer:
    return Changer.on(stage, cast.owner, cast.team_id, "business")


def changes() -> int:
    found = db.session.execute(select(func.count()).select_from(PendingChange)).scalar_one()
    db.session.remove()
    return int(found)


def test_twenty_double_clicks_are_one_change_and_one_charge(changer: Changer) -> None:
    preview = changer.shown(changer.ask("business", "year"))
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: changer.agree(preview), range(20)))
    assert {answer.status_code for answer in answers} == {303}
    assert len({answer.location for answer in answers}) == 1
    assert changes() == 1
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: _drain(changer.stage), range(4)))
    assert changer.come_to(answers[0]).state == "done"
    made = [one for one in changer.invoices() if one["billing_reason"] == "subscription_update"]
    assert [one["amount_paid"] for one in made] == [preview.amount_due]
    assert changer.agree(preview).location == answers[0].location


def _drain(stage: Stage) -> None:
    with stage.app.app_context():
        stage.drain()


def test_of_two_admins_who_change_seats_at_once_one_is_told_409(cast: Cast, changer: Changer) -> None:
    other = Changer(changer.stage, cast.admin, cast.team_id)
    shown = [(cast.owner, changer.shown(changer.ask_seats(30))), (cast.admin, other.shown(other.ask_seats(40)))]
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda pair: changer.agree(pair[1], pair[0]), shown))
    assert Counter(answer.status_code for answer in answers) == {303: 1, 409: 1}
    won = next(answer for answer in answers if answer.status_code == 303)
    change = changer.come_to(won)
    assert change.state == "done"
    seats = next(preview.seats for _, preview in shown if preview.id == change.preview_id)
    assert {item.get("quantity") for item in changer.live()["items"]["data"]} == {1, (seats or 0) - 25, None}


def test_a_preview_from_before_another_change_is_told_409(cast: Cast, changer: Changer) -> None:
    old = changer.shown(changer.ask_seats(30))
    changer.change_seats(28)
    late = changer.agree(old, cast.admin)
    assert late.status_code == 409
    assert "Show a new preview" in late.get_data(as_text=True)
    changer.assert_mirrored()


def test_a_preview_holds_for_ten_minutes(changer: Changer) -> None:
    preview = changer.shown(changer.ask("business", "year"))
    assert preview.expires_at - preview.created_at == timedelta(minutes=10)
    changer.stage.advance(timedelta(minutes=10, seconds=1))
    page = changer.person.client.get(f"/teams/{changer.team_id}/plan/previews/{preview.id}").get_data(as_text=True)
    assert "Make the preview anew" in page
    assert "and change plan" not in page
    late = changer.agree(preview)
    assert (late.status_code, changes()) == (409, 0)
    assert "The preview has expired" in late.get_data(as_text=True)


def test_previews_that_nobody_agreed_to_are_forgotten_after_a_day(changer: Changer) -> None:
    changer.change_seats(30)
    changer.shown(changer.ask_seats(31))
    changer.stage.advance(timedelta(days=1, minutes=1))
    assert forget_previews() == 1
    assert db.session.execute(select(func.count()).select_from(ChangePreview)).scalar_one() == 1


def join(cast: Cast, number: int) -> None:
    with unit_of_work():
        for _ in range(number):
            user = make_user()
            db.session.add(Membership(team_id=cast.team_id, user_id=user.id, user=user, role=Role.MEMBER))
    db.session.remove()


def refusal(changer: Changer, plan: str, status: int, **more: str) -> str:
    answer = changer.ask(plan, **more)
    assert answer.status_code == status, answer.get_data(as_text=True)
    db.session.remove()
    return answer.get_data(as_text=True)


def test_a_plan_needs_a_seat_for_every_member(cast: Cast, changer: Changer) -> None:
    """Four members; Starter includes 3 seats and has 10 at most."""
    assert "would have seats" in refusal(changer, "starter", 422, seats="3")
    assert changer.shown(changer.ask("starter")).seats == 4
    join(cast, 7)
    page = refusal(changer, "starter", 422)
    assert "There are 11 members" in page
    assert changer.shown(changer.ask("pro")).seats == 11


def test_members_that_came_after_the_preview_are_not_locked_out(cast: Cast, changer: Changer) -> None:
    preview = changer.shown(changer.ask("starter"))
    join(cast, 1)
    answer = changer.agree(preview)
    assert (answer.status_code, changes()) == (409, 0)
    assert "The team has more members by now" in answer.get_data(as_text=True)


def test_seats_have_a_most_and_are_never_fewer_than_members(cast: Cast, changer: Changer) -> None:
    assert "500 seats at most" in changer.ask_seats(501).get_data(as_text=True)
    join(cast, 26)
    assert changer.ask_seats(29).status_code == 422
    assert changer.shown(changer.ask_seats(30)).seats == 30


@pytest.mark.parametrize(
    ("plan", "more", "status", "words"),
    [
        ("business", {}, 409, "Nothing would change"),
        ("enterprise", {}, 409, "changed by agreement"),
        ("free", {}, 422, "not on sale"),
        ("nonsense\x00", {}, 422, "not on sale"),
        ("pro", {"interval": "week"}, 422, "not on sale"),
        ("pro", {"promotion_code": "NOSUCHCODE"}, 422, "no such promotion code"),
    ],
)
def test_what_cannot_be_chosen_is_refused_with_the_reason(
    changer: Changer, plan: str, more: dict[str, str], status: int, words: str
) -> None:
    assert words in refusal(changer, plan, status, **more)


@pytest.mark.parametrize(
    ("standing", "words"),
    [
        ("status = 'past_due'", "An invoice has to be paid first"),
        ("status = 'unpaid'", "An invoice has to be paid first"),
        ("status = 'paused'", "The plan is paused"),
        ("status = 'canceled'", "The team has no plan"),
        ("plan_key = null", "changed by agreement"),
        ("plan_key = 'enterprise'", "changed by agreement"),
        ("cancel_at = now() + interval '2 days'", "about to end"),
    ],
)
def test_a_plan_that_cannot_be_changed_now_says_why(changer: Changer, standing: str, words: str) -> None:
    db.session.execute(text(f"update subscriptions set {standing}"))  # noqa: S608  our own words
    db.session.commit()
    assert words in refusal(changer, "pro", 409)
    assert words in changer.person.client.get(f"/teams/{changer.team_id}/plan").get_data(as_text=True)
    assert words in changer.person.client.get(f"/teams/{changer.team_id}/seats").get_data(as_text=True)


def test_while_a_change_is_on_its_way_there_is_no_other(changer: Changer) -> None:
    preview = changer.shown(changer.ask("business", "year"))
    going = changer.agree(preview)
    assert going.status_code == 303
    page = refusal(changer, "pro", 409)
    assert "A change is on its way already" in page
    assert going.location in page


def test_an_undo_of_nothing_is_refused(changer: Changer) -> None:
    answer = changer.person.client.post(f"/teams/{changer.team_id}/plan/planned/removal")
    assert (answer.status_code, changes()) == (409, 0)


def test_another_teams_preview_cannot_be_agreed_to(cast: Cast, changer: Changer) -> None:
    preview = changer.shown(changer.ask("business", "year"))
    stranger = Changer(changer.stage, Person(cast.outsider.user_id, "", cast.outsider.client), cast.other_team_id)
    assert stranger.agree(preview).status_code == 404
    assert changes() == 0
