"""People who act on a team at the same moment: no seat is taken twice, and no team loses its last owner."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from flask import Flask
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from portal.accounts import memberships
from portal.core.authz import Role
from portal.core.database import db
from portal.core.unit_of_work import unit_of_work
from tests import switches
from tests.cast import Cast, Person
from tests.seats import PRO_SEATS, on_plan
from tests.web.accounts.team_people import acts_in, colleague, invite, membership_id, roles, someone

Press = Callable[[], int]


@pytest.fixture(autouse=True)
def unlimited(monkeypatch: pytest.MonkeyPatch) -> None:
    switches.without_limits(monkeypatch)


def at_once(presses: list[Press]) -> list[int]:
    """What each got who pressed at the same moment."""
    db.session.remove()
    start = Barrier(len(presses))

    def begin(one: Press) -> int:
        start.wait(60)
        return one()

    with ThreadPoolExecutor(len(presses)) as pool:
        return list(pool.map(begin, presses))


def press(actor: Person, address: str, form: dict[str, str]) -> Press:
    return lambda: actor.client.post(address, data=form).status_code


def test_ten_invitations_accepted_at_once_with_three_seats_left_fill_exactly_three(app: Flask, cast: Cast) -> None:
    """Ten were asked while there was room for them; then the team went to fewer seats."""
    on_plan(cast.team_id, extra_seats=20)
    presses: list[Press] = []
    for number in range(10):
        link = invite(cast, f"guest{number}@example.com")
        presses.append(press(someone(app, f"guest{number}@example.com"), link, {}))
    on_plan(cast.team_id, "starter", extra_seats=4)
    assert len(roles(cast.team_id)) == 4, "of seven"
    assert Counter(at_once(presses)) == {303: 3, 409: 7}
    assert len(roles(cast.team_id)) == 7
    assert [action for action, _, _ in acts_in(cast.team_id)].count("member.joined") == 3


def test_one_invitation_accepted_ten_times_at_once_is_one_member(app: Flask, cast: Cast) -> None:
    on_plan(cast.team_id)
    link, guest = invite(cast, "guest@example.com"), someone(app, "guest@example.com")
    answers = Counter(at_once([press(guest, link, {})] * 10))
    assert answers[303] == 1
    assert answers[410] == 9
    assert roles(cast.team_id)["guest@example.com"] == "member"


def test_invitations_sent_at_once_keep_no_more_seats_than_there_are(app: Flask, cast: Cast) -> None:
    on_plan(cast.team_id)
    address, people = f"/teams/{cast.team_id}/invitations", (cast.owner, cast.admin)
    forms = [{"email": f"guest{number}@example.com", "role": "member"} for number in range(10)]
    answers = Counter(at_once([press(people[place % 2], address, form) for place, form in enumerate(forms)]))
    assert answers == {303: PRO_SEATS - 4, 422: 10 - (PRO_SEATS - 4)}


@pytest.fixture
def past_the_guard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two requests meet where they are about to lock the team: both were let in as what they were."""
    meeting, lock = Barrier(2), memberships.lock_team

    def meet(team_id: str) -> None:
        meeting.wait(60)
        lock(team_id)

    monkeypatch.setattr(memberships, "lock_team", meet)


@pytest.mark.usefixtures("past_the_guard")
@pytest.mark.parametrize("what", ["removal", "role", "departure"])
def test_s10_two_owners_act_on_each_other_at_once_and_one_stays(app: Flask, cast: Cast, what: str) -> None:
    pair = cast.owner, colleague(app, cast.team_id, Role.OWNER, "second@example.com")
    if what == "departure":
        targets = [f"/teams/{cast.team_id}/departure"] * 2
    else:
        targets = [f"/teams/{cast.team_id}/members/{membership_id(cast.team_id, on)}/{what}" for on in reversed(pair)]
    answers = at_once([press(actor, to, {"role": "admin"}) for actor, to in zip(pair, targets, strict=True)])
    assert sorted(answers) == [303, 409]
    owners = [email for email, role in roles(cast.team_id).items() if role == "owner"]
    assert owners == [pair[answers.index(409 if what == "departure" else 303)].email]


@pytest.mark.usefixtures("past_the_guard")
def test_a_team_handed_to_two_people_at_once_has_one_new_owner(cast: Cast) -> None:
    targets = [
        f"/teams/{cast.team_id}/members/{membership_id(cast.team_id, heir)}/ownership"
        for heir in (cast.admin, cast.member)
    ]
    assert sorted(at_once([press(cast.owner, to, {}) for to in targets])) == [303, 409]
    assert list(roles(cast.team_id).values()).count("owner") == 1


def test_s10_without_our_checks_the_database_still_keeps_an_owner(app: Flask, cast: Cast) -> None:
    """Two transactions that each remove the other's owner: each sees the other's still there."""
    second = colleague(app, cast.team_id, Role.OWNER, "second@example.com")
    both_deleted = Barrier(2)

    def delete(user_id: str) -> int:
        with app.app_context():
            try:
                with unit_of_work() as session:
                    session.execute(text("delete from memberships where user_id = :id"), {"id": user_id})
                    both_deleted.wait(60)
            except DBAPIError:
                return 0
            return 1

    ids = [cast.owner.user_id, second.user_id]
    assert sorted(at_once([lambda one=one: delete(one) for one in ids])) == [0, 1]  # type: ignore[misc]
    assert list(roles(cast.team_id).values()).count("owner") == 1
