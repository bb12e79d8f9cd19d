"""Bringing the catalog to Stripe: products under ids of our making, prices under their lookup keys.

Rows are committed first, then Stripe is asked, then what it answered is saved row by row: a run that is cut off is
completed by the next, and one that finds everything in place changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import structlog
from sqlalchemy import select, update

from portal.billing.gateway import Unavailable
from portal.catalog.definition import Catalog
from portal.catalog.models import Addon, Bundle, Plan, Price
from portal.catalog.sync import FRESH, Changes, lock_catalog, renewed, sync_database
from portal.core.database import db
from portal.core.unit_of_work import unit_of_work

log = structlog.get_logger(__name__)

Json = dict[str, Any]
SOURCE = {"source": "turnpike"}


class CatalogGateway(Protocol):
    """What is asked of Stripe here."""

    def find_prices(self, lookup_keys: list[str]) -> list[Json]: ...

    def ensure_product(self, product_id: str, name: str, metadata: dict[str, str]) -> Json: ...

    def create_price(self, params: Json, idempotency_key: str) -> Json: ...


@dataclass
class Report:
    """What a run did: to the database, and which lookup keys got a new price at Stripe or were found there."""

    database: Changes
    created: list[str] = field(default_factory=list)
    adopted: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class WantedPrice:
    """An active price row, read before Stripe is asked, so that no transaction is open meanwhile."""

    row_id: str
    purpose: str
    owner_key: str
    owner_name: str
    interval: str | None
    unit_amount_cents: int
    currency: str
    lookup_key: str
    stripe_price_id: str | None
    attempts: int

    @property
    def product_id(self) -> str:
        return f"turnpike_{self.purpose}_{self.owner_key}"

    @property
    def product_name(self) -> str:
        return f"{self.owner_name}, further seat" if self.purpose == "seat" else self.owner_name

    @property
    def metadata(self) -> dict[str, str]:
        owner = "plan" if self.purpose == "seat" else self.purpose
        return {owner: self.owner_key, "purpose": self.purpose, **SOURCE}

    @property
    def params(self) -> Json:
        """What makes the price at Stripe: only what never changes in the row, so that a retry sends the same."""
        params: Json = {
            "product": self.product_id,
            "currency": self.currency,
            "unit_amount": self.unit_amount_cents,
            "lookup_key": self.lookup_key,
            "transfer_lookup_key": True,
            "metadata": self.metadata,
        }
        return params | ({"recurring": {"interval": self.interval}} if self.interval else {})


def sync_catalog(gateway: CatalogGateway, catalog: Catalog) -> Report:
    """Write the catalog to the database and to Stripe. Raises `GatewayError`; running it again goes on from there."""
    with unit_of_work():
        report = Report(sync_database(catalog))
        wanted = wanted_prices()
    for product_id, price in {price.product_id: price for price in wanted}.items():
        gateway.ensure_product(product_id, price.product_name, price.metadata)
    _save_products(wanted)
    found = {price["lookup_key"]: price for price in gateway.find_prices([price.lookup_key for price in wanted])}
    for price in wanted:
        _settle(gateway, price, found.get(price.lookup_key), report)
    return report


def wanted_prices() -> list[WantedPrice]:
    query = select(Price).where(Price.active).order_by(Price.lookup_key)
    return [_as_wanted(price) for price in db.session.execute(query, execution_options=FRESH).scalars()]


def _as_wanted(price: Price) -> WantedPrice:
    owner = price.plan or price.bundle or price.addon
    return WantedPrice(
        row_id=price.id,
        purpose=price.purpose,
        owner_key=owner.key if owner else "",
        owner_name=owner.name if owner else "",
        interval=price.interval,
        unit_amount_cents=price.unit_amount_cents,
        currency=price.currency,
        lookup_key=price.lookup_key,
        stripe_price_id=price.stripe_price_id,
        attempts=price.attempts,
    )


def _save_products(wanted: list[WantedPrice]) -> None:
    """Note the products that stand for plans, bundles and add-ons; further seats have one of their own, which nobody asks for."""
    models: dict[str, type[Plan | Bundle | Addon]] = {"plan": Plan, "bundle": Bundle, "addon": Addon}
    with unit_of_work() as session:
        for price in wanted:
            if model := models.get(price.purpose):
                missing = (model.key == price.owner_key) & model.stripe_product_id.is_(None)
                session.execute(update(model).where(missing).values(stripe_product_id=price.product_id))


def _settle(gateway: CatalogGateway, price: WantedPrice, found: Json | None, report: Report) -> None:
    """Make the row and Stripe agree on one price. `found` is what Stripe has under the lookup key now."""
    fitting = found["id"] if found is not None and says_the_same(found, price) else None
    if price.stripe_price_id is not None:
        if price.stripe_price_id == fitting:
            return
        # Another account, an emptied stand-in, or a key that was moved by hand: the old row keeps its subscribers.
        log.warning("stripe_price_replaced", lookup_key=price.lookup_key, stripe_price_id=price.stripe_price_id)
        fresh = _renew(price)
        if fresh is None:
            return
        price = fresh
    if fitting is not None and _save(price, fitting):
        report.adopted.append(price.lookup_key)
    elif price.stripe_price_id is None:
        _create(gateway, price, report)


def says_the_same(found: Json, price: WantedPrice) -> bool:
    recurring = found.get("recurring") or {}
    return (
        bool(found["active"])
        and found["unit_amount"] == price.unit_amount_cents
        and found["currency"] == price.currency
        and recurring.get("interval") == price.interval
        and recurring.get("interval_count", 1) == 1
        and recurring.get("usage_type", "licensed") == "licensed"
    )


def _create(gateway: CatalogGateway, price: WantedPrice, report: Report) -> None:
    """Make the price at Stripe. Without an answer the next run looks for it by its lookup key, and if it is not there
    tries under a new idempotency key, since a stored failure would be answered again.
    """
    try:
        made = gateway.create_price(price.params, f"price-{price.row_id}-{price.attempts}")
    except Unavailable:
        with unit_of_work() as session:
            unchanged = (Price.id == price.row_id) & (Price.attempts == price.attempts)
            session.execute(update(Price).where(unchanged).values(attempts=price.attempts + 1))
        raise
    _save(price, made["id"])
    report.created.append(price.lookup_key)


def _save(price: WantedPrice, stripe_price_id: str) -> bool:
    """Note which price of Stripe's the row stands for; false when another row (a retired one) stands for it."""
    with unit_of_work() as session:
        lock_catalog()
        holder = session.execute(select(Price.id).where(Price.stripe_price_id == stripe_price_id)).scalar()
        if holder is None:
            vacant = (Price.id == price.row_id) & Price.stripe_price_id.is_(None)
            session.execute(update(Price).where(vacant).values(stripe_price_id=stripe_price_id))
        return holder in (None, price.row_id)


def _renew(price: WantedPrice) -> WantedPrice | None:
    """A fresh row in place of one whose price is not at Stripe any more.

    The row of another run when that was faster; None when the price has left the catalog meanwhile.
    """
    with unit_of_work() as session:
        lock_catalog()
        query = select(Price).where(Price.lookup_key == price.lookup_key, Price.active)
        row = session.execute(query, execution_options=FRESH).scalar_one_or_none()
        if row is None:
            return None
        return _as_wanted(renewed(row) if row.stripe_price_id == price.stripe_price_id else row)
