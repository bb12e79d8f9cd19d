"""The audit trail keeps what was done, and nobody can change it afterwards."""

from __future__ import annotations

import pytest
from flask import Flask
from sqlalchemy import create_engine, select, text
from sqlalchemy.exc import DBAPIError

from portal.accounts import audit
from portal.accounts.models import AuditEntry
from portal.core.database import db
from portal.core.unit_of_work import unit_of_work
from tests.cast import Cast


def test_an_entry_says_who_did_what_from_where(app: Flask, cast: Cast) -> None:
    headers = {"User-Agent": "Browser\x1b[31m\u00e9 1.0" + "x" * 300}
    with app.test_request_context("/", headers=headers, environ_base={"REMOTE_ADDR": "192.0.2.7"}), unit_of_work():
        audit.record(audit.by_user(cast.owner.user_id), "team.renamed", team_id=cast.team_id, before="A", after="B")
    entry = db.session.execute(select(AuditEntry)).scalar_one()
    assert (entry.actor_kind, entry.actor_id, entry.action) == ("user", cast.owner.user_id, "team.renamed")
    assert entry.detail == {"before": "A", "after": "B"}
    assert entry.ip == "192.0.2.7"
    assert entry.user_agent is not None
    assert entry.user_agent.startswith("Browser[31m? 1.0")
    assert len(entry.user_agent) == audit.USER_AGENT_CHARACTERS_MAX
    assert entry.request_id is not None


def test_an_entry_goes_with_the_unit_that_made_it(app: Flask, cast: Cast) -> None:
    def renamed_and_failed() -> None:
        with unit_of_work():
            audit.record(audit.SYSTEM, "team.renamed", team_id=cast.team_id)
            raise LookupError

    with pytest.raises(LookupError):
        renamed_and_failed()
    assert db.session.execute(select(AuditEntry)).all() == []


@pytest.mark.parametrize("role", ["owner", "app"])
@pytest.mark.parametrize("change", ["update audit_entries set action = 'x'", "delete from audit_entries"])
def test_s78_entries_cannot_be_changed_by_anybody(app: Flask, cast: Cast, role: str, change: str) -> None:
    with unit_of_work():
        audit.record(audit.SYSTEM, "team.renamed", team_id=cast.team_id)
    settings = app.config["SETTINGS"]
    engine = create_engine(settings.database_owner_url if role == "owner" else settings.database_url)
    with pytest.raises(DBAPIError), engine.begin() as connection:
        connection.execute(text(change))
    engine.dispose()
    db.session.expire_all()
    assert db.session.execute(select(AuditEntry.action)).scalars().all() == ["team.renamed"]
