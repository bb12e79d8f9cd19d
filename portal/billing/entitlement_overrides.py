"""The staff's exceptions: a feature for one team, given or taken away beside its plan. One for each team and feature."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ScalarResult, select, update

from portal.accounts import audit
from portal.accounts.models import Team
from portal.billing.models import EntitlementOverride
from portal.catalog.models import Feature
from portal.core import clock
from portal.core.clock import app_now
from portal.core.database import db
from portal.core.ids import new_id


class UnusableOverride(Exception):
    """The exception cannot be made; the message says why."""


def override(
    team_id: str,
    feature_key: str,
    *,
    enabled: bool,
    limit: int | None = None,
    ends_at: datetime | None = None,
    reason: str,
) -> EntitlementOverride:
    """Make an exception in the current unit, in place of the one that is there. Raises `UnusableOverride`."""
    if db.session.get(Team, team_id) is None:
        raise UnusableOverride(f"there is no team {team_id}")
    feature = _feature(feature_key)
    if feature.kind == "text":
        raise UnusableOverride(f"{feature_key} is only shown on the pricing page and gives nobody a right")
    if limit is not None and (feature.kind != "limit" or not enabled):
        raise UnusableOverride(f"{feature_key} is not a limit that is switched on")
    if limit is not None and limit < 0:
        raise UnusableOverride("a limit cannot be less than 0")
    if ends_at is not None and ends_at <= clock.now():
        raise UnusableOverride("the end has to lie in the future")
    if not reason.strip():
        raise UnusableOverride("the reason is missing")
    _revoke(team_id, feature)
    made = EntitlementOverride(
        id=new_id("ovr"),
        team_id=team_id,
        feature_id=feature.id,
        enabled=enabled,
        limit_value=limit,
        ends_at=ends_at,
        reason=reason.strip(),
    )
    db.session.add(made)
    audit.record(
        audit.SYSTEM,
        "entitlement.overridden",
        team_id=team_id,
        target=made.id,
        feature=feature_key,
        enabled=enabled,
        limit=limit,
        ends_at=ends_at.isoformat() if ends_at else None,
        reason=made.reason,
    )
    db.session.flush()
    return made


def revoke(team_id: str, feature_key: str) -> bool:
    """End the exception in the current unit; returns whether there was one. Raises `UnusableOverride`."""
    revoked = _revoke(team_id, _feature(feature_key))
    for override_id in revoked:
        audit.record(
            audit.SYSTEM, "entitlement.override_revoked", team_id=team_id, target=override_id, feature=feature_key
        )
    return bool(revoked)


def _feature(key: str) -> Feature:
    found = db.session.execute(select(Feature).where(Feature.key == key, Feature.archived_at.is_(None)))
    feature = found.scalar_one_or_none()
    if feature is None:
        raise UnusableOverride(f"the catalog has no feature {key}")
    return feature


def _revoke(team_id: str, feature: Feature) -> list[str]:
    ours = (EntitlementOverride.team_id == team_id, EntitlementOverride.feature_id == feature.id)
    ended = (
        update(EntitlementOverride)
        .where(*ours, EntitlementOverride.revoked_at.is_(None))
        .values(revoked_at=app_now())
        .returning(EntitlementOverride.id)
    )
    found: ScalarResult[str] = db.session.execute(ended).scalars()
    return list(found)
