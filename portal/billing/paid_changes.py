"""Which changes of plan within a period an invoice has paid for, line by line."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.dialects.postgresql import insert

from portal.billing.mirror import moment
from portal.billing.models import Invoice, PaidPeriod, Subscription
from portal.billing.paid_change_models import PaidChange
from portal.catalog.current import catalog
from portal.catalog.queries import plan_for_stripe_price
from portal.core.database import db


def record_paid_changes(subscription: Subscription, invoice: Invoice) -> list[PaidChange]:
    """Save, once, what `invoice` has paid for when a plan took another's place within the period; [] for any other.

    One that only gives time back ends a plan, or begins another rhythm, which is a period of its own.
    """
    if invoice.status != "paid" or invoice.billing_reason != "subscription_update":
        return []
    query = select(PaidChange).where(PaidChange.invoice_stripe_id == invoice.stripe_id).order_by(PaidChange.line)
    if found := list(db.session.execute(query).scalars()):
        return found
    lines = [values for number, line in enumerate(invoice.lines) if (values := _values(number, line)) is not None]
    signs = {values["gives_back"] for values in lines}
    if signs != {True, False}:
        return []
    common = {
        "invoice_stripe_id": invoice.stripe_id,
        "team_id": subscription.team_id,
        "subscription_stripe_id": subscription.stripe_id,
        "policy": catalog().upgrade_grant,
        "invoiced_at": invoice.created_at,
    }
    for values in lines:
        values["credits"] *= -1 if values.pop("gives_back") else 1
    db.session.execute(insert(PaidChange).values([common | values for values in lines]))
    return list(db.session.execute(query).scalars())


def _values(number: int, line: dict[str, Any]) -> dict[str, Any] | None:
    price = plan_for_stripe_price(line["price"]) if line["price"] and line["proration"] else None
    if price is None or price.purpose != "plan" or line["period_start"] >= line["period_end"]:
        return None
    return {
        "line": number,
        "plan_key": price.plan_key,
        "since": moment(line["period_start"]),
        "until": moment(line["period_end"]),
        "credits": price.credits_monthly or 0,
        "gives_back": line.get("gives_back") or line["amount"] < 0,
    }


def changes_of(paid: PaidPeriod) -> list[PaidChange]:
    """The changes of plan within a paid period, in their order."""
    columns = (PaidChange.subscription_stripe_id, PaidChange.since, PaidChange.until)
    its_period = _period_around(*columns).with_only_columns(PaidPeriod.id).correlate(PaidChange).scalar_subquery()
    query = select(PaidChange).where(
        PaidChange.subscription_stripe_id == paid.subscription_stripe_id, its_period == paid.id
    )
    order = (PaidChange.since, PaidChange.invoiced_at, PaidChange.invoice_stripe_id, PaidChange.line)
    return list(db.session.execute(query.order_by(*order)).scalars())


def period_of(change: PaidChange) -> PaidPeriod | None:
    """The paid period that a change falls into; None as long as nothing is known of its payment."""
    query = _period_around(change.subscription_stripe_id, change.since, change.until)
    return db.session.execute(query).scalar_one_or_none()


def _period_around(subscription_stripe_id: Any, since: Any, until: Any) -> Select[PaidPeriod]:
    """The period that has all of this time, which is what was left of it. Of two, the one that ends first.

    A month that becomes a year, or the other way round, leaves the old period standing beside the new one.
    """
    holds = (PaidPeriod.period_start <= since) & (PaidPeriod.period_end >= until)
    query = select(PaidPeriod).where(PaidPeriod.subscription_stripe_id == subscription_stripe_id, holds)
    return query.order_by(PaidPeriod.period_end, PaidPeriod.period_start.desc()).limit(1)
