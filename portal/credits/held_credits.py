"""Reads of holds: those that are open, one by its name, and all of a team's as a list. Amounts are credits."""

from __future__ import annotations

from sqlalchemy import Select, select

from portal.core.clock import app_now
from portal.core.database import db
from portal.core.ids import is_id
from portal.credits.holds import PREFIX
from portal.credits.models import CreditHold

STATES = ("open", "settled", "released", "expired")


def open_holds(team_id: str) -> list[CreditHold]:
    """What is held now, the first to end first. One whose time is over is none, whether or not that is posted."""
    query = holds_of(team_id, "open").order_by(CreditHold.expires_at, CreditHold.id)
    return list(db.session.execute(query).scalars())


def find_hold(team_id: str, hold_id: str) -> CreditHold | None:
    """The team's hold of this name, or None."""
    if not is_id(PREFIX, hold_id):
        return None
    query = select(CreditHold).where(CreditHold.team_id == team_id, CreditHold.id == hold_id)
    return db.session.execute(query).scalar()


def holds_of(team_id: str, state: str | None = None) -> Select[CreditHold]:
    """The team's holds, all or those in a state; in no order yet. One that is over counts as expired at once."""
    query = select(CreditHold).where(CreditHold.team_id == team_id)
    over = (CreditHold.state == "open") & (CreditHold.expires_at <= app_now())
    if state == "open":
        return query.where(CreditHold.state == "open", CreditHold.expires_at > app_now())
    if state == "expired":
        return query.where((CreditHold.state == "expired") | over)
    return query if state is None else query.where(CreditHold.state == state)
