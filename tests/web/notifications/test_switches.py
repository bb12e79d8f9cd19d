"""What people are told of: which switches there are, what they do, and the way out that every mail of a switch has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import select, update

from portal.accounts.models import AuditEntry, Membership, Team
from portal.core.database import db
from portal.core.unit_of_work import unit_of_work
from portal.notifications.kinds import KINDS, has_inbox_words, kind_of
from portal.notifications.unsubscribing import unsubscribe_address
from tests import switches as settings_switches
from tests.cast import Cast, Person
from tests.web.notifications.news import entries_of, mailed, payloads, tell_of_failure, tell_of_seats

MAILS = Path(__file__).resolve().parents[3] / "templates" / "email"
SHOWN = [f"{name}:{channel}" for name in KINDS for channel in ("mail", "inbox")]
ONE_CLICK = {"List-Unsubscribe": "One-Click"}
# The operator's, who is no person of the portal.
NO_KIND = {"alarms"}


def choose(person: Person, *on: str) -> None:
    """Send the page's form with these switches on and all others off."""
    answer = person.client.post("/account/notifications", data={"shown": SHOWN, "on": list(on)})
    assert (answer.status_code, answer.location) == (303, "/account/notifications")


def path_of(address: str) -> str:
    return re.sub(r"^https?://[^/]+", "", address)


def test_every_mail_belongs_to_a_kind_and_has_its_words_for_the_inbox() -> None:
    for folder in (path.parent for path in MAILS.glob("*/body.txt") if path.parent.name not in NO_KIND):
        assert kind_of(folder.name)
        assert (folder / "inbox.txt").exists() == has_inbox_words(folder.name), folder.name
    with pytest.raises(LookupError, match="KINDS"):
        kind_of("a_mail_of_no_kind")


def test_without_a_choice_everything_that_is_usual_is_told(cast: Cast) -> None:
    tell_of_seats(cast.team_id)
    assert mailed("seats_changed") == ["billing@example.com", "owner@example.com"]
    assert len(entries_of(cast.billing.user_id)) == len(entries_of(cast.admin.user_id)) == 1


@pytest.mark.parametrize("on", ["", "mail", "inbox"])
def test_a_switch_is_for_one_person_one_kind_and_one_way(cast: Cast, on: str) -> None:
    choose(cast.billing, *([f"seats_changed:{on}"] if on else []))
    tell_of_seats(cast.team_id)
    assert ("billing@example.com" in mailed("seats_changed")) is (on == "mail")
    assert len(entries_of(cast.billing.user_id)) == (on == "inbox")
    assert "owner@example.com" in mailed("seats_changed")
    choose(cast.billing, *SHOWN)
    tell_of_seats(cast.team_id, "again")
    assert mailed("seats_changed").count("billing@example.com") == (2 if on == "mail" else 1)


def test_owners_hear_of_a_failed_payment_whatever_they_choose(cast: Cast) -> None:
    """Also where the team's bills go to an address that is nobody's, which has no switches."""
    for person in (cast.owner, cast.billing):
        choose(person)
    with unit_of_work() as session:
        session.execute(update(Team).where(Team.id == cast.team_id).values(billing_email="bills@example.com"))
    tell_of_failure(cast.team_id)
    tell_of_seats(cast.team_id)
    assert mailed("payment_failed") == ["bills@example.com", "owner@example.com"]
    assert mailed("seats_changed") == ["bills@example.com"]
    assert [entry.kind for entry in entries_of(cast.owner.user_id)] == ["payment_failed"]
    assert entries_of(cast.billing.user_id) == []


def test_the_page_says_what_cannot_be_switched_off_and_why(cast: Cast) -> None:
    with unit_of_work() as session:
        session.add(Membership(team_id=cast.other_team_id, user_id=cast.owner.user_id, role="billing"))
    owner, admin, elsewhere = (
        person.client.get("/account/notifications").get_data(as_text=True)
        for person in (cast.outsider, cast.admin, cast.owner)
    )
    for page in (owner, admin, elsewhere):
        assert page.count("<b>Always on.</b>") == (5 if page is owner else 4)
        assert "So that you notice when it was not you." in page
    assert not can_turn(owner, "payment_failed:mail")
    assert can_turn(admin, "payment_failed:mail")
    assert "The switch is for your other teams." in elsewhere
    assert not can_turn(admin + owner, "security:mail")


def can_turn(page: str, switch: str) -> bool:
    return re.search(rf'name="shown"\s+value="{switch}"', page) is not None


def test_a_form_cannot_switch_off_what_is_fixed(cast: Cast) -> None:
    choose(cast.owner)
    with unit_of_work() as session:
        for person, role in ((cast.admin, "owner"), (cast.owner, "admin")):
            session.execute(update(Membership).where(Membership.user_id == person.user_id).values(role=role))
    page = cast.owner.client.get("/account/notifications").get_data(as_text=True)
    box = re.search(r'value="payment_failed:mail"\s+checked', page)
    assert box is not None, "the switch that was not there to be turned stayed where it was"
    actions = db.session.execute(select(AuditEntry.detail).where(AuditEntry.action == "user.notifications_changed"))
    assert {name.split(":")[0] for name in actions.scalar_one()["switches"]}.isdisjoint(
        {"security", "account", "invitation", "welcome", "payment_failed"}
    )


def test_rfc8058_a_mail_that_can_be_stopped_names_the_way_and_one_post_is_enough(app: Flask, cast: Cast) -> None:
    """No session, no form token, no redirect; and a mail scanner that opens the link stops nothing."""
    tell_of_seats(cast.team_id)
    [mail] = [payload for payload in payloads() if payload["to"] == "billing@example.com"]
    way = mail["unsubscribe"]
    assert way in mail["text"]
    assert way in mail["html"]
    asked = cast.anonymous.get(path_of(way))
    assert asked.status_code == 200
    assert "Stop these mails?" in asked.get_data(as_text=True)
    tell_of_seats(cast.team_id)
    assert mailed("seats_changed").count("billing@example.com") == 2
    app.config["WTF_CSRF_ENABLED"] = True
    try:
        assert app.test_client().post(path_of(way)).status_code == 400, "a mail program says what it asks for"
        for _ in range(2):
            answer = app.test_client().post(path_of(way), data=ONE_CLICK)
            assert answer.status_code == 200
    finally:
        app.config["WTF_CSRF_ENABLED"] = False
    tell_of_seats(cast.team_id)
    assert mailed("seats_changed").count("billing@example.com") == 2
    assert len(entries_of(cast.billing.user_id)) == 3, "the inbox goes on"
    trail = db.session.execute(select(AuditEntry.detail).where(AuditEntry.action == "user.unsubscribed")).scalars()
    assert [detail["kind"] for detail in trail] == ["seats_changed"]


def test_mails_that_cannot_be_stopped_offer_no_way_out(cast: Cast) -> None:
    tell_of_failure(cast.team_id)
    ways = {payload["to"]: payload["unsubscribe"] for payload in payloads()}
    assert ways["owner@example.com"] is None
    assert ways["billing@example.com"]


def test_s82_a_link_that_was_altered_or_is_about_another_kind_does_nothing(app: Flask, cast: Cast) -> None:
    good = path_of(unsubscribe_address(cast.billing.user_id, "seats_changed"))
    fixed = path_of(unsubscribe_address(cast.billing.user_id, "security"))
    nobody = path_of(unsubscribe_address("user_none", "seats_changed"))
    flipped = good[:-3] + ("A" if good[-3] != "A" else "B") + good[-2:]
    for path in (flipped, fixed, good[:-1], "/unsubscribe/no-such-token", "/unsubscribe/%00"):
        assert cast.anonymous.get(path).status_code == 400
        assert cast.anonymous.post(path, data=ONE_CLICK).status_code == 400
    assert cast.anonymous.post(nobody, data=ONE_CLICK).status_code == 400
    tell_of_seats(cast.team_id)
    assert "billing@example.com" in mailed("seats_changed")
    with settings_switches.settings(
        app, secret_key="b" * 40, secret_key_fallbacks=(app.config["SETTINGS"].secret_key,)
    ):
        assert cast.anonymous.get(good).status_code == 200, "a rotated secret leaves the links of old mails good"
