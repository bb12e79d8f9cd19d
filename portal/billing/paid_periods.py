"""Which periods of a plan an invoice has paid for."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from portal.billing.mirror import moment
from portal.billing.models import Invoice, PaidPeriod, Subscription
from portal.catalog.current import catalog
from portal.catalog.queries import plan_for_stripe_price
from portal.core.database import db
from portal.core.ids import new_id

# Only these invoices begin a period; the others are one-off items. A change of plan does where it begins another rhythm: a
# month that becomes a year has a line for that year, which is no proration.
PERIOD_REASONS = ("subscription_create", "subscription_cycle", "subscription_update")


def record_paid_periods(subscription: Subscription, invoice: Invoice) -> list[PaidPeriod]:
    """Save, once each, the plan periods that `invoice` has paid for, and return them (also when saved before)."""
    if invoice.status != "paid" or invoice.billing_reason not in PERIOD_REASONS:
        return []
    found = [period for line in invoice.lines if (period := _record(subscription, invoice, line)) is not None]
    db.session.flush()
    return found


def _record(subscription: Subscription, invoice: Invoice, line: dict[str, Any]) -> PaidPeriod | None:
    price = plan_for_stripe_price(line["price"]) if line["price"] else None
    if price is None or price.purpose != "plan" or line["proration"] or line["period_start"] >= line["period_end"]:
        return None
    kind = _kind(subscription, invoice, line)
    if kind is None:
        return None
    key = {
        "subscription_stripe_id": subscription.stripe_id,
        "kind": kind,
        "period_start": moment(line["period_start"]),
    }
    values = {
        "id": new_id("paid"),
        "team_id": subscription.team_id,
        "invoice_stripe_id": invoice.stripe_id,
        "plan_key": price.plan_key,
        "interval": price.interval,
        "period_end": moment(line["period_end"]),
        "credits_monthly": price.credits_monthly or 0,
    }
    db.session.execute(insert(PaidPeriod).values(**key, **values).on_conflict_do_nothing(index_elements=list(key)))
    return db.session.execute(select(PaidPeriod).filter_by(**key)).scalar_one()


def _kind(subscription: Subscription, invoice: Invoice, line: dict[str, Any]) -> str | None:
    """`trial`, `plan`, or None when the catalog's policy gives nothing for a period that cost nothing.

    A discount stands on the invoice, not on the line, so a period may be free though its line has an amount.
    """
    policy = catalog()
    start = datetime.fromtimestamp(line["period_start"], UTC)
    begins_in_trial = subscription.trial_end is not None and start < subscription.trial_end
    if line["amount"] == 0 and begins_in_trial:
        return "trial" if policy.trial_grant == "full" else None
    if (line["amount"] == 0 or invoice.total == 0) and not policy.zero_invoice_grant:
        return None
    return "plan"
