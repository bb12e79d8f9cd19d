"""Who may call: a valid key of the team with the right scope, in the header and nowhere else."""

from __future__ import annotations

import hmac
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy import select, update

from portal.accounts.api_key_format import new_key
from portal.accounts.api_keys import Scope, keys_of, revoke_key
from portal.accounts.models import ApiKey
from portal.core import clock
from portal.core.database import db
from portal.core.unit_of_work import unit_of_work
from tests.cast import Cast
from tests.logs import written_log
from tests.web.api.backend import Backend, backend_of, error_of
from tests.web.api.lookups import looking_up, read_at_once

CALLS = [("GET", "/credits"), ("POST", "/usage")]


@pytest.mark.parametrize(("method", "path"), CALLS)
@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Basic dXNlcjpwYXNz",
        "Bearer nonsense",
        "Bearer tp_test_x",
        "Bearer \u00e9",
        "tp_test_x",
    ],
)
def test_without_a_valid_key_is_401(backend: Backend, method: str, path: str, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    answer = backend.call(method, path, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert error_of(answer)["type"] == "authentication_error"
    assert error_of(answer)["request_id"] == answer.headers["Request-Id"]


@pytest.mark.parametrize(("method", "path"), CALLS)
def test_a_well_spelled_key_that_is_not_ours_is_401(backend: Backend, method: str, path: str) -> None:
    stranger = replace(backend, secret=new_key(livemode=False).secret)
    assert stranger.call(method, path).status_code == 401


def test_s39_the_public_part_is_not_enough(backend: Backend) -> None:
    """Another secret behind a known public part, well spelled, is refused by the digest."""
    with backend.app.app_context(), unit_of_work() as session:
        other = new_key(livemode=False)
        session.execute(update(ApiKey).values(prefix=other.prefix))
    assert replace(backend, secret=other.secret).call("GET", "/credits").status_code == 401


def test_the_scheme_is_not_case_sensitive(backend: Backend) -> None:
    answer = backend.call("GET", "/credits", headers={"Authorization": f"bearer {backend.secret}"})
    assert answer.status_code == 200


def test_s40_a_revoked_key_is_401_at_once(backend: Backend) -> None:
    assert backend.use().status_code == 200
    with backend.app.app_context(), unit_of_work():
        revoke_key(backend.team_id, keys_of(backend.team_id)[0].id)
    answer = backend.use()
    assert (answer.status_code, error_of(answer)["code"]) == (401, "key_revoked")


def test_s40_a_key_that_is_revoked_while_it_is_looked_up_is_401_for_whoever_comes_later(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes at the same moment is looked up together, and always after it has come."""

    def revoke() -> None:
        with backend.app.app_context(), unit_of_work():
            revoke_key(backend.team_id, keys_of(backend.team_id)[0].id)

    with looking_up(monkeypatch, backend) as lookups:
        first, later = read_at_once(backend, lookups, 3, meanwhile=revoke)
    assert (first.status_code, [answer.status_code for answer in later]) == (200, [401] * 3)
    assert lookups.number == 2


def test_without_a_database_all_that_are_looked_up_together_are_told(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    with looking_up(monkeypatch, backend, breaks_at=2) as lookups:
        first, later = read_at_once(backend, lookups, 3)
    assert (first.status_code, [answer.status_code for answer in later]) == (200, [503] * 3)
    assert lookups.number == 2
    assert backend.call("GET", "/credits").status_code == 200


def test_s40_a_key_ends_when_it_was_made_to(app: Flask, cast: Cast) -> None:
    lasting = backend_of(app, cast.team_id, cast.owner, lasts=timedelta(days=30))
    lasting.give(5)
    with app.app_context(), unit_of_work():
        clock.advance(timedelta(days=29, hours=23))
    assert lasting.use().status_code == 200
    with app.app_context(), unit_of_work():
        clock.advance(timedelta(hours=1, seconds=1))
    answer = lasting.use()
    assert (answer.status_code, error_of(answer)["code"]) == (401, "key_expired")


def test_s39_an_unknown_key_takes_the_same_steps_as_a_known_one(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One look-up by the public part and one comparison in constant time, whether there is such a key or not."""
    compared: list[tuple[str, str]] = []
    real = hmac.compare_digest

    def compare(first: str, second: str) -> bool:
        compared.append((first, second))
        return real(first, second)

    monkeypatch.setattr("portal.accounts.api_keys.hmac.compare_digest", compare)
    assert backend.call("GET", "/credits").status_code == 200
    known, compared[:] = list(compared), []
    stranger = replace(backend, secret=new_key(livemode=False).secret)
    assert stranger.call("GET", "/credits").status_code == 401
    assert len(compared) == len(known) == 1
    assert {len(text) for pair in compared + known for text in pair} == {64}


@pytest.mark.parametrize(("scope", "refused"), [(Scope.CREDITS_READ, "POST"), (Scope.USAGE_WRITE, "GET")])
def test_s40_a_missing_scope_is_403(app: Flask, cast: Cast, scope: Scope, refused: str) -> None:
    limited = backend_of(app, cast.team_id, cast.owner, scopes=(scope,))
    limited.give(10)
    answers = {"GET": limited.call("GET", "/credits"), "POST": limited.use()}
    assert [answer.status_code for method, answer in answers.items() if method != refused] == [200]
    assert answers[refused].status_code == 403
    assert error_of(answers[refused])["code"] == "missing_scope"


def test_a_key_of_the_other_mode_is_403(backend: Backend) -> None:
    with backend.app.app_context(), unit_of_work() as session:
        session.execute(update(ApiKey).values(livemode=True))
    answer = backend.use()
    assert (answer.status_code, error_of(answer)["code"]) == (403, "wrong_mode")


@pytest.mark.parametrize("name", ["api_key", "key", "token", "whatever"])
def test_s41_a_key_in_the_address_is_refused(backend: Backend, name: str) -> None:
    for headers in ({}, {"Authorization": f"Bearer {backend.secret}"}):
        answer = backend.call("GET", "/credits", query_string={name: backend.secret}, headers=headers)
        assert (answer.status_code, error_of(answer)["code"]) == (400, "key_in_address")
        assert backend.secret not in answer.get_data(as_text=True)


def test_s79_fields_have_one_place(backend: Backend) -> None:
    answer = backend.call("GET", "/credits", query_string="team_id=a&team_id=b")
    assert (answer.status_code, error_of(answer)["code"]) == (400, "unexpected_parameter")


def test_another_version_is_refused_and_ours_is_not(backend: Backend) -> None:
    headers = {"Authorization": f"Bearer {backend.secret}"}
    for version, status in (("2026-11-25", 200), ("2019-01-01", 400), ("", 400), ("x" * 500, 400)):
        answer = backend.call("GET", "/credits", headers=headers | {"Turnpike-Version": version})
        assert answer.status_code == status
        assert answer.headers["Turnpike-Version"] == "2026-11-25"
        assert status == 200 or error_of(answer)["code"] == "unknown_version"


def test_a_session_is_no_key(cast: Cast, backend: Backend) -> None:
    assert cast.owner.client.get("/api/v1/credits").status_code == 401


def test_no_other_site_is_let_in(backend: Backend) -> None:
    headers = {"Authorization": f"Bearer {backend.secret}", "Origin": "https://evil.example"}
    answer = backend.call("GET", "/credits", headers=headers)
    assert not [name for name in answer.headers.keys() if name.lower().startswith("access-control-")]  # noqa: SIM118  headers are pairs, not keys


def test_programs_need_no_form_token(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(backend.app.config, "WTF_CSRF_ENABLED", True)
    assert backend.use().status_code == 200


def test_the_last_use_is_noted_at_most_once_a_minute(backend: Backend) -> None:
    assert last_used(backend) is None
    assert backend.use().status_code == 200
    first = last_used(backend)
    assert first is not None
    assert backend.use().status_code == 200
    assert last_used(backend) == first
    with backend.app.app_context(), unit_of_work():
        clock.advance(timedelta(seconds=61))
    assert backend.use().status_code == 200
    later = last_used(backend)
    assert later is not None
    assert later > first


def test_a_refused_key_is_not_noted_as_used(backend: Backend) -> None:
    assert replace(backend, secret=backend.secret[:-1]).use().status_code == 401
    assert last_used(backend) is None


def test_s38_the_log_names_team_and_key_but_never_the_secret(backend: Backend) -> None:
    with written_log() as log:
        assert backend.use(key="order-1").status_code == 200
    with backend.app.app_context():
        key_id = keys_of(backend.team_id)[0].id
    written = log.getvalue()
    assert backend.team_id in written
    assert key_id in written
    assert backend.secret not in written


def last_used(backend: Backend) -> datetime | None:
    with backend.app.app_context():
        return db.session.execute(select(ApiKey.last_used_at).where(ApiKey.team_id == backend.team_id)).scalar_one()
