"""The credits page of a team whose product has work under way."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from portal.core.database import db
from portal.core.ids import new_id
from portal.core.unit_of_work import unit_of_work
from portal.credits import holds
from tests.browser.visitor import Visitor


def held_credits(someone: Visitor, company: Any) -> None:
    """It is given back once the page is there, so that the pages of others are as they were."""
    team_id = company.free.team_id
    with someone.stack.portal.app_context():
        with unit_of_work():
            made = [
                holds.hold(team_id, 15, new_id("key"), timedelta(minutes=20), meter="generate_campaign", quantity=3),
                holds.hold(team_id, 12, new_id("key"), timedelta(days=2)),
            ]
        someone.go(f"/teams/{team_id}/credits")
        with unit_of_work():
            for hold in made:
                holds.release(team_id, hold.id)
        db.session.remove()
