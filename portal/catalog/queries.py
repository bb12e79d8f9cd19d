"""What others read of the catalog. The database answers, since a plan that left the file still has subscribers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, select

from portal.catalog.current import catalog
from portal.catalog.definition import INTERVALS, Portal
from portal.catalog.models import Bundle, Feature, Meter, Plan, PlanFeature, PlanMeter, Price
from portal.core.database import db


@dataclass(frozen=True)
class PlanPrice:
    """A price of a plan (`purpose` is `plan`) or of a further seat of it (`seat`), with what a buyer needs to know."""

    price_id: str
    plan_key: str
    plan_name: str
    purpose: str
    interval: str
    unit_amount_cents: int
    currency: str
    stripe_price_id: str | None
    active: bool
    trial_days: int
    credits_monthly: int | None


@dataclass(frozen=True)
class BundlePrice:
    """A bundle that is offered now: what it gives and costs, and how often a team may buy it in a month."""

    price_id: str
    bundle_key: str
    name: str
    credits: int
    expires_after_months: int | None
    unit_amount_cents: int
    currency: str
    stripe_price_id: str | None
    limit_per_month: int | None = None


def current_plans() -> list[Plan]:
    """The plans that are offered now, in the order of the page."""
    query = select(Plan).where(Plan.archived_at.is_(None)).order_by(Plan.position, Plan.key)
    return list(db.session.execute(query).scalars())


def plan_by_key(key: str) -> Plan | None:
    """A plan, archived ones too: they still have subscribers."""
    return db.session.execute(_keyed(Plan, key)).scalar_one_or_none()


def free_plan() -> Plan | None:
    """What a team without a subscription is on; None in a product that has no free plan."""
    query = select(Plan).where(Plan.kind == "free", Plan.archived_at.is_(None))
    return db.session.execute(query).scalar_one_or_none()


def plan_for_stripe_price(stripe_price_id: str) -> PlanPrice | None:
    """What a price of Stripe's stands for with us, also when it is not offered any more."""
    return _plan_price(select(Price, Plan).join(Plan).where(Price.stripe_price_id == _findable(stripe_price_id)))


def price_for(plan_key: str, interval: str, purpose: str = "plan") -> PlanPrice | None:
    """The price that a new subscriber pays; None when there is none (an unknown, free, custom or archived plan)."""
    if interval not in INTERVALS:
        return None
    return _plan_price(
        select(Price, Plan)
        .join(Plan)
        .where(Plan.key == _findable(plan_key), Plan.archived_at.is_(None), Price.active)
        .where(Price.interval == interval, Price.purpose == purpose)
    )


def interval_of(price_id: str) -> str | None:
    """How often a price is paid; None for what is bought once."""
    return db.session.execute(select(Price.interval).where(Price.id == price_id)).scalar()


def plan_prices_on_sale() -> list[PlanPrice]:
    """Every plan price that Stripe knows too, and that can therefore be bought."""
    query = (
        select(Price, Plan).join(Plan).where(Price.active, Price.purpose == "plan", Price.stripe_price_id.is_not(None))
    )
    return [_as_plan_price(price, plan) for price, plan in db.session.execute(query)]


def bundles() -> list[tuple[Bundle, Price]]:
    """The bundles that are offered now with their prices, in the order of the page."""
    query = (
        select(Bundle, Price)
        .join(Price, Price.bundle_id == Bundle.id)
        .where(Bundle.archived_at.is_(None), Price.active)
        .order_by(Bundle.position, Bundle.key)
    )
    return [(bundle, price) for bundle, price in db.session.execute(query)]


def bundle_price_for(bundle_key: str) -> BundlePrice | None:
    """What a bundle costs now; None when it is unknown or not offered any more."""
    return next((price for price in bundle_prices() if price.bundle_key == bundle_key), None)


def bundle_prices() -> list[BundlePrice]:
    """The bundles that are offered now, in the order of the page."""
    return [
        BundlePrice(
            price_id=price.id,
            bundle_key=bundle.key,
            name=bundle.name,
            credits=bundle.credits,
            expires_after_months=bundle.expires_after_months,
            unit_amount_cents=price.unit_amount_cents,
            currency=price.currency,
            stripe_price_id=price.stripe_price_id,
            limit_per_month=bundle.limit_per_month,
        )
        for bundle, price in bundles()
    ]


def is_declared(feature_key: str) -> bool:
    """Whether the catalog has the feature at all; one that it does not have restricts nobody."""
    query = select(Feature.id).where(Feature.key == feature_key, Feature.archived_at.is_(None))
    return db.session.execute(query).scalar() is not None


def meter_by_name(name: str) -> Meter | None:
    """A meter by the name that the API uses (its key); None when it is unknown or archived."""
    return db.session.execute(_keyed(Meter, name).where(Meter.archived_at.is_(None))).scalar_one_or_none()


def included_of(plan_key: str) -> dict[str, PlanMeter]:
    """By meter key: the units a month that a plan includes."""
    query = select(Meter.key, PlanMeter).join(PlanMeter, PlanMeter.meter_id == Meter.id).join(Plan)
    return dict(db.session.execute(query.where(Plan.key == _findable(plan_key))).all())


def features_of(plan_key: str) -> dict[str, PlanFeature]:
    """By feature key: what a plan gives."""
    query = select(Feature.key, PlanFeature).join(PlanFeature, PlanFeature.feature_id == Feature.id).join(Plan)
    return dict(db.session.execute(query.where(Plan.key == _findable(plan_key))).all())


def portal_options() -> Portal:
    """The seller's name, accent and addresses, from the file."""
    return catalog().portal


def _keyed(model: type[Any], key: str) -> Select[Any]:
    return select(model).where(model.key == _findable(key))


def _findable(text: str) -> str:
    """A text from outside as PostgreSQL takes it: a NUL, which it refuses, becomes a sign that is in no key."""
    return text.replace("\x00", "\ufffd")


def _plan_price(query: Select[Price, Plan]) -> PlanPrice | None:
    found = db.session.execute(query).one_or_none()
    return _as_plan_price(found[0], found[1]) if found else None


def _as_plan_price(price: Price, plan: Plan) -> PlanPrice:
    return PlanPrice(
        price_id=price.id,
        plan_key=plan.key,
        plan_name=plan.name,
        purpose=price.purpose,
        interval=price.interval or "",  # the table holds that a plan's price has one
        unit_amount_cents=price.unit_amount_cents,
        currency=price.currency,
        stripe_price_id=price.stripe_price_id,
        active=price.active,
        trial_days=plan.trial_days,
        credits_monthly=plan.credits_monthly,
    )
