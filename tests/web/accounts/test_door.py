"""The door: which passwords are taken, how often one may try, and that it tells strangers nothing."""

from __future__ import annotations

import re
import time
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from threading import Barrier
from typing import Any, NoReturn

import argon2
import pytest
from flask import Flask
from flask.testing import FlaskClient
from itsdangerous import TimestampSigner, URLSafeTimedSerializer
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from redis.exceptions import RedisError
from sqlalchemy import event, select, update
from werkzeug.test import TestResponse

from portal import create_app
from portal.accounts import door_forms, throttle
from portal.accounts.models import User
from portal.accounts.password_rules import LENGTH_MAX, TOO_COMMON
from portal.core import clock, limits
from portal.core.database import db
from portal.core.limits import Quota
from portal.core.unit_of_work import unit_of_work
from portal.notifications import messages
from portal.notifications.models import OutboxItem
from tests.cast import PASSWORD
from tests.web.accounts.doors import acts, browser_of, is_in, mails, make_person, sign_in

SIGN_UP = {"email": "new.person@example.com", "password": PASSWORD, "team_name": "Tide Works", "name": "New Person"}
NEW = "another long passphrase"
NO_WAITING = "set local synchronous_commit to off"


def from_address(address: str) -> dict[str, Any]:
    return {"environ_base": {"REMOTE_ADDR": address}}


def link_of(mail: OutboxItem) -> str:
    found = re.search(r"https?://[^/]+(/\S+)", mail.payload["text"])
    assert found is not None
    return found.group(1)


def ask_for_reset(app: Flask, email: str = "robin@example.com") -> str:
    """The link of the newest mail after asking for one."""
    assert app.test_client().post("/reset", data={"email": email}).status_code == 200
    db.session.rollback()
    return link_of(mails("reset_password")[-1])


def use(app: Flask, link: str, password: str = NEW) -> TestResponse:
    return app.test_client().post(link, data={"password": password, "password_confirm": password})


def worked(answer: TestResponse) -> bool:
    return answer.status_code == 302 and answer.location.startswith("/login")


def person() -> User:
    db.session.rollback()
    return db.session.execute(
        select(User).where(User.email == "robin@example.com").execution_options(populate_existing=True)
    ).scalar_one()


# ---------------------------------------------------------------- passwords


@pytest.mark.parametrize(
    ("password", "taken"),
    [
        ("seven77", False),
        ("password", False),
        ("Password1!", False),
        ("qwertyuiop", False),
        ("letmein2024", False),
        ("11111111", False),
        ("new.person@example.com", False),
        ("NewPerson", False),
        ("tV9#kq2L", True),
        ("correct horse battery staple", True),
        ("Störtebeker läuft über Kies", True),
        ("長い秘密の言葉は強い", True),
        (("a quiet harbour at dawn " * 10)[:LENGTH_MAX], True),
        (("a quiet harbour at dawn " * 10)[: LENGTH_MAX + 1], False),
        ("x9$" * 40_000, False),
    ],
)
def test_s25_passwords_are_long_enough_and_not_what_everybody_tries(
    client: FlaskClient, password: str, taken: bool
) -> None:
    answer = client.post("/signup", data={**SIGN_UP, "password": password})
    assert (answer.status_code == 302) == taken
    assert (db.session.execute(select(User)).first() is not None) == taken


def test_s25_the_reason_is_told_in_words(client: FlaskClient) -> None:
    page = client.post("/signup", data={**SIGN_UP, "password": "password1234"}).get_data(as_text=True)
    assert TOO_COMMON in page


@pytest.mark.parametrize("length", [65, 73, LENGTH_MAX])
def test_s25_long_passwords_are_kept_whole(app: Flask, length: int) -> None:
    password = ("a quiet harbour at dawn, " * 50)[:length]
    make_person(password=password)
    assert not worked_in(app, password[:-1] + "~")
    assert worked_in(app, password)


def worked_in(app: Flask, password: str) -> bool:
    client = app.test_client()
    sign_in(client, password=password)
    return is_in(client)


def test_s25_the_same_sign_typed_in_two_ways_is_one_password(app: Flask) -> None:
    make_person(password=unicodedata.normalize("NFD", "Störtebeker läuft über Kies"))
    assert worked_in(app, unicodedata.normalize("NFC", "Störtebeker läuft über Kies"))


def test_s26_passwords_are_hashed_by_argon2id_and_old_hashes_are_renewed_at_sign_in(app: Flask) -> None:
    user, _ = make_person()
    assert str(user.password).startswith("$argon2id$")
    weak = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
    with unit_of_work() as session:
        session.execute(update(User).values(password=weak))
    browser_of(app)
    renewed = str(person().password)
    assert renewed.startswith("$argon2id$")
    assert renewed != weak
    browser_of(app)
    assert person().password == renewed


# ---------------------------------------------------------------- how often


def test_s27_guessing_from_one_address_ends_and_the_right_password_from_another_works(app: Flask) -> None:
    make_person()
    guesser = app.test_client()
    statuses = [sign_in(guesser, password=f"guess {number}").status_code for number in range(12)]
    assert statuses == [200] * 10 + [429] * 2
    refused = sign_in(guesser)
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["Retry-After"]) <= 15 * 60 + 1
    elsewhere = app.test_client()
    assert sign_in(elsewhere, **from_address("192.0.2.9")).status_code == 302


def test_s27_an_account_under_attack_from_everywhere_still_opens_for_its_person(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the attackers do, an address that has not failed may give the right password."""
    monkeypatch.setattr(throttle, "FAILURES_OF_ACCOUNT", Quota("test:account", "5 per hour"))
    make_person()
    signed_in_before = browser_of(app)
    for number in range(5):
        sign_in(app.test_client(), password="wrong", **from_address(f"192.0.2.{number}"))
    attacker = from_address("198.51.100.1")
    assert sign_in(app.test_client(), password="wrong", **attacker).status_code == 200
    assert sign_in(app.test_client(), password="wrong", **attacker).status_code == 429, "one failure each from now on"
    assert sign_in(app.test_client(), **from_address("203.0.113.5")).status_code == 302
    assert is_in(signed_in_before)


def test_s27_many_tries_spread_over_accounts_and_addresses_are_few_looks_at_a_password(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttle, "FAILURES_FROM_ADDRESS", Quota("test:address", "10 per 5 minutes"))
    monkeypatch.setattr(throttle, "MOST_FROM_ADDRESS", Quota("test:address-most", "20 per 5 minutes"))
    looks = 0

    def look(*_args: Any, **_more: Any) -> str:
        nonlocal looks
        looks += 1
        return "no hash"

    monkeypatch.setattr("flask_security.forms.hash_password", look)
    client = app.test_client()
    refused = 0
    for number in range(240):
        address = from_address(f"192.0.2.{number % 4}")
        refused += sign_in(client, f"person{number % 50}@example.com", "guess", **address).status_code == 429
    assert looks == 4 * 20
    assert refused == 240 - looks


def test_s27_somebody_who_guesses_does_not_lock_out_the_others_behind_the_same_address(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in an office, or behind a proxy that `PROXY_HOPS` does not name."""
    monkeypatch.setattr(throttle, "FAILURES_FROM_ADDRESS", Quota("test:address", "5 per 5 minutes"))
    make_person()
    for number in range(5):
        sign_in(app.test_client(), f"junk{number}@example.com", "guess")
    assert sign_in(app.test_client(), "junk0@example.com", "guess").status_code == 429
    for _ in range(6):
        assert sign_in(app.test_client()).status_code == 302, "a right password counts for nothing"
    assert sign_in(app.test_client(), password="wrong").status_code == 200
    assert sign_in(app.test_client(), password="wrong").status_code == 429, "one failure for each account"


def test_s27_without_redis_this_process_counts(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_args: object, **_more: object) -> NoReturn:
        raise RedisError("no Redis")

    monkeypatch.setattr(limits, "_redis_rests_until", 0.0)
    monkeypatch.setattr(limits, "_own_counts", MovingWindowRateLimiter(MemoryStorage()))
    monkeypatch.setattr(limits, "_ask_redis", away)
    make_person()
    client = app.test_client()
    assert [sign_in(client, password="wrong").status_code for _ in range(11)] == [200] * 10 + [429]
    assert sign_in(app.test_client(), **from_address("192.0.2.7")).status_code == 302


def test_s27_an_ipv6_caller_is_its_whole_network(app: Flask) -> None:
    make_person()
    for number in range(10):
        sign_in(app.test_client(), password="wrong", **from_address(f"2001:db8::{number + 1:x}"))
    assert sign_in(app.test_client(), **from_address("2001:db8::ffff")).status_code == 429
    assert sign_in(app.test_client(), **from_address("2001:db8:0:1::1")).status_code == 302


@pytest.mark.parametrize("path", ["/login", "/reset"])
def test_s27_an_address_spelled_in_another_way_is_counted_with_it(app: Flask, path: str) -> None:
    make_person()
    wide = "robin@\N{FULLWIDTH LATIN SMALL LETTER E}xample.com"
    spellings = ["robin@example.com", wide, "Robin@EXAMPLE.com", f" {wide.title()}"]
    client = app.test_client()
    answers = [client.post(path, data={"email": spellings[number % 4], "password": "wrong"}) for number in range(12)]
    if path == "/login":
        assert [answer.status_code for answer in answers] == [200] * 10 + [429] * 2
    db.session.rollback()
    assert len(mails()) == (5 if path == "/reset" else 0)


def test_what_is_no_address_is_counted_as_well(app: Flask) -> None:
    client = app.test_client()
    assert [sign_in(client, "no address").status_code for _ in range(11)] == [200] * 10 + [429]


def test_s71_the_counts_name_nobody(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []

    def keep(_quota: Quota, *subject: str) -> bool:
        names.extend(subject)
        return True

    monkeypatch.setattr(throttle, "count", keep)
    sign_in(app.test_client(), "somebody@example.com")
    throttle.may_mail("somebody@example.com", "reset_password")
    assert names
    assert not any("somebody" in name or "@" in name for name in names)


@pytest.mark.parametrize("path", ["/reset", "/confirm", "/signup"])
def test_a_stranger_cannot_make_us_write_mails_without_end(
    app: Flask, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(throttle, "MAILS_FROM_ADDRESS", Quota("test:mails", "7 per hour"))
    make_person()
    client = app.test_client()
    form = {**SIGN_UP, "email": "robin@example.com"}
    statuses = [client.post(path, data=form).status_code for _ in range(8)]
    assert set(statuses[:7]) <= {200, 302}
    assert statuses[7] == 429
    db.session.rollback()
    assert len(mails()) <= 5, "and one person gets few of them, whoever asks"


@pytest.mark.parametrize("path", ["/signup", "/confirm"])
def test_mails_that_a_stranger_causes_leave_the_owner_their_reset_mails(app: Flask, path: str) -> None:
    make_person(confirmed_at=None if path == "/confirm" else clock.now())
    for _ in range(7):
        app.test_client().post(path, data={**SIGN_UP, "email": "robin@example.com"})
    assert len(mails()) == 5
    assert worked(use(app, ask_for_reset(app)))


def test_a_stranger_who_asks_for_reset_mails_beyond_the_limit_does_not_end_the_link_that_was_mailed(app: Flask) -> None:
    make_person()
    for _ in range(8):
        link = ask_for_reset(app)
    assert len(mails("reset_password")) == 5
    assert worked(use(app, link))


# ---------------------------------------------------------------- telling nothing


def bare(answer: TestResponse, email: str) -> tuple[int, str | None, str]:
    """An answer without what differs by chance or only repeats what was typed."""
    page = answer.get_data(as_text=True).replace(email, "EMAIL")
    page = re.sub(r'name="csrf[-_]token"[^>]*(?:value|content)="[^"]+"|req_[0-9A-Z]+', "", page)
    page = re.sub(r'<a id="bell-.*?</a>', "", page, flags=re.DOTALL)  # one person asks for both, and is warned of each
    return answer.status_code, answer.headers.get("Location"), page


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("/login", {"password": "not the password"}),
        ("/reset", {}),
        ("/confirm", {}),
        ("/signup", {"password": PASSWORD, "team_name": "Tide Works", "name": ""}),
    ],
)
def test_s28_a_known_and_an_unknown_address_get_the_same_answer(app: Flask, path: str, more: dict[str, str]) -> None:
    make_person("known@example.com")
    answers = []
    for email in ("known@example.com", "nobody@example.com"):
        client = app.test_client()
        first = client.post(path, data={"email": email, **more})
        answers.append((bare(first, email), bare(client.get("/login"), email)))
    assert answers[0] == answers[1]


def test_s28_moving_to_a_known_address_looks_like_moving_to_a_free_one(app: Flask) -> None:
    make_person("known@example.com")
    make_person()
    answers = []
    for email in ("known@example.com", "nobody@example.com"):
        client = browser_of(app)
        first = client.post("/account/email", data={"email": email})
        answers.append((bare(first, email), bare(client.get("/account/email"), email)))
    assert answers[0] == answers[1]
    to_new = [mail.payload["message"] for mail in mails() if mail.payload["to"] != "robin@example.com"]
    assert sorted(to_new) == ["confirm_new_email", "new_email_taken"]
    assert len(mails("email_change_asked_notice")) == 2


@pytest.mark.parametrize("path", ["/login", "/reset"])
def test_s28_the_same_work_is_done_for_nobody(app: Flask, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """The expensive steps, hashing and writing the mail, are taken as often whether there is such a person or not."""
    make_person("known@example.com")
    work: list[str] = []

    def counted(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            work.append(name)
            return real(*args, **more)

        return call

    security = app.extensions["security"]
    monkeypatch.setattr(security.pwd_context, "hash", counted("hash", security.pwd_context.hash))
    monkeypatch.setattr(
        security.pwd_context, "verify_and_update", counted("hash", security.pwd_context.verify_and_update)
    )
    monkeypatch.setattr(security.pwd_context, "verify", counted("hash", security.pwd_context.verify))
    monkeypatch.setattr(messages, "reset_password", counted("mail", messages.reset_password))
    done = []
    for email in ("known@example.com", "nobody@example.com"):
        work.clear()
        app.test_client().post(path, data={"email": email, "password": "not the password"})
        done.append(sorted(work))
    assert done[0] == done[1]
    assert "hash" in done[0]
    assert ("mail" in done[0]) == (path == "/reset")


@pytest.mark.parametrize(
    ("path", "waits"),
    [("/login", False), ("/reset", False), ("/confirm", False), ("/signup", True)],
)
def test_s28_only_a_known_address_makes_us_save_so_the_answer_does_not_wait_for_the_disk(
    app: Flask, path: str, waits: bool
) -> None:
    """At sign-up something is saved for everybody, and a new account must not be lost."""
    make_person("known@example.com")
    if path == "/confirm":
        with unit_of_work() as session:
            session.execute(update(User).values(confirmed_at=None))
    saving: list[list[str]] = [[]]

    def note(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        saving[-1].append(statement)

    def end(_connection: Any) -> None:
        saving.append([])

    listeners: list[tuple[str, Callable[..., Any]]] = [
        ("before_cursor_execute", note),
        ("commit", end),
        ("rollback", end),
    ]
    for name, listener in listeners:
        event.listen(db.engine, name, listener)
    try:
        form = {**SIGN_UP, "email": "known@example.com", "password": "not the password"}
        app.test_client().post(path, data=form)
    finally:
        for name, listener in listeners:
            event.remove(db.engine, name, listener)
    written = [steps for steps in saving if any(step.startswith(("INSERT", "UPDATE")) for step in steps)]
    assert written
    assert [NO_WAITING in steps for steps in written] == [not waits] * len(written)


def test_nothing_is_sent_or_saved_for_nobody(app: Flask) -> None:
    app.test_client().post("/reset", data={"email": "nobody@example.com"})
    db.session.rollback()
    assert mails() == []
    assert db.session.execute(select(User)).first() is None


# ---------------------------------------------------------------- the mailed link to a new password


def test_s29_the_link_works_once_and_ends_every_session(app: Flask) -> None:
    make_person()
    there = browser_of(app)
    link = ask_for_reset(app)
    assert worked(use(app, link))
    assert not worked(use(app, link, "yet another passphrase"))
    assert not is_in(there)
    assert worked_in(app, NEW)
    assert "user.password_reset" in acts()
    assert [mail.payload["to"] for mail in mails("password_reset_notice")] == ["robin@example.com"]


def test_s29_of_several_links_only_the_newest_works(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    make_person()
    with monkeypatch.context() as earlier:
        earlier.setattr(TimestampSigner, "get_timestamp", lambda _self: int(time.time()) - 5)
        older = ask_for_reset(app)
    newer = ask_for_reset(app)
    assert app.test_client().get(older).status_code == 302
    assert not worked(use(app, older))
    assert app.test_client().get(newer).status_code == 200
    assert worked(use(app, newer))


def test_s29_the_link_ends_after_an_hour(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    make_person()
    link = ask_for_reset(app)
    monkeypatch.setitem(app.config, "SECURITY_RESET_PASSWORD_WITHIN", timedelta(seconds=-1))
    assert not worked(use(app, link))
    monkeypatch.undo()
    assert app.config["SECURITY_RESET_PASSWORD_WITHIN"] <= timedelta(minutes=60)
    assert worked(use(app, link))


def test_s29_the_link_ends_with_the_password_or_the_address_it_was_asked_for(app: Flask) -> None:
    make_person()
    link = ask_for_reset(app)
    browser = browser_of(app)
    changed = browser.post("/account/password", data={"current": PASSWORD, "password": NEW})
    assert changed.status_code == 303
    assert not worked(use(app, link))

    link = ask_for_reset(app)
    browser.post("/account/email", data={"email": "moved@example.com"})
    db.session.rollback()
    assert browser.post(link_of(mails("confirm_new_email")[0])).status_code == 303
    assert not worked(use(app, link))


def test_s29_only_a_digest_of_the_link_is_kept_and_a_made_up_one_is_none(app: Flask) -> None:
    user, _ = make_person()
    link = ask_for_reset(app)
    token = link.rsplit("/", 1)[1]
    kept = " ".join(str(value) for value in vars(person()).values())
    assert token not in kept
    assert person().reset_digest == door_forms.reset_digest(token)
    forged = URLSafeTimedSerializer("not our key", salt="reset-salt").dumps([user.fs_uniquifier, "x"])
    assert not worked(use(app, f"/reset/{forged}"))


def test_s30_of_twenty_uses_of_one_link_at_once_one_succeeds(app: Flask) -> None:
    make_person()
    link = ask_for_reset(app)
    db.session.remove()
    start = Barrier(20)

    def go(number: int) -> bool:
        start.wait(60)
        return worked(use(app, link, f"another long passphrase {number}"))

    with ThreadPoolExecutor(20) as pool:
        won = [number for number, success in enumerate(pool.map(go, range(20))) if success]
    assert len(won) == 1
    assert acts().count("user.password_reset") == 1
    assert worked_in(app, f"another long passphrase {won[0]}")


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"Host": "evil.example"}, 400), ({"X-Forwarded-Host": "evil.example"}, 200), ({"Host": "127.0.0.1:6666"}, 200)],
)
def test_s31_the_link_leads_to_the_configured_address_whatever_the_request_says(
    app: Flask, headers: dict[str, str], status: int
) -> None:
    make_person()
    assert app.test_client().post("/reset", data={"email": "robin@example.com"}, headers=headers).status_code == status
    db.session.rollback()
    origins = {origin for mail in mails() for origin in re.findall(r"https?://[^/\s\"']+", str(mail.payload.values()))}
    assert origins == ({app.config["SETTINGS"].base_url} if status == 200 else set())


def test_s32_pages_whose_address_is_a_secret_tell_it_nobody(app: Flask) -> None:
    make_person()
    link = ask_for_reset(app)
    page = app.test_client().get(link)
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert page.headers["Cache-Control"] == "no-store"
    loaded = re.findall(r'(?:src|href|action)="([^"]+)"', page.get_data(as_text=True))
    assert loaded
    assert all(address.startswith(("/", "#")) or "127.0.0.1" in address for address in loaded)


def test_a_reset_that_cannot_be_saved_sends_no_notice(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library mails before it saves; both are one commit here."""
    make_person()
    link, before = ask_for_reset(app), person().password

    def fails() -> None:
        raise RuntimeError("the database said no")

    with monkeypatch.context() as broken:
        broken.setattr("portal.core.unit_of_work.commit", fails)
        with pytest.raises(RuntimeError):
            use(app, link)
    assert person().password == before
    assert mails("password_reset_notice") == []
    assert worked(use(app, link))


def test_links_are_signed_with_the_current_key_and_old_ones_work_in_the_overlap(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S-24 for mailed links: the library would sign with the key that is on its way out."""
    from portal.accounts.door import _sign_with_current_key

    serializer = URLSafeTimedSerializer(["current", "older"], salt="x")
    _sign_with_current_key(serializer)
    assert URLSafeTimedSerializer("current", salt="x").loads(serializer.dumps("a")) == "a"
    assert serializer.loads(URLSafeTimedSerializer("older", salt="x").dumps("b")) == "b"
    for name in ("reset_serializer", "confirm_serializer"):
        assert getattr(app.extensions["security"], name).secret_keys[-1] == app.config["SECRET_KEY"].encode()


def test_a_second_app_of_a_process_does_not_sign_for_the_first(app: Flask) -> None:
    before = app.extensions["security"].reset_serializer
    other = create_app(replace(app.config["SETTINGS"], secret_key="another-key-for-another-app-0123456789"))
    assert app.extensions["security"].reset_serializer is before
    assert other.extensions["security"].reset_serializer.secret_keys != before.secret_keys


@pytest.mark.parametrize("next_page", ["/account/security", "/pricing?interval=year"])
def test_signing_in_leads_to_the_page_that_was_asked_for(app: Flask, next_page: str) -> None:
    make_person()
    answer = app.test_client().post(
        "/login", query_string={"next": next_page}, data={"email": "robin@example.com", "password": PASSWORD}
    )
    assert answer.location == next_page


@pytest.mark.parametrize("path", ["/login", "/login/code", "/login/recovery-code", "/verify", "/reset", "/signup"])
def test_s17_forms_of_the_door_without_their_token_are_refused(
    app: Flask, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    make_person()
    client = browser_of(app) if path == "/verify" else app.test_client()
    monkeypatch.setitem(app.config, "WTF_CSRF_ENABLED", True)
    answer = client.post(path, data={"email": "robin@example.com", "password": PASSWORD, "code": "123456"})
    assert answer.status_code == 400
    if path == "/login":
        assert not is_in(client)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/login", [1]),
        ("POST", "/login", {"email": 5, "password": 5}),
        ("GET", "/signup", {"next": 5}),
        ("POST", "/signup", {"email": ["a"]}),
        ("POST", "/reset", {"email": 5}),
        ("POST", "/confirm", {"email": 5}),
        ("POST", "/login/code", {"code": 5}),
        ("POST", "/login/recovery-code", {"code": 5}),
        ("POST", "/verify", "password"),
        ("POST", "/logout", {}),
    ],
)
def test_the_door_takes_forms_and_refuses_json(app: Flask, method: str, path: str, body: object) -> None:
    answer = app.test_client().open(path, method=method, json=body)
    assert answer.status_code == 415


def test_a_failed_try_stands_in_the_persons_trail_and_one_for_nobody_nowhere(app: Flask) -> None:
    make_person()
    sign_in(app.test_client(), password="wrong")
    sign_in(app.test_client(), "nobody@example.com", "wrong")
    db.session.rollback()
    assert acts() == ["user.sign_in_failed"]
