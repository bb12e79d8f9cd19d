"""Who may do what in a team: one table, asked by every route, page and test."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    OWNER = "owner"
    ADMIN = "admin"
    BILLING = "billing"
    MEMBER = "member"


class Action(StrEnum):
    VIEW_BILLING = "view_billing"
    BUY = "buy"
    CHANGE_PLAN = "change_plan"
    MANAGE_BILLING = "manage_billing"
    VIEW_API_KEYS = "view_api_keys"
    MANAGE_API_KEYS = "manage_api_keys"
    VIEW_MEMBERS = "view_members"
    MANAGE_MEMBERS = "manage_members"
    HAND_OVER_TEAM = "hand_over_team"
    MANAGE_TEAM = "manage_team"
    VIEW_AUDIT = "view_audit"


PERMISSIONS: dict[Role, frozenset[Action]] = {
    Role.OWNER: frozenset(Action),
    Role.ADMIN: frozenset(Action) - {Action.VIEW_AUDIT, Action.HAND_OVER_TEAM},
    Role.BILLING: frozenset(
        {Action.VIEW_BILLING, Action.BUY, Action.CHANGE_PLAN, Action.MANAGE_BILLING, Action.VIEW_MEMBERS}
    ),
    Role.MEMBER: frozenset({Action.VIEW_BILLING, Action.VIEW_API_KEYS, Action.VIEW_MEMBERS}),
}

# Whom a role stands above: the roles whose people it may change and remove, and that it may give. Owners stand above
# each other too, since nobody else stands above them.
ABOVE: dict[Role, frozenset[Role]] = {
    Role.OWNER: frozenset(Role),
    Role.ADMIN: frozenset({Role.BILLING, Role.MEMBER}),
    Role.BILLING: frozenset(),
    Role.MEMBER: frozenset(),
}


def may(role: Role | str, action: Action | str) -> bool:
    return Action(action) in PERMISSIONS[Role(role)]


def stands_above(role: Role | str, other: Role | str) -> bool:
    """Whether whoever has `role` may act on people who have the `other`, and give it to others."""
    return Role(other) in ABOVE[Role(role)]
