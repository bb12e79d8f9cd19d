"""What others read of the prices of meters: what a plan includes a month, and what more of it costs."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Select, select

from portal.catalog.models import Meter, Plan, Price
from portal.core.database import db

PER = 1000


@dataclass(frozen=True)
class MeteredPrice:
    """The price of a plan's meter: `included` units a month are a part of the plan, and 1,000 more cost
    `overage_per_1000_cents`, in the minor unit of `currency`.
    """

    price_id: str
    plan_key: str
    meter_key: str
    meter_name: str
    included: int
    overage_per_1000_cents: int
    currency: str
    stripe_price_id: str | None

    def overage_cents(self, used: int) -> int:
        """What so many units of a month cost beyond the included ones, half a cent rounded up as on the invoice."""
        beyond = max(used - self.included, 0)
        return (beyond * self.overage_per_1000_cents * 2 + PER) // (PER * 2)


def metered_prices_of(plan_key: str) -> list[MeteredPrice]:
    """The prices of a plan's meters that a new subscriber gets, as far as Stripe knows them; in the catalog's order."""
    query = _query().where(Plan.key == plan_key, Price.active, Price.stripe_price_id.is_not(None))
    return _read(query.where(Meter.archived_at.is_(None)))


def metered_for_stripe_price(stripe_price_id: str) -> MeteredPrice | None:
    """What a price of Stripe's stands for, also when it is not sold any more; None for a price of something else."""
    found = _read(_query().where(Price.stripe_price_id == stripe_price_id))
    return found[0] if found else None


def metered_prices(stripe_price_ids: list[str]) -> list[MeteredPrice]:
    """Those of some prices of Stripe's that are of meters."""
    return _read(_query().where(Price.stripe_price_id.in_(stripe_price_ids)))


def _query() -> Select[Price, Plan, Meter]:
    query = select(Price, Plan, Meter).join(Plan, Plan.id == Price.plan_id).join(Meter, Meter.id == Price.meter_id)
    return query.order_by(Meter.position, Meter.key)


def _read(query: Select[Price, Plan, Meter]) -> list[MeteredPrice]:
    return [
        MeteredPrice(
            price_id=price.id,
            plan_key=plan.key,
            meter_key=meter.key,
            meter_name=meter.name,
            included=price.included or 0,  # the table holds that a meter's price says so
            overage_per_1000_cents=price.unit_amount_cents,
            currency=price.currency,
            stripe_price_id=price.stripe_price_id,
        )
        for price, plan, meter in db.session.execute(query)
    ]
