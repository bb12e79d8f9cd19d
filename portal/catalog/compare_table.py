"""The table that compares the plans: which rows it has, and what stands in each cell."""

from __future__ import annotations

from dataclasses import dataclass

from portal.catalog.consistency import ADDON_FIGURE
from portal.catalog.definition import UNLIMITED, Addon, Catalog, Feature, Plan
from portal.core.money import amount_text

# A text, a mark for yes, or nothing; False is a feature that the plan has not, None a figure that it has not.
Cell = str | bool | None

BY_CONTRACT = "By contract"
LABELS = {
    "@credits": "Credits a month",
    "@seats": "Seats included",
    "@extra_seat": "Extra seat a month",
    "@trial": "Free trial",
}


@dataclass(frozen=True)
class CompareRow:
    label: str
    cells: list[Cell]


@dataclass(frozen=True)
class CompareBlock:
    title: str
    rows: list[CompareRow]


def compare_blocks(catalog: Catalog) -> list[CompareBlock]:
    """The blocks of the file, each row with one cell per plan in the order of the plans."""
    return [CompareBlock(group.title, [_row(catalog, row) for row in group.rows]) for group in catalog.compare]


def _row(catalog: Catalog, row: str) -> CompareRow:
    feature = next((feature for feature in catalog.features if feature.key == row), None)
    label = feature.name if feature else _figure_label(catalog, row)
    return CompareRow(label, [_cell(catalog, plan, row, feature) for plan in catalog.plans])


def _figure_label(catalog: Catalog, row: str) -> str:
    if row in LABELS:
        return LABELS[row]
    figure, key = row.split(":")
    if figure == ADDON_FIGURE:
        return "Add-on: " + next(addon.name for addon in catalog.addons if addon.key == key)
    name = next(meter.name for meter in catalog.meters if meter.key == key)
    return f"{name} included" if figure == "@included" else f"1,000 more {name}"


def _cell(catalog: Catalog, plan: Plan, row: str, feature: Feature | None) -> Cell:
    """Words that the plan states for the row win over what follows from its figures."""
    if row in plan.compare:
        return plan.compare[row]
    if feature is not None:
        return _feature_cell(plan, feature)
    if row.startswith(ADDON_FIGURE):
        return _addon_cell(catalog, plan, row.partition(":")[2])
    figure = _figure(plan, row, catalog.currency)
    return BY_CONTRACT if figure is None and plan.kind == "custom" else figure


def _feature_cell(plan: Plan, feature: Feature) -> Cell:
    value = plan.features.get(feature.key)
    if value is None or not value.enabled:
        return False
    if feature.kind == "limit" and value.limit is None:
        return UNLIMITED.capitalize()
    if value.text is not None:
        return value.text
    if value.limit is None:
        return True
    return f"{value.limit:,} {feature.unit}" if feature.unit else f"{value.limit:,}"


def _addon_cell(catalog: Catalog, plan: Plan, key: str) -> str | None:
    """What it costs with the plan, where it is sold with it."""
    addon = next((one for one in catalog.addons_of(plan.key) if one.key == key), None)
    return addon_price_words(addon, catalog.currency) if addon else None


def addon_price_words(addon: Addon, currency: str) -> str:
    """`$5.00 a month or $50.00 a year`, or the one of both that there is."""
    prices = ((addon.monthly_cents, "a month"), (addon.yearly_cents, "a year"))
    return " or ".join(f"{amount_text(cents, currency)} {every}" for cents, every in prices if cents is not None)


def _figure(plan: Plan, row: str, currency: str) -> str | None:
    if row == "@credits":
        return f"{plan.credits_monthly:,}" if plan.credits_monthly else None
    if row == "@seats":
        return f"{plan.seats_included:,}" if plan.seats_included else None
    if row == "@extra_seat":
        return amount_text(plan.seat_monthly_cents, currency) if plan.seat_monthly_cents else None
    if row == "@trial":
        return f"{plan.trial_days} days" if plan.trial_days else None
    return _meter_figure(plan, row, currency)


def _meter_figure(plan: Plan, row: str, currency: str) -> str | None:
    figure, key = row.split(":")
    value = plan.meters.get(key)
    if value is None:
        return None
    if figure == "@included":
        return f"{value.included:,}"
    cents = value.overage_per_1000_cents
    return amount_text(cents, currency) if cents is not None else None
