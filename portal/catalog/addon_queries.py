"""What others read of add-ons: what is sold beside a plan now, and what a price of Stripe's stands for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from sqlalchemy import Select, select

from portal.catalog.definition import YEAR, Interval
from portal.catalog.models import Addon, AddonFeature, AddonPlan, Feature, Plan, Price
from portal.core.database import db


@dataclass(frozen=True)
class AddonPrice:
    """A price of an add-on, with what a buyer needs to know of it. The amount is in the minor unit."""

    price_id: str
    addon_key: str
    name: str
    description: str
    quantity_max: int
    interval: Interval
    unit_amount_cents: int
    currency: str
    stripe_price_id: str | None


def addon_for_stripe_price(stripe_price_id: str) -> AddonPrice | None:
    """What a price of Stripe's stands for, also when it is not offered any more; None for a price of something else."""
    found = _prices(select(Price, Addon).join(Addon).where(Price.stripe_price_id == stripe_price_id))
    return found[0] if found else None


def addons_beside(plan_key: str, interval: str) -> list[AddonPrice]:
    """The add-ons that are sold with a plan, each as it is paid beside one that is paid so (`Addon.interval_beside`)."""
    query = (
        select(Price, Addon)
        .join(Addon, Addon.id == Price.addon_id)
        .join(AddonPlan, AddonPlan.addon_id == Addon.id)
        .join(Plan, Plan.id == AddonPlan.plan_id)
        .where(Plan.key == plan_key, Addon.archived_at.is_(None), Price.active, Price.stripe_price_id.is_not(None))
        .where(Price.interval.in_({interval, YEAR}))
        .order_by(Addon.position, Addon.key, Price.interval == interval)
    )
    return list({price.addon_key: price for price in _prices(query)}.values())


def addon_features(addon_key: str) -> list[tuple[Feature, int | None]]:
    """What each one of an add-on gives: the feature, and how much more of a limit."""
    query = (
        select(Feature, AddonFeature.limit_value)
        .join(AddonFeature, AddonFeature.feature_id == Feature.id)
        .join(Addon, Addon.id == AddonFeature.addon_id)
        .where(Addon.key == addon_key, Feature.archived_at.is_(None))
        .order_by(Feature.position)
    )
    return [(feature, limit) for feature, limit in db.session.execute(query)]


def addon_name(addon_key: str) -> str:
    """Its name, also when it is not sold any more; its key for one that never was."""
    return db.session.execute(select(Addon.name).where(Addon.key == addon_key)).scalar() or addon_key


def _prices(query: Select[Price, Addon]) -> list[AddonPrice]:
    return [
        AddonPrice(
            price_id=price.id,
            addon_key=addon.key,
            name=addon.name,
            description=addon.description,
            quantity_max=addon.quantity_max,
            interval=cast(Interval, price.interval),  # the table holds that an add-on's price has one
            unit_amount_cents=price.unit_amount_cents,
            currency=price.currency,
            stripe_price_id=price.stripe_price_id,
        )
        for price, addon in db.session.execute(query)
    ]
