"""What a team may do: the rights of the plan that is in force for it, for the product to ask before it acts.

The database works them out (view `entitlements_effective`): what the state of the subscription leaves of its plan, by
the catalog's table `access`; the add-ons beside it; the free plan where that is nothing; and the staff's exceptions for the team. A process
keeps what it has read until the count of changes moves, which triggers see to.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, select

from portal.billing.models import LIVE_STATUSES
from portal.catalog.models import Meter, PlanMeter
from portal.core.clock import APP_NOW
from portal.core.database import db, send
from portal.core.statements import Statement
from portal.core.unit_of_work import in_unit

VERSION = Statement(
    f"select {APP_NOW} as now,"  # noqa: S608  all of it is ours
    " (select version from rights_versions where scope = :team_id) as team,"
    " (select version from rights_versions where scope = 'catalog') as catalog"
)
STANDING = Statement(
    "select st.status, st.access, st.credits_frozen, st.seats_subscription_id,"
    " p.id, p.key, p.name, p.seats_included, p.credits_monthly"
    " from team_standing st left join plans p on p.id = st.plan_id where st.team_id = :team_id"
)
FEATURES = Statement(
    "select feature_key, name, kind, enabled, limit_value, unit, text, source, ends_at"
    " from entitlements_effective where team_id = :team_id order by position, feature_key"
)
# Teams whose rights a process keeps: some kilobytes each.
KEPT_MAX = 2_000


@dataclass(frozen=True)
class PlanInForce:
    """A plan as the catalog has it; seats of None are any number, credits of None are a product without credits."""

    id: str
    key: str
    name: str
    seats_included: int | None
    credits_monthly: int | None


@dataclass(frozen=True)
class FeatureRight:
    """A feature as the team has it. An enabled limit of None is no limit at all.

    `source` is `plan`, `addon` (beside what the plan gives), `override` (the staff's exception, until `ends_at`) or `none`.
    """

    key: str
    name: str
    kind: str
    enabled: bool
    limit: int | None
    unit: str | None
    text: str | None
    source: str
    ends_at: datetime | None


@dataclass(frozen=True)
class MeterRight:
    """A meter as the plan in force includes it: `cost_credits` a use, or `included` units a month.

    `more_allowed`: uses beyond what is included are sold too.
    """

    key: str
    name: str
    mode: str
    cost_credits: int | None
    included: int | None
    more_allowed: bool


@dataclass(frozen=True)
class Entitlements:
    """`plan` is None in a product without a free plan, for a team that has not subscribed.

    `access` is `full`, `read_only` (the subscription's state leaves reading) or `none`; `status` is Stripe's word for
    the state of a live subscription. `credits_frozen`: no credit can be spent. `seats_subscription_id` is the subscription
    whose seats count, our own id; None where they are those of the plan in force.
    """

    plan: PlanInForce | None
    status: str | None
    access: str
    credits_frozen: bool
    seats_subscription_id: str | None
    features: list[FeatureRight]
    meters: list[MeterRight]

    def feature(self, key: str) -> FeatureRight | None:
        """None when the catalog has no such feature."""
        return next((feature for feature in self.features if feature.key == key), None)


@dataclass(frozen=True)
class _Kept:
    version: tuple[int | None, int | None]
    until: datetime | None
    rights: Entitlements


_kept: dict[str, _Kept] = {}


def effective(team_id: str) -> Entitlements:
    """The team's rights now. Inside a unit of work they are read anew: what it has changed may be rolled back."""
    if in_unit():
        return _read(team_id)
    look = send(VERSION, team_id=team_id)[0]
    version = (look.team, look.catalog)
    kept = _kept.get(team_id)
    if kept is None or kept.version != version or (kept.until is not None and kept.until <= look.now):
        rights = _read(team_id)
        ends = [feature.ends_at for feature in rights.features if feature.ends_at is not None]
        kept = _Kept(version, min(ends, default=None), rights)
        if len(_kept) >= KEPT_MAX:
            _kept.clear()
        _kept[team_id] = kept
    return kept.rights


def has_feature(team_id: str, key: str) -> bool:
    """Whether the team has the feature now; False for one that the catalog does not have."""
    found = effective(team_id).feature(key)
    return found is not None and found.enabled


def limit_of(team_id: str, key: str) -> int | None:
    """How much of the feature the team has: 0 is nothing, None is no limit."""
    found = effective(team_id).feature(key)
    return found.limit if found is not None and found.enabled else 0


def _read(team_id: str) -> Entitlements:
    standing = send(STANDING, team_id=team_id)[0]
    plan = PlanInForce(*standing[4:]) if standing.id else None
    return Entitlements(
        plan=plan,
        status=standing.status if standing.status in LIVE_STATUSES else None,
        access=standing.access,
        credits_frozen=standing.credits_frozen,
        seats_subscription_id=standing.seats_subscription_id,
        features=[FeatureRight(*row) for row in send(FEATURES, team_id=team_id)],
        meters=meters_of(plan.id if plan else None),
    )


def meters_of(plan_id: str | None) -> list[MeterRight]:
    """Every meter of the catalog, in its order, as the plan includes it; None is no plan."""
    query = (
        select(Meter, PlanMeter)
        .outerjoin(PlanMeter, and_(PlanMeter.meter_id == Meter.id, PlanMeter.plan_id == plan_id))
        .where(Meter.archived_at.is_(None))
        .order_by(Meter.position, Meter.key)
    )
    return [_meter(meter, given) for meter, given in db.session.execute(query)]


def _meter(meter: Meter, given: PlanMeter | None) -> MeterRight:
    metered = meter.mode == "metered"
    return MeterRight(
        key=meter.key,
        name=meter.name,
        mode=meter.mode,
        cost_credits=meter.cost_credits,
        included=(given.included if given else 0) if metered else None,
        more_allowed=bool(given and given.overage_per_1000_cents) if metered else True,
    )
