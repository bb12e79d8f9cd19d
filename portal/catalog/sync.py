"""Writing the file's catalog into the database, in the current unit of work."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, func, select, update

from portal.catalog.definition import Addon as AddonDefinition
from portal.catalog.definition import Bundle as BundleDefinition
from portal.catalog.definition import Catalog, PriceDefinition
from portal.catalog.definition import Feature as FeatureDefinition
from portal.catalog.definition import Meter as MeterDefinition
from portal.catalog.definition import Plan as PlanDefinition
from portal.catalog.models import (
    Addon,
    AddonFeature,
    AddonPlan,
    Bundle,
    Feature,
    Meter,
    Plan,
    PlanAccess,
    PlanFeature,
    PlanMeter,
    Price,
)
from portal.core.clock import app_now
from portal.core.database import db

# Two runs at once take turns; the number only has to be the same everywhere.
LOCK = 7_305_119

Values = dict[str, Any]
# By noun and key: the id of what prices are of.
Owners = dict[tuple[str, str], str]
# Rows as they are under the lock, whatever this session has read of them before.
FRESH = {"populate_existing": True}


@dataclass
class Changes:
    """What a run has done: words such as `plan pro` or `price turnpike_plan_pro_month`, by what happened."""

    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    archived: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.archived)


def lock_catalog() -> None:
    """Hold the catalog until the unit ends, so that whoever else writes it waits."""
    db.session.execute(select(func.pg_advisory_xact_lock(LOCK)))


def sync_database(catalog: Catalog) -> Changes:
    """Make the tables say what the file says. Idempotent; what left the file is archived and its prices retired."""
    lock_catalog()
    changes = Changes()
    # The free plan last: there is one at a time, and another may be about to stop being it.
    by_kind = sorted(catalog.plans, key=lambda plan: plan.kind == "free")
    plans = _sync_rows(Plan, {plan.key: _plan_values(plan) for plan in by_kind}, changes)
    bundles = _sync_rows(Bundle, {bundle.key: _bundle_values(bundle) for bundle in catalog.bundles}, changes)
    addons = _sync_rows(Addon, {addon.key: _addon_values(addon) for addon in catalog.addons}, changes)
    features = _sync_rows(Feature, _positioned(catalog.features, _feature_values), changes)
    meters = _sync_rows(Meter, _positioned(catalog.meters, _meter_values), changes)
    for plan in catalog.plans:
        row = plans[plan.key]
        differed = _sync_plan_features(row, plan, features) | _sync_plan_meters(row, plan, meters)
        differed |= _sync_plan_access(row, plan)
        if differed and f"plan {plan.key}" not in changes.added:
            changes.changed.append(f"contents of plan {plan.key}")
    for addon in catalog.addons:
        given = {key: feature.id for key, feature in features.items()}
        differed = _sync_addon(addons[addon.key], addon, {key: plan.id for key, plan in plans.items()}, given)
        if differed and f"addon {addon.key}" not in changes.added:
            changes.changed.append(f"contents of addon {addon.key}")
    owners: Owners = {
        (noun, key): row.id
        for noun, rows in (("plan", plans), ("bundle", bundles), ("addon", addons), ("meter", meters))
        for key, row in rows.items()
    }
    _sync_prices(catalog.prices(), owners, changes)
    return changes


def _plan_values(plan: PlanDefinition) -> Values:
    return {
        "name": plan.name,
        "kind": plan.kind,
        "position": plan.position,
        "credits_monthly": plan.credits_monthly,
        "seats_included": plan.seats_included,
        "seats_max": plan.seats_max,
        "seat_billing": plan.seat_billing,
        "trial_days": plan.trial_days,
    }


def _bundle_values(bundle: BundleDefinition) -> Values:
    return {
        "name": bundle.name,
        "position": bundle.position,
        "credits": bundle.credits,
        "expires_after_months": bundle.expires_after_months,
        "limit_per_month": bundle.limit_per_month,
    }


def _addon_values(addon: AddonDefinition) -> Values:
    return {
        "name": addon.name,
        "description": addon.description,
        "position": addon.position,
        "quantity_max": addon.quantity_max,
    }


def _feature_values(feature: FeatureDefinition) -> Values:
    return {"name": feature.name, "kind": feature.kind, "unit": feature.unit}


def _meter_values(meter: MeterDefinition) -> Values:
    return {"name": meter.name, "mode": meter.mode, "cost_credits": meter.cost_credits}


def _positioned(definitions: Sequence[Any], values_of: Callable[[Any], Values]) -> dict[str, Values]:
    return {item.key: values_of(item) | {"position": position} for position, item in enumerate(definitions)}


def _sync_rows(model: type[Any], wanted: dict[str, Values], changes: Changes) -> dict[str, Any]:
    """Insert, update, revive or archive the rows of one table; returns the wanted ones by key."""
    rows = {row.key: row for row in db.session.execute(select(model), execution_options=FRESH).scalars()}
    noun = model.__name__.lower()
    for key, row in rows.items():
        if key not in wanted and row.archived_at is None:
            row.archived_at = app_now()
            changes.archived.append(f"{noun} {key}")
    db.session.flush()  # archived rows first: there is one free plan at a time
    for key, values in wanted.items():
        if key not in rows:
            rows[key] = model(key=key, **values)
            db.session.add(rows[key])
            changes.added.append(f"{noun} {key}")
        elif _assign(rows[key], {**values, "archived_at": None}):
            changes.changed.append(f"{noun} {key}")
        db.session.flush()
    return {key: rows[key] for key in wanted}


def _assign(row: Any, values: dict[str, Any]) -> bool:
    """Set what differs; whether anything did."""
    differing = {name: value for name, value in values.items() if getattr(row, name) != value}
    for name, value in differing.items():
        setattr(row, name, value)
    return bool(differing)


def _sync_plan_features(row: Plan, plan: PlanDefinition, features: dict[str, Feature]) -> bool:
    wanted = {
        features[key].id: {"enabled": value.enabled, "limit_value": value.limit, "text": value.text}
        for key, value in plan.features.items()
    }
    return _sync_links(PlanFeature, PlanFeature.plan_id == row.id, PlanFeature.feature_id, {"plan_id": row.id}, wanted)


def _sync_plan_meters(row: Plan, plan: PlanDefinition, meters: dict[str, Meter]) -> bool:
    wanted = {
        meters[key].id: {"included": value.included, "overage_per_1000_cents": value.overage_per_1000_cents}
        for key, value in plan.meters.items()
    }
    return _sync_links(PlanMeter, PlanMeter.plan_id == row.id, PlanMeter.meter_id, {"plan_id": row.id}, wanted)


def _sync_plan_access(row: Plan, plan: PlanDefinition) -> bool:
    wanted: dict[str, Values] = {status: asdict(rights) for status, rights in plan.access.items()}
    return _sync_links(PlanAccess, PlanAccess.plan_id == row.id, PlanAccess.status, {"plan_id": row.id}, wanted)


def _sync_addon(row: Addon, addon: AddonDefinition, plans: dict[str, str], features: dict[str, str]) -> bool:
    """With which plans an add-on is sold, and what it gives."""
    own = {"addon_id": row.id}
    sold: dict[str, Values] = {plans[key]: {} for key in addon.plans}
    differed = _sync_links(AddonPlan, AddonPlan.addon_id == row.id, AddonPlan.plan_id, own, sold)
    given: dict[str, Values] = {features[key]: {"limit_value": value.limit} for key, value in addon.features.items()}
    return differed | _sync_links(AddonFeature, AddonFeature.addon_id == row.id, AddonFeature.feature_id, own, given)


def _sync_links(
    model: type[Any], mine: ColumnElement[bool], other: Any, own: Values, wanted: dict[str, Values]
) -> bool:
    """Make the rows of a joining table that are `mine` the wanted ones, by the id of what they join to; whether any differed."""
    query = select(model).where(mine)
    rows = {getattr(row, other.key): row for row in db.session.execute(query).scalars()}
    differed = rows.keys() != wanted.keys()
    for other_id in rows.keys() - wanted.keys():
        db.session.delete(rows[other_id])
    for other_id, values in wanted.items():
        if other_id in rows:
            differed |= _assign(rows[other_id], values)
        else:
            db.session.add(model(**own, **{other.key: other_id}, **values))
    return differed


def _sync_prices(wanted: Iterable[PriceDefinition], owners: Owners, changes: Changes) -> None:
    """Retire every active price that the file states otherwise, then add those that are missing."""
    definitions = list(wanted)
    active = list(db.session.execute(select(Price).where(Price.active), execution_options=FRESH).scalars())
    terms = {_terms(definition, owners): definition for definition in definitions}
    kept = {terms_of(price) for price in active} & terms.keys()
    stale = [price for price in active if terms_of(price) not in kept]
    retire(stale)
    changes.archived += [f"price {price.lookup_key}" for price in stale]
    for key, definition in terms.items():
        if key not in kept:
            db.session.add(_new_price(definition, owners))
            changes.added.append(f"price {definition.lookup_key}")
    db.session.flush()


def retire(prices: Iterable[Price]) -> None:
    """Take prices off sale; whoever has subscribed to one keeps it."""
    ids = [price.id for price in prices]
    db.session.execute(update(Price).where(Price.id.in_(ids)).values(active=False))


Terms = tuple[str, str | None, str | None, str | None, str | None, int | None, str | None, int, str, str]


def terms_of(price: Price) -> Terms:
    """What a price says and can never be changed in it."""
    return (
        price.purpose,
        price.plan_id,
        price.bundle_id,
        price.addon_id,
        price.meter_id,
        price.included,
        price.interval,
        price.unit_amount_cents,
        price.currency,
        price.lookup_key,
    )


def _terms(definition: PriceDefinition, owners: Owners) -> Terms:
    return terms_of(_new_price(definition, owners))


def _new_price(definition: PriceDefinition, owners: Owners) -> Price:
    noun = "plan" if definition.purpose in ("seat", "metered") else definition.purpose
    return Price(
        purpose=definition.purpose,
        **{f"{noun}_id": owners[noun, definition.owner_key]},
        meter_id=owners["meter", definition.meter_key] if definition.meter_key else None,
        included=definition.included,
        interval=definition.interval,
        unit_amount_cents=definition.unit_amount_cents,
        currency=definition.currency,
        lookup_key=definition.lookup_key,
    )


def renewed(price: Price) -> Price:
    """A fresh row in place of one whose price Stripe does not have (any more); the old one is retired."""
    retire([price])
    fresh = Price(
        purpose=price.purpose,
        plan_id=price.plan_id,
        bundle_id=price.bundle_id,
        addon_id=price.addon_id,
        meter_id=price.meter_id,
        included=price.included,
        interval=price.interval,
        unit_amount_cents=price.unit_amount_cents,
        currency=price.currency,
        lookup_key=price.lookup_key,
    )
    db.session.add(fresh)
    db.session.flush()
    return fresh
