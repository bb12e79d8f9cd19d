"""Secrets and people's data leave no trace: one person's way through everything, and then a look at what was written.

Each value of theirs is a canary. None may stand in a line of log, a report, a job in Redis, an error page or an address.
"""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import pytest
import sentry_sdk
from flask import Flask
from flask.testing import FlaskClient
from redis import Redis
from sqlalchemy import select
from werkzeug.test import TestResponse

from portal.accounts.models import Team
from portal.core import error_tracking
from portal.core.database import db
from portal.core.error_tracking import init_error_tracking
from portal.core.ids import new_id
from portal.core.unit_of_work import unit_of_work
from portal.notifications.jobs import drain_outbox
from portal.notifications.models import OutboxItem
from tests import switches
from tests.cast import make_user
from tests.logs import written_log
from tests.stage import API_KEY, DECLINED, VISA, WEBHOOK_SECRET, Stage
from tests.web.test_error_tracking import FakeTransport

NAME, EMAIL = "Canaria Quillfeather", "canaria.quillfeather@example.com"
PASSWORD, NEW_PASSWORD = "first-Qu1ll-canary-phrase", "second-Qu1ll-canary-phrase"
SMTP_PASSWORD = "smtp-Qu1ll-canary"
PERSONAL = (NAME, EMAIL, "canaria.quillfeather", "Quillfeather")


class Traces:
    """Everything that was written down on the way, by where."""

    def __init__(self, log: io.StringIO, reports: list[dict[str, Any]]) -> None:
        self.log, self.reports = log, reports
        self.error_pages: list[str] = []
        self.addresses: list[str] = []
        self.secrets: set[str] = {PASSWORD, NEW_PASSWORD, SMTP_PASSWORD, VISA, DECLINED, API_KEY, WEBHOOK_SECRET}

    def note(self, answer: TestResponse) -> TestResponse:
        self.addresses += [unquote(answer.request.path), unquote(answer.location or "")]
        if answer.status_code >= 400 and answer.status_code != 422:
            self.error_pages.append(answer.get_data(as_text=True))
        return answer


@pytest.fixture
def traces(app: Flask) -> Iterator[Traces]:
    """Everything that is logged, and the reports that would be sent."""
    transport = FakeTransport()
    with switches.settings(app, sentry_dsn="https://key@errors.example.com/1"), written_log() as log:
        init_error_tracking(app.config["SETTINGS"], transport)
        yield Traces(log, transport.reports)
    error_tracking._state["sdk"] = None
    sentry_sdk.get_global_scope().set_client(None)


def mailed_path() -> str:
    """The path of the link in the newest mail."""
    mail = db.session.execute(select(OutboxItem).order_by(OutboxItem.id.desc()).limit(1)).scalar_one()
    found = re.search(r"https?://[^/\s]+(/\S+)", mail.payload["text"])
    db.session.remove()
    assert found is not None
    return found.group(1)


@pytest.mark.lifecycle
def test_s70_s71_nothing_of_a_person_or_a_secret_is_written_down(
    app: Flask, stage: Stage, traces: Traces, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = app.test_client()
    team_id = _come_in(traces, browser)
    _use_the_api(traces, app, browser, team_id)
    _buy(traces, stage, browser, team_id)
    _break_things(traces, app, stage, browser, monkeypatch)

    log = traces.log.getvalue()
    assert len(log.splitlines()) > 30
    assert len(traces.reports) >= 2
    written = {"the log": log, "reports": repr(traces.reports), "Redis": "\n".join(_redis(redis_url))}
    for place, text in written.items():
        for canary in (*traces.secrets, *PERSONAL):
            assert canary not in text, f"{place}: …{text[max(0, text.find(canary) - 200) : text.find(canary) + 60]}"
    for page in traces.error_pages:
        assert not [one for one in (*traces.secrets, SMTP_PASSWORD) if one in page]
    assert len(traces.error_pages) >= 3
    for address in traces.addresses:
        assert not [one for one in (*PERSONAL, PASSWORD, VISA) if one in address], address


def _come_in(traces: Traces, browser: FlaskClient) -> str:
    """Sign up, sign in with a wrong and a right password, and reset it."""
    form = {"email": EMAIL, "password": PASSWORD, "team_name": "Quay", "name": NAME}
    traces.note(browser.post("/signup", data=form))
    confirm = mailed_path()
    traces.secrets.add(confirm.rsplit("/", 1)[-1])
    browser.get(confirm)
    traces.note(browser.post("/login", data={"email": EMAIL, "password": "wrong-" + NEW_PASSWORD}))
    traces.note(browser.post("/reset", data={"email": EMAIL}))
    reset = mailed_path()
    traces.secrets.add(reset.rsplit("/", 1)[-1])
    browser.post(reset, data={"password": NEW_PASSWORD, "password_confirm": NEW_PASSWORD})
    browser.post("/logout")
    answer = traces.note(browser.post("/login", data={"email": EMAIL, "password": NEW_PASSWORD}))
    assert answer.status_code == 302
    for cookie in answer.headers.getlist("Set-Cookie"):
        traces.secrets.add(cookie.split(";")[0].partition("=")[2] or "no-cookie-at-all")
    team_id = db.session.execute(select(Team.id)).scalar_one()
    db.session.remove()
    return team_id


def _use_the_api(traces: Traces, app: Flask, browser: FlaskClient, team_id: str) -> None:
    scopes = ["usage:write", "credits:read", "billing:read"]
    made = browser.post(f"/teams/{team_id}/api-keys", data={"name": NAME, "scopes": scopes})
    found = re.search(r"tp_test_\w+", made.get_data(as_text=True))
    assert found is not None, made.get_data(as_text=True)
    traces.secrets.add(found.group(0))
    headers = {"Authorization": f"Bearer {found.group(0)}", "Idempotency-Key": "k-1"}
    program = app.test_client()
    assert (
        program.post("/api/v1/usage", headers=headers, json={"meter": "send_email", "quantity": 1}).status_code == 200
    )
    traces.note(program.post("/api/v1/usage", headers=headers | {"Idempotency-Key": "k-2"}, data=EMAIL))
    traces.note(program.get("/api/v1/credits", headers={"Authorization": "Bearer " + found.group(0) + "x"}))


def _buy(traces: Traces, stage: Stage, browser: FlaskClient, team_id: str) -> None:
    """A card that is declined, then one that is not."""
    answer = traces.note(browser.post(f"/teams/{team_id}/checkout", data={"plan": "business", "interval": "month"}))
    assert answer.status_code == 303, answer.get_data(as_text=True)
    stage.pay(str(answer.location), DECLINED)
    stage.pay(str(answer.location), VISA)
    stage.deliver_all()
    page = browser.get(f"/teams/{team_id}/billing").get_data(as_text=True)
    assert "Business" in page


def _break_things(
    traces: Traces, app: Flask, stage: Stage, browser: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row that the database complains about, an event that fails, a forged one, a mail server that is away."""

    def twice() -> None:
        with unit_of_work():
            make_user(EMAIL.upper(), name=NAME)
            db.session.flush()

    def broken() -> None:
        # A library's words. The net takes out what has a shape; a name has none, so nobody may put one into an error.
        raise RuntimeError(f"to {EMAIL} with {API_KEY} and {VISA}")

    monkeypatch.setitem(app.view_functions, "catalog.pricing", twice)
    assert traces.note(browser.get("/pricing")).status_code == 500
    monkeypatch.setitem(app.view_functions, "catalog.home", broken)
    assert traces.note(browser.get("/", headers={"Authorization": f"Bearer {API_KEY}"})).status_code == 500
    event = {"id": new_id("evt"), "object": "event", "type": "invoice.paid", "created": 1_790_000_000,
             "livemode": False, "data": {"object": {"id": "in_none", "customer_email": EMAIL}}}  # fmt: skip
    stage.deliver(event)
    stage.drain()
    traces.note(app.test_client().post("/webhooks/stripe", data=EMAIL, headers={"Stripe-Signature": WEBHOOK_SECRET}))
    traces.note(browser.get(f"/teams/{new_id('team')}/billing"))
    browser.post("/reset", data={"email": EMAIL})
    with switches.settings(app, mail_url=f"smtp://{EMAIL.replace('@', '%40')}:{SMTP_PASSWORD}@127.0.0.1:9"):
        drain_outbox()


def _redis(url: str) -> Iterator[str]:
    """Every key and every value, jobs' unpacked."""
    if url == "none":
        return
    redis = Redis.from_url(url)
    for key in redis.scan_iter("*"):
        yield key.decode("latin-1")
        kind = redis.type(key)
        if kind == b"hash":
            for field, value in redis.execute_command("HGETALL", key).items():
                yield f"{field!r}: {value!r}"
                if field == b"data":
                    yield _unpacked(value)
        elif kind == b"string":
            yield repr(redis.get(key))
        elif kind == b"list":
            yield repr(redis.execute_command("LRANGE", key, 0, -1))
        elif kind == b"zset":
            yield repr(redis.execute_command("ZRANGE", key, 0, -1))


def _unpacked(data: bytes) -> str:
    """A job's data as the library reads it: compressed, or as it is."""
    try:
        return zlib.decompress(data).decode()
    except zlib.error:
        return data.decode("latin-1")
