"""Setting and removing budgets. A budget is of one API key or one member, each of which has at most one in credits and one for
each metered meter.
"""

from __future__ import annotations

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert

from portal.accounts import audit
from portal.accounts.audit import Actor
from portal.accounts.models import ApiKey, Membership, User
from portal.core.database import db
from portal.core.ids import new_id
from portal.usage.budget_models import UsageBudget
from portal.usage.names import meter_names

LIMIT_MAX = 10**12
# What a budget counts that is in no meter's units.
CREDITS = "credits"
ACTIONS = {"warn": "Only tell", "stop": "Refuse further use"}


def subjects_of(team_id: str) -> dict[str, str]:
    """Whom a budget can be set for: `key:<id>` and `member:<id>` with their names."""
    keys = select(ApiKey).where(ApiKey.team_id == team_id, ApiKey.revoked_at.is_(None)).order_by(ApiKey.name, ApiKey.id)
    people = select(User).join(Membership, Membership.user_id == User.id).where(Membership.team_id == team_id)
    found = {f"key:{key.id}": f"API key {key.name} …{key.last4}" for key in db.session.execute(keys).scalars()}
    members = db.session.execute(people.order_by(User.name, User.email)).scalars()
    return found | {f"member:{user.id}": f"Member {user.display_name}" for user in members}


def units_of() -> dict[str, str]:
    """What a budget can count: `credits`, where any meter takes them, and the units of each metered meter, by its key."""
    meters = list(meter_names(()).values())
    credits_too = {CREDITS: "Credits"} if any(not meter.metered for meter in meters) else {}
    return credits_too | {meter.key: meter.name for meter in meters if meter.metered}


def set_budget(team_id: str, subject: str, limit: int, action: str, actor: Actor, *, meter: str | None = None) -> None:
    """Set the budget of a subject of `subjects_of`, in the current unit; the one it had of the same is replaced.

    `limit` is in units of `meter`, or without one in credits.
    """
    kind, _colon, subject_id = subject.partition(":")
    column = "api_key_id" if kind == "key" else "user_id"
    place = UsageBudget.api_key_id if kind == "key" else UsageBudget.user_id
    row = insert(UsageBudget).values(
        id=new_id("budget"), team_id=team_id, meter=meter, limit=limit, action=action, **{column: subject_id}
    )
    saved = row.on_conflict_do_update(
        index_elements=["team_id", column, "meter"],
        index_where=place.is_not(None),
        set_={UsageBudget.limit: limit, "action": action},
    )
    budget_id = db.session.execute(saved.returning(UsageBudget.id)).scalar_one()
    counted = {"credits": limit} if meter is None else {"units": limit, "meter": meter}
    audit.record(actor, "budget.set", team_id=team_id, target=budget_id, of=subject_id, at_it=action, **counted)


def remove_budget(team_id: str, budget_id: str, actor: Actor) -> bool:
    """Whether there was one."""
    mine = (UsageBudget.team_id == team_id) & (UsageBudget.id == budget_id)
    found = db.session.execute(delete(UsageBudget).where(mine).returning(UsageBudget.id)).scalar()
    if found is not None:
        audit.record(actor, "budget.removed", team_id=team_id, target=budget_id)
    return found is not None
