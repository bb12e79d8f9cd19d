"""Codes at sign-in: turning them on, signing in with one, losing the phone, turning them off."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from passlib.totp import TOTP
from sqlalchemy import select
from werkzeug.test import TestResponse

from portal.accounts import two_factor
from portal.accounts.freshness import FRESH_FOR
from portal.accounts.models import User
from portal.core import clock
from portal.core.database import db
from portal.core.unit_of_work import unit_of_work
from tests.cast import PASSWORD
from tests.web.accounts.doors import acts, browser_of, is_in, mails, make_person, sign_in

STEP_SECONDS = 30


def code_at(key: str, steps: int = 0) -> str:
    """The code an app shows, now or some half minutes from now."""
    return str(TOTP(key).generate(TOTP.now() + steps * STEP_SECONDS).token)


@pytest.fixture(autouse=True)
def middle_of_a_half_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """For codes it stays so; else one of half a minute ago could be older by the time it is looked at."""
    middle = time.time() // STEP_SECONDS * STEP_SECONDS + STEP_SECONDS / 2
    monkeypatch.setattr(TOTP, "now", staticmethod(lambda: middle))


def key_on(page: str) -> str:
    found = re.search(r"Type this key: <code>([A-Z2-7-]+)</code>", page)
    assert found is not None
    return found.group(1).replace("-", "")


def codes_on(page: str) -> list[str]:
    return re.findall(r"\b[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}\b", page)


def turn_on(client: FlaskClient) -> tuple[str, list[str]]:
    """Turn codes on and return the app's key and the recovery codes. Uses up the code of half a minute ago."""
    key = key_on(client.get("/account/two-factor").get_data(as_text=True))
    answer = client.post("/account/two-factor", data={"code": code_at(key, -1)})
    assert answer.status_code == 200
    return key, codes_on(answer.get_data(as_text=True))


def half_way(app: Flask) -> FlaskClient:
    """A browser that has given the password and is asked for a code."""
    client = app.test_client()
    answer = sign_in(client)
    assert (answer.status_code, answer.location) == (302, "/login/code")
    return client


def give(client: FlaskClient, code: str) -> TestResponse:
    return client.post("/login/code", data={"code": code})


def recover(client: FlaskClient, code: str) -> TestResponse:
    return client.post("/login/recovery-code", data={"code": code})


def person() -> User:
    db.session.rollback()
    return db.session.execute(select(User).execution_options(populate_existing=True)).scalar_one()


def test_turning_codes_on_shows_recovery_codes_once_and_tells_the_person(app: Flask) -> None:
    make_person()
    client = browser_of(app)
    page = client.get("/account/two-factor").get_data(as_text=True)
    assert 'src="data:image/svg+xml;base64,' in page
    assert key_on(page) == key_on(client.get("/account/two-factor").get_data(as_text=True)), (
        "the picture stays the same"
    )
    key, codes = turn_on(client)
    assert len(set(codes)) == 10
    assert [mail.payload["to"] for mail in mails("two_factor_notice")] == ["robin@example.com"]
    assert acts()[-1] == "user.two_factor_on"
    later = "".join(client.get(path).get_data(as_text=True) for path in ("/account/security", "/account/two-factor"))
    assert not codes_on(later)
    assert key not in later
    assert is_in(client)


def test_a_wrong_code_turns_nothing_on(app: Flask) -> None:
    make_person()
    client = browser_of(app)
    key = key_on(client.get("/account/two-factor").get_data(as_text=True))
    answer = client.post("/account/two-factor", data={"code": "000000"})
    assert answer.status_code == 422
    assert key_on(answer.get_data(as_text=True)) == key
    assert not two_factor.is_on(person())
    assert mails() == []


def test_the_secret_and_the_codes_are_stored_encrypted(app: Flask) -> None:
    make_person()
    key, codes = turn_on(browser_of(app))
    stored = " ".join(str(value) for value in vars(person()).values())
    assert key not in stored
    assert not any(code in stored for code in codes)


def test_the_password_alone_lets_nobody_in_and_the_code_does(app: Flask) -> None:
    make_person()
    key, _ = turn_on(browser_of(app))
    client = half_way(app)
    assert not is_in(client)
    assert give(client, "000000").status_code == 200
    assert not is_in(client)
    assert give(client, code_at(key)).status_code == 302
    assert is_in(client)
    assert "user.sign_in_failed" in acts()


def test_a_kept_session_is_kept_over_the_second_step(app: Flask) -> None:
    make_person()
    key, _ = turn_on(browser_of(app))
    client = app.test_client()
    sign_in(client, remember="y")
    answer = give(client, code_at(key))
    assert "Expires" in "".join(answer.headers.getlist("Set-Cookie"))


def test_a_code_works_once_also_at_the_same_moment(app: Flask) -> None:
    make_person()
    key, _ = turn_on(browser_of(app))
    code, clients = code_at(key), [half_way(app) for _ in range(6)]
    start = Barrier(len(clients))

    def go(client: FlaskClient) -> int:
        start.wait(60)
        return give(client, code).status_code

    with ThreadPoolExecutor(len(clients)) as pool:
        statuses = list(pool.map(go, clients))
    assert statuses.count(302) == 1
    assert [is_in(client) for client in clients].count(True) == 1


def test_a_recovery_code_works_once_also_at_the_same_moment(app: Flask) -> None:
    make_person()
    _, codes = turn_on(browser_of(app))
    clients = [half_way(app) for _ in range(4)]
    start = Barrier(len(clients))

    def go(client: FlaskClient) -> int:
        start.wait(60)
        return recover(client, f" {codes[3].upper()} ").status_code

    with ThreadPoolExecutor(len(clients)) as pool:
        statuses = list(pool.map(go, clients))
    assert statuses.count(302) == 1
    assert [is_in(client) for client in clients].count(True) == 1
    assert two_factor.recovery_codes_left(person()) == 9
    assert recover(half_way(app), codes[4]).status_code == 302


def test_new_recovery_codes_make_the_old_ones_void(app: Flask) -> None:
    make_person()
    client = browser_of(app)
    _, old = turn_on(client)
    new = codes_on(client.post("/account/recovery-codes").get_data(as_text=True))
    assert not set(old) & set(new)
    assert recover(half_way(app), old[0]).status_code == 200
    assert recover(half_way(app), new[0]).status_code == 302
    assert acts().count("user.recovery_codes_made") == 1


def test_s27_codes_cannot_be_guessed_and_a_new_password_ends_the_wait(app: Flask) -> None:
    """Whoever gets this far knows the password; the person who changes it is not kept waiting by them."""
    make_person()
    here = browser_of(app)
    key, codes = turn_on(here)
    guesser = half_way(app)
    statuses = [give(guesser, f"{number:06}").status_code for number in range(4)]
    statuses += [recover(guesser, "0000-0000-0000").status_code, give(guesser, code_at(key)).status_code]
    assert statuses == [200] * 5 + [429]
    assert recover(guesser, codes[0]).status_code == 429
    new = "another long passphrase"
    here.post("/account/password", data={"current": PASSWORD, "password": new})
    client = app.test_client()
    sign_in(client, password=new)
    assert give(client, code_at(key)).status_code == 302


def test_the_second_step_must_follow_soon(app: Flask) -> None:
    make_person()
    key, _ = turn_on(browser_of(app))
    client = half_way(app)
    with client.session_transaction() as held:
        held["tf_since"] -= 11 * 60
    answer = give(client, code_at(key))
    assert answer.status_code == 200
    assert "took too long" in answer.get_data(as_text=True)
    assert not is_in(client)


def test_nobody_gets_to_the_second_step_without_the_first(app: Flask) -> None:
    make_person()
    key, codes = turn_on(browser_of(app))
    client = app.test_client()
    for answer in (client.get("/login/code"), give(client, code_at(key)), recover(client, codes[0])):
        assert (answer.status_code, answer.location) == (302, "/login")
    assert not is_in(client)


def test_turning_codes_off_needs_a_fresh_session_and_voids_the_recovery_codes(app: Flask) -> None:
    make_person()
    client = browser_of(app)
    turn_on(client)
    with unit_of_work():
        clock.advance(FRESH_FOR + timedelta(minutes=1))
    assert client.post("/account/two-factor/removal").location.startswith("/verify")
    assert two_factor.is_on(person())
    client.post("/verify", data={"password": PASSWORD})
    assert client.post("/account/two-factor/removal").status_code == 303
    assert not two_factor.is_on(person())
    assert person().mf_recovery_codes is None
    assert is_in(browser_of(app))
    assert acts().count("user.two_factor_off") == 1
    assert len(mails("two_factor_notice")) == 2


def test_turning_on_that_cannot_be_saved_shows_no_codes(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    make_person()
    client = browser_of(app)
    key = key_on(client.get("/account/two-factor").get_data(as_text=True))

    def fails() -> None:
        raise RuntimeError("the database said no")

    with monkeypatch.context() as broken:
        broken.setattr("portal.core.unit_of_work.commit", fails)
        answer = client.post("/account/two-factor", data={"code": code_at(key)})
    assert answer.status_code == 500
    assert not codes_on(answer.get_data(as_text=True))
    assert not two_factor.is_on(person())
    assert mails() == []
    assert client.post("/account/two-factor", data={"code": code_at(key)}).status_code == 200


def test_s24_secrets_open_with_the_former_key_and_new_ones_are_written_with_the_current(app: Flask) -> None:
    """The keys of the second factor are made of SECRET_KEY, so they rotate with it."""
    from dataclasses import replace

    settings = app.config["SETTINGS"]
    rotated = replace(settings, secret_key="the next key", secret_key_fallbacks=(settings.secret_key,))
    codes = {}
    for name, each in (
        ("before", settings),
        ("between", rotated),
        ("after", replace(rotated, secret_key_fallbacks=())),
    ):
        keys: dict[str, Any] = two_factor.two_factor_keys(each)
        codes[name] = two_factor.OneTimeCodes(keys["SECURITY_TOTP_SECRETS"], "Turnpike")
    old, new = codes["before"].generate_totp_secret(), codes["between"].generate_totp_secret()
    assert codes["between"].get_totp_b32_key(old) == codes["before"].get_totp_b32_key(old)
    assert codes["after"].get_totp_b32_key(new) == codes["between"].get_totp_b32_key(new)
    with pytest.raises(KeyError):
        codes["after"].get_totp_b32_key(old)
