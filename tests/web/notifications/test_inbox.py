"""The inbox: who finds what in it, what becomes of an entry, and how much is new."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import delete, func, select, text, update

from portal.accounts.models import Membership, UserSession
from portal.core import clock
from portal.core.database import db
from portal.core.ids import new_id
from portal.core.unit_of_work import unit_of_work
from portal.notifications.models import Notification
from portal.worker import tasks
from tests.cast import Cast, Person
from tests.web.notifications.news import entries_of, tell_of_failure, tell_of_seats

HTMX = {"HX-Request": "true"}


def show(person: Person, query: str = "") -> str:
    answer = person.client.get(f"/inbox{query}")
    assert answer.status_code == 200
    return str(answer.get_data(as_text=True))


def unread(client: FlaskClient, page: str = "/account") -> int:
    """What the frame of a page says."""
    shown = re.search(r'id="bell-side".*?</a>', client.get(page).get_data(as_text=True), re.DOTALL)
    assert shown is not None
    number = re.search(r"(\d+)<span class=\"visually-hidden\"> unread", shown.group())
    return int(number.group(1)) if number else 0


def test_news_of_a_team_reach_those_whose_role_may_see_them(cast: Cast) -> None:
    tell_of_seats(cast.team_id)
    for name, person in cast.by_role().items():
        page, count = show(person), unread(person.client)
        assert ("Your team has 5 seats now" in page, count) == ((True, 1) if name != "member" else (False, 0)), name
    assert "5 seats" not in show(cast.outsider)
    assert "Harbor Analytics" in show(cast.owner)
    assert "You are up to date" in show(cast.member)


def test_the_same_fact_is_told_once(cast: Cast) -> None:
    for seats in (5, 6):
        tell_of_seats(cast.team_id, "seats:1", seats)
    assert [entry.title for entry in entries_of(cast.owner.user_id)] == ["Your team has 5 seats now"]


@pytest.mark.parametrize(
    ("change", "sees"),
    [
        (update(Membership).values(role="member"), False),
        (update(Membership).values(role="admin"), True),
        (delete(Membership), False),
    ],
)
def test_what_somebody_sees_follows_the_role_they_have_now(cast: Cast, change: object, sees: bool) -> None:
    tell_of_failure(cast.team_id)
    entry_id = entries_of(cast.billing.user_id)[0].id
    with unit_of_work() as session:
        session.execute(change.where(Membership.user_id == cast.billing.user_id))  # type: ignore[attr-defined]
    db.session.remove()
    for query in ("", "?show=all"):
        assert ("did not go through" in show(cast.billing, query)) is sees
    assert unread(cast.billing.client) == int(sees)
    cast.billing.client.post("/inbox/dismissal")
    for act in ("reading", "dismissal"):
        answer = cast.billing.client.post(f"/inbox/{entry_id}/{act}")
        assert answer.status_code == (303 if sees else 404)
    assert (entries_of(cast.billing.user_id)[0].dismissed_at is not None) is sees, "nothing is done unseen"


def test_s1_nobody_acts_on_the_entry_of_another(cast: Cast) -> None:
    tell_of_seats(cast.team_id)
    entry_id = entries_of(cast.owner.user_id)[0].id
    for person in (cast.admin, cast.outsider):
        for act in ("reading", "dismissal"):
            answer = person.client.post(f"/inbox/{entry_id}/{act}")
            unknown = person.client.post(f"/inbox/{new_id('note')}/{act}")
            assert answer.status_code == unknown.status_code == 404
    assert entries_of(cast.owner.user_id)[0].read_at is None


def test_an_entry_is_opened_dismissed_and_found_in_the_history(cast: Cast) -> None:
    client = cast.owner.client
    tell_of_seats(cast.team_id, "one")
    tell_of_failure(cast.team_id, "two")
    first, second = entries_of(cast.owner.user_id)
    opened = client.post(f"/inbox/{first.id}/reading")
    assert (opened.status_code, opened.location) == (303, "/teams")
    assert unread(client) == 1
    client.post(f"/inbox/{second.id}/dismissal")
    assert unread(client) == 0, "what is dismissed is read"
    page, history = show(cast.owner), show(cast.owner, "?show=all")
    assert "Your team has 5 seats now" in page
    assert "did not go through" not in page
    assert "· dismissed" in history
    assert "did not go through" in history


def test_all_at_once_in_place_with_the_count_beside_it(cast: Cast) -> None:
    client = cast.owner.client
    for number in range(3):
        tell_of_seats(cast.team_id, seats=number + 2)
    assert unread(client) == 3
    read = client.post("/inbox/reading", headers=HTMX).get_data(as_text=True)
    assert read.count('hx-swap-oob="true"') == 2
    assert "unread</span>" not in read
    assert "Your team has 4 seats now" in read
    gone = client.post("/inbox/dismissal", headers=HTMX).get_data(as_text=True)
    assert "You are up to date" in gone
    assert client.post("/inbox/dismissal").location == "/inbox"


def test_a_list_is_narrowed_and_paged(cast: Cast) -> None:
    for number in range(30):
        tell_of_seats(cast.team_id, seats=number + 2)
    tell_of_failure(cast.team_id)
    assert "1 to 25 of 31" in show(cast.owner)
    older = re.search(r'href="/inbox(\?[^"]*before=[^"]*)"', show(cast.owner, "?severity=info"))
    assert older is not None
    assert "26 to 30 of 30" in show(cast.owner, older.group(1).replace("&amp;", "&"))
    assert "1 to 1 of 1" in show(cast.owner, "?severity=danger")
    assert "Nothing of this kind" in show(cast.owner, "?severity=success")
    theirs = entries_of(cast.admin.user_id)[0].id
    for query, status in {"severity=loud": 422, "show=none": 422, f"before={theirs}": 400, "after=%00": 400}.items():
        assert cast.owner.client.get(f"/inbox?{query}").status_code == status, query


def test_the_count_comes_anew_only_when_it_is_another_one(cast: Cast) -> None:
    client = cast.owner.client
    assert client.get("/inbox/unread?seen=0", headers=HTMX).status_code == 204
    tell_of_seats(cast.team_id)
    answer = client.get("/inbox/unread?seen=0", headers=HTMX)
    assert answer.status_code == 200
    assert answer.get_data(as_text=True).count('hx-swap-oob="true"') == 1, "the other place goes along"


def test_s23_a_page_that_asks_by_itself_keeps_nobody_signed_in(cast: Cast) -> None:
    with unit_of_work() as session:
        session.execute(update(UserSession).values(last_seen_at=clock.now() - timedelta(hours=1)))
    before = seen(cast.owner)
    cast.owner.client.get("/inbox/unread?seen=0")
    assert seen(cast.owner) == before
    cast.owner.client.get("/inbox")
    assert seen(cast.owner) > before


def seen(person: Person) -> float:
    query = select(func.extract("epoch", UserSession.last_seen_at)).where(UserSession.user_id == person.user_id)
    found = float(db.session.execute(query).scalar_one())
    db.session.remove()
    return found


def test_s42_a_link_leads_to_our_pages_and_to_the_hosted_ones(app: Flask, cast: Cast) -> None:
    hosted = app.config["SETTINGS"].hosted_page_origins[0]
    tell_of_seats(cast.team_id)
    entry_id = entries_of(cast.owner.user_id)[0].id
    for link, leads in {
        "/teams": "/teams",
        f"{hosted}/i/1": f"{hosted}/i/1",
        "https://evil.example/": "/inbox",
        "//evil.example": "/inbox",
        "javascript:alert(1)": "/inbox",
    }.items():
        with unit_of_work() as session:
            session.execute(update(Notification).values(link=link))
        assert cast.owner.client.post(f"/inbox/{entry_id}/reading").location == leads


def test_old_entries_are_forgotten(cast: Cast) -> None:
    tell_of_seats(cast.team_id, "old")
    with unit_of_work() as session:
        session.execute(text("update notifications set created_at = app_now() - interval '181 days'"))
    tell_of_seats(cast.team_id, "new")
    tasks()["notifications.old_entries"].run()
    assert [entry.fact for entry in entries_of(cast.owner.user_id)] == ["new"]
