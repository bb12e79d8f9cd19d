"""What a team may do: the rights of the plan that is in force for it, for the product to ask before it acts."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import and_, select

from portal.billing.models import Subscription
from portal.billing.subscriptions import live_subscription
from portal.catalog.models import Feature, Meter, Plan, PlanFeature, PlanMeter
from portal.catalog.queries import free_plan, plan_by_key
from portal.core.database import db

# In these states the plan is in force. A payment that failed is being tried again, so its plan lasts; when Stripe has
# given up, or a trial ended without a card, the team is back on the free plan until somebody pays.
IN_FORCE = ("trialing", "active", "past_due")


@dataclass(frozen=True)
class FeatureRight:
    """A feature as the plan in force gives it. An enabled limit of None is no limit at all."""

    key: str
    name: str
    kind: str
    enabled: bool
    limit: int | None
    unit: str | None
    text: str | None


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
    """`plan` is None in a product without a free plan, for a team that has not subscribed."""

    plan: Plan | None
    subscription: Subscription | None
    features: list[FeatureRight]
    meters: list[MeterRight]


def effective(team_id: str) -> Entitlements:
    """The team's rights now: those of its subscription's plan while that is in force, else the free plan's."""
    subscription = live_subscription(team_id)
    plan = plan_in_force(subscription)
    plan_id = plan.id if plan else None
    return Entitlements(plan, subscription, _features(plan_id), meters_of(plan_id))


def plan_in_force(subscription: Subscription | None) -> Plan | None:
    """The plan that this live subscription gives; a price that the catalog does not know gives no rights of its own."""
    if subscription is not None and subscription.status in IN_FORCE and subscription.plan_key:
        return plan_by_key(subscription.plan_key)
    return free_plan()


def meters_of(plan_id: str | None) -> list[MeterRight]:
    """Every meter of the catalog, in its order, as the plan includes it."""
    query = (
        select(Meter, PlanMeter)
        .outerjoin(PlanMeter, and_(PlanMeter.meter_id == Meter.id, PlanMeter.plan_id == plan_id))
        .where(Meter.archived_at.is_(None))
        .order_by(Meter.position, Meter.key)
    )
    return [_meter(meter, given) for meter, given in db.session.execute(query)]


def _features(plan_id: str | None) -> list[FeatureRight]:
    """Every feature of the catalog, in its order; what the plan does not mention it does not give."""
    query = (
        select(Feature, PlanFeature)
        .outerjoin(PlanFeature, and_(PlanFeature.feature_id == Feature.id, PlanFeature.plan_id == plan_id))
        .where(Feature.archived_at.is_(None))
        .order_by(Feature.position, Feature.key)
    )
    return [_feature(feature, given) for feature, given in db.session.execute(query)]


def _feature(feature: Feature, given: PlanFeature | None) -> FeatureRight:
    return FeatureRight(
        key=feature.key,
        name=feature.name,
        kind=feature.kind,
        enabled=bool(given and given.enabled),
        limit=given.limit_value if given else None,
        unit=feature.unit,
        text=given.text if given else None,
    )


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
