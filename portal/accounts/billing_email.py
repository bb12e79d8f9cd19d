"""The address that a team's invoices go to: another one counts when its reader has used the mailed link.

Only the newest link counts, once, for two days, and only while whoever asked for it may manage billing (see
`accounts.memberships`); the row keeps its digest. A change made at Stripe counts as it is, since whoever may do that
there is trusted.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Interval, cast, delete, literal, select
from sqlalchemy.dialects.postgresql import insert

from portal.accounts import audit
from portal.accounts.memberships import Overtaken, lock_team
from portal.accounts.models import BillingEmailChange, Membership, Team
from portal.core.authz import Action, may
from portal.core.clock import app_now
from portal.core.database import db

LINK_LASTS = timedelta(days=2)
TOKEN_BYTES = 32


class LinkOver(Exception):
    """The link was used, replaced or withdrawn, or is too old."""


@dataclass(frozen=True)
class Pending:
    """What a link is about."""

    team: Team
    email: str
    asked_by_id: str


def ask(team: Team, user_id: str, email: str) -> str:
    """Remember the wish, in the current unit, and return the token for the mailed link.

    Raises `Overtaken` if the person has lost the right to it this very moment.
    """
    _look_again(team.id, user_id)
    token = secrets.token_urlsafe(TOKEN_BYTES)
    values = {
        "email": email,
        "digest": _digest(token),
        "asked_by_id": user_id,
        "expires_at": app_now() + cast(literal(LINK_LASTS), Interval),
    }
    statement = insert(BillingEmailChange).values(team_id=team.id, **values)
    db.session.execute(statement.on_conflict_do_update(index_elements=["team_id"], set_=values))
    # An entry can never be erased, so it holds no address.
    audit.record(audit.by_user(user_id), "billing_email.asked", team_id=team.id)
    return token


def waiting_for(team_id: str) -> str | None:
    """The address whose reader has not used the link yet."""
    mine = (BillingEmailChange.team_id == team_id) & (BillingEmailChange.expires_at > app_now())
    return db.session.execute(select(BillingEmailChange.email).where(mine)).scalar()


def withdraw(team_id: str) -> None:
    db.session.execute(delete(BillingEmailChange).where(BillingEmailChange.team_id == team_id))


def pending(token: str, *, locked: bool = False) -> Pending:
    """What the link is about. Raises `LinkOver`."""
    live = (BillingEmailChange.digest == _digest(token)) & (BillingEmailChange.expires_at > app_now())
    query = select(BillingEmailChange).where(live)
    if locked:
        query = query.with_for_update().execution_options(populate_existing=True)
    row = db.session.execute(query).scalar_one_or_none()
    if row is None:
        raise LinkOver
    team_query = select(Team).where(Team.id == row.team_id).execution_options(populate_existing=locked)
    team = db.session.execute(team_query).scalar_one()
    return Pending(team, row.email, row.asked_by_id)


def apply(token: str) -> tuple[Pending, str]:
    """Take the address, in the current unit; returns what it was about and the address before. Raises `LinkOver`."""
    # As whoever changes the members does, who may withdraw the wish: the team first, then look again.
    lock_team(pending(token).team.id)
    found = pending(token, locked=True)
    before = found.team.billing_email
    found.team.billing_email = found.email
    withdraw(found.team.id)
    if before != found.email:
        audit.record(audit.by_user(found.asked_by_id), "team.billing_email_changed", team_id=found.team.id)
    db.session.flush()
    return found, before


def take_billing_email(team_id: str, email: str) -> None:
    """Take the address that was set at Stripe, in the current unit."""
    team = db.session.execute(select(Team).where(Team.id == team_id)).scalar_one()
    if team.billing_email != email:
        team.billing_email = email
        audit.record(audit.SYSTEM, "team.billing_email_changed", team_id=team_id, by="Stripe")


def _look_again(team_id: str, user_id: str) -> None:
    lock_team(team_id)
    mine = (Membership.team_id == team_id) & (Membership.user_id == user_id)
    role = db.session.execute(select(Membership.role).where(mine)).scalar_one_or_none()
    if role is None or not may(role, Action.MANAGE_BILLING):
        raise Overtaken


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
