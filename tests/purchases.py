"""What purchases must have come to, whatever happened on the way, and many of them at once."""

from __future__ import annotations

import json
from typing import Any

from flask import Flask
from sqlalchemy import select, text

from portal.accounts.models import Team, User
from portal.core.database import db
from portal.core.unit_of_work import unit_of_work
from portal.credits.models import CreditEntry
from portal.credits.verify import verify
from portal.webhooks.models import WAITING, StripeEvent
from tests.cast import Person, make_team_of, make_user, signed_in
from tests.conftest import empty_tables

BUSINESS_CREDITS = 20_000

# What tells only how often and when a row was written.
HIDDEN = {"id", "gen", "synced_at", "created_at", "completed_at", "as_of", "at", "subscription_id", "grant_id"}
# The credits are not among them: a free month that the schedule granted before the purchase is ended by it.
TABLES = (
    "customers", "checkouts", "subscriptions", "subscription_items", "invoices", "payments", "payment_methods",
    "paid_periods",
)  # fmt: skip
EFFECTS = (
    "credit_hold_lots", "credit_holds", "credit_lot_days", "credit_progress", "threshold_notices", "purchase_intents",
    "auto_purchase_rules", "auto_purchase_consents", "stripe_events", "subscription_items", "subscriptions", "invoices", "payments", "refunds", "payment_methods",
    "paid_periods", "paid_changes", "disputes", "usage_daily", "usage_events", "usage_keys",
    "credit_freezes", "credit_reversals", "credit_consumptions", "credit_entries", "credit_grants",
    "credit_accounts", "alarms", "schedule", "trial_uses",
)  # fmt: skip


def make_buyer(app: Flask, name: str) -> tuple[Person, str]:
    """An owner and the id of a team of their own."""
    with unit_of_work():
        user: User = make_user()
        team: Team = make_team_of(user, name)
    person = Person(user.id, user.email, signed_in(app, user))
    db.session.remove()
    return person, team.id


def waiting() -> list[tuple[str, str, int]]:
    """The events that are still to be applied: id, state, attempts."""
    query = select(StripeEvent.event_id, StripeEvent.state, StripeEvent.attempts)
    found = db.session.execute(query.where(StripeEvent.state.in_(WAITING))).all()
    return [(row.event_id, row.state, row.attempts) for row in found]


def states() -> set[str]:
    return set(db.session.execute(select(StripeEvent.state)).scalars())


def nothing_waits() -> bool:
    return not waiting()


def paid_grants(team_id: str) -> list[int]:
    """The amounts that were granted to the team for what it paid, one for each time."""
    query = select(CreditEntry.amount).where(CreditEntry.team_id == team_id, CreditEntry.cause_key.like("period:sub%"))
    return list(db.session.execute(query).scalars())


def violations() -> list[str]:
    """What `flask ledger verify` would find wrong."""
    return [f"{finding.invariant.id}: {finding.details}" for finding in verify() if finding.violations]


def rows_of(team_id: str) -> dict[str, Any]:
    """The team's rows of the mirror without what tells only how often and when they were written."""
    found: dict[str, Any] = {}
    for table in TABLES:
        query = select(text("*")).select_from(text(table)).where(text("team_id = :team"))
        rows = db.session.execute(query, {"team": team_id}).mappings()
        kept = [{name: value for name, value in row.items() if name not in HIDDEN} for row in rows]
        found[table] = sorted(json.dumps(row, default=str, sort_keys=True) for row in kept)
    return found


def forget_effects(app: Flask) -> None:
    """Empty what events bring about (as the owner of the tables; the app itself may not) and keep the purchase."""
    empty_tables(app, *EFFECTS)
    db.session.execute(text("update checkouts set state = 'open', completed_at = null, subscription_stripe_id = null"))
    db.session.commit()
    db.session.remove()
