"""How auto-purchase stands for a team, in a word: for pages, and for the answer to a use that was refused."""

from __future__ import annotations

from sqlalchemy import select

from portal.core.database import db
from portal.credits import purchase_rules
from portal.credits.purchase_models import OPEN_STATES, AutoPurchaseRule, PurchaseIntent

RULE_STANDINGS = ("off", "on", "stopped", "capped", "paused")
# While a purchase is open, that is what a program has to know.
STANDINGS = (*RULE_STANDINGS, "under_way", "requires_action")


def state(team_id: str) -> str:
    """One of `RULE_STANDINGS`."""
    return state_of(purchase_rules.rule_of(team_id))


def state_of(rule: AutoPurchaseRule | None) -> str:
    """The same of a rule that has been read."""
    if rule is None or not rule.enabled:
        return "off"
    if rule.paused_at is not None:
        return "paused"
    return "on" if rule.state == "armed" else rule.state


def standing(team_id: str) -> str:
    """One of `STANDINGS`."""
    query = select(PurchaseIntent.state).where(PurchaseIntent.team_id == team_id, PurchaseIntent.state.in_(OPEN_STATES))
    purchase = db.session.execute(query).scalar()
    if purchase is None:
        return state(team_id)
    return purchase if purchase == "requires_action" else "under_way"
