"""What the ids in daily totals are called: meters, API keys and members, also those that are gone."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import select

from portal.accounts.models import ApiKey, User
from portal.catalog.models import Meter
from portal.core.database import db

NO_KEY = "Without a key"
NO_MEMBER = "Nobody named"
UNKNOWN = "Somebody who is gone"


@dataclass(frozen=True)
class MeterName:
    """`cost_credits` is what a unit costs by the catalog of today; None for a meter that is not paid in credits."""

    key: str
    name: str
    metered: bool
    cost_credits: int | None


def meter_names(used: Collection[str]) -> dict[str, MeterName]:
    """The catalog's meters in its order, then those that were used and are not in it any more."""
    query = select(Meter).order_by(Meter.archived_at.is_not(None), Meter.position, Meter.key)
    found = {
        meter.key: MeterName(meter.key, meter.name, meter.mode == "metered", meter.cost_credits)
        for meter in db.session.execute(query).scalars()
        if meter.archived_at is None or meter.key in used
    }
    return found | {key: MeterName(key, key, metered=False, cost_credits=None) for key in used if key not in found}


def api_key_names(team_id: str, ids: Collection[str]) -> dict[str, str]:
    query = select(ApiKey.id, ApiKey.name, ApiKey.last4).where(ApiKey.team_id == team_id, ApiKey.id.in_(ids))
    found = {key_id: f"{name} …{last4}" for key_id, name, last4 in db.session.execute(query)}
    return {key_id: found.get(key_id, NO_KEY if not key_id else UNKNOWN) for key_id in ids}


def member_names(ids: Collection[str]) -> dict[str, str]:
    """By the ids in this team's own totals: whoever was named there was a member when it was reported."""
    found = {user.id: user.display_name for user in db.session.execute(select(User).where(User.id.in_(ids))).scalars()}
    return {user_id: found.get(user_id, NO_MEMBER if not user_id else UNKNOWN) for user_id in ids}
