"""What the page says to somebody who comes back from the customer portal: a reading of the mirror, which alone knows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from portal.billing.card_words import Card, card_of
from portal.billing.invoice_list import unpaid_invoice
from portal.billing.models import PortalVisit
from portal.billing.payment_methods import charged_payment_method
from portal.billing.subscriptions import live_subscription
from portal.catalog.queries import plan_by_key


@dataclass(frozen=True)
class PortalStatus:
    """`kind` is waiting, slow or done; what was done is `flow`, with the plan's end or the new card."""

    kind: str
    flow: str
    plan_name: str
    ends_at: datetime | None
    card: Card | None
    # What a new card may be wanted for.
    unpaid_invoice_id: str | None


def state_before(team_id: str, flow: str) -> str | None:
    """What a flow is about to change, to be kept with the visit."""
    method = charged_payment_method(team_id) if flow == "payment_method_update" else None
    return method.stripe_id if method else None


def read(visit: PortalVisit, *, slow: bool) -> PortalStatus:
    subscription = live_subscription(visit.team_id)
    plan = plan_by_key(subscription.plan_key or "") if subscription else None
    method, unpaid = charged_payment_method(visit.team_id), unpaid_invoice(visit.team_id)
    if visit.flow == "subscription_cancel":
        done = subscription is None or subscription.cancel_at is not None
    else:
        done = method is not None and method.stripe_id != visit.before
    return PortalStatus(
        kind="done" if done else "slow" if slow else "waiting",
        flow=visit.flow,
        plan_name=plan.name if plan else "The plan",
        ends_at=subscription.cancel_at if subscription else None,
        card=card_of(method),
        unpaid_invoice_id=unpaid.id if unpaid else None,
    )
