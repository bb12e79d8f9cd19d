"""What `flask catalog sync` would do, told without doing it: to the database, and to Stripe.

The database's part is done for real and taken back, so that it cannot differ from the sync's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from portal.billing.catalog_sync import SOURCE, WantedPrice, says_the_same, wanted_prices
from portal.billing.coupon_sync import CouponGateway, plan_coupons
from portal.catalog.definition import Catalog
from portal.catalog.sync import Changes, sync_database
from portal.core.unit_of_work import unit_of_work

Json = dict[str, Any]


class DiffGateway(CouponGateway, Protocol):
    """What is asked of Stripe here: only reads."""

    def find_prices(self, lookup_keys: list[str]) -> list[Json]: ...

    def active_prices(self) -> list[Json]: ...

    def active_products(self) -> list[Json]: ...

    def active_meters(self) -> list[Json]: ...


@dataclass
class Diff:
    """`database` and `stripe` are what a sync would do, `problems` what it could not do. `left` is at Stripe and not in
    the file: it is sold to nobody new and stays for those who have it.
    """

    database: Changes
    stripe: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.database or self.stripe or self.problems)


class _TakenBackError(Exception):
    """Ends a unit whose changes are not meant to stay."""


def diff_catalog(gateway: DiffGateway, catalog: Catalog) -> Diff:
    """Compare file, database and Stripe. Changes nothing anywhere. Raises `GatewayError`."""
    changes, wanted = _database_changes(catalog)
    found = Diff(changes)
    _diff_products(gateway, wanted, found)
    _diff_prices(gateway, wanted, _diff_meters(gateway, wanted, found), found)
    plan = plan_coupons(gateway, catalog)
    found.stripe += [step.words for step in plan.steps]
    found.problems += plan.problems
    found.left += plan.left
    return found


def _database_changes(catalog: Catalog) -> tuple[Changes, list[WantedPrice]]:
    changes, wanted = Changes(), list[WantedPrice]()
    try:
        with unit_of_work():
            changes = sync_database(catalog)
            wanted = wanted_prices()
            raise _TakenBackError
    except _TakenBackError:
        return changes, wanted


def _diff_products(gateway: DiffGateway, wanted: list[WantedPrice], found: Diff) -> None:
    names = {price.product_id: price.product_name for price in wanted}
    known = {product["id"]: product for product in gateway.active_products()}
    for product_id, name in names.items():
        if product_id not in known:
            found.stripe.append(f"make product {product_id}")
        elif known[product_id]["name"] != name:
            found.stripe.append(f"rename product {product_id} to {name}")
    found.left += [
        f"product {product_id}" for product_id in known if product_id not in names and _ours(known[product_id])
    ]


def _diff_meters(gateway: DiffGateway, wanted: list[WantedPrice], found: Diff) -> dict[str, str]:
    """Compare the meters; returns Stripe's ids of those that there are, by key."""
    terms = {price.meter.key: price.meter for price in wanted if price.meter}
    active = {meter["event_name"]: meter for meter in gateway.active_meters()} if terms else {}
    ids = {}
    for key, meter in terms.items():
        there = active.get(meter.event_name)
        if there is None:
            found.stripe.append(f"make meter {meter.event_name}")
            continue
        ids[key] = str(there["id"])
        if not meter.fits(there):
            found.problems.append(f"meter {there['id']} ({meter.event_name}) counts in another way")
        elif there["display_name"] != meter.name:
            found.stripe.append(f"rename meter {meter.event_name} to {meter.name}")
    return ids


def _diff_prices(gateway: DiffGateway, wanted: list[WantedPrice], meters: dict[str, str], found: Diff) -> None:
    held = {price["lookup_key"]: price for price in gateway.find_prices([price.lookup_key for price in wanted])}
    used = set[str]()
    for price in wanted:
        there = held.get(price.lookup_key)
        if there is None or not says_the_same(there, price, meters):
            found.stripe.append(f"make price {price.lookup_key}")
            continue
        used.add(there["id"])
        if there["id"] != price.stripe_price_id:
            found.stripe.append(f"take price {price.lookup_key} ({there['id']}) as ours")
    found.left += [
        f"price {price['id']}" + (f" ({price['lookup_key']})" if price["lookup_key"] else "")
        for price in gateway.active_prices()
        if price["id"] not in used and _ours(price)
    ]


def _ours(found: Json) -> bool:
    return (found.get("metadata") or {}).get("source") == SOURCE["source"]
