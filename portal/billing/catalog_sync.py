"""Bringing the catalog to Stripe: products under ids of our making, meters and prices under their names.

The price of a plan's meter is in graduated tiers: what the plan includes at nothing, the rest by the unit. Stripe is told
of all that was used and works out what lies beyond, so that reports only ever add up: they may come late, twice or in any
order, and a change of plan in the middle of a month needs no look back at what was reported before (had we told it of the
overage alone, 15,000 calls beyond 10,000 included ones would still be billed after a change to a plan that includes
100,000). The invoice shows the included units as a line of their own. What a plan includes is counted by the month, also
beside a plan that is paid by the year: Stripe bills several intervals in one subscription
(https://docs.stripe.com/billing/subscriptions/mixed-interval).

Rows are committed first, then Stripe is asked, then what it answered is saved row by row: a run that is cut off is
completed by the next, and one that finds everything in place changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol

import structlog
from sqlalchemy import select, update

from portal.billing.gateway import Unavailable
from portal.billing.meter_terms import MeterTerms
from portal.catalog.definition import Catalog
from portal.catalog.metered_queries import PER
from portal.catalog.models import Addon, Bundle, Meter, Plan, Price
from portal.catalog.sync import FRESH, Changes, lock_catalog, renewed, sync_database
from portal.core.database import db
from portal.core.unit_of_work import unit_of_work

log = structlog.get_logger(__name__)

Json = dict[str, Any]
SOURCE = {"source": "turnpike"}


class CatalogGateway(Protocol):
    """What is asked of Stripe here."""

    def find_prices(self, lookup_keys: list[str]) -> list[Json]: ...

    def ensure_meter(self, meter: MeterTerms) -> Json: ...

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
    meter: MeterTerms | None = None
    included: int = 0

    @property
    def product_id(self) -> str:
        """One for each thing that is sold; what a meter counts is the same thing in every plan."""
        return f"turnpike_meter_{self.meter.key}" if self.meter else f"turnpike_{self.purpose}_{self.owner_key}"

    @property
    def product_name(self) -> str:
        if self.meter:
            return self.meter.name
        return f"{self.owner_name}, further seat" if self.purpose == "seat" else self.owner_name

    @property
    def product_metadata(self) -> dict[str, str]:
        return {"meter": self.meter.key, "purpose": self.purpose, **SOURCE} if self.meter else self.metadata

    @property
    def metadata(self) -> dict[str, str]:
        owner = "plan" if self.purpose in ("seat", "metered") else self.purpose
        meter = {"meter": self.meter.key} if self.meter else {}
        return {owner: self.owner_key, "purpose": self.purpose, **meter, **SOURCE}

    @property
    def tiers(self) -> list[Json]:
        """The included units at nothing, then each at a part of what 1,000 cost: an exact decimal, never a float."""
        unit = f"{(Decimal(self.unit_amount_cents) / PER).normalize():f}"
        free = [{"up_to": self.included, "unit_amount_decimal": "0"}] if self.included else []
        return [*free, {"up_to": "inf", "unit_amount_decimal": unit}]

    def params(self, meters: dict[str, str]) -> Json:
        """What makes the price at Stripe: only what never changes in the row, so that a retry sends the same.

        `meters` are Stripe's ids of meters by key.
        """
        params: Json = {
            "product": self.product_id,
            "currency": self.currency,
            "lookup_key": self.lookup_key,
            "transfer_lookup_key": True,
            "metadata": self.metadata,
        }
        if self.meter:
            usage = {"interval": self.interval, "usage_type": "metered", "meter": meters[self.meter.key]}
            tiers: Json = {"billing_scheme": "tiered", "tiers_mode": "graduated", "tiers": self.tiers}
            return params | tiers | {"recurring": usage}
        params["unit_amount"] = self.unit_amount_cents
        return params | ({"recurring": {"interval": self.interval}} if self.interval else {})

    def idempotency_key(self, meters: dict[str, str]) -> str:
        meter = f"-{meters[self.meter.key]}" if self.meter else ""
        return f"price-{self.row_id}-{self.attempts}{meter}"


def sync_catalog(gateway: CatalogGateway, catalog: Catalog) -> Report:
    """Write the catalog to the database and to Stripe. Raises `GatewayError`; running it again goes on from there."""
    with unit_of_work():
        report = Report(sync_database(catalog))
        wanted = wanted_prices()
    for product_id, price in {price.product_id: price for price in wanted}.items():
        gateway.ensure_product(product_id, price.product_name, price.product_metadata)
    _save_products(wanted)
    meters = _sync_meters(gateway, wanted)
    found = {price["lookup_key"]: price for price in gateway.find_prices([price.lookup_key for price in wanted])}
    for price in wanted:
        _settle(gateway, price, found.get(price.lookup_key), meters, report)
    return report


def _sync_meters(gateway: CatalogGateway, wanted: list[WantedPrice]) -> dict[str, str]:
    """Have a Billing Meter for each meter that has a price; returns Stripe's ids by key. Events of another id are not ours."""
    terms = {price.meter.key: price.meter for price in wanted if price.meter}
    found = {key: str(gateway.ensure_meter(meter)["id"]) for key, meter in terms.items()}
    with unit_of_work() as session:
        for key, stripe_id in found.items():
            differs = (Meter.key == key) & Meter.stripe_meter_id.is_distinct_from(stripe_id)
            session.execute(update(Meter).where(differs).values(stripe_meter_id=stripe_id))
    return found


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
        meter=MeterTerms(price.meter.key, price.meter.name) if price.meter else None,
        included=price.included or 0,
    )


def _save_products(wanted: list[WantedPrice]) -> None:
    """Note the products that stand for plans, bundles and add-ons; further seats have one of their own, which nobody asks for."""
    models: dict[str, type[Plan | Bundle | Addon]] = {"plan": Plan, "bundle": Bundle, "addon": Addon}
    with unit_of_work() as session:
        for price in wanted:
            if model := models.get(price.purpose):
                missing = (model.key == price.owner_key) & model.stripe_product_id.is_(None)
                session.execute(update(model).where(missing).values(stripe_product_id=price.product_id))


def _settle(
    gateway: CatalogGateway, price: WantedPrice, found: Json | None, meters: dict[str, str], report: Report
) -> None:
    """Make the row and Stripe agree on one price. `found` is what Stripe has under the lookup key now."""
    fitting = found["id"] if found is not None and says_the_same(found, price, meters) else None
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
        _create(gateway, price, meters, report)


def says_the_same(found: Json, price: WantedPrice, meters: dict[str, str]) -> bool:
    """Whether a price of Stripe's (with its tiers) is the wanted one; `meters` are Stripe's ids by key."""
    recurring = found.get("recurring") or {}
    meter = meters.get(price.meter.key) if price.meter else None
    amounts = _same_tiers(found, price) if price.meter else found["unit_amount"] == price.unit_amount_cents
    return (
        bool(found["active"])
        and amounts
        and found["currency"] == price.currency
        and recurring.get("interval") == price.interval
        and recurring.get("interval_count", 1) == 1
        and recurring.get("usage_type", "licensed") == ("metered" if price.meter else "licensed")
        and recurring.get("meter") == meter
    )


def _same_tiers(found: Json, price: WantedPrice) -> bool:
    if found.get("tiers_mode") != "graduated":
        return False
    theirs = [
        (tier["up_to"], Decimal(str(tier["unit_amount_decimal"] or 0)), Decimal(str(tier["flat_amount_decimal"] or 0)))
        for tier in found.get("tiers") or []
    ]
    ours = [
        (None if tier["up_to"] == "inf" else tier["up_to"], Decimal(tier["unit_amount_decimal"]), Decimal(0))
        for tier in price.tiers
    ]
    return theirs == ours


def _create(gateway: CatalogGateway, price: WantedPrice, meters: dict[str, str], report: Report) -> None:
    """Make the price at Stripe. Without an answer the next run looks for it by its lookup key, and if it is not there
    tries under a new idempotency key, since a stored failure would be answered again.
    """
    try:
        made = gateway.create_price(price.params(meters), price.idempotency_key(meters))
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
