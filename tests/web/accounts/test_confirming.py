"""Confirming an address: the mailed link asks and changes nothing, and nobody is left with a stranger's password.

What is guaranteed: an account gets confirmed with the password it has only by somebody who reads the mailbox and knows
that password. Whoever reads the mailbox alone sets a password of their own, which confirms the account as well.
"""

from __future__ import annotations

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select

from portal.accounts.models import Membership, User
from portal.core.database import db
from portal.credits.queries import balance
from portal.notifications.models import OutboxItem
from tests.cast import PASSWORD, Cast
from tests.seats import on_plan
from tests.web.accounts.doors import acts, confirm_address, confirmation_link, is_in, mails, sign_in
from tests.web.accounts.team_people import invite
from tests.web.accounts.test_door import NEW, ask_for_reset, bare, link_of, use, worked

VICTIM, OF_STRANGER = "research@example.com", "what the stranger chose"
# At every step a stranger may do this: sign up with somebody else's address, and try to get in.
STRANGER = {"email": VICTIM, "password": OF_STRANGER, "team_name": "Trap", "name": "Not Me"}


@pytest.fixture
def stranger(app: Flask) -> FlaskClient:
    """Somebody who has signed up with an address whose mail they cannot read."""
    client = app.test_client()
    assert client.post("/signup", data=STRANGER).status_code == 302
    return client


def victim() -> User:
    db.session.rollback()
    query = select(User).where(User.email == VICTIM).execution_options(populate_existing=True)
    return db.session.execute(query).scalar_one()


def opens(app: Flask, password: str) -> bool:
    client = app.test_client()
    sign_in(client, VICTIM, password)
    return is_in(client)


def saved() -> tuple[int, int]:
    """How much stands in the audit trail and in the outbox."""
    db.session.rollback()
    return len(acts()), int(db.session.execute(select(func.count()).select_from(OutboxItem)).scalar_one())


def test_opening_the_link_changes_nothing_as_mail_scanners_open_links(app: Flask, stranger: FlaskClient) -> None:
    link, before = confirmation_link(), saved()
    for method in ("GET", "HEAD", "GET"):
        assert app.test_client().open(link, method=method).status_code == 200
    assert victim().confirmed_at is None
    assert saved() == before
    assert not opens(app, OF_STRANGER)


def test_the_page_says_what_to_do_and_tells_its_address_nobody(app: Flask, stranger: FlaskClient) -> None:
    answer = app.test_client().get(confirmation_link())
    page = answer.get_data(as_text=True)
    assert VICTIM in page
    assert "I did not choose a password" in page
    assert 'href="/reset"' in page
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("given", ["", "a guess of mine", PASSWORD])
def test_the_mailbox_alone_does_not_confirm_what_a_stranger_chose(
    app: Flask, stranger: FlaskClient, given: str
) -> None:
    answer = app.test_client().post(confirmation_link(), data={"password": given})
    assert answer.status_code == 422
    assert "aria-invalid" in answer.get_data(as_text=True)
    assert victim().confirmed_at is None
    assert not opens(app, OF_STRANGER)


def test_the_mailbox_and_the_password_together_do(app: Flask, client: FlaskClient) -> None:
    client.post("/signup", data=STRANGER | {"password": PASSWORD})
    answer = confirm_address(client)
    assert (answer.status_code, answer.location) == (302, "/login")
    assert "Your address is confirmed." in client.get("/login").get_data(as_text=True)
    assert opens(app, PASSWORD)
    assert client.get(confirmation_link()).status_code == 302, "a used link has no page any more"


def test_a_link_that_is_damaged_leads_to_a_new_one(client: FlaskClient) -> None:
    for method in ("GET", "POST"):
        answer = client.open("/confirm/made-up", method=method, data={"password": PASSWORD})
        assert (answer.status_code, answer.location) == (302, "/confirm")


def test_passwords_are_guessed_there_no_more_often_than_at_the_sign_in(app: Flask, client: FlaskClient) -> None:
    client.post("/signup", data=STRANGER | {"password": PASSWORD})
    link = confirmation_link()
    statuses = [client.post(link, data={"password": f"guess {number}"}).status_code for number in range(11)]
    assert statuses == [422] * 10 + [429]
    assert client.post(link, data={"password": PASSWORD}).status_code == 429
    assert acts().count("user.sign_in_failed") == 10
    assert victim().confirmed_at is None


def test_whoever_reads_the_mailbox_sets_a_password_of_their_own_and_has_the_account(
    app: Flask, stranger: FlaskClient
) -> None:
    theirs = confirmation_link()
    link = ask_for_reset(app, VICTIM)
    assert victim().confirmed_at is None, "asking proves nothing"
    assert worked(use(app, link))
    user = victim()
    assert user.confirmed_at is not None
    assert opens(app, NEW)
    assert not opens(app, OF_STRANGER)
    assert not worked(app.test_client().post(theirs, data={"password": OF_STRANGER})), "it ended with the password"
    assert len(mails("welcome")) == 1
    team_id = db.session.execute(select(Membership.team_id).where(Membership.user_id == user.id)).scalar_one()
    assert balance(team_id).available == 100


def test_asking_for_a_new_password_tells_nobody_that_an_account_waits(app: Flask, stranger: FlaskClient) -> None:
    known, unknown = (
        bare(app.test_client().post("/reset", data={"email": email}), email) for email in (VICTIM, "nobody@example.com")
    )
    assert known == unknown


def test_an_invited_person_whom_a_stranger_came_before_is_alone_in_the_team(
    app: Flask, cast: Cast, stranger: FlaskClient
) -> None:
    """The stranger signed up first; the invited person then tries to, and follows what their mails say."""
    on_plan(cast.team_id)
    invite(cast, VICTIM)
    guest = app.test_client()
    guest.post("/signup", data=STRANGER | {"password": PASSWORD, "team_name": "Mine"})
    (mail,) = mails("already_registered")
    refused = guest.post(link_of(mail), data={"password": PASSWORD})
    assert refused.status_code == 422
    assert 'href="/reset"' in refused.get_data(as_text=True)
    assert not opens(app, OF_STRANGER)
    assert worked(use(app, ask_for_reset(app, VICTIM)))
    assert not opens(app, OF_STRANGER)
    assert sign_in(guest, VICTIM, NEW).status_code == 302
    assert "You are invited" in guest.get("/teams").get_data(as_text=True)
