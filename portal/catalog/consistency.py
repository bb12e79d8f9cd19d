"""Checks across the parts of a catalog: what refers to what, and what may be there only once."""

from __future__ import annotations

from collections.abc import Iterator

from portal.catalog.definition import UNLIMITED, Addon, Catalog, Feature, FeatureValue, Plan
from portal.catalog.toml_reading import did_you_mean, quoted

FIGURES = ("@credits", "@seats", "@extra_seat", "@trial")
METER_FIGURES = ("@included", "@overage")
ADDON_FIGURE = "@addon"


def check_consistency(catalog: Catalog) -> list[str]:
    """All contradictions between the parts, in the order of the file."""
    found = [*_plans(catalog), *_kinds(catalog), *_addons(catalog), *_compare_rows(catalog), *_lookup_keys(catalog)]
    found += [*_coupons(catalog), *_usage_history(catalog)]
    return [f"{catalog.source}: {problem}" for problem in found]


def row_names(catalog: Catalog) -> list[str]:
    """Everything that may stand as a row of the comparing table."""
    metered = [meter.key for meter in catalog.meters if meter.mode == "metered"]
    figures = [f"{figure}:{meter}" for meter in metered for figure in METER_FIGURES]
    figures += [f"{ADDON_FIGURE}:{addon.key}" for addon in catalog.addons]
    return [feature.key for feature in catalog.features] + list(FIGURES) + figures


def _plans(catalog: Catalog) -> Iterator[str]:
    if not catalog.plans:
        yield "plans: is missing: a catalog has at least one plan"
    free = [plan.key for plan in catalog.plans if plan.kind == "free" and plan.monthly_cents is not None]
    if len(free) > 1:
        yield f"plans: {quoted(free)} are all free; there can be one free plan, since it is what a team falls back to"
    recommended = [plan.key for plan in catalog.plans if plan.recommended]
    if len(recommended) > 1:
        yield f"plans: {quoted(recommended)} are all recommended; one primary button a page is enough"


def _kinds(catalog: Catalog) -> Iterator[str]:
    features = {feature.key: feature for feature in catalog.features}
    meters = {meter.key: meter for meter in catalog.meters}
    rows = row_names(catalog)
    for plan in catalog.plans:
        for key, value in plan.features.items():
            yield from _feature_fault(f"plans.{plan.key}", key, value, features)
        for key in plan.meters:
            place = f"plans.{plan.key}.meters.{key}"
            if key not in meters:
                yield f"{place}: there is no meter of this key{did_you_mean(key, list(meters))}"
            elif meters[key].mode != "metered":
                yield f"{place}: the meter is in mode credits; only what is metered can be included"
        for row in plan.compare:
            if row not in rows:
                yield f'plans.{plan.key}.compare."{row}": is not a row{did_you_mean(row, rows)}'


def _usage_history(catalog: Catalog) -> Iterator[str]:
    key = catalog.usage_history_feature
    if key is None:
        return
    place = "billing.usage_history_feature"
    feature = next((feature for feature in catalog.features if feature.key == key), None)
    if feature is None:
        yield f"{place}: there is no feature of this key{did_you_mean(key, [one.key for one in catalog.features])}"
    elif (feature.kind, feature.unit) != ("limit", "days"):
        yield f'{place}: it has to be a limit with unit = "days"'


def _addons(catalog: Catalog) -> Iterator[str]:
    features = {feature.key: feature for feature in catalog.features}
    paid = {plan.key: plan for plan in catalog.plans if plan.kind == "paid"}
    for addon in catalog.addons:
        place = f"addons.{addon.key}"
        for key, value in addon.features.items():
            yield from _feature_fault(place, key, value, features)
            if key in features and (features[key].kind == "text" or (value.text and value.text != UNLIMITED)):
                yield f"{place}.features.{key}: a text cannot be added to; an add-on gives switches and more of a limit"
        for key in addon.plans:
            yield from _addon_plan_fault(addon, key, paid)


def _addon_plan_fault(addon: Addon, key: str, paid: dict[str, Plan]) -> Iterator[str]:
    place = f"addons.{addon.key}.plans"
    if key not in paid:
        yield f'{place}: there is no plan "{key}" with a price{did_you_mean(key, list(paid))}'
    elif paid[key].yearly_cents is not None and addon.yearly_cents is None:
        yield f'{place}: "{key}" is sold by the year, and for that yearly_cents is missing'


def _feature_fault(giver: str, key: str, value: FeatureValue, features: dict[str, Feature]) -> Iterator[str]:
    place = f"{giver}.features.{key}"
    if key not in features:
        yield f"{place}: is not declared under [[features]]{did_you_mean(key, list(features))}"
        return
    kind = features[key].kind
    if kind == "switch" and (value.text is not None or value.limit is not None):
        yield f"{place}: the feature is a switch: true or false"
    if kind == "limit" and value.limit is None and value.text != UNLIMITED:
        yield f'{place}: the feature is a limit: a whole number, "{UNLIMITED}", or {{ limit = …, text = … }}'
    if kind == "text" and (value.text is None or value.limit is not None):
        yield f"{place}: the feature is a text"


def _compare_rows(catalog: Catalog) -> Iterator[str]:
    known, seen = row_names(catalog), set[str]()
    for index, group in enumerate(catalog.compare):
        for row in group.rows:
            place = f'compare[{index}].rows: "{row}"'
            if row not in known:
                yield f"{place} is neither a feature nor a figure of the plan{did_you_mean(row, known)}"
            elif row in seen:
                yield f"{place} is in the table already"
            seen.add(row)


def _lookup_keys(catalog: Catalog) -> Iterator[str]:
    owners: dict[str, str] = {}
    for price in catalog.prices():
        owner = f"{price.purpose} price of {price.owner_key}" + (f" ({price.interval})" if price.interval else "")
        if price.lookup_key in owners and owners[price.lookup_key] != owner:
            yield f'lookup keys: "{price.lookup_key}" would name the {owner} and the {owners[price.lookup_key]}'
        owners.setdefault(price.lookup_key, owner)


def _coupons(catalog: Catalog) -> Iterator[str]:
    if catalog.checkout.require_terms and catalog.portal.terms_url is None:
        yield "billing.require_terms: there are no terms to agree to; portal.terms_url is missing"
    sold = [f"plan:{plan.key}" for plan in catalog.plans if plan.kind == "paid"]
    sold += [f"addon:{addon.key}" for addon in catalog.addons]
    sold += [f"bundle:{bundle.key}" for bundle in catalog.bundles]
    for coupon in catalog.coupons:
        for name in coupon.applies_to:
            if name not in sold:
                yield f'coupons.{coupon.key}.applies_to: "{name}" is not sold here{did_you_mean(name, sold)}'
    keys = [coupon.key for coupon in catalog.coupons]
    seen = set[str]()
    for index, promotion in enumerate(catalog.promotion_codes):
        if promotion.coupon and promotion.coupon not in keys:
            hint = did_you_mean(promotion.coupon, keys)
            yield f'promotion_codes[{index}].coupon: there is no coupon "{promotion.coupon}"{hint}'
        if promotion.code.upper() in seen:
            yield f'promotion_codes[{index}].code: "{promotion.code}" is there twice; Stripe does not tell case apart'
        seen.add(promotion.code.upper())
