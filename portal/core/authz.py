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
    MANAGE_TEAM = "manage_team"
    VIEW_AUDIT = "view_audit"


PERMISSIONS: dict[Role, frozenset[Action]] = {
    Role.OWNER: frozenset(Action),
    Role.ADMIN: frozenset(Action) - {Action.VIEW_AUDIT},
    Role.BILLING: frozenset({Action.VIEW_BILLING, Action.BUY, Action.CHANGE_PLAN, Action.MANAGE_BILLING}),
    Role.MEMBER: frozenset({Action.VIEW_BILLING, Action.VIEW_API_KEYS}),
}


def may(role: Role | str, action: Action | str) -> bool:
    return Action(action) in PERMISSIONS[Role(role)]
