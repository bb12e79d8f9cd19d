"""Setting and removing budgets. A budget is of one API key or one member, and each has at most one."""

from __future__ import annotations

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert

from portal.accounts import audit
from portal.accounts.audit import Actor
from portal.accounts.models import ApiKey, Membership, User
from portal.core.database import db
from portal.core.ids import new_id
from portal.usage.budget_models import UsageBudget

CREDITS_MAX = 10**12
ACTIONS = {"warn": "Only tell", "stop": "Refuse further use"}


def subjects_of(team_id: str) -> dict[str, str]:
    """Whom a budget can be set for: `key:<id>` and `member:<id>` with their names."""
    keys = select(ApiKey).where(ApiKey.team_id == team_id, ApiKey.revoked_at.is_(None)).order_by(ApiKey.name, ApiKey.id)
    people = select(User).join(Membership, Membership.user_id == User.id).where(Membership.team_id == team_id)
    found = {f"key:{key.id}": f"API key {key.name} …{key.last4}" for key in db.session.execute(keys).scalars()}
    members = db.session.execute(people.order_by(User.name, User.email)).scalars()
    return found | {f"member:{user.id}": f"Member {user.display_name}" for user in members}


def set_budget(team_id: str, subject: str, credits: int, action: str, actor: Actor) -> None:  # noqa: A002  the domain's word
    """Set the budget of a subject of `subjects_of`, in the current unit; the one it had is replaced."""
    kind, _colon, subject_id = subject.partition(":")
    column = "api_key_id" if kind == "key" else "user_id"
    place = UsageBudget.api_key_id if kind == "key" else UsageBudget.user_id
    row = insert(UsageBudget).values(
        id=new_id("budget"), team_id=team_id, credits=credits, action=action, **{column: subject_id}
    )
    saved = row.on_conflict_do_update(
        index_elements=["team_id", column],
        index_where=place.is_not(None),
        set_={"credits": credits, "action": action},
    )
    budget_id = db.session.execute(saved.returning(UsageBudget.id)).scalar_one()
    audit.record(actor, "budget.set", team_id=team_id, target=budget_id, of=subject_id, credits=credits, at_it=action)


def remove_budget(team_id: str, budget_id: str, actor: Actor) -> bool:
    """Whether there was one."""
    mine = (UsageBudget.team_id == team_id) & (UsageBudget.id == budget_id)
    found = db.session.execute(delete(UsageBudget).where(mine).returning(UsageBudget.id)).scalar()
    if found is not None:
        audit.record(actor, "budget.removed", team_id=team_id, target=budget_id)
    return found is not None
