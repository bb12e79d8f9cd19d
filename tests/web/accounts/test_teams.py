"""Further teams and a team's settings."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from portal.accounts import registration
from portal.accounts.models import AuditEntry, Membership, Team
from portal.core.database import db
from portal.credits.queries import balance
from tests.cast import Cast

SETTINGS = {"name": "Harbor Analytics", "time_zone": "UTC"}


def entries() -> list[AuditEntry]:
    db.session.rollback()
    return list(db.session.execute(select(AuditEntry).order_by(AuditEntry.id)).scalars())


def team(cast: Cast) -> Team:
    db.session.rollback()
    found = db.session.get(Team, cast.team_id, populate_existing=True)
    assert found is not None
    return found


def test_a_person_makes_another_team_and_owns_it(app: Flask, cast: Cast) -> None:
    answer = cast.member.client.post("/teams/new", data={"name": "  Second   Harbor "})
    made = db.session.execute(select(Team).where(Team.name == "Second Harbor")).scalar_one()
    assert (answer.status_code, answer.location) == (303, f"/teams/{made.id}/billing")
    membership = db.session.execute(select(Membership).where(Membership.team_id == made.id)).scalar_one()
    assert (membership.user_id, membership.role) == (cast.member.user_id, "owner")
    assert made.billing_email == cast.member.email
    assert balance(made.id).available == 100
    page = cast.member.client.get(answer.location).get_data(as_text=True)
    assert "Harbor Analytics" in page, "the switcher has the other one"
    assert [(entry.action, entry.actor_id, entry.team_id) for entry in entries()] == [
        ("team.created", cast.member.user_id, made.id)
    ]


@pytest.mark.parametrize("name", ["", "   ", "x" * 81])
def test_a_team_needs_a_name(app: Flask, cast: Cast, name: str) -> None:
    assert cast.owner.client.post("/teams/new", data={"name": name}).status_code == 422
    assert entries() == []


def test_one_person_owns_so_many_teams(app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registration, "OWNED_TEAMS_MAX", 2)
    assert cast.owner.client.post("/teams/new", data={"name": "Second"}).status_code == 303
    answer = cast.owner.client.post("/teams/new", data={"name": "Third"})
    assert answer.status_code == 422
    assert "the most one person can have" in answer.get_data(as_text=True)


def test_settings_are_saved_and_recorded(app: Flask, cast: Cast) -> None:
    """But not the billing e-mail, whose reader must agree first."""
    form = {"name": "Harbor & Sons", "billing_email": "Bills@Example.com", "time_zone": "Europe/Berlin"}
    assert cast.admin.client.post(f"/teams/{cast.team_id}/settings", data=form).status_code == 303
    saved = team(cast)
    assert (saved.name, saved.billing_email, saved.time_zone) == ("Harbor & Sons", "owner@example.com", "Europe/Berlin")
    assert {entry.action: entry.detail for entry in entries()} == {
        "team.name_changed": {"before": "Harbor Analytics", "after": "Harbor & Sons"},
        "team.time_zone_changed": {"before": "UTC", "after": "Europe/Berlin"},
    }
    page = cast.admin.client.get(f"/teams/{cast.team_id}/settings").get_data(as_text=True)
    assert "Harbor &amp; Sons" in page


def test_saving_what_is_already_so_records_nothing(app: Flask, cast: Cast) -> None:
    assert cast.owner.client.post(f"/teams/{cast.team_id}/settings", data=SETTINGS).status_code == 303
    assert entries() == []


@pytest.mark.parametrize("wrong", [{"name": ""}, {"time_zone": "Mars/Olympus"}])
def test_settings_with_a_wrong_value_change_nothing(app: Flask, cast: Cast, wrong: dict[str, str]) -> None:
    answer = cast.owner.client.post(f"/teams/{cast.team_id}/settings", data={**SETTINGS, "name": "New", **wrong})
    assert answer.status_code == 422
    assert (team(cast).name, team(cast).time_zone) == ("Harbor Analytics", "UTC")


def test_s12_the_currency_is_not_taken_from_the_form(app: Flask, cast: Cast) -> None:
    more: dict[str, Any] = {**SETTINGS, "currency": "eur", "id": "team_x", "stripe_customer_id": "cus_x"}
    cast.owner.client.post(f"/teams/{cast.team_id}/settings", data=more)
    assert (team(cast).currency, team(cast).id) == ("usd", cast.team_id)
