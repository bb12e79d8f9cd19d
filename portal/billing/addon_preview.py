"""What a preview says of add-ons: how many there will be, what they give, and which of them end."""

from __future__ import annotations

from portal.billing.addons import addon_items, addon_words, counted
from portal.billing.change_models import ChangePreview
from portal.billing.change_terms import Addons
from portal.billing.entitlements import FeatureRight, effective
from portal.billing.models import Subscription
from portal.catalog.addon_queries import addon_features, addon_for_stripe_price, addon_name
from portal.catalog.definition import UNLIMITED
from portal.catalog.models import Feature, Plan
from portal.catalog.queries import features_of

YES, NO = "Yes", "No"


def addons_after(preview: ChangePreview) -> Addons:
    """The add-ons that the preview was made with, by the items that Stripe will have."""
    then, wanted = preview.params["then"], preview.params["wanted"]
    if wanted is None:
        wanted = {item["price"]: item["quantity"] for item in then["items"] if "quantity" in item} if then else {}
    found = [(addon_for_stripe_price(price_id), number) for price_id, number in wanted.items()]
    return tuple(sorted(((price, number) for price, number in found if price), key=lambda one: one[0].name))


def addons_row(preview: ChangePreview, subscription: Subscription | None) -> tuple[str, str]:
    """Now and afterwards."""
    return addon_words(addon_items(subscription) if subscription else ()), addon_words(addons_after(preview))


def addon_title(preview: ChangePreview) -> str:
    name, number = addon_name(preview.addon_key or ""), preview.addon_quantity or 0
    if not number:
        return f"Remove {name}"
    prices = [addon_for_stripe_price(price_id) for price_id in preview.basis["items"]]
    had = any(price is not None and price.addon_key == preview.addon_key for price in prices)
    return f"{'Change to' if had else 'Add'} {counted(name, number)}"


def addon_has(preview: ChangePreview) -> str:
    """What the team has afterwards, in the middle of a sentence."""
    name, number = addon_name(preview.addon_key or ""), preview.addon_quantity or 0
    return counted(name, number) if number else f"no {name} any more"


def addon_rows(preview: ChangePreview) -> list[tuple[str, str, str]]:
    """By feature that the add-on gives: its name, what the team has of it now, and afterwards."""
    rights, given = effective(preview.team_id), features_of(preview.plan_key)
    number = preview.addon_quantity or 0
    rows = []
    for feature, each in addon_features(preview.addon_key or ""):
        right = rights.feature(feature.key)
        if right is None or right.source == "override":
            continue  # the staff's exception holds whatever is bought
        base = given.get(feature.key)
        on = bool(number) or bool(base and base.enabled)
        if feature.kind == "switch":
            rows.append((feature.name, YES if right.enabled else NO, YES if on else NO))
            continue
        endless = bool(base and base.enabled and base.limit_value is None) or (each is None and bool(number))
        limit = None if endless else (base.limit_value or 0 if base else 0) + (each or 0) * number
        rows.append((feature.name, _right_words(right), _limit_words(feature, limit)))
    return rows


def _right_words(right: FeatureRight) -> str:
    if not right.enabled:
        return NO
    return right.text or _words(right.limit, right.unit)


def _limit_words(feature: Feature, limit: int | None) -> str:
    return _words(limit, feature.unit) if limit is None or limit else NO


def _words(limit: int | None, unit: str | None) -> str:
    if limit is None:
        return UNLIMITED.capitalize()
    return f"{limit:,} {unit}" if unit else f"{limit:,}"


def ending_steps(preview: ChangePreview, after: Plan) -> list[tuple[str, str]]:
    """The add-ons that the new plan is not sold with."""
    names = [addon_name(key) for key in preview.shown.get("addons_ending", [])]
    rest = "; what is left of it is credited" if preview.shown["at_once"] else ""
    when = "Within a minute" if preview.timing == "now" else "When the period ends"
    return [(when, f"{name} ends, since {after.name} is sold without it{rest}.") for name in names]
