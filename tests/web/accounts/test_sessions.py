"""Sessions: what the cookie looks like, what ends a session, and that ending it is felt at once everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select, update

from portal import create_app
from portal.accounts import sessions
from portal.accounts.devices import device_words
from portal.accounts.jobs import sweep_sessions
from portal.accounts.models import User, UserSession
from portal.core import clock
from portal.core.database import db
from portal.core.unit_of_work import unit_of_work
from portal.settings import load_settings
from tests import services
from tests.cast import Cast
from tests.services import DatabaseUrls
from tests.web.accounts.doors import acts, browser_of, cookie_of, is_in, make_person, sign_in, with_cookie

HTTPS = "https://billing.example.com"


def rows() -> list[UserSession]:
    db.session.rollback()
    query = select(UserSession).order_by(UserSession.id).execution_options(populate_existing=True)
    return list(db.session.execute(query).scalars())


def advance(by: timedelta) -> None:
    with unit_of_work():
        clock.advance(by)


@pytest.fixture
def https_app(app: Flask, database_urls: DatabaseUrls, redis_url: str) -> Iterator[Flask]:
    """The portal as it is set up behind TLS, on the same database."""
    tls = {"BASE_URL": HTTPS, "MAIL_URL": "smtp://mail.example.com"}
    secure = create_app(load_settings(services.app_environment(database_urls, redis_url) | tls))
    secure.config["WTF_CSRF_ENABLED"] = False
    yield secure
    with secure.app_context():
        services.close_connections()


@pytest.mark.parametrize("remember", [False, True])
def test_s20_the_cookie_is_for_this_host_alone_and_no_script_reads_it(https_app: Flask, remember: bool) -> None:
    make_person()
    with https_app.app_context():
        answer = sign_in(https_app.test_client(), base_url=HTTPS, **({"remember": "y"} if remember else {}))
    cookies = answer.headers.getlist("Set-Cookie")
    assert answer.status_code == 302
    assert len(cookies) == 1, "one cookie, which a row can end"
    name, *attributes = [part.strip() for part in cookies[0].split(";")]
    assert name.startswith("__Host-turnpike=")
    assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"} <= set(attributes)
    assert not any(part.startswith("Domain") for part in attributes)
    assert any(part.startswith("Expires") for part in attributes) == remember


def test_s21_signing_in_begins_a_new_session_and_nothing_is_taken_over(app: Flask) -> None:
    make_person()
    client = app.test_client()
    with client.session_transaction() as planted:
        planted.update(sid="a token somebody chose", csrf_token="known to somebody", left_over="x")
    before = cookie_of(client)
    assert sign_in(client).status_code == 302
    with client.session_transaction() as begun:
        assert begun["sid"] != "a token somebody chose"
        assert not {"csrf_token", "left_over"} & set(begun)
    assert is_in(client)
    assert not is_in(with_cookie(app, before))


def test_each_sign_in_has_a_token_of_its_own_of_which_only_the_digest_is_kept(app: Flask) -> None:
    make_person()
    clients = [browser_of(app), browser_of(app)]
    tokens = []
    for client in clients:
        with client.session_transaction() as held:
            tokens.append(held["sid"])
    assert len(set(tokens)) == 2
    assert all(len(token) * 6 >= 256 for token in tokens)
    stored = " ".join(str(vars(row)) for row in rows())
    assert not any(token in stored for token in tokens)


def test_s22_a_copied_cookie_is_worth_nothing_after_signing_out(app: Flask) -> None:
    make_person()
    client = browser_of(app)
    copy = cookie_of(client)
    assert is_in(with_cookie(app, copy))
    assert client.post("/logout").status_code == 302
    assert not is_in(with_cookie(app, copy))
    assert rows() == []
    assert acts() == ["user.signed_in", "user.signed_out"]


@pytest.mark.parametrize(
    "part",
    ["/inbox/unread", "/teams/TEAM/exports/exp_0/progress", "/teams/TEAM/checkout/chk_0/status", "/teams/TEAM/usage"],
)
def test_a_part_of_a_page_that_asks_after_the_session_has_ended_takes_the_whole_page_to_the_sign_in(
    cast: Cast, part: str
) -> None:
    cast.owner.client.post("/logout")
    page = f"/teams/{cast.team_id}/usage?days=30"
    asks = {"HX-Request": "true", "HX-Current-URL": f"http://localhost{page}"}
    answer = cast.owner.client.get(part.replace("TEAM", cast.team_id), headers=asks)
    assert (answer.status_code, answer.get_data()) == (204, b""), "nothing that could be swapped into the page"
    door = answer.headers["HX-Redirect"]
    assert door.startswith("/login?next=")
    shown = cast.owner.client.get(door).get_data(as_text=True)
    assert "You must sign in to view this resource." in shown
    make_person()
    next_page = parse_qs(urlsplit(door).query)["next"]
    assert sign_in(cast.owner.client, next=next_page[0]).location == page


@pytest.mark.parametrize("current", [None, "", "no address", "http://[", "https://evil.example//other.example/a"])
def test_a_part_that_does_not_say_on_which_page_it_stands_leads_to_the_plain_sign_in(
    client: FlaskClient, current: str | None
) -> None:
    asks = {"HX-Request": "true"} | ({} if current is None else {"HX-Current-URL": current})
    answer = client.get("/inbox/unread", headers=asks)
    assert (answer.status_code, answer.headers["HX-Redirect"]) == (204, "/login")


def test_a_whole_page_leads_to_the_sign_in_as_ever(client: FlaskClient) -> None:
    for headers in ({}, {"HX-Request": "true", "HX-History-Restore-Request": "true"}):
        answer = client.get("/inbox", headers=headers)
        assert (answer.status_code, answer.location) == (302, "/login?next=/inbox")


def test_s22_a_session_without_its_row_is_none_even_if_the_cookie_is_ours(app: Flask, cast: Cast) -> None:
    assert is_in(cast.owner.client)
    with cast.owner.client.session_transaction() as held:
        held["sid"] = "another token"
    assert not is_in(cast.owner.client)


def test_s22_the_session_of_one_person_does_not_open_for_another(app: Flask, cast: Cast) -> None:
    with cast.member.client.session_transaction() as held:
        held["_user_id"] = db.session.execute(
            select(User.fs_uniquifier).where(User.id == cast.owner.user_id)
        ).scalar_one()
    assert not is_in(cast.member.client)


def test_a_person_who_is_switched_off_is_out_at_once(app: Flask, cast: Cast) -> None:
    with unit_of_work() as session:
        session.execute(update(User).where(User.id == cast.owner.user_id).values(active=False))
    assert not is_in(cast.owner.client)


@pytest.mark.parametrize(
    ("kept", "uses", "pause", "alive"),
    [
        (False, 1, sessions.IDLE - timedelta(minutes=2), True),
        (False, 1, sessions.IDLE + timedelta(minutes=2), False),
        (False, 3, sessions.IDLE - timedelta(minutes=2), True),
        (False, 4, sessions.IDLE - timedelta(minutes=2), False),  # longer than a day in all
        (True, 1, sessions.KEPT_LASTS - timedelta(minutes=2), True),
        (True, 1, sessions.KEPT_LASTS + timedelta(minutes=2), False),
        (True, 2, sessions.KEPT_LASTS - timedelta(minutes=2), False),
    ],
)
def test_s23_sessions_end_by_disuse_and_by_age(
    app: Flask, kept: bool, uses: int, pause: timedelta, alive: bool
) -> None:
    make_person()
    client = browser_of(app, **({"remember": "y"} if kept else {}))
    for _ in range(uses - 1):
        advance(pause)
        is_in(client)
    advance(pause)
    assert is_in(client) == alive


def test_s24_sessions_outlive_the_change_of_the_key_while_the_old_one_is_accepted(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_person()
    client, old = browser_of(app), app.secret_key
    monkeypatch.setitem(app.config, "SECRET_KEY", "a new key for the tests 0123456789abcdef")
    monkeypatch.setitem(app.config, "SECRET_KEY_FALLBACKS", [old])
    assert is_in(client)
    later = browser_of(app)
    monkeypatch.setitem(app.config, "SECRET_KEY_FALLBACKS", [])
    assert not is_in(client)
    assert is_in(later)


def test_use_is_noted_once_a_minute_with_the_address_it_came_from(app: Flask) -> None:
    make_person()
    client = browser_of(app)
    (begun,) = [row.last_seen_at for row in rows()]
    client.get("/teams", environ_base={"REMOTE_ADDR": "192.0.2.1"})
    assert [(row.last_seen_at, row.ip) for row in rows()] == [(begun, "127.0.0.1")]
    advance(timedelta(minutes=2))
    client.get("/teams", environ_base={"REMOTE_ADDR": "192.0.2.1"})
    (row,) = rows()
    assert row.last_seen_at > begun
    assert row.ip == "192.0.2.1"


def test_a_visitor_who_does_not_sign_in_leaves_no_row(app: Flask) -> None:
    client = app.test_client()
    client.get("/login")
    client.get("/pricing")
    assert sign_in(client).status_code == 200
    assert rows() == []


def test_a_sign_in_that_cannot_be_saved_lets_nobody_in(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    make_person()

    def fails() -> None:
        raise RuntimeError("the database said no")

    client = app.test_client()
    with monkeypatch.context() as broken:
        broken.setattr("portal.core.unit_of_work.commit", fails)
        with pytest.raises(RuntimeError):
            sign_in(client)
    assert not is_in(client)
    assert (rows(), acts()) == ([], [])


def test_a_person_has_so_many_sessions_and_the_one_unused_for_longest_gives_way(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "PER_PERSON_MAX", 2)
    make_person()
    clients = [browser_of(app) for _ in range(3)]
    assert [is_in(client) for client in clients] == [False, True, True]


def test_ended_sessions_are_swept_away_and_live_ones_stay(app: Flask) -> None:
    make_person()
    browser_of(app)
    advance(sessions.IDLE + timedelta(minutes=1))
    alive = browser_of(app)
    assert sweep_sessions() == 1
    assert len(rows()) == 1
    assert is_in(alive)


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Linux"),
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0", "Edge on Windows"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) Version/19.0 Safari/604.1", "Safari on iPhone"),
        ("Something else entirely", "Unknown device"),
        ("A thing (Linux)", "A browser on Linux"),
        (None, "Unknown device"),
    ],
)
def test_a_device_is_named_in_words_people_know(agent: str | None, words: str) -> None:
    assert device_words(agent) == words
