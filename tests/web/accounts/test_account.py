"""A person's own pages: profile, password, address, sessions; and the password once more before what matters."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select, update

from portal.accounts import email_change
from portal.accounts.freshness import FRESH_FOR
from portal.accounts.models import ApiKey, User, UserSession
from portal.core import clock
from portal.core.database import db
from portal.core.unit_of_work import unit_of_work
from portal.notifications.models import OutboxItem
from tests.cast import PASSWORD, Cast
from tests.web.accounts.doors import acts, browser_of, cookie_of, is_in, mails, make_person, sign_in, with_cookie
from tests.web.security.rows import rows_of_team

NEW = "another long passphrase"
MOVED = "robin@elsewhere.example"


def advance(by: timedelta) -> None:
    with unit_of_work():
        clock.advance(by)


def person(email: str = "robin@example.com") -> User:
    db.session.rollback()
    query = select(User).where(User.email == email).execution_options(populate_existing=True)
    return db.session.execute(query).scalar_one()


def link_of(mail: OutboxItem) -> str:
    found = re.search(r"https?://[^/]+(/\S+)", mail.payload["text"])
    assert found is not None
    return found.group(1)


def ask_for_move(client: FlaskClient, email: str = MOVED) -> str:
    """Ask for another address and return the link of the newest mail."""
    assert client.post("/account/email", data={"email": email}).status_code == 303
    db.session.rollback()
    return link_of(mails("confirm_new_email")[-1])


# ---------------------------------------------------------------- profile


def test_times_follow_the_persons_zone_and_way_of_writing_and_else_the_teams(app: Flask) -> None:
    make_person()
    client = browser_of(app)
    client.post("/account", data={"name": "  Robin   Field ", "locale": "en-US", "time_zone": "Asia/Tokyo"})
    page = client.get("/account/security").get_data(as_text=True)
    assert re.search(r">[A-Z][a-z]{2} \d{1,2}, 20\d\d, \d{1,2}:\d\d [AP]M JST<", page)
    assert person().name == "Robin Field"
    client.post("/account", data={"name": "Robin", "locale": "en-GB", "time_zone": ""})
    page = client.get("/account/security").get_data(as_text=True)
    assert re.search(r">\d{1,2} [A-Z][a-z]{2} 20\d\d, \d\d:\d\d UTC<", page)
    assert person().time_zone is None


@pytest.mark.parametrize("field", [{"time_zone": "Mars/Olympus"}, {"locale": "xx"}, {"name": "x" * 81}])
def test_a_profile_with_a_value_that_is_none_is_not_saved(app: Flask, field: dict[str, str]) -> None:
    make_person()
    answer = browser_of(app).post("/account", data={"name": "R", "locale": "en-GB", "time_zone": "", **field})
    assert answer.status_code == 422
    assert person().name == "Robin Field"


def test_s12_fields_that_are_not_in_the_form_are_not_taken(app: Flask) -> None:
    make_person()
    browser_of(app).post(
        "/account",
        data={
            "name": "R",
            "locale": "en-GB",
            "time_zone": "",
            "is_staff": "1",
            "email": "x@example.com",
            "role": "owner",
        },
    )
    assert (person().name, person().is_staff) == ("R", False)


# ---------------------------------------------------------------- password


def test_s22_a_new_password_ends_every_other_session_and_this_one_goes_on_anew(app: Flask) -> None:
    make_person()
    here, there = browser_of(app, remember="y"), browser_of(app)
    before = cookie_of(here)
    answer = here.post("/account/password", data={"current": PASSWORD, "password": NEW})
    assert (answer.status_code, answer.location) == (303, "/account/security")
    assert is_in(here)
    assert not is_in(there)
    assert not is_in(with_cookie(app, before))
    assert [row.kept for row in db.session.execute(select(UserSession)).scalars()] == [True]
    assert [mail.payload["to"] for mail in mails("password_reset_notice")] == ["robin@example.com"]
    assert acts() == ["user.signed_in", "user.signed_in", "user.password_changed"]
    assert sign_in(app.test_client()).status_code == 200
    assert sign_in(app.test_client(), password=NEW).status_code == 302


@pytest.mark.parametrize(
    ("current", "password"), [("not it", NEW), ("", NEW), (PASSWORD, "short"), (PASSWORD, "password1"), (PASSWORD, "")]
)
def test_a_wrong_current_or_a_bad_new_password_changes_nothing(app: Flask, current: str, password: str) -> None:
    make_person()
    here, there = browser_of(app), browser_of(app)
    before = person().password
    assert here.post("/account/password", data={"current": current, "password": password}).status_code == 422
    assert person().password == before
    assert is_in(there)
    assert mails() == []


def test_a_stolen_session_cannot_try_passwords_without_end(app: Flask) -> None:
    make_person()
    client = browser_of(app)
    tries = [client.post("/account/password", data={"current": "guess", "password": NEW}) for _ in range(11)]
    assert [answer.status_code for answer in tries] == [422] * 10 + [429]
    assert client.post("/verify", data={"password": PASSWORD}).status_code == 429


def test_a_change_that_cannot_be_saved_sends_no_notice_and_ends_nothing(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_person()
    here, there, before = browser_of(app), browser_of(app), person().password

    def fails() -> None:
        raise RuntimeError("the database said no")

    with monkeypatch.context() as broken:
        broken.setattr("portal.core.unit_of_work.commit", fails)
        with pytest.raises(RuntimeError):
            here.post("/account/password", data={"current": PASSWORD, "password": NEW})
    assert person().password == before
    assert mails() == []
    assert is_in(there)


# ---------------------------------------------------------------- address


def test_s33_the_new_address_is_proven_and_the_old_one_is_told(app: Flask) -> None:
    make_person()
    here, there = browser_of(app), browser_of(app)
    link = ask_for_move(here)
    assert [mail.payload["to"] for mail in mails("confirm_new_email")] == [MOVED]
    (warning,) = mails("email_change_asked_notice")
    assert warning.payload["to"] == "robin@example.com"
    assert MOVED in warning.payload["text"]
    assert link not in warning.payload["text"] + warning.payload["html"]
    assert link_of(warning) == "/reset"
    assert sign_in(app.test_client(), MOVED).status_code == 200, "nothing has changed yet"

    stranger = app.test_client()
    assert MOVED in stranger.get(link).get_data(as_text=True)
    assert person().email == "robin@example.com", "opening the link is not using it: mail programs open links"

    assert here.post(link).status_code == 303
    assert person(MOVED).email == MOVED
    assert sorted(mail.payload["to"] for mail in mails("email_changed_notice")) == [MOVED, "robin@example.com"]
    assert is_in(here)
    assert not is_in(there)
    assert sign_in(app.test_client(), MOVED).status_code == 302
    assert sign_in(app.test_client()).status_code == 200
    assert "user.email_changed" in acts()


def test_s33_the_link_works_once_on_any_device_and_only_the_newest(app: Flask) -> None:
    make_person()
    here = browser_of(app)
    older, newer = ask_for_move(here), ask_for_move(here, "second@elsewhere.example")
    phone = app.test_client()
    assert phone.get(older).status_code == phone.post(older).status_code == 410
    assert phone.post(newer).status_code == 303
    assert phone.post(newer).status_code == phone.get(newer).status_code == 410
    assert not is_in(phone), "the link proves an address and lets nobody in"
    assert not is_in(here)
    assert person("second@elsewhere.example").new_email is None


def test_s33_the_link_ends_after_an_hour_and_when_it_is_withdrawn(app: Flask) -> None:
    make_person()
    here = browser_of(app)
    link = ask_for_move(here)
    advance(email_change.LINK_LASTS + timedelta(seconds=1))
    assert here.post(link).status_code == 410
    advance(-email_change.LINK_LASTS)
    assert here.get(link).status_code == 200
    here.post("/account/email/withdrawal")
    assert here.post(link).status_code == 410
    assert person().email == "robin@example.com"


def test_s33_the_link_ends_with_the_password(app: Flask) -> None:
    make_person()
    here = browser_of(app)
    link = ask_for_move(here)
    here.post("/account/password", data={"current": PASSWORD, "password": NEW})
    assert here.post(link).status_code == 410


def test_s33_the_link_ends_with_a_password_reset(app: Flask) -> None:
    make_person()
    link = ask_for_move(browser_of(app))
    owner = app.test_client()
    owner.post("/reset", data={"email": "robin@example.com"})
    db.session.rollback()
    answer = owner.post(link_of(mails("reset_password")[-1]), data={"password": NEW, "password_confirm": NEW})
    assert answer.status_code == 302
    assert app.test_client().get(link).status_code == app.test_client().post(link).status_code == 410
    assert person().email == "robin@example.com"


def test_s33_the_link_ends_with_signing_out_everywhere(app: Flask) -> None:
    make_person()
    owner, thief = browser_of(app), browser_of(app)
    link = ask_for_move(thief)
    assert owner.post("/account/sessions/end").status_code == 303
    assert app.test_client().post(link).status_code == 410
    assert person().new_email is None


def test_s33_strangers_cannot_use_up_the_warning_to_the_old_address(app: Flask) -> None:
    make_person()
    for _ in range(6):
        app.test_client().post("/reset", data={"email": "robin@example.com"})
    here = browser_of(app)
    for number in range(7):
        here.post("/account/email", data={"email": f"robin{number}@elsewhere.example"})
    db.session.rollback()
    assert len(mails("email_change_asked_notice")) == 5, "told, and not without end"


def test_s33_asking_takes_a_password_given_lately(app: Flask) -> None:
    make_person()
    client = browser_of(app)
    advance(FRESH_FOR + timedelta(minutes=1))
    answer = client.post("/account/email", data={"email": MOVED})
    assert (answer.status_code, answer.location) == (303, "/verify?next=/account/email")
    assert mails() == []


def test_an_address_that_became_somebodys_meanwhile_is_not_taken_from_them(app: Flask) -> None:
    make_person()
    link = ask_for_move(browser_of(app))
    make_person(MOVED.upper().lower())
    assert app.test_client().post(link).status_code == 410
    assert person().email == "robin@example.com"


def test_s31_links_to_a_new_address_lead_to_the_configured_origin(app: Flask) -> None:
    make_person()
    client = browser_of(app, base_url="http://127.0.0.1:6666")
    client.post("/account/email", data={"email": MOVED}, base_url="http://127.0.0.1:6666")
    (mail,) = mails("confirm_new_email")
    origins = set(re.findall(r"https?://[^/\s\"']+", mail.payload["text"] + mail.payload["html"]))
    assert origins == {app.config["SETTINGS"].base_url}


# ---------------------------------------------------------------- sessions


def test_the_page_shows_where_one_is_signed_in_and_what_happened(app: Flask) -> None:
    make_person()
    firefox = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}
    sign_in(app.test_client(), password="wrong", headers=firefox)
    browser_of(app, headers=firefox, environ_base={"REMOTE_ADDR": "192.0.2.44"})
    page = browser_of(app).get("/account/security").get_data(as_text=True)
    assert page.count("This device") == 1
    assert page.count("Firefox on Linux") >= 2
    assert "192.0.2.44" in page
    assert "Failed try to sign in" in page


def test_one_session_can_be_ended_from_another(app: Flask) -> None:
    make_person()
    here, there = browser_of(app), browser_of(app)
    rows = db.session.execute(select(UserSession.id).order_by(UserSession.created_at)).scalars().all()
    assert here.post(f"/account/sessions/{rows[1]}/end").status_code == 303
    assert is_in(here)
    assert not is_in(there)
    assert acts()[-1] == "user.session_ended"


def test_s2_the_session_of_somebody_else_does_not_exist(app: Flask, cast: Cast) -> None:
    theirs = db.session.execute(select(UserSession.id).where(UserSession.user_id == cast.member.user_id)).scalar_one()
    for session_id in (theirs, "ses_unknown"):
        assert cast.owner.client.post(f"/account/sessions/{session_id}/end").status_code == 404
    assert is_in(cast.member.client)


def test_s22_signing_out_everywhere_leaves_this_session_alone(app: Flask) -> None:
    make_person()
    here, there, kept = browser_of(app), browser_of(app), browser_of(app, remember="y")
    assert here.post("/account/sessions/end").status_code == 303
    assert [is_in(client) for client in (here, there, kept)] == [True, False, False]
    assert acts()[-1] == "user.sessions_ended"
    assert is_in(here), "and it stays so"


# ---------------------------------------------------------------- the password once more


def test_s37_what_a_stolen_session_must_not_do_asks_for_the_password(app: Flask, cast: Cast) -> None:
    """Every guarded route, walked from the URL map: nothing happens, and the way leads back to its page."""
    advance(FRESH_FOR + timedelta(minutes=1))
    guarded = set()
    ids = rows_of_team(cast.team_id, cast.owner.user_id)
    keys = db.session.execute(select(ApiKey.id)).all()
    with app.test_request_context():
        for rule in app.url_map.iter_rules():
            view = app.view_functions[rule.endpoint]
            while not hasattr(view, "fresh_back") and hasattr(view, "__wrapped__"):
                view = view.__wrapped__
            if not hasattr(view, "fresh_back"):
                continue
            values: dict[str, Any] = {name: ids[name] for name in rule.arguments}
            address = app.url_for(rule.endpoint, **values)
            wanted = next(app.url_map.iter_rules(view.fresh_back)).arguments
            back = app.url_for(view.fresh_back, **{name: values[name] for name in wanted})
            guarded.add(rule.endpoint)
            for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
                answer = cast.owner.client.open(address, method=method, data={"name": "Backend", "email": MOVED})
                assert (answer.status_code, answer.location) == (303, f"/verify?next={back}"), rule.endpoint
    assert guarded == {
        "accounts.create_api_key", "accounts.email", "accounts.ask_for_email", "accounts.two_factor_setup",
        "accounts.turn_two_factor_on", "accounts.turn_two_factor_off", "accounts.new_recovery_codes",
        "accounts.change_member_role", "accounts.hand_over_team",
    }  # fmt: skip
    assert db.session.execute(select(ApiKey.id)).all() == keys
    assert mails() == []


def test_s37_after_the_password_one_is_where_one_was_and_may_go_on(app: Flask) -> None:
    _, team = make_person()
    client = browser_of(app)
    keys = f"/teams/{team.id}/api-keys"
    advance(FRESH_FOR + timedelta(minutes=1))
    form = {"name": "Backend", "scopes": ["credits:read"]}
    asked = client.post(keys, data=form)
    assert client.post(asked.location, data={"password": "wrong"}).status_code == 200
    assert client.post(keys, data=form).status_code == 303
    proven = client.post(asked.location, data={"password": PASSWORD})
    assert (proven.status_code, proven.location) == (302, keys)
    assert client.post(keys, data=form).status_code == 200
    advance(FRESH_FOR + timedelta(minutes=1))
    assert client.post(keys, data=form).status_code == 303


def test_s37_a_form_sent_by_htmx_takes_the_whole_page_to_the_question(app: Flask, cast: Cast) -> None:
    advance(FRESH_FOR + timedelta(minutes=1))
    keys = f"/teams/{cast.team_id}/api-keys"
    answer = cast.owner.client.post(keys, data={"name": "Backend"}, headers={"HX-Request": "true"})
    assert (answer.status_code, answer.headers["HX-Redirect"]) == (204, f"/verify?next={keys}")


def test_s37_the_proof_counts_for_the_session_that_gave_it(app: Flask) -> None:
    make_person()
    here, stolen = browser_of(app), browser_of(app)
    advance(FRESH_FOR + timedelta(minutes=1))
    here.post("/verify", data={"password": PASSWORD})
    assert here.get("/account/email").status_code == 200
    assert stolen.get("/account/email").status_code == 303


@pytest.mark.parametrize(
    "target",
    ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)", "http://localhost:9/"],
)
def test_s42_the_way_back_stays_on_this_site(app: Flask, target: str) -> None:
    make_person()
    answer = browser_of(app).post("/verify", query_string={"next": target}, data={"password": PASSWORD})
    assert re.fullmatch(r"|/(?![/\\]).*", answer.headers.get("Location", ""))


def test_a_person_without_a_password_cannot_prove_anything(app: Flask, cast: Cast) -> None:
    with unit_of_work() as session:
        session.execute(update(User).values(password=None))
    assert cast.owner.client.post("/verify", data={"password": ""}).status_code == 200
    assert cast.owner.client.post("/verify", data={"password": "x"}).status_code == 200
