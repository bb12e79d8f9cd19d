"""What each role may do, in words: read from the tables that decide it, so that the page cannot say otherwise."""

from __future__ import annotations

from portal.core.authz import Action, Role, may

ACTION_WORDS = {
    Action.VIEW_BILLING: "See the plan, credits and invoices",
    Action.VIEW_MEMBERS: "See who is in the team",
    Action.VIEW_API_KEYS: "See the API keys",
    Action.BUY: "Buy plans and credits",
    Action.CHANGE_PLAN: "Change the plan, buy and give back seats",
    Action.MANAGE_BILLING: "Change the card, end the plan",
    Action.MANAGE_API_KEYS: "Create and revoke API keys",
    Action.MANAGE_MEMBERS: "Invite people, change and remove those below",
    Action.MANAGE_TEAM: "Change the team's settings",
    Action.VIEW_AUDIT: "Read the audit trail",
    Action.HAND_OVER_TEAM: "Hand the team over",
}


def role_table() -> list[tuple[str, list[bool]]]:
    """For each action its words, and whether each role may do it, in the order of `Role`."""
    return [(words, [may(role, action) for role in Role]) for action, words in ACTION_WORDS.items()]
