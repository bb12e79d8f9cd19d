"""Reading one add-on of the catalog, with the checks that need nothing but the add-on itself."""

from __future__ import annotations

from portal.catalog.definition import INTERVALS, Addon
from portal.catalog.plan_reading import PRICE_CENTS_MAX, read_features
from portal.catalog.toml_reading import Table

QUANTITY_MAX = 10_000


def read_addon(table: Table, position: int) -> Addon:
    """An add-on from its table. Mistakes are noted in the table; the add-on is then not to be used."""
    addon = Addon(
        key=table.key,
        name=table.text("name", length_max=60),
        description=table.text("description"),
        position=position,
        plans=table.texts("plans"),
        monthly_cents=table.whole("monthly_cents", least=1, most=PRICE_CENTS_MAX),
        yearly_cents=table.whole("yearly_cents", least=1, most=PRICE_CENTS_MAX),
        quantity_max=table.whole("quantity_max", least=1, most=QUANTITY_MAX) or 1,
        features=read_features(table.table("features")),
        lookup_keys=_read_lookup_keys(table.table("lookup_keys")),
    )
    if table.clean:
        _check(table, addon)
    table.close()
    return addon


def _check(table: Table, addon: Addon) -> None:
    monthly, yearly = addon.monthly_cents, addon.yearly_cents
    if not addon.plans:
        table.problem("plans", 'is missing: with which plans is it sold, such as ["pro"]?')
    if monthly is None and yearly is None:
        table.problem("yearly_cents", "is missing: an add-on has a price a month or a year")
    elif monthly and yearly and yearly < monthly:
        table.problem("yearly_cents", f"a year ({yearly}) costs less than a month ({monthly})")
    for key, value in addon.features.items():
        if not value.enabled:
            table.table("features").problem(key, "an add-on gives more of something, never less")


def _read_lookup_keys(table: Table) -> dict[str, str]:
    found: dict[str, str] = {}
    for key in INTERVALS:
        if text := table.optional_text(key, length_max=200):
            found[key] = text
    table.close()
    return found
